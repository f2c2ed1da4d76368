//! A machine as SSH shows it: how to log in, which host key answered, how the script stands.

use std::fmt;
use std::path::PathBuf;

use crate::desired::Digest;
use crate::names::{ServerId, Text};

/// How to reach a machine. The private key is a path: its content is the session's alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Login {
    pub host: String,
    pub port: u16,
    /// Tried in this order.
    pub usernames: Vec<String>,
    pub private_key: PathBuf,
}

/// A public host key as OpenSSH writes it: `<algorithm> <base64>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct HostKey(Text);

impl HostKey {
    /// None unless it is an algorithm and a base64 text; a comment is dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let (algorithm, key) = (words.next()?, words.next()?);
        is_key(algorithm, key).then(|| Self(format!("{algorithm} {key}").into()))
    }

    /// As we have written it, with its text shared; else as anybody may have.
    pub fn of_mark(text: &Text) -> Option<Self> {
        let ours = text.split_once(' ').is_some_and(|(algorithm, key)| is_key(algorithm, key));
        if ours { Some(Self(text.clone())) } else { Self::parse(text) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn algorithm(&self) -> &str {
        self.0.split(' ').next().unwrap_or_default()
    }

    /// The base64 text alone.
    pub fn base64(&self) -> &str {
        self.0.split(' ').nth(1).unwrap_or_default()
    }

    /// Whether it stands on a console log, between the lines that cloud-init prints around the keys
    /// (`cloudinit/config/cc_keys_to_console.py`).
    pub fn stands_on(&self, console: &str) -> bool {
        Self::all_on(console).contains(self)
    }

    /// Every host key that a console log shows.
    pub fn all_on(console: &str) -> Vec<Self> {
        let mut keys = Vec::new();
        let mut inside = false;
        for line in console.lines() {
            if line.contains("-----BEGIN SSH HOST KEY KEYS-----") {
                inside = true;
            } else if line.contains("-----END SSH HOST KEY KEYS-----") {
                inside = false;
            } else if inside {
                keys.extend(Self::parse(line));
            }
        }
        keys
    }
}

fn is_key(algorithm: &str, key: &str) -> bool {
    let known = algorithm.starts_with("ssh-") || algorithm.starts_with("ecdsa-");
    known && key.len() >= 16 && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
}

impl fmt::Display for HostKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// What one SSH connect showed. A machine that refuses or times out was seen: it has no SSH.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineSight {
    NoSsh {
        why: String,
    },
    /// A host key answered, but no user of the list gets in.
    LoginRefused {
        key: HostKey,
        why: String,
    },
    /// Not the pinned key: nothing was sent.
    OtherKey {
        key: HostKey,
    },
    Up {
        key: HostKey,
        /// None before a key is pinned: nothing is run on a machine that is not known yet.
        facts: Option<MachineFacts>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MachineFacts {
    pub script: ScriptState,
    /// The inbound agent that we started is still a process.
    pub agent_running: bool,
    /// None when it was not asked for.
    pub workspace: Option<WorkspaceSight>,
}

/// Whether a build has left anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkspaceSight {
    /// Nothing is in it, or it is not there.
    Empty,
    Used,
}

/// How a script stands that is started once and left alone.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScriptState {
    NotStarted,
    Running {
        /// Since its start, by the machine's own clock that no time service sets.
        seconds: u64,
        /// The last lines of its output so far.
        tail: String,
    },
    Passed,
    Exited {
        status: i32,
        /// The last lines of its output.
        tail: String,
    },
    /// Neither a process nor a status: the machine was restarted under it, or somebody killed it.
    Vanished {
        tail: String,
    },
}

impl ScriptState {
    /// The same with another tail, where it has one.
    #[must_use]
    pub fn with_tail(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::NotStarted | Self::Passed => self,
            Self::Running { seconds, tail } => Self::Running { seconds, tail: change(tail) },
            Self::Exited { status, tail } => Self::Exited { status, tail: change(tail) },
            Self::Vanished { tail } => Self::Vanished { tail: change(tail) },
        }
    }
}

/// Names a script's state directory on a machine: `/var/lib/poolkeeper/<server id>/<digest>/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct ScriptRun {
    pub server: ServerId,
    pub digest: Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGE+FfnOTQDGpBxpBFvUeliXWCBxhlGaZKlDHWRGVRix";

    #[test]
    fn a_comment_is_no_part_of_a_key() {
        assert_eq!(HostKey::parse(&format!("{KEY} root@node")).map(|key| key.to_string()), Some(KEY.to_owned()));
        assert_eq!(HostKey::parse("ssh-ed25519"), None);
        assert_eq!(HostKey::parse("hello AAAAC3NzaC1lZDI1NTE5AAAA"), None);
    }

    #[test]
    fn only_keys_between_cloud_inits_lines_count() {
        let key = HostKey::parse(KEY).expect("a key");
        let log = |inside: &str| format!("boot\n-----BEGIN SSH HOST KEY KEYS-----\n{inside}\n-----END SSH HOST KEY KEYS-----\n");
        assert!(key.stands_on(&log(&format!("{KEY} root@x"))));
        assert!(!key.stands_on(&log("")));
        assert!(!key.stands_on(&format!("{KEY}\n")), "a user could print it elsewhere");
    }
}
