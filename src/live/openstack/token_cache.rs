//! Tokens kept between runs: one file of mode 0600 for each identity. It decides nothing: losing it costs one login.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::auth::{Token, TokenFacts};

/// Of the file's shape: another one is passed over.
const VERSION: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Entry {
    version: u32,
    /// What it is for, in full: a name that is a digest is not proof enough.
    fingerprint: String,
    trace: u16,
    token: String,
    facts: TokenFacts,
    microversion: Option<Microversion>,
}

/// What Nova's endpoint was found to speak.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Microversion {
    pub url: String,
    /// None: none at all.
    pub chosen: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct TokenCache {
    file: PathBuf,
    fingerprint: String,
    /// What logs in: a token got with another one is not used, or a password that was changed would seem to work for hours.
    secret: SecretString,
}

impl TokenCache {
    pub(super) fn new(dir: &Path, fingerprint: &str, secret: &SecretString) -> Self {
        let digest = Sha256::digest(fingerprint.as_bytes());
        let digest = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        Self { file: dir.join(format!("token-{digest:016x}.json")), fingerprint: fingerprint.to_owned(), secret: secret.clone() }
    }

    /// Two bytes of a digest, the same ones whatever the token is: one of 65,536 changed secrets goes unnoticed until the token
    /// ends, and nobody finds a password by them, not from all the files that there ever were.
    fn trace(&self) -> u16 {
        let digest =
            Sha256::new().chain_update(&self.fingerprint).chain_update([0]).chain_update(self.secret.expose_secret()).finalize();
        digest.iter().take(2).fold(0, |number, byte| (number << 8) | u16::from(*byte))
    }

    /// None when there is nothing that can be used, for whatever reason.
    pub(super) fn load(&self) -> Option<(Token, Option<Microversion>)> {
        // A file that others may have read or written is not trusted: a token could have been planted.
        let seen = fs::symlink_metadata(&self.file).ok()?;
        if !seen.is_file() || seen.mode() & 0o077 != 0 {
            return None;
        }
        let text = fs::read(&self.file).ok()?;
        let entry: Entry = serde_json::from_slice(&text).ok()?;
        if entry.version != VERSION || entry.fingerprint != self.fingerprint {
            return None;
        }
        if entry.trace != self.trace() {
            return None;
        }
        Some((Token { secret: SecretString::from(entry.token), facts: entry.facts }, entry.microversion))
    }

    /// Written beside and renamed: a reader sees the old one or the new one. An error is for a log, nothing more.
    pub(super) fn save(&self, token: &Token, microversion: Option<&Microversion>) -> io::Result<()> {
        let entry = Entry {
            version: VERSION,
            fingerprint: self.fingerprint.clone(),
            trace: self.trace(),
            token: token.secret.expose_secret().to_owned(),
            facts: token.facts.clone(),
            microversion: microversion.cloned(),
        };
        if let Some(dir) = self.file.parent() {
            fs::create_dir_all(dir)?;
        }
        let beside = self.file.with_extension(format!("{}.new", std::process::id()));
        // One that a killed run of the same pid left: its mode and its content are unknown.
        drop(fs::remove_file(&beside));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        let written = file.write_all(&serde_json::to_vec(&entry)?).and_then(|()| fs::rename(&beside, &self.file));
        if written.is_err() {
            drop(fs::remove_file(&beside));
        }
        written
    }

    pub(super) fn forget(&self) {
        // It is not there, or it cannot be removed: neither does harm.
        drop(fs::remove_file(&self.file));
    }
}
