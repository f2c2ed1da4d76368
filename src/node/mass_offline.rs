//! Whether a target misses so many of its agents at one time that no rule may judge them one by one. Pure counting.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::join::{AgentSight, Node};
use crate::desired::Desired;
use crate::desired::units::since;
use crate::names::TargetName;
use crate::observed::AgentMark;

/// Fewer missing agents than this never are a mass: with a pool of three, one lost node is one lost node.
const MASS_FLOOR: u32 = 2;

/// A target that misses more of its agents at one time than `mass-offline` allows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MassOffline {
    pub target: TargetName,
    /// Lost, gone, overdue to come online, or taken offline by a monitor.
    pub missing: u32,
    /// Registered at one time or another.
    pub of: u32,
    pub limit: u32,
}

/// Targets that miss more of their agents at one time than `mass-offline` allows: the controller was restarted, its nodes
/// were wiped, or the network to it is cut. None of those nodes is marked or deleted for it.
pub fn mass_offline(desired: &Desired, nodes: &[Node<'_>], now: Timestamp) -> Vec<MassOffline> {
    let mut of_target: BTreeMap<&TargetName, (u32, u32)> = BTreeMap::new();
    for node in nodes {
        let marks = &node.marks;
        let going = marks.used.is_some() || marks.retire.is_some() || marks.failed.is_some() || node.server.is_deleting();
        let (Some(target), Some(_), false) = (node.target(), &marks.agent, going) else { continue };
        let (missing, of) = of_target.entry(target).or_default();
        *of += 1;
        *missing += u32::from(is_missing(node, now));
    }
    let limits = &desired.controller.limits;
    let over = of_target.into_iter().map(|(target, (missing, of))| {
        let limit = limits.allow_offline.unwrap_or_else(|| limits.mass_offline.of(of, MASS_FLOOR));
        MassOffline { target: target.clone(), missing, of, limit }
    });
    over.filter(|mass| mass.missing > mass.limit).collect()
}

fn is_missing(node: &Node<'_>, now: Timestamp) -> bool {
    let joined = node.marks.agent == Some(AgentMark::Joined);
    match (node.agent, &node.marks.agent) {
        (AgentSight::Gap, _) => false,
        (AgentSight::Absent, _) => joined,
        (AgentSight::Seen(agent), Some(AgentMark::Joining(at))) if agent.offline && !agent.temporarily_offline => {
            node.pool.is_some_and(|pool| since(*at, now) > pool.online_timeout)
        }
        (AgentSight::Seen(agent), _) => {
            let monitor = agent.cause.as_ref().is_some_and(|cause| cause.monitor().is_some());
            joined && (agent.channel_lost() || monitor)
        }
    }
}
