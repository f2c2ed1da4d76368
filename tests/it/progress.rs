//! What an apply says at its end: what it leaves waiting, in exact words.

use poolkeeper::desired::FlavorChoice;
use poolkeeper::observed::Source;
use poolkeeper::report::progress::{folded, waits_lines};
use poolkeeper::report::style::Style;
use poolkeeper::sandbox::{Fate, Generation, SshFate};

use crate::scene::Scene;

fn left_waiting(scene: &Scene) -> String {
    let summary = scene.converge();
    let last = summary.last.expect("a plan");
    // Names are told by the clock; which one it is does not matter here.
    let mut text = waits_lines(&last, Style::plain());
    let mut names = scene.names();
    names.sort();
    for (number, name) in names.iter().enumerate() {
        text = text.replace(name, &format!("NODE{number}"));
    }
    text
}

#[test]
fn nothing_waits_when_all_is_well() {
    assert_eq!(left_waiting(&Scene::new(Generation::J2_462)), "");
}

#[test]
fn a_pool_says_what_it_lacks() {
    let mut scene = Scene::new(Generation::J2_462);
    scene.pool().flavor = FlavorChoice::Name("no.such".into());
    assert_eq!(
        left_waiting(&scene),
        "unmet:   ci-jessie (0 of 2 ready or coming): there is no flavor `no.such`; the\n         project has m1.medium, m1.small\n         nothing goes on for it until a person mends that\n"
    );
}

#[test]
fn a_pool_in_back_off_is_one_line() {
    let mut scene = Scene::new(Generation::J2_462);
    scene.pool().min_ready = 1;
    let pool = scene.pool().name.clone();
    scene.world.pool_fate(&pool, Fate { ssh: SshFate::Never, ..Fate::default() });
    // The first wait is shorter than boot-timeout: the run itself goes on to a later try, whose wait is longer.
    let text = left_waiting(&scene);
    assert!(text.starts_with("waits  ci-jessie: back-off until ") && text.contains("(no SSH within 5m"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn nodes_that_wait_for_the_same_are_one_line() {
    let mut scene = Scene::new(Generation::J2_462);
    scene.pool().min_ready = 4;
    scene.world.begin_outage(Source::Target(Scene::target()), "Connection refused");
    assert_eq!(left_waiting(&scene), "waits  NODE0, NODE1 and 2 more: registering: contint1001 to be seen again\n");
}

#[test]
fn a_terminal_gets_lines_that_fit_it() {
    let line = "delete ci-jessie-1ngehwn00c6: used: `Offline due to Gearman request`, idle 12s; agent removed, server deleted (0.4s)\n  (POST /servers in wmflabs-eqiad)\nok\n";
    let expected = "delete ci-jessie-1ngehwn00c6: used: `Offline due to Gearman\n       request`, idle 12s; agent removed, server deleted\n       (0.4s)\n  (POST /servers in wmflabs-eqiad)\nok\n";
    assert_eq!(folded(line, 60), expected);
}
