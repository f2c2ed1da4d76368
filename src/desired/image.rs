//! The values of a file in `images/`: a snapshot that is built from a base image by a setup script.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;

use super::{FlavorChoice, ScriptDir};
use crate::names::{ImageName, ProviderName};

/// What a builder leaves out of its snapshot, beside our own files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clean {
    /// `/etc/machine-id` is emptied: the first boot of each node makes its own.
    MachineId,
    DhcpLeases,
    /// Only for images that make new ones by themselves.
    HostKeys,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SnapshotImage {
    pub name: ImageName,
    pub providers: Vec<ProviderName>,
    /// Newest ACTIVE image of that name, or an id.
    pub base_image: String,
    pub flavor: FlavorChoice,
    pub setup_script: String,
    pub scripts: Arc<ScriptDir>,
    /// Tried in this order.
    pub username: Vec<String>,
    pub private_key: PathBuf,
    pub setup_timeout: SignedDuration,
    pub rebuild_after: SignedDuration,
    pub keep: u32,
    pub env: BTreeMap<String, String>,
    pub properties: BTreeMap<String, String>,
}
