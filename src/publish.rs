//! A file on its way into Glance and back: its format, its digests, what a call that was cut off has left, the names. Asks nobody.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256, Sha512};

use crate::live::openstack::Data;
use crate::names::ControllerId;
use crate::observed::Image;

/// The deployment that is publishing: on its images from the first call on, so that a half-made one is found again.
pub const PUBLISH: &str = "poolkeeper_publish";
/// The name that an image is to have.
const NAME: &str = "poolkeeper_publish_name";
/// Of the file, in hex.
const SHA256: &str = "poolkeeper_publish_sha256";

/// Longest name that Glance takes.
pub const MAX_NAME: usize = 255;

/// Digests of a file, from one reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    pub size: u64,
    pub sha512: String,
    pub sha256: String,
    pub md5: String,
}

#[derive(Clone)]
pub struct Hasher {
    size: u64,
    sha512: Sha512,
    sha256: Sha256,
    md5: md5::Context,
}

impl Default for Hasher {
    fn default() -> Self {
        Self { size: 0, sha512: Sha512::new(), sha256: Sha256::new(), md5: md5::Context::new() }
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Hasher({} bytes)", self.size)
    }
}

impl Hasher {
    pub fn update(&mut self, part: &[u8]) {
        self.size += part.len() as u64;
        self.sha512.update(part);
        self.sha256.update(part);
        self.md5.consume(part);
    }

    pub fn finish(self) -> Digests {
        let Self { size, sha512, sha256, md5 } = self;
        let md5 = format!("{:x}", md5.finalize());
        Digests { size, sha512: hex(&sha512.finalize()), sha256: hex(&sha256.finalize()), md5 }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Digests {
    /// Whether Glance has these very bytes. In words: what was compared, or what differs.
    pub fn compare(&self, data: &Data) -> Result<String, String> {
        if let Some(size) = data.size.filter(|size| *size != self.size) {
            return Err(format!("Glance has {size} bytes, the file {}", self.size));
        }
        let hash = data.os_hash_algo.as_deref().zip(data.os_hash_value.as_deref());
        let known = match hash {
            Some(("sha512", value)) => Some(("sha512", value, self.sha512.as_str())),
            Some(("sha256", value)) => Some(("sha256", value, self.sha256.as_str())),
            Some(_) | None => data.checksum.as_deref().map(|value| ("md5", value, self.md5.as_str())),
        };
        match known {
            Some((algorithm, value, ours)) if value.eq_ignore_ascii_case(ours) => Ok(format!("{algorithm} {ours}")),
            Some((algorithm, value, ours)) => Err(format!("its {algorithm} is {value} in Glance, {ours} of the file")),
            None if data.size.is_some() => Ok(format!("{} bytes; Glance names no digest that is known here", self.size)),
            None => Err("Glance names neither its size nor a digest of it".to_owned()),
        }
    }
}

/// Glance's word for what a file is, by how it begins; what begins otherwise is raw.
pub fn disk_format(start: &[u8]) -> &'static str {
    let has = |at: usize, magic: &[u8]| start.get(at..at + magic.len()) == Some(magic);
    match () {
        () if has(0, b"QFI\xfb") => "qcow2",
        () if has(0, b"KDMV") || has(0, b"# Disk DescriptorFile") => "vmdk",
        () if has(0, b"vhdxfile") => "vhdx",
        () if has(0, b"conectix") => "vhd",
        () if has(64, b"\x7f\x10\xda\xbe") => "vdi",
        () if has(0x8001, b"CD001") => "iso",
        () => "raw",
    }
}

/// As much of a file's start as `disk_format` looks at.
pub const START: usize = 0x8006;

/// The properties of an image that is being published.
pub fn properties(controller: &ControllerId, name: &str, file: &Digests) -> BTreeMap<String, String> {
    let pairs = [(PUBLISH, controller.as_str()), (NAME, name), (SHA256, file.sha256.as_str())];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// The name of an image that is not whole yet: nodes boot from no such name.
pub fn half_made_name(name: &str, file: &Digests) -> String {
    half_made(name, &file.sha256)
}

fn half_made(name: &str, sha256: &str) -> String {
    format!("{name}{HALF_MADE}{}", sha256.get(..12).unwrap_or(sha256))
}

const HALF_MADE: &str = "_new_";

/// What earlier calls for this name have left.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Left<'a> {
    /// Its upload was accepted, and it is this file's: only its name is missing.
    pub whole: Option<&'a Image>,
    /// To be deleted.
    pub half_made: Vec<&'a Image>,
}

/// Only our own deployment's, and only those with the very name that their file's digest gives them: snapshots inherit
/// properties, and a person may call one whatever he likes.
pub fn left<'a>(images: &'a [Image], controller: &ControllerId, name: &str, file: &Digests) -> Left<'a> {
    let has = |image: &Image, key: &str, value: &str| image.properties.get(key).is_some_and(|has| has == value);
    let its_own = |image: &Image| image.properties.get(SHA256).is_some_and(|sha256| image.name == half_made(name, sha256));
    let ours = images.iter().filter(|image| has(image, PUBLISH, controller.as_str()) && has(image, NAME, name) && its_own(image));
    let mut left = Left::default();
    for image in ours {
        if left.whole.is_none() && image.status == "active" && has(image, SHA256, &file.sha256) {
            left.whole = Some(image);
        } else {
            left.half_made.push(image);
        }
    }
    left
}

/// The images whose place the new one takes: active, of that very name, of the new one's project.
pub fn replaced<'a>(images: &'a [Image], name: &str, new: &Image) -> Vec<&'a Image> {
    let mut old: Vec<&Image> = images
        .iter()
        .filter(|image| image.id != new.id && image.name == name && image.status == "active" && image.owner == new.owner)
        .collect();
    old.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    old
}

/// Of those: one that another deployment published under that name, and boots from.
pub fn of_another<'a>(replaced: &[&'a Image], controller: &ControllerId, name: &str) -> Option<(&'a Image, &'a str)> {
    let mut published = replaced.iter().filter(|image| image.properties.get(NAME).is_some_and(|has| has == name));
    published.find_map(|image| {
        let by = image.properties.get(PUBLISH).map(String::as_str).filter(|by| !by.is_empty() && *by != controller.as_str());
        Some((*image, by?))
    })
}

/// As nodepool's operators named them: `NAME_old_20261129`, then `-2` and so on.
pub fn old_name(name: &str, now: Timestamp, nth: u32) -> String {
    let date = now.strftime("%Y%m%d");
    if nth < 2 { format!("{name}_old_{date}") } else { format!("{name}_old_{date}-{nth}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(bytes: &[u8]) -> Digests {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    fn image(id: &str, name: &str, status: &str, properties: BTreeMap<String, String>) -> Image {
        Image {
            id: id.into(),
            name: name.to_owned(),
            status: status.to_owned(),
            created: Timestamp::UNIX_EPOCH,
            owner: Some("p".to_owned()),
            protected: false,
            size: None,
            properties,
        }
    }

    #[test]
    fn digests_are_the_known_ones() {
        let file = digests(b"abc");
        assert_eq!((file.size, file.md5.as_str()), (3, "900150983cd24fb0d6963f7d28e17f72"));
        assert_eq!(file.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(file.sha512.starts_with("ddaf35a193617abacc417349ae204131"));
    }

    #[test]
    fn the_strongest_known_digest_decides() {
        let file = digests(b"abc");
        let data = |algo: Option<&str>, value: &str, checksum: Option<&str>| Data {
            size: Some(3),
            checksum: checksum.map(str::to_owned),
            os_hash_algo: algo.map(str::to_owned),
            os_hash_value: algo.map(|_| value.to_owned()),
        };
        assert_eq!(
            file.compare(&data(Some("sha512"), &file.sha512.to_uppercase(), Some("x"))),
            Ok(format!("sha512 {}", file.sha512))
        );
        assert_eq!(file.compare(&data(Some("sha256"), &file.sha256, None)), Ok(format!("sha256 {}", file.sha256)));
        assert_eq!(file.compare(&data(Some("sm3"), "x", Some(&file.md5))), Ok(format!("md5 {}", file.md5)));
        assert_eq!(file.compare(&data(None, "", Some(&file.md5))), Ok(format!("md5 {}", file.md5)), "before Rocky");
        assert!(file.compare(&data(Some("sha512"), &file.sha256, Some(&file.md5))).is_err());
        assert!(file.compare(&data(None, "", Some("x"))).is_err());
        assert!(file.compare(&data(None, "", None)).is_ok_and(|said| said.contains("no digest")));
        assert!(file.compare(&Data::default()).is_err());
        let longer = Data { size: Some(4), ..data(None, "", Some(&file.md5)) };
        assert_eq!(file.compare(&longer), Err("Glance has 4 bytes, the file 3".to_owned()));
    }

    #[test]
    fn files_tell_what_they_are() {
        let mut iso = vec![0; START];
        iso[0x8001..].copy_from_slice(b"CD001");
        let mut vdi = vec![0; 100];
        vdi[64..68].copy_from_slice(b"\x7f\x10\xda\xbe");
        let starts = [b"QFI\xfb\0".as_slice(), b"KDMV\x01", b"vhdxfile", b"conectix", &vdi, &iso, b"", b"QFI"];
        assert_eq!(starts.map(disk_format), ["qcow2", "vmdk", "vhdx", "vhd", "vdi", "iso", "raw", "raw"]);
    }

    #[test]
    fn only_our_own_half_made_images_are_found() {
        let (controller, file, other) = (ControllerId::from("contint"), digests(b"abc"), digests(b"def"));
        let of = |controller: &str, name: &str, file: &Digests| properties(&controller.into(), name, file);
        let name = half_made_name("ci", &file);
        let images = [
            image("1", &name, "active", of("contint", "ci", &file)),
            image("2", &name, "queued", of("contint", "ci", &file)),
            image("3", &half_made_name("ci", &other), "active", of("contint", "ci", &other)),
            image("4", &name, "queued", of("another", "ci", &file)),
            image("5", &name, "queued", of("contint", "ci_new_", &file)),
            image("6", "a person's snapshot", "active", of("contint", "ci", &file)),
            image("7", &name, "queued", BTreeMap::new()),
            image("8", "ci_new_kernel", "active", of("contint", "ci", &file)),
        ];
        let left = left(&images, &controller, "ci", &file);
        assert_eq!(left.whole.map(|image| image.id.as_str()), Some("1"));
        let ids: Vec<&str> = left.half_made.iter().map(|image| image.id.as_str()).collect();
        assert_eq!(ids, ["2", "3"]);
    }

    #[test]
    fn the_new_one_takes_the_place_of_all_of_its_name_and_project() {
        let new = image("new", "ci_new_1", "active", BTreeMap::new());
        let foreign = Image { owner: Some("q".to_owned()), ..image("f", "ci", "active", BTreeMap::new()) };
        let newer =
            Image { created: "2026-11-29T00:00:00Z".parse().expect("a time"), ..image("b", "ci", "active", BTreeMap::new()) };
        let old = image("a", "ci", "active", BTreeMap::new());
        let images = [new.clone(), foreign, old, newer, image("k", "ci", "killed", BTreeMap::new())];
        let ids: Vec<&str> = replaced(&images, "ci", &new).iter().map(|image| image.id.as_str()).collect();
        assert_eq!(ids, ["b", "a"]);
        let now = "2026-11-29T23:59:00Z".parse().expect("a time");
        assert_eq!(
            [0, 1, 2, 3].map(|nth| old_name("ci", now, nth)),
            ["ci_old_20261129", "ci_old_20261129", "ci_old_20261129-2", "ci_old_20261129-3"]
        );
    }
}
