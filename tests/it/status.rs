//! `status`, and the lines that `plan -v` adds: what an operator reads first, and every inaction.

use poolkeeper::cli::{Format, StatusArgs};
use poolkeeper::commands::status::show;
use poolkeeper::node::join;
use poolkeeper::observe::observe;
use poolkeeper::observed::{Source, ThisRun};
use poolkeeper::report::style::Style;
use poolkeeper::report::waits::waits_text;
use poolkeeper::sandbox::{Fate, Generation, SshFate};

use crate::audited::planned;
use crate::scene::{PROVIDER, Scene};

const SCREEN: Style = Style { colour: false, width: Style::WIDTH, fit: true, json: false };

fn status(scene: &Scene, format: Format) -> String {
    let mut out = Vec::new();
    let args = StatusArgs { format };
    show(&args, &scene.desired, &scene.world, &|| scene.world.now(), SCREEN, &mut out).expect("a status");
    String::from_utf8(out).expect("UTF-8")
}

pub(crate) fn status_of(scene: &Scene) -> String {
    status(scene, Format::Text)
}

#[track_caller]
fn same(text: &str, expected: &str) {
    assert_eq!(text, expected.trim_start_matches('\n'), "\n{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "wider than 80 columns");
}

fn waits(scene: &Scene) -> String {
    let observed = observe(&scene.world, &scene.desired, &ThisRun::default(), &|| scene.world.now());
    let now = scene.world.now();
    waits_text(&planned(&scene.desired, &observed, now), &join(&scene.desired, &observed, now), &[], SCREEN)
}

/// Three wanted: one ready, one a person's, one failed, and a newer one that boots; a stranger's server beside them.
fn mixed() -> Scene {
    let mut scene = Scene::new(Generation::J2_462);
    scene.pool().min_ready = 3;
    scene.converge_in_order();
    let used = scene.names().first().expect("three").clone();
    scene.world.mark_gearman(&Scene::target(), &used);
    scene.world.add_server(&PROVIDER.into(), "debug-trusty", &[]).expect("planted");
    let pool = scene.pool().name.clone();
    scene.world.pool_fate(&pool, Fate { ssh: SshFate::Never, ..Fate::default() });
    for _ in 0..7 {
        scene.timer();
    }
    let kept = scene.agents().first().expect("two").clone();
    scene.world.mark_by_person(&Scene::target(), &kept, "alice", "disk full");
    scene.world.with(|state| {
        let limits =
            poolkeeper::sandbox::cloud::Limits { instances: Some(25), cores: Some(40), ram: Some(51_712), floating_ips: None };
        state.clouds.values_mut().for_each(|cloud| cloud.limits = limits);
    });
    scene
}

#[test]
fn everything_at_one_sight() {
    same(
        &status(&mixed(), Format::Text),
        "
contint: 1 provider, 1 target, 1 pool

provider servers launching instances   cores    RAM GiB foreign
eqiad    4 of 10   1 of 10   5 of 25 5 of 40 10 of 50.5       1
eqiad: cloud contintcloud of the sandbox, project sandbox, user poolkeeper
eqiad: foreign, never touched: debug-trusty (m1.small, 5m)

target      version         online busy offline
contint1001 Jenkins 2.462.3      1    0       1

pool      ready busy coming used held failed want waits for
ci-jessie     1    0      1    0    1      1    3 room in the pool
                                                  (max-servers: 4)

Nothing to do now. Kept: 1 held, 1 failed (poolkeeper explain NODE)
",
    );
}

#[test]
fn gaps_stand_below_the_head() {
    let scene = mixed();
    scene.world.begin_outage(Source::Target(Scene::target()), "connect timed out after 10s");
    same(
        &status(&scene, Format::Text),
        "
contint: 1 provider, 1 target, 1 pool
gap:     contint1001 was not seen: connect timed out after 10s
  tried: GET /computer/api/json
  stops: every deletion of nodes registered there; launches go on, registration
         waits

provider servers launching instances   cores    RAM GiB foreign
eqiad    4 of 10   1 of 10   5 of 25 5 of 40 10 of 50.5       1
eqiad: cloud contintcloud of the sandbox, project sandbox, user poolkeeper
eqiad: foreign, never touched: debug-trusty (m1.small, 5m)

target      version  online busy offline
contint1001 not seen      -    -       -

pool      ready not seen busy coming used held failed want waits for
ci-jessie     0        2    0      1    0    0      1    3 SSH, contint1001 to
                                                           be seen again (2),
                                                           the next try, under
                                                           way (try 1: no SSH
                                                           within 5m (port 22:
                                                           connection refused))

Nothing to do now; not seen: contint1001. Kept: 1 failed (poolkeeper explain
NODE)
",
    );
}

#[test]
fn a_provider_that_is_not_seen() {
    let scene = mixed();
    scene.world.begin_outage(Source::Provider(PROVIDER.into()), "HTTP 503");
    let text = status(&scene, Format::Text);
    assert!(text.contains("1 pool\ngap:     eqiad was not seen: HTTP 503\n  tried: GET /servers/detail\n"), "{text}");
    assert!(text.contains("\neqiad    not seen         -         -     -       -       -\n"), "{text}");
}

#[test]
fn a_removed_pool_is_shown_with_what_a_limit_holds() {
    let mut scene = mixed();
    scene.desired.pools.clear();
    scene.desired.controller.paused = Some("moving house".to_owned());
    same(
        &status(&scene, Format::Text),
        "
contint: 1 provider, 1 target, 0 pools
refused: 1 of 1 healthy nodes would be deleted, limit is 0 (max-deletes-per-run:
         50%)
         none of them is, now or by the timer; lift once with --allow-deletes 1
paused: moving house

provider servers launching instances   cores    RAM GiB foreign
eqiad    4 of 10   0 of 10   5 of 25 5 of 40 10 of 50.5       1
eqiad: cloud contintcloud of the sandbox, project sandbox, user poolkeeper
eqiad: foreign, never touched: debug-trusty (m1.small, 5m)

target      version         online busy offline
contint1001 Jenkins 2.462.3      1    0       1

ci-jessie is not in the desired state: 4 nodes (1 failed, 1 kept, 1 ready, 1
  retiring)

2 to delete
",
    );
}

#[test]
fn long_names_fit_the_screen() {
    let mut scene = Scene::new(Generation::J2_462);
    let mut provider = scene.desired.controller.providers.pop_first().expect("one").1;
    provider.name = "wmflabs-eqiad".into();
    (provider.max_servers, provider.max_concurrent_launches) = (250, 100);
    scene.world.add_provider(&provider.name);
    scene.pool().providers = vec![provider.name.clone()];
    scene.desired.controller.providers.insert(provider.name.clone(), provider);
    scene.world.with(|state| {
        let limits = poolkeeper::sandbox::cloud::Limits {
            instances: Some(250),
            cores: Some(1000),
            ram: Some(2_048_000),
            floating_ips: None,
        };
        state.clouds.values_mut().for_each(|cloud| cloud.limits = limits);
    });
    let text = status(&scene, Format::Text);
    assert!(text.contains("wmflabs-eqiad 0 of 250  0 of 100  0 of 250 0 of 1000 0 of 2000       0\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn json_has_the_same_facts() {
    let json: serde_json::Value = serde_json::from_str(&status(&mixed(), Format::Json)).expect("JSON");
    let provider = &json["providers"][0];
    assert_eq!((&provider["servers"], &provider["max_servers"]), (&4.into(), &10.into()));
    assert_eq!(provider["quota"]["instances"]["limit"], 25);
    assert_eq!(provider["foreign"][0]["name"], "debug-trusty");
    let target = &json["targets"][0];
    assert_eq!((&target["online"], &target["busy"], &target["offline"]), (&1.into(), &0.into(), &1.into()));
    assert_eq!(json["pools"][0]["counts"]["failed"], 1);
    assert_eq!(json["pools"][0]["waits_for"]["pool-full"]["max"], 4);
}

#[test]
fn every_inaction_has_a_line() {
    let scene = mixed();
    let text = waits(&scene);
    for name in scene.names().iter().filter(|name| name.starts_with("ci-")) {
        assert!(text.contains(name), "{name}: {text}");
    }
    same(
        text.trim_start(),
        "

left alone            state   waits for
ci-jessie-1ngdcde00gw kept    a person: offline: disk full
ci-jessie-1ngdcdw00hw ready   a build
ci-jessie-1ngdcep005z failed  the next try, under way (try 1: no SSH within 5m
                              (port 22: connection refused))
ci-jessie-1ngdcr800vn booting SSH
",
    );
}
