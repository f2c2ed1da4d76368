//! The sandbox as the `World` that plans are made and carried out in, without any wire between.

use super::Sandbox;
use super::cloud::NewServer;
use super::faults::Drop;
use super::generation::Generation;
use super::jenkins::{Node, NodeLauncher, Why};
use super::machine::Process;
use super::refusal::Refusal;
use super::state::State;
use crate::desired::{Controller, Desired, Provider};
use crate::names::{NodeName, ProviderName, TargetName};
use crate::observed::{
    Account, AgentConfig, Answer, Ask, Fresh, Gap, Image, Lists, MachineSight, Mark, Object, ProviderLists, Source, TargetList,
};
use crate::plan::{
    Act, AgentLauncher, CreateAgent, CreateFloatingIp, CreateServer, Machine, PushScripts, StartAgent, StartScript,
};
use crate::world::{ActError, ActErrorKind, Done, World};

impl World for Sandbox {
    fn lists(&self, desired: &Desired) -> Lists {
        self.with(|state| {
            let providers = desired.controller.providers.values();
            let targets = desired.controller.targets.keys();
            Lists {
                providers: providers.map(|provider| (provider.name.clone(), state.provider_lists(desired, provider))).collect(),
                targets: targets.map(|name| (name.clone(), state.target_list(name))).collect(),
            }
        })
    }

    fn answer(&self, ask: &Ask) -> Result<Answer, Gap> {
        self.with(|state| state.answer(ask))
    }

    fn read(&self, object: &Object) -> Result<Fresh, Gap> {
        self.with(|state| state.read(object))
    }

    fn act(&self, act: &Act) -> Result<Done, ActError> {
        self.with(|state| state.act(act))
    }
}

/// A machine's answer to something that it does not answer.
fn no_ssh() -> Refusal {
    Refusal::new(503, "connection refused")
}

impl State {
    /// Nothing of this provider answers over HTTP.
    pub(super) fn is_silent(&self, provider: &ProviderName) -> bool {
        self.outage(&Source::Provider(provider.clone())).is_some()
    }

    /// Why a service answers nothing now; a machine's own outage included.
    fn outage(&self, source: &Source) -> Option<String> {
        let provider_of = match source {
            Source::Server(provider, _) => Some(Source::Provider(provider.clone())),
            Source::Provider(_) | Source::Target(_) => None,
        };
        let said = self.faults.outages.get(source).or_else(|| self.faults.outages.get(provider_of.as_ref()?));
        if said.is_some() {
            return said.cloned();
        }
        match source {
            Source::Provider(name) | Source::Server(name, _) => {
                (!self.clouds.contains_key(name)).then(|| "not in the sandbox".to_owned())
            }
            Source::Target(name) => match self.jenkins.get(name) {
                None => Some("not in the sandbox".to_owned()),
                Some(jenkins) if jenkins.is_down(self.clock.now()) => {
                    Some("HTTP 503: Please wait while Jenkins is getting ready to work".to_owned())
                }
                Some(_) => None,
            },
        }
    }

    /// A look: refused, too, from a stop on.
    pub(super) fn seen(&self, source: Source, tried: &str) -> Result<(), Gap> {
        let stopped = self.faults.stopped().then(|| "connection refused".to_owned());
        match stopped.or_else(|| self.outage(&source)) {
            Some(answered) => Err(Gap { source, tried: tried.to_owned(), answered, hint: None }),
            None => Ok(()),
        }
    }

    fn provider_lists(&mut self, desired: &Desired, provider: &Provider) -> Result<ProviderLists, Gap> {
        let name = &provider.name;
        self.seen(Source::Provider(name.clone()), "GET /servers/detail")?;
        let Some(cloud) = self.clouds.get(name) else { return Ok(ProviderLists::default()) };
        let wanted = desired.glance_names();
        let images = cloud.images.iter().filter(|image| {
            wanted.iter().any(|wanted| *wanted == image.name || *wanted == image.id.as_str())
                || is_ours(image, &desired.controller)
        });
        Ok(ProviderLists {
            account: Account {
                file: "the sandbox".to_owned(),
                cloud: provider.cloud.clone(),
                project: cloud.project.clone(),
                user: cloud.user.clone(),
            },
            servers: cloud.servers.values().map(|server| server.seen.clone()).collect(),
            images: images.cloned().collect(),
            floating_ips: self.list_floating_ips(name, provider.floating_ip_network.is_some()),
        })
    }

    fn target_list(&mut self, name: &TargetName) -> Result<TargetList, Gap> {
        self.seen(Source::Target(name.clone()), "GET /computer/api/json")?;
        Ok(self.jenkins.get(name).map(super::jenkins::Jenkins::list).unwrap_or_default())
    }

    fn answer(&mut self, ask: &Ask) -> Result<Answer, Gap> {
        match ask {
            Ask::Machine(ask) => {
                // Only an outage of this one machine: SSH does not go through the cloud's API.
                let source = Source::Server(ask.provider.clone(), ask.server.clone());
                if let Some(said) = self.faults.outages.get(&source) {
                    return Err(Gap { answered: said.clone(), source, tried: "ssh".to_owned(), hint: None });
                }
                let now = self.clock.now();
                let machine = self.machines.get(&ask.server).filter(|machine| machine.address == ask.login.host);
                Ok(Answer::Machine(match machine {
                    Some(machine) => machine.sight(ask.pinned.as_ref(), &ask.script, ask.workspace.is_some(), now),
                    None => MachineSight::NoSsh { why: "no route to host".to_owned() },
                }))
            }
            Ask::ScriptLog(ask) => Ok(Answer::ScriptLog(
                self.machines.get(&ask.server).and_then(|machine| machine.script_log(&ask.script)).unwrap_or_default().to_owned(),
            )),
            Ask::Console(provider, server) => {
                let source = Source::Server(provider.clone(), server.clone());
                self.seen(source, "POST /servers/ID/action os-getConsoleOutput")?;
                let now = self.clock.now();
                Ok(Answer::Console(self.machines.get(server).map(|machine| machine.console(now)).unwrap_or_default()))
            }
            Ask::Limits(provider) => {
                self.seen(Source::Provider(provider.clone()), "GET /limits")?;
                let quota = self.clouds.get(provider).map(super::cloud::Cloud::quota);
                Ok(Answer::Limits(quota.unwrap_or_default()))
            }
            Ask::Flavors(provider) => {
                self.seen(Source::Provider(provider.clone()), "GET /flavors/detail")?;
                Ok(Answer::Flavors(self.clouds.get(provider).map(|cloud| cloud.flavors.clone()).unwrap_or_default()))
            }
            Ask::AgentConfig(target, name) => {
                self.seen(Source::Target(target.clone()), "GET /computer/NAME/config.xml")?;
                let jenkins = self.jenkins.get(target).filter(|jenkins| jenkins.generation != Generation::Hudson332);
                let node = jenkins.and_then(|jenkins| jenkins.nodes.get(name)).filter(|node| !node.ghost);
                let absent = || AgentConfig::Absent;
                Ok(Answer::AgentConfig(node.map_or_else(absent, |node| AgentConfig::Description(node.description.clone()))))
            }
            Ask::Queue(target) => {
                self.seen(Source::Target(target.clone()), "GET /queue/api/json")?;
                Ok(Answer::Queue(self.jenkins.get(target).map(super::jenkins::Jenkins::waiting).unwrap_or_default()))
            }
            Ask::Ports(provider, server) => self.answer_ports(provider, server),
            Ask::Networks(provider) => {
                self.seen(Source::Provider(provider.clone()), "GET /networks")?;
                Ok(Answer::Networks(self.clouds.get(provider).map(|cloud| cloud.networks.clone()).unwrap_or_default()))
            }
        }
    }

    fn read(&mut self, object: &Object) -> Result<Fresh, Gap> {
        let mut fresh = Fresh::default();
        self.read_floating_ip(object, &mut fresh)?;
        if let Some((provider, id)) = &object.server {
            self.seen(Source::Server(provider.clone(), id.clone()), "GET /servers/ID")?;
            let server = self.clouds.get(provider).and_then(|cloud| cloud.servers.get(id));
            fresh.server = Some(server.map(|server| server.seen.clone()));
        }
        if let Some((target, name)) = &object.agent {
            self.seen(Source::Target(target.clone()), "GET /computer/NAME/api/json")?;
            let jenkins = self.jenkins.get(target);
            let computer = jenkins.and_then(|jenkins| {
                let node = jenkins.visible().find(|node| node.name == *name)?;
                Some(node.computer(jenkins.generation))
            });
            fresh.agent = Some(computer);
        }
        Ok(fresh)
    }

    fn act(&mut self, act: &Act) -> Result<Done, ActError> {
        let tried = format!("{} in the sandbox", act.kind());
        let unanswered = |said: &str, tried: &str| ActError {
            kind: ActErrorKind::Unanswered,
            said: said.to_owned(),
            tried: tried.to_owned(),
            hint: None,
        };
        let dropped = self.admit(&tried);
        if dropped == Some(Drop::BeforeEffect) {
            return Err(unanswered("connection refused", &tried));
        }
        if let Some(said) = source_of(act).and_then(|source| self.outage(&source)) {
            return Err(unanswered(&said, &tried));
        }
        if let Some(fault) = self.faults.act_fault(act.kind()) {
            if fault.done {
                // Its answer is what gets lost.
                let _lost = self.perform(act);
            }
            return Err(ActError { kind: fault.error, said: fault.said, tried, hint: None });
        }
        let done = self.perform(act).map_err(|refusal| ActError {
            kind: refusal.kind(),
            said: format!("{} (HTTP {})", refusal.said, refusal.status),
            tried: tried.clone(),
            hint: None,
        });
        if dropped == Some(Drop::AfterEffect) {
            return Err(unanswered("connection reset", &tried));
        }
        done
    }

    fn perform(&mut self, act: &Act) -> Result<Done, Refusal> {
        match act {
            Act::CreateServer(create) => self.create_server(&create.provider, new_server(create)).map(Done::Accepted),
            Act::SetMarks { provider, server, marks } => {
                let items = marks.iter().map(|(mark, value)| (mark.key().to_owned(), value.clone())).collect();
                self.set_marks(provider, server, &items).map(|_| Done::Done)
            }
            Act::ClearMark { provider, server, mark } => match self.clear_mark(provider, server, mark.key()) {
                Err(refusal) if refusal.status == 404 && refusal.said.starts_with("Metadata") => Ok(Done::Already),
                other => other.map(|()| Done::Done),
            },
            Act::Unlock { provider, server } => self.set_lock(provider, server, false).map(|()| Done::Done),
            Act::DeleteServer { provider, server } => already_when_gone(self.delete_server(provider, server)),
            Act::CreateFloatingIp(create) => self.perform_floating_ip(create),
            Act::DeleteFloatingIp { provider, id } => already_when_gone(self.delete_floating_ip(provider, id)),
            Act::PushScripts(push) => self.push_scripts(push),
            Act::StartScript(start) => self.start_script(start),
            Act::CreateAgent(create) => self.create_agent(&create.target, new_node(create)).map(|()| Done::Done),
            Act::MarkOffline { target, name, message } => self.mark_offline(target, name, message),
            Act::LiftMark { target, name } => self.lift_mark(target, name),
            Act::DeleteAgent { target, name } => already_when_gone(self.delete_agent(target, name)),
            Act::StartAgent(start) => self.start_agent(start),
            Act::TurnOff(_)
            | Act::CreateImage(_)
            | Act::MarkImage { .. }
            | Act::ProtectImage { .. }
            | Act::RenameImage { .. }
            | Act::DeleteImage { .. } => Err(Refusal::new(501, "not supported yet")),
        }
    }

    /// The machine of an action, reached with its pinned key.
    fn reach(&mut self, on: &Machine) -> Result<&mut super::machine::Machine, Refusal> {
        let now = self.clock.now();
        let machine = self.machines.get_mut(&on.server).filter(|machine| machine.address == on.login.host);
        let machine = machine.ok_or_else(no_ssh)?;
        match machine.sight(Some(&on.pinned), &crate::desired::Digest::of::<&[u8]>(&[]), false, now) {
            MachineSight::Up { .. } => Ok(machine),
            MachineSight::NoSsh { why } => Err(Refusal::new(503, why)),
            MachineSight::OtherKey { key } => Err(Refusal::new(495, format!("another host key answered: {key}"))),
            MachineSight::LoginRefused { why, .. } => Err(Refusal::new(495, why)),
        }
    }

    fn push_scripts(&mut self, push: &PushScripts) -> Result<Done, Refusal> {
        let machine = self.reach(&push.machine)?;
        machine.scripts = Some(push.scripts.clone());
        self.log("push-scripts", push.node.hostname.as_str(), push.scripts.digest().as_str());
        Ok(Done::Done)
    }

    fn start_script(&mut self, start: &StartScript) -> Result<Done, Refusal> {
        let (now, ends) = (self.clock.now(), self.clock.after(self.delays.script));
        let machine = self.reach(&start.machine)?;
        if !machine.start_script(&start.digest, start.script.as_deref(), now, ends) {
            return Ok(Done::Already);
        }
        self.log("start-script", start.hostname.as_str(), start.digest.as_str());
        Ok(Done::Done)
    }

    fn start_agent(&mut self, start: &StartAgent) -> Result<Done, Refusal> {
        // Its secret is read first.
        self.target(&start.target)?.node(start.name.as_str())?;
        let process = Process { target: start.target.clone(), name: start.name.clone() };
        if !self.reach(&start.machine)?.start_agent(process) {
            return Ok(Done::Already);
        }
        self.log("start-agent", start.name.as_str(), "");
        Ok(Done::Done)
    }

    fn mark_offline(&mut self, target: &TargetName, name: &NodeName, message: &str) -> Result<Done, Refusal> {
        let now = self.clock.now();
        let jenkins = self.target(target)?;
        let user = jenkins.user.clone();
        let node = jenkins.node(name.as_str())?;
        if node.marked {
            return Ok(Done::Already);
        }
        node.set_mark(now, Why::User { user, message: message.to_owned() });
        self.log("mark-offline", name.as_str(), message);
        Ok(Done::Done)
    }
}

impl State {
    fn lift_mark(&mut self, target: &TargetName, name: &NodeName) -> Result<Done, Refusal> {
        let node = self.target(target)?.node(name.as_str())?;
        if !node.marked {
            return Ok(Done::Already);
        }
        node.unmark();
        self.log("lift-mark", name.as_str(), "");
        Ok(Done::Done)
    }
}

fn is_ours(image: &Image, controller: &Controller) -> bool {
    image.properties.get(Mark::Controller.key()).map(String::as_str) == Some(controller.id.as_str())
}

fn already_when_gone(result: Result<(), Refusal>) -> Result<Done, Refusal> {
    match result {
        Ok(()) => Ok(Done::Done),
        Err(refusal) if refusal.status == 404 => Ok(Done::Already),
        Err(refusal) => Err(refusal),
    }
}

/// Whose outage stops an action; none: SSH, which has its own answers.
fn source_of(act: &Act) -> Option<Source> {
    match act {
        Act::CreateServer(create) => Some(Source::Provider(create.provider.clone())),
        Act::CreateFloatingIp(CreateFloatingIp { provider, .. }) | Act::DeleteFloatingIp { provider, .. } => {
            Some(Source::Provider(provider.clone()))
        }
        Act::SetMarks { provider, server, .. }
        | Act::ClearMark { provider, server, .. }
        | Act::Unlock { provider, server }
        | Act::DeleteServer { provider, server } => Some(Source::Server(provider.clone(), server.clone())),
        Act::CreateAgent(create) => Some(Source::Target(create.target.clone())),
        Act::StartAgent(start) => Some(Source::Target(start.target.clone())),
        Act::MarkOffline { target, .. } | Act::LiftMark { target, .. } | Act::DeleteAgent { target, .. } => {
            Some(Source::Target(target.clone()))
        }
        Act::CreateImage(create) => Some(Source::Server(create.provider.clone(), create.server.clone())),
        Act::MarkImage { provider, .. }
        | Act::ProtectImage { provider, .. }
        | Act::RenameImage { provider, .. }
        | Act::DeleteImage { provider, .. } => Some(Source::Provider(provider.clone())),
        Act::PushScripts(_) | Act::StartScript(_) | Act::TurnOff(_) => None,
    }
}

fn new_server(create: &CreateServer) -> NewServer {
    NewServer {
        name: create.name.as_str().to_owned(),
        image: create.image.as_str().to_owned(),
        flavor: create.flavor.as_str().to_owned(),
        networks: create.networks.iter().map(|network| network.as_str().to_owned()).collect(),
        security_groups: create.security_groups.clone(),
        availability_zone: create.availability_zone.clone(),
        key_name: create.key_name.clone(),
        config_drive: create.config_drive,
        user_data: create.user_data.as_ref().map(|data| data.expose().into()),
        metadata: create.marks.iter().map(|(mark, value)| (mark.key().to_owned(), value.clone())).collect(),
    }
}

fn new_node(create: &CreateAgent) -> Node {
    let launcher = match &create.launcher {
        AgentLauncher::Ssh { host, .. } => NodeLauncher::Ssh { host: host.clone() },
        AgentLauncher::Inbound => NodeLauncher::Inbound,
    };
    let mut node = Node::new(create.name.clone(), launcher);
    node.description.clone_from(&create.description);
    node.executors = create.executors;
    node.remote_fs.clone_from(&create.remote_fs);
    node.labels.clone_from(&create.labels);
    node.mode = create.mode;
    node
}
