//! What is on a machine's disk, and goes with it into a snapshot: scripts, runs of scripts by server, what builds left.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::faults::ScriptFate;
use crate::desired::{Clean, Digest, ScriptDir};
use crate::names::ServerId;
use crate::observed::{ScriptState, WorkspaceSight};

#[derive(Debug, Clone)]
pub struct Disk {
    /// /opt/nodepool-scripts; none: nothing was pushed.
    pub scripts: Option<Arc<ScriptDir>>,
    /// Where a push made `/var/lib/poolkeeper/<server id>`: without it nothing starts.
    pub runs: BTreeMap<ServerId, BTreeMap<Digest, Run>>,
    /// What builds left.
    pub workspace: WorkspaceSight,
    /// What was cleaned when the machine was turned off.
    pub cleaned: Vec<Clean>,
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

/// How long a script may print for in a report: its last lines.
const TAIL_LINES: usize = 20;

impl Default for Disk {
    fn default() -> Self {
        Self { scripts: None, runs: BTreeMap::new(), workspace: WorkspaceSight::Empty, cleaned: Vec::new() }
    }
}

impl Disk {
    /// As a snapshot has it that is taken now: without any process.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        let mut disk = self.clone();
        disk.end_processes(now);
        disk
    }

    /// The power goes: what ran leaves no status.
    pub fn end_processes(&mut self, now: Timestamp) {
        let runs = self.runs.values_mut().flat_map(BTreeMap::values_mut);
        for run in runs.filter(|run| run.ends.is_none_or(|ends| ends > now)) {
            run.ends = Some(now);
            run.status = None;
        }
    }

    pub fn script_state(&self, server: &ServerId, script: &Digest, now: Timestamp) -> ScriptState {
        let Some(run) = self.run(server, script) else { return ScriptState::NotStarted };
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

    /// The whole output of a script; none: it was not started for this server.
    pub fn script_log(&self, server: &ServerId, script: &Digest) -> Option<&str> {
        self.run(server, script).map(|run| run.output.as_str())
    }

    fn run(&self, server: &ServerId, script: &Digest) -> Option<&Run> {
        self.runs.get(server)?.get(script)
    }

    /// False: it was started before and is left alone.
    pub fn start_script(
        &mut self,
        server: &ServerId,
        digest: &Digest,
        script: Option<&str>,
        fate: &ScriptFate,
        (now, ends): (Timestamp, Timestamp),
    ) -> bool {
        if self.run(server, digest).is_some() {
            return false;
        }
        let pushed = |name: &str| self.scripts.as_ref().is_some_and(|dir| dir.files.contains_key(name));
        let (ends, status, output) = match (script, fate) {
            (None, _) => (Some(now), Some(0), String::new()),
            (Some(name), _) if !pushed(name) => (Some(now), Some(127), format!("sh: 1: ./{name}: not found")),
            (Some(_), ScriptFate::Passes) => (Some(ends), Some(0), "all well".to_owned()),
            (Some(_), ScriptFate::Exits { status, output }) => (Some(ends), Some(*status), output.clone()),
            (Some(_), ScriptFate::Hangs) => (None, None, "waiting".to_owned()),
            (Some(_), ScriptFate::Vanishes) => (Some(ends), None, "half way".to_owned()),
        };
        let run = Run { began: now, ends, status, output };
        self.runs.entry(server.clone()).or_default().insert(digest.clone(), run);
        true
    }

    /// Our own traces, and what else was asked for.
    pub fn clean(&mut self, clean: &[Clean]) {
        self.runs.clear();
        self.cleaned = clean.to_vec();
    }
}
