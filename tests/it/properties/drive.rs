//! Plays events on the in-memory world with the real run loop, and holds every plan and every state against what must be true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use jiff::{SignedDuration, Timestamp};
use poolkeeper::desired::Desired;
use poolkeeper::execute::ChainResult;
use poolkeeper::names::{ProviderName, ServerId, TargetName};
use poolkeeper::observe::observe;
use poolkeeper::observed::{Mark, Observed, Server, ServerStatus, Source, ThisRun};
use poolkeeper::plan::{Chain, Plan, WaitsFor, plan};
use poolkeeper::run::{Audience, Options, Outside, run};
use poolkeeper::sandbox::{Drop as Dropped, Generation, Sandbox, State};

use crate::audited::{audited, brief, planned};

use super::deployment::{DONE, NETWORK, Shape, pool_name};
use super::events::{Deed, Event, Kind, Pick};

const DEADLINE: SignedDuration = SignedDuration::from_secs(50);

pub(super) struct Drive {
    desired: Mutex<Desired>,
    pub(super) world: Sandbox,
    generation: Generation,
    pub(super) guarded: Mutex<Guarded>,
    /// What happens in the run that goes on, and before which pass's acts.
    meanwhile: Mutex<Vec<(u8, Deed)>>,
    pass: AtomicU32,
    _lock: tempfile::TempDir,
}

/// A held server as it was.
pub(super) struct Held {
    pub(super) server: Server,
    /// An agent was there.
    pub(super) agent: bool,
    pub(super) until: Timestamp,
}

/// What nobody of ours may touch.
#[derive(Default)]
pub(super) struct Guarded {
    pub(super) held: BTreeMap<ServerId, Held>,
    /// Marked offline by a person, and nothing since.
    pub(super) kept: BTreeSet<String>,
    pub(super) strangers: Vec<(ProviderName, Server)>,
    pub(super) strange_agents: Vec<(TargetName, String)>,
}

/// How much happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tally {
    pub(super) creates: usize,
    pub(super) deletes: usize,
    pub(super) builds: usize,
    pub(super) failed: usize,
}

fn pick<T: Clone>(from: &[T], which: Pick) -> Option<T> {
    if from.is_empty() { None } else { from.get(usize::from(which) % from.len()).cloned() }
}

impl Drive {
    pub(super) fn new(shape: &Shape) -> Self {
        let lock = tempfile::tempdir().expect("a directory");
        let desired = shape.desired(lock.path().join("lock"));
        let start: Timestamp = "2026-11-25T10:00:00Z".parse().expect("a time");
        let world = Sandbox::for_desired(&desired, shape.generation, start, 1);
        world.with(|state| state.clouds.values_mut().for_each(|cloud| cloud.limits.instances = shape.quota));
        if shape.floating_ips {
            for provider in desired.controller.providers.keys() {
                world.add_external_network(provider, NETWORK).expect("the provider");
                world.add_floating_ip(provider, "somebody's").expect("the provider");
            }
        }
        let drive = Self {
            desired: Mutex::new(desired),
            world,
            generation: shape.generation,
            guarded: Mutex::default(),
            meanwhile: Mutex::default(),
            pass: AtomicU32::new(0),
            _lock: lock,
        };
        if shape.filled {
            drive.apply(0);
        }
        drive
    }

    pub(super) fn desired(&self) -> Desired {
        self.desired.lock().expect("no panic").clone()
    }

    fn providers(&self) -> Vec<ProviderName> {
        self.desired().controller.providers.into_keys().collect()
    }

    pub(super) fn targets(&self) -> Vec<TargetName> {
        self.desired().controller.targets.into_keys().collect()
    }

    /// Every server of ours.
    pub(super) fn servers(&self) -> Vec<(ProviderName, Server)> {
        let ours = |server: &Server| server.metadata.get(Mark::Controller.key()).is_some_and(|id| id == "contint");
        let of = |provider: ProviderName| self.world.servers(&provider).into_iter().map(move |server| (provider.clone(), server));
        self.providers().into_iter().flat_map(of).filter(|(_, server)| ours(server)).collect()
    }

    pub(super) fn tally(&self) -> Tally {
        self.world.with(|state| {
            let count = |kind: &str, detail: &str| {
                state.log.iter().filter(|change| change.kind == kind && change.detail.contains(detail)).count()
            };
            let builds = state.jenkins.values().map(|jenkins| jenkins.builds_started as usize).sum();
            let failed = count("set-marks", Mark::Failed.key());
            Tally { creates: count("create-server", ""), deletes: count("delete-server", ""), builds, failed }
        })
    }

    pub(super) fn happen(&self, event: &Event) {
        match event {
            Event::Run { skew, meanwhile } => {
                self.meanwhile.lock().expect("no panic").clone_from(meanwhile);
                self.apply(*skew);
                self.meanwhile.lock().expect("no panic").clear();
            }
            Event::KilledRun { call, done } => {
                self.world.stop_after(*call, if *done { Dropped::AfterEffect } else { Dropped::BeforeEffect });
                self.apply(0);
                self.world.resume();
            }
            Event::Tick(seconds) => self.world.tick(*seconds),
            Event::Deed(deed) => self.deed(deed, false),
            Event::NextFate(fate) => self.world.next_fate(fate.clone()),
            Event::Outage { target, which } => {
                let targets = self.targets().into_iter().map(Source::Target);
                let providers = self.providers().into_iter().map(Source::Provider);
                let sources: Vec<Source> = if *target { targets.collect() } else { providers.collect() };
                self.world.begin_outage(pick(&sources, *which).expect("one"), "HTTP 503");
            }
            Event::OutagesEnd => self.world.with(|state| state.faults.outages.clear()),
            Event::MinReady { pool, wanted } => self.change_pool(*pool, |pool| pool.min_ready = (*wanted).min(pool.max_servers)),
            Event::NewLabel { pool } => self.change_pool(*pool, |pool| pool.labels.push(format!("l{}", pool.labels.len()))),
            Event::NewImage { provider } => {
                let provider = pick(&self.providers(), *provider).expect("one");
                self.world.add_image(&provider, "image-ci-jessie").expect("the provider");
            }
            Event::Stranger { kind, provider } => self.stranger(*kind, *provider),
            Event::StrangeAgent { target } => {
                let target = pick(&self.targets(), *target).expect("one");
                let mut guarded = self.guarded.lock().expect("no panic");
                let name = format!("by-hand-{}", guarded.strange_agents.len());
                self.world.add_agent(&target, &name, "an agent of somebody");
                guarded.strange_agents.push((target, name));
            }
        }
        self.check();
    }

    fn change_pool(&self, which: Pick, change: impl FnOnce(&mut poolkeeper::desired::Pool)) {
        let mut desired = self.desired.lock().expect("no panic");
        let at = usize::from(which) % desired.pools.len();
        change(desired.pools.get_mut(&pool_name(at)).expect("the pool"));
    }

    fn stranger(&self, kind: u8, provider: Pick) {
        let provider = pick(&self.providers(), provider).expect("one");
        let other = [("poolkeeper_controller", "other"), ("poolkeeper_role", "node"), ("poolkeeper_pool", "ci-0")];
        let ours = self.servers().first().map(|(_, server)| server.name.to_string());
        let (name, marks) = match kind {
            0 => ("debug-trusty".to_owned(), &[][..]),
            1 => ("ci-0-1".to_owned(), &other[..]),
            _ => (ours.unwrap_or_else(|| "ci-0-2".to_owned()), &other[..]),
        };
        let id = self.world.add_server(&provider, &name, marks).expect("planted");
        let server = self.world.server(&provider, &id).expect("planted");
        self.guarded.lock().expect("no panic").strangers.push((provider, server));
    }

    /// `in_a_run`: between a plan and its acts.
    fn deed(&self, deed: &Deed, in_a_run: bool) {
        let online = |server: &Server| {
            self.targets().iter().any(|target| self.world.agent(target, &server.name).is_some_and(|agent| agent.online()))
        };
        let mut servers = self.servers();
        if deed.kind.is_of_a_working_node() {
            servers.retain(|(_, server)| online(server));
        }
        let Some((provider, server)) = pick(&servers, deed.node) else { return };
        let (name, id) = (server.name.clone(), server.id.clone());
        // A builder has none, and no agent anywhere.
        let target = server.metadata.get(Mark::Target.key()).map(|target| TargetName::from(target.as_str()));
        let target = target.or_else(|| self.targets().into_iter().next()).expect("one");
        let mut guarded = self.guarded.lock().expect("no panic");
        if !matches!(deed.kind, Kind::RestartController) {
            guarded.kept.remove(name.as_str());
        }
        let world = &self.world;
        match &deed.kind {
            Kind::Build { seconds, gearman: true } => drop(world.start_gearman_build(&target, &name, *seconds)),
            Kind::Build { seconds, gearman: false } => drop(world.start_build(&target, &name, *seconds)),
            // Hudson knows none.
            Kind::Pipeline { seconds } if self.generation == Generation::Hudson332 => {
                drop(world.start_build(&target, &name, *seconds));
            }
            Kind::Pipeline { seconds } => drop(world.start_pipeline(&target, &name, *seconds)),
            Kind::ShortBuild => world.run_short_build(&name),
            Kind::Done => world.mark_by_person(&target, &name, "jenkins", DONE),
            Kind::GearmanMark => world.mark_gearman(&target, &name),
            Kind::MonitorMark => world.mark_by_monitor(&target, &name),
            Kind::PersonMark => {
                let keeps = self.mark_by_person(&target, &server);
                // A hold that ends takes it down, whoever marked it meanwhile.
                let held = server.metadata.contains_key(Mark::Hold.key());
                if keeps && !in_a_run && !held && server.status == ServerStatus::Active {
                    guarded.kept.insert(name.to_string());
                }
            }
            Kind::Unmark => world.unmark(&target, &name),
            Kind::LoseChannel => world.lose_channel(&target, &name),
            Kind::RestartController => {
                guarded.kept.clear();
                world.restart_controller(&target);
            }
            Kind::Hold if !server.is_deleting() => self.hold(&mut guarded, (&provider, &target), &server, None),
            Kind::HoldFor(seconds) if !server.is_deleting() => {
                let until = world.now() + SignedDuration::from_secs(i64::from(*seconds));
                self.hold(&mut guarded, (&provider, &target), &server, Some(until));
            }
            Kind::ServerGone => {
                guarded.held.remove(&id);
                // A build on it dies with it, and by nobody's later call.
                world.lose_channel(&target, &name);
                world.with(|state| {
                    state.clouds.get_mut(&provider).expect("it").servers.remove(&id);
                    state.machines.remove(&id);
                });
            }
            Kind::AgentGone => {
                guarded.held.entry(id).and_modify(|held| held.agent = false);
                world.with(|state| state.jenkins.get_mut(&target).expect("it").nodes.remove(name.as_str()));
            }
            Kind::PowerOff if server.status == ServerStatus::Active => world.power(&id, false),
            Kind::PowerOn if server.status == ServerStatus::Shutoff => world.power(&id, true),
            Kind::Hold | Kind::HoldFor(_) | Kind::PowerOff | Kind::PowerOn => {}
            Kind::Status(_) if server.status == ServerStatus::Error => {}
            Kind::Status(status) => self.change_settled(&server, |server| server.status = ServerStatus::parse(status)),
            Kind::Task(task) => self.change_settled(&server, |server| server.task = task.map(str::to_owned)),
        }
    }

    /// Whether the node is the person's from then on.
    fn mark_by_person(&self, target: &TargetName, server: &Server) -> bool {
        let (world, name) = (&self.world, server.name.as_str());
        let going = [Mark::Used, Mark::Retire, Mark::Failed].iter().any(|mark| server.metadata.contains_key(mark.key()));
        let online = world.agent(target, name).is_some_and(|agent| agent.online());
        world.mark_by_person(target, name, "alice", "disk full");
        // The Gearman plugin's mark will take its place.
        let builds = |state: &mut State| Some(state.jenkins.get(target)?.nodes.get(name)?.builds.clone());
        let is_gearman = |build: &poolkeeper::sandbox::jenkins::Build| build.kind == poolkeeper::sandbox::jenkins::Kind::Gearman;
        let gearman = world.with(builds).is_some_and(|builds| builds.iter().any(is_gearman));
        online && !gearman && !going
    }

    fn hold(
        &self,
        guarded: &mut Guarded,
        (provider, target): (&ProviderName, &TargetName),
        server: &Server,
        until: Option<Timestamp>,
    ) {
        let said = until.map_or_else(|| "-".to_owned(), |until| until.to_string());
        self.world.change_server(&server.id, |server| {
            server.metadata.insert(Mark::Hold.key(), format!("alice; {said}; a look"));
            server.locked = Some(true);
        });
        let held = self.world.server(provider, &server.id).expect("it is there");
        let agent = self.world.agent(target, &server.name).is_some();
        guarded.held.insert(server.id.clone(), Held { server: held, agent, until: until.unwrap_or(Timestamp::MAX) });
    }

    fn change_settled(&self, server: &Server, change: impl FnOnce(&mut Server)) {
        if server.status != ServerStatus::Build && !server.is_deleting() {
            self.world.change_server(&server.id, change);
        }
    }

    /// The timer's `apply`.
    fn apply(&self, skew: i32) {
        let options = Options { deadline: Some(DEADLINE), ..Options::default() };
        let pause = |time: SignedDuration| self.world.tick(u32::try_from(time.as_secs().max(1)).unwrap_or(1));
        let clock = || self.world.now() + SignedDuration::from_secs(i64::from(skew));
        let stopped = AtomicBool::new(false);
        let outside = Outside { clock: &clock, pause: &pause, stopped: &stopped };
        self.pass.store(0, Ordering::Relaxed);
        run(&self.desired(), &self.world, &options, outside, self).expect("the lock is free");
        assert!(self.pass.load(Ordering::Relaxed) < 200, "a run turns in circles: {:#?}", brief(&self.plan()));
    }

    fn plan(&self) -> Plan {
        let (desired, now) = (self.desired(), self.world.now());
        planned(&desired, &observe(&self.world, &desired, &ThisRun::default(), &|| now), now)
    }

    pub(super) fn agents(&self) -> Vec<(TargetName, String)> {
        let of = |target: TargetName| {
            self.world.agents(&target).into_iter().map(move |agent| (target.clone(), agent.name.to_string()))
        };
        self.targets().into_iter().flat_map(of).collect()
    }

    /// Nothing happens any more but time and the timer: all comes to rest, and everything is accounted for.
    pub(super) fn end(&self) {
        self.world.with(|state| {
            state.faults.outages.clear();
            state.faults.next_fates.clear();
            for server in state.clouds.values_mut().flat_map(|cloud| cloud.servers.values_mut()) {
                if server.gone_at.is_none() && server.seen.status != ServerStatus::Build {
                    server.seen.task = None;
                }
            }
        });
        for round in 0..90 {
            self.apply(0);
            self.check();
            if at_rest(&self.plan()) && self.world.with(|state| builds(state) == 0) {
                break;
            }
            self.world.tick(if round < 6 { 20 } else { 120 });
        }
        let plan = self.plan();
        assert!(at_rest(&plan), "it never comes to rest: {:?}, {:?}, {:?}", brief(&plan), plan.waits, plan.pools);
        self.check_accounts(&plan);
    }
}

fn builds(state: &State) -> usize {
    state.jenkins.values().flat_map(|jenkins| jenkins.nodes.values()).map(|node| node.builds.len()).sum()
}

/// Only a person or a limit can change anything.
fn at_rest(plan: &Plan) -> bool {
    let nodes = plan.waits.iter().map(|wait| &wait.waits_for);
    let pools = plan.pools.iter().filter_map(|pool| pool.waits_for.as_ref());
    let mut waits = nodes.chain(pools);
    let settled = |waits: &WaitsFor| {
        // A try whose node is missing with most of its target's stands still until a person lifts the limit.
        let stands = matches!(waits, WaitsFor::Try { .. }) && !plan.refusals.is_empty();
        stands || matches!(waits, WaitsFor::Person(_) | WaitsFor::Limit | WaitsFor::Replacement(_)) || waits.is_for_room()
    };
    plan.is_empty() && plan.gaps.is_empty() && waits.all(settled)
}

impl Audience for Drive {
    fn looked(&self, observed: &Observed, seen: &Plan, now: Timestamp) {
        let desired = self.desired();
        audited(&desired, observed, seen, now);
        if self.pass.fetch_add(1, Ordering::Relaxed) == 0 {
            let json = |plan: &Plan| serde_json::to_string(plan).expect("JSON");
            assert_eq!(json(&plan(&desired, observed, now)), json(seen), "the same input, another plan");
            let mut reversed = observed.clone();
            for list in reversed.lists.providers.values_mut().flatten() {
                list.servers.reverse();
                list.images.reverse();
            }
            assert_eq!(json(&plan(&desired, &reversed, now)), json(seen), "the same lists in another order, another plan");
            self.check_gaps(observed, seen, now);
        }
    }

    fn approve(&self, _plan: &Plan, pass: u32) -> bool {
        let due: Vec<Deed> = {
            let mut meanwhile = self.meanwhile.lock().expect("no panic");
            let now = meanwhile.extract_if(.., |(at, _)| u32::from(*at) + 1 == pass).map(|(_, deed)| deed);
            now.collect()
        };
        for deed in &due {
            self.deed(deed, true);
        }
        true
    }

    fn chain(&self, _chain: &Chain, _result: &ChainResult) {}
}
