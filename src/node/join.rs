//! Joins the lists: servers of ours with their agents, by name and target. A double stays a double. No state yet.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::state::{self, State};
use crate::desired::{Desired, Pool, Provider, SnapshotImage};
use crate::names::{ControllerId, NodeName, PoolName, ProviderName, ServerId, TargetName};
use crate::observed::{
    AgentConfig, Answer, Ask, Computer, FloatingIp, Image, ImageMark, MachineSight, Marks, Observed, ProviderLists, Role, Server,
    TargetList,
};

/// A server of ours in the role `node` or `builder`, and what is known of its agent and machine.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    pub name: NodeName,
    pub provider: ProviderName,
    pub server: &'a Server,
    pub marks: Marks,
    /// Its pool in the desired state; none: removed, or it is a builder.
    pub pool: Option<&'a Pool>,
    /// Of a builder: its image in the desired state, where that is built in this provider; none: removed.
    pub image: Option<&'a SnapshotImage>,
    /// Of a builder: what Glance has of it, sealed or not.
    pub snapshots: Vec<&'a Image>,
    pub agent: AgentSight<'a>,
    /// None when it was not asked for or the answer is a gap.
    pub machine: Option<&'a MachineSight>,
    /// None when it was not asked for or is a gap.
    pub console: Option<&'a str>,
    /// Its controller's session now; none: not told, or a gap.
    pub session: Option<&'a str>,
    /// A Pipeline in the queue waits for this node. None when that was not asked for or is a gap.
    pub resuming: Option<bool>,
    /// Ours, made for this server; one, unless something went wrong.
    pub floating_ips: Vec<&'a FloatingIp>,
    pub state: State,
}

/// When Nova made it, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Times {
    pub created: Timestamp,
    /// First ACTIVE.
    pub launched: Option<Timestamp>,
}

/// An agent is looked for in its server's `poolkeeper_target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentSight<'a> {
    /// The target did not answer, or is not in the desired state.
    Gap,
    Absent,
    Seen(&'a Computer),
}

impl<'a> AgentSight<'a> {
    pub fn computer(self) -> Option<&'a Computer> {
        match self {
            Self::Seen(computer) => Some(computer),
            Self::Gap | Self::Absent => None,
        }
    }
}

impl Node<'_> {
    pub fn pool_name(&self) -> Option<&PoolName> {
        self.marks.pool.as_ref()
    }

    pub fn times(&self) -> Times {
        Times { created: self.server.created, launched: self.server.launched }
    }

    /// Of a builder: how long its setup script may last, and then its image. Of a removed image: the key's default.
    pub fn setup_timeout(&self) -> SignedDuration {
        const UNKNOWN: SignedDuration = SignedDuration::from_hours(2);
        self.image.map_or(UNKNOWN, |image| image.setup_timeout)
    }

    /// Held, or was: a person has been in it.
    pub fn is_a_persons(&self) -> bool {
        self.marks.hold.is_some() || self.server.locked == Some(true)
    }

    pub fn target(&self) -> Option<&TargetName> {
        self.marks.target.as_ref()
    }

    /// The address that SSH and Jenkins use. Nova's list shows a floating IP late: Neutron's is asked for it.
    pub fn address<'s>(&'s self, provider: &Provider) -> Option<&'s str> {
        let floating = self.floating_ips.first().filter(|_| provider.floating_ip_network.is_some());
        match floating {
            Some(ip) => Some(&ip.address),
            None if self.lacks_floating_ip(provider) => None,
            None => self.server.address(&provider.address),
        }
    }

    /// It is to have one before anything is done on it. One that was registered before its provider had floating IPs goes on
    /// without.
    pub fn lacks_floating_ip(&self, provider: &Provider) -> bool {
        provider.floating_ip_network.is_some() && self.floating_ips.is_empty() && self.marks.agent.is_none()
    }
}

/// Everything that a plan looks at.
#[derive(Debug)]
pub struct Joined<'a> {
    /// Of all providers that were seen, by provider and then in Nova's order.
    pub nodes: Vec<Node<'a>>,
    /// In the same order. They have no agent, and count in no pool.
    pub builders: Vec<Node<'a>>,
    /// Agents with a name of ours and no server.
    pub lone_agents: Vec<LoneAgent<'a>>,
    /// Left in the list of deleted agents: no agents any more, and taken for none.
    pub ghosts: Vec<(TargetName, &'a Computer)>,
    /// Servers in the project that are not ours: they count against the quota, and are never touched.
    pub foreign: usize,
}

/// An agent with a name of ours whose server is in no list.
#[derive(Debug, Clone)]
pub struct LoneAgent<'a> {
    pub target: TargetName,
    pub computer: &'a Computer,
    /// Its description names this deployment too, as far as the controller has descriptions.
    pub known: bool,
}

pub fn join<'a>(desired: &'a Desired, observed: &'a Observed, now: Timestamp) -> Joined<'a> {
    let controller = &desired.controller.id;
    let sights = Sights::of(observed);
    let servers = observed.lists.providers.values().flatten().map(|list| list.servers.len()).sum();
    let (mut nodes, mut builders) = (Vec::with_capacity(servers), Vec::new());
    let mut foreign = 0;
    for (provider, list) in &observed.lists.providers {
        let Ok(list) = list else { continue };
        let mut floating_ips = floating_ips(list, controller);
        for server in &list.servers {
            let Some(marks) = Marks::read(&server.metadata, controller) else {
                foreign += 1;
                continue;
            };
            let of_role = match marks.role {
                Role::Node => &mut nodes,
                Role::Builder => &mut builders,
                Role::Debug | Role::Unknown(_) => continue,
            };
            let floating_ips = floating_ips.remove(&server.id).unwrap_or_default();
            of_role.push(node(desired, observed, &sights, (provider, list), server, marks, floating_ips));
        }
    }
    state::derive(desired, &mut nodes, now);
    state::derive_builders(desired, &mut builders, now);
    let lone_agents = lone_agents(desired, observed);
    Joined { nodes, builders, lone_agents, ghosts: ghosts(desired, observed), foreign }
}

/// Without its state.
fn node<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    sights: &Sights<'a>,
    (provider, list): (&ProviderName, &'a ProviderLists),
    server: &'a Server,
    marks: Marks,
    floating_ips: Vec<&'a FloatingIp>,
) -> Node<'a> {
    let builder = marks.role == Role::Builder;
    let name = NodeName::new(server.name.clone());
    let image = marks.image.as_ref().filter(|_| builder).and_then(|image| desired.images.get(image));
    Node {
        agent: if builder { AgentSight::Absent } else { agent_of(observed, &marks, &server.name) },
        machine: sights.machines.get(&(provider, server.id.as_str())).copied(),
        console: sights.consoles.get(&(provider, server.id.as_str())).copied(),
        pool: marks.pool.as_ref().filter(|_| !builder).and_then(|pool| desired.pools.get(pool)),
        image: image.filter(|image| image.providers.contains(provider)),
        snapshots: if builder { snapshots(list, &desired.controller.id, &server.id) } else { Vec::new() },
        session: session_of(observed, &marks),
        resuming: sights.is_waited_for(&marks, &name),
        name,
        provider: provider.clone(),
        server,
        marks,
        floating_ips,
        state: State::Launching,
    }
}

/// Made from this builder: sealed, or not yet. A person's snapshot of it carries another one's id, or none of our marks.
fn snapshots<'a>(list: &'a ProviderLists, controller: &ControllerId, builder: &ServerId) -> Vec<&'a Image> {
    let of_it = list.images.iter().filter(|image| {
        let whose = image.mark(ImageMark::Itself).is_none_or(|id| id == image.id.as_str());
        image.names(controller) && image.mark(ImageMark::Build) == Some(builder.as_str()) && whose
    });
    of_it.collect()
}

/// Ours, by the server that they were made for; of one server by id.
fn floating_ips<'a>(list: &'a ProviderLists, controller: &ControllerId) -> BTreeMap<ServerId, Vec<&'a FloatingIp>> {
    let mut ours: BTreeMap<ServerId, Vec<&FloatingIp>> = BTreeMap::new();
    for ip in &list.floating_ips {
        if let Some(server) = ip.server_of(controller) {
            ours.entry(server).or_default().push(ip);
        }
    }
    for ips in ours.values_mut() {
        ips.sort_by(|a, b| a.id.cmp(&b.id));
    }
    ours
}

/// Answers by what they are about.
struct Sights<'a> {
    machines: BTreeMap<(&'a ProviderName, &'a str), &'a MachineSight>,
    consoles: BTreeMap<(&'a ProviderName, &'a str), &'a str>,
    queues: BTreeMap<&'a TargetName, &'a [String]>,
}

impl<'a> Sights<'a> {
    fn of(observed: &'a Observed) -> Self {
        let mut machines = BTreeMap::new();
        let mut consoles = BTreeMap::new();
        let mut queues = BTreeMap::new();
        for (ask, answer) in &observed.answers {
            match (ask, answer) {
                (Ask::Machine(asked), Ok(Answer::Machine(sight))) => {
                    machines.insert((&asked.provider, asked.server.as_str()), sight);
                }
                (Ask::Console(provider, server), Ok(Answer::Console(text))) => {
                    consoles.insert((provider, server.as_str()), text.as_str());
                }
                (Ask::Queue(target), Ok(Answer::Queue(items))) => {
                    queues.insert(target, items.as_slice());
                }
                (
                    Ask::Machine(_)
                    | Ask::ScriptLog(_)
                    | Ask::Console(..)
                    | Ask::Limits(_)
                    | Ask::Flavors(_)
                    | Ask::Networks(_)
                    | Ask::Ports(..)
                    | Ask::Image(..)
                    | Ask::AgentConfig(..)
                    | Ask::Queue(_),
                    _,
                ) => {}
            }
        }
        Self { machines, consoles, queues }
    }

    fn is_waited_for(&self, marks: &Marks, name: &NodeName) -> Option<bool> {
        let items = self.queues.get(marks.target.as_ref()?)?;
        Some(items.iter().any(|item| item.contains(name.as_str())))
    }
}

fn session_of<'a>(observed: &'a Observed, marks: &Marks) -> Option<&'a str> {
    observed.lists.targets.get(marks.target.as_ref()?)?.as_ref().ok()?.session.as_deref()
}

fn agent_of<'a>(observed: &'a Observed, marks: &Marks, name: &str) -> AgentSight<'a> {
    let list = marks.target.as_ref().and_then(|target| observed.lists.targets.get(target));
    match list {
        Some(Ok(list)) => {
            // `computers` is sorted by name where it is parsed.
            let found = list.computers.binary_search_by(|computer| computer.name.as_str().cmp(name)).ok();
            let found = found.and_then(|at| list.computers.get(at));
            let ghost = |computer: &&Computer| marks.target.as_ref().is_some_and(|target| is_ghost(observed, target, computer));
            found.filter(|computer| !ghost(computer)).map_or(AgentSight::Absent, AgentSight::Seen)
        }
        Some(Err(_)) | None => AgentSight::Gap,
    }
}

/// Agents whose name is ours and whose server is in no list, ours by its marks or not: somebody may have taken its marks off.
/// Only when every provider was seen: else it may be there.
fn lone_agents<'a>(desired: &Desired, observed: &'a Observed) -> Vec<LoneAgent<'a>> {
    if observed.lists.providers.values().any(Result::is_err) {
        return Vec::new();
    }
    let coming: BTreeSet<&str> = observed.this_run.names.iter().map(NodeName::as_str).collect();
    let mut lone = Vec::new();
    for (target, list) in &observed.lists.targets {
        let Ok(list) = list else { continue };
        let ours = without_server(observed, list).filter(|computer| {
            let name = computer.name.as_str();
            !coming.contains(name) && super::name::is_ours(&desired.controller.id, name) && !is_ghost(observed, target, computer)
        });
        lone.extend(ours.map(|computer| {
            let known = description_agrees(desired, observed, target, list, computer);
            LoneAgent { target: target.clone(), computer, known }
        }));
    }
    lone
}

/// `computers` is sorted by name where it is parsed.
fn without_server<'a>(observed: &Observed, list: &'a TargetList) -> impl Iterator<Item = &'a Computer> {
    let mut alone = vec![true; list.computers.len()];
    for server in observed.lists.providers.values().flatten().flat_map(|list| &list.servers) {
        let from = list.computers.partition_point(|computer| computer.name < server.name);
        let of_name = list.computers.iter().skip(from).take_while(|computer| computer.name == server.name);
        alone.iter_mut().skip(from).zip(of_name).for_each(|(alone, _)| *alone = false);
    }
    list.computers.iter().zip(alone).filter(|(_, alone)| *alone).map(|(computer, _)| computer)
}

/// No executors and no configuration.
fn is_ghost(observed: &Observed, target: &TargetName, computer: &Computer) -> bool {
    computer.may_be_ghost() && config(observed, target, computer) == Some(&AgentConfig::Absent)
}

fn config<'a>(observed: &'a Observed, target: &TargetName, computer: &Computer) -> Option<&'a AgentConfig> {
    let ask = Ask::AgentConfig(target.clone(), NodeName::new(computer.name.as_str()));
    if let Answer::AgentConfig(config) = observed.answer(&ask)? { Some(config) } else { None }
}

/// Ghosts with a name of ours, of every target that was seen.
fn ghosts<'a>(desired: &Desired, observed: &'a Observed) -> Vec<(TargetName, &'a Computer)> {
    let lists = observed.lists.targets.iter().filter_map(|(target, list)| Some((target, list.as_ref().ok()?)));
    let ghosts = lists.flat_map(|(target, list)| {
        let of_target = list.computers.iter().filter(move |computer| is_ghost(observed, target, computer));
        of_target.map(move |computer| (target.clone(), computer))
    });
    ghosts.filter(|(_, computer)| super::name::is_ours(&desired.controller.id, &computer.name)).collect()
}

/// The list shows no descriptions (Jenkins before 2.79): config.xml has it. Hudson has neither, and sends no version.
pub fn config_tells_more(list: &TargetList, computer: &Computer) -> bool {
    list.version.is_some() && computer.description.is_none()
}

/// What is known of an agent's description must name this deployment; where it is not known yet, it does not.
fn description_agrees(
    desired: &Desired,
    observed: &Observed,
    target: &TargetName,
    list: &TargetList,
    computer: &Computer,
) -> bool {
    let ours = format!("[poolkeeper controller={} ", desired.controller.id);
    if let Some(text) = &computer.description {
        return text.is_empty() || text.contains(&ours);
    }
    if !config_tells_more(list, computer) {
        return true;
    }
    matches!(config(observed, target, computer), Some(AgentConfig::Description(text)) if text.contains(&ours))
}
