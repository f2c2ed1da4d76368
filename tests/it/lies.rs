//! Worlds that lie for a moment, or that would turn a run in circles.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use jiff::{SignedDuration, Timestamp};
use poolkeeper::desired::Desired;
use poolkeeper::execute::ChainResult;
use poolkeeper::observed::{Answer, Ask, Fresh, Gap, Lists, Object, Observed, ServerStatus, Source};
use poolkeeper::plan::{Act, Chain, Plan, WaitsFor};
use poolkeeper::run::{Audience, Ended, Options, Outside, Summary, run};
use poolkeeper::sandbox::{AgentFate, Delays, Fate, Generation, Sandbox};
use poolkeeper::world::{ActError, Done, World};

use crate::scene::{PROVIDER, Scene};

/// The sandbox, but for what it keeps back.
struct Liar<'a> {
    world: &'a Sandbox,
    /// So many lists of agents are empty.
    empty_lists: AtomicU32,
    no_networks: bool,
}

impl World for Liar<'_> {
    fn lists(&self, desired: &Desired) -> Lists {
        let mut lists = self.world.lists(desired);
        let take = |left: u32| left.checked_sub(1);
        if self.empty_lists.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
            lists.targets.values_mut().flatten().for_each(|list| list.computers.clear());
        }
        lists
    }

    fn answer(&self, ask: &Ask) -> Result<Answer, Gap> {
        if self.no_networks && matches!(ask, Ask::Networks(_)) {
            let source = Source::Provider(PROVIDER.into());
            return Err(Gap { source, tried: "GET /networks".into(), answered: "HTTP 503".into(), hint: None });
        }
        self.world.answer(ask)
    }

    fn read(&self, object: &Object) -> Result<Fresh, Gap> {
        self.world.read(object)
    }

    fn act(&self, act: &Act) -> Result<Done, ActError> {
        self.world.act(act)
    }
}

/// Ends a run after so many passes.
struct Passes<'a>(&'a Scene, u32);

impl Audience for Passes<'_> {
    fn looked(&self, observed: &Observed, plan: &Plan, now: Timestamp) {
        self.0.looked(observed, plan, now);
    }

    fn approve(&self, _plan: &Plan, pass: u32) -> bool {
        pass <= self.1
    }

    fn chain(&self, _chain: &Chain, _result: &ChainResult) {}
}

fn go(scene: &Scene, world: &dyn World, passes: u32) -> Summary {
    let options = Options { deadline: Some(SignedDuration::from_secs(50)), ..Options::default() };
    let pause = |time: SignedDuration| scene.world.tick(u32::try_from(time.as_secs().max(1)).unwrap_or(1));
    let (clock, stopped) = (|| scene.world.now(), AtomicBool::new(false));
    let outside = Outside { clock: &clock, pause: &pause, stopped: &stopped };
    run(&scene.desired, world, &options, outside, &Passes(scene, passes)).expect("the lock is free")
}

fn filled(count: u32) -> Scene {
    let mut scene = Scene::new(Generation::J2_462);
    scene.pool().min_ready = count;
    scene.pool().max_servers = count;
    scene.converge();
    assert_eq!(scene.names().len(), count as usize);
    scene
}

#[test]
fn one_empty_list_of_agents_retires_nobody() {
    for count in [2, 6] {
        let scene = filled(count);
        let before = scene.names();
        go(&scene, &Liar { world: &scene.world, empty_lists: AtomicU32::new(1), no_networks: false }, 1);
        assert!(scene.servers().iter().all(|server| !server.metadata.contains_key("poolkeeper_retire")), "{count}");
        scene.converge();
        assert_eq!(scene.names(), before);
        scene.assert_settled();
    }
}

#[test]
fn builds_outlive_a_loss_of_most_agents_at_one_time() {
    let scene = filled(6);
    let names = scene.names();
    for name in &names {
        scene.world.start_build(&Scene::target(), name, 7200).expect("idle");
    }
    scene.timer();
    scene.world.set_delays(Delays { agent: 100_000, ..Delays::default() });
    let each = |change: fn(&mut poolkeeper::sandbox::jenkins::Node, jiff::Timestamp), names: &[String]| {
        scene.world.with(|state| {
            let now = state.clock.now();
            let nodes = &mut state.jenkins.values_mut().next().expect("a target").nodes;
            for name in names {
                change(nodes.get_mut(name.as_str()).expect("an agent"), now);
            }
        });
    };
    each(poolkeeper::sandbox::jenkins::Node::lose_channel, &names);
    scene.timer();
    scene.world.tick(900);
    scene.timer();
    assert!(scene.servers().iter().all(|server| !server.metadata.contains_key("poolkeeper_lost")), "nobody's grace began");
    // Three come back; for the others the grace begins now.
    each(|node, _| node.connect(), &names[..3]);
    scene.timer();
    assert!(names.iter().all(|name| scene.names().contains(name)));
    assert!(scene.world.with(|state| state.killed_builds.is_empty()));
}

#[test]
fn a_shutoff_server_whose_agent_still_looks_online_turns_no_run_in_circles() {
    let scene = filled(1);
    let id = scene.servers()[0].id.clone();
    scene.world.change_server(&id, |server| server.status = ServerStatus::Shutoff);
    let summary = go(&scene, &scene.world, 100);
    assert!(summary.passes < 40, "{} passes in 50 s", summary.passes);
}

#[test]
fn an_agent_that_dies_at_once_is_started_twice_a_run_at_most() {
    let mut scene = Scene::new(Generation::J2_462);
    scene.pool().min_ready = 1;
    scene.world.next_fate(Fate { agent: AgentFate::Dies, ..Fate::default() });
    go(&scene, &scene.world, 300);
    let starts = scene.world.with(|state| state.log.iter().filter(|change| change.kind == "start-agent").count());
    assert!((1..=2).contains(&starts), "{starts}");
}

#[test]
fn what_a_create_needs_and_is_not_answered_is_a_gap_and_ends_the_run() {
    let scene = Scene::new(Generation::J2_462);
    let summary = go(&scene, &Liar { world: &scene.world, empty_lists: AtomicU32::new(0), no_networks: true }, 100);
    assert_eq!((summary.created, summary.ended), (0, Some(Ended::Converged)));
    let plan = summary.last.expect("a plan");
    assert!(matches!(plan.pools[0].waits_for, Some(WaitsFor::Gap(_))), "{:?}", plan.pools);
}
