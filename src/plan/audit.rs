//! Checks any plan against the rules that no plan may break, from what was observed alone and without the planner's own
//! helpers. The tests do so with every plan that they see; a run does not.

mod creates;
mod floating;
mod images;
mod sight;
mod steps;

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Act, Chain, Plan};
use crate::desired::Desired;
use crate::names::{ImageName, NodeName, PoolName, ProviderName, ServerId, TargetName};
use crate::observed::Observed;
use sight::{Sights, agent_of};

/// A rule that a plan breaks, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offence {
    /// Something is done to what does not carry our mark, or is in no list.
    Foreign(NodeName),
    /// A build runs: nothing but marks, and the agent's own mark only where the pool wants it.
    Busy(NodeName),
    /// A person holds it.
    Held(NodeName),
    /// A person marked its agent offline, or its status is one that no rule speaks of.
    Kept(NodeName),
    /// A deletion that depends on what could not be seen.
    Unseen(NodeName),
    /// A machine in BUILD for no longer than it may be.
    Young(NodeName),
    /// Two chains for one server, or for one agent.
    TwoChains(NodeName),
    /// One chain for two servers or agents.
    TwoSubjects(NodeName),
    /// A deletion without `retire` before it, of a server that takes marks.
    NoRetireMark(NodeName),
    /// Something is sent to a machine before its key is pinned, or with another key.
    NoPinnedKey(NodeName),
    /// A registration without `joining` before it.
    NoJoiningMark(NodeName),
    /// An idle agent is marked offline before `used` or `retire` says why.
    NoUsedMark(NodeName),
    /// A mark on a server that Nova takes none for now.
    NoMarksTaken(NodeName),
    /// An agent is marked offline that is so already.
    MarkedAlready(NodeName),
    /// A server goes and its agent stays.
    AgentLeft(NodeName),
    /// A server goes and a floating IP of it stays.
    FloatingIpLeft(NodeName),
    /// A second floating IP for one server.
    FloatingIpTwice(NodeName),
    /// An agent that is online is deleted, or its server is.
    Online(NodeName),
    /// Deleted in the moment in which a build may have begun.
    TooSoon(NodeName),
    /// Something is done after the end.
    AfterTheEnd(NodeName),
    /// Nothing, or something else, is expected of what is changed.
    NoExpects(NodeName),
    /// A service refused it in this run already.
    RefusedAlready(NodeName),
    /// A name that Jenkins or DNS would refuse, or that does not say whose it is.
    BadName(NodeName),
    NameTaken(NodeName),
    /// A server would not be known as ours, or not for what it is.
    BadMarks(NodeName),
    /// A server in a provider that the pool does not name.
    WrongProvider(NodeName),
    /// A pool with a provider that is a gap launches nothing.
    CreateAtGap(PoolName),
    CreateWhilePaused(PoolName),
    /// More than the pool's `max-servers`.
    PoolOver(PoolName),
    /// More than `min-ready` would be ready or coming for what is surely so already.
    Unneeded(PoolName),
    /// More than one try after a back-off, or one in it.
    BackOff(PoolName, ProviderName),
    /// More than the provider's `max-servers`.
    ProviderOver(ProviderName),
    /// More than `max-concurrent-launches`.
    LaunchesOver(ProviderName),
    QuotaOver(ProviderName),
    /// More than `max-launches-per-run`.
    RunOver,
    /// A builder is switched off, or its image made, before it is marked built.
    NoBuiltMark(NodeName),
    /// A setup script is started on a builder that is built.
    BuiltAlready(NodeName),
    /// A builder goes, and an image of it stays that is nobody's then.
    Unsealed(NodeName),
    /// A snapshot that a person protected goes.
    ImageProtected(NodeName),
    /// A snapshot goes that a machine boots from.
    ImageInUse(NodeName),
    /// A snapshot goes that is not beyond `keep`, or bad without a newer good one.
    ImageNeeded(NodeName),
    /// A node from an image that is no good snapshot of ours.
    BootsFromBad(NodeName),
    BuildWhilePaused(ImageName),
    /// A second builder at work in a provider.
    TwoBuilders(ProviderName),
    /// A build of inputs that failed, before its back-off is over.
    BuildBackOff(ImageName, ProviderName),
}

/// Every rule that the plan breaks, sorted; none of a sound plan.
pub fn audit(desired: &Desired, observed: &Observed, plan: &Plan, now: Timestamp) -> Vec<Offence> {
    let sights = Sights::of(desired, observed, now);
    let mut offences = two_chains(plan);
    for chain in &plan.chains {
        match images::deletion(&sights, plan, chain) {
            Some(found) => offences.extend(found),
            None => steps::audit(&sights, chain, &mut offences),
        }
    }
    creates::audit(&sights, plan, &mut offences);
    offences.sort();
    offences.dedup();
    offences
}

/// What a chain acts on.
type Keys<'a> = (Option<(&'a ProviderName, &'a ServerId)>, Option<(&'a TargetName, &'a NodeName)>);

/// The one server and the one agent of a chain; none when it has several.
fn keys(chain: &Chain) -> Option<Keys<'_>> {
    let mut keys: Keys<'_> = (None, None);
    for action in &chain.actions {
        let expected = action.expects.server.as_ref().map(|server| (&server.provider, &server.id));
        for server in [action.act.server(), expected].into_iter().flatten() {
            if *keys.0.get_or_insert(server) != server {
                return None;
            }
        }
        let expected = action.expects.agent.as_ref().map(|agent| (&agent.target, &agent.name));
        for agent in [agent_of(&action.act), expected].into_iter().flatten() {
            if *keys.1.get_or_insert(agent) != agent {
                return None;
            }
        }
    }
    Some(keys)
}

fn two_chains(plan: &Plan) -> Vec<Offence> {
    let mut offences = Vec::new();
    let (mut servers, mut agents) = (BTreeSet::new(), BTreeSet::new());
    for chain in &plan.chains {
        let name = &chain.subject.name;
        let Some((server, _)) = keys(chain) else {
            offences.push(Offence::TwoSubjects(name.clone()));
            continue;
        };
        // Two chains may look at one agent; only one may change it.
        let acts = chain.actions.iter().map(|action| &action.act);
        let changed = acts.filter(|act| !matches!(act, Act::StartAgent(_))).find_map(agent_of);
        let again = server.is_some_and(|server| !servers.insert(server));
        if again || changed.is_some_and(|agent| !agents.insert(agent)) {
            offences.push(Offence::TwoChains(name.clone()));
        }
    }
    offences
}
