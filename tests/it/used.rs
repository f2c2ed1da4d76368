//! What tells that a node's build is over: `used-when` beyond the Gearman plugin's mark.

use poolkeeper::desired::{Pattern, UsedWhen};
use poolkeeper::observed::{Ask, MachineAsk, Marks};
use poolkeeper::sandbox::Generation;

use crate::scene::Scene;

fn scene(generation: Generation, used_when: Vec<UsedWhen>) -> Scene {
    let mut scene = Scene::new(generation);
    scene.pool().used_when = used_when;
    scene.converge();
    scene
}

fn first(scene: &Scene) -> String {
    scene.names().into_iter().next().expect("a node")
}

/// What the mark `used` of this node says, while it is there.
fn used(scene: &Scene, name: &str) -> Option<String> {
    let server = scene.servers().into_iter().find(|server| server.name == name)?;
    Some(Marks::read(&server.metadata, &scene.desired.controller.id)?.used?.text)
}

#[test]
fn a_mark_with_a_text_that_the_pool_looks_for_means_used_and_any_other_a_person() {
    let pattern = Pattern::parse("done: job [0-9]+$").expect("a pattern");
    for generation in [Generation::Hudson332, Generation::J1_651, Generation::J2_568] {
        let scene = scene(generation, vec![UsedWhen::Message(pattern.clone())]);
        let name = first(&scene);
        scene.world.mark_by_person(&Scene::target(), &name, "alice", "done: looking into job 12");
        scene.converge();
        assert!(scene.names().contains(&name), "a person's: {generation:?}");

        scene.world.unmark(&Scene::target(), &name);
        scene.world.mark_by_person(&Scene::target(), &name, "jenkins", "done: job 12");
        scene.converge();
        assert!(!scene.names().contains(&name), "{generation:?}");
        scene.assert_settled();
    }
}

/// Looks at workspaces in `seconds` of a timer that comes each minute.
fn looks(scene: &Scene, seconds: u32) -> usize {
    let is_look = |ask: &Ask| matches!(ask, Ask::Machine(MachineAsk { workspace: Some(_), .. }));
    let mut looks = 0;
    for _ in 0..seconds / 60 {
        looks += scene.asked().iter().filter(|ask| is_look(ask)).count();
        scene.world.tick(60);
    }
    looks
}

#[test]
fn a_build_that_nobody_saw_is_found_in_the_workspace() {
    let scene = scene(Generation::J2_462, vec![UsedWhen::Workspace]);
    let name = first(&scene);
    scene.world.run_short_build(&name);
    // An interval and the time of one look.
    let mut said = None;
    for _ in 0..7 {
        let plans = scene.plans.lock().expect("plans").len();
        scene.timer();
        let text = format!("{:?}", scene.plans.lock().expect("plans").get(plans..));
        said = said.or_else(|| text.contains("Workspace").then_some(text));
        scene.world.tick(60);
    }
    assert!(!scene.names().contains(&name) && said.is_some());
    assert_eq!(scene.names().len(), 2);
    scene.assert_settled();
}

#[test]
fn an_empty_workspace_is_looked_at_once_or_twice_in_an_interval_and_no_more() {
    let mut scene = scene(Generation::J2_462, vec![UsedWhen::Workspace]);
    let nodes = scene.names();
    let an_hour = looks(&scene, 3600);
    assert!((24..=48).contains(&an_hour), "2 nodes, 12 intervals: {an_hour}");
    scene.timer();
    assert_eq!(scene.names(), nodes, "nothing is in them");

    scene.pool().used_when = vec![UsedWhen::Gearman, UsedWhen::Busy];
    assert_eq!(looks(&scene, 3600), 0);
}

#[test]
fn what_ran_unseen_does_not_matter_to_a_pool_that_does_not_look() {
    let scene = scene(Generation::J2_462, vec![UsedWhen::Gearman]);
    let name = first(&scene);
    scene.world.run_short_build(&name);
    scene.world.tick(600);
    scene.timer();
    assert_eq!(used(&scene, &name), None);
    scene.assert_settled();
}

/// A Pipeline on the first node, seen busy; then its controller restarts. The node's name.
fn interrupted(scene: &Scene) -> String {
    let name = first(scene);
    scene.world.start_pipeline(&Scene::target(), &name, 900).expect("an idle node");
    scene.timer();
    scene.world.restart_controller(&Scene::target());
    name
}

#[test]
fn a_pipeline_that_outlives_its_controllers_restart_goes_on_on_its_node() {
    for generation in [Generation::J1_651, Generation::J2_46, Generation::J2_462, Generation::J2_568] {
        // With our own mark at the sight of its build, and without.
        for used_when in [vec![UsedWhen::Busy], vec![UsedWhen::Gearman]] {
            let scene = scene(generation, used_when.clone());
            let name = interrupted(&scene);
            for _ in 0..10 {
                scene.timer();
                scene.world.tick(60);
                assert!(scene.names().contains(&name), "{generation:?} {used_when:?}");
            }
            assert!(scene.world.agent(&Scene::target(), &name).expect("there").busy, "{generation:?} {used_when:?}");
            scene.world.tick(600);
            scene.converge();
            assert!(!scene.names().contains(&name), "its build is over: {generation:?} {used_when:?}");
            scene.assert_settled();
        }
    }
}

#[test]
fn a_node_that_no_pipeline_waits_for_goes_after_its_controllers_restart() {
    let scene = scene(Generation::J2_462, vec![UsedWhen::Gearman]);
    let name = first(&scene);
    scene.world.start_build(&Scene::target(), &name, 900).expect("an idle node");
    scene.timer();
    scene.world.restart_controller(&Scene::target());
    scene.world.tick(120);
    scene.converge();
    assert!(!scene.names().contains(&name), "a build without a Pipeline died with its controller");
    scene.assert_settled();
}

#[test]
fn what_does_not_go_on_within_lost_grace_is_given_up() {
    let scene = scene(Generation::J2_462, vec![UsedWhen::Gearman]);
    let name = interrupted(&scene);
    // Somebody else's mark, which we never lift: nothing can go on on it.
    scene.world.mark_gearman(&Scene::target(), &name);
    let asks_queue = || scene.asked().iter().any(|ask| matches!(ask, Ask::Queue(_)));
    let mut minutes = 0;
    while scene.names().contains(&name) {
        scene.timer();
        assert!(used(&scene, &name).is_none() || asks_queue() || minutes >= 10, "{minutes}");
        scene.world.tick(60);
        minutes += 1;
        assert!(minutes < 30, "never given up");
    }
    assert!(minutes >= 10, "lost-grace is 10 minutes: {minutes}");
    assert!(!asks_queue(), "no other node asks the queue");
    scene.converge();
}
