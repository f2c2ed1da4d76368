//! Whole stories on the in-memory world: each ends with no build killed and nothing left to do.

use poolkeeper::observed::{AgentMark, Marks, ServerStatus, Source};
use poolkeeper::plan::{Act, WaitsFor};
use poolkeeper::report::plan_text::plan_text;
use poolkeeper::report::style::Style;
use poolkeeper::run::Ended;
use poolkeeper::sandbox::{BuildFate, Drop, Fate, Generation, ScriptFate, SshFate};

use crate::scene::{PROVIDER, Scene};

const GENERATIONS: [Generation; 2] = [Generation::Hudson332, Generation::J2_462];

#[test]
fn an_empty_cloud_fills_and_is_then_left_alone() {
    for generation in GENERATIONS {
        let scene = Scene::new(generation);
        let summary = scene.converge();
        assert_eq!((summary.created, summary.deleted, summary.failed, summary.ended), (2, 0, 0, Some(Ended::Converged)));
        assert_eq!((scene.names().len(), scene.agents().len()), (2, 2));
        for server in scene.servers() {
            let marks = Marks::read(&server.metadata, &scene.desired.controller.id).expect("ours");
            assert_eq!(marks.agent, Some(AgentMark::Joined));
            assert!(marks.hostkey.is_some());
        }
        scene.assert_settled();
    }
}

#[test]
fn a_node_that_gearman_marked_goes_when_its_build_is_over_and_is_replaced() {
    for generation in GENERATIONS {
        let scene = Scene::new(generation);
        scene.converge();
        let before = scene.names();
        let used = before.first().expect("two nodes").clone();
        scene.world.start_build(&Scene::target(), &used, 120).expect("an idle node");
        scene.world.mark_gearman(&Scene::target(), &used);

        let summary = scene.converge();
        assert_eq!(summary.deleted, 0, "its build runs");
        assert_eq!(summary.created, 1, "a busy node is no ready one");
        assert!(scene.names().contains(&used));

        scene.world.tick(120);
        let summary = scene.converge();
        assert_eq!((summary.created, summary.deleted), (0, 1));
        assert!(!scene.names().contains(&used) && !scene.agents().contains(&used));
        assert_eq!(scene.names().len(), 2);
        scene.assert_settled();
    }
}

#[test]
fn a_single_use_node_seen_busy_and_now_idle_is_used_without_any_mark() {
    let scene = Scene::new(Generation::J2_462);
    scene.converge();
    let used = scene.names().first().expect("two nodes").clone();
    scene.world.start_build(&Scene::target(), &used, 60).expect("an idle node");
    scene.timer();
    scene.world.tick(60);
    scene.converge();
    assert!(!scene.names().contains(&used));
    scene.assert_settled();
}

#[test]
fn a_node_that_a_person_took_offline_is_kept() {
    let scene = Scene::new(Generation::J2_462);
    scene.converge();
    let kept = scene.names().first().expect("two nodes").clone();
    scene.world.mark_by_person(&Scene::target(), &kept, "alice", "disk full, looking into it");
    scene.converge();
    scene.world.tick(86_400);
    scene.converge();
    assert!(scene.names().contains(&kept));
    assert_eq!(scene.names().len(), 3, "it is no ready node, so another one came");
    scene.assert_settled();
}

#[test]
fn a_foreign_server_is_never_touched() {
    let scene = Scene::new(Generation::J2_462);
    let provider = PROVIDER.into();
    let stranger = scene.world.add_server(&provider, "debug-trusty", &[]).expect("planted");
    let other = [("poolkeeper_controller", "other"), ("poolkeeper_role", "node"), ("poolkeeper_pool", "ci-jessie")];
    let neighbour = scene.world.add_server(&provider, "ci-jessie-1", &other).expect("planted");
    scene.converge();
    scene.world.tick(86_400);
    scene.converge();
    for id in [stranger, neighbour] {
        assert!(scene.world.server(&provider, &id).is_some(), "{id}");
    }
    scene.assert_settled();
}

#[test]
fn an_unseen_jenkins_stops_every_deletion_and_raises_no_need() {
    let scene = Scene::new(Generation::J2_462);
    scene.converge();
    let used = scene.names().first().expect("two nodes").clone();
    scene.world.mark_gearman(&Scene::target(), &used);
    let target = Source::Target(Scene::target());
    scene.world.begin_outage(target.clone(), "connect timed out after 10s");
    let summary = scene.timer();
    assert_eq!((summary.created, summary.deleted), (0, 0));
    assert_eq!(scene.plan().gaps.len(), 1);

    scene.world.end_outage(&target);
    scene.converge();
    assert!(!scene.names().contains(&used));
    scene.assert_settled();
}

#[test]
fn behind_an_unseen_jenkins_a_machine_is_prepared_and_its_registration_waits() {
    let scene = Scene::new(Generation::J2_462);
    let target = Source::Target(Scene::target());
    scene.world.begin_outage(target.clone(), "Connection refused");
    let summary = scene.converge();
    assert_eq!((summary.created, summary.failed, summary.stale), (2, 0, 0), "nothing is tried that cannot be");
    let plan = scene.plan();
    assert!(plan.is_empty(), "{:?}", plan.chains);
    let waits: Vec<_> = plan.waits.iter().map(|wait| (wait.state, wait.waits_for.clone())).collect();
    assert_eq!(waits, vec![("registering", WaitsFor::Gap(Scene::target().to_string())); 2]);

    scene.world.end_outage(&target);
    let summary = scene.converge();
    assert_eq!((summary.created, summary.deleted, scene.agents().len()), (0, 0, 2));
    scene.assert_settled();
}

#[test]
fn a_provider_that_is_not_seen_launches_nothing() {
    let scene = Scene::new(Generation::J2_462);
    scene.world.begin_outage(Source::Provider(PROVIDER.into()), "HTTP 503");
    let summary = scene.timer();
    assert_eq!(summary.created, 0);
    let plan = scene.plan();
    assert!(matches!(plan.pools[0].waits_for, Some(WaitsFor::Gap(_))), "{:?}", plan.pools);
}

#[test]
fn failed_machines_are_backed_off_from_and_replaced_once_one_gets_ready() {
    for fate in [
        Fate { build: BuildFate::Error("No valid host was found".into()), ..Fate::default() },
        Fate { ssh: SshFate::Never, ..Fate::default() },
        Fate { script: ScriptFate::Exits { status: 3, output: "apt: no space".into() }, ..Fate::default() },
        Fate { silent_console: true, ..Fate::default() },
    ] {
        let mut scene = Scene::new(Generation::J2_462);
        scene.pool().min_ready = 1;
        let pool = scene.pool().name.clone();
        scene.world.pool_fate(&pool, fate.clone());
        // Half an hour of runs by the timer.
        for _ in 0..30 {
            scene.timer();
            scene.world.tick(10);
        }
        let creates = scene
            .plans
            .lock()
            .expect("plans")
            .iter()
            .flat_map(|plan| &plan.chains)
            .flat_map(|chain| &chain.actions)
            .filter(|action| matches!(action.act, Act::CreateServer(_)))
            .count();
        assert!((2..=6).contains(&creates), "{fate:?}: {creates} creates in half an hour");
        assert!(scene.names().len() <= 2, "{fate:?}: {:?}", scene.names());

        scene.world.pool_fate(&pool, Fate::default());
        for _ in 0..40 {
            scene.timer();
            scene.world.tick(60);
        }
        let shown = plan_text(&scene.plan(), Style::plain());
        assert_eq!((scene.names().len(), scene.agents().len()), (1, 1), "{fate:?}: {shown}");
        scene.assert_settled();
    }
}

/// The mark of back-off takes part of the quota that the next try needs.
#[test]
fn without_quota_beside_it_the_failed_machine_goes_before_the_next_try() {
    let mut scene = Scene::new(Generation::J2_462);
    scene.pool().min_ready = 1;
    let pool = scene.pool().name.clone();
    scene.world.with(|state| state.clouds.get_mut(PROVIDER).expect("a cloud").limits.instances = Some(1));
    scene.world.pool_fate(&pool, Fate { build: BuildFate::Error("No valid host was found".into()), ..Fate::default() });
    scene.converge();
    let failed = scene.names();
    assert_eq!(scene.converge().deleted, 0, "kept while the back-off lasts");

    scene.world.pool_fate(&pool, Fate::default());
    scene.world.tick(60);
    let summary = scene.converge();
    assert_eq!((summary.created, summary.deleted, scene.agents().len()), (1, 1, 1));
    assert_ne!(scene.names(), failed);
    scene.assert_settled();
}

#[test]
fn a_machine_that_came_and_went_in_one_run_is_not_coming_any_more() {
    let mut scene = Scene::new(Generation::J2_462);
    let pool = scene.pool().name.clone();
    scene.world.pool_fate(&pool, Fate { build: BuildFate::Error("No valid host was found".into()), ..Fate::default() });
    let summary = scene.converge();
    assert_eq!((summary.created, summary.deleted), (2, 1), "one is kept as the mark of back-off");
    let counts = summary.last.expect("a plan").pools[0].counts;
    assert_eq!((counts.coming, counts.failed), (0, 1));
}

#[test]
fn a_run_killed_at_any_call_leaves_nothing_lost_doubled_or_leaked() {
    for drop in [Drop::BeforeEffect, Drop::AfterEffect] {
        for call in 0.. {
            let mut scene = Scene::new(Generation::Hudson332);
            scene.pool().min_ready = 1;
            scene.world.stop_after(call, drop);
            scene.timer();
            let stopped = scene.world.stopped();
            scene.world.resume();
            scene.world.tick(90);
            scene.converge();
            assert_eq!((scene.names().len(), scene.agents().len()), (1, 1), "{drop:?} of call {call}");
            scene.assert_settled();
            if !stopped {
                assert_eq!(call, 8, "create, pin, push, start, mark, register, start the agent, mark: each was a kill point");
                break;
            }
        }
    }
}

#[test]
fn a_server_that_somebody_deleted_leaves_no_agent() {
    let scene = Scene::new(Generation::J2_462);
    scene.converge();
    let gone = scene.servers().first().expect("two nodes").clone();
    scene.world.with(|state| {
        state.clouds.values_mut().for_each(|cloud| {
            cloud.servers.remove(&gone.id);
        });
        state.machines.remove(&gone.id);
    });
    scene.world.tick(60);
    scene.converge();
    assert!(!scene.agents().contains(&gone.name.to_string()));
    assert_eq!(scene.names().len(), 2);
    scene.assert_settled();
}

#[test]
fn an_agent_that_somebody_deleted_takes_its_server_along() {
    let scene = Scene::new(Generation::J2_462);
    scene.converge();
    let orphan = scene.names().first().expect("two nodes").clone();
    scene.world.with(|state| {
        state.jenkins.values_mut().for_each(|jenkins| {
            jenkins.nodes.remove(orphan.as_str());
        });
    });
    scene.converge();
    assert!(!scene.names().contains(&orphan));
    assert_eq!(scene.names().len(), 2);
    scene.assert_settled();
}

#[test]
fn a_controller_restart_is_waited_for() {
    for generation in GENERATIONS {
        let scene = Scene::new(generation);
        scene.converge();
        let before = scene.names();
        let used = before.first().expect("two nodes").clone();
        scene.world.start_build(&Scene::target(), &used, 5).expect("idle");
        scene.world.mark_gearman(&Scene::target(), &used);
        scene.timer();
        scene.world.restart_controller(&Scene::target());
        scene.world.tick(21);
        let plan = scene.plan();
        let deletions =
            plan.chains.iter().flat_map(|chain| &chain.actions).filter(|action| matches!(action.act, Act::DeleteServer { .. }));
        assert!(deletions.count() <= 1, "the used one at most");
        scene.converge();
        scene.world.tick(30);
        scene.converge();
        assert!(!scene.names().contains(&used), "still used, whatever the restart hid");
        scene.assert_settled();
    }
}

#[test]
fn two_servers_of_one_name_stay_two() {
    let scene = Scene::new(Generation::J2_462);
    scene.converge();
    let twin = scene.servers().first().expect("two nodes").clone();
    let metadata: Vec<(&str, &str)> = twin.metadata.all().into_iter().collect();
    scene.world.add_server(&PROVIDER.into(), &twin.name, &metadata).expect("Nova allows it");
    let plan = scene.plan();
    assert_eq!(plan.head.providers[0].servers, 3);
    assert!(scene.servers().iter().all(|server| server.status == ServerStatus::Active));
}

#[test]
fn what_is_left_of_a_deleted_agent_is_deleted_again_and_keeps_no_server() {
    let scene = Scene::new(Generation::J2_462);
    scene.converge();
    let gone = scene.names().first().expect("two nodes").clone();
    scene.world.with(|state| {
        let node = state.jenkins.values_mut().find_map(|jenkins| jenkins.nodes.get_mut(gone.as_str())).expect("the agent");
        node.ghost = true;
        node.channel = poolkeeper::sandbox::jenkins::Channel::Lost;
    });
    scene.converge();
    assert!(!scene.names().contains(&gone) && !scene.agents().contains(&gone));
    assert_eq!(scene.names().len(), 2);
    scene.assert_settled();
}

#[test]
fn an_agent_with_a_name_of_ours_and_a_strangers_description_is_left_alone() {
    for generation in [Generation::J1_651, Generation::J2_46, Generation::J2_462] {
        let scene = Scene::new(generation);
        scene.converge();
        let names = scene.servers();
        let ours = names.first().expect("two nodes");
        // Its server is gone, and somebody else describes the agent as theirs.
        scene.world.with(|state| {
            state.clouds.values_mut().for_each(|cloud| {
                cloud.servers.remove(&ours.id);
            });
            state.machines.remove(&ours.id);
            let node = state.jenkins.values_mut().find_map(|jenkins| jenkins.nodes.get_mut(ours.name.as_str())).expect("it");
            "kept by alice for a look".clone_into(&mut node.description);
        });
        scene.world.tick(60);
        scene.converge();
        assert!(scene.agents().contains(&ours.name.to_string()), "{generation:?}");
        scene.assert_settled();
    }
}
