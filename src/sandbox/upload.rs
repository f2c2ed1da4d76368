//! Data of images that were uploaded: kept in a file without a name, so that no image is ever in memory and none is left over.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::images::no_image;
use super::refusal::Refusal;
use super::state::State;
use crate::names::{ImageId, ProviderName};
use crate::publish::{Digests, Hasher};

/// An image's data.
#[derive(Debug)]
pub struct Stored {
    file: File,
    pub digests: Digests,
}

/// How much is read or written at a time.
const PART: usize = 256 << 10;

/// A file of this process alone, gone with its last handle.
fn nameless() -> io::Result<File> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("poolkeeper-upload-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

impl Stored {
    /// All of `length`; an error when less comes. What is zero takes no room.
    pub fn receive(from: &mut dyn Read, length: u64) -> io::Result<Self> {
        let file = nameless()?;
        let (mut hasher, mut buffer, mut at) = (Hasher::default(), vec![0; PART], 0);
        while at < length {
            let wanted = usize::try_from(length - at).unwrap_or(PART).min(PART);
            let part = buffer.get_mut(..wanted).unwrap_or_default();
            from.read_exact(part)?;
            hasher.update(part);
            if part.iter().any(|byte| *byte != 0) {
                file.write_all_at(part, at)?;
            }
            at += wanted as u64;
        }
        file.set_len(length)?;
        Ok(Self { file, digests: hasher.finish() })
    }

    pub fn send(&self, to: &mut dyn io::Write) -> io::Result<()> {
        let (mut buffer, mut at) = (vec![0; PART], 0);
        loop {
            let read = self.file.read_at(&mut buffer, at)?;
            let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { return Ok(()) };
            to.write_all(part)?;
            at += read as u64;
        }
    }
}

impl State {
    /// The first bytes of an image's data come.
    pub(super) fn begin_upload(&mut self, provider: &ProviderName, id: &ImageId) {
        if let Ok(image) = self.cloud(provider).and_then(|cloud| cloud.image_mut(id))
            && image.seen.status == "queued"
        {
            "saving".clone_into(&mut image.seen.status);
            image.uploading = true;
        }
    }

    /// They stop: Glance waits for another try.
    pub(super) fn break_upload(&mut self, provider: &ProviderName, id: &ImageId) {
        if let Ok(image) = self.cloud(provider).and_then(|cloud| cloud.image_mut(id))
            && std::mem::take(&mut image.uploading)
        {
            "queued".clone_into(&mut image.seen.status);
        }
    }

    /// All of them are there.
    pub(super) fn end_upload(&mut self, provider: &ProviderName, id: &ImageId, mut stored: Stored) -> Result<(), Refusal> {
        if self.faults.damages_uploads {
            stored.digests = Hasher::default().finish();
            stored.digests.size = stored.file.metadata().map_or(0, |about| about.len());
        }
        let now = self.clock.now();
        let image = self.cloud(provider)?.image_mut(id).map_err(|_| no_image(id.as_str()))?;
        if !std::mem::take(&mut image.uploading) {
            let said = format!("Image status transition from {} to saving is not allowed", image.seen.status);
            return Err(Refusal::new(409, said));
        }
        "active".clone_into(&mut image.seen.status);
        image.seen.size = Some(stored.digests.size);
        image.updated = now;
        image.data = Some(std::sync::Arc::new(stored));
        let name = image.seen.name.clone();
        self.log("upload-image", name, id.as_str());
        Ok(())
    }
}
