//! What must be seen beyond the lists. Pure: which questions, not their answers. An idle pass asks nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Overview, WaitsFor, need, snapshot};
use crate::desired::units::since;
use crate::desired::{Desired, Digest, Launcher, Pool, Provider, SnapshotImage, UsedWhen};
use crate::names::{NodeName, PoolName, ProviderName};
use crate::node::join::config_tells_more;
use crate::node::{AgentSight, Joined, Node, State, name};
use crate::observed::{AgentMark, Ask, Lists, Login, MachineAsk, Observed, ServerStatus, ThisRun};

/// The questions of round two, by the lists of round one. Of a service whose list is a gap nothing is asked: it has said why.
pub fn asks(desired: &Desired, observed: &Observed, now: Timestamp) -> BTreeSet<Ask> {
    asks_of(&Overview::of(desired, observed, now))
}

/// The same, of what is put together already.
pub fn asks_of(overview: &Overview<'_>) -> BTreeSet<Ask> {
    let Overview { desired, observed, now, joined, snapshots: _, drifted: _, counts, looks } = overview;
    let now = *now;
    let mut asks = BTreeSet::new();
    for node in &joined.nodes {
        if let (Some(pool), Some(provider)) = (node.pool, desired.provider(&node.provider))
            && wants_workspace(node, pool, &observed.this_run, now)
        {
            let workspace = Some(format!("{}/workspace", pool.agent.remote_fs.trim_end_matches('/')));
            asks.extend(machine(node, provider).map(|ask| Ask::Machine(MachineAsk { workspace, ..ask })));
        }
        if let (State::Resuming { .. }, Some(target)) = (&node.state, node.target()) {
            asks.insert(Ask::Queue(target.clone()));
        }
    }
    for node in joined.nodes.iter().chain(&joined.builders) {
        let console = || Ask::Console(node.provider.clone(), node.server.id.clone());
        if let Some(provider) = desired.provider(&node.provider).filter(|_| wants_machine(node)) {
            asks.extend(machine(node, provider).map(Ask::Machine));
            if node.marks.hostkey.is_none() {
                asks.insert(console());
            }
        }
        asks.extend(super::floating::asks(node, &observed.this_run));
        if matches!(node.state, State::Failed(_)) && node.marks.failed.is_none() && node.server.status != ServerStatus::Build {
            asks.insert(console());
        }
    }
    let building = looks.iter().filter(|look| look.want.is_ok()).map(|look| &look.provider.name);
    let no_base = looks.iter().filter(|look| matches!(look.want, Err(Some(WaitsFor::NoImage { .. }))));
    asks.extend(no_base.filter_map(|look| snapshot::due::last_base(look.current?, &look.provider.name)));
    asks.extend(for_creating(desired, &observed.lists, counts, building));
    asks.extend(configs(desired, &observed.lists, joined));
    asks
}

/// ACTIVE and on its way up: only SSH tells how far it is.
fn wants_machine(node: &Node<'_>) -> bool {
    if node.server.status != ServerStatus::Active {
        return false;
    }
    match (&node.state, &node.marks.agent) {
        (State::Booting { .. }, None) => true,
        // An inbound agent that died before it was ever online is started again.
        (State::Joining { .. }, Some(AgentMark::Joining(_))) => {
            let inbound = |pool: &Pool| matches!(pool.agent.launcher, Launcher::Inbound { .. });
            node.pool.is_some_and(inbound) && matches!(node.agent, AgentSight::Seen(_))
        }
        _ => false,
    }
}

/// How long a look at a workspace is due, in each check-interval: a timer that runs each minute comes by once or twice, also
/// when one run takes its whole 50 s.
const DUE: SignedDuration = SignedDuration::from_secs(90);

/// An idle node of a pool that takes a used workspace for its build's end, when it is its turn: spread by its name.
fn wants_workspace(node: &Node<'_>, pool: &Pool, this_run: &ThisRun, now: Timestamp) -> bool {
    let idle = node.state == State::Ready;
    if !idle || !pool.used_when.contains(&UsedWhen::Workspace) || node.server.status != ServerStatus::Active {
        return false;
    }
    let interval = pool.check_interval.as_secs().max(1);
    let offset = i64::from_str_radix(Digest::of(&[node.name.as_str()]).as_str(), 16).unwrap_or_default();
    let since_turn = (now.as_second() - offset).rem_euclid(interval);
    let looked = this_run.looked.get(&node.server.id).is_some_and(|at| since(*at, now) < DUE);
    since_turn < DUE.as_secs() && !looked
}

/// A look at a node's machine; none while it has no address.
pub fn machine(node: &Node<'_>, provider: &Provider) -> Option<MachineAsk> {
    let login = login(node, provider)?;
    let (server, pinned) = (node.server.id.clone(), node.marks.hostkey.clone());
    let script = match node.pool {
        Some(pool) => pool.ready_run(),
        None => SnapshotImage::setup_run(node.marks.spec.as_deref().unwrap_or_default()),
    };
    Some(MachineAsk { provider: node.provider.clone(), server, login, pinned, script, workspace: None })
}

/// How to reach a node or builder; none while it has no address, or nobody knows who logs in to it.
pub fn login(node: &Node<'_>, provider: &Provider) -> Option<Login> {
    let (port, usernames, private_key) = match (node.pool, node.image) {
        (Some(pool), _) => (pool.ssh_port, &pool.username, &pool.private_key),
        (None, Some(image)) => (image.ssh_port, &image.username, &image.private_key),
        (None, None) => return None,
    };
    let host = node.address(provider)?.to_owned();
    Some(Login { host, port, usernames: usernames.clone(), private_key: private_key.clone() })
}

/// Agents that the list does not tell enough of: without executors, or without a server and a description.
fn configs(desired: &Desired, lists: &Lists, joined: &Joined<'_>) -> BTreeSet<Ask> {
    let mut asks = BTreeSet::new();
    for (target, list) in lists.targets.iter().filter_map(|(target, list)| Some((target, list.as_ref().ok()?))) {
        let ghosts =
            list.computers.iter().filter(|agent| agent.may_be_ghost() && name::is_ours(&desired.controller.id, &agent.name));
        let lone = joined.lone_agents.iter().filter(|lone| lone.target == *target).map(|lone| lone.computer);
        let lone = lone.filter(|agent| agent.offline && !agent.busy && config_tells_more(list, agent));
        asks.extend(ghosts.chain(lone).map(|agent| Ask::AgentConfig(target.clone(), NodeName::new(agent.name.as_str()))));
    }
    asks
}

/// What a create call is made of, only when there may be one.
fn for_creating<'d>(
    desired: &'d Desired,
    lists: &Lists,
    counts: &BTreeMap<PoolName, need::Counts>,
    building: impl Iterator<Item = &'d ProviderName>,
) -> BTreeSet<Ask> {
    let short = desired.pools.values().filter(|pool| counts.get(&pool.name).is_some_and(|counts| counts.need() > 0));
    let mut asks = BTreeSet::new();
    let seen = |provider: &&ProviderName| matches!(lists.providers.get(*provider), Some(Ok(_)));
    for provider in short.flat_map(|pool| &pool.providers).chain(building).filter(seen) {
        asks.insert(Ask::Flavors(provider.clone()));
        asks.insert(Ask::Limits(provider.clone()));
        if desired.provider(provider).is_some_and(|provider| !provider.networks.is_empty()) {
            asks.insert(Ask::Networks(provider.clone()));
        }
    }
    asks
}
