//! Idle nodes that are more than wanted, or that must go before their replacement can come: which of them go now. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::WaitsFor;
use super::backoff::BackOffs;
use super::drift::{Drifted, is_idle};
use super::need::Counts;
use crate::names::{PoolName, ServerId};
use crate::node::{Joined, Node};

/// Which idle nodes go now: of a pool with more ready than wanted the drifted first, then the oldest.
pub fn surplus(counts: &BTreeMap<PoolName, Counts>, joined: &Joined<'_>, drifted: &Drifted) -> BTreeSet<ServerId> {
    let mut going = BTreeSet::new();
    for (pool, counts) in counts {
        let over = counts.all_ready().saturating_sub(counts.want);
        if over == 0 {
            continue;
        }
        let mut idle: Vec<&Node<'_>> =
            joined.nodes.iter().filter(|node| node.pool_name() == Some(pool) && is_idle(node)).collect();
        idle.sort_by_key(|node| (!drifted.contains_key(&node.server.id), node.server.created, node.name.clone()));
        let over = usize::try_from(over).unwrap_or(usize::MAX);
        going.extend(idle.into_iter().take(over).map(|node| node.server.id.clone()));
    }
    going
}

/// Without room for a replacement one drifted node goes first, unless machines from the new inputs fail.
pub fn first_without_room(
    counts: &BTreeMap<PoolName, Counts>,
    joined: &Joined<'_>,
    drifted: &Drifted,
    waits: &BTreeMap<PoolName, WaitsFor>,
    back_offs: &BackOffs,
) -> BTreeSet<ServerId> {
    let full = waits.iter().filter(|(_, waits)| waits.is_for_room());
    let mut going = BTreeSet::new();
    for (pool, _) in full {
        let nobody_missing = counts.get(pool).is_some_and(|counts| counts.all_ready() + counts.coming >= counts.want);
        let failing = back_offs.keys().any(|(of, ..)| of.pool() == Some(pool));
        if !nobody_missing || failing || counts.get(pool).is_some_and(|counts| counts.coming > 0) {
            continue;
        }
        let mut old: Vec<&Node<'_>> =
            joined.nodes.iter().filter(|node| node.pool_name() == Some(pool) && drifted.contains_key(&node.server.id)).collect();
        old.sort_by_key(|node| (node.server.created, node.name.clone()));
        going.extend(old.first().map(|node| node.server.id.clone()));
    }
    going
}
