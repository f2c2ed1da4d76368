//! What a remote command does to a machine of the sandbox, and what it prints. Read, never executed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use super::machine::Process;
use super::state::State;
use crate::desired::ScriptDir;
use crate::live::machine::remote_command::{COMPLETE, RemoteCommand, write_done, write_facts, write_log};
use crate::names::{NodeName, ServerId, TargetName};
use crate::observed::{MachineFacts, ScriptState};
use crate::world::Done;

/// Output and exit status, as a shell would leave them.
pub(super) struct Printed {
    pub text: String,
    pub status: u32,
}

impl Printed {
    fn failed(text: &str) -> Self {
        Self { text: format!("{text}\n"), status: 1 }
    }
}

impl State {
    /// On the machine of `server`, which is reachable and let the caller in.
    pub(super) fn run_remote(&mut self, server: &ServerId, command: &RemoteCommand, stdin: &[u8]) -> Printed {
        match command {
            RemoteCommand::Look { server: of, digest, workspace } => {
                let now = self.clock.now();
                let machine = self.machines.get(server);
                let nothing = MachineFacts { script: ScriptState::NotStarted, agent_running: false, workspace: None };
                let facts = machine.map_or(nothing, |machine| machine.facts((of, digest), workspace.is_some(), now));
                Printed { text: write_facts(&facts), status: 0 }
            }
            RemoteCommand::Push { .. } => self.run_push(server, stdin),
            RemoteCommand::Start { digest, hostname, script, .. } => {
                if !stdin.ends_with(format!("{COMPLETE}\0").as_bytes()) {
                    return Printed::failed("the environment was cut off on its way");
                }
                let (now, ends) = (self.clock.now(), self.clock.after(self.delays.script));
                let Some(machine) = self.machines.get_mut(server) else { return Printed::failed("no such machine") };
                if !machine.start_script(digest, script.as_deref(), now, ends) {
                    return Printed { text: write_done(&Done::Already), status: 0 };
                }
                self.log("start-script", hostname.as_str(), digest.as_str());
                Printed { text: write_done(&Done::Done), status: 0 }
            }
            RemoteCommand::StartAgent { name, .. } => self.run_start_agent(server, name, stdin),
            RemoteCommand::TurnOff { clean, .. } => match self.turn_off(server, clean) {
                Ok(()) => Printed { text: write_done(&Done::Done), status: 0 },
                Err(refusal) => Printed::failed(&refusal.said),
            },
            RemoteCommand::ScriptLog { server: of, digest } => {
                let log = self.machines.get(server).and_then(|machine| machine.disk.script_log(of, digest));
                Printed { text: write_log(log), status: 0 }
            }
        }
    }

    fn run_push(&mut self, server: &ServerId, stdin: &[u8]) -> Printed {
        let Some(mut files) = unpack(stdin) else { return Printed::failed("the files were cut off on their way") };
        files.retain(|path, _| path.starts_with("opt/nodepool-scripts/"));
        let names = files.into_iter().filter_map(|(path, content)| Some((path.rsplit('/').next()?.to_owned(), content)));
        let scripts = Arc::new(ScriptDir { files: names.collect() });
        let name = self.name_of(server);
        let digest = scripts.digest();
        let Some(machine) = self.machines.get_mut(server) else { return Printed::failed("no such machine") };
        machine.disk.scripts = Some(scripts);
        self.log("push-scripts", name, digest.as_str());
        Printed { text: write_done(&Done::Done), status: 0 }
    }

    fn run_start_agent(&mut self, server: &ServerId, name: &NodeName, stdin: &[u8]) -> Printed {
        let Some(files) = unpack(stdin) else { return Printed::failed("the files were cut off on their way") };
        let secret = files.get("secret").map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
        if files.get("agent.jar").is_none_or(Vec::is_empty) {
            return Printed::failed("Error: Unable to access jarfile agent.jar");
        }
        // The secret tells whose agent it is; a wrong one lets the process run and never connects.
        let target = self.jenkins.iter().find(|(_, jenkins)| secret.contains(&jenkins.agent_secret(name)));
        let target = target.map_or_else(|| TargetName::from("nobody's"), |(target, _)| target.clone());
        let process = Process { target, name: name.clone() };
        let Some(machine) = self.machines.get_mut(server) else { return Printed::failed("no such machine") };
        if !machine.start_agent(process) {
            return Printed { text: write_done(&Done::Already), status: 0 };
        }
        self.log("start-agent", name.as_str(), "");
        Printed { text: write_done(&Done::Done), status: 0 }
    }

    pub(super) fn name_of(&self, server: &ServerId) -> String {
        let mut servers = self.clouds.values().filter_map(|cloud| cloud.servers.get(server));
        servers.next().map(|server| server.seen.name.to_string()).unwrap_or_default()
    }
}

/// Paths and contents of a tar stream; none when its last file is not there.
fn unpack(stream: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        let path = entry.path().ok()?.to_string_lossy().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).ok()?;
        files.insert(path, content);
    }
    files.remove(COMPLETE).map(|_| files)
}
