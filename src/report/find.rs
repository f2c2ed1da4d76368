//! Which node a person means: by its name, its server's id, or the beginning of one of them. Pure.

use crate::desired::Desired;
use crate::desired::near;
use crate::names::short;
use crate::node::{Joined, LoneAgent, Node, name};
use crate::observed::{Marks, Observed, Role, Server};

/// What a name can stand for.
#[derive(Debug, Clone, Copy)]
pub enum Found<'j, 'a> {
    /// A node or a builder.
    Node(&'j Node<'a>),
    /// An agent with a name of ours, without a server.
    Agent(&'j LoneAgent<'a>),
    /// In nothing that was seen. Not all was: it may be there.
    Unseen,
}

/// So many names are given when several match.
const NAMED: usize = 6;

impl Found<'_, '_> {
    fn name(&self) -> &str {
        match self {
            Self::Node(node) => node.name.as_str(),
            Self::Agent(lone) => &lone.computer.name,
            Self::Unseen => "",
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Node(node) => node.server.id.as_str(),
            Self::Agent(_) | Self::Unseen => "",
        }
    }
}

/// The one that is meant, or what to say to the person.
pub fn find<'j, 'a>(
    wanted: &str,
    desired: &Desired,
    observed: &Observed,
    joined: &'j Joined<'a>,
) -> Result<Found<'j, 'a>, String> {
    let servers = || joined.nodes.iter().chain(&joined.builders);
    let all = || servers().map(Found::Node).chain(joined.lone_agents.iter().map(Found::Agent));
    let exact: Vec<Found<'j, 'a>> = all().filter(|found| found.name() == wanted || found.id() == wanted).collect();
    if let [found] = exact.as_slice() {
        return Ok(*found);
    }
    if !exact.is_empty() {
        return Err(twins(wanted, &exact));
    }
    let begun: Vec<Found<'j, 'a>> =
        all().filter(|found| found.name().starts_with(wanted) || found.id().starts_with(wanted)).collect();
    if let [found] = begun.as_slice() {
        return Ok(*found);
    }
    if !begun.is_empty() {
        return Err(several(wanted, &begun));
    }
    if let Some(said) = other_server(wanted, desired, observed) {
        return Err(said);
    }
    if observed.lists.providers.values().any(Result::is_err) {
        return Ok(Found::Unseen);
    }
    let nodes = servers().map(|node| node.name.as_str());
    let known: Vec<&str> = nodes.chain(joined.lone_agents.iter().map(|lone| lone.computer.name.as_str())).collect();
    Err(nothing(wanted, desired, &known))
}

/// Nova allows two servers of one name.
fn twins(wanted: &str, found: &[Found<'_, '_>]) -> String {
    let ids: Vec<String> = found
        .iter()
        .filter_map(|found| if let Found::Node(node) = found { Some(node) } else { None })
        .map(|node| format!("{} ({}, {})", short(node.server.id.as_str()), node.provider, node.state.word()))
        .collect();
    format!("{} servers are called `{wanted}`: give one's id: {}", found.len(), ids.join(", "))
}

fn several(wanted: &str, found: &[Found<'_, '_>]) -> String {
    let mut names: Vec<&str> = found.iter().map(Found::name).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let shown: Vec<&str> = names.iter().take(NAMED).copied().collect();
    format!("`{wanted}` is the beginning of {} nodes: {}{more}; give more of one", names.len(), shown.join(", "))
}

/// A server that is there, and no node of ours.
fn other_server(wanted: &str, desired: &Desired, observed: &Observed) -> Option<String> {
    let lists = observed.lists.providers.iter().filter_map(|(name, list)| Some((name, list.as_ref().ok()?)));
    let mut servers = lists.flat_map(|(provider, list)| list.servers.iter().map(move |server| (provider, server)));
    let is_meant = |server: &Server| server.name == wanted || server.id.as_str() == wanted;
    let (provider, server) = servers.find(|(_, server)| is_meant(server))?;
    let controller = &desired.controller.id;
    Some(match Marks::read(&server.metadata, controller).map(|marks| marks.role) {
        None => format!("`{wanted}` is a server in {provider} without the mark of {controller}: poolkeeper never touches it"),
        Some(Role::Debug) => format!("`{wanted}` is a debug server in {provider}, not a node"),
        Some(Role::Node | Role::Builder | Role::Unknown(_)) => {
            format!("`{wanted}` is a server in {provider} of a role that is not known here")
        }
    })
}

fn nothing(wanted: &str, desired: &Desired, known: &[&str]) -> String {
    if let Some(near) = near(wanted, known.iter().copied()) {
        return format!("no node is called `{wanted}`: did you mean `{near}`?");
    }
    if name::is_ours(&desired.controller.id, wanted) {
        let id = &desired.controller.id;
        return format!("no node is called `{wanted}`; the name was given out by {id}: that node is gone");
    }
    format!("no node is called `{wanted}`; `poolkeeper list` shows the {} that are there", known.len())
}
