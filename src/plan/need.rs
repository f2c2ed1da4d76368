//! How many nodes each pool has and lacks. Pure counting; who gets scarce room is `share`'s.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::drift::{Drifted, replaced_at_a_time};
use crate::desired::Desired;
use crate::desired::units::since;
use crate::names::{PoolName, ProviderName};
use crate::node::{Joined, Node, State};
use crate::observed::{Launched, Mark, Observed, ServerStatus};

/// A pool's nodes by what they count as: each node in exactly one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counts {
    pub ready: u32,
    /// Ready by their marks, and their agents are behind a gap: they count as ready.
    pub unseen: u32,
    /// Of the ready ones, those that are being replaced: they do not count, so that their replacements launch first.
    pub replaced: u32,
    pub busy: u32,
    /// Launching, booting, preparing, registering, joining, lost within the grace; and accepted creates no list shows yet.
    pub coming: u32,
    /// Used, orphaned or retiring.
    pub used: u32,
    /// By a person, or in a state no rule speaks of.
    pub held: u32,
    pub failed: u32,
    pub deleting: u32,
    /// `min-ready`.
    pub want: u32,
    /// `max-servers`.
    pub max: u32,
    /// Without single use a busy node comes back, and counts as ready.
    pub busy_counts: bool,
}

impl Counts {
    /// What counts as capacity.
    pub fn have(&self) -> u32 {
        self.all_ready().saturating_sub(self.replaced) + self.coming
    }

    /// What works now, drifted or not.
    pub fn all_ready(&self) -> u32 {
        self.ready + self.unseen + if self.busy_counts { self.busy } else { 0 }
    }

    pub fn need(&self) -> u32 {
        self.want.saturating_sub(self.have())
    }

    /// Servers, whatever their state.
    pub fn servers(&self) -> u32 {
        let Self { ready, unseen, replaced: _, busy, coming, used, held, failed, deleting, want: _, max: _, busy_counts: _ } =
            self;
        ready + unseen + busy + coming + used + held + failed + deleting
    }

    fn add(&mut self, node: &Node<'_>) {
        let marks = &node.marks;
        let failed = marks.failed.is_some() || node.server.status == ServerStatus::Error;
        let kept = node.is_a_persons() || matches!(node.server.status, ServerStatus::Other(_));
        let field = match &node.state {
            State::Ready => &mut self.ready,
            State::Unseen => &mut self.unseen,
            // Where a busy node counts as ready since it comes back, one that will not does not.
            State::Busy if self.busy_counts && kept => &mut self.held,
            State::Busy if self.busy_counts && failed => &mut self.failed,
            State::Busy if self.busy_counts && (marks.used.is_some() || marks.retire.is_some()) => &mut self.used,
            State::Busy => &mut self.busy,
            State::Deleting => &mut self.deleting,
            State::Failed(_) => &mut self.failed,
            State::Held(_) | State::HoldOver(_) | State::Kept(_) => &mut self.held,
            State::Used(_) | State::Resuming { .. } | State::Orphan | State::Retiring(_) => &mut self.used,
            State::Launching
            | State::WithoutFloatingIp
            | State::Booting { .. }
            | State::Preparing
            | State::ToRegister
            | State::Joining { .. }
            | State::Lost { .. }
            | State::Snapshot(_)
            | State::MassOffline => &mut self.coming,
        };
        *field += 1;
    }
}

/// The counts of every pool of the desired state.
pub fn counts(
    desired: &Desired,
    observed: &Observed,
    joined: &Joined<'_>,
    drifted: &Drifted,
    now: Timestamp,
) -> BTreeMap<PoolName, Counts> {
    let mut counts: BTreeMap<PoolName, Counts> = desired
        .pools
        .values()
        .map(|pool| {
            let start =
                Counts { want: pool.min_ready, max: pool.max_servers, busy_counts: !pool.single_use, ..Counts::default() };
            (pool.name.clone(), start)
        })
        .collect();
    for node in &joined.nodes {
        if let Some(count) = node.pool_name().and_then(|pool| counts.get_mut(pool)) {
            count.add(node);
        }
    }
    for launched in unlisted(observed, now) {
        if let Some(count) = launched.purpose.pool().and_then(|pool| counts.get_mut(pool)) {
            count.coming += 1;
        }
    }
    count_replaced(&mut counts, joined, drifted);
    counts
}

/// Idle drifted nodes that do not count as ready, a few of each pool.
pub fn count_replaced(counts: &mut BTreeMap<PoolName, Counts>, joined: &Joined<'_>, drifted: &Drifted) {
    let mut old: BTreeMap<&PoolName, u32> = BTreeMap::new();
    for pool in joined.nodes.iter().filter(|node| drifted.contains_key(&node.server.id)).filter_map(Node::pool_name) {
        *old.entry(pool).or_default() += 1;
    }
    for (pool, counts) in counts {
        let old = old.get(pool).copied().unwrap_or_default();
        // Of a pool with more than it wants the surplus goes first, and that is the drifted.
        let over = counts.all_ready().saturating_sub(counts.want);
        counts.replaced = over.saturating_add(replaced_at_a_time(counts.want)).min(old);
    }
}

/// Creates of this run that no list shows yet. Most passes have none, and look up no names.
pub fn unlisted(observed: &Observed, now: Timestamp) -> Vec<&Launched> {
    if observed.this_run.launched.is_empty() {
        return Vec::new();
    }
    observed.this_run.unlisted(&listed(observed), now).collect()
}

/// The names of all servers that a list shows.
pub fn listed(observed: &Observed) -> BTreeSet<&str> {
    let lists = observed.lists.providers.values().filter_map(|list| list.as_ref().ok());
    lists.flat_map(|list| &list.servers).map(|server| server.name.as_str()).collect()
}

/// A provider's servers of ours, in whatever role and state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Load {
    pub servers: u32,
    /// In BUILD or booting.
    pub launching: u32,
}

/// The load of every provider that was seen.
pub fn loads(desired: &Desired, observed: &Observed, joined: &Joined<'_>, now: Timestamp) -> BTreeMap<ProviderName, Load> {
    let controller = &desired.controller.id;
    let mut loads: BTreeMap<ProviderName, Load> = BTreeMap::new();
    for (name, list) in &observed.lists.providers {
        let Ok(list) = list else { continue };
        let ours = list.servers.iter().filter(|server| server.mark(Mark::Controller) == Some(controller.as_str()));
        let servers = u32::try_from(ours.count()).unwrap_or(u32::MAX);
        loads.insert(name.clone(), Load { servers, launching: 0 });
    }
    // Whatever a person or an earlier pass wants of it: Nova builds it.
    let builds = |node: &&Node<'_>| {
        let limit = desired.provider(&node.provider).map(|provider| provider.launch_timeout);
        node.server.status == ServerStatus::Build
            && !node.server.is_deleting()
            && limit.is_some_and(|limit| since(node.server.created, now) <= limit)
    };
    let all = joined.nodes.iter().chain(&joined.builders);
    for node in all.filter(|node| node.state.is_launching() || builds(node)) {
        loads.entry(node.provider.clone()).or_default().launching += 1;
    }
    for launched in unlisted(observed, now) {
        let load = loads.entry(launched.provider.clone()).or_default();
        load.servers += 1;
        load.launching += 1;
    }
    loads
}
