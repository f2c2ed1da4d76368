//! A name without a server explained: an agent of ours alone, or what may be where nobody could look.

use std::collections::BTreeMap;

use super::explain::{AgentSeen, Explanation, Next, next_chain};
use crate::node::{LoneAgent, State};
use crate::observed::Observed;
use crate::plan::{Plan, WaitsFor};

/// An agent with a name of ours whose server is gone.
pub fn explain_agent(plan: &Plan, lone: &LoneAgent<'_>) -> Explanation {
    let name = lone.computer.name.clone();
    let chain = plan.chains.iter().find(|chain| chain.subject.name.as_str() == name);
    let rule = if lone.known {
        "an agent with a name of ours whose server is in no list is removed once it is offline and idle"
    } else {
        "an agent with a name of ours is left alone while its description does not name this deployment"
    };
    Explanation {
        node: name.to_string(),
        pool: None,
        image: None,
        wanted: false,
        state: "an agent without a server",
        since: None,
        server: None,
        agent: AgentSeen::Seen { target: Some(lone.target.clone()), computer: lone.computer.clone() },
        machine: None,
        marks: BTreeMap::new(),
        read: None,
        rule: rule.to_owned(),
        tail: None,
        next: chain.map_or(Next::Nothing, next_chain),
        gaps: plan.gaps.clone(),
        see: Vec::new(),
    }
}

/// A name that nothing has that was seen, while a provider was not: the node may be there.
pub fn explain_unseen(wanted: &str, observed: &Observed) -> Explanation {
    let providers = observed.lists.providers.iter().filter(|(_, list)| list.is_err()).map(|(name, _)| name.to_string());
    let providers: Vec<String> = providers.collect();
    Explanation {
        node: wanted.to_owned(),
        pool: None,
        image: None,
        wanted: false,
        state: State::Unseen.word(),
        since: None,
        server: None,
        agent: agent_named(wanted, observed),
        machine: None,
        marks: BTreeMap::new(),
        read: None,
        rule: "what was not seen is not called gone: a node of a provider that was not seen may be there, and is left alone"
            .to_owned(),
        tail: None,
        next: Next::Waits { waits_for: WaitsFor::Gap(providers.join(", ")), refusals: Vec::new(), held_by: None },
        gaps: observed.lists.gaps().cloned().collect(),
        see: Vec::new(),
    }
}

/// In whichever target has it. Without a server nothing tells in which it is to be.
fn agent_named(wanted: &str, observed: &Observed) -> AgentSeen {
    let targets = || observed.lists.targets.iter();
    let found = targets().find_map(|(target, list)| {
        let computer = list.as_ref().ok()?.computers.iter().find(|computer| computer.name == wanted)?;
        Some(AgentSeen::Seen { target: Some(target.clone()), computer: computer.clone() })
    });
    let unseen = || {
        let gap = targets().find_map(|(target, list)| Some((target.clone(), list.as_ref().err()?.clone())));
        gap.map(|(target, gap)| AgentSeen::NotSeen { target: Some(target), gap: Some(gap) })
    };
    found.or_else(unseen).unwrap_or(AgentSeen::Absent { target: None })
}
