//! What is said of images is so, and names what to do.

use std::fs;

use poolkeeper::cli::{ExplainArgs, Format};
use poolkeeper::commands::explain::show;
use poolkeeper::observed::Image;
use poolkeeper::plan::WaitsFor;
use poolkeeper::report::plan_text::plan_text;
use poolkeeper::report::style::Style;
use poolkeeper::sandbox::{Fate, SshFate};

use crate::images::{IMAGE, change_image, images, scene};
use crate::images_fail::{of_image, setup_fails};
use crate::scene::{PROVIDER, Scene};
use crate::served::{Served, Shape};
use crate::status::status_of;

fn served() -> Served {
    Served::new(Shape { providers: 1, targets: 1, pools: 1, min_ready: 1 }).with_snapshot()
}

fn snapshots(served: &Served) -> Vec<Image> {
    let all = served.world.with(|state| state.clouds.get("cloud-0").expect("a cloud").images.clone());
    all.into_iter().map(|image| image.seen).filter(|image| image.name.starts_with("snapshot")).collect()
}

#[test]
fn a_builder_that_is_not_there_yet_has_no_name() {
    let scene = scene();
    let plan = scene.plan();
    let builder = plan.images[0].builder.clone().expect("it is planned");
    let text = plan_text(&plan, Style { width: 300, ..Style::plain() });
    assert!(text.contains(" - to be created\n") && !text.contains(builder.as_str()), "{text}");
    assert!(text.contains(&format!("a snapshot `{IMAGE}`: its builder is to be created")), "{text}");
    scene.timer_until(|scene| !scene.names().is_empty());
    let text = plan_text(&scene.plan(), Style { width: 300, ..Style::plain() });
    assert!(text.contains(&format!("{}: ", scene.names()[0])), "there it is: {text}");
    scene.converge();
    let bad = images(&scene)[0].clone();
    change_image(&scene, &bad.id, |image| drop(image.properties.insert("poolkeeper_bad".into(), "by hand".into())));
    let text = plan_text(&scene.plan(), Style { width: 300, ..Style::plain() });
    assert!(text.contains("changed inputs, an `image update`, or 2026-11-26 10:"), "{text}");
}

#[test]
fn who_deletes_the_last_good_one_hears_what_builds_another() {
    let served = served();
    let list = served.done(&["image", "list"], "nothing yet");
    assert!(list.contains("the next run, it is due: there is no good snapshot"), "{list}");
    let json = || serde_json::from_str::<serde_json::Value>(&served.done(&["image", "list", "--format", "json"], "a list"));
    let none = json().expect("JSON");
    assert_eq!((&none["snapshots"], &none["images"][0]["name"]), (&serde_json::json!([]), &"snapshot".into()), "{none}");
    assert_eq!(none["images"][0]["due"], "missing", "{none}");
    served.done(&["image", "update", "snapshot"], "begun");
    let begun = json().expect("JSON");
    let image = &begun["images"][0];
    assert!(
        image["builder"].is_string() && image["state"].is_string() && image["builder_waits_for"] != serde_json::Value::Null,
        "{begun}"
    );
    served.done(&["image", "update", "snapshot", "--wait"], "the first");
    let name = snapshots(&served)[0].name.clone();
    let said = served.done(&["image", "delete", &name], "the last good one");
    assert!(said.contains("after rebuild-after, or now by `poolkeeper image update snapshot`"), "{said}");
    let said = served.done(&["image", "delete", "--now", &name], "at once");
    assert!(said.contains("until one is built, which is due now (`poolkeeper plan` tells"), "{said}");
}

#[test]
fn of_an_image_whose_file_is_gone_it_is_said_what_deletes_its_snapshots() {
    let served = served();
    served.done(&["image", "update", "snapshot", "--wait"], "the first");
    let state = served.desired_state();
    fs::remove_file(state.join("images/snapshot.yaml")).expect("it is there");
    let pool = state.join("pools/pool-00.yaml");
    let text = fs::read_to_string(&pool).expect("a pool").replace("image: snapshot", "image: {glance: debian-12}");
    fs::write(&pool, text).expect("a pool");
    let name = snapshots(&served)[0].name.clone();
    let list = served.done(&["image", "list"], "removed");
    assert!(list.contains("removed: its file is not in images/ any more; it is kept"), "{list}");
    let said = served.done(&["image", "delete", &name], "called bad");
    assert!(said.contains("nothing builds snapshot in cloud-0 any more") && said.contains("image delete --now"), "{said}");
    served.done(&["image", "delete", "--now", &name], "at once");
    assert_eq!(snapshots(&served), []);
}

/// In the plan and in status: which, when, why, and what comes next.
#[test]
fn a_build_that_failed_is_told() {
    let mut scene = scene();
    scene.world.image_fate(&of_image(), setup_fails());
    scene.timer();
    let told = |scene: &Scene| {
        let text = plan_text(&scene.plan(), Style::plain());
        let (_, from) = text.split_once("failed:  ").unwrap_or_else(|| panic!("{text}"));
        let lines: Vec<&str> = from.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        assert!(status_of(scene).contains(from.split("\n\n").next().expect("the line")), "status says it too");
        lines.join(" ")
    };
    let why = "(try 1): setup script exited 100: Get:1 jessie / E: no space left / E: giving up";
    let log = format!("the output: poolkeeper image log {IMAGE}");
    let first = told(&scene);
    let until = scene.plan().images[0].failed.clone().expect("it failed").again.strftime("%H:%M").to_string();
    assert!(first.starts_with(&format!("the build of {IMAGE} in {PROVIDER}, ")) && first.contains(why), "{first}");
    assert!(first.ends_with(&format!("tried again from {until} UTC on; {log}")), "{first}");
    scene.world.tick(3600);
    scene.desired.controller.paused = Some("moving house".to_owned());
    let paused = told(&scene);
    assert!(paused.ends_with(&format!("the next try waits for a person: paused: moving house; {log}")), "{paused}");
    let waits = scene.plan().waits;
    assert!(matches!(waits[0].waits_for, WaitsFor::TryDue { attempt: 1, .. }), "{waits:?}");
    scene.desired.controller.paused = None;
    assert!(told(&scene).contains(" tried again: snapshot-ci-jessie-"), "{}", told(&scene));
    scene.world.image_fate(&of_image(), Fate::default());
    scene.converge();
    let plans = scene.plans.lock().expect("plans").clone();
    let good: Vec<_> = plans.iter().filter(|plan| plan.images[0].current.is_some()).collect();
    assert!(!good.is_empty() && good.iter().all(|plan| plan.images[0].failed.is_none()), "over once a later one is good");
    scene.assert_settled();
}

/// A publish has taken its base image's name.
#[test]
fn the_base_of_a_snapshot_has_the_name_that_it_has_now() {
    let served = served();
    served.done(&["image", "update", "snapshot", "--wait"], "the first");
    let file = served.desired_state().join("../file");
    fs::write(&file, "a disk").expect("a file");
    served.done(&["image", "publish", &file.to_string_lossy(), "debian-12"], "another base image");
    let rows = || -> serde_json::Value {
        serde_json::from_str(&served.done(&["image", "list", "--format", "json"], "a list")).expect("JSON")
    };
    let base = || rows()["snapshots"][0]["base"].as_str().expect("a base").to_owned();
    assert!(base().starts_with("debian-12_old_"), "{}", base());
    // Gone, it has none: its id, short where a person reads it.
    served.world.with(|state| {
        state.clouds.values_mut().for_each(|cloud| cloud.images.retain(|image| !image.seen.name.contains("_old_")));
    });
    let id = base();
    assert_eq!(id.len(), 36, "{id}");
    let list = served.done(&["image", "list"], "a list");
    assert!(list.contains(&format!(" {} ", &id[..8])) && !list.contains(&id), "{list}");
}

#[test]
fn what_a_builder_waits_for_is_its_setup_script() {
    let scene = scene();
    scene.world.with(|state| state.faults.next_fates.push_back(Fate { ssh: SshFate::Never, ..Fate::default() }));
    scene.timer_until(|scene| scene.world.with(|state| state.clouds.values().any(|cloud| !cloud.servers.is_empty())));
    scene.timer();
    let name = scene.world.servers(&PROVIDER.into())[0].name.to_string();
    let args = ExplainArgs { node: name, format: Format::Text };
    let mut out = Vec::new();
    show(&args, &scene.desired, &scene.world, &|| scene.world.now(), Style::plain(), &mut out).expect("a builder");
    let text = String::from_utf8(out).expect("text").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("its host key is pinned and its setup script starts"), "{text}");
    assert!(!text.contains("ready script"), "{text}");
}
