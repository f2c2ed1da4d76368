//! kill -9 of the real binary at every single call of an `apply`, before the call has its effect and after: whatever was
//! left half done, the next run ends with exactly what was wanted.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use jiff::SignedDuration;
use poolkeeper::observed::{Computer, Mark};
use poolkeeper::run::sleep;
use poolkeeper::sandbox::{Drop, Fate, ScriptFate, Stop};

use crate::served::{Served, Shape};

/// A deployment's way to a beginning, and what must be there when a run (or a killed one and another) is over.
struct Story {
    served: fn() -> Served,
    begin: fn(&Served) -> Scene,
    check: fn(&Served, &Scene) -> Result<(), String>,
    /// Every call of a whole run that changes something.
    changes: &'static [Change],
}

/// How calls begin and end in the sandbox's words, and how many a whole run makes.
type Change = (&'static str, &'static str, u64);

const LOGIN: Change = ("POST", "/auth/tokens", 1);
const CREATE: Change = ("POST", "/servers", 1);
const PUSH: Change = ("ssh push", "", 1);
const START: Change = ("ssh start", "start", 1);
const REGISTER: Change = ("POST", "/doCreateItem", 1);
const START_AGENT: Change = ("ssh start-agent", "", 1);
const DELETE: Change = ("DELETE", "", 1);

/// The nodes that a story speaks of.
#[derive(Default)]
struct Scene {
    gone: Vec<String>,
    stays: Vec<String>,
}

/// More calls than any of the stories makes: a run that never gets to its end is not tried for ever.
const TOO_MANY: u64 = 150;

/// Worlds at one time. Half of a run is waiting for the other side.
const WORKERS: usize = 3;

/// Kills at call 1, 2, 3 and so on, until a run ends before its call comes. A reading call leaves the same world, dropped
/// before or after; the changing ones, whose numbers vary where chains run side by side, are met by their words as well.
fn kill_at_every_call(story: &Story) {
    assert_eq!(changes(story), story.changes.iter().map(|(_, _, times)| times).sum::<u64>(), "a changing call is not listed");
    let change = |(begins, ends, times): &Change| {
        let (begins, ends) = (*begins, *ends);
        let stops = (0..*times).map(move |after| Stop::Like { begins, ends, after });
        stops.flat_map(|stop| [(stop.clone(), Drop::BeforeEffect), (stop, Drop::AfterEffect)])
    };
    let changes: Vec<(Stop, Drop)> = story.changes.iter().flat_map(change).collect();
    let (next_change, next_call) = (AtomicUsize::new(0), AtomicU64::new(0));
    let ends = Mutex::new(Vec::new());
    let work = || {
        while let Some((stop, drop)) = changes.get(next_change.fetch_add(1, Ordering::Relaxed)) {
            assert!(kill_at(story, stop, *drop), "a whole run does not come to {stop:?}");
        }
        loop {
            let call = next_call.fetch_add(1, Ordering::Relaxed);
            assert!(call < TOO_MANY, "a run of this story never gets to its end");
            if !kill_at(story, &Stop::Like { begins: "", ends: "", after: call }, Drop::BeforeEffect) {
                ends.lock().expect("the ends").push(call);
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().expect("a story that ends well");
        }
    });
    // Each worker went on until a run ended before it was killed: every lower number was killed at.
    let ends = ends.into_inner().expect("the ends");
    assert_eq!(ends.len(), WORKERS);
    assert!(ends.iter().all(|end| *end > 20), "a whole run makes more calls than {ends:?}");
}

fn served() -> Served {
    Served::new(Shape { providers: 1, targets: 1, pools: 1, min_ready: 1 })
}

/// How many changing calls a whole run makes.
fn changes(story: &Story) -> u64 {
    let calls = calls(story);
    let reads = |call: &&String| {
        call.starts_with("GET ") || ["ssh connect", "ssh look"].contains(&call.as_str()) || call.ends_with("/action")
    };
    (calls.len() - calls.iter().filter(reads).count()) as u64
}

/// Every call of a whole run, in words.
fn calls(story: &Story) -> Vec<String> {
    let served = (story.served)();
    (story.begin)(&served);
    served.world.with(|state| state.faults.record = Some(Vec::new()));
    served.done(&["apply", "--yes"], "a whole run");
    served.world.with(|state| state.faults.record.take()).unwrap_or_default()
}

/// One world: a run that is killed at this call, then a run until all is done. False: it ended before.
fn kill_at(story: &Story, stop: &Stop, drop: Drop) -> bool {
    let served = (story.served)();
    let scene = (story.begin)(&served);
    let world = &served.world;
    world.with(|state| {
        state.faults.silent = true;
        state.faults.stop_at(stop.clone(), drop);
    });
    let child = served.poolkeeper(&["apply", "--yes"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    end(child.expect("the binary"), || world.stopped());
    let at = world.stopped_at();
    world.resume();
    let when = format!("{drop:?}, {stop:?}: {}", at.as_deref().unwrap_or("beyond its end"));
    let said = if at.is_some() { served.done(&["apply", "--yes", "--until-converged"], &when) } else { String::new() };
    if let Err(why) = common(&served).and_then(|()| (story.check)(&served, &scene)) {
        panic!("{when}: {why}\n{said}\n{:#?}", world.with(|state| state.log.clone()));
    }
    at.is_some()
}

/// To its own end, or to SIGKILL as soon as the server says nothing any more.
pub(crate) fn end(mut child: Child, silent: impl Fn() -> bool) {
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            assert!(status.success(), "{status}");
            return;
        }
        if silent() {
            child.kill().expect("a child that runs");
            child.wait().expect("a killed child");
            return;
        }
        sleep(SignedDuration::from_millis(1));
    }
}

/// True at the end of every story.
fn common(served: &Served) -> Result<(), String> {
    let world = &served.world;
    let plan = served.plan(world.now());
    let left: Vec<_> = plan.chains.iter().map(|chain| (&chain.subject, &chain.because)).collect();
    let gaps: Vec<_> = plan.gaps.iter().map(ToString::to_string).collect();
    let killed = world.with(|state| state.killed_builds.clone());
    let mut starts: BTreeMap<String, usize> = BTreeMap::new();
    world.with(|state| {
        for change in state.log.iter().filter(|change| change.kind == "start-script") {
            *starts.entry(change.name.clone()).or_default() += 1;
        }
    });
    ensure(left.is_empty(), || format!("left to do: {left:?}"))?;
    ensure(gaps.is_empty(), || format!("unseen: {gaps:?}"))?;
    ensure(killed.is_empty(), || format!("builds were killed: {killed:?}"))?;
    ensure(starts.values().all(|times| *times == 1), || format!("scripts started: {starts:?}"))?;
    // By name: two servers of one name would be seen here.
    let (created, scripts) = (count(served, "create-server"), starts.len());
    ensure(created == scripts, || format!("{created} servers were made, {scripts} ran their script"))
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

fn count(served: &Served, kind: &str) -> usize {
    served.world.with(|state| state.log.iter().filter(|change| change.kind == kind).count())
}

fn agents(served: &Served) -> Vec<Computer> {
    served.world.agents(&"ci-0".into())
}

/// Exactly so many servers created, agents created, agents deleted, servers deleted since the world began.
fn made(served: &Served, wanted: [usize; 4]) -> Result<(), String> {
    let kinds = ["create-server", "create-agent", "delete-agent", "delete-server"];
    let seen = kinds.map(|kind| count(served, kind));
    ensure(seen == wanted, || format!("{kinds:?}: {seen:?} instead of {wanted:?}"))
}

/// So many nodes and no more, each a server with its agent, all online.
fn nodes(served: &Served, wanted: usize, scene: &Scene) -> Result<(), String> {
    let servers = served.servers("cloud-0");
    let agents = agents(served);
    let names: Vec<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
    ensure(servers.len() == wanted && servers == names, || format!("servers {servers:?}, agents {names:?}"))?;
    ensure(agents.iter().all(Computer::online), || format!("not online: {agents:?}"))?;
    ensure(scene.stays.iter().all(|name| servers.contains(name)), || format!("{servers:?} without {:?}", scene.stays))?;
    ensure(!scene.gone.iter().any(|name| servers.contains(name)), || format!("{servers:?} with {:?}", scene.gone))
}

#[test]
fn an_empty_cloud_becomes_one_ready_node() {
    kill_at_every_call(&Story {
        served,
        begin: |_| Scene::default(),
        check: |served, scene| nodes(served, 1, scene).and_then(|()| made(served, [1, 1, 0, 0])),
        // The marks: its host key, `joining`, `joined`.
        changes: &[LOGIN, CREATE, ("POST", "/metadata", 3), PUSH, START, REGISTER, START_AGENT],
    });
}

/// A build runs on its neighbour all the time.
#[test]
fn a_used_node_is_deleted_and_replaced() {
    kill_at_every_call(&Story {
        served,
        begin: |served| {
            let target = "ci-0".into();
            served.converge();
            let busy = served.servers("cloud-0");
            served.world.start_gearman_build(&target, &busy[0], 3600).expect("a build");
            served.converge();
            let used: Vec<String> = served.servers("cloud-0").into_iter().filter(|name| !busy.contains(name)).collect();
            served.world.start_gearman_build(&target, &used[0], 1).expect("a build");
            served.world.tick(2);
            assert_eq!((busy.len(), used.len()), (1, 1));
            Scene { gone: used, stays: busy }
        },
        check: |served, scene| {
            let busy: Vec<String> =
                agents(served).into_iter().filter(|agent| agent.busy).map(|agent| agent.name.to_string()).collect();
            ensure(busy == scene.stays, || format!("busy: {busy:?}"))?;
            nodes(served, 2, scene).and_then(|()| made(served, [3, 3, 1, 1]))
        },
        // The marks: `used`, `retire`, and those of the new node.
        changes: &[LOGIN, CREATE, ("POST", "/metadata", 5), ("POST", "/doDelete", 1), DELETE, PUSH, START, REGISTER, START_AGENT],
    });
}

fn next_one_fails(served: &Served) {
    let script = ScriptFate::Exits { status: 1, output: "E: Unable to fetch some archives".to_owned() };
    served.world.next_fate(Fate { script, ..Fate::default() });
}

#[test]
fn a_node_whose_ready_script_fails_is_kept_as_the_mark_of_its_failure() {
    kill_at_every_call(&Story {
        served,
        begin: |served| {
            next_one_fails(served);
            Scene::default()
        },
        check: |served, _| {
            let servers = served.world.servers(&"cloud-0".into());
            let failed = servers.iter().filter(|server| server.metadata.contains_key(Mark::Failed.key())).count();
            ensure((servers.len(), failed) == (1, 1), || format!("{servers:#?}"))?;
            made(served, [1, 0, 0, 0])
        },
        // The marks: its host key, `failed`.
        changes: &[LOGIN, CREATE, ("POST", "/metadata", 2), PUSH, START],
    });
}

#[test]
fn after_its_back_off_the_next_try_takes_its_place() {
    kill_at_every_call(&Story {
        served,
        begin: |served| {
            next_one_fails(served);
            served.converge();
            let failed = served.world.servers(&"cloud-0".into());
            // Its back-off (a minute from its creation) passes.
            let earlier = failed[0].created - SignedDuration::from_mins(5);
            assert!(served.world.change_server(&failed[0].id, |server| server.created = earlier));
            Scene { gone: vec![failed[0].name.to_string()], stays: Vec::new() }
        },
        check: |served, scene| {
            let tries: Vec<_> = served.world.servers(&"cloud-0".into()).into_iter().map(|server| server.metadata).collect();
            let second = tries.iter().all(|marks| marks.get(Mark::Try.key()).is_some_and(|attempt| attempt == "2"));
            ensure(second, || format!("no second try: {tries:?}"))?;
            nodes(served, 1, scene).and_then(|()| made(served, [2, 1, 0, 1]))
        },
        // The marks: those of the new node, `retire` of the old one.
        changes: &[LOGIN, CREATE, ("POST", "/metadata", 4), DELETE, PUSH, START, REGISTER, START_AGENT],
    });
}

/// Nova's one path for consoles and for images: by words, they cannot be told apart.
fn kill_after_every_action(story: &Story) {
    let actions = calls(story).iter().filter(|call| call.ends_with("/action")).count() as u64;
    assert!(actions > 0);
    for after in 0..actions {
        kill_at(story, &Stop::Like { begins: "POST", ends: "/action", after }, Drop::AfterEffect);
    }
}

#[test]
fn a_base_image_becomes_a_snapshot_and_the_snapshot_a_ready_node() {
    let story = Story {
        served: || served().with_snapshot(),
        begin: |_| Scene::default(),
        check: |served, scene| {
            let images = served.world.with(|state| state.clouds.values().map(|cloud| cloud.images.len()).sum::<usize>());
            ensure(images == 2, || format!("{images} images with the base"))?;
            nodes(served, 1, scene).and_then(|()| made(served, [2, 1, 0, 1]))
        },
        // The marks: host key, `built` and `retire` of the builder; those of the node.
        changes: &[
            LOGIN,
            ("POST", "/servers", 2),
            ("POST", "/metadata", 6),
            ("ssh push", "", 2),
            ("ssh start", "start", 2),
            ("ssh turn-off", "", 1),
            ("PATCH", "", 1),
            DELETE,
            REGISTER,
            START_AGENT,
        ],
    };
    kill_at_every_call(&story);
    kill_after_every_action(&story);
}
