//! Pools that share their scripts with the snapshot that they boot from: one change, one replacement.

use std::sync::Arc;

use poolkeeper::desired::ScriptDir;
use poolkeeper::observed::Mark;
use poolkeeper::plan::WaitsFor;
use poolkeeper::sandbox::Fate;

use crate::images::change_image;
use crate::images::{IMAGE, bases, change_script, image, images, scene};
use crate::images_fail::{of_image, setup_fails};
use crate::scene::Scene;

/// One directory for both, as `script-dir` of the image alone makes it.
fn shared(scene: &mut Scene) {
    let scripts = Arc::clone(&image(scene).scripts);
    (scene.pool().scripts, scene.pool().ready_script) = (Some(scripts), Some("ready.sh".to_owned()));
}

fn ready() -> Scene {
    let mut scene = scene();
    shared(&mut scene);
    scene.converge();
    scene.world.tick(60);
    scene
}

fn change(scene: &mut Scene) {
    change_script(scene, "#!/bin/sh\n# one byte more\n");
    shared(scene);
}

#[test]
fn nodes_wait_for_the_snapshot_that_the_same_change_has_built() {
    let mut scene = ready();
    change(&mut scene);
    let said = |scene: &Scene| scene.plan().waits.iter().map(|wait| wait.waits_for.to_string()).collect::<Vec<_>>();
    let words = format!("the build of `{IMAGE}` from the same change, to be replaced once (script changed)");
    assert_eq!((scene.plan().chains.len(), said(&scene)), (1, vec![words.clone(); 2]), "its builder");
    scene.timer_until(|scene| scene.names().len() == 3);
    assert_eq!(said(&scene).iter().filter(|text| **text == words).count(), 2, "while it is built");
    let summary = scene.converge();
    assert_eq!((summary.created, summary.deleted), (2, 3), "each node once, and the builder");
    assert_eq!(bases(&scene).into_iter().collect::<Vec<_>>(), [images(&scene)[1].id.to_string()]);
    scene.assert_settled();
}

#[test]
fn nodes_do_not_wait_for_a_snapshot_whose_build_fails() {
    let mut scene = ready();
    scene.world.image_fate(&of_image(), setup_fails());
    change(&mut scene);
    let summary = scene.converge();
    assert_eq!((summary.created, summary.deleted), (3, 2), "the builder is kept, and both nodes have the new scripts");
    scene.world.image_fate(&of_image(), Fate::default());
    scene.world.tick(120);
    scene.converge();
    assert_eq!((images(&scene).len(), scene.names().len()), (2, 2));
    scene.assert_settled();
}

#[test]
fn nodes_do_not_wait_for_a_build_that_never_ends() {
    let mut scene = ready();
    change(&mut scene);
    scene.timer_until(|scene| scene.names().len() == 3);
    let waiting =
        |scene: &Scene| scene.plan().waits.iter().filter(|wait| matches!(wait.waits_for, WaitsFor::NewSnapshot { .. })).count();
    let builder = scene.servers().into_iter().find(|server| server.metadata.contains_key(Mark::Image.key())).expect("one");
    scene.world.change_server(&builder.id, |server| server.task = Some("image_uploading".to_owned()));
    assert_eq!(waiting(&scene), 2);
    scene.world.tick(3600);
    assert_eq!(waiting(&scene), 0, "{:?}", scene.plan().waits);
}

/// What a person calls bad does no more builds than it must.
#[test]
fn nodes_from_a_bad_snapshot_do_not_wait_for_the_next_build() {
    let mut scene = ready();
    change(&mut scene);
    scene.converge();
    scene.world.tick(60);
    let bad = images(&scene)[1].id.clone();
    change_image(&scene, &bad, |image| drop(image.properties.insert("poolkeeper_bad".into(), "by hand".into())));
    change_script(&mut scene, "#!/bin/sh\n# mended\n");
    shared(&mut scene);
    let waits = scene.plan().waits;
    assert!(waits.iter().all(|wait| !matches!(wait.waits_for, WaitsFor::NewSnapshot { .. })), "{waits:?}");
}

#[test]
fn nodes_wait_for_no_build_that_a_person_must_help() {
    let mut scene = ready();
    change(&mut scene);
    image(&mut scene).base_image = "nobodys".into();
    let waits = scene.plan().waits;
    assert!(waits.iter().all(|wait| !matches!(wait.waits_for, WaitsFor::NewSnapshot { .. })), "{waits:?}");
    // A directory of the pool's own is no input of the snapshot.
    let mut scene = ready();
    change(&mut scene);
    let mut files = image(&mut scene).scripts.files.clone();
    files.insert("more.sh".to_owned(), Vec::new());
    scene.pool().scripts = Some(Arc::new(ScriptDir { files }));
    let waits = scene.plan().waits;
    assert!(waits.iter().all(|wait| !matches!(wait.waits_for, WaitsFor::NewSnapshot { .. })), "{waits:?}");
}
