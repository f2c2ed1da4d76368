//! Each node's state: the table of docs/architecture.md, row by row; the first row that fits.

mod build;
mod used;

use jiff::{SignedDuration, Timestamp};

use super::join::{AgentSight, Node};
use super::mass_offline::mass_offline;
use super::why::{FailedWhy, UsedWhy};
use crate::desired::units::since;
use crate::desired::{Desired, HostKeys, Provider};
use crate::names::ImageId;
use crate::observed::{AgentMark, Computer, HostKey, MachineSight, ScriptState, ServerStatus};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nova is at it: no capacity, nothing to do.
    Deleting,
    /// A build runs: never removed.
    Busy,
    /// A person keeps it.
    Held(String),
    /// A person was in it, and does not keep it any more: who, and why it was held.
    HoldOver(String),
    /// Its removal has begun, with this reason: it only goes down.
    Retiring(String),
    /// BUILD.
    Launching,
    Failed(FailedWhy),
    /// Left alone and shown.
    Kept(KeptWhy),
    /// ACTIVE in a provider with floating IPs, and none is there for it yet.
    WithoutFloatingIp,
    /// ACTIVE, no script started. `up`: SSH answers, with this key to pin or pinned.
    Booting {
        up: Option<HostKey>,
    },
    /// The ready script runs.
    Preparing,
    /// The ready script passed, and there is no agent.
    ToRegister,
    /// Registered, never online yet. `start`: the inbound agent's process is not there.
    Joining {
        start: bool,
    },
    /// `joined` and no agent: it is never registered again.
    Orphan,
    Used(UsedWhy),
    /// Used, but in an earlier session of its controller: a Pipeline may go on on it. `until`: when that is given up.
    Resuming {
        why: UsedWhy,
        until: Timestamp,
    },
    /// Offline without anybody's mark. `until`: when the grace is over; none: not marked `lost` yet.
    Lost {
        until: Option<Timestamp>,
    },
    /// Missing together with most of its target's agents: coming, and left alone.
    MassOffline,
    /// By its marks ready, and its agent is behind a gap: it counts as ready, and nobody knows whether it is.
    Unseen,
    /// Seen online and idle.
    Ready,
    /// A builder whose setup script passed.
    Snapshot(Stage),
}

/// How far a builder is on its way from a machine to a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Its setup script exited 0: to be marked so.
    Passed,
    /// Marked, and on: it is told to go off.
    TurningOff,
    /// Off, and Glance shows no image of it.
    Off,
    /// Its image is not active yet.
    Saving,
    /// Its image is active: to be sealed.
    Saved(ImageId),
    /// Nodes may boot from its image: it is not needed any more.
    Sealed(ImageId),
}

/// Why a node that is no capacity is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptWhy {
    /// A status that no rule speaks of.
    Status(String),
    /// Marked offline by a person.
    Person(String),
    /// Ours, but of no pool that can be read: an alien.
    NoPool,
}

/// Fills in every builder's state.
pub fn derive_builders(desired: &Desired, builders: &mut [Node<'_>], now: Timestamp) {
    for node in builders {
        node.state = Rules { desired, node, now, mass: false }.builder();
    }
}

/// Fills in every node's state.
pub fn derive(desired: &Desired, nodes: &mut [Node<'_>], now: Timestamp) {
    let mass_offline = mass_offline(desired, nodes, now);
    for node in nodes.iter_mut() {
        let mass = node.target().is_some_and(|target| mass_offline.iter().any(|mass| mass.target == *target));
        node.state = Rules { desired, node, now, mass }.state();
    }
}

struct Rules<'r, 'a> {
    desired: &'r Desired,
    node: &'r Node<'a>,
    now: Timestamp,
    mass: bool,
}

impl Rules<'_, '_> {
    fn state(&self) -> State {
        let node = self.node;
        if node.server.is_deleting() {
            return State::Deleting;
        }
        if self.is_busy() {
            return State::Busy;
        }
        if let Some(state) = self.held().or_else(|| self.retiring()) {
            return state;
        }
        if node.marks.pool.is_none() {
            return State::Kept(KeptWhy::NoPool);
        }
        if let Some(state) = self.by_status() {
            return state;
        }
        match (&node.marks.agent, node.agent) {
            // Of two writers at one time Nova keeps one's marks: that it was registered, its agent tells as well.
            (None, AgentSight::Seen(_)) | (Some(AgentMark::Joined), _) => self.joined(),
            (None, AgentSight::Absent | AgentSight::Gap) => self.before_agent(),
            (Some(AgentMark::Joining(at)), _) => self.joining(*at),
        }
    }

    /// Any executor at work, and its channel up or not lost for longer than the grace.
    fn is_busy(&self) -> bool {
        let Some(agent) = self.node.agent.computer() else { return false };
        agent.busy && (!agent.channel_surely_lost() || self.lost_until().is_none_or(|until| self.now < until))
    }

    fn lost_until(&self) -> Option<Timestamp> {
        Some(later(self.node.marks.lost?, self.desired.controller.lost_grace))
    }

    fn retiring(&self) -> Option<State> {
        Some(State::Retiring(self.node.marks.retire.as_deref()?.to_owned()))
    }

    fn held(&self) -> Option<State> {
        match &self.node.marks.hold {
            Some(hold) if hold.expired(self.now) => Some(State::HoldOver(hold.words())),
            Some(hold) => Some(State::Held(format!("held by {}", hold.words()))),
            None => (self.node.server.locked == Some(true)).then(|| State::Held("locked in Nova".to_owned())),
        }
    }

    /// Rows that Nova's status and the marks of failure decide.
    fn by_status(&self) -> Option<State> {
        let (server, marks) = (self.node.server, &self.node.marks);
        let failed = |why| Some(State::Failed(why));
        if server.status == ServerStatus::Build {
            return Some(self.launching());
        }
        if let Some(mark) = &marks.failed {
            return failed(FailedWhy::Marked(mark.text.clone()));
        }
        if server.status == ServerStatus::Error {
            return failed(FailedWhy::Error(server.fault.clone().unwrap_or_default()));
        }
        if matches!(self.node.machine, Some(MachineSight::OtherKey { .. })) {
            return failed(FailedWhy::OtherHostKey);
        }
        match &server.status {
            ServerStatus::Active => None,
            ServerStatus::Shutoff | ServerStatus::Paused | ServerStatus::Suspended => Some(self.lost()),
            ServerStatus::Build
            | ServerStatus::Error
            | ServerStatus::Deleted
            | ServerStatus::SoftDeleted
            | ServerStatus::Other(_) => Some(State::Kept(KeptWhy::Status(server.status.as_str().to_owned()))),
        }
    }

    fn launching(&self) -> State {
        let within = self.provider().map(|provider| provider.launch_timeout);
        match within {
            Some(within) if since(self.node.server.created, self.now) > within => State::Failed(FailedWhy::NotActive { within }),
            Some(_) | None => State::Launching,
        }
    }

    fn provider(&self) -> Option<&Provider> {
        self.desired.provider(&self.node.provider)
    }

    /// No agent mark: what the machine shows.
    fn before_agent(&self) -> State {
        let (Some(pool), Some(provider)) = (self.node.pool, self.provider()) else {
            return State::Retiring("its pool was removed".to_owned());
        };
        match self.script(provider, pool.ready_timeout) {
            Err(state) => state,
            Ok(ScriptState::NotStarted) => State::Booting { up: self.node.marks.hostkey.clone() },
            Ok(ScriptState::Running { seconds, tail }) if exceeds(*seconds, pool.ready_timeout) => {
                State::Failed(FailedWhy::ScriptTimeout { within: pool.ready_timeout, tail: tail.clone() })
            }
            Ok(ScriptState::Running { .. }) => State::Preparing,
            Ok(ScriptState::Passed) => State::ToRegister,
            Ok(ScriptState::Exited { status, tail }) => State::Failed(FailedWhy::Script { status: *status, tail: tail.clone() }),
            Ok(ScriptState::Vanished { tail }) => State::Failed(FailedWhy::ScriptVanished { tail: tail.clone() }),
        }
    }

    /// How its script stands, once SSH answers with the pinned key; the machine's state before. `timeout`: the script's.
    fn script(&self, provider: &Provider, timeout: SignedDuration) -> Result<&ScriptState, State> {
        if self.node.lacks_floating_ip(provider) {
            return Err(self.without_floating_ip(timeout, provider));
        }
        if self.node.address(provider).is_none() {
            return Err(self.no_ssh(timeout, provider, "Nova shows no address to reach it at"));
        }
        match self.node.machine {
            Some(MachineSight::Up { key, facts }) => match facts {
                Some(facts) => Ok(&facts.script),
                None => Err(self.unpinned(provider, key)),
            },
            Some(MachineSight::NoSsh { why } | MachineSight::LoginRefused { why, .. }) => {
                let ports = (self.node.pool.map(|pool| pool.ssh_port), self.node.image.map(|image| image.ssh_port));
                let port = ports.0.or(ports.1).map(|port| format!("port {port}: ")).unwrap_or_default();
                Err(self.no_ssh(timeout, provider, &format!("{port}{why}")))
            }
            Some(MachineSight::OtherKey { .. }) | None => Err(State::Booting { up: None }),
        }
    }

    /// SSH answers with a key that is not pinned yet.
    fn unpinned(&self, provider: &Provider, key: &HostKey) -> State {
        let trusted = match provider.host_keys {
            HostKeys::FirstUse => true,
            HostKeys::Console => self.node.console.is_some_and(|console| key.stands_on(console)),
        };
        if trusted {
            State::Booting { up: Some(key.clone()) }
        } else if self.active_for() > provider.boot_timeout && self.node.console.is_some() {
            State::Failed(FailedWhy::KeyNotOnConsole { within: provider.boot_timeout })
        } else {
            State::Booting { up: None }
        }
    }

    fn without_floating_ip(&self, timeout: SignedDuration, provider: &Provider) -> State {
        let state = self.no_ssh(timeout, provider, "no floating IP");
        if matches!(state, State::Failed(_)) { state } else { State::WithoutFloatingIp }
    }

    fn no_ssh(&self, timeout: SignedDuration, provider: &Provider, why: &str) -> State {
        // Once its key is pinned a script may run, and reboot the machine: it has both timeouts then.
        let pinned = self.node.marks.hostkey.is_some();
        let within = if pinned { provider.boot_timeout + timeout } else { provider.boot_timeout };
        if self.active_for() > within {
            State::Failed(FailedWhy::NoSsh { within, why: why.to_owned() })
        } else if pinned {
            State::Preparing
        } else {
            State::Booting { up: None }
        }
    }

    fn active_for(&self) -> SignedDuration {
        since(self.node.server.launched.unwrap_or(self.node.server.created), self.now)
    }

    fn joining(&self, at: Timestamp) -> State {
        let AgentSight::Seen(agent) = self.node.agent else {
            return match self.node.agent {
                AgentSight::Absent => State::ToRegister,
                AgentSight::Gap if self.node.marks.used.is_some() => self.joined(),
                AgentSight::Gap | AgentSight::Seen(_) => State::Joining { start: false },
            };
        };
        if agent.online() || agent.temporarily_offline {
            return self.joined();
        }
        let timeout = self.node.pool.map(|pool| pool.online_timeout);
        match timeout {
            Some(within) if since(at, self.now) > within => {
                if self.mass {
                    return State::MassOffline;
                }
                State::Failed(FailedWhy::NotOnline { within })
            }
            Some(_) | None => State::Joining {
                start: matches!(self.node.machine, Some(MachineSight::Up { facts: Some(facts), .. }) if !facts.agent_running),
            },
        }
    }

    /// It was online once.
    fn joined(&self) -> State {
        let marks = &self.node.marks;
        let agent = match self.node.agent {
            AgentSight::Seen(agent) => agent,
            AgentSight::Absent if self.mass && marks.used.is_none() => return State::MassOffline,
            AgentSight::Absent => return State::Orphan,
            // Behind a gap it counts as its marks say.
            AgentSight::Gap => {
                return match &marks.used {
                    Some(used) => State::Used(UsedWhy::Marked(used.text.clone())),
                    None => State::Unseen,
                };
            }
        };
        if let Some(why) = self.used(agent) {
            return match self.resumes_until() {
                Some(until) => State::Resuming { why, until },
                None => State::Used(why),
            };
        }
        if agent.temporarily_offline && !agent.channel_lost() {
            return self.offline_by_somebody(agent);
        }
        if agent.offline { self.lost() } else { State::Ready }
    }

    fn offline_by_somebody(&self, agent: &Computer) -> State {
        let cause = agent.cause.as_ref();
        let Some(monitor) = cause.and_then(|cause| cause.monitor()) else {
            let text = cause.and_then(|cause| cause.text()).unwrap_or("marked offline without a reason");
            return State::Kept(KeptWhy::Person(text.to_owned()));
        };
        let name = monitor.to_owned();
        match (&self.node.marks.busy, self.mass) {
            (_, true) => State::MassOffline,
            (Some(_), false) => State::Used(UsedWhy::Monitor(name)),
            (None, false) => State::Failed(FailedWhy::Monitor(name)),
        }
    }

    /// Not there, and nobody said so: marked, and after the grace given up.
    fn lost(&self) -> State {
        if self.mass {
            return State::MassOffline;
        }
        let (until, marks) = (self.lost_until(), &self.node.marks);
        // Behind a gap nobody knows whether most of its target's agents are missing with it.
        let unseen = self.node.agent == AgentSight::Gap && marks.agent.is_some();
        if unseen || until.is_none_or(|until| self.now < until) {
            return State::Lost { until };
        }
        let used = marks.used.as_ref().map(|used| UsedWhy::Marked(used.text.clone()));
        let used = used.or_else(|| self.used(self.node.agent.computer()?));
        match (used, &marks.busy) {
            (Some(why), _) => State::Used(why),
            (None, Some(_)) => State::Used(UsedWhy::SeenBusy),
            (None, None) => State::Failed(FailedWhy::Lost),
        }
    }
}

fn exceeds(seconds: u64, limit: SignedDuration) -> bool {
    i64::try_from(seconds).is_ok_and(|seconds| seconds > limit.as_secs())
}

/// A time after a duration; the end of time where that is past it.
fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
