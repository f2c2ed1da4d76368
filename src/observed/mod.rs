//! What was seen: lists, answers and gaps. Pure values; `world` is asked for them.

pub mod agent;
pub mod asks;
pub mod floating_ip;
pub mod gap;
pub mod image;
pub mod machine;
pub mod marks;
pub mod metadata;
pub mod server;
pub mod this_run;

use std::collections::BTreeMap;

use crate::names::{ProviderName, TargetName};

pub use agent::{Computer, OfflineCause, TargetList};
pub use asks::{AgentConfig, Answer, Ask, Flavor, Fresh, Headroom, MachineAsk, Network, Object, Quota};
pub use floating_ip::{FloatingIp, FloatingIpMark, Port};
pub use gap::{Gap, Source};
pub use image::Image;
pub use machine::{HostKey, Login, MachineFacts, MachineSight, ScriptRun, ScriptState, WorkspaceSight};
pub use marks::{AgentMark, Dated, Hold, ImageMark, Mark, Marks, Role};
pub use metadata::Metadata;
pub use server::{Address, AddressKind, Server, ServerStatus};
pub use this_run::{KeepFailed, Launched, Refused, ThisRun, Tried};

/// Round one: everything that a list shows, each list whole or a gap.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Lists {
    pub providers: BTreeMap<ProviderName, Result<ProviderLists, Gap>>,
    pub targets: BTreeMap<TargetName, Result<TargetList, Gap>>,
}

/// Of one provider.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct ProviderLists {
    pub account: Account,
    /// Every server of the project, ours or not.
    pub servers: Vec<Server>,
    /// Our images, and those that pools and snapshots start from.
    pub images: Vec<Image>,
    /// Every floating IP of the project, ours or not; empty where the provider's nodes have none.
    pub floating_ips: Vec<FloatingIp>,
}

/// Whose eyes we see with: for the plan's head, so that a wrong project is noticed before anything is done.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Account {
    /// The clouds.yaml in use, or `OS_* variables`.
    pub file: String,
    pub cloud: String,
    pub project: String,
    pub user: String,
}

/// Both rounds, and what this run knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Observed {
    pub lists: Lists,
    /// In the order of the asks.
    pub answers: Vec<(Ask, Result<Answer, Gap>)>,
    pub this_run: ThisRun,
}

impl Observed {
    /// Round one alone, of a run that has just begun.
    pub fn of_lists(lists: Lists) -> Self {
        Self { lists, ..Self::default() }
    }

    /// The answer to an ask, or none when it was not asked or is a gap.
    pub fn answer(&self, ask: &Ask) -> Option<&Answer> {
        let at = self.answers.binary_search_by(|(asked, _)| asked.cmp(ask)).ok()?;
        self.answers.get(at)?.1.as_ref().ok()
    }

    /// It was asked, and not answered.
    pub fn is_gap(&self, ask: &Ask) -> bool {
        let at = self.answers.binary_search_by(|(asked, _)| asked.cmp(ask)).ok();
        at.and_then(|at| self.answers.get(at)).is_some_and(|(_, answer)| answer.is_err())
    }

    /// Every gap: of the lists first, then of the answers.
    pub fn gaps(&self) -> impl Iterator<Item = &Gap> {
        self.lists.gaps().chain(self.answers.iter().filter_map(|(_, answer)| answer.as_ref().err()))
    }
}

impl Lists {
    /// Services that were not seen: providers first, then targets.
    pub fn gaps(&self) -> impl Iterator<Item = &Gap> {
        let providers = self.providers.values().filter_map(|list| list.as_ref().err());
        providers.chain(self.targets.values().filter_map(|list| list.as_ref().err()))
    }
}
