//! Random deployments: pools, providers, targets, limits, and which Jenkins it is.

use std::path::PathBuf;

use poolkeeper::desired::{Desired, HostKeyPolicy, HostKeys, Launcher, Pattern, PoolImage, SnapshotImage, UsedWhen};
use poolkeeper::names::{PoolName, ProviderName, TargetName};
use poolkeeper::sandbox::Generation;
use proptest::prelude::*;

use crate::{images, scene};

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is one choice of a pool's file")]
pub(super) struct PoolShape {
    pub(super) min_ready: u32,
    pub(super) spare: u32,
    ssh: bool,
    single_use: bool,
    busy: bool,
    gearman: bool,
    message: bool,
    workspace: bool,
    second_provider: bool,
    second_target: bool,
}

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is one choice of a deployment")]
pub(super) struct Shape {
    pub(super) generation: Generation,
    pools: Vec<PoolShape>,
    providers: u32,
    targets: u32,
    max_servers: u32,
    launches: u32,
    launches_per_run: u32,
    first_use: bool,
    /// One a node, of each provider.
    pub(super) floating_ips: bool,
    /// The first pool boots from one that is built here.
    snapshots: bool,
    /// The timer ran before anything happens.
    pub(super) filled: bool,
    /// Nova's, of every provider.
    pub(super) quota: Option<u64>,
}

pub(super) fn any_shape() -> impl Strategy<Value = Shape> {
    let flags = any::<[bool; 8]>();
    let pool = (0_u32..5, 0_u32..4, flags).prop_map(|(min_ready, spare, flags)| {
        let [ssh, multi, busy, no_gearman, message, workspace, second_provider, second_target] = flags;
        let single_use = !(multi && busy);
        let gearman = !no_gearman || !busy;
        PoolShape { min_ready, spare, ssh, single_use, busy, gearman, message, workspace, second_provider, second_target }
    });
    let generation = prop::sample::select(Generation::ALL.to_vec());
    let limits = (2_u32..12, 1_u32..6, 1_u32..8, prop::option::weighted(0.3, 2_u64..10));
    let flags = (any::<bool>(), prop::bool::weighted(0.3), prop::bool::weighted(0.8));
    (generation, prop::collection::vec(pool, 1..4), 1_u32..3, 1_u32..3, flags, limits).prop_map(
        |(
            generation,
            pools,
            providers,
            targets,
            (first_use, floating_ips, filled),
            (max_servers, launches, launches_per_run, quota),
        )| Shape {
            generation,
            pools,
            providers,
            targets,
            max_servers,
            launches,
            launches_per_run,
            first_use,
            floating_ips,
            snapshots: launches_per_run % 3 == 0,
            filled,
            quota,
        },
    )
}

pub(super) const NETWORK: &str = "public";

/// Of the marks that a job leaves where its pool has `message`.
pub(super) const DONE: &str = "done: job 7";

pub(super) fn pool_name(at: usize) -> PoolName {
    PoolName::new(format!("ci-{at}"))
}

impl Shape {
    pub(super) fn desired(&self, lock_file: PathBuf) -> Desired {
        let mut desired = scene::desired(lock_file);
        let provider = desired.controller.providers.values().next().expect("one").clone();
        let target = desired.controller.targets.values().next().expect("one").clone();
        let pool = desired.pools.values().next().expect("one").clone();
        let providers: Vec<ProviderName> = (0..self.providers).map(|at| ProviderName::new(format!("cloud-{at}"))).collect();
        let targets: Vec<TargetName> = (0..self.targets).map(|at| TargetName::new(format!("jenkins-{at}"))).collect();
        let host_keys = if self.first_use { HostKeys::FirstUse } else { HostKeys::Console };
        let (max_servers, max_concurrent_launches) = (self.max_servers, self.launches);
        let network = self.floating_ips.then(|| NETWORK.to_owned());
        desired.controller.providers.clear();
        desired.controller.providers.extend(providers.iter().map(|name| {
            let provider = provider.clone();
            (
                name.clone(),
                poolkeeper::desired::Provider {
                    name: name.clone(),
                    max_servers,
                    max_concurrent_launches,
                    host_keys,
                    floating_ip_network: network.clone(),
                    ..provider
                },
            )
        }));
        desired.controller.targets.clear();
        desired.controller.targets.extend(
            targets.iter().map(|name| (name.clone(), poolkeeper::desired::Target { name: name.clone(), ..target.clone() })),
        );
        desired.controller.limits.max_launches_per_run = self.launches_per_run;
        desired.pools.clear();
        desired.pools.extend(self.pools.iter().enumerate().map(|(at, shape)| {
            let mut pool = pool.clone();
            pool.name = pool_name(at);
            pool.labels = vec![pool.name.to_string()];
            pool.min_ready = shape.min_ready;
            pool.max_servers = shape.min_ready + shape.spare;
            pool.single_use = shape.single_use;
            let message = UsedWhen::Message(Pattern::parse("^done: job [0-9]+$").expect("a pattern"));
            let whens = [
                (shape.gearman, UsedWhen::Gearman),
                (shape.busy, UsedWhen::Busy),
                (shape.message, message),
                (shape.workspace, UsedWhen::Workspace),
            ];
            pool.used_when = whens.into_iter().filter(|(wanted, _)| *wanted).map(|(_, when)| when).collect();
            if shape.ssh {
                let host_key = HostKeyPolicy::Pinned;
                pool.agent.launcher = Launcher::Ssh { port: 22, java_path: None, jvm_options: None, host_key };
            }
            pool.providers.clone_from(&providers);
            if !shape.second_provider {
                pool.providers.truncate(1);
            }
            pool.target = targets.iter().rev().find(|_| shape.second_target).or(targets.first()).expect("one").clone();
            (pool.name.clone(), pool)
        }));
        if let Some(pool) = desired.pools.values_mut().next().filter(|_| self.snapshots) {
            let image = SnapshotImage { providers, ..images::snapshot() };
            pool.image = PoolImage::Snapshot(image.name.clone());
            desired.images.insert(image.name.clone(), image);
        }
        desired
    }
}
