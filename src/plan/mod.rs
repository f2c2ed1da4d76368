//! What would be changed and why: a value, made by a pure function. Nothing is left to choose when it is carried out.

pub mod action;
pub mod approved;
pub mod asks;
pub mod audit;
pub mod backoff;
pub mod brakes;
pub mod drift;
pub mod expects;
pub mod floating;
pub mod launch;
pub mod need;
pub mod overview;
pub mod planner;
pub mod prepare;
pub mod reason;
pub mod retire;
pub mod room;
pub mod snapshot;
pub mod spec;
pub mod steps;
pub mod surplus;
pub mod unmet;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::desired::Desired;
use crate::names::{ControllerId, ImageName, NodeName, PoolName, ProviderName, TargetName};
use crate::observed::{Account, Gap};

pub use action::{
    Act, Action, AgentLauncher, Chain, CreateAgent, CreateFloatingIp, CreateImage, CreateServer, Machine, NodeFiles, PushScripts,
    StartAgent, StartScript, Subject, TurnOff, Verb,
};
pub use approved::Approved;
pub use asks::asks;
pub use brakes::Refusal;
pub use expects::{
    AgentExpects, AgentIs, Expects, FloatingIpExpects, ImageExpects, MarkExpects, ServerExpects, Stale, still_holds,
};
pub use need::Counts;
pub use overview::Overview;
pub use planner::plan;
pub use reason::{Because, Step, WaitsFor};
pub use snapshot::due::Due;

/// What would be done in one pass, and what would not and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Plan {
    pub head: Head,
    pub gaps: Vec<Gap>,
    /// What a limit held back.
    pub refusals: Vec<Refusal>,
    /// Ready and busy nodes: what the limit of deletions is a share of.
    pub healthy: u32,
    /// By verb, deletions first, then by pool and name.
    pub chains: Vec<Chain>,
    pub pools: Vec<PoolLine>,
    /// Every image in each of its providers that was seen.
    pub images: Vec<ImageLine>,
    /// Nodes and builders that nothing is done for now, snapshots that Glance does not let go, and why.
    pub waits: Vec<NodeWait>,
}

/// Whose eyes the plan saw with, and how much it saw.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Head {
    pub controller: ControllerId,
    pub revision: Option<String>,
    pub providers: Vec<ProviderHead>,
    pub targets: Vec<TargetHead>,
    pub pools: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ProviderHead {
    pub name: ProviderName,
    /// None behind a gap.
    pub account: Option<Account>,
    /// Servers of ours.
    pub servers: u32,
    pub max_servers: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TargetHead {
    pub name: TargetName,
    pub seen: bool,
    pub version: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PoolLine {
    pub name: PoolName,
    pub counts: Counts,
    pub waits_for: Option<WaitsFor>,
}

/// How a snapshot stands in a provider.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ImageLine {
    pub name: ImageName,
    pub provider: ProviderName,
    /// The newest good one, which nodes boot from.
    pub current: Option<NodeName>,
    pub created: Option<Timestamp>,
    /// For people.
    #[serde(skip)]
    pub age: Option<SignedDuration>,
    /// The builder that is at work, or is made by this plan.
    pub builder: Option<NodeName>,
    /// Of the builder.
    pub state: Option<&'static str>,
    /// Why one is to be built.
    pub due: Option<Due>,
    pub waits_for: Option<WaitsFor>,
    /// The last build, where it failed and what it failed of is not over.
    pub failed: Option<FailedBuild>,
    /// Pools that boot from it.
    pub pools: Vec<PoolName>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FailedBuild {
    /// Kept, with its setup script's output.
    pub builder: NodeName,
    pub at: Timestamp,
    /// For people.
    #[serde(skip)]
    pub ago: SignedDuration,
    pub attempt: u32,
    pub why: String,
    /// The end of its back-off.
    pub again: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NodeWait {
    pub subject: Subject,
    pub provider: ProviderName,
    pub state: &'static str,
    pub waits_for: WaitsFor,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// Something moves by itself: looking again soon will show more.
    pub fn under_way(&self) -> bool {
        self.all_waits().any(WaitsFor::is_under_way)
    }

    fn all_waits(&self) -> impl Iterator<Item = &WaitsFor> {
        let nodes = self.waits.iter().map(|wait| &wait.waits_for);
        let pools = self.pools.iter().filter_map(|pool| pool.waits_for.as_ref());
        nodes.chain(pools).chain(self.images.iter().filter_map(|image| image.waits_for.as_ref()))
    }

    /// Nothing to do, and nothing to say but counts.
    pub fn is_quiet(&self) -> bool {
        self.is_empty() && self.gaps.is_empty() && self.refusals.is_empty() && self.all_waits().all(WaitsFor::is_quiet)
    }

    /// Everything of these images alone, there alone, and of the builds that theirs wait for; none named: everything.
    #[must_use]
    pub fn only_of(mut self, images: &BTreeSet<(ImageName, ProviderName)>) -> Self {
        if images.is_empty() {
            return self;
        }
        self.images.retain(|line| images.contains(&(line.name.clone(), line.provider.clone())));
        let mut all: BTreeSet<(&ImageName, &ProviderName)> = images.iter().map(|(image, provider)| (image, provider)).collect();
        all.extend(self.images.iter().filter_map(|line| {
            if let Some(WaitsFor::OtherBuild(other)) = &line.waits_for { Some((other, &line.provider)) } else { None }
        }));
        let wanted = |chain: &Chain| chain.subject.image.as_ref().zip(chain.provider()).is_some_and(|of| all.contains(&of));
        self.chains.retain(wanted);
        self.waits.retain(|wait| wait.subject.image.as_ref().is_some_and(|image| all.contains(&(image, &wait.provider))));
        self.pools.clear();
        self
    }

    /// Everything of these pools alone, with the snapshots that they boot from; none named: everything.
    #[must_use]
    pub fn only(mut self, pools: &[PoolName]) -> Self {
        if !pools.is_empty() {
            let named = |pool: &PoolName| pools.contains(pool);
            self.images.retain(|image| image.pools.iter().any(named));
            let images: BTreeSet<&ImageName> = self.images.iter().map(|image| &image.name).collect();
            let of = |subject: &Subject| {
                subject.pool.as_ref().is_some_and(named) || subject.image.as_ref().is_some_and(|image| images.contains(image))
            };
            self.chains.retain(|chain| of(&chain.subject));
            self.waits.retain(|wait| of(&wait.subject));
            self.pools.retain(|pool| named(&pool.name));
        }
        self
    }
}

impl WaitsFor {
    /// Nothing that a person who reads the plan must know of: a build runs, or a person has the node.
    pub fn is_quiet(&self) -> bool {
        matches!(self, Self::Build | Self::Person(_))
    }

    /// Some limit of size is reached: what leaves makes room.
    pub fn is_for_room(&self) -> bool {
        matches!(self, Self::PoolFull { .. } | Self::ProviderFull { .. } | Self::Quota(_) | Self::KeptForBuild(_))
    }

    /// A place in a provider that pools must not take meanwhile.
    pub fn is_for_a_slot(&self) -> bool {
        matches!(
            self,
            Self::ProviderFull { .. }
                | Self::LaunchesAtATime { .. }
                | Self::LaunchesPerRun { .. }
                | Self::Quota(_)
                | Self::NextPass
        )
    }

    /// Time of seconds to minutes ends it, without a person or an unseen service.
    pub fn is_under_way(&self) -> bool {
        match self {
            Self::Boot
            | Self::Ssh
            | Self::Port
            | Self::Script
            | Self::Online
            | Self::Deletion
            | Self::LaterPass
            | Self::NextPass
            | Self::Setup
            | Self::Off
            | Self::Saving
            | Self::LaunchesAtATime { .. } => true,
            Self::Build
            | Self::Person(_)
            | Self::StuckDeletion { .. }
            | Self::StuckTask { .. }
            | Self::Return { .. }
            | Self::Resume { .. }
            | Self::Gap(_)
            | Self::Paused(_)
            | Self::PoolFull { .. }
            | Self::ProviderFull { .. }
            | Self::LaunchesPerRun { .. }
            | Self::Limit
            | Self::Quota(_)
            | Self::BeyondQuota { .. }
            | Self::BackOff { .. }
            // The new machine's own wait tells whether it moves.
            | Self::Try { .. }
            | Self::TryDue { .. }
            | Self::Replacement(_)
            | Self::NewSnapshot { .. }
            | Self::NoImage { .. }
            | Self::SeveralOwners { .. }
            // Its builder's own wait tells whether it moves.
            | Self::NoSnapshot { .. }
            | Self::OtherBuild(_)
            | Self::KeptForBuild(_)
            | Self::BadInputs { .. }
            | Self::SavedAgain
            | Self::LetGo { .. }
            | Self::NoFlavor { .. }
            | Self::NoNetwork { .. }
            | Self::Refused(_) => false,
        }
    }
}

impl Head {
    fn of(desired: &Desired) -> Self {
        Self {
            controller: desired.controller.id.clone(),
            revision: desired.revision.clone(),
            providers: Vec::new(),
            targets: Vec::new(),
            pools: desired.pools.len(),
        }
    }
}
