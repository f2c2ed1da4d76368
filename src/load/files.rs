//! Files of the desired-state directory and around it: lists them, reads them, looks at who may read them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::desired::ScriptDir;
use crate::desired::faults::{Fault, Spot};
use crate::desired::near;
use crate::desired::yaml::MAX_BYTES;

/// Scripts are pushed at every launch: what is larger belongs into the image.
const MAX_SCRIPTS: usize = 1024 * 1024;
/// Nova takes 65535 characters of base64.
const MAX_USER_DATA: usize = 65_535 / 4 * 3;

/// What stands in a desired-state directory.
#[derive(Debug, Default)]
pub struct Listing {
    pub controller: Option<PathBuf>,
    /// By stem.
    pub images: BTreeMap<String, PathBuf>,
    pub pools: BTreeMap<String, PathBuf>,
    /// Files that are no object; user data may be among them.
    pub strays: Vec<PathBuf>,
    /// Directories other than `images` and `pools`: scripts.
    pub folders: Vec<String>,
    pub faults: Vec<Fault>,
}

/// Lists the directory. Left out of sight: hidden files, `README*`, and `*~` of editors.
pub fn list(dir: &Path) -> io::Result<Listing> {
    let mut found = Listing::default();
    for (name, path, kind) in entries(dir)? {
        match (name.as_str(), kind) {
            ("controller.yaml", Kind::File) => found.controller = Some(path),
            ("images", Kind::Dir) => found.images = objects(&path, &mut found.faults)?,
            ("pools", Kind::Dir) => found.pools = objects(&path, &mut found.faults)?,
            (_, Kind::Dir) => found.folders.push(name),
            (_, Kind::File) => found.strays.push(path),
            (_, Kind::Other(why)) => found.faults.push(Fault::of_file(path.display().to_string(), why)),
        }
    }
    Ok(found)
}

/// The fault of a file that is no object.
pub fn stray(path: &Path) -> Fault {
    let fault = Fault::of_file(path.display().to_string(), "this file is no object of the desired state");
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    if stem == "controller" || path.extension().is_some_and(|extension| extension == "yml") {
        fault.hint(format!("rename it to `{stem}.yaml`"))
    } else if yaml && near(&stem, ["controller"]).is_some() {
        fault.hint("did you mean `controller.yaml`?")
    } else if yaml {
        fault.hint("pools stand in `pools/`, images in `images/`, all else in controller.yaml")
    } else {
        fault.hint("move it to a directory of its own, or name it README")
    }
}

pub fn holds_yaml(dir: &Path) -> bool {
    entries(dir).is_ok_and(|entries| entries.iter().any(|(name, ..)| Path::new(name).extension().is_some_and(|it| it == "yaml")))
}

enum Kind {
    File,
    Dir,
    Other(String),
}

/// In the order of their names. Symbolic links count as what they lead to: Kubernetes mounts are made of them.
fn entries(dir: &Path) -> io::Result<Vec<(String, PathBuf, Kind)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || name.starts_with("README") || name.ends_with('~') {
            continue;
        }
        let kind = match fs::metadata(&path) {
            Ok(meta) if meta.is_file() => Kind::File,
            Ok(meta) if meta.is_dir() => Kind::Dir,
            Ok(_) => Kind::Other("it is neither a file nor a directory".to_owned()),
            Err(error) => Kind::Other(format!("cannot look at it: {}", said(&error))),
        };
        all.push((name, path, kind));
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}

/// One object a file, by stem.
fn objects(dir: &Path, faults: &mut Vec<Fault>) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for (name, path, kind) in entries(dir)? {
        let shown = path.display().to_string();
        match (kind, name.strip_suffix(".yaml")) {
            (Kind::File, Some(stem)) => drop(found.insert(stem.to_owned(), path)),
            (Kind::File, None) => faults.push(stray(&path)),
            (Kind::Dir, _) => faults
                .push(Fault::of_file(shown, "directories are not looked into here").hint("one object a file, in one directory")),
            (Kind::Other(why), _) => faults.push(Fault::of_file(shown, why)),
        }
    }
    Ok(found)
}

/// An input/output error in a few words, without Rust's `(os error 2)`.
fn said(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// Bytes of a regular file of at most this size.
fn bytes(path: &Path, max: usize) -> Result<Vec<u8>, String> {
    let meta = fs::metadata(path).map_err(|error| said(&error))?;
    if !meta.is_file() {
        return Err("it is no file".to_owned());
    }
    let too_large = format!("it has more than {} KiB", max / 1024);
    if meta.len() > max as u64 {
        return Err(too_large);
    }
    let bytes = fs::read(path).map_err(|error| said(&error))?;
    if bytes.len() > max { Err(too_large) } else { Ok(bytes) }
}

/// The text of a file of the desired state.
pub fn text(path: &Path) -> Result<String, Box<Fault>> {
    let file = path.display().to_string();
    let bytes = bytes(path, MAX_BYTES).map_err(|why| Fault::of_file(file.as_str(), format!("cannot read it: {why}")))?;
    let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let fault = Fault { spot: Some(Spot::new(&shown, at, 1)), ..Fault::of_file(file, "the file is not UTF-8") };
        Box::new(fault.hint(if utf16 { "save it as UTF-8: this is UTF-16" } else { "save it as UTF-8" }))
    })
}

/// The text of a user-data file.
pub fn user_data(path: &Path) -> Result<String, String> {
    let bytes = bytes(path, MAX_USER_DATA)?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// Script directories, each read once.
#[derive(Debug, Default)]
pub struct Scripts(BTreeMap<PathBuf, Result<Arc<ScriptDir>, String>>);

impl Scripts {
    /// The regular files directly in a directory, without those that `list` leaves out too: an editor's leftover would make
    /// every node drift.
    pub fn read(&mut self, dir: &Path) -> Result<Arc<ScriptDir>, String> {
        self.0.entry(dir.to_owned()).or_insert_with(|| scripts(dir).map(Arc::new)).clone()
    }
}

fn scripts(dir: &Path) -> Result<ScriptDir, String> {
    let mut files = BTreeMap::new();
    let mut left = MAX_SCRIPTS;
    for (name, path, kind) in entries(dir).map_err(|error| said(&error))? {
        match kind {
            Kind::Dir => continue,
            Kind::Other(why) => return Err(format!("`{name}`: {why}")),
            Kind::File => {}
        }
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte)) || name.starts_with(['-', '+']) {
            return Err(format!("`{name}` has a name that is no safe word of a shell"));
        }
        let content = bytes(&path, MAX_SCRIPTS).map_err(|why| format!("`{name}`: {why}"))?;
        left = left.checked_sub(content.len()).ok_or(format!("its files have more than {} KiB together", MAX_SCRIPTS / 1024))?;
        files.insert(name, content);
    }
    if files.is_empty() { Err("it has no files".to_owned()) } else { Ok(ScriptDir { files }) }
}

/// Whether a secret's file is open to every user. One that is not there, or not here, is no fault: files are checked in review,
/// where no secret is.
pub fn others_can_read(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o004 != 0)
}
