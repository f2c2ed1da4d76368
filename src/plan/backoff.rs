//! Back-off without memory: the newest failed machine of a pool or image in a provider is kept, and its age and try are the
//! state. Of a pool that boots from snapshots each snapshot has its own.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::WaitsFor;
use super::snapshot::Snapshots;
use crate::desired::PoolImage;
use crate::names::{ImageId, NodeName, ProviderName, Purpose, ServerId};
use crate::node::{Joined, Node, State};
use crate::observed::{AgentMark, Role, Server, ThisRun};

/// The first wait: long enough for a passing fault of the cloud, short enough that a person who mends it sees the next try.
const FIRST: SignedDuration = SignedDuration::from_mins(1);
/// The longest wait: a pool that is mended at night fills within half an hour by itself.
const LONGEST: SignedDuration = SignedDuration::from_mins(30);

/// What failed machines were made for, where, and, for a pool that boots from snapshots, from which one.
pub type Key = (Purpose, ProviderName, Option<ImageId>);

pub type BackOffs = BTreeMap<Key, BackOff>;

/// Where a pool or image stands in a provider where machines failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackOff {
    pub kept: ServerId,
    pub name: NodeName,
    pub attempt: u32,
    /// When it began to count.
    pub began: Timestamp,
    pub until: Timestamp,
    pub why: String,
    /// Machines launched after the kept one that are still on their way.
    pub trying: u32,
    /// One launched after it was online once, or became a snapshot: it is over, and the kept one goes.
    pub over: bool,
}

impl BackOff {
    /// How many may be launched now: none while it lasts, then one at a time.
    pub fn allows(&self, now: Timestamp) -> u32 {
        match self {
            Self { over: true, .. } => u32::MAX,
            Self { until, trying, .. } if now >= *until => 1_u32.saturating_sub(*trying),
            Self { .. } => 0,
        }
    }

    /// What the kept machine waits for, and the pool that may have no more now. `launched`: in this pass.
    pub fn waits(&self, launched: u32, now: Timestamp) -> WaitsFor {
        let Self { kept: _, name: _, began: _, attempt, until, why, trying, over: _ } = self.clone();
        if now < until {
            WaitsFor::BackOff { until, attempt, why }
        } else if trying + launched > 0 {
            WaitsFor::Try { attempt, why }
        } else {
            WaitsFor::TryDue { attempt, why }
        }
    }

    /// What a failed machine is kept for; none: it goes. `due`: another is wanted as soon as it may be.
    pub fn keeps(&self, server: &Server, due: bool, now: Timestamp) -> Option<WaitsFor> {
        if self.kept != server.id || self.over {
            return None;
        }
        if self.trying > 0 || due {
            return Some(self.waits(0, now));
        }
        // No try is due, and perhaps never will be: a pool has all it wants, from another provider. Past the longest back-off
        // the machine is no mark any more, only a slot that is taken.
        let until = self.began.checked_add(LONGEST).unwrap_or(Timestamp::MAX);
        (now < until).then(|| WaitsFor::BackOff { until, attempt: self.attempt, why: self.why.clone() })
    }
}

fn wait(attempt: u32) -> SignedDuration {
    // 2^5 minutes are over the longest wait already.
    let doublings = attempt.saturating_sub(1).min(5);
    LONGEST.min(FIRST * 2_i32.pow(doublings))
}

/// What a machine's failing is counted for; none: it says nothing.
pub fn key_of(node: &Node<'_>) -> Option<Key> {
    let provider = node.provider.clone();
    if node.marks.role == Role::Builder {
        return Some((Purpose::Image(node.marks.image.clone()?), provider, None));
    }
    let snapshots = node.pool.is_some_and(|pool| matches!(pool.image, PoolImage::Snapshot(_)));
    let from = node.marks.base.clone().filter(|_| snapshots);
    Some((Purpose::Pool(node.pool_name()?.clone()), provider, from))
}

/// A machine that failed for want of quota is no boot failure: Nova refuses those, no server is left.
///
/// `stale`: builders from other inputs than those of now: what they failed of may be mended.
pub fn back_offs(joined: &Joined<'_>, snapshots: &Snapshots<'_>, stale: &BTreeSet<ServerId>, now: Timestamp) -> BackOffs {
    let mut newest: BTreeMap<Key, &Node<'_>> = BTreeMap::new();
    let failed = joined.nodes.iter().chain(&joined.builders).filter(|node| has_failed(node));
    for node in failed.filter(|node| !stale.contains(&node.server.id)) {
        let Some(key) = key_of(node) else { continue };
        // From a snapshot that nothing boots from any more no try will follow.
        if key.2.as_ref().is_some_and(|from| !snapshots.has_good(&key.1, from)) {
            continue;
        }
        let kept = newest.entry(key).or_insert(node);
        if (node.server.created, &node.name) > (kept.server.created, &kept.name) {
            *kept = node;
        }
    }
    newest.into_iter().map(|(key, kept)| (key.clone(), of(&key, kept, joined, snapshots, now))).collect()
}

/// A failed builder that a person keeps for a look has failed all the same.
fn has_failed(node: &Node<'_>) -> bool {
    let kept = matches!(node.state, State::Held(_)) && node.marks.role == Role::Builder && node.marks.failed.is_some();
    kept || matches!(node.state, State::Failed(_))
}

/// From its creation, as a node boots within minutes. A setup script may run for hours: of a builder from its failing.
fn began(kept: &Node<'_>, now: Timestamp) -> Timestamp {
    let server = kept.server;
    match (&kept.marks.role, &kept.marks.failed) {
        (Role::Builder, Some(failed)) => failed.at.max(server.created),
        // To be marked in this pass, unless Nova refuses it: then no mark ever tells, and its times alone do.
        (Role::Builder, None) if server.takes_metadata() => now.min(failed_by(kept)),
        // Nova takes no mark: in ERROR, or at a task that does not end. Of those it tells when they came about.
        (Role::Builder, None) => server.updated.unwrap_or(server.created).clamp(server.created, now.max(server.created)),
        (Role::Node | Role::Debug | Role::Unknown(_), _) => server.created,
    }
}

/// When a builder that was not marked had failed at the latest.
fn failed_by(kept: &Node<'_>) -> Timestamp {
    let from = kept.marks.built.or(kept.server.launched).unwrap_or(kept.server.created);
    from.checked_add(kept.setup_timeout() + LONGEST).unwrap_or(Timestamp::MAX)
}

fn of(key: &Key, kept: &Node<'_>, joined: &Joined<'_>, snapshots: &Snapshots<'_>, now: Timestamp) -> BackOff {
    let all = joined.nodes.iter().chain(&joined.builders);
    let after = all.filter(|node| node.server.created > kept.server.created && key_of(node).as_ref() == Some(key));
    let (mut trying, mut over) = (0, false);
    for node in after {
        over |= node.marks.agent == Some(AgentMark::Joined);
        trying += u32::from(node.state.is_coming());
    }
    if let Purpose::Image(image) = &key.0 {
        over |= snapshots.newest_good(image, &key.1).is_some_and(|newest| newest.created > kept.server.created);
    }
    let attempt = kept.marks.attempt;
    let began = began(kept, now);
    let until = began.checked_add(wait(attempt)).unwrap_or(Timestamp::MAX);
    let why = match (&kept.state, &kept.marks.failed) {
        (State::Failed(why), _) => why.to_string(),
        (_, Some(failed)) => failed.text.clone(),
        (_, None) => String::new(),
    };
    BackOff { kept: kept.server.id.clone(), name: kept.name.clone(), attempt, began, until, why, trying, over }
}

/// `poolkeeper_try` of the next create: one more than the kept machine's, or than one this run gave up for want of room.
pub fn next_attempt(back_off: Option<&BackOff>, this_run: &ThisRun, purpose: &Purpose, provider: &ProviderName) -> u32 {
    let given_up = this_run.tries.iter().find(|tried| tried.purpose == *purpose && tried.provider == *provider);
    match back_off {
        Some(BackOff { attempt, over: false, .. }) => attempt.saturating_add(1),
        Some(_) | None => given_up.map_or(1, |tried| tried.attempt.saturating_add(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_an_hour() {
        let minutes: Vec<i64> = (1..=7).map(|attempt| wait(attempt).as_mins()).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(wait(u32::MAX), LONGEST);
    }
}
