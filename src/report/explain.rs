//! One node explained, as a value: its state, what is seen, the rule that makes it, what comes next. Text is `explain_text`'s.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::printable::{last_lines, without_host_keys};
pub use super::rule::rule_of;
use super::rule::since_of;
use super::steps::words;
use crate::desired::{Desired, HostKeys};
use crate::names::{ImageId, ImageName, PoolName, ProviderName, ServerId, TargetName, short};
use crate::node::{AgentSight, FailedWhy, Node, State};
use crate::observe::Further;
use crate::observed::{
    Answer, Ask, Computer, Gap, HostKey, MachineAsk, MachineSight, Mark, Marks, Observed, ScriptState, Server,
};
use crate::plan::{Because, Chain, ImageLine, Plan, Refusal, Subject, Verb, WaitsFor};

/// Everything that the person is told.
#[derive(Debug, serde::Serialize)]
pub struct Explanation {
    pub node: String,
    pub pool: Option<PoolName>,
    /// Of a builder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageName>,
    /// Its pool or image is in the desired state.
    pub wanted: bool,
    pub state: &'static str,
    pub since: Option<Timestamp>,
    /// None of an agent without a server.
    pub server: Option<ServerSeen>,
    pub agent: AgentSeen,
    /// None when it was not asked.
    pub machine: Option<MachineSeen>,
    /// The raw values.
    pub marks: BTreeMap<&'static str, String>,
    #[serde(skip)]
    pub read: Option<Marks>,
    pub rule: String,
    pub tail: Option<Tail>,
    pub next: Next,
    /// Services that were not seen.
    pub gaps: Vec<Gap>,
    /// Commands of this build that show more or go on.
    pub see: Vec<String>,
}

/// What Nova shows.
#[derive(Debug, serde::Serialize)]
pub struct ServerSeen {
    pub provider: ProviderName,
    pub id: ServerId,
    pub status: String,
    pub task: Option<String>,
    pub fault: Option<String>,
    pub created: Timestamp,
    pub launched: Option<Timestamp>,
    pub address: Option<String>,
    pub flavor: String,
    /// Its name, where the image is listed.
    pub image: Option<String>,
    pub availability_zone: Option<String>,
    pub locked: Option<bool>,
}

/// What Jenkins shows.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentSeen {
    NotSeen { target: Option<TargetName>, gap: Option<Gap> },
    Absent { target: Option<TargetName> },
    Seen { target: Option<TargetName>, computer: Computer },
}

/// What one SSH connect showed.
#[derive(Debug, serde::Serialize)]
pub struct MachineSeen {
    pub host: String,
    pub port: u16,
    pub sight: Result<MachineSight, Gap>,
    /// The provider trusts only keys that stand on the console, and this one does or does not.
    pub key_on_console: Option<bool>,
}

/// The end of what a machine printed, safe for a terminal.
#[derive(Debug, serde::Serialize)]
pub struct Tail {
    /// `console`, or `output` of the ready script.
    pub of: &'static str,
    pub lines: Vec<String>,
    pub gap: Option<Gap>,
}

/// What the plan has for it.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Next {
    Chain {
        verb: Verb,
        because: Because,
        acts: Vec<&'static str>,
        #[serde(skip)]
        words: Vec<&'static str>,
    },
    Waits {
        waits_for: WaitsFor,
        /// What the wait for a limit is about.
        refusals: Vec<Refusal>,
        /// What holds back the next try of its pool or image.
        held_by: Option<WaitsFor>,
    },
    /// It is as it should be.
    Nothing,
}

/// What an explanation is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'s> {
    pub desired: &'s Desired,
    pub observed: &'s Observed,
    pub plan: &'s Plan,
    /// Answers beyond those that the plan was made from.
    pub further: &'s Further,
}

/// Lines of a console or of a script's output: what a boot or a script ends with, without filling the screen.
const TAIL: usize = 8;

/// `has_command`: whether this build has a command of that name.
pub fn explain(from: Sources<'_>, node: &Node<'_>, has_command: &dyn Fn(&str) -> bool) -> Explanation {
    let next = next_of(from.plan, node);
    let machine = machine(from, node);
    Explanation {
        node: node.name.to_string(),
        pool: node.pool_name().cloned(),
        image: Subject::of(node).image,
        wanted: node.pool.is_some() || node.image.is_some(),
        state: node.state.word(),
        since: since_of(from.desired, node),
        server: Some(server_seen(from, node)),
        agent: agent_seen(from, node),
        rule: rule_of(&node.state),
        tail: tail(from, node, machine.as_ref()),
        machine,
        marks: Mark::ALL.iter().filter_map(|mark| Some((mark.key(), node.server.mark(*mark)?.to_owned()))).collect(),
        read: Some(node.marks.clone()),
        see: see(node, &next, has_command),
        next,
        gaps: from.observed.lists.gaps().cloned().collect(),
    }
}

fn server_seen(from: Sources<'_>, node: &Node<'_>) -> ServerSeen {
    let server = node.server;
    let provider = from.desired.provider(&node.provider);
    ServerSeen {
        provider: node.provider.clone(),
        id: server.id.clone(),
        status: server.status.as_str().to_owned(),
        task: server.task.clone(),
        fault: server.fault.clone(),
        created: server.created,
        launched: server.launched,
        address: provider.and_then(|provider| node.address(provider)).map(str::to_owned),
        flavor: server.flavor.to_string(),
        image: image_name(from.observed, &node.provider, server),
        availability_zone: server.availability_zone.as_ref().map(ToString::to_string),
        locked: server.locked,
    }
}

fn image_name(observed: &Observed, provider: &ProviderName, server: &Server) -> Option<String> {
    let id: &ImageId = server.image.as_ref()?;
    let list = observed.lists.providers.get(provider).and_then(|list| list.as_ref().ok());
    let known = list.into_iter().flat_map(|list| &list.images).find(|image| image.id == *id);
    Some(known.map_or_else(|| short(id.as_str()).to_owned(), |image| image.name.clone()))
}

fn agent_seen(from: Sources<'_>, node: &Node<'_>) -> AgentSeen {
    let target = node.target().cloned();
    match node.agent {
        AgentSight::Gap => {
            let list = target.as_ref().and_then(|target| from.observed.lists.targets.get(target));
            AgentSeen::NotSeen { gap: list.and_then(|list| list.as_ref().err()).cloned(), target }
        }
        AgentSight::Absent => AgentSeen::Absent { target },
        AgentSight::Seen(computer) => AgentSeen::Seen { target, computer: computer.clone() },
    }
}

/// The answers for a node's machine: the plan's, else one of the further ones.
fn machine(from: Sources<'_>, node: &Node<'_>) -> Option<MachineSeen> {
    let is_its = |ask: &MachineAsk| ask.provider == node.provider && ask.server == node.server.id;
    let own = from.observed.answers.iter().map(|(ask, answer)| (ask, answer));
    let (ask, answer) = own.chain(from.further).find_map(|(ask, answer)| {
        let Ask::Machine(ask) = ask else { return None };
        is_its(ask).then_some((ask, answer))
    })?;
    let sight = match answer {
        Ok(Answer::Machine(sight)) => Ok(sight.clone()),
        Ok(_) => return None,
        Err(gap) => Err(gap.clone()),
    };
    let unpinned = if let Ok(MachineSight::Up { key, facts: None }) = &sight { Some(key) } else { None };
    let key_on_console = unpinned.and_then(|key| on_console(from, node, key));
    Some(MachineSeen { host: ask.login.host.clone(), port: ask.login.port, sight, key_on_console })
}

fn on_console(from: Sources<'_>, node: &Node<'_>, key: &HostKey) -> Option<bool> {
    let provider = from.desired.provider(&node.provider).filter(|provider| provider.host_keys == HostKeys::Console)?;
    let text = console(from, &provider.name, &node.server.id)?.ok()?;
    Some(key.stands_on(text))
}

fn console<'s>(from: Sources<'s>, provider: &ProviderName, server: &ServerId) -> Option<Result<&'s str, &'s Gap>> {
    let own = from.observed.answers.iter().map(|(ask, answer)| (ask, answer));
    own.chain(from.further).find_map(|(ask, answer)| match (ask, answer) {
        (Ask::Console(of, id), Ok(Answer::Console(text))) if of == provider && id == server => Some(Ok(text.as_str())),
        (Ask::Console(of, id), Err(gap)) if of == provider && id == server => Some(Err(gap)),
        _ => None,
    })
}

/// Of a node that failed or boots: its script's last words, else its console's.
fn tail(from: Sources<'_>, node: &Node<'_>, machine: Option<&MachineSeen>) -> Option<Tail> {
    if !matches!(node.state, State::Failed(_) | State::Booting { .. }) {
        return None;
    }
    if let Some(text) =
        script_output(&node.state).or_else(|| machine.and_then(|machine| sight_output(machine.sight.as_ref().ok()?)))
    {
        let lines = last_lines(text, TAIL);
        if !lines.is_empty() {
            return Some(Tail { of: "output", lines, gap: None });
        }
    }
    match console(from, &node.provider, &node.server.id)? {
        Ok(text) => {
            let lines = last_lines(&without_host_keys(text), TAIL);
            (!lines.is_empty()).then_some(Tail { of: "console", lines, gap: None })
        }
        Err(gap) => Some(Tail { of: "console", lines: Vec::new(), gap: Some(gap.clone()) }),
    }
}

fn script_output(state: &State) -> Option<&str> {
    let State::Failed(
        FailedWhy::Script { tail, .. }
        | FailedWhy::ScriptVanished { tail }
        | FailedWhy::ScriptTimeout { tail, .. }
        | FailedWhy::Setup { tail, .. }
        | FailedWhy::SetupVanished { tail }
        | FailedWhy::SetupTimeout { tail, .. },
    ) = state
    else {
        return None;
    };
    Some(tail.as_str()).filter(|tail| !tail.is_empty())
}

fn sight_output(sight: &MachineSight) -> Option<&str> {
    match sight {
        MachineSight::Up { facts: Some(facts), .. } => match &facts.script {
            ScriptState::Exited { tail, .. } | ScriptState::Vanished { tail } => Some(tail),
            ScriptState::Running { tail, .. } => Some(tail.as_str()).filter(|tail| !tail.is_empty()),
            ScriptState::NotStarted | ScriptState::Passed => None,
        },
        MachineSight::Up { facts: None, .. }
        | MachineSight::NoSsh { .. }
        | MachineSight::LoginRefused { .. }
        | MachineSight::OtherKey { .. } => None,
    }
}

fn next_of(plan: &Plan, node: &Node<'_>) -> Next {
    let chain = plan.chains.iter().find(|chain| chain.subject.name == node.name && is_about(chain, node));
    if let Some(chain) = chain {
        return next_chain(chain);
    }
    let wait = plan.waits.iter().find(|wait| wait.subject.name == node.name && wait.state == node.state.word());
    let Some(wait) = wait else { return Next::Nothing };
    let refusals = if wait.waits_for == WaitsFor::Limit { plan.refusals.clone() } else { Vec::new() };
    let try_due = matches!(wait.waits_for, WaitsFor::TryDue { .. });
    Next::Waits { waits_for: wait.waits_for.clone(), refusals, held_by: own_wait(plan, node).filter(|_| try_due) }
}

/// Of the pool that it is in, or of the image that it builds.
fn own_wait(plan: &Plan, node: &Node<'_>) -> Option<WaitsFor> {
    let Subject { pool, image, name: _ } = Subject::of(node);
    let of_pool = || plan.pools.iter().find(|line| Some(&line.name) == pool.as_ref())?.waits_for.clone();
    let here = |line: &&ImageLine| Some(&line.name) == image.as_ref() && line.provider == node.provider;
    let of_image = || plan.images.iter().find(here)?.waits_for.clone();
    of_image().or_else(of_pool)
}

pub(super) fn next_chain(chain: &Chain) -> Next {
    let acts = chain.actions.iter().map(|action| action.act.kind()).collect();
    let words = chain.actions.iter().map(|action| words(&action.act)).collect();
    Next::Chain { verb: chain.verb, because: chain.because.clone(), acts, words }
}

/// Two servers can have one name: a chain's actions tell which it is for.
fn is_about(chain: &Chain, node: &Node<'_>) -> bool {
    let mut about = chain.actions.iter().filter_map(|action| action.act.server());
    about.all(|(_, id)| *id == node.server.id)
}

/// Commands that show more or go on, as far as there are such commands.
fn see(node: &Node<'_>, next: &Next, has_command: &dyn Fn(&str) -> bool) -> Vec<String> {
    let name = &node.name;
    let wanted: &[&str] = match &node.state {
        State::Failed(_) => &["log", "ssh"],
        State::Booting { .. } | State::Preparing | State::Joining { .. } | State::Snapshot(_) => &["log"],
        State::Held(_) | State::HoldOver(_) => &["unhold"],
        State::Lost { .. } | State::Orphan | State::Kept(_) => &["ssh"],
        State::Deleting
        | State::Busy
        | State::Retiring(_)
        | State::Launching
        | State::WithoutFloatingIp
        | State::ToRegister
        | State::Used(_)
        | State::Resuming { .. }
        | State::MassOffline
        | State::Unseen
        | State::Ready => &[],
    };
    let mut see: Vec<String> =
        wanted.iter().filter(|command| has_command(command)).map(|command| format!("poolkeeper {command} {name}")).collect();
    let of_all = matches!(next, Next::Waits { waits_for: WaitsFor::Gap(_) | WaitsFor::Limit, .. });
    if of_all && has_command("status") {
        see.push("poolkeeper status".to_owned());
    }
    see
}
