//! What should be there: the values that the desired-state directory is read into. Pure; reading files is `load`'s.

pub mod check;
pub mod controller;
pub mod document;
pub mod faults;
pub mod image;
pub mod keys;
pub mod near;
pub mod parse;
pub mod pattern;
pub mod pool;
pub mod scripts;
pub mod tables;
pub mod units;
pub mod value;
pub mod yaml;

use std::collections::BTreeMap;

use crate::names::{ImageName, PoolName, ProviderName, TargetName};

pub use controller::{AddressChoice, Controller, Family, HostKeys, Limits, Provider, Target, TargetSecret};
pub use image::{Clean, DiskImage, SnapshotImage};
pub use near::near;
pub use pattern::Pattern;
pub use pool::{Agent, AgentMode, FlavorChoice, HostKeyPolicy, Launcher, Pool, PoolImage, UsedWhen};
pub use scripts::{Digest, ScriptDir, UserData};

/// The whole desired state. Every reference in it has been checked: a pool's providers, target and image exist.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Desired {
    pub controller: Controller,
    pub images: BTreeMap<ImageName, SnapshotImage>,
    pub pools: BTreeMap<PoolName, Pool>,
    /// The git commit of the directory, shortened, where it is in a work tree: for the plan's head alone.
    pub revision: Option<String>,
}

impl Desired {
    pub fn provider(&self, name: &ProviderName) -> Option<&Provider> {
        self.controller.providers.get(name)
    }

    pub fn target(&self, name: &TargetName) -> Option<&Target> {
        self.controller.targets.get(name)
    }

    /// Glance names or ids that pools and snapshots start from, without the snapshots that we build.
    pub fn glance_names(&self) -> Vec<&str> {
        let pools = self.pools.values().filter_map(|pool| pool.image.glance());
        let bases = self.images.values().map(|image| image.base_image.as_str());
        let mut names: Vec<&str> = pools.chain(bases).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
