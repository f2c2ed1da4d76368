//! A directory of scripts, as read: file names, contents, and the digest that names its state directory on machines.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

/// The regular files directly in a script directory, by name.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ScriptDir {
    pub files: BTreeMap<String, Vec<u8>>,
}

impl ScriptDir {
    /// Of names and contents; two directories with the same files have the same digest.
    pub fn digest(&self) -> Digest {
        let mut parts = Vec::new();
        for (name, content) in &self.files {
            parts.push(name.as_bytes());
            parts.push(content.as_slice());
        }
        Digest::of(&parts)
    }
}

/// Contents stay out: a script may carry what no log should show.
impl fmt::Debug for ScriptDir {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ScriptDir({}, {} files)", self.digest(), self.files.len())
    }
}

impl serde::Serialize for ScriptDir {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        self.digest().serialize(out)
    }
}

/// What a server is given at its first boot. It may carry passwords: shown and written as its digest alone.
#[derive(Clone, PartialEq, Eq)]
pub struct UserData(String);

impl UserData {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for Nova's create call, and for digests.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserData {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "UserData({})", Digest::of(&[&self.0]))
    }
}

impl serde::Serialize for UserData {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        Digest::of(&[&self.0]).serialize(out)
    }
}

/// The first 8 hex digits of a SHA-256: enough to tell that an input changed, short enough for a metadata value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// Each part counts with its length, so that `["ab", "c"]` and `["a", "bc"]` differ.
    pub fn of<P: AsRef<[u8]>>(parts: &[P]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            let part = part.as_ref();
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let bytes = hash.finalize();
        let first = bytes.iter().take(4).fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
        Self(format!("{first:08x}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_count_with_their_length() {
        assert_ne!(Digest::of(&["ab", "c"]), Digest::of(&["a", "bc"]));
        assert_eq!(Digest::of(&["ab", "c"]).as_str().len(), 8);
    }

    #[test]
    fn debug_output_shows_no_content() {
        let dir = ScriptDir { files: BTreeMap::from([("ready.sh".to_owned(), b"hunter2".to_vec())]) };
        assert!(!format!("{dir:?}").contains("hunter2"));
        assert!(!format!("{:?}", UserData::new("hunter2")).contains("hunter2"));
    }
}
