//! Which build gets scarce room, and what nobody builds: on the in-memory world.

use poolkeeper::desired::{FlavorChoice, PoolImage};
use poolkeeper::names::{ImageName, PoolName};
use poolkeeper::plan::{Due, WaitsFor};
use poolkeeper::run::Options;

use crate::images::{BASE, IMAGE, builds, image, scene, snapshot};
use crate::scene::{PROVIDER, Scene};

#[test]
fn one_builder_at_a_time_and_a_slot_is_kept_for_it() {
    let mut scene = scene();
    let mut other = snapshot();
    other.name = ImageName::from("snapshot-ci-trusty");
    scene.desired.images.insert(other.name.clone(), other);
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

/// A build's flavor needs more than what is left, and a pool's would eat that up each time.
#[test]
fn the_last_slot_is_for_a_build_that_waits_for_quota() {
    let mut scene = scene();
    scene.world.add_flavor(&PROVIDER.into(), "m1.large", 4, 2048);
    image(&mut scene).flavor = FlavorChoice::Name("m1.large".into());
    scene.pool().image = PoolImage::Glance(BASE.into());
    scene.world.with(|state| state.clouds.get_mut(PROVIDER).expect("a cloud").limits.cores = Some(3));
    scene.desired.controller.providers.get_mut(PROVIDER).expect("it").max_servers = 2;
    let plan = scene.plan();
    assert!(matches!(plan.images[0].waits_for, Some(WaitsFor::Quota(_))), "{:?}", plan.images);
    assert_eq!((plan.chains.len(), &plan.pools[0].waits_for), (1, &Some(WaitsFor::KeptForBuild(IMAGE.into()))));
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
