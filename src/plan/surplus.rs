//! Nodes that are more than wanted, made from inputs that changed, or of a pool that is gone: which of them go now. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;

use super::backoff::BackOff;
use super::need::Counts;
use super::{WaitsFor, spec};
use crate::desired::units::{self, since};
use crate::desired::{Desired, Pool, PoolImage};
use crate::names::{PoolName, ProviderName, ServerId, short};
use crate::node::{AgentSight, Joined, Node, State};
use crate::observed::Observed;
use crate::observed::image::newest;

/// An input of a node that is not what it would be made from now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drift {
    /// A part of `poolkeeper_spec`.
    Input(&'static str),
    Image {
        from: String,
        to: String,
    },
    Age(jiff::SignedDuration),
}

impl fmt::Display for Drift {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(name) => write!(out, "{name} changed"),
            Self::Image { from, to } => write!(out, "image {from} -> {to}"),
            Self::Age(age) => write!(out, "older than {}", units::exact(*age)),
        }
    }
}

/// Drifted idle nodes, by server.
pub type Drifted = BTreeMap<ServerId, Vec<Drift>>;

/// What drifted of every idle node. A node that is not idle is looked at when it is.
pub fn drifted(desired: &Desired, observed: &Observed, joined: &Joined<'_>, now: Timestamp) -> Drifted {
    let idle = joined.nodes.iter().filter(|node| is_idle(node));
    let drift = idle.filter_map(|node| {
        let drift = drift_of(desired, observed, node, node.pool?, now);
        (!drift.is_empty()).then(|| (node.server.id.clone(), drift))
    });
    drift.collect()
}

/// Online, without a build, and seen so.
fn is_idle(node: &Node<'_>) -> bool {
    node.state == State::Ready && matches!(node.agent, AgentSight::Seen(_))
}

fn drift_of(desired: &Desired, observed: &Observed, node: &Node<'_>, pool: &Pool, now: Timestamp) -> Vec<Drift> {
    let Some(provider) = desired.provider(&node.provider) else { return Vec::new() };
    let mut drift: Vec<Drift> = spec::drifted(node.marks.spec.as_deref(), pool, provider).into_iter().map(Drift::Input).collect();
    let (PoolImage::Glance(name), Some(Ok(list))) = (&pool.image, observed.lists.providers.get(&node.provider)) else {
        return drift;
    };
    if let (Some(image), Some(from)) = (newest(&list.images, name), &node.server.image)
        && image.id != *from
    {
        drift.push(Drift::Image { from: short(from.as_str()).to_owned(), to: short(image.id.as_str()).to_owned() });
    }
    if let Some(limit) = pool.max_ready_age.filter(|limit| since(node.server.created, now) > *limit) {
        drift.push(Drift::Age(limit));
    }
    drift
}

/// How many idle drifted nodes of a pool do not count as ready at one time, so that their replacements launch first: a tenth,
/// so that a bad change shows in few nodes before the rest follows.
pub fn replaced_at_a_time(min_ready: u32) -> u32 {
    (min_ready / 10).max(1)
}

/// Which idle nodes go now: of a pool with more ready than wanted the drifted first, then the oldest.
pub fn surplus(counts: &BTreeMap<PoolName, Counts>, joined: &Joined<'_>, drifted: &Drifted) -> BTreeSet<ServerId> {
    let mut going = BTreeSet::new();
    for (pool, counts) in counts {
        let over = counts.all_ready().saturating_sub(counts.want);
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
    back_offs: &BTreeMap<(PoolName, ProviderName), BackOff>,
) -> BTreeSet<ServerId> {
    let full = waits.iter().filter(|(_, waits)| matches!(waits, WaitsFor::PoolFull { .. } | WaitsFor::ProviderFull { .. }));
    let mut going = BTreeSet::new();
    for (pool, _) in full {
        let nobody_missing = counts.get(pool).is_some_and(|counts| counts.all_ready() + counts.coming >= counts.want);
        let failing = back_offs.keys().any(|(of, _)| of == pool);
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
