//! What must be seen beyond the lists. Pure: which questions, not their answers. An idle pass asks nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::drift::drifted;
use super::need;
use crate::desired::{Desired, Launcher, Pool, Provider};
use crate::names::{NodeName, PoolName, ProviderName};
use crate::node::join::config_tells_more;
use crate::node::{AgentSight, Joined, Node, State, join, name};
use crate::observed::{AgentMark, Ask, Lists, Login, MachineAsk, Observed, ServerStatus};

/// The questions of round two, by the lists of round one.
pub fn asks(desired: &Desired, observed: &Observed, now: Timestamp) -> BTreeSet<Ask> {
    let joined = join(desired, observed, now);
    let mut asks = BTreeSet::new();
    for node in &joined.nodes {
        if let (Some(pool), Some(provider)) = (node.pool, desired.provider(&node.provider))
            && wants_machine(node, pool)
        {
            asks.extend(machine(node, pool, provider));
            if node.marks.hostkey.is_none() {
                asks.insert(Ask::Console(node.provider.clone(), node.server.id.clone()));
            }
        }
        if matches!(node.state, State::Failed(_)) && node.marks.failed.is_none() && node.server.status != ServerStatus::Build {
            asks.insert(Ask::Console(node.provider.clone(), node.server.id.clone()));
        }
    }
    let drifted = drifted(desired, observed, &joined, now);
    let counts = need::counts(desired, observed, &joined, &drifted, now);
    asks.extend(for_creating(desired, &observed.lists, &counts));
    asks.extend(configs(desired, &observed.lists, &joined));
    asks
}

/// ACTIVE and on its way up: only SSH tells how far it is.
fn wants_machine(node: &Node<'_>, pool: &Pool) -> bool {
    if node.server.status != ServerStatus::Active {
        return false;
    }
    match (&node.state, &node.marks.agent) {
        (State::Booting { .. }, None) => true,
        // An inbound agent that died before it was ever online is started again.
        (State::Joining { .. }, Some(AgentMark::Joining(_))) => {
            matches!(pool.agent.launcher, Launcher::Inbound { .. }) && matches!(node.agent, AgentSight::Seen(_))
        }
        _ => false,
    }
}

fn machine(node: &Node<'_>, pool: &Pool, provider: &Provider) -> Option<Ask> {
    let login = login(node, pool, provider)?;
    let (server, pinned, script) = (node.server.id.clone(), node.marks.hostkey.clone(), pool.ready_run());
    Some(Ask::Machine(MachineAsk { provider: node.provider.clone(), server, login, pinned, script }))
}

/// How to reach a node; none while it has no address.
pub fn login(node: &Node<'_>, pool: &Pool, provider: &Provider) -> Option<Login> {
    Some(Login {
        host: node.server.address(&provider.address)?.to_owned(),
        port: pool.ssh_port,
        usernames: pool.username.clone(),
        private_key: pool.private_key.clone(),
    })
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
fn for_creating(desired: &Desired, lists: &Lists, counts: &BTreeMap<PoolName, need::Counts>) -> BTreeSet<Ask> {
    let short = desired.pools.values().filter(|pool| counts.get(&pool.name).is_some_and(|counts| counts.need() > 0));
    let mut asks = BTreeSet::new();
    let seen = |provider: &&ProviderName| matches!(lists.providers.get(*provider), Some(Ok(_)));
    for provider in short.flat_map(|pool| &pool.providers).filter(seen) {
        asks.insert(Ask::Flavors(provider.clone()));
        asks.insert(Ask::Limits(provider.clone()));
        if desired.provider(provider).is_some_and(|provider| !provider.networks.is_empty()) {
            asks.insert(Ask::Networks(provider.clone()));
        }
    }
    asks
}
