//! Which build gets scarce room, and what nobody builds: on the in-memory world.

use std::collections::BTreeSet;

use poolkeeper::desired::{FlavorChoice, PoolImage};
use poolkeeper::names::{ImageName, PoolName};
use poolkeeper::node::join;
use poolkeeper::observe::{Further, observe};
use poolkeeper::observed::ThisRun;
use poolkeeper::plan::{Due, WaitsFor};
use poolkeeper::report::explain::{Sources, explain};
use poolkeeper::report::explain_text::text;
use poolkeeper::report::find::{Found, find};
use poolkeeper::report::list::rows;
use poolkeeper::report::style::Style;
use poolkeeper::run::Options;
use poolkeeper::sandbox::faults::ActFault;
use poolkeeper::sandbox::{Fate, ScriptFate};
use poolkeeper::world::ActErrorKind;

use crate::images::{BASE, IMAGE, builds, image, images, scene, snapshot};
use crate::scene::{PROVIDER, Scene};

fn second_image(scene: &mut Scene) {
    let mut other = snapshot();
    other.name = ImageName::from("snapshot-ci-trusty");
    scene.desired.images.insert(other.name.clone(), other);
}

#[test]
fn one_builder_at_a_time_and_a_slot_is_kept_for_it() {
    let mut scene = scene();
    second_image(&mut scene);
    let mut second = scene.pool().clone();
    second.name = PoolName::from("ci-glance");
    second.image = PoolImage::Glance(BASE.into());
    scene.desired.pools.insert(second.name.clone(), second);
    scene.desired.controller.providers.get_mut(PROVIDER).expect("it").max_servers = 1;
    let occupied = [("poolkeeper_controller", "contint"), ("poolkeeper_role", "debug")];
    let debug = scene.world.add_server(&PROVIDER.into(), "debug", &occupied).expect("planted");
    let waits = |scene: &Scene| scene.plan().images.iter().map(|image| image.waits_for.clone()).collect::<Vec<_>>();
    let full = || Some(WaitsFor::ProviderFull { max: 1 });
    assert_eq!(waits(&scene), [full(), Some(WaitsFor::OtherBuild(IMAGE.into()))]);
    scene.desired.controller.providers.get_mut(PROVIDER).expect("it").max_servers = 2;
    let plan = scene.plan();
    let creates: Vec<&str> = plan.chains.iter().map(|chain| chain.subject.name.as_str()).collect();
    assert!(matches!(creates.as_slice(), [one] if one.starts_with(IMAGE)), "the one slot is the build's: {creates:?}");
    scene.world.change_server(&debug, |server| server.metadata.clear());
    scene.desired.controller.providers.get_mut(PROVIDER).expect("it").max_servers = 10;
    scene.converge();
    assert_eq!(builds(&scene).len(), 2);
    scene.assert_settled();
}

#[test]
fn an_update_waits_for_the_build_before_it_and_builds_where_it_was_told() {
    let mut scene = scene();
    second_image(&mut scene);
    scene.run_with(&Options { once: true, ..Options::default() });
    assert_eq!(scene.servers().len(), 1, "the first one's builder");
    let update = |name: &str| BTreeSet::from([(ImageName::from(name), PROVIDER.into())]);
    let summary = scene.run_with(&Options { update: update("snapshot-ci-trusty"), ..Options::default() });
    assert_eq!((summary.created, summary.deleted), (1, 2), "its own builder; both are over");
    assert_eq!(builds(&scene), [Due::Missing, Due::Requested]);
    // Missing there as well, and nobody asked for it.
    let elsewhere = BTreeSet::from([(ImageName::from(IMAGE), "elsewhere".into())]);
    scene.world.with(|state| state.clouds.get_mut(PROVIDER).expect("a cloud").images.retain(|image| image.seen.name == BASE));
    let plan = scene.plan();
    assert_eq!((plan.chains.len(), plan.only_of(&elsewhere).chains.len()), (1, 0));
}

#[test]
fn who_updates_an_image_in_one_provider_hears_of_that_one_alone() {
    let scene = scene();
    scene.world.next_fate(Fate { script: ScriptFate::Exits { status: 7, output: "E: no space".into() }, ..Fate::default() });
    scene.converge();
    let heard = |image: &str, provider: &str| {
        let plan = scene.plan().only_of(&BTreeSet::from([(ImageName::from(image), provider.into())]));
        plan.waits.iter().map(|wait| wait.state).collect::<Vec<_>>()
    };
    assert_eq!(heard(IMAGE, PROVIDER), ["failed"], "its builder, in its back-off");
    assert_eq!((heard(IMAGE, "elsewhere").len(), heard("snapshot-ci-trusty", PROVIDER).len()), (0, 0));
}

/// The machine is not to be had for a moment: who waits for the build goes on waiting.
#[test]
fn an_update_waits_over_a_moment_in_which_nothing_is_to_be_had() {
    let scene = scene();
    let said = "turn-off: Connection refused".to_owned();
    let fault = ActFault { kind: "turn-off", error: ActErrorKind::NotNow, said, done: false, times: 3 };
    scene.world.with(|state| state.faults.act.push(fault));
    let update = BTreeSet::from([(ImageName::from(IMAGE), PROVIDER.into())]);
    let summary = scene.run_with(&Options { update, ..Options::default() });
    assert_eq!((summary.stale, images(&scene).len(), scene.servers().len()), (3, 1, 0));
}

/// A build's flavor needs more than what is left, and a pool's would eat that up each time.
#[test]
fn the_last_slot_is_for_a_build_that_waits_for_quota() {
    let mut scene = scene();
    scene.world.add_flavor(&PROVIDER.into(), "m1.large", 4, 2048);
    image(&mut scene).flavor = FlavorChoice::Name("m1.large".into());
    scene.pool().image = PoolImage::Glance(BASE.into());
    scene.world.add_server(&PROVIDER.into(), "somebodys", &[]).expect("planted");
    scene.world.with(|state| state.clouds.get_mut(PROVIDER).expect("a cloud").limits.cores = Some(4));
    scene.desired.controller.providers.get_mut(PROVIDER).expect("it").max_servers = 2;
    let plan = scene.plan();
    assert!(matches!(plan.images[0].waits_for, Some(WaitsFor::Quota(_))), "{:?}", plan.images);
    assert_eq!((plan.chains.len(), &plan.pools[0].waits_for), (1, &Some(WaitsFor::KeptForBuild(IMAGE.into()))));
    assert!(plan.is_refused(), "the build waits for quota");
}

/// What leaves makes no room for it: nothing is kept free, and nothing is taken down.
#[test]
fn a_flavor_beyond_the_whole_quota_is_said_and_takes_no_place() {
    let mut scene = scene();
    scene.world.add_flavor(&PROVIDER.into(), "m1.huge", 4, 2048);
    scene.world.with(|state| state.clouds.get_mut(PROVIDER).expect("a cloud").limits.cores = Some(3));
    image(&mut scene).flavor = FlavorChoice::Name("m1.huge".into());
    second_image(&mut scene);
    scene.desired.images.get_mut("snapshot-ci-trusty").expect("it").flavor = FlavorChoice::Name("m1.medium".into());
    scene.pool().image = PoolImage::Glance(BASE.into());
    scene.desired.controller.providers.get_mut(PROVIDER).expect("it").max_servers = 3;
    let plan = scene.plan();
    let words = "a person: flavor `m1.huge` needs 4 cores, and the whole quota is 3";
    assert_eq!(plan.images[0].waits_for.as_ref().map(ToString::to_string).as_deref(), Some(words));
    assert_eq!(
        (plan.chains.len(), &plan.images[1].waits_for),
        (3, &None),
        "the other build and the pool's two: {:?}",
        plan.images
    );
    // In a full provider it waits for the same, and nobody's slot is kept.
    scene.desired.images.remove("snapshot-ci-trusty");
    scene.desired.controller.providers.get_mut(PROVIDER).expect("it").max_servers = 2;
    scene.converge();
    let plan = scene.plan();
    assert_eq!((scene.names().len(), plan.chains.len()), (2, 0));
    assert!(matches!(plan.images[0].waits_for, Some(WaitsFor::BeyondQuota { .. })), "{:?}", plan.images);
    // A drifted node works: it does not go for one that never comes.
    scene.pool().flavor = FlavorChoice::Name("m1.huge".into());
    scene.pool().max_servers = 2;
    scene.desired.images.clear();
    let plan = scene.plan();
    assert!(matches!(plan.pools[0].waits_for, Some(WaitsFor::BeyondQuota { .. })), "{:?}", plan.pools);
    assert_eq!(plan.chains.len(), 0, "{:?}", plan.chains);
}

#[test]
fn a_paused_controller_builds_nothing() {
    let mut scene = scene();
    scene.desired.controller.paused = Some("moving".into());
    let plan = scene.plan();
    assert!(plan.is_empty() && plan.images[0].waits_for == Some(WaitsFor::Paused("moving".into())), "{:?}", plan.images);
}

#[test]
fn of_a_pool_alone_no_other_image_is_built() {
    let mut scene = scene();
    let mut other = scene.pool().clone();
    other.name = PoolName::from("ci-trusty");
    other.image = PoolImage::Glance(BASE.into());
    scene.desired.pools.insert(other.name.clone(), other);
    scene.run_with(&Options { pools: vec!["ci-trusty".into()], ..Options::default() });
    assert_eq!(builds(&scene), []);
    scene.run_with(&Options { pools: vec!["ci-jessie".into()], ..Options::default() });
    assert_eq!(builds(&scene), [Due::Missing]);
}

#[test]
fn a_builder_has_its_floating_ip_and_leaves_none() {
    let mut scene = scene();
    scene.desired.controller.providers.get_mut(PROVIDER).expect("it").floating_ip_network = Some("public".into());
    scene.world.add_external_network(&PROVIDER.into(), "public").expect("the provider");
    let summary = scene.converge();
    assert_eq!((summary.created, summary.deleted, summary.failed), (3, 1, 0));
    assert_eq!(scene.world.floating_ips(&PROVIDER.into()).len(), 2, "of the nodes");
    scene.assert_settled();
}

/// It has no pool whose line could say it.
#[test]
fn a_builder_that_waits_for_a_network_that_is_not_there_is_told() {
    let mut scene = scene();
    scene.desired.controller.providers.get_mut(PROVIDER).expect("it").floating_ip_network = Some("pubic".into());
    scene.world.add_external_network(&PROVIDER.into(), "public").expect("the provider");
    scene.timer_until(|scene| !scene.plan().unmet().is_empty());
    let plan = scene.plan();
    let said: Vec<String> = plan.unmet().iter().map(ToString::to_string).collect();
    let near = "there is no network `pubic`; did you mean `public`?";
    assert_eq!(said, [format!("{IMAGE} (no snapshot in {PROVIDER}): {near}")]);
    assert!(plan.is_refused());
}

#[test]
fn a_builder_is_listed_and_explained() {
    let scene = scene();
    scene.world.next_fate(Fate { script: ScriptFate::Exits { status: 7, output: "E: no space".into() }, ..Fate::default() });
    scene.timer();
    let observed = observe(&scene.world, &scene.desired, &ThisRun::default(), &|| scene.world.now());
    let (now, plan) = (scene.world.now(), scene.plan());
    let joined = join(&scene.desired, &observed, now);
    let name = scene.names()[0].clone();
    let rows = rows(&scene.desired, &observed, &joined, now);
    let row = rows.iter().find(|row| row.node == name).expect("it is listed");
    assert_eq!((row.state, row.builds.as_deref(), row.jenkins.as_str()), ("failed", Some(IMAGE), "-"));
    let Ok(Found::Node(builder)) = find(&name, &scene.desired, &observed, &joined) else { panic!("{name} is not found") };
    let sources = Sources { desired: &scene.desired, observed: &observed, plan: &plan, further: &Further::new() };
    let said = text(&explain(sources, builder, &|_| false), now, Style::plain());
    for part in [&format!("{name} is failed"), "builds snapshot-ci-jessie", "setup script exited 7: E: no space", "back-off"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("Jenkins"), "it has no agent: {said}");
}
