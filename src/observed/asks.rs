//! Round two: what must be seen beyond the lists. `asks` names it, `World::answer` answers, and there is no third round.

use super::{Computer, FloatingIp, HostKey, Image, Login, MachineSight, Port, Server};
use crate::desired::Digest;
use crate::names::{FlavorId, FloatingIpId, ImageId, NetworkId, NodeName, ProviderName, ServerId, TargetName};

/// One question. Its order is the order of `Observed::answers`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// One SSH connect and at most one fixed read-only command, 3 s.
    Machine(MachineAsk),
    /// The whole output of a script, at most 8 MiB of its end.
    ScriptLog(MachineAsk),
    /// The console log's end.
    Console(ProviderName, ServerId),
    /// Nova's limits of the project.
    Limits(ProviderName),
    /// All flavors.
    Flavors(ProviderName),
    /// All networks that the project sees.
    Networks(ProviderName),
    /// A server's ports: what a floating IP is put on.
    Ports(ProviderName, ServerId),
    /// One image by its id: what became of it.
    Image(ProviderName, ImageId),
    /// One agent's config.xml: whose it is, where the list does not tell, and whether it is there at all.
    AgentConfig(TargetName, NodeName),
    /// Pipelines of a target that wait for a node to go on: after its restart, and only then.
    Queue(TargetName),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct MachineAsk {
    pub provider: ProviderName,
    pub server: ServerId,
    pub login: Login,
    /// The pinned key. None: nothing is run, only the handshake and the login are tried.
    pub pinned: Option<HostKey>,
    /// Whose state is looked at.
    pub script: Digest,
    /// The directory in which builds leave something, where it is to be looked at.
    pub workspace: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Machine(MachineSight),
    ScriptLog(String),
    Console(String),
    Limits(Quota),
    Flavors(Vec<Flavor>),
    Networks(Vec<Network>),
    Ports(Vec<Port>),
    /// None: there is none of that id any more.
    Image(Option<Image>),
    AgentConfig(AgentConfig),
    /// Why each of them waits, in Jenkins' words: the node's name is among them.
    Queue(Vec<String>),
}

/// What an agent's config.xml told.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentConfig {
    /// 404: a ghost of a deleted agent, or a controller without this call (Hudson).
    Absent,
    Description(String),
}

/// Nova's absolute limits; a limit of -1 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Quota {
    pub instances: Headroom,
    pub cores: Headroom,
    /// MiB.
    pub ram: Headroom,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Headroom {
    pub used: u64,
    /// None: no limit.
    pub limit: Option<u64>,
}

impl Headroom {
    pub fn left(self) -> u64 {
        self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.used))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Flavor {
    pub id: FlavorId,
    pub name: String,
    pub vcpus: u64,
    /// MiB.
    pub ram: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Network {
    pub id: NetworkId,
    pub name: String,
}

/// What an action is held against directly before it: named, then read again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize)]
pub struct Object {
    pub server: Option<(ProviderName, ServerId)>,
    pub agent: Option<(TargetName, NodeName)>,
    pub floating_ip: Option<(ProviderName, FloatingIpId)>,
    pub image: Option<(ProviderName, ImageId)>,
}

/// The object as it is now. Outer none: not asked for; inner none: it is not there (404).
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Fresh {
    pub server: Option<Option<Server>>,
    pub agent: Option<Option<Computer>>,
    pub floating_ip: Option<Option<FloatingIp>>,
    pub image: Option<Option<Image>>,
}
