//! A chain's actions, one after the other: whom they touch, what stands written before them, what they expect.

use jiff::SignedDuration;

use super::sight::{Agent, Sight, Sights, agent_of};
use super::{Offence, floating, images, keys};
use crate::desired::UsedWhen;
use crate::names::{FloatingIpId, ImageId, NodeName};
use crate::node::name::is_ours;
use crate::observed::{Computer, Mark, Refused, Role, ServerStatus};
use crate::plan::{Act, Action, AgentIs, Chain, MarkExpects, ServerExpects};

/// A build that was handed out in the moment of our own mark is shown within this time.
const SETTLES: SignedDuration = SignedDuration::from_secs(2);

pub(super) fn audit(sights: &Sights<'_>, chain: &Chain, offences: &mut Vec<Offence>) {
    if chain.actions.iter().any(|action| matches!(action.act, Act::CreateServer(_))) {
        if chain.actions.len() > 1 {
            offences.push(Offence::AfterTheEnd(chain.subject.name.clone()));
        }
        return;
    }
    // `two_chains` has said it.
    let Some((server, agent)) = keys(chain) else { return };
    if server.is_none() && (lone(sights, chain) || floating::is_lone(sights, chain)) {
        return;
    }
    let sight = match (server, agent) {
        (Some(key), _) => sights.ours.get(&key),
        (None, Some((_, name))) => sights.named(name.as_str()),
        (None, None) => None,
    };
    let name = &chain.subject.name;
    let fits = |sight: &&Sight<'_>| sight.server.name == name.as_str() && agent.is_none_or(|(_, agent)| agent == name);
    match sight.filter(fits) {
        Some(sight) => {
            let mut steps = Steps {
                sights,
                sight,
                name,
                written: Vec::new(),
                released: Vec::new(),
                images_gone: Vec::new(),
                unlocked: false,
                agent_deleted: false,
                server_deleted: false,
            };
            for action in &chain.actions {
                let faults = steps.faults(action);
                offences.extend(faults.into_iter().map(|offence| offence(name.clone())));
                steps.done(&action.act);
            }
        }
        None => offences.push(Offence::Foreign(name.clone())),
    }
}

/// An agent with a name of ours and no server anywhere: offline, idle, and nobody else's by its description. Or a ghost.
fn lone(sights: &Sights<'_>, chain: &Chain) -> bool {
    let [Action { act: Act::DeleteAgent { target, name }, expects }] = chain.actions.as_slice() else { return false };
    let lists = &sights.observed.lists;
    let list = lists.targets.get(target).and_then(|list| list.as_ref().ok());
    let Some(agent) = list.and_then(|list| list.computers.iter().find(|one| one.name == name.as_str())) else { return false };
    let expected = expects.agent.as_ref().filter(|agent| agent.target == *target && agent.name == *name).map(|agent| agent.is);
    let ours = format!("controller={} ", sights.desired.controller.id);
    let described = agent.description.as_deref().is_none_or(|text| text.is_empty() || text.contains(&ours));
    let ghost = agent.num_executors == 0 && agent.offline && expected == Some(AgentIs::Ghost);
    let idle = agent.offline && !agent.busy && expected == Some(AgentIs::Removable) && described;
    let everything_seen = lists.providers.values().all(Result::is_ok);
    let listed = lists.providers.values().flatten().flat_map(|list| &list.servers).any(|server| server.name == name.as_str());
    is_ours(&sights.desired.controller.id, name.as_str())
        && (ghost || (idle && everything_seen && !listed && !sights.observed.this_run.names.contains(name)))
}

struct Steps<'s, 'a> {
    sights: &'s Sights<'a>,
    sight: &'s Sight<'a>,
    name: &'s NodeName,
    /// Marks of this chain's earlier actions.
    written: Vec<(Mark, String)>,
    /// Floating IPs.
    released: Vec<FloatingIpId>,
    images_gone: Vec<ImageId>,
    unlocked: bool,
    agent_deleted: bool,
    server_deleted: bool,
}

type Fault = fn(NodeName) -> Offence;

impl Steps<'_, '_> {
    fn done(&mut self, act: &Act) {
        if let Act::SetMarks { marks, .. } = act {
            self.written.extend(marks.iter().map(|(mark, value)| (*mark, value.clone())));
        }
        if let Act::DeleteFloatingIp { id, .. } = act {
            self.released.push(id.clone());
        }
        if let Act::DeleteImage { image, .. } = act {
            self.images_gone.push(image.clone());
        }
        self.unlocked |= matches!(act, Act::Unlock { .. });
        self.agent_deleted |= matches!(act, Act::DeleteAgent { .. });
        self.server_deleted |= matches!(act, Act::DeleteServer { .. });
    }

    /// Nova takes marks for it before the action.
    fn takes_marks(&self) -> bool {
        self.sight.settled() && (self.unlocked || self.sight.server.locked != Some(true))
    }

    /// The value that stands there before the action.
    fn value(&self, mark: Mark) -> Option<&str> {
        let written = self.written.iter().rev().find(|(written, _)| *written == mark).map(|(_, value)| value.as_str());
        written.or_else(|| self.sight.server.mark(mark))
    }

    fn faults(&self, action: &Action) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        let refused = Refused::Act(action.act.kind(), self.name.clone());
        let checks: [(bool, Fault); 4] = [
            (self.server_deleted, Offence::AfterTheEnd),
            (self.sights.observed.this_run.refused.contains_key(&refused), Offence::RefusedAlready),
            (self.sight.held(self.sights.now) && !notes_busy(&action.act), Offence::Held),
            (!self.expects_enough(action), Offence::NoExpects),
        ];
        faults.extend(checks.into_iter().filter(|(broken, _)| *broken).map(|(_, fault)| fault));
        match &action.act {
            Act::SetMarks { .. } | Act::ClearMark { .. } => {
                if !self.takes_marks() {
                    faults.push(Offence::NoMarksTaken);
                }
            }
            // That it is not held was asked already.
            Act::Unlock { .. } => {}
            Act::LiftMark { .. } => {
                if !self.sight.computer().is_some_and(Computer::marked_by_us) {
                    faults.push(Offence::Kept);
                }
            }
            Act::MarkOffline { .. } => faults.extend(self.mark_offline()),
            Act::DeleteAgent { .. } => faults.extend(self.deletion(&action.act)),
            Act::DeleteServer { .. } => {
                faults.extend(self.deletion(&action.act));
                faults.extend(self.left_behind());
            }
            Act::DeleteFloatingIp { provider, id } => {
                faults.extend(self.deletion(&action.act));
                if provider != self.sight.provider || !floating::of(self.sights, self.sight).any(|ip| ip.id == *id) {
                    faults.push(Offence::Foreign);
                }
            }
            Act::CreateFloatingIp(create) => {
                faults.extend(self.upward(None));
                if !floating::is_described(self.sights, create) {
                    faults.push(Offence::BadMarks);
                }
                if floating::of(self.sights, self.sight).next().is_some() {
                    faults.push(Offence::FloatingIpTwice);
                }
            }
            Act::PushScripts(push) => faults.extend(self.upward(Some(push.machine.pinned.as_str()))),
            Act::StartScript(start) => {
                faults.extend(self.upward(Some(start.machine.pinned.as_str())));
                if self.value(Mark::Built).is_some() {
                    faults.push(Offence::BuiltAlready);
                }
            }
            Act::TurnOff(off) => {
                faults.extend(self.upward(Some(off.machine.pinned.as_str())));
                faults.extend(self.not_built());
            }
            Act::CreateImage(_) => faults.extend(self.not_built()),
            Act::MarkImage { image, .. } | Act::DeleteImage { image, .. } => {
                if !images::of_builder(self.sights, self.sight, action, image) {
                    faults.push(Offence::Foreign);
                }
            }
            Act::StartAgent(start) => faults.extend(self.upward(Some(start.machine.pinned.as_str()))),
            Act::CreateAgent(_) => {
                faults.extend(self.upward(None));
                if !self.written.iter().any(|(mark, value)| *mark == Mark::Agent && value.starts_with("joining ")) {
                    faults.push(Offence::NoJoiningMark);
                }
            }
            Act::CreateServer(_) | Act::ProtectImage { .. } | Act::RenameImage { .. } => faults.push(Offence::TwoSubjects),
        }
        faults
    }

    /// What would be nobody's once the server is gone.
    fn left_behind(&self) -> Vec<Fault> {
        let ip = floating::of(self.sights, self.sight).any(|ip| !self.released.contains(&ip.id));
        let image = images::unsealed(self.sights, self.sight).any(|image| !self.images_gone.contains(&image.id));
        let checks: [(bool, Fault); 2] = [(ip, Offence::FloatingIpLeft), (image, Offence::Unsealed)];
        checks.into_iter().filter(|(broken, _)| *broken).map(|(_, fault)| fault).collect()
    }

    fn not_built(&self) -> Option<Fault> {
        (self.sight.marks.role != Role::Builder || self.value(Mark::Built).is_none()).then_some(Offence::NoBuiltMark)
    }

    /// Of what a machine needs on its way up.
    fn upward(&self, key: Option<&str>) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        if self.sight.busy(self.sights) {
            faults.push(Offence::Busy);
        }
        if self.sight.kept() {
            faults.push(Offence::Kept);
        }
        if key.is_some_and(|key| self.value(Mark::Hostkey) != Some(key)) {
            faults.push(Offence::NoPinnedKey);
        }
        faults
    }

    fn mark_offline(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        let Some(agent) = self.sight.computer() else { return vec![Offence::Unseen] };
        if self.sight.kept() && !agent.busy {
            faults.push(Offence::Kept);
        }
        if agent.temporarily_offline {
            faults.push(Offence::MarkedAlready);
        }
        let wanted = |pool: &crate::desired::Pool| pool.single_use && pool.used_when.contains(&UsedWhen::Busy);
        if agent.busy && !self.sight.pool.is_some_and(wanted) {
            faults.push(Offence::Busy);
        }
        // A server in ERROR takes no marks: there is no way back up for it either.
        let writable = ["ACTIVE", "PAUSED", "SUSPENDED", "SHUTOFF"].contains(&self.sight.server.status.as_str());
        if writable && !agent.busy && self.value(Mark::Used).is_none() && self.value(Mark::Retire).is_none() {
            faults.push(Offence::NoUsedMark);
        }
        faults
    }

    fn deletion(&self, act: &Act) -> Vec<Fault> {
        let marked = self.sights.observed.this_run.marked.get(self.name);
        let online = self.sight.computer().is_some_and(|agent| !agent.offline);
        // A floating IP goes when its server may.
        let server = matches!(act, Act::DeleteServer { .. } | Act::DeleteFloatingIp { .. });
        let unseen = self.sight.agent == Agent::Unseen && (self.value(Mark::Agent).is_some() || !server);
        let left = server && matches!(self.sight.agent, Agent::Seen(_)) && !self.agent_deleted;
        let given_up = self.sight.has(Mark::Retire) || self.sight.has(Mark::Hold);
        let young = self.sight.launching(self.sights) && self.sight.pool.is_some() && !given_up;
        let checks: [(bool, Fault); 8] = [
            (self.sight.busy(self.sights), Offence::Busy),
            (self.sight.kept(), Offence::Kept),
            (self.takes_marks() && self.value(Mark::Retire).is_none(), Offence::NoRetireMark),
            (unseen, Offence::Unseen),
            (online, Offence::Online),
            (marked.is_some_and(|at| self.sights.now.duration_since(*at) < SETTLES), Offence::TooSoon),
            (left, Offence::AgentLeft),
            (young, Offence::Young),
        ];
        checks.into_iter().filter(|(broken, _)| *broken).map(|(_, fault)| fault).collect()
    }

    fn expects_enough(&self, action: &Action) -> bool {
        // What it expects of the image is looked at with the image.
        if let Act::DeleteImage { .. } = action.act {
            return action.expects.image.is_some();
        }
        let Some(server) = &action.expects.server else { return false };
        let sight = self.sight;
        let same = server.id == sight.server.id
            && server.provider == *sight.provider
            && server.controller == self.sights.desired.controller.id
            && action.act.server().is_none_or(|key| key == (sight.provider, &sight.server.id));
        let agent = action.expects.agent.as_ref();
        let same_agent = agent_of(&action.act)
            .is_none_or(|(target, name)| agent.is_some_and(|agent| agent.target == *target && agent.name == *name));
        let agent = agent.map(|agent| agent.is);
        let enough = match &action.act {
            Act::SetMarks { .. } | Act::ClearMark { .. } | Act::Unlock { .. } => true,
            Act::LiftMark { .. } => agent == Some(AgentIs::MarkedByUs),
            Act::PushScripts(_) | Act::StartScript(_) => goes_up(server) && present(server, Mark::Hostkey),
            Act::StartAgent(_) => goes_up(server) && present(server, Mark::Agent) && agent == Some(AgentIs::Present),
            Act::CreateAgent(_) => goes_up(server) && present(server, Mark::Agent) && agent == Some(AgentIs::Absent),
            Act::MarkOffline { .. } => agent == Some(AgentIs::Unmarked),
            Act::DeleteAgent { .. } => self.goes_down(server) && self.removable(agent),
            Act::CreateFloatingIp(_) => goes_up(server),
            Act::DeleteServer { .. } => self.may_go(server, agent),
            Act::DeleteFloatingIp { id, .. } => {
                let mut ips = floating::of(self.sights, sight);
                ips.any(|ip| ip.id == *id && floating::expects_it(action, id, &ip.description)) && self.may_go(server, agent)
            }
            Act::TurnOff(_) => goes_up(server) && present(server, Mark::Hostkey) && present(server, Mark::Built),
            Act::CreateImage(_) => server.status == Some(ServerStatus::Shutoff) && present(server, Mark::Built),
            Act::MarkImage { .. } => action.expects.image.is_some(),
            Act::CreateServer(_) | Act::ProtectImage { .. } | Act::RenameImage { .. } | Act::DeleteImage { .. } => false,
        };
        same && same_agent && enough
    }

    /// Down, and without an agent, as far as that was seen.
    fn may_go(&self, server: &ServerExpects, agent: Option<AgentIs>) -> bool {
        let unseen = self.sight.agent == Agent::Unseen;
        self.goes_down(server) && (agent == Some(AgentIs::Absent) || (unseen && agent.is_none()))
    }

    fn goes_down(&self, server: &ServerExpects) -> bool {
        let built = self.sight.server.status != ServerStatus::Build || server.status == Some(ServerStatus::Build);
        built && (!self.takes_marks() || present(server, Mark::Retire))
    }

    /// A busy agent is given up only when its channel is gone for good.
    fn removable(&self, agent: Option<AgentIs>) -> bool {
        let busy = self.sight.computer().is_some_and(|agent| agent.busy);
        agent == Some(if busy { AgentIs::GivenUp } else { AgentIs::Removable })
    }
}

/// That a build was seen, or that it was online: said of a held node, too, and changes nothing of it.
fn notes_busy(act: &Act) -> bool {
    if let Act::SetMarks { marks, .. } = act { marks.keys().all(|mark| matches!(mark, Mark::Busy | Mark::Agent)) } else { false }
}

fn present(server: &ServerExpects, mark: Mark) -> bool {
    server.marks.get(&mark) == Some(&MarkExpects::Present)
}

fn goes_up(server: &ServerExpects) -> bool {
    let absent = |mark: Mark| server.marks.get(&mark) == Some(&MarkExpects::Absent);
    server.status == Some(ServerStatus::Active) && absent(Mark::Retire) && absent(Mark::Failed)
}
