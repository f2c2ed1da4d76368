//! The machines behind the servers: SSH, host keys, power, the agent's process. Nothing is ever executed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::disk::Disk;
use super::faults::{AgentFate, Fate, SshFate};
use crate::desired::{Clean, Digest};
use crate::names::{NodeName, ServerId, TargetName};
use crate::observed::{HostKey, MachineFacts, MachineSight};

#[derive(Debug, Clone)]
pub struct Machine {
    pub server: ServerId,
    /// A loopback address of its own.
    pub address: String,
    /// The private host key is made from it.
    pub key_seed: KeySeed,
    pub host_key: HostKey,
    /// Off: SHUTOFF, paused, or its server is gone.
    pub on: bool,
    /// When SSH answers after this start.
    pub ssh_at: Timestamp,
    pub fate: Fate,
    pub disk: Disk,
    pub agent: Option<Process>,
    /// When it is off by itself: it was told to.
    pub off_at: Option<Timestamp>,
}

/// What a private host key is made from.
#[derive(Clone, Copy)]
pub struct KeySeed(pub [u8; 32]);

impl fmt::Debug for KeySeed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("KeySeed")
    }
}

/// An inbound agent's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub target: TargetName,
    pub name: NodeName,
}

/// A key's text in OpenSSH's form with the seed's hash for a key: enough as long as nobody connects.
pub fn text_key(seed: &KeySeed) -> HostKey {
    let mut wire = Vec::new();
    for part in [b"ssh-ed25519".as_slice(), Sha256::digest(seed.0).as_slice()] {
        wire.extend_from_slice(&u32::try_from(part.len()).unwrap_or_default().to_be_bytes());
        wire.extend_from_slice(part);
    }
    let text = format!("ssh-ed25519 {}", STANDARD.encode(wire));
    HostKey::parse(&text).unwrap_or_else(|| unreachable!("an algorithm and base64"))
}

impl Machine {
    /// Whether SSH answers at all.
    pub fn reachable(&self, now: Timestamp) -> bool {
        self.on && self.fate.ssh != SshFate::Never && self.ssh_at <= now
    }

    /// What one connect shows.
    pub fn sight(&self, pinned: Option<&HostKey>, run: (&ServerId, &Digest), workspace: bool, now: Timestamp) -> MachineSight {
        if !self.on {
            return MachineSight::NoSsh { why: "connection timed out".to_owned() };
        }
        if !self.reachable(now) {
            return MachineSight::NoSsh { why: "connection refused".to_owned() };
        }
        let key = self.host_key.clone();
        if pinned.is_some_and(|pinned| *pinned != key) {
            return MachineSight::OtherKey { key };
        }
        if self.fate.ssh == SshFate::LoginRefused {
            return MachineSight::LoginRefused { key, why: "Permission denied (publickey)".to_owned() };
        }
        MachineSight::Up { key, facts: pinned.map(|_| self.facts(run, workspace, now)) }
    }

    /// What stands in the state directory of a server: of another one, which a snapshot brought along, nothing that runs.
    pub fn facts(&self, (server, script): (&ServerId, &Digest), workspace: bool, now: Timestamp) -> MachineFacts {
        MachineFacts {
            script: self.disk.script_state(server, script, now),
            agent_running: self.agent.is_some() && *server == self.server,
            workspace: workspace.then_some(self.disk.workspace),
        }
    }

    /// False: it was started before and is left alone.
    pub fn start_script(&mut self, digest: &Digest, script: Option<&str>, now: Timestamp, ends: Timestamp) -> bool {
        self.disk.start_script(&self.server, digest, script, &self.fate.script, (now, ends))
    }

    /// Cleans, and is off a moment after it has answered.
    pub fn turn_off(&mut self, clean: &[Clean], off_at: Timestamp) {
        self.disk.clean(clean);
        self.off_at = (!self.fate.never_off).then_some(off_at);
    }

    /// False: it runs already.
    pub fn start_agent(&mut self, process: Process) -> bool {
        if self.agent.as_ref() == Some(&process) {
            return false;
        }
        self.agent = (self.fate.agent != AgentFate::Dies).then_some(process);
        true
    }

    /// Off, or off and on again: processes end, files stay.
    pub fn power(&mut self, on: bool, now: Timestamp, ssh_at: Timestamp) {
        self.agent = None;
        self.disk.end_processes(now);
        self.off_at = None;
        self.on = on;
        self.ssh_at = ssh_at;
    }

    /// What cloud-init prints, once SSH is up.
    pub fn console(&self, now: Timestamp) -> String {
        let mut log = format!("[    0.000000] Linux version 6.1.0\n[    2.104511] cloud-init: address {}\n", self.address);
        if self.on && self.ssh_at <= now && !self.fate.silent_console {
            log.push_str("-----BEGIN SSH HOST KEY KEYS-----\n");
            log.push_str(self.host_key.as_str());
            log.push_str(" root@sandbox\n-----END SSH HOST KEY KEYS-----\n");
        }
        log
    }
}
