//! The machines behind the servers: SSH, host keys, scripts by time, the agent's process. Nothing is ever executed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::faults::{AgentFate, Fate, ScriptFate, SshFate};
use crate::desired::{Digest, ScriptDir};
use crate::names::{NodeName, TargetName};
use crate::observed::{HostKey, MachineFacts, MachineSight, ScriptState, WorkspaceSight};

#[derive(Debug, Clone)]
pub struct Machine {
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
    /// /opt/nodepool-scripts; none: nothing was pushed.
    pub scripts: Option<Arc<ScriptDir>>,
    pub runs: BTreeMap<Digest, Run>,
    pub agent: Option<Process>,
    /// What builds left.
    pub workspace: WorkspaceSight,
}

/// What a private host key is made from.
#[derive(Clone, Copy)]
pub struct KeySeed(pub [u8; 32]);

impl fmt::Debug for KeySeed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("KeySeed")
    }
}

/// A script that was started.
#[derive(Debug, Clone)]
pub struct Run {
    began: Timestamp,
    /// None: never.
    ends: Option<Timestamp>,
    /// None: it leaves no status.
    status: Option<i32>,
    output: String,
}

/// An inbound agent's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub target: TargetName,
    pub name: NodeName,
}

/// How long a script may print for in a report: its last lines.
const TAIL_LINES: usize = 20;

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
    pub fn sight(&self, pinned: Option<&HostKey>, script: &Digest, workspace: bool, now: Timestamp) -> MachineSight {
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
        MachineSight::Up { key, facts: pinned.map(|_| self.facts(script, workspace, now)) }
    }

    pub fn facts(&self, script: &Digest, workspace: bool, now: Timestamp) -> MachineFacts {
        let workspace = workspace.then_some(self.workspace);
        MachineFacts { script: self.script_state(script, now), agent_running: self.agent.is_some(), workspace }
    }

    pub fn script_state(&self, script: &Digest, now: Timestamp) -> ScriptState {
        let Some(run) = self.runs.get(script) else { return ScriptState::NotStarted };
        let lines: Vec<&str> = run.output.lines().collect();
        let tail = lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)).copied().collect::<Vec<_>>().join("\n");
        if run.ends.is_none_or(|ends| ends > now) {
            let seconds = u64::try_from(now.duration_since(run.began).as_secs()).unwrap_or_default();
            return ScriptState::Running { seconds, tail };
        }
        match run.status {
            None => ScriptState::Vanished { tail },
            Some(0) => ScriptState::Passed,
            Some(status) => ScriptState::Exited { status, tail },
        }
    }

    /// The whole log of a script.
    pub fn script_log(&self, script: &Digest) -> Option<&str> {
        self.runs.get(script).map(|run| run.output.as_str())
    }

    /// False: it was started before and is left alone.
    pub fn start_script(&mut self, digest: &Digest, script: Option<&str>, now: Timestamp, ends: Timestamp) -> bool {
        if self.runs.contains_key(digest) {
            return false;
        }
        let pushed = |name: &str| self.scripts.as_ref().is_some_and(|dir| dir.files.contains_key(name));
        let (ends, status, output) = match (script, &self.fate.script) {
            (None, _) => (Some(now), Some(0), String::new()),
            (Some(name), _) if !pushed(name) => (Some(now), Some(127), format!("sh: 1: ./{name}: not found")),
            (Some(_), ScriptFate::Passes) => (Some(ends), Some(0), "all well".to_owned()),
            (Some(_), ScriptFate::Exits { status, output }) => (Some(ends), Some(*status), output.clone()),
            (Some(_), ScriptFate::Hangs) => (None, None, "waiting".to_owned()),
            (Some(_), ScriptFate::Vanishes) => (Some(ends), None, "half way".to_owned()),
        };
        self.runs.insert(digest.clone(), Run { began: now, ends, status, output });
        true
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
        for run in self.runs.values_mut().filter(|run| run.ends.is_none_or(|ends| ends > now)) {
            run.ends = Some(now);
            run.status = None;
        }
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
