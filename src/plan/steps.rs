//! Each node's chain of a pass, or why there is none: from its state to `prepare` or `retire`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::backoff::{BackOffs, key_of};
use super::drift::Drifted;
use super::floating;
use super::prepare::next_step;
use super::retire::{Sight, facts, removal, resuming};
use super::{Action, Because, Chain, WaitsFor};
use crate::desired::units::since;
use crate::names::{PoolName, ServerId};
use crate::node::{AgentSight, KeptWhy, Node, State, UsedWhy};

/// What the steps of all nodes are decided from.
#[derive(Debug)]
pub struct Steps<'s> {
    pub sight: Sight<'s>,
    pub back_offs: &'s BackOffs,
    pub drifted: &'s Drifted,
    /// Drifted ones that wait for the snapshot that the same change has built.
    pub awaiting: &'s BTreeMap<ServerId, WaitsFor>,
    /// Idle nodes that are more than wanted.
    pub going: &'s BTreeSet<ServerId>,
    /// Kept failed machines whose room the next try needs.
    pub in_the_way: &'s BTreeSet<ServerId>,
    /// Pools that have fewer than they want.
    pub short: &'s BTreeSet<&'s PoolName>,
}

/// Nova deletes a server within seconds, and gives a guest a minute to shut down; one that is not gone by then has a host that
/// is down, or a message that got lost, and goes on for ever.
const DELETION: SignedDuration = SignedDuration::from_mins(10);

/// A chain, nothing, or what the node waits for.
type Step = Result<Option<Chain>, WaitsFor>;

impl Steps<'_> {
    pub fn of(&self, node: &Node<'_>) -> Step {
        not_refused(self.sight, self.by_state(node)?)
    }

    fn by_state(&self, node: &Node<'_>) -> Step {
        let removed = node.pool.is_none();
        match &node.state {
            State::Used(why) => self.down(node, Because::Used { why: why.clone(), idle: idle(node, why, self.sight.now) }),
            State::Orphan => self.down(node, Because::Orphan),
            State::Retiring(why) => self.down(node, Because::Retiring(why.clone())),
            State::Failed(why) => self.failed(node, Because::Failed(why.clone())),
            State::Ready => self.ready(node),
            // What is left to do for it needs its agent.
            State::Unseen => match self.ready(node) {
                Ok(None) => Err(gap(node)),
                step => step,
            },
            State::Busy => self.noted(node).map(Some).ok_or(WaitsFor::Build),
            State::Launching
            | State::WithoutFloatingIp
            | State::Booting { .. }
            | State::Preparing
            | State::ToRegister
            | State::Joining { .. }
            | State::Lost { until: None }
                if removed =>
            {
                self.down(node, Because::PoolRemoved)
            }
            // Its target would have to say first that there is no agent of that name.
            State::ToRegister if node.agent == AgentSight::Gap => Err(gap(node)),
            State::Joining { start: true } if self.sight.observed.this_run.started.contains(&node.name) => Err(WaitsFor::Online),
            // Nova takes no mark while it is at it, and each step up begins with one.
            State::Booting { up: Some(_) } | State::ToRegister if !node.server.takes_metadata() => Err(WaitsFor::LaterPass),
            State::Booting { up: Some(_) } | State::ToRegister | State::Joining { start: true } => {
                next_step(self.sight.desired, node, self.sight.now).map(Some).ok_or(WaitsFor::Gap("its target".to_owned()))
            }
            State::Lost { until } => {
                let over = until.is_some_and(|until| self.sight.now >= until);
                let waits = if over { gap(node) } else { until.map_or(WaitsFor::LaterPass, |until| WaitsFor::Return { until }) };
                self.noted(node).map(Some).ok_or(waits)
            }
            State::Resuming { until, .. } => resuming(self.sight, node).map(Some).ok_or(WaitsFor::Resume { until: *until }),
            State::WithoutFloatingIp => floating::create(self.sight, node).map(Some),
            State::MassOffline => Err(WaitsFor::Limit),
            State::Launching => Err(WaitsFor::Boot),
            // A builder's alone.
            State::Snapshot(_) => Ok(None),
            State::Booting { up: None } => Err(WaitsFor::Ssh),
            State::Preparing => Err(WaitsFor::Script),
            State::Joining { start: false } => Err(WaitsFor::Online),
            State::Deleting => Err(deletion(self.sight, node)),
            State::Held(who) => Err(WaitsFor::Person(who.clone())),
            State::HoldOver(who) => self.down(node, Because::HoldOver(who.clone())),
            State::Kept(why) => self.noted(node).map(Some).ok_or(WaitsFor::Person(kept(why))),
        }
    }

    fn down(&self, node: &Node<'_>, because: Because) -> Step {
        removal(self.sight, node, because).map(Some)
    }

    fn noted(&self, node: &Node<'_>) -> Option<Chain> {
        facts(self.sight, node)
    }

    /// The newest failed machine of a pool in a provider stays as the mark of back-off; the others go at once.
    fn failed(&self, node: &Node<'_>, because: Because) -> Step {
        if self.in_the_way.contains(&node.server.id) {
            let because = Because::RoomForTry { provider: node.provider.clone(), attempt: node.marks.attempt };
            return self.down(node, because);
        }
        match self.kept_for(node) {
            None => self.down(node, because),
            Some(waits) => self.noted(node).map(Some).ok_or(waits),
        }
    }

    fn kept_for(&self, node: &Node<'_>) -> Option<WaitsFor> {
        let back_off = self.back_offs.get(&key_of(node)?)?;
        // A pool that is gone or wants nothing needs no back-off.
        let pool = node.pool.filter(|pool| pool.min_ready > 0)?;
        back_off.keeps(node.server, self.short.contains(&pool.name), self.sight.now)
    }

    fn ready(&self, node: &Node<'_>) -> Step {
        let drift = self.drifted.get(&node.server.id);
        if node.pool.is_none() {
            self.down(node, Because::PoolRemoved)
        } else if self.going.contains(&node.server.id) {
            self.down(node, drift.map_or(Because::Surplus, |drift| Because::Drift(drift.clone())))
        } else {
            match (self.noted(node), drift) {
                (Some(chain), _) => Ok(Some(chain)),
                (None, Some(drift)) => Err(WaitsFor::Replacement(drift.clone())),
                (None, None) => self.awaiting.get(&node.server.id).cloned().map_or(Ok(None), Err),
            }
        }
    }
}

/// What a server that Nova is deleting waits for.
pub fn deletion(sight: Sight<'_>, node: &Node<'_>) -> WaitsFor {
    let stuck = node.server.updated.filter(|began| since(*began, sight.now) > DELETION);
    stuck.map_or(WaitsFor::Deletion, |since| WaitsFor::StuckDeletion { since })
}

/// What a service refused in this run is not tried again in it.
pub fn not_refused(sight: Sight<'_>, chain: Option<Chain>) -> Step {
    let Some(chain) = chain else { return Ok(None) };
    let name = &chain.subject.name;
    let refused = |action: &Action| sight.observed.this_run.refusal(action.act.kind(), name);
    match chain.actions.iter().find_map(refused) {
        Some(said) => Err(WaitsFor::Refused(said.clone())),
        None => Ok(Some(chain)),
    }
}

fn gap(node: &Node<'_>) -> WaitsFor {
    WaitsFor::Gap(node.target().map_or_else(|| "its target".to_owned(), ToString::to_string))
}

fn kept(why: &KeptWhy) -> String {
    match why {
        KeptWhy::Status(status) => format!("Nova shows {status}"),
        KeptWhy::Person(text) => format!("offline: {text}"),
        KeptWhy::NoPool => "it carries our mark, and no pool that can be read".to_owned(),
    }
}

/// How long a node has been idle, as far as Jenkins tells.
fn idle(node: &Node<'_>, why: &UsedWhy, now: Timestamp) -> Option<SignedDuration> {
    let cause = node.agent.computer()?.cause.as_ref()?;
    let marked = matches!(why, UsedWhy::Gearman | UsedWhy::OurMark);
    cause.since.filter(|_| marked).map(|at| since(at, now))
}
