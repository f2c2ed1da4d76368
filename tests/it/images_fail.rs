//! Snapshots whose build fails, or whose machines do; bases that cannot be told: on the in-memory world.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use poolkeeper::desired::PoolImage;
use poolkeeper::names::{ImageId, ImageName, PoolName};
use poolkeeper::observed::{Image, ImageMark, KeepFailed, Mark, ServerStatus};
use poolkeeper::plan::{Act, Plan, WaitsFor};
use poolkeeper::report::plan_text::plan_text;
use poolkeeper::report::style::Style;
use poolkeeper::run::Options;
use poolkeeper::sandbox::faults::ActFault;
use poolkeeper::sandbox::{Fate, SaveFate, ScriptFate};
use poolkeeper::world::ActErrorKind;

use crate::images::{BASE, IMAGE, bases, change_image, change_script, image, images, scene};
use crate::scene::{PROVIDER, Scene};

pub(crate) fn of_image() -> ImageName {
    ImageName::from(IMAGE)
}

pub(crate) fn setup_fails() -> Fate {
    let output = "Get:1 jessie\nE: no space left\nE: giving up\n".to_owned();
    Fate { script: ScriptFate::Exits { status: 100, output }, ..Fate::default() }
}

pub(crate) fn failed_marks(scene: &Scene) -> Vec<String> {
    scene.servers().iter().filter_map(|server| server.mark(Mark::Failed).map(str::to_owned)).collect()
}

pub(crate) fn created(scene: &Scene) -> usize {
    scene.world.with(|state| state.log.iter().filter(|change| change.kind == "create-server").count())
}

fn log_of(scene: &Scene, kind: &str) -> usize {
    scene.world.with(|state| state.log.iter().filter(|change| change.kind == kind).count())
}

/// Half an hour of runs by the timer.
pub(crate) fn half_an_hour(scene: &Scene) {
    for _ in 0..30 {
        scene.timer();
        scene.world.tick(30);
    }
}

#[test]
fn a_setup_that_fails_is_marked_with_its_last_lines_and_backed_off_from() {
    let mut scene = scene();
    scene.world.image_fate(&of_image(), setup_fails());
    scene.timer();
    let marks = failed_marks(&scene);
    assert!(marks[0].ends_with("setup script exited 100: Get:1 jessie / E: no space left / E: giving up"), "{marks:?}");
    let plan = scene.plan();
    let Some(WaitsFor::NoSnapshot { why, .. }) = &plan.pools[0].waits_for else { panic!("{:?}", plan.pools) };
    assert!(why.contains("its build waits for back-off until"), "{why}");
    half_an_hour(&scene);
    assert!((3..=6).contains(&created(&scene)), "{} builders in half an hour", created(&scene));
    assert!(scene.names().len() <= 2, "{:?}", scene.names());
    scene.world.image_fate(&of_image(), Fate::default());
    change_script(&mut scene, "#!/bin/sh\n# mended\n");
    scene.converge();
    assert_eq!((scene.names().len(), failed_marks(&scene).len(), images(&scene).len()), (2, 0, 1));
    scene.assert_settled();
}

#[test]
fn inputs_that_were_never_tried_are_tried_at_once() {
    let mut scene = scene();
    scene.world.next_fate(setup_fails());
    scene.timer();
    assert_eq!((failed_marks(&scene).len(), created(&scene)), (1, 1), "in its back-off");
    change_script(&mut scene, "#!/bin/sh\n# mended\n");
    scene.timer();
    assert_eq!(images(&scene).len(), 1, "{} servers were created", created(&scene));
}

#[test]
fn a_setup_that_is_mended_elsewhere_is_tried_again_after_its_back_off() {
    let scene = scene();
    scene.world.image_fate(&of_image(), setup_fails());
    scene.converge();
    scene.world.image_fate(&of_image(), Fate::default());
    assert_eq!((scene.converge().created, created(&scene)), (0, 1), "in its back-off");
    scene.world.tick(120);
    scene.converge();
    assert_eq!((scene.names().len(), images(&scene).len()), (2, 1));
    scene.assert_settled();
}

#[test]
fn an_update_does_not_wait_for_a_back_off() {
    let scene = scene();
    scene.world.next_fate(setup_fails());
    scene.converge();
    let update = BTreeSet::from([(of_image(), PROVIDER.into())]);
    scene.run_with(&Options { update, ..Options::default() });
    assert_eq!(images(&scene).len(), 1);
    scene.converge();
    assert_eq!(scene.names().len(), 2);
}

#[test]
fn a_failed_builder_is_held_for_a_look_where_that_is_asked_for() {
    let scene = scene();
    scene.world.next_fate(setup_fails());
    let until = scene.world.now() + SignedDuration::from_hours(4);
    let keep_failed = Some(KeepFailed { who: "alice".into(), until });
    scene.run_with(&Options { keep_failed, ..Options::default() });
    let held: Vec<_> = scene.servers().into_iter().filter(|server| server.metadata.contains_key(Mark::Hold.key())).collect();
    let [held] = held.as_slice() else { panic!("{held:?}") };
    assert!(held.metadata.mark(Mark::Hold).expect("held").starts_with("alice; 2026-11-25T14:"), "{:?}", held.metadata);
    assert_eq!(scene.converge().created, 0, "held or not, it is the mark of back-off");
    scene.world.tick(3600);
    scene.converge();
    assert_eq!((scene.names().len(), images(&scene).len()), (3, 1), "the next try, its two nodes, and the held one");
    scene.world.tick(4 * 3600);
    scene.converge();
    assert_eq!(scene.names().len(), 2);
    scene.assert_settled();
}

#[test]
fn a_builder_that_never_goes_off_is_failed() {
    let scene = scene();
    scene.world.image_fate(&of_image(), Fate { never_off: true, ..Fate::default() });
    scene.timer();
    scene.world.tick(400);
    scene.timer();
    assert!(failed_marks(&scene).iter().any(|mark| mark.ends_with("not off within 5m")), "{:?}", failed_marks(&scene));
    assert!(images(&scene).is_empty());
}

#[test]
fn a_builder_that_is_off_too_early_is_failed() {
    let scene = scene();
    scene.timer_until(|scene| scene.servers().iter().any(|server| server.metadata.contains_key(Mark::Hostkey.key())));
    let id = scene.servers()[0].id.clone();
    scene.world.change_server(&id, |server| server.status = ServerStatus::Shutoff);
    let plan = scene.plan();
    let because = plan.chains[0].because.to_string();
    assert_eq!(because, "failed: turned off before its setup script was over");
}

#[test]
fn an_image_that_never_becomes_active_goes_and_its_builder_is_failed() {
    for save in [SaveFate::NeverSaves, SaveFate::Stuck, SaveFate::Killed, SaveFate::Fails] {
        let scene = scene();
        scene.world.next_fate(Fate { save, ..Fate::default() });
        for _ in 0..3 {
            scene.timer();
            scene.world.tick(150);
        }
        // What Nova takes away again is asked for once a run; one that is killed is followed by another builder's.
        let expected = match save {
            SaveFate::Fails => 3,
            SaveFate::Killed => 2,
            SaveFate::NeverSaves | SaveFate::Stuck | SaveFate::Saved => 1,
        };
        assert_eq!(log_of(&scene, "create-image"), expected, "{save:?}: in three runs");
        for _ in 0..20 {
            scene.timer();
            scene.world.tick(60);
        }
        let images = images(&scene);
        assert_eq!((images.len(), scene.names().len()), (1, 2), "{save:?}: {images:?} {:?}", scene.names());
        assert_eq!(bases(&scene), BTreeSet::from([images[0].id.to_string()]), "{save:?}: by the next try");
        scene.assert_settled();
    }
}

#[test]
fn a_task_of_novas_that_never_ends_is_told_to_a_person() {
    let scene = scene();
    scene.timer_until(|scene| images(scene).iter().any(Image::is_active));
    let id = scene.servers()[0].id.clone();
    scene.world.change_server(&id, |server| server.task = Some("image_uploading".to_owned()));
    let said = |scene: &Scene| plan_text(&scene.plan(), Style { width: 300, ..Style::plain() });
    assert!(said(&scene).contains(" a second look at it, some seconds later\n"), "{}", said(&scene));
    scene.world.tick(11 * 60);
    let words = " a person: Nova is at its task image_uploading since more than 10m\n";
    assert!(said(&scene).contains(words), "{}", said(&scene));
    assert!(!scene.plan().under_way(), "no run waits for it");
}

#[test]
fn a_refused_create_image_is_asked_once_a_run() {
    for kind in [ActErrorKind::NotNow, ActErrorKind::Refused] {
        let scene = scene();
        let said = "Cannot 'createImage' instance while it is in task_state x (HTTP 409)".to_owned();
        let fault = ActFault { kind: "create-image", error: kind, said, done: false, times: 1 };
        scene.world.with(|state| state.faults.act.push(fault));
        let summary = scene.converge();
        assert_eq!((summary.failed + summary.stale, images(&scene).len()), (1, 0), "{kind:?}");
        scene.converge();
        assert_eq!((images(&scene).len(), scene.names().len()), (1, 2));
        scene.assert_settled();
    }
}

#[test]
fn a_base_image_that_is_not_there_is_said_and_its_snapshot_is_used_on() {
    let mut scene = scene();
    scene.converge();
    let known = |scene: &Scene| scene.plan().images[0].waits_for.clone();
    let base = scene.world.with(|state| state.clouds[PROVIDER].images[0].seen.id.clone());
    change_image(&scene, &base, |image| image.name = "image-ci-jessie_old_20261125".into());
    let before = Some("is called `image-ci-jessie_old_20261125` now".to_owned());
    assert_eq!(known(&scene), Some(WaitsFor::NoImage { name: BASE.into(), before }));
    scene.world.tick(90_000);
    assert!(scene.plan().is_empty(), "old, and nothing to build it from");
    // By its id it is the same whatever its name.
    image(&mut scene).base_image = base.to_string();
    scene.converge();
    assert_eq!(images(&scene).len(), 2);
    scene.assert_settled();
}

type Wrong = fn(&Scene, &ImageId);

/// What a person reads in a table's last column, or of a builder.
#[test]
fn each_thing_that_can_be_wrong_with_a_build_has_a_line_of_its_own() {
    let wide = || Style { width: 300, ..Style::plain() };
    let base = |scene: &Scene| scene.world.with(|state| state.clouds[PROVIDER].images[0].seen.id.clone());
    let of_the_base: [(Wrong, &str); 4] = [
        (
            |scene, base| change_image(scene, base, |image| image.name = "ci-old".into()),
            "  a person: there is no ACTIVE image `image-ci-jessie` (the last one is called `ci-old` now)\n",
        ),
        (
            |scene, base| scene.world.with(|state| state.delete_image(&PROVIDER.into(), base)).expect("deleted"),
            "  a person: there is no ACTIVE image `image-ci-jessie` (the last one was deleted)\n",
        ),
        (
            |scene, base| change_image(scene, base, |image| image.status = "deactivated".into()),
            "  a person: there is no ACTIVE image `image-ci-jessie` (the last one is deactivated)\n",
        ),
        (
            |scene, _| {
                let theirs = scene.world.add_image(&PROVIDER.into(), BASE).expect("planted");
                change_image(scene, &theirs, |image| image.owner = Some("ffff".into()));
            },
            "ffff): say which by base-image-owner\n",
        ),
    ];
    for (wrong, words) in of_the_base {
        let scene = scene();
        scene.converge();
        wrong(&scene, &base(&scene));
        scene.world.tick(90_000);
        let text = plan_text(&scene.plan(), wide());
        assert!(text.contains(words), "{words}{text}");
    }
    let refused = self::scene();
    let said = "Cannot 'createImage' instance while it is in task_state powering-off (HTTP 409)".to_owned();
    let fault = ActFault { kind: "create-image", error: ActErrorKind::Refused, said: said.clone(), done: false, times: 1 };
    refused.world.with(|state| state.faults.act.push(fault));
    refused.converge();
    let text = refused.said.lock().expect("words").clone();
    assert!(text.contains(&said), "{text}");
    let stuck = self::scene();
    stuck.world.next_fate(Fate { save: SaveFate::Stuck, ..Fate::default() });
    stuck.timer_until(|scene| images(scene).iter().any(|image| image.status == "saving"));
    stuck.world.tick(11 * 60);
    let text = plan_text(&stuck.plan(), wide());
    assert!(text.contains("failed: its image not active within 10m\n"), "{text}");
}

#[test]
fn of_several_projects_images_of_one_name_none_is_taken_unless_it_is_said_whose() {
    let mut scene = scene();
    let theirs = scene.world.add_image(&PROVIDER.into(), BASE).expect("planted");
    change_image(&scene, &theirs, |image| image.owner = Some("ffff".into()));
    let plan = scene.plan();
    let Some(WaitsFor::SeveralOwners { owners, .. }) = &plan.images[0].waits_for else { panic!("{:?}", plan.images) };
    assert!(plan.is_empty() && owners.len() == 2, "{owners:?}");
    let ours = owners.iter().find(|owner| *owner != "ffff").cloned();
    for (owner, expected) in [(Some("ffff".to_owned()), true), (ours, false)] {
        image(&mut scene).base_image_owner = owner;
        let plan = scene.plan();
        let acts: Vec<&Act> = plan.chains.iter().flat_map(|chain| &chain.actions).map(|action| &action.act).collect();
        let [Act::CreateServer(create)] = acts.as_slice() else { panic!("{acts:?}") };
        assert_eq!(create.image == theirs, expected);
    }
}

/// The newest machine from the newest snapshot failed: the pool lives on the one before it, and tries again after each back-off.
#[test]
fn a_snapshot_whose_machines_fail_is_passed_over_for_the_one_before_it() {
    let mut scene = scene();
    scene.converge();
    let old = images(&scene)[0].id.to_string();
    scene.world.tick(60);
    change_script(&mut scene, "#!/bin/sh\n# broken\n");
    let pool = PoolName::from("ci-jessie");
    scene.world.pool_fate(&pool, Fate { script: ScriptFate::Exits { status: 1, output: "broken".into() }, ..Fate::default() });
    scene.timer();
    scene.timer();
    assert_eq!(images(&scene).len(), 2);
    half_an_hour(&scene);
    let agents = scene.agents();
    assert_eq!(agents.len(), 2, "the old ones work and stay");
    let said = |plan: &Plan| matches!(plan.pools[0].waits_for, Some(WaitsFor::BackOff { .. }));
    assert!(scene.plans.lock().expect("plans").iter().any(said), "the roll halts, and says so");
    // One of them is used: what replaces it comes from the one before.
    scene.timer_until(|scene| said(&scene.plan()));
    scene.world.with(|state| state.faults.pool_fates.clear());
    scene.world.start_gearman_build(&Scene::target(), &agents[0], 5).expect("idle");
    scene.world.tick(6);
    scene.timer();
    let ready = scene.agents();
    assert!(ready.len() >= 2 && !ready.contains(&agents[0]), "{ready:?}");
    assert!(bases(&scene).contains(&old));
    for _ in 0..60 {
        scene.timer();
        scene.world.tick(60);
    }
    let newest = images(&scene)[1].id.to_string();
    assert_eq!(bases(&scene), BTreeSet::from([newest]), "once one got ready the rest follows");
    scene.assert_settled();
}

#[test]
fn nothing_boots_from_an_image_that_is_not_sealed() {
    let mut scene = scene();
    scene.world.image_fate(&of_image(), setup_fails());
    scene.converge();
    let planted = scene.world.add_image(&PROVIDER.into(), "snapshot-ci-jessie-x").expect("planted");
    change_image(&scene, &planted, |image| {
        for (mark, value) in [(ImageMark::Controller, "contint"), (ImageMark::Image, IMAGE), (ImageMark::Build, "gone")] {
            image.properties.insert(mark.key().into(), value.into());
        }
    });
    let summary = scene.converge();
    assert_eq!((summary.created, images(&scene).len()), (0, 1));
    scene.pool().image = PoolImage::Glance("snapshot-ci-jessie-x".into());
    assert_eq!(scene.converge().created, 2, "by its name it is anybody's");
}

/// A killed image tells nothing, and is gone before its builder, which is kept for a look.
#[test]
fn what_glance_killed_goes_at_once() {
    let scene = scene();
    scene.world.next_fate(Fate { save: SaveFate::Killed, ..Fate::default() });
    scene.timer_until(|scene| !failed_marks(scene).is_empty());
    scene.timer();
    assert_eq!((failed_marks(&scene).len(), images(&scene).len()), (1, 0));
}

/// The one that works outlives any number of newer ones that nobody has seen work.
#[test]
fn the_last_one_that_nodes_came_online_from_is_kept() {
    let mut scene = scene();
    scene.converge();
    let works = images(&scene)[0].id.clone();
    let broken = Fate { script: ScriptFate::Exits { status: 1, output: "broken".into() }, ..Fate::default() };
    scene.world.pool_fate(&PoolName::from("ci-jessie"), broken);
    for round in 0..3 {
        scene.world.tick(60);
        change_script(&mut scene, &format!("#!/bin/sh\n# broken {round}\n"));
        scene.timer_until(|scene| scene.plan().images[0].due.is_none() && scene.plan().images[0].builder.is_none());
        // The kept failed machine of the newest comes and goes.
        for _ in 0..50 {
            scene.timer();
            scene.world.tick(60);
            assert!(images(&scene).iter().any(|image| image.id == works), "round {round}: {:?}", images(&scene));
        }
    }
    assert!(bases(&scene).contains(works.as_str()), "the pool lives on it");
    scene.world.with(|state| state.faults.pool_fates.clear());
    for _ in 0..60 {
        scene.timer();
        scene.world.tick(60);
    }
    assert_eq!((images(&scene).len(), images(&scene).iter().all(|image| image.id != works)), (2, true), "once the newest works");
    scene.assert_settled();
}
