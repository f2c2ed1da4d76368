//! What of the desired state cannot be met until a person acts: it names what is not there, or asks for more than a limit allows.

use std::collections::BTreeSet;
use std::fmt;

use super::{ImageLine, NodeWait, Plan, PoolLine, Subject, Verb, WaitsFor};

/// A pool or a snapshot that nothing but a person can bring on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unmet {
    /// Of the pool or image.
    pub name: String,
    /// `0 of 2` nodes; of an image where it is built.
    pub stands: String,
    pub lacks: String,
}

impl fmt::Display for Unmet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, stands, lacks } = self;
        write!(out, "{name} ({stands}): {lacks}")
    }
}

impl Plan {
    /// By name, each once.
    pub fn unmet(&self) -> BTreeSet<Unmet> {
        let pools = self.pools.iter().filter_map(|pool| Some(of_pool(pool, pool.waits_for.as_ref()?.lacks()?)));
        let images = self.images.iter().filter_map(|image| Some(of_image(image, image.waits_for.as_ref()?.lacks()?)));
        let nodes = self.waits.iter().filter_map(|wait| self.of_node(wait));
        pools.chain(images).chain(nodes).collect()
    }

    fn of_node(&self, wait: &NodeWait) -> Option<Unmet> {
        let lacks = wait.waits_for.lacks()?;
        let Subject { pool, image, name: _ } = &wait.subject;
        if let Some(line) = self.pools.iter().find(|line| Some(&line.name) == pool.as_ref()) {
            return Some(of_pool(line, lacks));
        }
        let is_its = |line: &&ImageLine| Some(&line.name) == image.as_ref() && line.provider == wait.provider;
        self.images.iter().find(is_its).map(|line| of_image(line, lacks))
    }

    /// A limit or the cloud's quota holds back something that is wanted, or what is wanted cannot be: a person has to act. A pool
    /// that is short and full is what its own `max-servers` asks for, each time that builds keep all of it busy; and a quota that
    /// is full while something of ours goes has room in seconds.
    pub fn is_refused(&self) -> bool {
        let goes = self.chains.iter().any(|chain| chain.verb == Verb::Delete)
            || self.waits.iter().any(|wait| wait.waits_for == WaitsFor::Deletion);
        let is_quota = |waits: &Option<WaitsFor>| !goes && matches!(waits, Some(WaitsFor::Quota(_)));
        let no_quota = self.pools.iter().any(|pool| pool.counts.need() > 0 && is_quota(&pool.waits_for))
            || self.images.iter().any(|image| is_quota(&image.waits_for));
        !self.refusals.is_empty() || no_quota || !self.unmet().is_empty()
    }
}

fn of_pool(pool: &PoolLine, lacks: String) -> Unmet {
    // Those that are to be replaced are there.
    let have = pool.counts.all_ready() + pool.counts.coming;
    let stands = format!("{have} of {} ready or coming", pool.counts.want);
    Unmet { name: pool.name.to_string(), stands, lacks }
}

fn of_image(image: &ImageLine, lacks: String) -> Unmet {
    let stands = match &image.current {
        Some(current) => format!("{current} stays in {}", image.provider),
        None => format!("no snapshot in {}", image.provider),
    };
    Unmet { name: image.name.to_string(), stands, lacks }
}

impl WaitsFor {
    /// What only a person can mend: here, in the cloud, or in the desired state.
    pub fn lacks(&self) -> Option<String> {
        Some(match self {
            Self::NoFlavor { name, near, names } => format!("there is no flavor `{name}`{}", there(near.as_deref(), names)),
            Self::NoNetwork { name, near, names } => format!("there is no network `{name}`{}", there(near.as_deref(), names)),
            Self::NoImage { name, before: None } => format!("there is no ACTIVE image `{name}`"),
            Self::NoImage { name, before: Some(before) } => {
                format!("there is no ACTIVE image `{name}` (the last one {before})")
            }
            Self::SeveralOwners { name, owners } => {
                format!("`{name}` is of several projects ({}): say which by base-image-owner", owners.join(", "))
            }
            Self::BeyondQuota { flavor, what, need, limit } => {
                format!("flavor `{flavor}` needs {need} {what}, and the whole quota is {limit}")
            }
            Self::Boot
            | Self::Port
            | Self::Ssh
            | Self::Script
            | Self::Online
            | Self::Build
            | Self::Person(_)
            | Self::Deletion
            | Self::StuckDeletion { .. }
            | Self::StuckTask { .. }
            | Self::LaterPass
            | Self::Return { .. }
            | Self::Resume { .. }
            | Self::Gap(_)
            | Self::Paused(_)
            | Self::PoolFull { .. }
            | Self::ProviderFull { .. }
            | Self::LaunchesAtATime { .. }
            | Self::LaunchesPerRun { .. }
            | Self::Quota(_)
            | Self::BackOff { .. }
            | Self::Try { .. }
            | Self::TryDue { .. }
            | Self::NoSnapshot { .. }
            | Self::BadInputs { .. }
            | Self::OtherBuild(_)
            | Self::KeptForBuild(_)
            | Self::Setup
            | Self::Off
            | Self::Saving
            | Self::SavedAgain
            | Self::LetGo { .. }
            | Self::Refused(_)
            | Self::Replacement(_)
            | Self::NewSnapshot { .. }
            | Self::Limit
            | Self::NextPass => return None,
        })
    }
}

/// So many names are given where none is near: a person finds one among them at a glance.
const NAMED: usize = 8;

/// The names that there are, where they are few.
pub fn few<'n>(names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let names: BTreeSet<&str> = names.collect();
    if names.len() > NAMED { Vec::new() } else { names.into_iter().map(str::to_owned).collect() }
}

fn there(near: Option<&str>, names: &[String]) -> String {
    match (near, names) {
        (Some(near), _) => format!("; did you mean `{near}`?"),
        (None, []) => String::new(),
        (None, names) => format!("; the project has {}", names.join(", ")),
    }
}
