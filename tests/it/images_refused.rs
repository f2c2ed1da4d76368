//! What a service does not take: marks that Nova refuses, images that Glance does not let go.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use poolkeeper::observed::{Mark, ServerStatus};
use poolkeeper::plan::WaitsFor;
use poolkeeper::report::progress::waits_lines;
use poolkeeper::report::style::Style;
use poolkeeper::run::Options;
use poolkeeper::sandbox::faults::ActFault;
use poolkeeper::sandbox::{Fate, ScriptFate};
use poolkeeper::world::ActErrorKind;

use crate::images::{change_script, image, images, scene};
use crate::images_fail::{created, failed_marks, half_an_hour, of_image, setup_fails};
use crate::scene::PROVIDER;

/// What Nova takes no mark of has its back-off all the same, from what Nova shows of it.
#[test]
fn a_builder_that_takes_no_mark_is_backed_off_from_since_it_changed() {
    for (status, task) in [(ServerStatus::Error, None), (ServerStatus::Active, Some("image_uploading".to_owned()))] {
        let mut scene = scene();
        image(&mut scene).setup_timeout = SignedDuration::from_hours(2);
        scene.world.image_fate(&of_image(), Fate { script: ScriptFate::Hangs, ..Fate::default() });
        scene.timer_until(|scene| scene.servers().iter().any(|server| server.metadata.contains_key(Mark::Hostkey.key())));
        // Over its timeout, where that is what it fails of.
        scene.world.tick(if task.is_some() { 3 * 3600 } else { 3600 });
        let (id, now) = (scene.servers()[0].id.clone(), scene.world.now());
        scene.world.change_server(&id, |server| {
            (server.status, server.task, server.updated) = (status.clone(), task.clone(), Some(now));
        });
        let plan = scene.plan();
        let Some(WaitsFor::BackOff { until, .. }) = &plan.images[0].waits_for else { panic!("{task:?}: {:?}", plan.images) };
        assert_eq!((*until, plan.chains.len()), (now + SignedDuration::from_mins(1), 0), "{task:?}");
        scene.world.tick(61);
        assert_eq!(scene.plan().chains.len(), 1, "{task:?}: then the next try");
    }
}

#[test]
fn a_builder_whose_mark_is_refused_does_not_end_all_tries() {
    let scene = scene();
    scene.world.image_fate(&of_image(), setup_fails());
    scene.timer_until(|scene| scene.servers().iter().any(|server| server.metadata.contains_key(Mark::Hostkey.key())));
    let said = "Policy doesn't allow os_compute_api:server-metadata:create (HTTP 403)".to_owned();
    let fault = ActFault { kind: "set-marks", error: ActErrorKind::Refused, said, done: false, times: 1000 };
    scene.world.with(|state| state.faults.act.push(fault));
    half_an_hour(&scene);
    assert_eq!((created(&scene), failed_marks(&scene).len()), (1, 0), "its failing cannot be written");
    for _ in 0..4 {
        half_an_hour(&scene);
    }
    assert!((2..=5).contains(&created(&scene)), "{} builders in all", created(&scene));
}

/// A server or a volume was cloned from it: each run would ask again, and fail again.
#[test]
fn an_image_that_glance_keeps_is_asked_for_each_half_hour_and_said() {
    let mut scene = scene();
    image(&mut scene).keep = 1;
    scene.converge();
    scene.world.tick(60);
    let said =
        "Image 4 could not be deleted because it is in use: The image cannot be deleted because it has snapshot(s). (HTTP 409)";
    let fault =
        || ActFault { kind: "delete-image", error: ActErrorKind::NotNow, said: said.to_owned(), done: false, times: 1000 };
    scene.world.with(|state| state.faults.act.push(fault()));
    change_script(&mut scene, "#!/bin/sh\n# next\n");
    let plan = scene.converge().last.expect("a plan");
    let lines = waits_lines(&plan, Style::plain());
    assert!(lines.contains(": previous: Glance to let it go, asked again from ") && lines.contains(said), "{lines}");
    let left = || scene.world.with(|state| state.faults.act[0].times);
    assert_eq!(left(), 999, "once in a run of many passes");
    for _ in 0..10 {
        scene.timer();
        scene.world.tick(60);
    }
    assert_eq!(left(), 999, "and not in each run");
    let later = waits_lines(&scene.plan(), Style::plain());
    assert!(later.contains(": a deletion was begun, and it is still there\n"), "{later}");
    half_an_hour(&scene);
    scene.world.tick(600);
    half_an_hour(&scene);
    assert!((996..=998).contains(&left()), "{}", left());
    scene.world.with(|state| state.faults.act.clear());
    scene.world.tick(1800);
    scene.converge();
    assert_eq!(images(&scene).len(), 1);
    scene.assert_settled();
}

/// That it is tried cannot be written: then it is not tried, and not in each pass.
#[test]
fn a_refused_mark_of_a_deletion_is_not_written_again_in_a_run() {
    for error in [ActErrorKind::Refused, ActErrorKind::NotNow] {
        let mut scene = scene();
        scene.converge();
        scene.world.tick(60);
        change_script(&mut scene, "#!/bin/sh\n# next\n");
        scene.converge();
        image(&mut scene).keep = 1;
        // Something is under way for many passes.
        scene.pool().min_ready = 3;
        let said = "Limit exceeded (HTTP 413)".to_owned();
        let fault = ActFault { kind: "mark-image", error, said, done: false, times: 1000 };
        scene.world.with(|state| state.faults.act.push(fault));
        scene.converge();
        let left = scene.world.with(|state| state.faults.act[0].times);
        assert_eq!((left, images(&scene).len(), scene.names().len()), (999, 2, 3), "{error:?}");
    }
}

/// It had worked for an hour when it failed, and nobody wants another: it is kept for a look from then on.
#[test]
fn the_newest_failed_builder_is_kept_from_its_failing_on() {
    let mut scene = scene();
    scene.pool().max_ready_age = None;
    image(&mut scene).setup_timeout = SignedDuration::from_hours(1);
    scene.converge();
    scene.world.image_fate(&of_image(), Fate { script: ScriptFate::Hangs, ..Fate::default() });
    let update = BTreeSet::from([(of_image(), PROVIDER.into())]);
    scene.run_with(&Options { update, once: true, ..Options::default() });
    scene.timer_until(|scene| scene.servers().iter().any(|server| server.metadata.contains_key(Mark::Hostkey.key())));
    scene.timer();
    scene.world.tick(3700);
    scene.timer();
    assert_eq!(failed_marks(&scene).len(), 1, "its setup-timeout is over");
    scene.world.tick(25 * 60);
    scene.timer();
    assert_eq!(scene.names().len(), 3, "kept, though it is as old as an hour and a half");
    scene.world.tick(6 * 60);
    scene.converge();
    assert_eq!((scene.names().len(), created(&scene)), (2, 4), "and no longer than half an hour");
    scene.assert_settled();
}
