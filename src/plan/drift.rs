//! Nodes made from inputs that changed: what drifted, and how many are replaced at one time. Which of them go is `surplus`'s.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use super::spec;
use crate::desired::units::{self, since};
use crate::desired::{Desired, Pool, PoolImage};
use crate::names::{ServerId, short};
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
pub fn is_idle(node: &Node<'_>) -> bool {
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
