//! What a run knows of itself. It is observed like everything else, and losing it is harmless.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::names::{ImageName, NodeName, ProviderName, Purpose, ServerId};

#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct ThisRun {
    /// Creates that were accepted or not answered: they count as coming until a list shows them, at most 60 s.
    pub launched: Vec<Launched>,
    /// Healthy nodes whose removal this run began.
    pub retired: BTreeSet<NodeName>,
    /// Ready and busy nodes at the run's first pass: what the share of deletions is taken of.
    pub healthy_at_start: Option<u32>,
    /// What a service refused: not tried again in this run. 409 and 429 only of acts that seconds do not help.
    pub refused: BTreeMap<Refused, String>,
    /// Every name that this run gave out.
    pub names: BTreeSet<NodeName>,
    /// When this run marked an agent offline: a build may have begun until then.
    pub marked: BTreeMap<NodeName, Timestamp>,
    /// Inbound agents that this run started: one that died again is the next run's, so that no run turns in a circle.
    pub started: BTreeSet<NodeName>,
    /// When the workspaces of idle nodes were looked at.
    pub looked: BTreeMap<ServerId, Timestamp>,
    /// What a person asks to be built in this run, whatever its age.
    pub update: BTreeSet<(ImageName, ProviderName)>,
    /// Snapshots that this run sealed.
    pub sealed: BTreeSet<(ImageName, ProviderName)>,
    /// When this run told a builder to go off.
    pub turned_off: BTreeMap<ServerId, Timestamp>,
    /// Builders whose image this run asked Nova for: once, since Nova deletes an image that it could not upload.
    pub saved: BTreeMap<ServerId, Timestamp>,
    /// Builders that fail in this run are held.
    pub keep_failed: Option<KeepFailed>,
    /// Tries of failed machines that were not kept for want of room.
    pub tries: Vec<Tried>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KeepFailed {
    /// Who wants to look at them.
    pub who: String,
    pub until: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Tried {
    #[serde(flatten)]
    pub purpose: Purpose,
    pub provider: ProviderName,
    pub attempt: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Launched {
    pub name: NodeName,
    #[serde(flatten)]
    pub purpose: Purpose,
    pub provider: ProviderName,
    pub at: Timestamp,
    /// None when the call was not answered.
    pub server: Option<ServerId>,
    /// A list of this run showed it: from then on the lists alone tell whether it is there.
    pub listed: bool,
}

/// What a refusal holds for: one object and kind of action, or creates for one pool or image in one provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refused {
    Create(Purpose, ProviderName),
    /// For want of quota: every floating IP of the provider.
    FloatingIps(ProviderName),
    /// The kind of action, and the node.
    Act(&'static str, NodeName),
}

/// A create that no list shows yet counts as coming for this long (seconds): Nova lists a server at once after its 202;
/// what is not there after a minute was never accepted.
pub const UNLISTED_SECONDS: i64 = 60;

impl ThisRun {
    /// The service's words where it refused this kind of action on this node: it is not tried again in this run.
    pub fn refusal(&self, kind: &'static str, node: &NodeName) -> Option<&String> {
        self.refused.get(&Refused::Act(kind, node.clone()))
    }

    /// Asked for, and neither begun nor brought to its end by this run.
    pub fn is_update_due(&self, image: &ImageName, provider: &ProviderName) -> bool {
        let key = (image.clone(), provider.clone());
        let begun = |launched: &Launched| launched.purpose.image() == Some(image) && launched.provider == *provider;
        self.update.contains(&key) && !self.sealed.contains(&key) && !self.launched.iter().any(begun)
    }

    /// What a list shows needs no counting by this run any more.
    pub fn note_listed(&mut self, listed: &BTreeSet<&str>) {
        for launched in &mut self.launched {
            launched.listed |= listed.contains(launched.name.as_str());
        }
    }

    /// Creates of this run that still count although no list shows them.
    pub fn unlisted<'a>(&'a self, listed: &BTreeSet<&str>, now: Timestamp) -> impl Iterator<Item = &'a Launched> {
        self.launched.iter().filter(move |launched| {
            !launched.listed
                && !listed.contains(launched.name.as_str())
                && now.duration_since(launched.at).as_secs() < UNLISTED_SECONDS
        })
    }
}
