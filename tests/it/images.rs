//! Snapshots from their base image to the nodes that boot from them: whole stories on the in-memory world.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;
use poolkeeper::desired::{Clean, FlavorChoice, PoolImage, ScriptDir, SnapshotImage};
use poolkeeper::names::{ImageId, ImageName};
use poolkeeper::observed::{Image, ImageMark, Mark, Source};
use poolkeeper::plan::spec::Inputs;
use poolkeeper::plan::{Because, Due, WaitsFor};
use poolkeeper::report::plan_text::plan_text;
use poolkeeper::report::style::Style;
use poolkeeper::run::Options;
use poolkeeper::sandbox::{Drop, Generation};

use crate::scene::{PROVIDER, Scene};

pub(crate) const IMAGE: &str = "snapshot-ci-jessie";
pub(crate) const BASE: &str = "image-ci-jessie";

pub(crate) fn snapshot() -> SnapshotImage {
    let script = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    SnapshotImage {
        name: ImageName::from(IMAGE),
        providers: vec![PROVIDER.into()],
        base_image: BASE.into(),
        base_image_owner: None,
        flavor: FlavorChoice::Name("m1.medium".into()),
        setup_script: "setup.sh".into(),
        scripts: Arc::new(ScriptDir { files: [script("setup.sh", "#!/bin/sh\n"), script("ready.sh", "#!/bin/sh\n")].into() }),
        username: vec!["debian".into()],
        private_key: PathBuf::from("/etc/poolkeeper/id_ed25519"),
        ssh_port: 22,
        setup_timeout: SignedDuration::from_mins(10),
        rebuild_after: SignedDuration::from_hours(24),
        keep: 2,
        clean: vec![Clean::MachineId, Clean::DhcpLeases],
        diskimage: None,
        env: BTreeMap::from([("LANG".to_owned(), "C".to_owned())]),
        properties: BTreeMap::from([("hw_disk_bus".to_owned(), "virtio".to_owned())]),
    }
}

/// The scene's pool boots from a snapshot.
pub(crate) fn scene() -> Scene {
    let mut scene = Scene::new(Generation::J2_462);
    scene.desired.images.insert(IMAGE.into(), snapshot());
    scene.pool().image = PoolImage::Snapshot(IMAGE.into());
    scene
}

pub(crate) fn image(scene: &mut Scene) -> &mut SnapshotImage {
    scene.desired.images.get_mut(IMAGE).expect("the image")
}

/// Another byte in its setup script.
pub(crate) fn change_script(scene: &mut Scene, text: &str) {
    let mut files = image(scene).scripts.files.clone();
    files.insert("setup.sh".to_owned(), text.as_bytes().to_vec());
    image(scene).scripts = Arc::new(ScriptDir { files });
}

/// What Glance has of the image, sealed or not, oldest first.
pub(crate) fn images(scene: &Scene) -> Vec<Image> {
    let all = scene.world.with(|state| state.clouds.get(PROVIDER).expect("a cloud").images.clone());
    let mut images: Vec<Image> = all.into_iter().map(|image| image.seen).collect();
    images.retain(|image| image.name.starts_with(IMAGE));
    images.sort_by_key(|image| image.created);
    images
}

pub(crate) fn change_image(scene: &Scene, id: &ImageId, change: impl Fn(&mut Image)) {
    scene.world.with(|state| {
        let images = &mut state.clouds.get_mut(PROVIDER).expect("a cloud").images;
        change(&mut images.iter_mut().find(|image| image.seen.id == *id).expect("the image").seen);
    });
}

fn call_bad(scene: &Scene, image: &Image) {
    let said = "2026-11-25T10:00:00Z no network in it";
    change_image(scene, &image.id, |image| drop(image.properties.insert(ImageMark::Bad.key().into(), said.into())));
}

/// What the nodes boot from.
pub(crate) fn bases(scene: &Scene) -> BTreeSet<String> {
    let servers = scene.servers().into_iter().filter(|server| server.metadata.contains_key(Mark::Pool.key()));
    servers.map(|server| server.mark(Mark::Base).expect("the mark").to_owned()).collect()
}

pub(crate) fn builds(scene: &Scene) -> Vec<Due> {
    let plans = scene.plans.lock().expect("plans");
    let chains = plans.iter().flat_map(|plan| &plan.chains);
    chains.filter_map(|chain| if let Because::Build(due) = &chain.because { Some(due.clone()) } else { None }).collect()
}

#[test]
fn a_snapshot_is_built_and_nodes_boot_from_it() {
    let scene = scene();
    let summary = scene.converge();
    assert_eq!((summary.created, summary.deleted, summary.failed), (3, 1, 0), "a builder, then two nodes from its snapshot");
    let images = images(&scene);
    let [image] = images.as_slice() else { panic!("{images:?}") };
    let mark = |mark: ImageMark| image.properties.get(mark.key()).map_or("-", String::as_str);
    assert_eq!((image.status.as_str(), mark(ImageMark::Itself)), ("active", image.id.as_str()));
    assert_eq!((mark(ImageMark::Image), mark(ImageMark::Bad), mark(ImageMark::Going)), (IMAGE, "", ""));
    assert!(mark(ImageMark::Spec).starts_with("v1 base=") && mark(ImageMark::Spec).len() <= 255, "{}", mark(ImageMark::Spec));
    assert_eq!(image.properties.get("hw_disk_bus").map(String::as_str), Some("virtio"));
    assert_eq!(bases(&scene), BTreeSet::from([image.id.to_string()]));
    assert_eq!(builds(&scene), [Due::Missing]);
    scene.assert_settled();
}

#[test]
fn a_changed_script_is_named_and_built_again_and_the_nodes_follow() {
    let mut scene = scene();
    scene.converge();
    let first = images(&scene)[0].clone();
    scene.world.tick(60);
    change_script(&mut scene, "#!/bin/sh -x\n");
    let said = plan_text(&scene.plan(), Style::plain());
    assert!(said.contains(&format!("+ build   {IMAGE}")) && said.contains("scripts changed"), "{said}");
    assert!(said.contains(first.name.as_str()), "the one that there is: {said}");
    let summary = scene.converge();
    assert_eq!((summary.created, summary.deleted, summary.failed), (3, 3, 0));
    let images = images(&scene);
    assert_eq!(images.len(), 2, "the current one and the one before it");
    assert_eq!(bases(&scene), BTreeSet::from([images[1].id.to_string()]));
    assert_eq!(builds(&scene), [Due::Missing, Due::Changed(vec!["scripts"])]);
    scene.assert_settled();
}

/// Snapshots of running deployments carry these digests: others would have all of them built again.
#[test]
fn golden_inputs() {
    let inputs = Inputs::of_snapshot(&snapshot(), &ImageId::from("9299db8b-5b9c-4a68-a6b6-1a7b0b5d0c0e"));
    assert_eq!(inputs.spec, "v1 base=b046223f scripts=c2edb289 env=0d345084 flavor=8a6a1cbe props=1752a9da clean=d4a5256d");
}

type Change = fn(&mut SnapshotImage);

#[test]
fn every_input_is_one_and_nothing_else_is() {
    let mut scene = scene();
    scene.converge();
    let due = |scene: &Scene| {
        let plan = scene.plan();
        let due = plan.images[0].due.clone();
        match due {
            Some(Due::Changed(inputs)) => inputs.join(","),
            None => "-".to_owned(),
            other => panic!("{other:?}"),
        }
    };
    let changes: [(&str, Change); 10] = [
        ("env", |image| drop(image.env.insert("LANG".into(), "de".into()))),
        ("flavor", |image| image.flavor = FlavorChoice::AtLeast { min_ram: 1, name_contains: String::new() }),
        ("props", |image| image.properties.clear()),
        ("clean", |image| image.clean.push(Clean::HostKeys)),
        ("scripts", |image| image.setup_script = "ready.sh".into()),
        ("-", |image| image.setup_timeout = SignedDuration::from_hours(3)),
        ("-", |image| image.rebuild_after = SignedDuration::from_hours(48)),
        ("-", |image| image.keep = 5),
        ("-", |image| image.username = vec!["root".into()]),
        ("-", |image| image.private_key = "/elsewhere".into()),
    ];
    for (inputs, change) in changes {
        *image(&mut scene) = snapshot();
        change(image(&mut scene));
        assert_eq!(due(&scene), inputs);
    }
    *image(&mut scene) = snapshot();
    scene.world.add_image(&PROVIDER.into(), BASE).expect("the provider");
    assert_eq!(due(&scene), "base", "a newer one of that name");
}

#[test]
fn only_so_many_are_kept_and_none_that_is_protected_or_in_use() {
    let mut scene = scene();
    scene.converge();
    for round in 0..3 {
        scene.world.tick(60);
        change_script(&mut scene, &format!("#!/bin/sh\n# {round}\n"));
        scene.converge();
    }
    assert_eq!(images(&scene).len(), 2);
    scene.assert_settled();
    let oldest = images(&scene)[0].clone();
    change_image(&scene, &oldest.id, |image| image.protected = true);
    scene.world.tick(60);
    change_script(&mut scene, "#!/bin/sh\n# protected\n");
    scene.converge();
    assert_eq!(images(&scene).len(), 3, "a person keeps it");
    change_image(&scene, &oldest.id, |image| image.protected = false);
    // A node in BUILD boots from it.
    let marks = [
        ("poolkeeper_controller", "contint"),
        ("poolkeeper_role", "node"),
        ("poolkeeper_pool", "ci-jessie"),
        ("poolkeeper_target", "contint1001"),
        ("poolkeeper_base", oldest.id.as_str()),
    ];
    let id = scene.world.add_server(&PROVIDER.into(), "ci-jessie-1", &marks).expect("planted");
    scene.world.change_server(&id, |server| server.status = poolkeeper::observed::ServerStatus::Build);
    assert!(scene.plan().chains.iter().all(|chain| chain.because != Because::BeyondKeep { keep: 2 }), "in use");
    scene.world.change_server(&id, |server| server.metadata.clear());
    scene.converge();
    assert_eq!(images(&scene).len(), 2);
}

#[test]
fn where_no_node_ever_came_online_keep_alone_counts() {
    let mut scene = scene();
    scene.world.begin_outage(Source::Target(Scene::target()), "connect timed out after 10s");
    for round in 0..4 {
        change_script(&mut scene, &format!("#!/bin/sh\n# {round}\n"));
        for _ in 0..4 {
            scene.timer();
            scene.world.tick(60);
        }
    }
    assert_eq!(images(&scene).len(), 2);
}

#[test]
fn one_that_a_pool_names_by_its_id_stays() {
    let mut scene = scene();
    scene.converge();
    let first = images(&scene)[0].id.clone();
    let mut named = scene.pool().clone();
    (named.name, named.image) = ("ci-named".into(), PoolImage::Glance(first.to_string()));
    scene.desired.pools.insert(named.name.clone(), named);
    for round in 0..3 {
        scene.world.tick(60);
        change_script(&mut scene, &format!("#!/bin/sh\n# {round}\n"));
        scene.converge();
    }
    assert!(images(&scene).len() == 3 && images(&scene)[0].id == first, "two, and the one that is named: {:?}", images(&scene));
}

#[test]
fn a_bad_snapshot_is_passed_over_not_built_again_and_goes_once_a_newer_one_is_good() {
    let mut scene = scene();
    scene.converge();
    scene.world.tick(60);
    change_script(&mut scene, "#!/bin/sh\n# bad\n");
    scene.converge();
    let before = images(&scene);
    call_bad(&scene, &before[1]);
    scene.converge();
    assert_eq!(bases(&scene), BTreeSet::from([before[0].id.to_string()]), "the one before it");
    assert_eq!(images(&scene).len(), 2, "it stays as long as it tells what is bad");
    assert!(matches!(scene.plan().images[0].waits_for, Some(WaitsFor::BadInputs { .. })), "{:?}", scene.plan().images);
    scene.assert_settled();
    scene.world.tick(60);
    change_script(&mut scene, "#!/bin/sh\n# mended\n");
    scene.converge();
    let after: Vec<ImageId> = images(&scene).into_iter().map(|image| image.id).collect();
    assert!(after.len() == 2 && !after.contains(&before[1].id), "{after:?}");
    assert_eq!(bases(&scene), BTreeSet::from([after[1].to_string()]));
    scene.assert_settled();
}

#[test]
fn bad_inputs_are_tried_again_after_rebuild_after() {
    let scene = scene();
    scene.converge();
    call_bad(&scene, &images(&scene)[0]);
    let plan = scene.plan();
    assert!(plan.is_empty() && matches!(plan.images[0].waits_for, Some(WaitsFor::BadInputs { .. })), "{:?}", plan.images);
    scene.world.tick(86_400);
    scene.converge();
    assert_eq!(builds(&scene), [Due::Missing, Due::Missing]);
    assert_eq!(images(&scene).len(), 1);
    scene.assert_settled();
}

#[test]
fn an_old_snapshot_is_built_again() {
    let mut scene = scene();
    scene.pool().max_ready_age = None;
    scene.converge();
    scene.world.tick(86_300);
    assert!(scene.plan().is_empty());
    scene.world.tick(200);
    scene.converge();
    assert_eq!(builds(&scene), [Due::Missing, Due::Old(SignedDuration::from_hours(24))]);
    scene.assert_settled();
}

#[test]
fn an_update_that_is_asked_for_is_built_once_in_its_run() {
    let scene = scene();
    scene.converge();
    scene.world.tick(60);
    let update = BTreeSet::from([(ImageName::from(IMAGE), PROVIDER.into())]);
    let summary = scene.run_with(&Options { update: update.clone(), ..Options::default() });
    assert_eq!((summary.created, summary.deleted, images(&scene).len()), (1, 1, 2), "the builder, and nothing else");
    assert_eq!(builds(&scene), [Due::Missing, Due::Requested]);
    // Also of one that a person called bad.
    scene.world.tick(60);
    call_bad(&scene, &images(&scene)[1]);
    scene.run_with(&Options { update, ..Options::default() });
    assert_eq!(builds(&scene).len(), 3);
    scene.converge();
    scene.assert_settled();
}

#[test]
fn a_builder_of_inputs_that_changed_goes_and_the_new_ones_are_built() {
    let mut scene = scene();
    scene.timer_until(|scene| scene.servers().iter().any(|server| server.metadata.contains_key(Mark::Hostkey.key())));
    let old = scene.names();
    change_script(&mut scene, "#!/bin/sh\n# new\n");
    scene.converge();
    assert_eq!(images(&scene).len(), 1);
    assert!(!images(&scene)[0].name.starts_with(&old[0]));
    scene.assert_settled();
}

#[test]
fn a_persons_snapshot_that_inherited_our_marks_is_left_alone() {
    let mut scene = scene();
    image(&mut scene).keep = 1;
    scene.converge();
    let ours = images(&scene)[0].clone();
    let theirs = scene.world.add_image(&PROVIDER.into(), "snapshot-ci-jessie-debug").expect("planted");
    change_image(&scene, &theirs, |image| image.properties.clone_from(&ours.properties));
    scene.world.tick(60);
    change_script(&mut scene, "#!/bin/sh\n# next\n");
    scene.converge();
    let left: Vec<ImageId> = images(&scene).into_iter().map(|image| image.id).collect();
    assert!(left.contains(&theirs) && !left.contains(&ours.id) && left.len() == 2, "{left:?}");
    assert!(!bases(&scene).contains(theirs.as_str()));
    scene.assert_settled();
}

#[test]
fn an_image_that_is_taken_out_keeps_its_snapshots_and_loses_its_builder() {
    let mut scene = scene();
    scene.converge();
    change_script(&mut scene, "#!/bin/sh\n# next\n");
    scene.timer_until(|scene| scene.servers().iter().any(|server| server.metadata.contains_key(Mark::Image.key())));
    scene.desired.images.clear();
    scene.pool().image = PoolImage::Glance(BASE.into());
    scene.converge();
    assert_eq!(images(&scene).len(), 1, "kept, for whoever wants it back");
    assert!(scene.servers().iter().all(|server| !server.metadata.contains_key(Mark::Image.key())));
    scene.assert_settled();
}

#[test]
fn a_build_that_is_killed_at_any_call_is_gone_on_with() {
    for drop in [Drop::BeforeEffect, Drop::AfterEffect] {
        for call in 0.. {
            let mut scene = scene();
            scene.pool().min_ready = 0;
            scene.world.stop_after(call, drop);
            scene.run_with(&Options { deadline: Some(SignedDuration::from_secs(300)), ..Options::default() });
            let stopped = scene.world.stopped();
            scene.world.resume();
            scene.world.tick(90);
            scene.converge();
            let images = images(&scene);
            assert_eq!((scene.names().len(), images.len()), (0, 1), "{drop:?} of call {call}: {:?}", scene.names());
            assert!(images[0].properties[ImageMark::Itself.key()] == images[0].id.as_str());
            let creates = scene.world.with(|state| state.log.iter().filter(|change| change.kind == "create-server").count());
            assert_eq!(creates, 1, "{drop:?} of call {call}: nothing is built twice");
            scene.assert_settled();
            if !stopped {
                let made = "create, pin, push, start, built, off, image, seal, retire, delete: each was a kill point";
                assert_eq!(call, 10, "{made}");
                break;
            }
        }
    }
}

#[test]
fn nothing_is_asked_of_an_image_that_is_as_it_should_be() {
    let scene = scene();
    scene.converge();
    assert_eq!(scene.asked(), BTreeSet::new());
}
