//! What was observed, as the audit reads it: each server of ours with its marks and its agent. Judged here anew, row by row of
//! what the rules protect; the table of states is not asked.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::desired::{Desired, Pool};
use crate::names::{NodeName, ProviderName, ServerId, TargetName};
use crate::observed::{AgentMark, Computer, Mark, Marks, Observed, Role, Server, ServerStatus};
use crate::plan::Act;

/// Of the agent of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agent<'a> {
    Unseen,
    Absent,
    Seen(&'a Computer),
}

/// A server of ours.
#[derive(Debug, Clone)]
pub(super) struct Sight<'a> {
    pub provider: &'a ProviderName,
    pub server: &'a Server,
    pub marks: Marks,
    pub agent: Agent<'a>,
    pub pool: Option<&'a Pool>,
}

#[derive(Debug)]
pub(super) struct Sights<'a> {
    pub desired: &'a Desired,
    pub observed: &'a Observed,
    pub now: Timestamp,
    pub ours: BTreeMap<(&'a ProviderName, &'a ServerId), Sight<'a>>,
}

pub(super) fn agent_of(act: &Act) -> Option<(&TargetName, &NodeName)> {
    match act {
        Act::CreateAgent(create) => Some((&create.target, &create.name)),
        Act::StartAgent(start) => Some((&start.target, &start.name)),
        Act::MarkOffline { target, name, .. } | Act::LiftMark { target, name } | Act::DeleteAgent { target, name } => {
            Some((target, name))
        }
        Act::CreateServer(_)
        | Act::SetMarks { .. }
        | Act::ClearMark { .. }
        | Act::Unlock { .. }
        | Act::DeleteServer { .. }
        | Act::CreateFloatingIp(_)
        | Act::DeleteFloatingIp { .. }
        | Act::PushScripts(_)
        | Act::StartScript(_)
        | Act::TurnOff(_)
        | Act::CreateImage(_)
        | Act::MarkImage { .. }
        | Act::ProtectImage { .. }
        | Act::RenameImage { .. }
        | Act::DeleteImage { .. } => None,
    }
}

impl<'a> Sights<'a> {
    pub(super) fn of(desired: &'a Desired, observed: &'a Observed, now: Timestamp) -> Self {
        let mut ours = BTreeMap::new();
        for (provider, list) in &observed.lists.providers {
            for server in list.iter().flat_map(|list| &list.servers) {
                let Some(marks) = Marks::read(&server.metadata, &desired.controller.id) else { continue };
                let pool = marks.pool.as_ref().and_then(|pool| desired.pools.get(pool));
                let agent = marks.target.as_ref().map_or(Agent::Unseen, |target| agent(observed, target, &server.name));
                ours.insert((provider, &server.id), Sight { provider, server, marks, agent, pool });
            }
        }
        Self { desired, observed, now, ours }
    }

    /// Nodes of ours: what a pool counts.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Sight<'a>> {
        self.ours.values().filter(|sight| sight.marks.role == Role::Node)
    }

    pub(super) fn named(&self, name: &str) -> Option<&Sight<'a>> {
        self.nodes().find(|sight| sight.server.name == name)
    }

    pub(super) fn is_over(&self, since: Timestamp, limit: SignedDuration) -> bool {
        self.now.duration_since(since) > limit
    }
}

fn agent<'a>(observed: &'a Observed, target: &TargetName, name: &str) -> Agent<'a> {
    match observed.lists.targets.get(target) {
        Some(Ok(list)) => {
            // A ghost (no executors, offline) is no agent.
            let found = list.computers.iter().find(|one| one.name == name && !(one.num_executors == 0 && one.offline));
            found.map_or(Agent::Absent, Agent::Seen)
        }
        Some(Err(_)) | None => Agent::Unseen,
    }
}

impl<'a> Sight<'a> {
    pub(super) fn computer(&self) -> Option<&'a Computer> {
        if let Agent::Seen(computer) = self.agent { Some(computer) } else { None }
    }

    pub(super) fn has(&self, mark: Mark) -> bool {
        self.server.metadata.contains_key(mark.key())
    }

    /// A build runs, or may run: its executors are at work, and nothing says for certain that their channel is gone for good.
    pub(super) fn busy(&self, sights: &Sights<'_>) -> bool {
        let Some(agent) = self.computer().filter(|agent| agent.busy) else { return false };
        let class = agent.cause.as_ref().and_then(|cause| cause.class.as_deref());
        let channel = class.is_some_and(|class| class.ends_with("$ChannelTermination") || class.ends_with("$LaunchFailed"));
        let cut_off = agent.offline && (!agent.temporarily_offline || channel);
        let grace = sights.desired.controller.lost_grace;
        !(cut_off && self.marks.lost.is_some_and(|lost| sights.now.duration_since(lost) >= grace))
    }

    pub(super) fn held(&self, now: Timestamp) -> bool {
        let locked = self.server.locked == Some(true);
        self.marks.hold.as_ref().map_or(locked, |hold| !hold.expired(now))
    }

    /// Marked offline by a person, as far as the controller says so, and not going for another reason.
    /// A hold that is over goes before that: a person was in it, and said until when. One that is not is an offence of its own.
    pub(super) fn kept(&self) -> bool {
        if self.has(Mark::Hold) {
            return false;
        }
        if matches!(self.server.status, ServerStatus::Other(_)) {
            return !self.has(Mark::Retire) && !self.has(Mark::Failed);
        }
        let going = [Mark::Used, Mark::Retire, Mark::Failed].into_iter().any(|mark| self.has(mark));
        let running = self.server.status == ServerStatus::Active;
        let Some(agent) = self.computer().filter(|agent| agent.temporarily_offline && running && !going) else { return false };
        let Some(cause) = &agent.cause else { return true };
        let by_somebody = match cause.class.as_deref() {
            Some(class) => class.ends_with("$UserCause") || class.ends_with("$ByCLI"),
            None => cause.message.is_some() || cause.description.is_some(),
        };
        by_somebody && !cause.is_gearman() && !cause.is_ours()
    }

    /// Nova takes marks for it now, or would if it were not locked.
    pub(super) fn settled(&self) -> bool {
        let settled = ["ACTIVE", "PAUSED", "SUSPENDED", "SHUTOFF"].contains(&self.server.status.as_str());
        settled && self.server.task.is_none()
    }

    /// In BUILD, for no longer than it may be.
    pub(super) fn launching(&self, sights: &Sights<'_>) -> bool {
        let limit = sights.desired.provider(self.provider).map(|provider| provider.launch_timeout);
        self.server.status == ServerStatus::Build
            && self.server.task.as_deref() != Some("deleting")
            && limit.is_some_and(|limit| !sights.is_over(self.server.created, limit))
    }

    /// ACTIVE, nothing was sent to it yet, and it may be so still.
    pub(super) fn booting(&self, sights: &Sights<'_>) -> bool {
        let marked = [Mark::Hostkey, Mark::Agent, Mark::Failed, Mark::Retire, Mark::Hold].into_iter().any(|mark| self.has(mark));
        let limit = sights.desired.provider(self.provider).map(|provider| provider.boot_timeout);
        let since = self.server.launched.unwrap_or(self.server.created);
        self.server.status == ServerStatus::Active
            && self.server.task.is_none()
            && self.server.locked != Some(true)
            && self.computer().is_none()
            && !marked
            && limit.is_some_and(|limit| !sights.is_over(since, limit))
    }

    /// Surely ready: it was online, and is idle, unmarked and not going anywhere; behind a gap its marks say so.
    pub(super) fn ready(&self, now: Timestamp) -> bool {
        let going = [Mark::Used, Mark::Retire, Mark::Failed, Mark::Busy, Mark::Hold].into_iter().any(|mark| self.has(mark));
        self.server.status == ServerStatus::Active
            && self.server.task.is_none()
            && self.marks.agent == Some(AgentMark::Joined)
            && !going
            && !self.held(now)
            && (self.agent == Agent::Unseen || self.computer().is_some_and(|agent| !agent.offline && !agent.busy))
    }

    /// Surely failed.
    pub(super) fn failed(&self, sights: &Sights<'_>) -> bool {
        let going = self.has(Mark::Retire) || self.has(Mark::Hold);
        if self.server.task.is_some() || self.held(sights.now) || going || self.busy(sights) {
            return false;
        }
        match &self.server.status {
            ServerStatus::Error => true,
            ServerStatus::Build => !self.launching(sights),
            ServerStatus::Deleted | ServerStatus::SoftDeleted => false,
            ServerStatus::Active
            | ServerStatus::Paused
            | ServerStatus::Shutoff
            | ServerStatus::Suspended
            | ServerStatus::Other(_) => self.has(Mark::Failed),
        }
    }
}
