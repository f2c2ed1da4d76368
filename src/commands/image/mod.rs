//! `image`: files into Glance and out of it. Streams run outside the lock; only names are changed under it.

pub mod asked;
pub mod build;
pub mod change;
pub mod diskimage;
pub mod group;
pub mod kinds;
pub mod list;
pub mod log;
pub mod publish;
pub mod save;
pub mod unique;
pub mod update;

use std::io::{self, Write};

use crate::desired::{Desired, SnapshotImage, near};
use crate::exit::Usage;
use crate::live::Live;
use crate::lock::{LockError, try_lock};
use crate::names::{ImageName, ProviderName};
use crate::observed::Gap;
use crate::world::ActError;

/// Where a command about images works.
#[derive(Clone, Copy)]
pub struct At<'a> {
    pub desired: &'a Desired,
    pub live: &'a Live,
    /// A person looks on: progress is drawn.
    pub lively: bool,
}

impl std::fmt::Debug for At<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("At")
    }
}

/// The output of a command whose work matters more than its words: a reader that went away stops nothing half way.
struct Patient<'a>(&'a mut dyn Write);

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

/// What a service did not do, with what a person can do.
#[derive(Debug)]
pub struct Undone {
    said: String,
    hint: Option<String>,
}

impl Undone {
    fn new(said: String, hint: &str) -> Self {
        Self { said, hint: Some(hint.to_owned()) }
    }

    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl std::fmt::Display for Undone {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.said)
    }
}

impl std::error::Error for Undone {}

impl From<ActError> for Undone {
    fn from(error: ActError) -> Self {
        Self { said: error.to_string(), hint: error.hint }
    }
}

impl From<Gap> for Undone {
    fn from(gap: Gap) -> Self {
        Self { said: format!("{} ({})", gap.answered, gap.tried), hint: gap.hint }
    }
}

/// A lock that cannot be opened is said before hours of building or uploading, not after.
fn lock_opens(desired: &Desired) -> Result<(), LockError> {
    match try_lock(&desired.controller.lock_file) {
        Err(error @ LockError::Open(..)) => Err(error),
        // A run has it for a moment.
        Ok(_) | Err(LockError::Held(_)) => Ok(()),
    }
}

/// The one that is named, or the only one.
fn provider(desired: &Desired, named: Option<&str>) -> Result<ProviderName, Usage> {
    let all = || desired.controller.providers.keys();
    let known = || all().map(ProviderName::as_str).collect::<Vec<_>>().join(", ");
    match (named, desired.controller.providers.len()) {
        (Some(name), _) => all().find(|provider| provider.as_str() == name).cloned().ok_or_else(|| {
            let near = near(name, all().map(ProviderName::as_str)).map(|near| format!("; did you mean `{near}`?"));
            let near = near.unwrap_or_else(|| format!(" (there are: {})", known()));
            Usage(format!("--provider {name}: there is no such provider{near}"))
        }),
        (None, 1) => all().next().cloned().ok_or_else(|| Usage("there is no provider".to_owned())),
        (None, _) => Err(Usage(format!("there are several providers ({}): give one with --provider", known()))),
    }
}

/// An image of the desired state.
fn image_named<'a>(desired: &'a Desired, name: &str) -> Result<&'a SnapshotImage, Usage> {
    let all = || desired.images.keys().map(ImageName::as_str);
    desired.images.get(name).ok_or_else(|| {
        let known = if desired.images.is_empty() { "none".to_owned() } else { all().collect::<Vec<_>>().join(", ") };
        let near = near(name, all()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        Usage(format!("`{name}` is no image of the desired state (there are: {known}){near}"))
    })
}

/// `1.5 GiB (1610612736 bytes)`.
fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..=0x3ff => return format!("{bytes} bytes"),
        0x400..=0xf_ffff => (1 << 10, "KiB"),
        0x10_0000..=0x3fff_ffff => (1 << 20, "MiB"),
        _ => (1 << 30, "GiB"),
    };
    format!("{}.{} {name} ({bytes} bytes)", bytes / unit, bytes % unit * 10 / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_exact() {
        let shown = [0, 1023, 1536, 1 << 20, 3 << 29].map(size);
        let expected = ["0 bytes", "1023 bytes", "1.5 KiB (1536 bytes)", "1.0 MiB (1048576 bytes)", "1.5 GiB (1610612736 bytes)"];
        assert_eq!(shown, expected);
    }
}
