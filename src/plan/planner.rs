//! `plan`: the stages of a plan in their order, and nothing else.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::backoff::{BackOff, back_offs};
use super::launch::{Room, launches};
use super::need::{self, Counts, Load};
use super::prepare::next_step;
use super::retire::{facts, removal};
use super::{
    Act, Action, AgentExpects, AgentIs, Because, Chain, Expects, Head, NodeWait, Plan, PoolLine, ProviderHead, Subject,
    TargetHead, Verb, WaitsFor,
};
use crate::desired::Desired;
use crate::desired::units::since;
use crate::names::{NodeName, PoolName, ProviderName};
use crate::node::state::KeptWhy;
use crate::node::{Joined, Node, State, UsedWhy, join};
use crate::observed::{Observed, Refused};

/// What one pass would do. Same input, same plan, byte for byte.
pub fn plan(desired: &Desired, observed: &Observed, now: Timestamp) -> Plan {
    let joined = join(desired, observed, now);
    let counts = need::counts(desired, observed, &joined, now);
    let loads = need::loads(desired, observed, &joined, now);
    let back_offs = back_offs(&joined);
    let head = head(desired, observed, &loads);

    let (mut chains, mut waits) = (Vec::new(), Vec::new());
    for node in &joined.nodes {
        match step(desired, observed, node, &back_offs, now).and_then(|chain| not_refused(observed, chain)) {
            Ok(Some(chain)) => chains.push(chain),
            Ok(None) => {}
            Err(waits_for) => waits.push(NodeWait { subject: subject(node), state: node.state.word(), waits_for }),
        }
    }
    chains.extend(lone_agents(&joined));
    let mut room = Room::new(desired, observed, &joined, loads, &back_offs, now);
    let launches = launches(&mut room, &counts);
    chains.extend(launches.chains);
    for chain in room_for_tries(desired, observed, &joined, &back_offs, &launches.waits, now) {
        chains.retain(|other| other.subject.name != chain.subject.name);
        waits.retain(|wait| wait.subject.name != chain.subject.name);
        chains.push(chain);
    }
    chains.sort_by(|a, b| (a.verb, &a.subject).cmp(&(b.verb, &b.subject)));

    let pools = pool_lines(counts, launches.waits);
    Plan { head, gaps: observed.gaps().cloned().collect(), chains, pools, waits }
}

fn subject(node: &Node<'_>) -> Subject {
    Subject { pool: node.pool_name().cloned(), name: node.name.clone() }
}

/// A node's chain of this pass, nothing, or what it waits for.
fn step(
    desired: &Desired,
    observed: &Observed,
    node: &Node<'_>,
    back_offs: &BTreeMap<(PoolName, ProviderName), BackOff>,
    now: Timestamp,
) -> Result<Option<Chain>, WaitsFor> {
    let down = |because| removal(desired, observed, node, because, now).map(Some);
    let noted = || facts(desired, observed, node, now);
    match &node.state {
        State::Used(why) => down(Because::Used { why: why.clone(), idle: idle(node, why, now) }),
        State::Orphan => down(Because::Orphan),
        State::Retiring(why) => down(Because::Retiring(why.clone())),
        State::Failed(why) => match kept_for(node, back_offs, now) {
            None => down(Because::Failed(why.clone())),
            Some(waits) => noted().map(Some).ok_or(waits),
        },
        State::Booting { up: Some(_) } | State::ToRegister | State::Joining { start: true } => {
            next_step(desired, node, now).map(Some).ok_or(WaitsFor::Gap("its target".to_owned()))
        }
        State::Ready => Ok(noted()),
        State::Busy => noted().map(Some).ok_or(WaitsFor::Build),
        State::Lost { until } => noted().map(Some).ok_or(until.map_or(WaitsFor::LaterPass, |until| WaitsFor::Return { until })),
        State::Launching => Err(WaitsFor::Boot),
        State::Booting { up: None } => Err(WaitsFor::Ssh),
        State::Preparing => Err(WaitsFor::Script),
        State::Joining { start: false } => Err(WaitsFor::Online),
        State::Deleting => Err(WaitsFor::Deletion),
        State::Held(who) => Err(WaitsFor::Person(who.clone())),
        State::HoldOver => Err(WaitsFor::Person("its hold is over: take off poolkeeper_hold and unlock it".to_owned())),
        State::Kept(why) => noted().map(Some).ok_or(WaitsFor::Person(kept(why))),
    }
}

fn kept(why: &KeptWhy) -> String {
    match why {
        KeptWhy::Status(status) => format!("Nova shows {status}"),
        KeptWhy::Person(text) => format!("offline: {text}"),
        KeptWhy::Gap => "an agent of its name is there that it did not register".to_owned(),
    }
}

/// What a service refused in this run is not tried again in it.
fn not_refused(observed: &Observed, chain: Option<Chain>) -> Result<Option<Chain>, WaitsFor> {
    let Some(chain) = chain else { return Ok(None) };
    let name = &chain.subject.name;
    let refused = |action: &Action| observed.this_run.refused.get(&Refused::Act(action.act.kind(), name.clone()));
    match chain.actions.iter().find_map(refused) {
        Some(said) => Err(WaitsFor::Refused(said.clone())),
        None => Ok(Some(chain)),
    }
}

/// How long a node has been idle, as far as Jenkins tells.
fn idle(node: &Node<'_>, why: &UsedWhy, now: Timestamp) -> Option<jiff::SignedDuration> {
    let cause = node.agent.computer()?.cause.as_ref()?;
    let marked = matches!(why, UsedWhy::Gearman | UsedWhy::OurMark);
    cause.since.filter(|_| marked).map(|at| since(at, now))
}

/// The newest failed machine of a pool in a provider stays as the mark of back-off; what it waits for.
fn kept_for(node: &Node<'_>, back_offs: &BTreeMap<(PoolName, ProviderName), BackOff>, now: Timestamp) -> Option<WaitsFor> {
    let key = (node.pool_name()?.clone(), node.provider.clone());
    let back_off = back_offs.get(&key).filter(|back_off| back_off.kept == node.server.id && !back_off.over)?;
    // A pool that is gone or wants nothing needs no back-off.
    node.pool.filter(|pool| pool.min_ready > 0)?;
    let BackOff { until, attempt, why, .. } = back_off.clone();
    if now >= until && back_off.trying > 0 {
        return Some(WaitsFor::Online);
    }
    Some(WaitsFor::BackOff { until, attempt, why })
}

/// Without room for the next try beside the kept failed machine, that one goes first.
fn room_for_tries(
    desired: &Desired,
    observed: &Observed,
    joined: &Joined<'_>,
    back_offs: &BTreeMap<(PoolName, ProviderName), BackOff>,
    waits: &BTreeMap<PoolName, WaitsFor>,
    now: Timestamp,
) -> Vec<Chain> {
    let full = |pool: &PoolName| matches!(waits.get(pool), Some(WaitsFor::PoolFull { .. } | WaitsFor::ProviderFull { .. }));
    let in_the_way = |node: &&Node<'_>| {
        let key = node.pool_name().map(|pool| (pool.clone(), node.provider.clone()));
        let back_off = key.as_ref().and_then(|key| back_offs.get(key));
        back_off.is_some_and(|back_off| back_off.kept == node.server.id && back_off.allows(now) > 0 && !back_off.over)
            && node.pool_name().is_some_and(full)
    };
    let chain = |node: &Node<'_>| {
        let because = Because::RoomForTry { provider: node.provider.clone(), attempt: node.marks.attempt };
        removal(desired, observed, node, because, now).ok()
    };
    joined.nodes.iter().filter(in_the_way).filter_map(chain).collect()
}

/// Agents without a server: removed when offline and idle. One that is online is a gap for its name, never an orphan.
fn lone_agents(joined: &Joined<'_>) -> Vec<Chain> {
    let removable = joined.lone_agents.iter().filter(|(_, agent)| !agent.busy && agent.offline);
    let chain = |(target, agent): &(crate::names::TargetName, &crate::observed::Computer)| {
        let name = NodeName::new(agent.name.as_str());
        let expects = Expects {
            server: None,
            agent: Some(AgentExpects { target: target.clone(), name: name.clone(), is: AgentIs::Removable }),
        };
        let act = Act::DeleteAgent { target: target.clone(), name: name.clone() };
        let subject = Subject { pool: None, name };
        Chain { subject, verb: Verb::Delete, because: Because::LoneAgent, times: None, actions: vec![Action { act, expects }] }
    };
    removable.map(chain).collect()
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
