//! `image publish`: a file becomes the image of a name. Cut off anywhere, the same call again finishes or begins anew.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, bail};

use super::asked::{asks, otherwise};
use super::{At, Patient, Undone, lock_opens, provider, size};
use crate::cli::UploadArgs;
use crate::exit::{self, Usage};
use crate::live::http::Stream;
use crate::live::openstack::{Cloud, NewImage};
use crate::lock::{Lock, LockError};
use crate::names::{ProviderName, short};
use crate::observed::Image;
use crate::plan::{Act, Action, Expects, ImageExpects, Stale, still_holds};
use crate::publish::{
    self, Digests, Hasher, MAX_NAME, PUBLISH, START, disk_format, half_made_name, left, of_another, old_name, replaced,
};
use crate::report::spinner::Transfer;
use crate::run::{Outside, lock_within, sleep};
use crate::settings::now;
use crate::world::World as _;

pub fn publish(path: &Path, name: &str, args: &UploadArgs, at: At<'_>, out: &mut dyn Write) -> anyhow::Result<u8> {
    // Room for what the name of an old or a half-made one has more.
    if name.is_empty() || name.chars().count() > MAX_NAME - 30 {
        bail!(Usage(format!("`{name}` is no name for an image: 1 to {} characters", MAX_NAME - 30)));
    }
    open(path)?;
    let provider = provider(at.desired, args.provider.as_deref())?;
    let cloud = at.live.cloud(&provider).map_err(Undone::from)?;
    lock_opens(at.desired)?;
    let (file, guessed) = read(path, at.lively)?;
    let job = Job { at, provider, cloud, name, path, file, args };
    let images = job.images()?;
    let out: &mut dyn Write = &mut Patient(out);
    let left = left(&images, &at.desired.controller.id, name, &job.file);
    let same = job.same(&images)?;
    let mut whole = left.whole.filter(|_| same.is_none());
    if let Some(image) = whole
        && job.otherwise(image)?.is_some()
    {
        // Of a call with other options: what is asked for now counts.
        whole = None;
    }
    job.clear(left.half_made.iter().chain(left.whole.iter().filter(|_| whole.is_none())), out)?;
    if let Some(same) = same {
        // Cut off between the two renames, or there was a second one of the name.
        if !replaced(&images, name, &same).is_empty() {
            job.take_the_name(&same, out)?;
        }
        if let Some(undone) = job.otherwise(&same)? {
            bail!(undone);
        }
        writeln!(out, "there     {name} is these very bytes already: image {} in {}", same.id, job.provider)?;
        return Ok(exit::DONE);
    }
    let image = match whole {
        Some(image) => {
            writeln!(out, "found     an earlier upload of {}: it is gone on with", path.display())?;
            image.clone()
        }
        None => job.upload(args.disk_format.as_deref().unwrap_or(guessed), &images)?,
    };
    let checksum = job.verified(&image)?;
    writeln!(out, "uploaded  {} to {}: {}", path.display(), job.provider, size(job.file.size))?;
    writeln!(out, "checked   {checksum}")?;
    out.flush()?;
    job.take_the_name(&image, out)?;
    writeln!(out, "published {name}: image {}", image.id)?;
    Ok(exit::DONE)
}

fn open(path: &Path) -> anyhow::Result<File> {
    match File::open(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            bail!(Usage(format!("{}: there is no such file", path.display())))
        }
        opened => opened.with_context(|| format!("reading {}", path.display())),
    }
}

/// Digests of the whole file, and what its first bytes say it is.
fn read(path: &Path, lively: bool) -> anyhow::Result<(Digests, &'static str)> {
    let shown = || format!("reading {}", path.display());
    let mut file = open(path)?;
    let about = file.metadata().with_context(shown)?;
    if !about.is_file() || about.len() == 0 {
        bail!(Usage(format!("{} is no file with something in it", path.display())));
    }
    let bar = Transfer::new(&shown(), about.len(), lively);
    let (mut hasher, mut buffer, mut read, mut format) = (Hasher::default(), vec![0; 256 << 10], 0, None);
    loop {
        // The first part is whole, so that it tells the format.
        let length = fill(&mut file, &mut buffer).with_context(shown)?;
        let part = buffer.get(..length).unwrap_or_default();
        format.get_or_insert_with(|| disk_format(part.get(..START.min(length)).unwrap_or_default()));
        if part.is_empty() {
            break;
        }
        hasher.update(part);
        read += length as u64;
        bar.at(read);
    }
    bar.clear();
    Ok((hasher.finish(), format.unwrap_or("raw")))
}

fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

struct Job<'a> {
    at: At<'a>,
    provider: ProviderName,
    cloud: &'a Cloud,
    name: &'a str,
    path: &'a Path,
    file: Digests,
    args: &'a UploadArgs,
}

impl Job<'_> {
    /// Those of the name, and those that this deployment is publishing.
    fn images(&self) -> Result<Vec<Image>, Undone> {
        let controller = self.at.desired.controller.id.as_str();
        self.cloud.images_of(self.name, (PUBLISH, controller)).map_err(Undone::from)
    }

    /// The image that nodes boot from now, when it is this file already.
    fn same(&self, images: &[Image]) -> Result<Option<Image>, Undone> {
        let Some(current) = crate::observed::image::newest(images, self.name).filter(|image| image.name == self.name) else {
            return Ok(None);
        };
        let data = self.cloud.data(&current.id).map_err(Undone::from)?;
        // A size alone is not enough to say so.
        let same = (data.checksum.is_some() || data.os_hash_value.is_some()) && self.file.compare(&data).is_ok();
        Ok(same.then(|| current.clone()))
    }

    /// What of it is not as the command line asks for.
    fn otherwise(&self, image: &Image) -> Result<Option<Undone>, Undone> {
        if !asks(self.args) {
            return Ok(None);
        }
        let about = self.cloud.about(&image.id).map_err(Undone::from)?;
        let said = format!("{} is these very bytes already: image {} in {}", self.name, image.id, self.provider);
        Ok(otherwise(self.args, &said, image.id.as_str(), &about))
    }

    /// Under the lock, and only what is still half made: another publish may have given it its name meanwhile.
    fn clear<'i>(&self, half_made: impl Iterator<Item = &'i &'i Image>, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut half_made = half_made.peekable();
        if half_made.peek().is_none() {
            return Ok(());
        }
        let _lock = self.lock()?;
        for image in half_made {
            let act = Act::DeleteImage { provider: self.provider.clone(), image: image.id.clone() };
            match self.checked(image, act)? {
                Ok(()) => {
                    writeln!(out, "deleted   what an earlier call had left: {} ({})", image.name, short(image.id.as_str()))?;
                }
                Err(stale) => tracing::info!(%stale, image = %image.id, "another publish is at work on it: left alone"),
            }
        }
        Ok(())
    }

    fn lock(&self) -> Result<Lock, LockError> {
        let stopped = AtomicBool::new(false);
        let outside = Outside { clock: &now, pause: &sleep, stopped: &stopped };
        lock_within(&self.at.desired.controller.lock_file, self.args.lock_timeout, outside)
    }

    fn upload(&self, disk_format: &str, images: &[Image]) -> Result<Image, Undone> {
        let mut properties = publish::properties(&self.at.desired.controller.id, self.name, &self.file);
        properties.extend(self.args.property.iter().cloned());
        let image = self.cloud.create_record(&NewImage {
            name: half_made_name(self.name, &self.file),
            disk_format: disk_format.to_owned(),
            container_format: self.args.container_format.clone(),
            min_disk: self.args.min_disk,
            min_ram: self.args.min_ram,
            properties,
        })?;
        if let Err(why) = self.replaced(images, &image) {
            return Err(self.dropped(&image, why));
        }
        let bar = Transfer::new(&format!("uploading {}", self.path.display()), self.file.size, self.at.lively);
        let (path, drawn) = (self.path.to_owned(), bar.clone());
        let open = move || -> io::Result<Box<dyn Read + Send>> {
            Ok(Box::new(Counted { file: File::open(&path)?, read: 0, bar: drawn.clone() }))
        };
        let done = self.cloud.upload(&image.id, &Stream { length: self.file.size, open: Arc::new(open) });
        bar.clear();
        match done {
            Ok(()) => Ok(image),
            Err(error) => Err(self.dropped(&image, error.into())),
        }
    }

    /// Glance's own digest of what it has.
    fn verified(&self, image: &Image) -> Result<String, Undone> {
        let data = self.cloud.data(&image.id).map_err(Undone::from)?;
        self.file.compare(&data).map_err(|why| {
            let hint = "did the file change while it was read? Then publish it again; else the way to Glance is at fault";
            self.dropped(image, Undone::new(format!("the image is not what the file is: {why}"), hint))
        })
    }

    /// With an upload that failed goes its record. One that stays is deleted by the next call; one that is gone tells why it failed.
    fn dropped(&self, image: &Image, why: Undone) -> Undone {
        if self.cloud.images_named(image.id.as_str()).is_ok_and(|images| images.is_empty()) {
            return self.overtaken(image);
        }
        if let Err(error) = self.cloud.delete_image(&image.id) {
            tracing::info!(%error, image = %image.id, "what was uploaded is not deleted: the next publish does it");
        }
        why
    }

    fn overtaken(&self, image: &Image) -> Undone {
        let (path, name, id) = (self.path.display(), self.name, short(image.id.as_str()));
        Undone::new(
            format!("{path} is not published as {name}: its image {id} was deleted while this call was at work"),
            "another `image publish` of that name has begun meanwhile and goes on, or somebody deleted it: once the other has \
             ended, publish the file that the name is to have (bytes that are there are not sent twice)",
        )
    }

    /// Those whose place it takes.
    fn replaced<'i>(&self, images: &'i [Image], image: &Image) -> Result<Vec<&'i Image>, Undone> {
        let replaced = replaced(images, self.name, image);
        if let Some(snapshot) = replaced.iter().find(|image| image.is_sealed(&self.at.desired.controller.id)) {
            return Err(Undone::new(
                format!("{} ({}) is a snapshot that nodes boot from", self.name, short(snapshot.id.as_str())),
                "publish it under a name of its own",
            ));
        }
        match of_another(&replaced, &self.at.desired.controller.id, self.name) {
            Some((theirs, by)) => Err(Undone::new(
                format!(
                    "{} ({}) was published by the deployment `{by}`, which boots from it",
                    self.name,
                    short(theirs.id.as_str())
                ),
                "publish it under a name of its own; or, if nobody needs that one any more, rename it first",
            )),
            None => Ok(replaced),
        }
    }

    /// Under the lock: no run sees the name with two images, or boots from one that is being renamed. The new one has the name
    /// before the old one loses it: cut off in between, nodes boot from the newest of the two.
    fn take_the_name(&self, image: &Image, out: &mut dyn Write) -> anyhow::Result<()> {
        let _lock = self.lock()?;
        let images = self.images()?;
        let Some(image) = images.iter().find(|one| one.id == image.id) else {
            bail!(self.overtaken(image));
        };
        let replaced = self.replaced(&images, image)?;
        if image.name != self.name {
            self.rename(image, self.name)?;
        }
        for old in replaced {
            let name = self.free_name()?;
            self.rename(old, &name)?;
            writeln!(out, "renamed   the old {} ({}) to {name}", self.name, short(old.id.as_str()))?;
        }
        Ok(())
    }

    /// One that nobody has yet.
    fn free_name(&self) -> anyhow::Result<String> {
        for nth in 1..100 {
            let name = old_name(self.name, now(), nth);
            let taken = self.cloud.images_named(&name).map_err(Undone::from)?;
            if taken.is_empty() {
                return Ok(name);
            }
        }
        bail!(Undone::new(format!("{} has a hundred old ones of today", self.name), "delete some of them"))
    }

    fn rename(&self, image: &Image, name: &str) -> anyhow::Result<()> {
        let act = Act::RenameImage { provider: self.provider.clone(), image: image.id.clone(), name: name.to_owned() };
        self.checked(image, act)?.map_err(|stale| {
            Undone::new(format!("{} ({}) is not renamed: {stale}", image.name, short(image.id.as_str())), "publish it again")
        })?;
        Ok(())
    }

    /// As any action: read again, and only when it is still what was seen.
    fn checked(&self, image: &Image, act: Act) -> Result<Result<(), Stale>, Undone> {
        let expects = ImageExpects {
            provider: self.provider.clone(),
            id: image.id.clone(),
            controller: None,
            name: Some(image.name.clone()),
            status: Some(image.status.clone()),
            protected: None,
            marks: BTreeMap::new(),
        };
        let action = Action { act, expects: Expects { image: Some(expects), ..Expects::default() } };
        if let Some(object) = action.expects.object() {
            let fresh = self.at.live.read(&object).map_err(Undone::from)?;
            if let Err(stale) = still_holds(&action.expects, &fresh) {
                return Ok(Err(stale));
            }
        }
        self.at.live.act(&action.act).map_err(Undone::from)?;
        Ok(Ok(()))
    }
}

/// A file that says how far it was read.
struct Counted {
    file: File,
    read: u64,
    bar: Transfer,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read += read as u64;
        self.bar.at(self.read);
        Ok(read)
    }
}
