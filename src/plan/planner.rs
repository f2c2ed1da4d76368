//! `plan`: the stages of a plan in their order, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::backoff::{BackOffs, back_offs, key_of};
use super::brakes::{self, brake};
use super::launch::{Launches, Pools, launches};
use super::need::{self, Counts, Load};
use super::overview::Overview;
use super::retire::Sight;
use super::room::Room;
use super::snapshot::builder::Builders;
use super::snapshot::due::Look;
use super::snapshot::{due, keep};
use super::steps::Steps;
use super::{
    Act, Action, AgentExpects, AgentIs, Because, Chain, Expects, Head, NodeWait, Plan, PoolLine, ProviderHead, Subject,
    TargetHead, Verb, WaitsFor,
};
use super::{drift, floating, surplus};
use crate::desired::Desired;
use crate::names::{NodeName, PoolName, ProviderName, Purpose, ServerId, TargetName};
use crate::node::mass_offline::mass_offline;
use crate::node::{Joined, Node, State};
use crate::observed::{Computer, Observed};

/// What one pass would do. Same input, same plan, byte for byte.
pub fn plan(desired: &Desired, observed: &Observed, now: Timestamp) -> Plan {
    plan_of(Overview::of(desired, observed, now))
}

/// The same, of what is put together already.
pub fn plan_of(overview: Overview<'_>) -> Plan {
    let Overview { desired, observed, now, joined, snapshots, mut drifted, mut counts, looks } = overview;
    let loads = need::loads(desired, observed, &joined, now);
    let stale = stale(&joined, &looks);
    let back_offs = back_offs(&joined, &snapshots, &stale, now);
    let head = head(desired, observed, &loads);

    let mut room = Room::new(desired, observed, loads, now);
    // First: a build that finds no room has a slot kept, and a pool could take the one that it finds.
    let builds = due::builds(&mut room, &looks, &back_offs, &desired.pools);
    let awaiting = drift::take_awaiting(&mut drifted, &joined, &builds.awaited(&looks, &joined, &back_offs, now));
    if !awaiting.is_empty() {
        need::count_replaced(&mut counts, &joined, &drifted);
    }
    let says = builds.says();
    let short: BTreeSet<&PoolName> = counts.iter().filter(|(_, counts)| counts.need() > 0).map(|(pool, _)| pool).collect();
    let launches = if short.is_empty() {
        Launches::default()
    } else {
        launches(&mut Pools::new(&mut room, &joined, &back_offs, &snapshots, &says), &counts)
    };
    let mut going = surplus::surplus(&counts, &joined, &drifted);
    going.extend(surplus::first_without_room(&counts, &joined, &drifted, &launches.waits, &back_offs));
    let full = |purpose: &Purpose, provider: &ProviderName| match purpose {
        Purpose::Pool(pool) => launches.waits.get(pool).is_some_and(WaitsFor::is_for_room),
        Purpose::Image(image) => builds.waits(image, provider).is_some_and(WaitsFor::is_for_room),
    };
    let in_the_way = in_the_way(&joined, &back_offs, full, now);

    let missing = mass_offline(desired, &joined.nodes, now);
    let mass_targets = missing.iter().map(|mass| mass.target.clone()).collect();
    let sight = Sight { desired, observed, mass_offline: &mass_targets, now };
    let (mut chains, mut waits) = (Vec::new(), Vec::new());
    let (back, way) = (&back_offs, &in_the_way);
    let steps =
        Steps { sight, back_offs: back, drifted: &drifted, awaiting: &awaiting, going: &going, in_the_way: way, short: &short };
    let due = looks.iter().filter(|look| look.want.is_ok()).map(|look| (look.image.name.clone(), look.provider.name.clone()));
    let due = due.collect();
    let builders = Builders { sight, back_offs: &back_offs, stale: &stale, in_the_way: &in_the_way, due: &due };
    let of_nodes = joined.nodes.iter().map(|node| (node, steps.of(node)));
    for (node, step) in of_nodes.chain(joined.builders.iter().map(|node| (node, builders.of(node)))) {
        match step {
            Ok(Some(chain)) => chains.push(chain),
            Ok(None) => {}
            Err(waits_for) => waits.push(wait(node, waits_for)),
        }
    }
    let creates: Vec<Chain> = builds.chains.into_iter().chain(launches.chains).collect();
    let (deletions, not_let_go) = keep::surplus(sight, &joined, &snapshots, &back_offs, &creates);
    chains.extend(deletions);
    waits.extend(not_let_go);
    chains.extend(lone_agents(&joined));
    chains.extend(floating::lone(desired, observed));
    chains.extend(creates);
    let healthy = healthy(&joined);
    let planned: BTreeSet<NodeName> = chains.iter().map(|chain| chain.subject.name.clone()).collect();
    let (mut chains, over_limit) = brake(desired, observed, healthy, chains);
    if over_limit.is_some() {
        let left: BTreeSet<&NodeName> = chains.iter().map(|chain| &chain.subject.name).collect();
        let held_back = joined.nodes.iter().filter(|node| planned.contains(&node.name) && !left.contains(&node.name));
        waits.extend(held_back.map(|node| wait(node, WaitsFor::Limit)));
    }
    chains.sort_by(|a, b| (a.verb, &a.subject).cmp(&(b.verb, &b.subject)));
    waits.sort_by(|a, b| a.subject.cmp(&b.subject));
    let mut refusals = brakes::offline(desired, missing);
    refusals.extend(over_limit);
    let pools = pool_lines(counts, launches.waits);
    Plan { head, gaps: observed.gaps().cloned().collect(), refusals, healthy, chains, pools, images: builds.lines, waits }
}

fn wait(node: &Node<'_>, waits_for: WaitsFor) -> NodeWait {
    NodeWait { subject: Subject::of(node), provider: node.provider.clone(), state: node.state.word(), waits_for }
}

/// Nodes that work, of all pools: ready, also by their marks alone, busy, and those whose agent is gone.
fn healthy(joined: &Joined<'_>) -> u32 {
    let works = |state: &State| matches!(state, State::Ready | State::Unseen | State::Busy | State::Orphan);
    let healthy = joined.nodes.iter().filter(|node| works(&node.state));
    u32::try_from(healthy.count()).unwrap_or(u32::MAX)
}

/// Without room for the next try beside the kept failed machine, that one goes first.
fn in_the_way(
    joined: &Joined<'_>,
    back_offs: &BackOffs,
    full: impl Fn(&Purpose, &ProviderName) -> bool,
    now: Timestamp,
) -> BTreeSet<ServerId> {
    let kept = joined.nodes.iter().chain(&joined.builders).filter(|node| {
        let Some(key) = key_of(node) else { return false };
        let back_off = back_offs.get(&key).filter(|it| it.kept == node.server.id && it.allows(now) > 0 && !it.over);
        back_off.is_some() && full(&key.0, &key.1)
    });
    kept.map(|node| node.server.id.clone()).collect()
}

/// Builders from other inputs than those of now.
fn stale(joined: &Joined<'_>, looks: &[Look<'_>]) -> BTreeSet<ServerId> {
    let stale = joined.builders.iter().filter(|builder| {
        let of =
            |look: &&Look<'_>| Some(&look.image.name) == builder.marks.image.as_ref() && look.provider.name == builder.provider;
        looks.iter().find(of).is_some_and(|look| !look.is_from_now(builder))
    });
    stale.map(|builder| builder.server.id.clone()).collect()
}

/// Agents without a server: removed when offline and idle. One that is online is a gap for its name, never an orphan.
fn lone_agents(joined: &Joined<'_>) -> Vec<Chain> {
    let removable = joined.lone_agents.iter().filter(|lone| lone.known && !lone.computer.busy && lone.computer.offline);
    let lone = removable.map(|lone| agent_only(&lone.target, lone.computer, AgentIs::Removable, Because::LoneAgent));
    let ghosts = joined.ghosts.iter().map(|(target, ghost)| agent_only(target, ghost, AgentIs::Ghost, Because::Ghost));
    lone.chain(ghosts).collect()
}

fn agent_only(target: &TargetName, agent: &Computer, is: AgentIs, because: Because) -> Chain {
    let name = NodeName::new(agent.name.as_str());
    let agent = Some(AgentExpects { target: target.clone(), name: name.clone(), is });
    let expects = Expects { agent, ..Expects::default() };
    let act = Act::DeleteAgent { target: target.clone(), name: name.clone() };
    let subject = Subject { pool: None, image: None, name };
    Chain { subject, verb: Verb::Delete, because, times: None, actions: vec![Action { act, expects }] }
}

fn pool_lines(counts: BTreeMap<PoolName, Counts>, mut waits: BTreeMap<PoolName, WaitsFor>) -> Vec<PoolLine> {
    let line = |(name, counts): (PoolName, Counts)| PoolLine { waits_for: waits.remove(&name), name, counts };
    counts.into_iter().map(line).collect()
}

fn head(desired: &Desired, observed: &Observed, loads: &BTreeMap<ProviderName, Load>) -> Head {
    let providers = desired.controller.providers.values().map(|provider| ProviderHead {
        name: provider.name.clone(),
        account: observed.lists.providers.get(&provider.name).and_then(|list| Some(list.as_ref().ok()?.account.clone())),
        servers: loads.get(&provider.name).map_or(0, |load| load.servers),
        max_servers: provider.max_servers,
    });
    let targets = desired.controller.targets.keys().map(|name| {
        let list = observed.lists.targets.get(name).and_then(|list| list.as_ref().ok());
        TargetHead { name: name.clone(), seen: list.is_some(), version: list.and_then(|list| list.version.clone()) }
    });
    Head { providers: providers.collect(), targets: targets.collect(), ..Head::of(desired) }
}
