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
pub mod planner;
pub mod prepare;
pub mod reason;
pub mod retire;
pub mod spec;
pub mod steps;
pub mod surplus;

use crate::desired::Desired;
use crate::names::{ControllerId, PoolName, ProviderName, TargetName};
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
pub use planner::plan;
pub use reason::{Because, Step, WaitsFor};

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
    /// Nodes that nothing is done for now, and why.
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

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NodeWait {
    pub subject: Subject,
    pub state: &'static str,
    pub waits_for: WaitsFor,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// Something moves by itself: looking again soon will show more.
    pub fn under_way(&self) -> bool {
        let nodes = self.waits.iter().map(|wait| &wait.waits_for);
        let pools = self.pools.iter().filter_map(|pool| pool.waits_for.as_ref());
        nodes.chain(pools).any(WaitsFor::is_under_way)
    }

    /// Nothing to do, and nothing to say but counts.
    pub fn is_quiet(&self) -> bool {
        let pools = self.pools.iter().filter_map(|pool| pool.waits_for.as_ref());
        let waits = self.waits.iter().map(|wait| &wait.waits_for).chain(pools);
        self.is_empty() && self.gaps.is_empty() && self.refusals.is_empty() && waits.into_iter().all(WaitsFor::is_quiet)
    }

    /// Everything of these pools alone; none named: everything.
    #[must_use]
    pub fn only(mut self, pools: &[PoolName]) -> Self {
        if !pools.is_empty() {
            let named = |pool: Option<&PoolName>| pool.is_some_and(|pool| pools.contains(pool));
            self.chains.retain(|chain| named(chain.subject.pool.as_ref()));
            self.waits.retain(|wait| named(wait.subject.pool.as_ref()));
            self.pools.retain(|pool| named(Some(&pool.name)));
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
        matches!(self, Self::PoolFull { .. } | Self::ProviderFull { .. } | Self::Quota(_))
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
            | Self::LaunchesAtATime { .. } => true,
            Self::Build
            | Self::Person(_)
            | Self::StuckDeletion { .. }
            | Self::Return { .. }
            | Self::Resume { .. }
            | Self::Gap(_)
            | Self::Paused(_)
            | Self::PoolFull { .. }
            | Self::ProviderFull { .. }
            | Self::LaunchesPerRun { .. }
            | Self::Limit
            | Self::Quota(_)
            | Self::BackOff { .. }
            // The new machine's own wait tells whether it moves.
            | Self::Try { .. }
            | Self::Replacement(_)
            | Self::NoImage(_)
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
