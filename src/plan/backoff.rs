//! Back-off without memory: the newest failed machine of a pool in a provider is kept, and its age and try are the state.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::WaitsFor;
use crate::names::{PoolName, ProviderName, ServerId};
use crate::node::{Joined, Node, State};
use crate::observed::{AgentMark, ThisRun};

/// The first wait: long enough for a passing fault of the cloud, short enough that a person who mends it sees the next try.
const FIRST: SignedDuration = SignedDuration::from_mins(1);
/// The longest wait: a pool that is mended at night fills within half an hour by itself.
pub const LONGEST: SignedDuration = SignedDuration::from_mins(30);

/// Where a pool stands in a provider where machines failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackOff {
    pub kept: ServerId,
    pub attempt: u32,
    pub until: Timestamp,
    pub why: String,
    /// Machines launched after the kept one that are still on their way.
    pub trying: u32,
    /// One launched after it was online once: it is over, and the kept one goes.
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
        let Self { kept: _, attempt, until, why, trying, over: _ } = self.clone();
        if now >= until && trying + launched > 0 {
            WaitsFor::Try { attempt, why }
        } else {
            WaitsFor::BackOff { until, attempt, why }
        }
    }
}

fn wait(attempt: u32) -> SignedDuration {
    // 2^5 minutes are over the longest wait already.
    let doublings = attempt.saturating_sub(1).min(5);
    LONGEST.min(FIRST * 2_i32.pow(doublings))
}

/// By pool and provider. A machine that failed for want of quota is no boot failure: Nova refuses those, no server is left.
pub fn back_offs(joined: &Joined<'_>) -> BTreeMap<(PoolName, ProviderName), BackOff> {
    let mut newest: BTreeMap<(PoolName, ProviderName), &Node<'_>> = BTreeMap::new();
    for node in &joined.nodes {
        let (State::Failed(_), Some(pool)) = (&node.state, node.pool_name()) else { continue };
        let key = (pool.clone(), node.provider.clone());
        let kept = newest.entry(key).or_insert(node);
        if (node.server.created, &node.name) > (kept.server.created, &kept.name) {
            *kept = node;
        }
    }
    newest.into_iter().map(|(key, kept)| (key.clone(), of(&key, kept, joined))).collect()
}

fn of(key: &(PoolName, ProviderName), kept: &Node<'_>, joined: &Joined<'_>) -> BackOff {
    let after = joined
        .nodes
        .iter()
        .filter(|node| node.pool_name() == Some(&key.0) && node.provider == key.1 && node.server.created > kept.server.created);
    let (mut trying, mut over) = (0, false);
    for node in after {
        over |= node.marks.agent == Some(AgentMark::Joined);
        trying += u32::from(node.state.is_coming());
    }
    let attempt = kept.marks.attempt;
    let until = kept.server.created.checked_add(wait(attempt)).unwrap_or(Timestamp::MAX);
    let why = if let State::Failed(why) = &kept.state { why.to_string() } else { String::new() };
    BackOff { kept: kept.server.id.clone(), attempt, until, why, trying, over }
}

/// `poolkeeper_try` of the next create: one more than the kept machine's, or than one this run gave up for want of room.
pub fn next_attempt(back_off: Option<&BackOff>, this_run: &ThisRun, pool: &PoolName, provider: &ProviderName) -> u32 {
    let given_up = this_run.tries.iter().find(|tried| tried.purpose.pool() == Some(pool) && tried.provider == *provider);
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
