//! The values of `controller.yaml`: the deployment's id, its providers, targets and limits.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::SignedDuration;

use super::units::Share;
use crate::names::{ControllerId, ProviderName, TargetName};

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Controller {
    pub id: ControllerId,
    pub providers: BTreeMap<ProviderName, Provider>,
    pub targets: BTreeMap<TargetName, Target>,
    pub limits: Limits,
    /// From the first sight of a lost agent until its node is given up.
    pub lost_grace: SignedDuration,
    pub lock_file: PathBuf,
    /// A reason: nothing is launched; used nodes still go.
    pub paused: Option<String>,
}

/// A cloud and region that nodes are launched in.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Provider {
    pub name: ProviderName,
    /// The entry of clouds.yaml.
    pub cloud: String,
    pub region: Option<String>,
    /// All servers of ours, whatever their state.
    pub max_servers: u32,
    /// Servers in BUILD or booting at one time.
    pub max_concurrent_launches: u32,
    /// Names or ids of Neutron networks; empty: Nova chooses.
    pub networks: Vec<String>,
    pub address: AddressChoice,
    pub security_groups: Vec<String>,
    pub availability_zones: Vec<String>,
    /// Name or id of the external network that each node gets a floating IP of; none: they get none.
    pub floating_ip_network: Option<String>,
    pub key_name: Option<String>,
    pub config_drive: bool,
    pub host_keys: HostKeys,
    pub api_timeout: SignedDuration,
    /// From the create call until ACTIVE.
    pub launch_timeout: SignedDuration,
    /// From ACTIVE until SSH answers.
    pub boot_timeout: SignedDuration,
}

/// Which of a server's addresses SSH and Jenkins use. Both unset: the first floating one, else the first fixed one.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct AddressChoice {
    pub network: Option<String>,
    pub family: Option<Family>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    V4,
    V6,
}

/// How a server's SSH host key is trusted at first contact. Afterwards it is pinned either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeys {
    FirstUse,
    /// It must stand on the console log.
    Console,
}

/// A Jenkins controller that nodes are registered in.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Target {
    pub name: TargetName,
    /// Ends with a slash.
    pub url: String,
    pub user: String,
    pub secret: TargetSecret,
    /// Jenkins' own SSH credential for the agents; the SSH launcher needs it.
    pub credentials_id: Option<String>,
}

/// Where the target's password or API token is read from. Never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetSecret {
    /// An API token: no crumb is asked for unless the controller wants one.
    TokenFile(PathBuf),
    PasswordFile(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Limits {
    /// A cap, not a brake: the rest waits.
    pub max_launches_per_run: u32,
    /// Of healthy (ready or busy) nodes, in one run.
    pub max_deletes_per_run: Share,
    /// Of a target's agents lost, overdue or marked by a monitor at one time.
    pub mass_offline: Share,
    /// `--allow-deletes`: lifts `max-deletes-per-run` for this run, up to that many.
    #[serde(skip)]
    pub allow_deletes: Option<u32>,
    /// `--allow-offline`: lifts `mass-offline` for this run, up to that many.
    #[serde(skip)]
    pub allow_offline: Option<u32>,
}
