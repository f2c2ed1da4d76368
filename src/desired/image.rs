//! The values of a file in `images/`: a snapshot that is built from a base image by a setup script.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;

use super::{Digest, FlavorChoice, ScriptDir};
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

impl Clean {
    /// As it is written in the desired state, and read on the machine.
    pub fn word(self) -> &'static str {
        match self {
            Self::MachineId => "machine-id",
            Self::DhcpLeases => "dhcp-leases",
            Self::HostKeys => "host-keys",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SnapshotImage {
    pub name: ImageName,
    pub providers: Vec<ProviderName>,
    /// Newest ACTIVE image of that name, or an id.
    pub base_image: String,
    /// The project whose images are meant, where several have one of that name; its id, as Glance shows it.
    pub base_image_owner: Option<String>,
    pub flavor: FlavorChoice,
    pub setup_script: String,
    pub scripts: Arc<ScriptDir>,
    /// Tried in this order.
    pub username: Vec<String>,
    pub private_key: PathBuf,
    pub ssh_port: u16,
    pub setup_timeout: SignedDuration,
    pub rebuild_after: SignedDuration,
    pub keep: u32,
    /// In a fixed order, each once.
    pub clean: Vec<Clean>,
    /// What `image build` makes the base image from.
    pub diskimage: Option<DiskImage>,
    pub env: BTreeMap<String, String>,
    pub properties: BTreeMap<String, String>,
}

impl SnapshotImage {
    /// Names the setup script's run on its builder. The builder's own inputs decide: those of the desired state may be others
    /// by now.
    pub fn setup_run(builder_spec: &str) -> Digest {
        Digest::of(&["setup", builder_spec])
    }
}

/// What diskimage-builder makes the base image from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DiskImage {
    /// Never empty, in this order.
    pub elements: Vec<String>,
    /// `DIB_RELEASE`.
    pub release: Option<String>,
    pub env: BTreeMap<String, String>,
}
