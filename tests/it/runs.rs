//! A run among others and in front of a person: the lock between passes, gaps, the question of `apply`, `--pool`.

use std::fs::{File, OpenOptions};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use poolkeeper::cli::{ApplyArgs, Format, PlanArgs};
use poolkeeper::commands::apply::{Console, apply};
use poolkeeper::commands::plan::plan;
use poolkeeper::commands::signals::Heard;
use poolkeeper::desired::Desired;
use poolkeeper::execute::ChainResult;
use poolkeeper::exit::Usage;
use poolkeeper::observed::{Answer, Ask, Fresh, Gap, Lists, Object, Observed, Source};
use poolkeeper::plan::{Act, Chain, Plan};
use poolkeeper::report::progress::done_line;
use poolkeeper::report::style::Style;
use poolkeeper::run::{Audience, Ended, Options, Outside, run};
use poolkeeper::sandbox::{Generation, Sandbox};
use poolkeeper::settings::{Environment, Settings, now};
use poolkeeper::world::{ActError, Done, World};

use crate::scene::{PROVIDER, Scene};

fn settings() -> Settings {
    let (style, talk) = (Style::plain(), Style::plain());
    Settings {
        desired_state: "desired-state".into(),
        verbose: 0,
        style,
        talk,
        folds: false,
        terminal: true,
        lively: false,
        env: Environment::default(),
    }
}

fn apply_args() -> ApplyArgs {
    ApplyArgs {
        yes: false,
        deadline: SignedDuration::from_secs(60),
        until_converged: false,
        allow_deletes: None,
        allow_offline: None,
        keep_failed: None,
        lock_timeout: SignedDuration::ZERO,
        pool: Vec::new(),
    }
}

/// Its `apply` with these answers: what it said.
fn answered(scene: &Scene, world: &dyn World, answers: &str) -> String {
    let (mut out, answers) = (Vec::new(), Mutex::new(answers.split_inclusive('\n')));
    let stopped = AtomicBool::new(false);
    let answer = |ask: &mut dyn FnMut()| {
        ask();
        Heard::Line(answers.lock().expect("no panic").next().unwrap_or_default().to_owned())
    };
    let console = Console { out: &mut out, answer: Some(&answer), stopped: &stopped, calls: &|| 0 };
    apply(&apply_args(), &settings(), &scene.desired, world, console).expect("a code");
    String::from_utf8(out).expect("text")
}

#[test]
fn another_run_between_two_passes_is_waited_for() {
    let scene = Scene::new(Generation::J2_462);
    let path = scene.desired.controller.lock_file.clone();
    let other: Mutex<(u32, Option<File>)> = Mutex::default();
    // The other one takes the lock in the first pause, and lets it go in the fifth.
    let pause = |time: SignedDuration| {
        scene.world.tick(u32::try_from(time.as_secs().max(1)).unwrap_or(1));
        let mut other = other.lock().unwrap_or_else(PoisonError::into_inner);
        other.0 += 1;
        if other.0 == 1 {
            let file = OpenOptions::new().append(true).open(&path).expect("made by the first pass");
            file.try_lock().expect("nobody holds it in a pause");
            other.1 = Some(file);
        } else if other.0 == 5 {
            other.1 = None;
        }
    };
    let (clock, stopped) = (|| scene.world.now(), AtomicBool::new(false));
    let outside = Outside { clock: &clock, pause: &pause, stopped: &stopped };
    let summary = run(&scene.desired, &scene.world, &Options::default(), outside, &scene).expect("what it began, it ends");
    assert_eq!((summary.created, summary.ended), (2, Some(Ended::Converged)));
    scene.assert_settled();
}

#[test]
fn a_run_that_gets_no_second_pass_still_says_what_it_did() {
    let scene = Scene::new(Generation::J2_462);
    let path = scene.desired.controller.lock_file.clone();
    let other: Mutex<Option<File>> = Mutex::default();
    let pause = |time: SignedDuration| {
        scene.world.tick(u32::try_from(time.as_secs().max(1)).unwrap_or(1));
        let mut other = other.lock().unwrap_or_else(PoisonError::into_inner);
        if other.is_none() {
            let file = OpenOptions::new().append(true).open(&path).expect("made by the first pass");
            file.try_lock().expect("nobody holds it in a pause");
            *other = Some(file);
        }
    };
    let (clock, stopped) = (|| scene.world.now(), AtomicBool::new(false));
    let outside = Outside { clock: &clock, pause: &pause, stopped: &stopped };
    let options = Options { deadline: Some(SignedDuration::from_secs(50)), ..Options::default() };
    let summary = run(&scene.desired, &scene.world, &options, outside, &scene).expect("it has begun");
    assert_eq!((summary.created, summary.ended), (2, Some(Ended::Deadline)));
    assert!(summary.last.as_ref().is_some_and(|plan: &Plan| !plan.pools.is_empty()));
}

/// Lists that took longer than the deadline: nothing was begun, and that is not "nothing can be done".
#[test]
fn a_deadline_that_passes_before_anything_is_begun_is_told() {
    let scene = Scene::new(Generation::J2_462);
    let summary = scene.run_with(&Options { deadline: Some(SignedDuration::ZERO), ..Options::default() });
    assert_eq!((summary.created, summary.left, summary.ended), (0, 2, Some(Ended::Deadline)));
    let said = scene.said.lock().expect("words").clone();
    assert_eq!(said.lines().filter(|line| line.starts_with("left   ci-jessie-")).count(), 2, "{said}");
    assert!(done_line(&summary, 3, SignedDuration::from_secs(2)).ends_with(
        "0 created, 0 deleted, 2 left, 1 pass, 3 calls, 2.0s; its deadline passed, the next run takes up what is left\n"
    ));
    scene.converge();
    scene.assert_settled();
}

#[test]
fn a_gap_fails_nothing() {
    let mut scene = Scene::new(Generation::J2_462);
    scene.pool().min_ready = 1;
    scene.world.begin_outage(Source::Target(Scene::target()), "connect timed out after 10s");
    let summary = scene.timer();
    assert_eq!((summary.created, summary.failed), (1, 0), "registration waits: that is no failure");
    scene.world.end_outage(&Source::Target(Scene::target()));
    scene.converge();
    scene.assert_settled();
}

/// Half a minute goes by after each look at it.
struct Later<'a>(&'a Sandbox);

impl World for Later<'_> {
    fn lists(&self, desired: &Desired) -> Lists {
        let lists = self.0.lists(desired);
        self.0.tick(30);
        lists
    }
    fn answer(&self, ask: &Ask) -> Result<Answer, Gap> {
        self.0.answer(ask)
    }
    fn read(&self, object: &Object) -> Result<Fresh, Gap> {
        self.0.read(object)
    }
    fn act(&self, act: &Act) -> Result<Done, ActError> {
        self.0.act(act)
    }
}

/// Says yes to the first pass alone.
struct Once<'a>(&'a Scene);

impl Audience for Once<'_> {
    fn looked(&self, observed: &Observed, plan: &Plan, now: Timestamp) {
        self.0.looked(observed, plan, now);
    }

    fn approve(&self, _plan: &Plan, pass: u32) -> bool {
        pass == 1
    }
    fn chain(&self, _chain: &Chain, _result: &ChainResult) {}
}

#[test]
fn a_person_is_asked_before_the_first_change_whichever_pass_makes_it() {
    let mut scene = Scene::new(Generation::J2_462);
    // `apply` looks at the wall's clock.
    scene.world = Sandbox::for_desired(&scene.desired, Generation::J2_462, now(), 1);
    let (clock, stopped) = (|| scene.world.now(), AtomicBool::new(false));
    let outside = Outside { clock: &clock, pause: &|_| {}, stopped: &stopped };
    run(&scene.desired, &scene.world, &Options::default(), outside, &Once(&scene)).expect("the lock is free");
    assert_eq!(scene.names().len(), 2);
    assert!(scene.plan().is_empty(), "they boot, and nothing is to be done now");

    let said = answered(&scene, &Later(&scene.world), "n\n");
    assert!(said.ends_with("Apply? [y/N] contint: nothing was changed\n"), "{said}");
    assert!(scene.servers().iter().all(|server| !server.metadata.contains_key("poolkeeper_hostkey")));
}

#[test]
fn a_gap_that_stays_is_said_once_also_where_a_person_was_asked() {
    let mut scene = Scene::new(Generation::J2_462);
    scene.world = Sandbox::for_desired(&scene.desired, Generation::J2_462, now(), 1);
    scene.world.begin_outage(Source::Target(Scene::target()), "connect timed out after 10s");
    let said = answered(&scene, &Later(&scene.world), "y\n");
    assert_eq!(said.matches("was not seen").count(), 1, "{said}");
    assert_eq!(scene.names().len(), 2, "{said}");
}

/// Reads a plan for ten minutes, in which others go on, and says yes.
struct Reader<'a> {
    scene: &'a Scene,
    asked: AtomicBool,
}

impl Audience for Reader<'_> {
    fn asks(&self, plan: &Plan) -> bool {
        !plan.is_empty() && !self.asked.swap(true, Ordering::Relaxed)
    }
    fn approve(&self, plan: &Plan, pass: u32) -> bool {
        if pass == 1 {
            assert_eq!(plan.chains.len(), 2);
            assert_eq!(self.scene.converge().created, 2, "the lock is free");
            let gone = self.scene.servers().pop().expect("two").id;
            self.scene.world.with(|state| state.delete_server(&PROVIDER.into(), &gone)).expect("a person deletes it");
            self.scene.world.tick(600);
        }
        true
    }
    fn chain(&self, _chain: &Chain, _result: &ChainResult) {}
}

#[test]
fn while_a_person_reads_the_lock_is_free_and_the_world_is_looked_at_again_after() {
    let scene = Scene::new(Generation::J2_462);
    let (clock, stopped) = (|| scene.world.now(), AtomicBool::new(false));
    let outside = Outside { clock: &clock, pause: &|_| scene.world.tick(2), stopped: &stopped };
    let options = Options { deadline: Some(SignedDuration::from_secs(50)), ..Options::default() };
    let reader = Reader { scene: &scene, asked: AtomicBool::new(false) };
    let summary = run(&scene.desired, &scene.world, &options, outside, &reader).expect("the lock is free");
    assert_eq!((summary.created, summary.ended), (1, Some(Ended::Converged)), "the other run made two, of which one went");
}

#[test]
fn an_end_instead_of_an_answer_is_a_no_on_a_line_of_its_own() {
    let scene = Scene::new(Generation::J2_462);
    for answer in ["", "n\n", "maybe\n"] {
        let said = answered(&scene, &scene.world, answer);
        assert!(said.ends_with("contint: nothing was changed\n"), "{said}");
        assert_eq!(said.ends_with("[y/N] \ncontint: nothing was changed\n"), answer.is_empty(), "{said}");
    }
    assert!(scene.names().is_empty());
}

#[test]
fn a_pool_that_is_not_there_is_a_slip_of_the_pen() {
    let scene = Scene::new(Generation::J2_462);
    let args = PlanArgs {
        format: Format::Text,
        exit_code: false,
        allow_deletes: None,
        allow_offline: None,
        pool: vec!["ci-jesie".into()],
    };
    let error = plan(&args, &settings(), &scene.desired, &scene.world, &mut Vec::new()).expect_err("no such pool");
    assert_eq!(error.to_string(), "--pool ci-jesie: there is no such pool; did you mean `ci-jessie`?");
    assert!(error.downcast_ref::<Usage>().is_some());
}

/// Says yes to the first plan that does something.
struct Yes(AtomicBool);

impl Audience for Yes {
    fn asks(&self, plan: &Plan) -> bool {
        !plan.is_empty() && !self.0.swap(true, Ordering::Relaxed)
    }
    fn approve(&self, _plan: &Plan, _pass: u32) -> bool {
        true
    }
    fn chain(&self, _chain: &Chain, _result: &ChainResult) {}
}

/// The plan that was shown built a snapshot; the nodes that boot from it nobody has seen in a plan.
#[test]
fn what_came_up_beyond_the_approved_plan_is_left_and_said() {
    let scene = crate::images::scene();
    let (clock, stopped) = (|| scene.world.now(), AtomicBool::new(false));
    let outside = Outside { clock: &clock, pause: &|_| scene.world.tick(2), stopped: &stopped };
    let summary = run(&scene.desired, &scene.world, &Options::default(), outside, &Yes(AtomicBool::new(false)));
    let summary = summary.expect("the lock is free");
    assert_eq!((summary.created, summary.unapproved, scene.names().len()), (1, 2, 0));
    let said = done_line(&summary, 0, SignedDuration::ZERO);
    assert!(said.ends_with("; 2 more to do, not in the plan that was approved\n"), "{said}");
}
