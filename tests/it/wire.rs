//! Whole runs over HTTP and SSH: the real loop and the real clients against the served sandbox, and runs that are cut off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::SignedDuration;
use poolkeeper::desired::Desired;
use poolkeeper::live::http::{Patience, install_tls_provider};
use poolkeeper::live::openstack::{self, CloudsEnv};
use poolkeeper::live::{Live, Surroundings};
use poolkeeper::load::{LoadEnv, load};
use poolkeeper::names::ProviderName;
use poolkeeper::observe::observe;
use poolkeeper::observed::{Computer, ThisRun};
use poolkeeper::run::{Options, Outside, run};
use poolkeeper::sandbox::stage::Stage;
use poolkeeper::sandbox::{Drop, Generation};

use crate::audited::{Yes, planned};

struct Deployment {
    stage: Stage,
    desired: Desired,
    _directory: tempfile::TempDir,
}

impl Deployment {
    fn new(generation: Generation) -> Self {
        install_tls_provider();
        let directory = tempfile::tempdir().expect("a directory");
        let start = "2026-11-25T10:00:00Z".parse().expect("a time");
        let stage = Stage::set_up(directory.path(), generation, start).expect("a stage");
        let loaded = load(&stage.desired_state, &LoadEnv::default()).expect("a sound desired state");
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        Self { stage, desired: loaded.desired, _directory: directory }
    }

    /// As a process of its own: clients, tokens and crumbs are made anew.
    fn live(&self) -> Live {
        let file = self.stage.clouds_yaml.to_string_lossy().into_owned();
        let vars = BTreeMap::from([("OS_CLIENT_CONFIG_FILE".to_owned(), file)]);
        let env = CloudsEnv { vars, user_config_dir: None, home: None, site_dirs: Vec::new(), current_dir: None };
        let world = self.stage.world.clone();
        let clock = Arc::new(move || world.now());
        let openstack = openstack::Surroundings { env, cache_dir: None, patience: Patience::endless(), clock };
        Live::new(&self.desired, Surroundings { openstack, nodepool: BTreeMap::new() })
    }

    /// As `apply --yes` of the timer.
    fn apply(&self) {
        let world = &self.stage.world;
        let options = Options { deadline: Some(SignedDuration::from_secs(50)), ..Options::default() };
        let pause = |time: SignedDuration| world.tick(u32::try_from(time.as_secs().max(1)).unwrap_or(1));
        let (clock, stopped) = (|| world.now(), AtomicBool::new(false));
        let outside = Outside { clock: &clock, pause: &pause, stopped: &stopped };
        run(&self.desired, &self.live(), &options, outside, &Yes(&self.desired)).expect("the lock is free");
    }

    /// Two nodes ready, nothing beside them, nothing to do, and no build ever killed.
    fn assert_settled(&self, when: &str) {
        let world = &self.stage.world;
        let observed = observe(&self.live(), &self.desired, &ThisRun::default(), &|| world.now());
        assert_eq!(observed.gaps().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new(), "{when}");
        let plan = planned(&self.desired, &observed, world.now());
        assert!(plan.is_empty(), "{when}: {:?}", plan.chains.iter().map(|chain| &chain.because).collect::<Vec<_>>());
        let mut servers: Vec<String> =
            world.servers(&ProviderName::from("sandbox")).into_iter().map(|server| server.name.to_string()).collect();
        let agents = world.agents(&self.stage.target);
        servers.sort_unstable();
        let names: Vec<String> = agents.iter().map(|agent| agent.name.to_string()).collect();
        assert_eq!((servers.len(), servers), (2, names), "{when}");
        assert!(agents.iter().all(Computer::online), "{when}");
        assert!(world.with(|state| state.killed_builds.is_empty()), "{when}");
    }

    fn use_one(&self) {
        let (world, target) = (&self.stage.world, &self.stage.target);
        let agents = world.agents(target);
        // Which of two comes first is chance: a run makes them side by side.
        let name = agents.iter().find(|agent| agent.online()).map(|agent| agent.name.clone()).expect("an agent online");
        world.start_gearman_build(target, &name, 3).expect("a build");
        world.tick(3);
    }
}

#[test]
fn a_pool_fills_and_a_used_node_is_replaced_in_every_generation() {
    for generation in Generation::ALL {
        let deployment = Deployment::new(generation);
        deployment.apply();
        deployment.assert_settled(&format!("{generation:?}: filled"));
        deployment.use_one();
        deployment.apply();
        deployment.assert_settled(&format!("{generation:?}: replaced"));
    }
}

/// Every so many calls a run is cut off: not a divisor of what a pass makes, so that each kind of call is met.
const EVERY: u64 = 7;

#[test]
fn runs_that_are_cut_off_leave_nothing_lost_doubled_or_leaked() {
    for drop in [Drop::BeforeEffect, Drop::AfterEffect] {
        let deployment = Deployment::new(Generation::J2_462);
        let world = &deployment.stage.world;
        let (mut cuts, mut used) = (0, false);
        loop {
            // Its removal, too, falls among runs that are cut off.
            if !used && world.agents(&deployment.stage.target).iter().any(Computer::online) {
                deployment.use_one();
                used = true;
            }
            cuts += 1;
            world.stop_after(cuts * EVERY, drop);
            deployment.apply();
            let cut_off = world.stopped();
            world.resume();
            if !cut_off {
                break;
            }
            world.tick(30);
            assert!(cuts < 100, "a run of this deployment never gets to its end");
        }
        assert!(used && cuts > 3, "{cuts} cuts: too few to meet anything");
        deployment.apply();
        deployment.assert_settled(&format!("{drop:?}, {cuts} cuts"));
    }
}
