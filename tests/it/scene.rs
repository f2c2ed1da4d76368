//! A small deployment on the in-memory world, driven by the real run loop: for every scenario test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use poolkeeper::desired::units::Share;
use poolkeeper::desired::{
    AddressChoice, Agent, AgentMode, Controller, Desired, FlavorChoice, HostKeys, Launcher, Limits, Pool, PoolImage, Provider,
    ScriptDir, Target, TargetSecret, UsedWhen,
};
use poolkeeper::execute::{ChainResult, Surroundings, execute};
use poolkeeper::names::{ControllerId, PoolName, ProviderName, TargetName};
use poolkeeper::observe::observe;
use poolkeeper::observed::{Ask, Observed, Server, ThisRun};
use poolkeeper::plan::{Chain, Plan};
use poolkeeper::report::progress::chain_lines;
use poolkeeper::report::style::Style;
use poolkeeper::run::{Audience, Options, Outside, Summary, run};
use poolkeeper::sandbox::{Generation, Sandbox};

use crate::audited::{audited, planned};

pub(crate) const PROVIDER: &str = "eqiad";
pub(crate) const TARGET: &str = "contint1001";
pub(crate) const POOL: &str = "ci-jessie";

/// One provider, one target, one pool of two, inbound agents.
pub(crate) struct Scene {
    pub(crate) desired: Desired,
    pub(crate) world: Sandbox,
    /// Every plan of every run, in order.
    pub(crate) plans: Mutex<Vec<Plan>>,
    /// Of every chain, what a person is told when it is over.
    pub(crate) said: Mutex<String>,
    _lock: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new(generation: Generation) -> Self {
        let lock = tempfile::tempdir().expect("a directory");
        let desired = desired(lock.path().join("lock"));
        let start: Timestamp = "2026-11-25T10:00:00Z".parse().expect("a time");
        let world = Sandbox::for_desired(&desired, generation, start, 1);
        Self { desired, world, plans: Mutex::default(), said: Mutex::default(), _lock: lock }
    }

    pub(crate) fn pool(&mut self) -> &mut Pool {
        self.desired.pools.get_mut(&PoolName::from(POOL)).expect("the pool")
    }

    /// As `apply --until-converged`.
    pub(crate) fn converge(&self) -> Summary {
        self.run(None)
    }

    /// One server after the other: creates that are under way side by side reach Nova in an order of their own, and which name
    /// gets which id would differ from run to run.
    pub(crate) fn converge_in_order(&mut self) {
        self.launches_at_a_time(1);
        self.converge();
        self.launches_at_a_time(10);
    }

    fn launches_at_a_time(&mut self, most: u32) {
        let providers = self.desired.controller.providers.values_mut();
        providers.for_each(|provider| provider.max_concurrent_launches = most);
    }

    /// As the timer's `apply`, with its deadline of 50 s.
    pub(crate) fn timer(&self) -> Summary {
        self.run(Some(SignedDuration::from_secs(50)))
    }

    fn run(&self, deadline: Option<SignedDuration>) -> Summary {
        self.run_with(&Options { deadline, ..Options::default() })
    }

    /// Short runs, until it is so.
    pub(crate) fn timer_until(&self, so: impl Fn(&Self) -> bool) {
        for _ in 0..100 {
            if so(self) {
                return;
            }
            self.run(Some(SignedDuration::from_secs(1)));
            self.world.tick(1);
        }
        panic!("it never is: {:#?}", self.plan());
    }

    pub(crate) fn run_with(&self, options: &Options) -> Summary {
        // The world's time goes on between passes, as on a wall clock.
        let pauses = AtomicU32::new(0);
        let pause = |time: SignedDuration| {
            // A run that does not end is a fault, not a long test.
            assert!(pauses.fetch_add(1, Ordering::Relaxed) < 2000, "the run never ends: {:#?}", self.plan());
            self.world.tick(u32::try_from(time.as_secs().max(1)).unwrap_or(1));
        };
        let (clock, stopped) = (|| self.world.now(), AtomicBool::new(false));
        let outside = Outside { clock: &clock, pause: &pause, stopped: &stopped };
        run(&self.desired, &self.world, options, outside, self).expect("the lock is free")
    }

    /// What a pass would do now.
    pub(crate) fn plan(&self) -> Plan {
        let observed = observe(&self.world, &self.desired, &ThisRun::default(), &|| self.world.now());
        planned(&self.desired, &observed, self.world.now())
    }

    /// What a pass would ask beyond the lists.
    pub(crate) fn asked(&self) -> BTreeSet<Ask> {
        let observed = observe(&self.world, &self.desired, &ThisRun::default(), &|| self.world.now());
        observed.answers.into_iter().map(|(ask, _)| ask).collect()
    }

    /// What a pass's executor makes of a plan, however old it is.
    pub(crate) fn carry_out(&self, plan: &Plan) -> Vec<ChainResult> {
        let clock = || self.world.now();
        let around = Surroundings { world: &self.world, clock: &clock, stop: &|| false, watch: &|_, _| () };
        execute(&plan.chains, around)
    }

    pub(crate) fn servers(&self) -> Vec<Server> {
        self.world.servers(&ProviderName::from(PROVIDER))
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.servers().into_iter().map(|server| server.name).collect()
    }

    pub(crate) fn agents(&self) -> Vec<String> {
        self.world.agents(&TargetName::from(TARGET)).into_iter().map(|agent| agent.name).collect()
    }

    pub(crate) fn target() -> TargetName {
        TargetName::from(TARGET)
    }

    /// The end of every scenario: no build was killed, and nothing is left to do.
    pub(crate) fn assert_settled(&self) {
        assert!(self.world.with(|state| state.killed_builds.is_empty()), "a running build was killed");
        let plan = self.plan();
        assert!(
            plan.is_empty(),
            "left to do: {:#?}",
            plan.chains.iter().map(|chain| (&chain.subject, &chain.because)).collect::<Vec<_>>()
        );
    }
}

impl Audience for Scene {
    fn looked(&self, observed: &Observed, plan: &Plan, now: Timestamp) {
        audited(&self.desired, observed, plan, now);
    }

    fn approve(&self, plan: &Plan, _pass: u32) -> bool {
        self.plans.lock().expect("plans").push(plan.clone());
        true
    }

    fn chain(&self, chain: &Chain, result: &ChainResult) {
        self.said.lock().expect("words").push_str(&chain_lines(chain, result, Style::plain()));
    }
}

pub(crate) fn desired(lock_file: PathBuf) -> Desired {
    let minutes = SignedDuration::from_mins;
    let provider = Provider {
        name: ProviderName::from(PROVIDER),
        cloud: "contintcloud".into(),
        region: None,
        max_servers: 10,
        max_concurrent_launches: 10,
        networks: vec!["ci-net".into()],
        address: AddressChoice::default(),
        security_groups: vec!["default".into()],
        availability_zones: Vec::new(),
        floating_ip_network: None,
        key_name: Some("ci-key".into()),
        config_drive: true,
        host_keys: HostKeys::Console,
        api_timeout: SignedDuration::from_secs(30),
        launch_timeout: minutes(15),
        boot_timeout: minutes(5),
    };
    let target = Target {
        name: TargetName::from(TARGET),
        url: "http://127.0.0.1:8080/".into(),
        user: "nodepool".into(),
        secret: TargetSecret::PasswordFile(PathBuf::from("/etc/poolkeeper/password")),
        credentials_id: Some("nodepool-ssh".into()),
    };
    let controller = Controller {
        id: ControllerId::from("contint"),
        providers: BTreeMap::from([(provider.name.clone(), provider)]),
        targets: BTreeMap::from([(target.name.clone(), target)]),
        limits: Limits {
            max_launches_per_run: 10,
            max_deletes_per_run: Share::Percent(50),
            mass_offline: Share::Percent(50),
            allow_deletes: None,
            allow_offline: None,
        },
        lost_grace: minutes(10),
        lock_file,
        paused: None,
    };
    let pool = pool();
    Desired { controller, images: BTreeMap::new(), pools: BTreeMap::from([(pool.name.clone(), pool)]), revision: None }
}

fn pool() -> Pool {
    let minutes = SignedDuration::from_mins;
    Pool {
        name: PoolName::from(POOL),
        image: PoolImage::Glance("image-ci-jessie".into()),
        flavor: FlavorChoice::Name("m1.medium".into()),
        providers: vec![ProviderName::from(PROVIDER)],
        target: TargetName::from(TARGET),
        labels: vec![POOL.into()],
        min_ready: 2,
        max_servers: 4,
        scripts: Some(Arc::new(ScriptDir { files: BTreeMap::from([("ready.sh".to_owned(), b"#!/bin/sh\n".to_vec())]) })),
        ready_script: Some("ready.sh".into()),
        ready_timeout: minutes(10),
        online_timeout: minutes(5),
        username: vec!["jenkins".into()],
        user_home: "/home/jenkins".into(),
        private_key: PathBuf::from("/etc/poolkeeper/id_ed25519"),
        ssh_port: 22,
        user_data: None,
        executors: 1,
        single_use: true,
        used_when: vec![UsedWhen::Gearman],
        agent: Agent {
            launcher: Launcher::Inbound { start: None },
            remote_fs: "/home/jenkins/workspace".into(),
            mode: AgentMode::Exclusive,
        },
        check_interval: minutes(5),
        max_ready_age: None,
        paused: None,
    }
}
