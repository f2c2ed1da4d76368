//! The whole plan against its limits, before anything is done. A plan over a limit does none of what the limit guards.

use std::fmt;

use super::{Because, Chain};
use crate::desired::Desired;
use crate::desired::units::Share;
use crate::node::mass_offline::MassOffline;
use crate::observed::Observed;

/// Up to this many healthy nodes go in one run whatever the share says: a pool of four that is lowered to two is no accident.
/// A pool that vanished from the desired state has no such floor: a file that was lost in a merge is one.
const DELETES_FLOOR: u32 = 5;

/// Why part of a plan is not done, and how a person lifts it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    Deletes {
        /// Healthy nodes that would go in this run.
        would: u32,
        /// Healthy nodes there were at the run's start.
        of: u32,
        limit: u32,
        /// As it is written in the desired state.
        share: Share,
    },
    /// Nodes whose agents are missing are neither marked nor deleted.
    Offline { mass: MassOffline, share: Share },
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deletes { would, of, limit, share } => {
                write!(out, "{would} of {of} healthy nodes would be deleted, limit is {limit} (max-deletes-per-run: {share})")
            }
            Self::Offline { mass: MassOffline { target, missing, of, limit }, share } => {
                write!(
                    out,
                    "{missing} of {of} agents of {target} are missing at one time, limit is {limit} (mass-offline: {share})"
                )
            }
        }
    }
}

impl Refusal {
    /// What that means for the nodes, and the flag that lifts it once.
    pub fn meaning(&self) -> String {
        match self {
            Self::Deletes { would, .. } => {
                format!("none of them is, now or by the timer; lift once with --allow-deletes {would}")
            }
            Self::Offline { mass, .. } => {
                format!(
                    "none of those nodes is marked or deleted, all count as coming; lift once with --allow-offline {}",
                    mass.missing
                )
            }
        }
    }
}

/// Targets that miss too many agents at one time, as refusals.
pub fn offline(desired: &Desired, missing: Vec<MassOffline>) -> Vec<Refusal> {
    let share = desired.controller.limits.mass_offline;
    missing.into_iter().map(|mass| Refusal::Offline { mass, share }).collect()
}

/// Whether a chain takes down a node that works or may work: nobody asked for it to go one by one. An agent without a server
/// is one too: its server may be where nobody looks any more.
pub fn takes_a_healthy_node(because: &Because) -> bool {
    matches!(because, Because::Surplus | Because::PoolRemoved | Because::Orphan | Because::LoneAgent | Because::Drift(_))
}

/// The chains that may be done, and the refusal that held back the rest.
pub fn brake(desired: &Desired, observed: &Observed, healthy: u32, chains: Vec<Chain>) -> (Vec<Chain>, Option<Refusal>) {
    let limits = &desired.controller.limits;
    // One whose removal this run has begun was counted then.
    let begun = &observed.this_run.retired;
    let guarded = chains.iter().filter(|chain| takes_a_healthy_node(&chain.because) && !begun.contains(&chain.subject.name));
    let (mut new, mut vanished) = (0_u32, false);
    for chain in guarded {
        new += 1;
        vanished |= chain.because == Because::PoolRemoved;
    }
    let of = observed.this_run.healthy_at_start.unwrap_or(healthy);
    let would = u32::try_from(begun.len()).unwrap_or(u32::MAX).saturating_add(new);
    let floor = if vanished { 0 } else { DELETES_FLOOR };
    let limit = limits.allow_deletes.unwrap_or_else(|| limits.max_deletes_per_run.of(of, floor));
    if new == 0 || would <= limit {
        return (chains, None);
    }
    let goes = |chain: &Chain| !takes_a_healthy_node(&chain.because) || begun.contains(&chain.subject.name);
    let kept = chains.into_iter().filter(goes).collect();
    (kept, Some(Refusal::Deletes { would, of, limit, share: limits.max_deletes_per_run }))
}
