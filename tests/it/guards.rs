//! A rule a test: each small enough to say what is wrong when the rule is gone (`tests/mutations` takes them out).

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;
use poolkeeper::desired::FlavorChoice;
use poolkeeper::execute::ChainResult;
use poolkeeper::names::{NodeName, ProviderName, ServerId};
use poolkeeper::observed::{Computer, Fresh, Mark, Observed, Server, ServerStatus, Source};
use poolkeeper::plan::{
    Act, AgentExpects, AgentIs, Chain, Expects, MarkExpects, Plan, ServerExpects, Stale, WaitsFor, still_holds,
};
use poolkeeper::run::{Audience, Ended, Options, Outside, run};
use poolkeeper::sandbox::{ActFault, AgentFate, BuildFate, Delays, Fate, Generation, Sandbox};
use poolkeeper::world::ActErrorKind;

use crate::audited::audited;
use crate::scene::{PROVIDER, Scene};

fn filled(min_ready: u32) -> Scene {
    let mut scene = Scene::new(Generation::J2_462);
    scene.pool().min_ready = min_ready;
    scene.converge();
    assert_eq!(scene.names().len(), min_ready as usize);
    scene
}

fn mark(scene: &Scene, id: &ServerId, mark: Mark, value: &str) {
    assert!(scene.world.change_server(id, |server| drop(server.metadata.insert(mark.key(), value))));
}

fn creates(plan: &Plan) -> usize {
    let acts = plan.chains.iter().flat_map(|chain| &chain.actions);
    acts.filter(|action| matches!(action.act, Act::CreateServer(_))).count()
}

fn logged(scene: &Scene, kind: &str) -> usize {
    scene.world.with(|state| state.log.iter().filter(|change| change.kind == kind).count())
}

#[test]
fn an_agent_whose_server_lost_its_marks_is_kept() {
    let scene = filled(2);
    let server = scene.servers()[0].clone();
    scene.world.change_server(&server.id, |server| server.metadata.clear());
    scene.world.power(&server.id, false);
    scene.world.tick(3600);
    scene.converge();
    assert!(
        scene.names().contains(&server.name.to_string()) && scene.agents().contains(&server.name.to_string()),
        "it is not ours to remove any more"
    );
}

#[test]
fn behind_an_unseen_jenkins_a_used_node_stays() {
    let scene = filled(2);
    let server = scene.servers()[0].clone();
    mark(&scene, &server.id, Mark::Used, "2026-11-25T10:00:00Z build");
    let target = Source::Target(Scene::target());
    scene.world.begin_outage(target.clone(), "connect timed out after 10s");
    assert_eq!(scene.timer().deleted, 0);
    assert!(scene.names().contains(&server.name.to_string()));
    scene.world.end_outage(&target);
    scene.converge();
    assert!(!scene.names().contains(&server.name.to_string()));
    scene.assert_settled();
}

/// Nobody knows whether most of its target's agents are missing with it.
#[test]
fn behind_an_unseen_jenkins_a_stopped_node_is_no_need() {
    let scene = filled(2);
    let server = scene.servers()[0].clone();
    scene.world.power(&server.id, false);
    scene.timer();
    scene.world.begin_outage(Source::Target(Scene::target()), "HTTP 503");
    scene.world.tick(3600);
    assert_eq!(scene.timer().created, 0);
    assert!(scene.plan().waits.iter().all(|wait| matches!(wait.waits_for, WaitsFor::Gap(_))), "{:?}", scene.plan().waits);
}

/// It counts as ready, and nobody calls it so.
#[test]
fn behind_an_unseen_jenkins_a_joined_node_is_not_seen_and_no_need() {
    let scene = filled(2);
    scene.world.begin_outage(Source::Target(Scene::target()), "HTTP 503");
    let plan = scene.plan();
    let counts = plan.pools[0].counts;
    assert_eq!((counts.ready, counts.unseen, counts.have(), plan.healthy), (0, 2, 2, 2));
    assert_eq!(scene.timer().created, 0);
    assert!(plan.waits.iter().all(|wait| wait.state == "not seen" && matches!(wait.waits_for, WaitsFor::Gap(_))));
    assert_eq!(plan.waits.len(), 2);
}

#[test]
fn a_run_launches_no_more_than_max_launches_per_run() {
    let mut scene = Scene::new(Generation::J2_462);
    scene.desired.controller.limits.max_launches_per_run = 1;
    assert_eq!(scene.timer().created, 1);
    assert_eq!(scene.timer().created, 1);
    scene.converge();
    scene.assert_settled();
}

#[test]
fn a_short_pool_without_quota_or_without_its_flavor_is_refused() {
    let mut scene = filled(2);
    assert!(!scene.plan().is_refused());
    (scene.pool().min_ready, scene.pool().max_servers) = (3, 2);
    assert!(!scene.plan().is_refused(), "as many as it may have: what its file says");
    scene.pool().max_servers = 4;
    scene.world.with(|state| state.clouds.values_mut().for_each(|cloud| cloud.limits.instances = Some(2)));
    let full = scene.plan();
    assert!(full.is_empty() && full.is_refused() && full.unmet().is_empty(), "{:?}", full.pools);
    let going = scene.servers()[0].id.clone();
    scene.world.change_server(&going, |server| server.task = Some("deleting".to_owned()));
    let going = scene.plan();
    assert!(matches!(going.pools[0].waits_for, Some(WaitsFor::Quota(_))) && !going.is_refused(), "room comes: {going:?}");
    scene.world.with(|state| state.clouds.values_mut().for_each(|cloud| cloud.limits.instances = Some(9)));
    scene.converge();
    scene.world.with(|state| state.clouds.values_mut().for_each(|cloud| cloud.limits.instances = None));
    scene.pool().min_ready = 4;
    scene.pool().flavor = FlavorChoice::Name("m1.smal".into());
    let unmet = scene.plan();
    let said: Vec<String> = unmet.unmet().iter().map(ToString::to_string).collect();
    assert!(unmet.is_refused(), "{:?}", unmet.pools);
    assert_eq!(said, ["ci-jessie (3 of 4 ready or coming): there is no flavor `m1.smal`; did you mean `m1.small`?"]);
}

#[test]
fn no_more_are_launched_at_one_time_than_max_concurrent_launches() {
    let mut scene = Scene::new(Generation::J2_462);
    scene.desired.controller.providers.values_mut().for_each(|provider| provider.max_concurrent_launches = 1);
    assert_eq!(creates(&next_plan(&scene)), 1);
    scene.converge();
    scene.assert_settled();
}

/// The first pass asks for what creates need.
fn next_plan(scene: &Scene) -> Plan {
    let plan = scene.plan();
    assert!(plan.gaps.is_empty());
    plan
}

#[test]
fn a_held_server_in_build_counts_as_a_launch() {
    let mut scene = Scene::new(Generation::J2_462);
    scene.desired.controller.providers.values_mut().for_each(|provider| provider.max_concurrent_launches = 1);
    scene.world.next_fate(Fate { build: BuildFate::Stuck, ..Fate::default() });
    scene.timer();
    let id = scene.servers()[0].id.clone();
    scene.world.change_server(&id, |server| server.locked = Some(true));
    assert_eq!(creates(&scene.plan()), 0, "Nova builds one, whoever holds it");
}

#[test]
fn a_provider_gets_no_more_than_its_max_servers() {
    let mut scene = Scene::new(Generation::J2_462);
    scene.desired.controller.providers.values_mut().for_each(|provider| provider.max_servers = 1);
    scene.converge();
    assert_eq!(scene.names().len(), 1);
    assert_eq!(scene.plan().pools[0].waits_for, Some(WaitsFor::ProviderFull { max: 1 }));
}

#[test]
fn a_pool_gets_no_more_than_its_max_servers() {
    let mut scene = filled(2);
    scene.pool().max_servers = 2;
    let server = scene.servers()[0].clone();
    scene.world.mark_by_person(&Scene::target(), &server.name, "alice", "a look");
    scene.converge();
    assert_eq!(scene.names().len(), 2);
    assert_eq!(scene.plan().pools[0].waits_for, Some(WaitsFor::PoolFull { max: 2 }));
}

#[test]
fn a_chain_ends_at_the_first_action_that_is_not_done_and_a_refusal_is_not_tried_again() {
    let mut scene = Scene::new(Generation::J2_462);
    scene.pool().min_ready = 1;
    let (kind, said) = ("push-scripts", "permission denied".to_owned());
    let refusal = ActFault { kind, error: ActErrorKind::Refused, said, done: false, times: 1 };
    scene.world.with(|state| state.faults.act.push(refusal));
    let summary = scene.timer();
    assert_eq!(summary.failed, 1);
    assert_eq!((logged(&scene, "push-scripts"), logged(&scene, "start-script")), (0, 0), "neither now nor later in this run");
    scene.converge();
    scene.assert_settled();
}

#[test]
fn without_single_use_a_busy_node_that_a_person_holds_is_no_ready_one() {
    let mut scene = filled(1);
    scene.pool().single_use = false;
    let server = scene.servers()[0].clone();
    scene.world.start_build(&Scene::target(), &server.name, 600).expect("idle");
    assert_eq!(scene.converge().created, 0, "it comes back");
    scene.world.change_server(&server.id, |server| server.locked = Some(true));
    assert_eq!(scene.converge().created, 1);
}

/// A run that goes on until nothing moves must end although nobody lifts the limit.
#[test]
fn overdue_together_with_most_they_wait_for_a_person() {
    let mut scene = Scene::new(Generation::J2_462);
    (scene.pool().min_ready, scene.pool().max_servers) = (3, 3);
    scene.world.pool_fate(&"ci-jessie".into(), Fate { agent: AgentFate::NeverOnline, ..Fate::default() });
    assert_eq!(scene.converge().ended, Some(Ended::Converged));
    let plan = scene.plan();
    assert!(plan.is_empty() && plan.waits.iter().all(|wait| wait.waits_for == WaitsFor::Limit), "{:?}", plan.waits);
    assert_eq!((plan.waits.len(), plan.refusals.len()), (3, 1));
}

/// The pool has all it wants from another provider: no try will ever tell whether the first one is well again.
#[test]
fn a_failed_machine_goes_after_half_an_hour_when_no_try_is_due() {
    let mut scene = Scene::new(Generation::J2_462);
    (scene.pool().min_ready, scene.pool().max_servers) = (1, 3);
    let second = ProviderName::from("codfw");
    let mut provider = scene.desired.controller.providers[PROVIDER].clone();
    provider.name = second.clone();
    scene.desired.controller.providers.insert(second.clone(), provider);
    scene.desired.controller.providers.get_mut(PROVIDER).expect("the first").max_servers = 1;
    scene.pool().providers.push(second.clone());
    scene.world = Sandbox::for_desired(&scene.desired, Generation::J2_462, scene.world.now(), 1);
    scene.converge();
    let failed = scene.servers()[0].clone();
    scene.world.change_server(&failed.id, |server| server.status = ServerStatus::Error);
    scene.world.tick(120);
    scene.converge();
    assert_eq!((scene.servers().len(), scene.world.servers(&second).len()), (1, 1), "its place is taken, and it is the mark");
    scene.world.tick(1800);
    scene.converge();
    assert_eq!((scene.servers().len(), scene.world.servers(&second).len()), (0, 1));
    scene.assert_settled();
}

/// Holds every server just before a plan that deletes one is carried out.
struct HoldsFirst<'a>(&'a Scene, Mutex<u32>);

impl Audience for HoldsFirst<'_> {
    fn looked(&self, observed: &Observed, plan: &Plan, now: Timestamp) {
        audited(&self.0.desired, observed, plan, now);
    }

    fn approve(&self, plan: &Plan, _pass: u32) -> bool {
        let deletes = |chain: &Chain| chain.actions.iter().any(|action| matches!(action.act, Act::DeleteServer { .. }));
        if plan.chains.iter().any(deletes) {
            *self.1.lock().expect("no panic") += 1;
            self.0.servers().iter().for_each(|server| mark(self.0, &server.id, Mark::Hold, "alice; -; a look"));
        }
        true
    }

    fn chain(&self, _chain: &Chain, _result: &ChainResult) {}
}

#[test]
fn what_a_person_holds_between_plan_and_act_is_not_deleted() {
    let scene = filled(2);
    let used = scene.servers()[0].clone();
    scene.world.mark_gearman(&Scene::target(), &used.name);
    let pause = |_| scene.world.tick(2);
    let (clock, stopped) = (|| scene.world.now(), AtomicBool::new(false));
    let outside = Outside { clock: &clock, pause: &pause, stopped: &stopped };
    let holder = HoldsFirst(&scene, Mutex::new(0));
    run(&scene.desired, &scene.world, &Options::default(), outside, &holder).expect("the lock is free");
    assert_eq!(*holder.1.lock().expect("no panic"), 1, "one plan would have deleted it");
    assert!(scene.names().contains(&used.name.to_string()) && scene.agents().contains(&used.name.to_string()));
}

/// A server that carries our mark and `retire`, and its agent as it should be for a deletion.
fn fresh(scene: &Scene) -> (Expects, Server, Computer) {
    let server = scene.servers().first().expect("one").clone();
    let name = NodeName::new(server.name.as_str());
    let mut agent = scene.world.agent(&Scene::target(), &server.name).expect("an agent");
    (agent.offline, agent.temporarily_offline) = (true, true);
    let marks = [(Mark::Retire, MarkExpects::Present)].into();
    let controller = scene.desired.controller.id.clone();
    let expected = ServerExpects { provider: PROVIDER.into(), id: server.id.clone(), controller, status: None, marks };
    let agent_expected = Some(AgentExpects { target: Scene::target(), name, is: AgentIs::Removable });
    let expects = Expects { server: Some(expected), agent: agent_expected, ..Expects::default() };
    (expects, server, agent)
}

#[test]
fn a_deletion_holds_only_of_what_it_was_planned_for() {
    let scene = filled(1);
    let id = scene.servers()[0].id.clone();
    mark(&scene, &id, Mark::Retire, "surplus");
    let verdict = |change: &dyn Fn(&mut Server, &mut Computer)| {
        let (expects, mut server, mut agent) = fresh(&scene);
        change(&mut server, &mut agent);
        still_holds(&expects, &Fresh { server: Some(Some(server)), agent: Some(Some(agent)), ..Fresh::default() })
    };
    assert_eq!(verdict(&|_, _| ()), Ok(()));
    assert_eq!(verdict(&|_, agent| agent.busy = true), Err(Stale::AgentBusy));
    assert_eq!(verdict(&|_, agent| agent.offline = false), Err(Stale::AgentOnline));
    assert_eq!(verdict(&|server, _| server.locked = Some(true)), Err(Stale::Locked));
    assert_eq!(verdict(&|server, _| server.task = Some("deleting".into())), Err(Stale::Deleting));
    assert_eq!(verdict(&|server, _| server.metadata.clear()), Err(Stale::NotOurs));
    let of = |mark: Mark, value: &'static str| move |server: &mut Server| drop(server.metadata.insert(mark.key(), value));
    assert_eq!(verdict(&|server, _| of(Mark::Hold, "alice; -; a look")(server)), Err(Stale::Held));
    assert_eq!(verdict(&|server, _| of(Mark::Controller, "other")(server)), Err(Stale::NotOurs));
    assert_eq!(verdict(&|server, _| drop(server.metadata.remove(Mark::Retire.key()))), Err(Stale::MarkGone(Mark::Retire)));
}

#[test]
fn a_deletion_that_nova_never_finishes_ends_the_wait_for_it() {
    let scene = filled(1);
    let server = scene.servers()[0].clone();
    scene.world.set_delays(Delays { delete: 100_000, ..Delays::default() });
    mark(&scene, &server.id, Mark::Used, "2026-11-25T10:00:00Z build");
    scene.world.tick(60);
    let began = scene.world.now();
    assert_eq!(scene.converge().created, 1, "its slot counts as free");
    let plan = scene.plan();
    let wait = plan.waits.iter().find(|wait| wait.subject.name.as_str() == server.name).expect("it is still listed");
    let WaitsFor::StuckDeletion { since } = &wait.waits_for else { panic!("{wait:?}") };
    assert!(*since >= began && *since <= scene.world.now(), "since its deletion began: {since}");
    assert!(plan.is_empty() && !plan.under_way());
}
