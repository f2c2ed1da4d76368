//! An action: exactly one changing request, with everything in it that the request needs, why, and what must still hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;

use super::{Because, Expects};
use crate::desired::{AgentMode, Clean, Digest, ScriptDir, UserData};
use crate::names::{
    FlavorId, FloatingIpId, ImageId, ImageName, NetworkId, NodeName, PoolName, PortId, ProviderName, Purpose, ServerId,
    TargetName,
};
use crate::node::{Node, Times};
use crate::observed::{HostKey, ImageMark, Login, Mark, Role};

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Action {
    #[serde(flatten)]
    pub act: Act,
    pub expects: Expects,
}

/// The request. Serialized for `--format json`; script contents, user data and secrets are never in it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "act")]
pub enum Act {
    CreateServer(Box<CreateServer>),
    /// One POST of metadata: all of them or none.
    SetMarks {
        provider: ProviderName,
        server: ServerId,
        marks: BTreeMap<Mark, String>,
    },
    ClearMark {
        provider: ProviderName,
        server: ServerId,
        mark: Mark,
    },
    /// Nova refuses to delete, and to mark, what a person locked. Nothing when it is not locked.
    Unlock {
        provider: ProviderName,
        server: ServerId,
    },
    DeleteServer {
        provider: ProviderName,
        server: ServerId,
    },
    /// One floating IP on a port of the server.
    CreateFloatingIp(CreateFloatingIp),
    /// Released, wherever it is.
    DeleteFloatingIp {
        provider: ProviderName,
        id: FloatingIpId,
    },
    /// Files of the script directory to /opt/nodepool-scripts, and nodepool's files to /etc/nodepool. Repeatable.
    PushScripts(Box<PushScripts>),
    /// Started once: an existing state directory is never started again.
    StartScript(Box<StartScript>),
    CreateAgent(Box<CreateAgent>),
    /// Marked temporarily offline with a message; nothing when it is so already.
    MarkOffline {
        target: TargetName,
        name: NodeName,
        message: String,
    },
    /// Our own offline mark is taken off again.
    LiftMark {
        target: TargetName,
        name: NodeName,
    },
    DeleteAgent {
        target: TargetName,
        name: NodeName,
    },
    /// The inbound agent's process on the machine, started detached.
    StartAgent(Box<StartAgent>),
    /// What its snapshot must not have is removed, and the builder switched off: one detached command. Repeatable.
    TurnOff(Box<TurnOff>),
    /// Nova's createImage.
    CreateImage(Box<CreateImage>),
    /// Properties added or replaced.
    MarkImage {
        provider: ProviderName,
        image: ImageId,
        marks: BTreeMap<ImageMark, String>,
    },
    /// Glance itself refuses to delete what is protected.
    ProtectImage {
        provider: ProviderName,
        image: ImageId,
        protected: bool,
    },
    RenameImage {
        provider: ProviderName,
        image: ImageId,
        name: String,
    },
    DeleteImage {
        provider: ProviderName,
        image: ImageId,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CreateServer {
    pub provider: ProviderName,
    #[serde(flatten)]
    pub purpose: Purpose,
    pub name: NodeName,
    pub image: ImageId,
    /// For people.
    pub image_name: String,
    /// For people: how old the image is.
    pub image_age: SignedDuration,
    pub flavor: FlavorId,
    pub flavor_name: String,
    /// Empty: Nova chooses.
    pub networks: Vec<NetworkId>,
    pub security_groups: Vec<String>,
    pub availability_zone: Option<String>,
    pub key_name: Option<String>,
    pub config_drive: bool,
    #[serde(skip)]
    pub user_data: Option<UserData>,
    /// All marks of the create call.
    pub marks: BTreeMap<Mark, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CreateFloatingIp {
    pub provider: ProviderName,
    pub server: ServerId,
    /// The external network.
    pub network: NetworkId,
    pub port: PortId,
    /// Whose it is, for which server: in the create call, so that none is ever nobody's.
    pub description: String,
}

/// A machine to run something on: only with its pinned key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Machine {
    pub provider: ProviderName,
    pub server: ServerId,
    pub login: Login,
    pub pinned: HostKey,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PushScripts {
    pub machine: Machine,
    pub scripts: Arc<ScriptDir>,
    pub node: NodeFiles,
}

/// What nodepool's contract puts into /etc/nodepool.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NodeFiles {
    pub hostname: NodeName,
    /// The address that SSH uses.
    pub address: String,
    /// The first fixed address, the same where there is no other.
    pub private_address: String,
    pub provider: ProviderName,
    pub region: Option<String>,
    pub availability_zone: Option<String>,
    pub cloud: String,
    pub uuid: ServerId,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StartScript {
    pub machine: Machine,
    /// Names the state directory.
    pub digest: Digest,
    /// A file of /opt/nodepool-scripts; none: an empty script.
    pub script: Option<String>,
    /// The script's one argument.
    pub hostname: NodeName,
    /// Variables of the desired state; those of our own environment come beside them.
    pub env: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TurnOff {
    pub machine: Machine,
    pub clean: Vec<Clean>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CreateImage {
    pub provider: ProviderName,
    /// The builder.
    pub server: ServerId,
    /// In Glance: the builder's own name.
    pub name: NodeName,
    /// An empty value stands over one that the base image would pass on.
    pub marks: BTreeMap<ImageMark, String>,
    /// Of the desired state.
    pub properties: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CreateAgent {
    pub target: TargetName,
    pub name: NodeName,
    pub description: String,
    /// At least 1: Jenkins answers 302 to 0 and makes no computer.
    pub executors: u32,
    pub remote_fs: String,
    pub labels: Vec<String>,
    pub mode: AgentMode,
    pub launcher: AgentLauncher,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentLauncher {
    Ssh {
        host: String,
        port: u16,
        credentials_id: String,
        java_path: Option<String>,
        jvm_options: Option<String>,
        /// None: for ssh-slaves before 1.15.
        host_key: Option<HostKey>,
    },
    Inbound,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StartAgent {
    pub machine: Machine,
    pub target: TargetName,
    pub name: NodeName,
    pub remote_fs: String,
    /// The command of the desired state; none: what the controller's generation takes.
    pub start: Option<String>,
}

/// A machine's actions of this pass, in order; it ends at the first that is not done.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Chain {
    pub subject: Subject,
    pub verb: Verb,
    pub because: Because,
    /// Of the server, where there is one: for people.
    pub times: Option<Times>,
    pub actions: Vec<Action>,
}

/// What a chain is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Subject {
    /// None of a server whose pool is gone, and of what is no node's.
    pub pool: Option<PoolName>,
    /// Of a builder or a snapshot: its image in the desired state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageName>,
    /// A node's, or a snapshot's in Glance.
    pub name: NodeName,
}

impl Subject {
    /// What its server is made for; none of what is no server's, and of one that cannot be told.
    pub fn purpose(&self) -> Option<Purpose> {
        let image = || self.image.clone().map(Purpose::Image);
        self.pool.clone().map(Purpose::Pool).or_else(image)
    }

    pub fn of(node: &Node<'_>) -> Self {
        let image = node.marks.image.as_ref().filter(|_| node.marks.role == Role::Builder);
        Self { pool: node.pool_name().cloned(), image: image.cloned(), name: node.name.clone() }
    }
}

/// What a chain does to its subject, in the order in which a plan shows them: deletions first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Removal, from its next step on.
    Delete,
    /// On the way to removal: marked, looked at again in a later pass.
    Retire,
    /// A fact is written down (busy, lost, failed): nothing else changes.
    Mark,
    /// The next step up of a machine that is coming.
    Boot,
    /// A new server.
    Create,
}

impl Chain {
    /// Of its first action that is done in one: a chain goes from server to agent, never from cloud to cloud.
    pub fn provider(&self) -> Option<&ProviderName> {
        self.actions.iter().find_map(|action| action.act.provider())
    }

    /// It makes a server there.
    pub fn creates_in(&self, provider: &ProviderName) -> bool {
        let mut acts = self.actions.iter().map(|action| &action.act);
        acts.any(|act| if let Act::CreateServer(create) = act { create.provider == *provider } else { false })
    }
}

impl Act {
    /// The provider where it is done; none of what is done in Jenkins alone.
    pub fn provider(&self) -> Option<&ProviderName> {
        match self {
            Self::CreateServer(create) => Some(&create.provider),
            Self::DeleteFloatingIp { provider, .. }
            | Self::MarkImage { provider, .. }
            | Self::ProtectImage { provider, .. }
            | Self::RenameImage { provider, .. }
            | Self::DeleteImage { provider, .. } => Some(provider),
            Self::CreateAgent(_) | Self::MarkOffline { .. } | Self::LiftMark { .. } | Self::DeleteAgent { .. } => None,
            Self::SetMarks { .. }
            | Self::ClearMark { .. }
            | Self::Unlock { .. }
            | Self::DeleteServer { .. }
            | Self::CreateFloatingIp(_)
            | Self::PushScripts(_)
            | Self::StartScript(_)
            | Self::StartAgent(_)
            | Self::TurnOff(_)
            | Self::CreateImage(_) => self.server().map(|(provider, _)| provider),
        }
    }

    /// The server that it changes, or does something on; none of a create, and of what is no server's.
    pub fn server(&self) -> Option<(&ProviderName, &ServerId)> {
        match self {
            Self::SetMarks { provider, server, .. }
            | Self::ClearMark { provider, server, .. }
            | Self::Unlock { provider, server }
            | Self::DeleteServer { provider, server } => Some((provider, server)),
            Self::CreateFloatingIp(create) => Some((&create.provider, &create.server)),
            Self::PushScripts(push) => Some((&push.machine.provider, &push.machine.server)),
            Self::StartScript(start) => Some((&start.machine.provider, &start.machine.server)),
            Self::StartAgent(start) => Some((&start.machine.provider, &start.machine.server)),
            Self::TurnOff(off) => Some((&off.machine.provider, &off.machine.server)),
            Self::CreateImage(create) => Some((&create.provider, &create.server)),
            Self::CreateServer(_)
            | Self::MarkImage { .. }
            | Self::ProtectImage { .. }
            | Self::RenameImage { .. }
            | Self::DeleteImage { .. }
            | Self::DeleteFloatingIp { .. }
            | Self::CreateAgent(_)
            | Self::MarkOffline { .. }
            | Self::LiftMark { .. }
            | Self::DeleteAgent { .. } => None,
        }
    }

    /// For logs and refusals: the kind of request.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CreateServer(_) => "create-server",
            Self::SetMarks { .. } => "set-marks",
            Self::ClearMark { .. } => "clear-mark",
            Self::Unlock { .. } => "unlock",
            Self::DeleteServer { .. } => "delete-server",
            Self::CreateFloatingIp(_) => "create-floating-ip",
            Self::DeleteFloatingIp { .. } => "delete-floating-ip",
            Self::PushScripts(_) => "push-scripts",
            Self::StartScript(_) => "start-script",
            Self::CreateAgent(_) => "create-agent",
            Self::MarkOffline { .. } => "mark-offline",
            Self::LiftMark { .. } => "lift-mark",
            Self::DeleteAgent { .. } => "delete-agent",
            Self::StartAgent(_) => "start-agent",
            Self::TurnOff(_) => "turn-off",
            Self::CreateImage(_) => "create-image",
            Self::MarkImage { .. } => "mark-image",
            Self::ProtectImage { .. } => "protect-image",
            Self::RenameImage { .. } => "rename-image",
            Self::DeleteImage { .. } => "delete-image",
        }
    }
}
