//! Nodes that a person keeps: never touched while the hold lasts, unlocked and taken down once it is over.

use poolkeeper::observed::Mark;
use poolkeeper::sandbox::Generation;

use crate::scene::Scene;

/// Holds the first node as a person does, with a lock where that Nova tells of one; its name.
fn hold_first(scene: &Scene, until: &str, locked: Option<bool>) -> String {
    let server = scene.servers().into_iter().next().expect("a server");
    let mark = format!("alice; {until}; T143938");
    scene.world.change_server(&server.id, |server| {
        server.metadata.insert(Mark::Hold.key(), mark);
        server.locked = locked;
    });
    server.name.to_string()
}

/// What was done to this node, in order.
fn done_to(scene: &Scene, name: &str) -> Vec<&'static str> {
    scene.world.with(|state| state.log.iter().filter(|change| change.name == name).map(|change| change.kind).collect())
}

#[test]
fn a_held_node_is_left_alone_and_replaced_until_its_hold_is_over() {
    let scene = Scene::new(Generation::J2_462);
    scene.converge();
    let held = hold_first(&scene, "2026-11-25T12:00:00Z", Some(true));
    let before = done_to(&scene, &held);
    let summary = scene.converge();
    assert_eq!((summary.created, summary.deleted), (1, 0), "a held node is no ready one");
    assert_eq!(done_to(&scene, &held), before);
    scene.assert_settled();

    scene.world.tick(2 * 60 * 60);
    let summary = scene.converge();
    assert_eq!((summary.created, summary.deleted), (0, 1));
    assert!(!scene.names().contains(&held) && !scene.agents().contains(&held));
    let down = done_to(&scene, &held).split_off(before.len());
    assert_eq!(down, ["unlock", "set-marks", "mark-offline", "delete-agent", "delete-server"]);
    scene.assert_settled();
}

#[test]
fn a_hold_that_was_made_longer_in_the_last_moment_holds() {
    let scene = Scene::new(Generation::J2_462);
    scene.converge();
    let held = hold_first(&scene, "2026-11-25T10:30:00Z", Some(true));
    scene.world.tick(60 * 60);
    let plan = scene.plan();
    let chain = plan.chains.iter().find(|chain| chain.subject.name.as_str() == held).expect("its hold is over");
    hold_first(&scene, "2026-11-25T14:00:00Z", Some(true));
    let before = done_to(&scene, &held);
    let results = scene.carry_out(&plan);
    let at = plan.chains.iter().position(|other| other == chain).expect("in the plan");
    assert_eq!(format!("{:?}", results[at].steps[0].outcome), "Stale(Held)");
    assert_eq!(done_to(&scene, &held), before);
}

#[test]
fn a_build_on_a_held_node_goes_on_and_only_its_mark_is_written() {
    let scene = Scene::new(Generation::J2_462);
    scene.converge();
    let held = hold_first(&scene, "2026-11-25T10:30:00Z", Some(false));
    scene.world.start_build(&Scene::target(), &held, 2 * 60 * 60).expect("an idle node");
    let before = done_to(&scene, &held).len();
    scene.converge();
    assert_eq!(done_to(&scene, &held).split_off(before), ["set-marks"]);
    scene.world.tick(60 * 60);
    scene.converge();
    assert!(scene.names().contains(&held), "its hold is over, and a build runs");
    scene.world.tick(60 * 60);
    scene.converge();
    assert!(!scene.names().contains(&held));
    scene.assert_settled();
}

#[test]
fn where_nova_does_not_tell_of_locks_one_unlock_comes_first() {
    let scene = Scene::new(Generation::Hudson332);
    scene.converge();
    let held = hold_first(&scene, "2026-11-25T10:30:00Z", None);
    scene.world.tick(60 * 60);
    let before = done_to(&scene, &held).len();
    scene.converge();
    let down = done_to(&scene, &held).split_off(before);
    assert_eq!(down, ["unlock", "set-marks", "mark-offline", "delete-agent", "delete-server"]);
    scene.assert_settled();
}

#[test]
fn a_lock_without_a_hold_has_no_end() {
    let scene = Scene::new(Generation::J2_462);
    scene.converge();
    let server = scene.servers().into_iter().next().expect("a server");
    scene.world.change_server(&server.id, |server| server.locked = Some(true));
    scene.world.tick(24 * 60 * 60);
    scene.converge();
    assert!(scene.names().contains(&server.name.to_string()));
    scene.assert_settled();
}

/// Written by hand, as docs/cli.md says it, or in less words.
#[test]
fn a_hold_without_words_is_said_without_a_colon() {
    let held = |mark: &str| {
        let mut scene = Scene::new(Generation::J2_462);
        scene.pool().min_ready = 1;
        scene.converge();
        let server = scene.servers().into_iter().next().expect("a server");
        scene.world.change_server(&server.id, |server| {
            server.metadata.insert(Mark::Hold.key(), mark.to_owned());
        });
        let plan = scene.plan();
        plan.waits.iter().find(|wait| wait.state == "held").expect("it is held").waits_for.to_string()
    };
    assert_eq!(held("alice; 2026-12-01T12:00:00Z; T143938"), "a person: held by alice: T143938");
    assert_eq!(held("alice; -; "), "a person: held by alice");
    assert_eq!(held("alice"), "a person: held by alice");
    assert_eq!(held("; -; "), "a person: held by somebody");
}
