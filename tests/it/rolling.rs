//! Pools that change: lowered, removed, drifted, aged; and the limits that hold a change back.

use jiff::SignedDuration;
use poolkeeper::desired::FlavorChoice;
use poolkeeper::desired::units::Share;
use poolkeeper::names::ProviderName;
use poolkeeper::plan::{Because, Refusal, Verb, WaitsFor};
use poolkeeper::run::Ended;
use poolkeeper::sandbox::{Fate, Generation, Sandbox, ScriptFate};

use crate::scene::{PROVIDER, Scene};

fn ready_pool(min_ready: u32, max_servers: u32) -> Scene {
    let mut scene = Scene::new(Generation::J2_462);
    scene.pool().min_ready = min_ready;
    scene.pool().max_servers = max_servers;
    scene.desired.controller.limits.max_launches_per_run = 100;
    scene.desired.controller.providers.values_mut().for_each(|provider| provider.max_servers = 100);
    scene.converge();
    assert_eq!(scene.names().len(), min_ready as usize);
    scene
}

#[test]
fn a_lowered_pool_lets_its_oldest_idle_nodes_go() {
    // One after the other: of creates side by side, which is the first is another one in each run.
    let mut scene = ready_pool(1, 10);
    for more in 2..=4 {
        scene.world.tick(60);
        scene.pool().min_ready = more;
        scene.converge();
    }
    let mut servers = scene.servers();
    servers.sort_by_key(|server| server.created);
    let [busy, oldest] = [0, 1].map(|at: usize| servers[at].name.to_string());
    scene.world.start_build(&Scene::target(), &busy, 600).expect("idle");
    scene.pool().min_ready = 2;
    let summary = scene.converge();
    assert_eq!((summary.created, summary.deleted), (0, 1), "three are ready, two are wanted, one is busy");
    assert!(scene.names().contains(&busy), "busy");
    assert!(!scene.names().contains(&oldest), "the oldest idle one");
    scene.world.tick(600);
    scene.converge();
    scene.assert_settled();
    assert_eq!(scene.names().len(), 2);
}

#[test]
fn a_removed_pool_is_drained_and_busy_nodes_are_waited_for() {
    let mut scene = ready_pool(2, 10);
    let names = scene.names();
    scene.world.start_build(&Scene::target(), &names[0], 600).expect("idle");
    scene.desired.pools.clear();
    scene.desired.controller.limits.allow_deletes = Some(2);
    scene.converge();
    assert_eq!(scene.names(), [names[0].clone()]);
    scene.world.tick(600);
    scene.converge();
    assert!(scene.names().is_empty() && scene.agents().is_empty());
    scene.assert_settled();
}

#[test]
fn a_pool_that_vanished_is_held_by_the_brake_and_nothing_of_it_goes() {
    let mut scene = ready_pool(4, 10);
    scene.desired.pools.clear();
    for _ in 0..3 {
        let summary = scene.timer();
        let plan = summary.last.expect("a plan");
        let expected = Refusal::Deletes { would: 4, of: 4, limit: 2, share: Share::Percent(50) };
        assert_eq!((plan.refusals.as_slice(), summary.deleted), ([expected].as_slice(), 0));
        assert!(plan.waits.iter().all(|wait| wait.waits_for == WaitsFor::Limit));
        assert_eq!(scene.names().len(), 4, "none of them, in this run or a later one");
    }
    scene.desired.controller.limits.allow_deletes = Some(4);
    scene.converge();
    assert!(scene.names().is_empty());
    scene.assert_settled();
}

#[test]
fn a_jenkins_that_lost_all_its_agents_costs_no_server() {
    let mut scene = ready_pool(12, 24);
    scene.world.with(|state| state.jenkins.values_mut().for_each(|jenkins| jenkins.nodes.clear()));
    for _ in 0..20 {
        let summary = scene.timer();
        assert_eq!((summary.created, summary.deleted), (0, 0));
        assert!(summary.last.is_some_and(|plan| matches!(plan.refusals[..], [Refusal::Offline { .. }])), "the brake is named");
        scene.world.tick(600);
    }
    assert_eq!(scene.names().len(), 12);
    scene.desired.controller.limits.allow_offline = Some(12);
    scene.desired.controller.limits.allow_deletes = Some(12);
    scene.converge();
    assert_eq!((scene.names().len(), scene.agents().len()), (12, 12));
    scene.assert_settled();
}

#[test]
fn a_changed_flavor_replaces_one_node_after_the_other_and_never_goes_below_min_ready() {
    let mut scene = ready_pool(3, 10);
    let before = scene.names();
    scene.pool().flavor = FlavorChoice::Name("m1.large".into());
    scene.world.add_flavor(&PROVIDER.into(), "m1.large", 4, 8192);
    let first = scene.plan();
    assert_eq!(first.chains.iter().filter(|chain| chain.verb == Verb::Create).count(), 1, "a tenth, at least one");
    assert!(
        first
            .waits
            .iter()
            .any(|wait| matches!(&wait.waits_for, WaitsFor::Replacement(drift) if drift[0].to_string() == "flavor changed"))
    );
    let summary = scene.converge();
    assert_eq!((summary.created, summary.deleted, summary.ended), (3, 3, Some(Ended::Converged)));
    assert!(scene.names().iter().all(|name| !before.contains(name)));
    let plans = scene.plans.lock().expect("plans");
    let rolling = plans.iter().skip_while(|plan| !plan.pools.iter().any(|pool| pool.counts.replaced > 0));
    assert!(rolling.flat_map(|plan| &plan.pools).all(|pool| pool.counts.ready >= 3), "replacements first");
    drop(plans);
    scene.assert_settled();
}

#[test]
fn a_newer_image_is_rolled_out_and_halts_while_it_fails() {
    let mut scene = ready_pool(2, 10);
    let before = scene.names();
    scene.world.tick(60);
    scene.world.add_image(&PROVIDER.into(), "image-ci-jessie").expect("the provider");
    let pool = scene.pool().name.clone();
    scene.world.pool_fate(&pool, Fate { script: ScriptFate::Exits { status: 1, output: "bad image".into() }, ..Fate::default() });
    for _ in 0..10 {
        scene.timer();
        scene.world.tick(60);
    }
    assert!(before.iter().all(|name| scene.names().contains(name)), "the old ones work and stay");
    scene.world.pool_fate(&pool, Fate::default());
    for _ in 0..60 {
        scene.timer();
        scene.world.tick(60);
    }
    assert!(before.iter().all(|name| !scene.names().contains(name)));
    assert_eq!(scene.names().len(), 2);
    scene.assert_settled();
}

#[test]
fn without_room_one_drifted_node_goes_first() {
    let mut scene = ready_pool(2, 2);
    let before = scene.names();
    scene.pool().labels = vec!["ci-jessie".into(), "ci-debian".into()];
    scene.converge();
    assert!(scene.names().iter().all(|name| !before.contains(name)));
    let plans = scene.plans.lock().expect("plans");
    let drifts = plans.iter().flat_map(|plan| &plan.chains).filter(|chain| matches!(chain.because, Because::Drift(_)));
    assert!(drifts.count() >= 2);
    assert!(plans.iter().flat_map(|plan| &plan.pools).all(|pool| pool.counts.servers() <= 2), "max-servers holds");
    drop(plans);
    scene.assert_settled();
}

#[test]
fn nodes_older_than_max_ready_age_are_replaced() {
    let mut scene = ready_pool(2, 10);
    let before = scene.names();
    scene.pool().max_ready_age = Some(SignedDuration::from_hours(24));
    scene.converge();
    assert_eq!(scene.names(), before, "young");
    scene.world.tick(86_401);
    scene.converge();
    assert!(scene.names().iter().all(|name| !before.contains(name)));
    scene.assert_settled();
}

#[test]
fn two_pools_share_scarce_room_by_what_they_lack() {
    let mut scene = Scene::new(Generation::J2_462);
    let mut trusty = scene.pool().clone();
    trusty.name = "ci-trusty".into();
    trusty.min_ready = 2;
    scene.pool().min_ready = 8;
    scene.pool().max_servers = 20;
    scene.desired.pools.insert(trusty.name.clone(), trusty);
    scene.desired.controller.providers.values_mut().for_each(|provider| provider.max_servers = 5);
    scene.converge();
    let of = |pool: &str| scene.names().iter().filter(|name| name.starts_with(pool)).count();
    assert_eq!((of("ci-jessie"), of("ci-trusty")), (4, 1), "half of each");
    scene.assert_settled();
}

/// A node that works makes no room for one of which nothing is known.
#[test]
fn in_a_full_pool_no_node_goes_for_a_flavor_that_is_not_there_or_not_seen() {
    let mut scene = ready_pool(2, 2);
    scene.pool().flavor = FlavorChoice::Name("m1.lagre".into());
    let plan = scene.plan();
    assert!(plan.chains.is_empty(), "{:?}", plan.chains);
    assert!(matches!(plan.pools[0].waits_for, Some(WaitsFor::NoFlavor { .. })), "{:?}", plan.pools);
}

/// A provider that never has room for the flavor does not hide what another one waits for.
#[test]
fn where_one_provider_can_never_have_it_another_still_makes_room() {
    let mut scene = Scene::new(Generation::J2_462);
    let small = ProviderName::from("small");
    let mut provider = scene.desired.controller.providers[PROVIDER].clone();
    provider.name = small.clone();
    scene.desired.controller.providers.insert(small.clone(), provider);
    scene.desired.controller.providers.values_mut().for_each(|provider| provider.max_servers = 2);
    scene.pool().providers.insert(0, small.clone());
    scene.world = Sandbox::for_desired(&scene.desired, Generation::J2_462, scene.world.now(), 1);
    scene.world.with(|state| state.clouds.get_mut(&small).expect("a cloud").limits.cores = Some(0));
    scene.converge();
    let before = scene.names();
    assert_eq!(before.len(), 2);
    for name in [&small, &PROVIDER.into()] {
        scene.world.add_flavor(name, "m1.large", 4, 8192);
    }
    scene.pool().flavor = FlavorChoice::Name("m1.large".into());
    let summary = scene.converge();
    assert_eq!((summary.created, summary.deleted), (2, 2), "{:?}", scene.plan().pools);
    // Nor does one that has no such flavor.
    scene.world.with(|state| state.clouds.get_mut(&small).expect("a cloud").flavors.retain(|flavor| flavor.name != "m1.large"));
    scene.pool().min_ready = 3;
    let plan = scene.plan();
    assert_eq!((&plan.pools[0].waits_for, plan.is_refused()), (&Some(WaitsFor::ProviderFull { max: 2 }), false));
    scene.pool().min_ready = 2;
    assert!(scene.names().iter().all(|name| !before.contains(name)));
    scene.assert_settled();
}
