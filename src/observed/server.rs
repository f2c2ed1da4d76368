//! A server as Nova lists it.

use jiff::Timestamp;

use super::{Mark, Metadata};
use crate::desired::{AddressChoice, Family};
use crate::names::{ImageId, ServerId, Text};

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Server {
    pub id: ServerId,
    /// Not unique: Nova allows two servers of one name.
    pub name: Text,
    pub status: ServerStatus,
    /// `OS-EXT-STS:task_state`.
    pub task: Option<String>,
    pub created: Timestamp,
    /// When Nova last changed it: of one that is being deleted, when that began.
    pub updated: Option<Timestamp>,
    /// `OS-SRV-USG:launched_at`: when it first became ACTIVE.
    pub launched: Option<Timestamp>,
    /// None for a server booted from a volume.
    pub image: Option<ImageId>,
    /// The flavor's name; its id on microversions before 2.47.
    pub flavor: Text,
    pub addresses: Vec<Address>,
    pub availability_zone: Option<Text>,
    /// None where the microversion (before 2.9) does not tell.
    pub locked: Option<bool>,
    pub metadata: Metadata,
    /// Nova's own words on what went wrong, of a server in ERROR.
    pub fault: Option<String>,
}

impl Server {
    /// The value of one of our marks, whosever server it is.
    pub fn mark(&self, mark: Mark) -> Option<&str> {
        self.metadata.mark(mark).map(Text::as_str)
    }

    /// Being deleted, or already so: no capacity, nothing more to do.
    pub fn is_deleting(&self) -> bool {
        self.task.as_deref() == Some("deleting")
            || self.task.as_deref() == Some("soft-deleting")
            || matches!(self.status, ServerStatus::Deleted | ServerStatus::SoftDeleted)
    }

    /// Nova takes metadata only in these states, without a task, and not from a locked server (nova/compute/api.py,
    /// `update_instance_metadata`): 409 else.
    pub fn takes_metadata(&self) -> bool {
        self.is_settled() && self.locked != Some(true)
    }

    /// It would take metadata, were it not for a lock.
    pub fn is_settled(&self) -> bool {
        self.task.is_none() && self.is_steady()
    }

    /// It takes none only because of what Nova is doing with it now.
    pub fn is_at_a_task(&self) -> bool {
        self.task.is_some() && self.is_steady() && self.locked != Some(true)
    }

    fn is_steady(&self) -> bool {
        matches!(self.status, ServerStatus::Active | ServerStatus::Paused | ServerStatus::Suspended | ServerStatus::Shutoff)
    }

    /// The address that SSH and Jenkins use.
    pub fn address(&self, choice: &AddressChoice) -> Option<&str> {
        let fits = |address: &&Address| {
            choice.network.as_ref().is_none_or(|network| *network == address.network)
                && choice.family.is_none_or(|family| family == address.family)
        };
        let floating = self.addresses.iter().filter(fits).find(|address| address.kind == AddressKind::Floating);
        floating.or_else(|| self.addresses.iter().find(fits)).map(|address| address.address.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Address {
    /// The network's name.
    pub network: Text,
    pub address: Text,
    pub family: Family,
    pub kind: AddressKind,
}

/// `OS-EXT-IPS:type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressKind {
    Fixed,
    Floating,
}

/// Nova's `status`, as far as a rule asks for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ServerStatus {
    Active,
    Build,
    Deleted,
    Error,
    Paused,
    Shutoff,
    SoftDeleted,
    Suspended,
    /// SHELVED, UNKNOWN, MIGRATING and whatever comes: kept and shown.
    #[serde(untagged)]
    Other(String),
}

impl ServerStatus {
    pub fn parse(text: &str) -> Self {
        match text {
            "ACTIVE" => Self::Active,
            "BUILD" => Self::Build,
            "DELETED" => Self::Deleted,
            "ERROR" => Self::Error,
            "PAUSED" => Self::Paused,
            "SHUTOFF" => Self::Shutoff,
            "SOFT_DELETED" => Self::SoftDeleted,
            "SUSPENDED" => Self::Suspended,
            other => Self::Other(other.to_owned()),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Active => "ACTIVE",
            Self::Build => "BUILD",
            Self::Deleted => "DELETED",
            Self::Error => "ERROR",
            Self::Paused => "PAUSED",
            Self::Shutoff => "SHUTOFF",
            Self::SoftDeleted => "SOFT_DELETED",
            Self::Suspended => "SUSPENDED",
            Self::Other(text) => text,
        }
    }
}
