//! The sandbox as the `World` that plans are made and carried out in, without any wire between.

use super::Sandbox;
use super::faults::Drop;
use super::generation::Generation;
use super::images::CloudImage;
use super::state::State;
use crate::desired::{Controller, Desired, Provider};
use crate::names::{ProviderName, TargetName};
use crate::observed::{
    Account, AgentConfig, Answer, Ask, Fresh, Gap, Image, Lists, MachineAsk, MachineSight, Mark, Object, ProviderLists, Source,
    TargetList,
};
use crate::plan::{Act, CreateFloatingIp};
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
        let images = cloud.images.iter().map(CloudImage::listed).filter(|image| {
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
            images: images.collect(),
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
                    Some(machine) => machine.sight(ask.pinned.as_ref(), (&ask.server, &ask.script), ask.workspace.is_some(), now),
                    None => MachineSight::NoSsh { why: "no route to host".to_owned() },
                }))
            }
            Ask::ScriptLog(ask) => self.answer_log(ask),
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
            Ask::Image(provider, id) => {
                self.seen(Source::Provider(provider.clone()), "GET /images/ID")?;
                let mut images = self.clouds.get(provider).into_iter().flat_map(|cloud| &cloud.images);
                Ok(Answer::Image(images.find(|image| image.seen.id == *id).map(|image| image.seen.clone())))
            }
            Ask::Networks(provider) => {
                self.seen(Source::Provider(provider.clone()), "GET /networks")?;
                Ok(Answer::Networks(self.clouds.get(provider).map(|cloud| cloud.networks.clone()).unwrap_or_default()))
            }
        }
    }

    fn answer_log(&mut self, ask: &MachineAsk) -> Result<Answer, Gap> {
        let source = Source::Server(ask.provider.clone(), ask.server.clone());
        let said = self.faults.outages.get(&source).cloned();
        let now = self.clock.now();
        let machine = self.machines.get(&ask.server).filter(|machine| machine.address == ask.login.host);
        let sight = machine.map(|machine| machine.sight(ask.pinned.as_ref(), (&ask.server, &ask.script), false, now));
        let log = machine.and_then(|machine| machine.disk.script_log(&ask.server, &ask.script)).unwrap_or_default();
        match (said, sight) {
            (None, Some(MachineSight::Up { .. })) => Ok(Answer::ScriptLog(log.to_owned())),
            (said, _) => {
                let answered = said.unwrap_or_else(|| "connection refused".to_owned());
                Err(Gap { source, tried: "ssh".to_owned(), answered, hint: None })
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
        if let Some((provider, id)) = &object.image {
            self.seen(Source::Provider(provider.clone()), "GET /images/ID")?;
            let image = self.clouds.get(provider).and_then(|cloud| cloud.image(id.as_str()));
            fresh.image = Some(image.map(CloudImage::listed));
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
}

fn is_ours(image: &Image, controller: &Controller) -> bool {
    image.properties.get(Mark::Controller.key()).map(String::as_str) == Some(controller.id.as_str())
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
