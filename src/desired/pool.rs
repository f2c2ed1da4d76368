//! The values of a file in `pools/`: nodes of one kind and how many of them there should be.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;

use super::{Digest, Pattern, ScriptDir, UserData};
use crate::names::{ImageName, PoolName, ProviderName, TargetName};

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Pool {
    pub name: PoolName,
    pub image: PoolImage,
    pub flavor: FlavorChoice,
    /// In order of preference; never empty.
    pub providers: Vec<ProviderName>,
    pub target: TargetName,
    /// Never empty: the pool's name when left out.
    pub labels: Vec<String>,
    pub min_ready: u32,
    pub max_servers: u32,
    pub scripts: Option<Arc<ScriptDir>>,
    /// A file of `scripts`; none: an empty script.
    pub ready_script: Option<String>,
    /// The ready script, start to exit.
    pub ready_timeout: SignedDuration,
    /// From registration until first online.
    pub online_timeout: SignedDuration,
    /// Tried in this order; never empty.
    pub username: Vec<String>,
    pub user_home: String,
    pub private_key: PathBuf,
    pub ssh_port: u16,
    /// The file's text.
    pub user_data: Option<UserData>,
    pub executors: u32,
    pub single_use: bool,
    pub used_when: Vec<UsedWhen>,
    pub agent: Agent,
    /// Between two looks at an idle node's workspace.
    pub check_interval: SignedDuration,
    /// Idle nodes older than this are replaced; none: never for their age.
    pub max_ready_age: Option<SignedDuration>,
    /// A reason: nothing is launched; used nodes still go.
    pub paused: Option<String>,
}

impl Pool {
    /// Names the ready script's run on a machine: a digest of the script directory and the script's name.
    pub fn ready_run(&self) -> Digest {
        let scripts = self.scripts.as_ref().map(|scripts| scripts.digest());
        let scripts = scripts.as_ref().map_or("", Digest::as_str);
        Digest::of(&["ready", scripts, self.ready_script.as_deref().unwrap_or_default()])
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolImage {
    /// One that poolkeeper builds: a file in `images/`.
    Snapshot(ImageName),
    /// Made elsewhere: the newest ACTIVE image of this name, or an id.
    Glance(String),
}

impl PoolImage {
    /// The snapshot that it is; none: made elsewhere.
    pub fn snapshot(&self) -> Option<&ImageName> {
        match self {
            Self::Snapshot(name) => Some(name),
            Self::Glance(_) => None,
        }
    }

    /// The name or id of one that is made elsewhere.
    pub fn glance(&self) -> Option<&str> {
        match self {
            Self::Glance(name) => Some(name),
            Self::Snapshot(_) => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlavorChoice {
    Name(String),
    /// The smallest flavor with at least this memory (MiB) whose name contains the text, as nodepool chose it.
    AtLeast {
        min_ram: u32,
        name_contains: String,
    },
}

impl std::fmt::Display for FlavorChoice {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => out.write_str(name),
            Self::AtLeast { min_ram, name_contains } => write!(out, "at least {min_ram} MiB, name contains {name_contains}"),
        }
    }
}

/// What tells that a node's single build is over.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UsedWhen {
    /// The Gearman plugin's offline mark.
    Gearman,
    /// Marked offline by us at the sight of its build.
    Busy,
    /// Something is in the agent's `workspace` directory: looked at over SSH, each `check-interval`.
    Workspace,
    /// An offline mark whose text this is found in.
    Message(Pattern),
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Agent {
    pub launcher: Launcher,
    pub remote_fs: String,
    pub mode: AgentMode,
}

/// How the agent's connection comes about.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Launcher {
    /// Jenkins connects, by its ssh-slaves plugin.
    Ssh { port: u16, java_path: Option<String>, jvm_options: Option<String>, host_key: HostKeyPolicy },
    /// poolkeeper starts the agent on the node. `start` is the command, with `{jar}`, `{url}`, `{secret-file}`, `{name}`
    /// and `{remote-fs}` in it; none: what the controller's generation takes.
    Inbound { start: Option<String> },
}

/// What Jenkins is told of the node's SSH host key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeyPolicy {
    /// The pinned key itself.
    Pinned,
    /// Nothing: for ssh-slaves before 1.15, which has no such setting.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentMode {
    /// Only jobs that name the label.
    Exclusive,
    Normal,
}
