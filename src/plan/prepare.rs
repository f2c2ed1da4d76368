//! The way up of a machine: pin its key, run the ready script, register, start the agent. One chain a pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::asks::login;
use super::{
    Act, Action, AgentExpects, AgentIs, AgentLauncher, Because, Chain, CreateAgent, Expects, Machine, MarkExpects, NodeFiles,
    PushScripts, ServerExpects, StartAgent, StartScript, Step, Subject, Verb,
};
use crate::desired::{Desired, Digest, HostKeyPolicy, Launcher, Pool, Provider, ScriptDir, Target};
use crate::names::{ControllerId, TargetName};
use crate::node::{Node, State};
use crate::observed::{AddressKind, AgentMark, HostKey, Mark, ServerStatus, marks};

/// The next step up, if the node's state has one.
pub fn next_step(desired: &Desired, node: &Node<'_>, now: Timestamp) -> Option<Chain> {
    let pool = node.pool?;
    let provider = desired.provider(&node.provider)?;
    let up = Up { desired, node, provider, now };
    let (step, actions) = if let State::Booting { up: Some(key) } = &node.state {
        let scripts = pool.scripts.clone().unwrap_or_else(|| Arc::new(ScriptDir::default()));
        let run = Run { scripts, digest: pool.ready_run(), script: pool.ready_script.clone(), env: BTreeMap::new() };
        (Step::Prepare, up.prepare(key, run)?)
    } else if node.state == State::ToRegister {
        (Step::Register, up.register(pool)?)
    } else if node.state == (State::Joining { start: true }) {
        (Step::StartAgent, vec![up.start_agent(pool, node.target()?)?])
    } else {
        return None;
    };
    let because = Because::Next(step);
    Some(Chain { subject: Subject::of(node), verb: Verb::Boot, because, times: Some(node.times()), actions })
}

/// What a script is started with.
#[derive(Debug)]
pub struct Run {
    pub scripts: Arc<ScriptDir>,
    pub digest: Digest,
    pub script: Option<String>,
    pub env: BTreeMap<String, String>,
}

/// What a machine on its way up must still look like: ours, ACTIVE, and going nowhere else.
pub fn still_up(controller: &ControllerId, node: &Node<'_>, marks: &[(Mark, MarkExpects)]) -> ServerExpects {
    let mut expected: BTreeMap<Mark, MarkExpects> = marks.iter().cloned().collect();
    expected.insert(Mark::Retire, MarkExpects::Absent);
    expected.insert(Mark::Failed, MarkExpects::Absent);
    ServerExpects {
        provider: node.provider.clone(),
        id: node.server.id.clone(),
        controller: controller.clone(),
        status: Some(ServerStatus::Active),
        marks: expected,
    }
}

/// A machine on its way up.
#[derive(Debug)]
pub struct Up<'u, 'a> {
    pub desired: &'u Desired,
    pub node: &'u Node<'a>,
    pub provider: &'u Provider,
    pub now: Timestamp,
}

impl Up<'_, '_> {
    pub fn expects(&self, marks: &[(Mark, MarkExpects)], agent: Option<AgentIs>) -> Expects {
        let server = Some(still_up(&self.desired.controller.id, self.node, marks));
        let agent = agent.zip(self.node.target());
        let agent = agent.map(|(is, target)| AgentExpects { target: target.clone(), name: self.node.name.clone(), is });
        Expects { server, agent, ..Expects::default() }
    }

    pub fn machine(&self, pinned: HostKey) -> Option<Machine> {
        let login = login(self.node, self.provider)?;
        Some(Machine { provider: self.node.provider.clone(), server: self.node.server.id.clone(), login, pinned })
    }

    pub fn set_marks(&self, marks: BTreeMap<Mark, String>, expects: Expects) -> Action {
        let act = Act::SetMarks { provider: self.node.provider.clone(), server: self.node.server.id.clone(), marks };
        Action { act, expects }
    }

    pub fn prepare(&self, key: &HostKey, run: Run) -> Option<Vec<Action>> {
        let mut actions = Vec::new();
        if self.node.marks.hostkey.is_none() {
            let pin = BTreeMap::from([(Mark::Hostkey, key.to_string())]);
            actions.push(self.set_marks(pin, self.expects(&[(Mark::Hostkey, MarkExpects::Absent)], None)));
        }
        let machine = self.machine(key.clone())?;
        let pinned = || self.expects(&[(Mark::Hostkey, MarkExpects::Present), (Mark::Agent, MarkExpects::Absent)], None);
        let Run { scripts, digest, script, env } = run;
        let push = PushScripts { machine: machine.clone(), scripts, node: self.node_files()? };
        let start = StartScript { machine, digest, script, hostname: self.node.name.clone(), env };
        actions.push(Action { act: Act::PushScripts(Box::new(push)), expects: pinned() });
        actions.push(Action { act: Act::StartScript(Box::new(start)), expects: pinned() });
        Some(actions)
    }

    fn node_files(&self) -> Option<NodeFiles> {
        let server = self.node.server;
        let address = self.node.address(self.provider)?.to_owned();
        let fixed = server.addresses.iter().find(|address| address.kind == AddressKind::Fixed);
        Some(NodeFiles {
            hostname: self.node.name.clone(),
            private_address: fixed.map_or_else(|| address.clone(), |fixed| fixed.address.to_string()),
            address,
            provider: self.provider.name.clone(),
            region: self.provider.region.clone(),
            availability_zone: server.availability_zone.as_ref().map(ToString::to_string),
            cloud: self.provider.cloud.clone(),
            uuid: server.id.clone(),
        })
    }

    fn register(&self, pool: &Pool) -> Option<Vec<Action>> {
        let target = self.desired.target(self.node.target()?)?;
        let launcher = self.launcher(pool, target)?;
        let joining = BTreeMap::from([(Mark::Agent, marks::joining(self.now))]);
        let mark = self.set_marks(joining, self.expects(&[(Mark::Hostkey, MarkExpects::Present)], Some(AgentIs::Absent)));
        let marked = || self.expects(&[(Mark::Agent, MarkExpects::Present)], Some(AgentIs::Absent));
        let create = CreateAgent {
            target: target.name.clone(),
            name: self.node.name.clone(),
            description: self.description(pool),
            executors: pool.executors,
            remote_fs: pool.agent.remote_fs.clone(),
            labels: pool.labels.clone(),
            mode: pool.agent.mode,
            launcher,
        };
        let mut actions = vec![mark, Action { act: Act::CreateAgent(Box::new(create)), expects: marked() }];
        if matches!(pool.agent.launcher, Launcher::Inbound { .. }) {
            actions.push(self.start_agent(pool, &target.name)?);
        }
        Some(actions)
    }

    fn description(&self, pool: &Pool) -> String {
        let (label, controller) = (pool.labels.join(" "), &self.desired.controller.id);
        let (server, pool) = (&self.node.server.id, &pool.name);
        format!("Dynamic single use {label} node [poolkeeper controller={controller} server={server} pool={pool}]")
    }

    fn launcher(&self, pool: &Pool, target: &Target) -> Option<AgentLauncher> {
        Some(match &pool.agent.launcher {
            Launcher::Inbound { .. } => AgentLauncher::Inbound,
            Launcher::Ssh { port, java_path, jvm_options, host_key } => AgentLauncher::Ssh {
                host: login(self.node, self.provider)?.host,
                port: *port,
                // The loader refuses the SSH launcher without it.
                credentials_id: target.credentials_id.clone().unwrap_or_default(),
                java_path: java_path.clone(),
                jvm_options: jvm_options.clone(),
                host_key: match host_key {
                    HostKeyPolicy::Pinned => self.node.marks.hostkey.clone(),
                    HostKeyPolicy::None => None,
                },
            },
        })
    }

    fn start_agent(&self, pool: &Pool, target: &TargetName) -> Option<Action> {
        let machine = self.machine(self.node.marks.hostkey.clone()?)?;
        let start = match &pool.agent.launcher {
            Launcher::Inbound { start } => start.clone(),
            Launcher::Ssh { .. } => return None,
        };
        let (name, remote_fs) = (self.node.name.clone(), pool.agent.remote_fs.clone());
        let act = Act::StartAgent(Box::new(StartAgent { machine, target: target.clone(), name, remote_fs, start }));
        Some(Action { act, expects: self.expects(&[(Mark::Agent, MarkExpects::Present)], Some(AgentIs::Present)) })
    }
}

/// Whether the node came online for the first time: then it is never registered again.
pub fn first_online(node: &Node<'_>) -> bool {
    node.marks.agent != Some(AgentMark::Joined)
        && node.agent.computer().is_some_and(|agent| agent.online() || agent.temporarily_offline)
}
