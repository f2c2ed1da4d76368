//! Nodes with a floating IP each: made, used, released; nobody else's touched; whatever happens, none left over.

use std::collections::BTreeSet;

use poolkeeper::desired::Launcher;
use poolkeeper::names::ProviderName;
use poolkeeper::node::join;
use poolkeeper::observe::observe;
use poolkeeper::observed::{FloatingIp, Source, ThisRun};
use poolkeeper::plan::{Act, Because, Plan, Stale, Verb, WaitsFor};
use poolkeeper::report::plan_text::plan_text;
use poolkeeper::report::style::Style;
use poolkeeper::sandbox::{Delays, Drop, Fate, Generation};

use crate::scene::{PROVIDER, Scene};
use crate::served::{Served, Shape};

fn provider() -> ProviderName {
    ProviderName::from(PROVIDER)
}

/// As every other scene, with a floating IP for each node.
fn scene() -> Scene {
    let mut scene = Scene::new(Generation::J2_462);
    with_floating_ips(&mut scene);
    scene
}

fn with_floating_ips(scene: &mut Scene) {
    let provider = scene.desired.controller.providers.get_mut(PROVIDER).expect("the provider");
    provider.floating_ip_network = Some("public".to_owned());
    scene.world.add_external_network(&ProviderName::from(PROVIDER), "public");
}

fn floating_ips(scene: &Scene) -> Vec<FloatingIp> {
    scene.world.floating_ips(&provider())
}

/// Exactly one of ours for each server that there is, on its port, and none beside them.
fn assert_one_a_server(scene: &Scene, when: &str) {
    let ours = &scene.desired.controller.id;
    let mut made_for: Vec<_> = floating_ips(scene).iter().filter_map(|ip| ip.server_of(ours)).collect();
    let mut servers: Vec<_> = scene.servers().into_iter().map(|server| server.id).collect();
    made_for.sort();
    servers.sort();
    assert_eq!(made_for, servers, "{when}");
    assert!(floating_ips(scene).iter().all(|ip| ip.server_of(ours).is_none() || ip.port.is_some()), "{when}: on no port");
}

fn count(scene: &Scene, kind: &str) -> usize {
    scene.world.with(|state| state.log.iter().filter(|change| change.kind == kind).count())
}

fn text_of(plan: &Plan) -> String {
    // Without its line breaks.
    plan_text(plan, Style::plain()).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn each_node_has_one_until_it_goes() {
    let scene = scene();
    let summary = scene.converge();
    assert_eq!((summary.created, summary.failed), (2, 0));
    assert_one_a_server(&scene, "two are ready");
    scene.assert_settled();
    assert_eq!(scene.asked(), BTreeSet::new(), "an idle pass asks nothing");

    let used = scene.names().first().expect("two").clone();
    scene.world.start_gearman_build(&Scene::target(), &used, 60).expect("an idle node");
    scene.world.tick(61);
    scene.converge();
    assert!(!scene.names().contains(&used));
    assert_one_a_server(&scene, "one was replaced");
    assert_eq!((count(&scene, "create-floating-ip"), count(&scene, "delete-floating-ip")), (3, 1));
    let order: Vec<&str> = scene.world.with(|state| {
        let down = ["delete-agent", "delete-floating-ip", "delete-server"];
        state.log.iter().map(|change| change.kind).filter(|kind| down.contains(kind)).collect()
    });
    assert_eq!(order, ["delete-agent", "delete-floating-ip", "delete-server"]);
    scene.assert_settled();
}

/// The machine answers there alone: everything that is told an address is told this one.
#[test]
fn ssh_and_jenkins_use_it() {
    let mut scene = scene();
    scene.pool().agent.launcher =
        Launcher::Ssh { port: 22, java_path: None, jvm_options: None, host_key: poolkeeper::desired::HostKeyPolicy::Pinned };
    scene.converge();
    assert!(scene.world.agents(&Scene::target()).iter().all(poolkeeper::observed::Computer::online), "Jenkins connected");
    let all: BTreeSet<String> = floating_ips(&scene).into_iter().map(|ip| ip.address).collect();
    let plans = scene.plans.lock().expect("plans").clone();
    let actions = plans.iter().flat_map(|plan| &plan.chains).flat_map(|chain| &chain.actions);
    let pushed: BTreeSet<(String, bool)> = actions
        .filter_map(|action| {
            let Act::PushScripts(push) = &action.act else { return None };
            assert_eq!(push.node.address, push.machine.login.host);
            Some((push.node.address.clone(), push.node.private_address == push.node.address))
        })
        .collect();
    assert_eq!(pushed, all.iter().map(|address| (address.clone(), false)).collect(), "/etc/nodepool has both addresses");

    let observed = observe(&scene.world, &scene.desired, &ThisRun::default(), &|| scene.world.now());
    let joined = join(&scene.desired, &observed, scene.world.now());
    let rows = poolkeeper::report::list::rows(&scene.desired, &observed, &joined, scene.world.now());
    assert_eq!(rows.into_iter().filter_map(|row| row.ip).collect::<BTreeSet<_>>(), all);
}

#[test]
fn the_plan_says_what_is_next() {
    let scene = scene();
    scene.timer();
    let mut plans = scene.plans.lock().expect("plans").clone();
    let at = plans.iter().position(|plan| text_of(plan).contains("ACTIVE: create a floating IP")).expect("said");
    let plan = plans.swap_remove(at);
    let chain = plan.chains.first().expect("a chain");
    assert_eq!((chain.verb, chain.actions.len()), (Verb::Boot, 1));
    assert_eq!(plan.pools[0].counts.coming, 2, "one without is coming");
    let Act::CreateFloatingIp(create) = &chain.actions[0].act else { panic!("{chain:?}") };
    assert_eq!(create.description, format!("poolkeeper controller=contint server={}", create.server));
}

#[test]
fn those_of_others_are_never_touched() {
    let mut scene = scene();
    let gone = "4bd733f6-fead-4af9-819b-1ea9b22e973c";
    let foreign = [
        String::new(),
        "web frontend, alice".to_owned(),
        format!("poolkeeper controller=other server={gone}"),
        format!("poolkeeper controller=contint server={gone} (alice's now)"),
    ];
    let ids = foreign.map(|description| scene.world.add_floating_ip(&provider(), &description).expect("one"));
    scene.converge();
    let used = scene.names().first().expect("two").clone();
    scene.world.start_gearman_build(&Scene::target(), &used, 60).expect("an idle node");
    scene.world.tick(61);
    scene.converge();
    scene.pool().min_ready = 0;
    scene.converge();
    assert_eq!(scene.names(), Vec::<String>::new());
    let left: BTreeSet<_> = floating_ips(&scene).into_iter().map(|ip| ip.id).collect();
    assert_eq!(left, ids.into(), "ours are gone, theirs are there");
    scene.assert_settled();
}

#[test]
fn one_whose_server_a_person_deleted_is_released_once_that_is_gone() {
    let scene = scene();
    scene.converge();
    scene.world.set_delays(Delays { delete: 30, ..Delays::default() });
    let victim = scene.servers().first().expect("two").clone();
    scene.world.with(|state| state.delete_server(&provider(), &victim.id)).expect("deleted");
    let lone = |plan: &Plan| {
        let because = Because::LoneFloatingIp(victim.id.clone());
        plan.chains.iter().filter(|chain| chain.because == because).count()
    };
    assert_eq!(lone(&scene.plan()), 0, "not while Nova deletes it");
    scene.world.tick(30);
    let plan = scene.plan();
    assert_eq!(lone(&plan), 1);
    let said = text_of(&plan);
    assert!(said.contains("its server"), "{said}");
    scene.converge();
    assert_one_a_server(&scene, "it was released, and a new node came");
    assert_eq!(scene.names().len(), 2);
    scene.assert_settled();
}

/// What is decided by lists is looked at once more before it is done.
#[test]
fn a_release_is_off_when_its_words_changed_or_its_server_is_there() {
    let scene = scene();
    scene.converge();
    let server = scene.servers().first().expect("two").clone();
    let ip = floating_ips(&scene).into_iter().find(|ip| ip.description.ends_with(server.id.as_str())).expect("its own");
    let hidden = scene.world.with(|state| state.clouds.get_mut(PROVIDER)?.servers.remove(&server.id)).expect("there");
    let mut plan = scene.plan();
    plan.chains.retain(|chain| matches!(chain.because, Because::LoneFloatingIp(_)));
    let outcome = || {
        let results = scene.carry_out(&plan);
        results.first().and_then(|result| result.steps.first()).expect("a step").outcome.clone()
    };
    let stale = poolkeeper::execute::Outcome::Stale;

    scene.world.with(|state| state.clouds.get_mut(PROVIDER)?.servers.insert(server.id.clone(), hidden));
    assert_eq!(outcome(), stale(Stale::ServerThere));
    scene.world.with(|state| state.clouds.get_mut(PROVIDER)?.servers.remove(&server.id));
    let describe = |text: &str| {
        scene.world.with(|state| {
            let of = state.clouds.get_mut(PROVIDER)?.floating_ips.get_mut(&ip.id)?;
            text.clone_into(&mut of.seen.description);
            Some(())
        })
    };
    describe("mine now, alice").expect("there");
    assert_eq!(outcome(), stale(Stale::FloatingIpChanged));
    assert_eq!(floating_ips(&scene).len(), 2, "nothing was released");
    describe(&ip.description).expect("there");
    assert!(outcome().is_done());
    assert_eq!(outcome(), stale(Stale::FloatingIpGone));
}

#[test]
fn a_full_quota_is_said_and_not_hammered() {
    let scene = scene();
    scene.world.limit_floating_ips(&provider(), Some(1));
    scene.world.with(|state| state.faults.record = Some(Vec::new()));
    let tries = || {
        let calls = scene.world.with(|state| state.faults.record.replace(Vec::new())).expect("kept");
        calls.iter().filter(|call| call.starts_with("create-floating-ip")).count()
    };
    let summary = scene.converge();
    assert_eq!((summary.failed, tries()), (1, 2), "one was made, one refused");
    let said = text_of(&summary.last.expect("a plan"));
    assert!(said.contains("the next run: Quota exceeded for resources: ['floatingip']. (HTTP 409)"), "{said}");
    assert_eq!(scene.servers().len(), 2);
    for _ in 0..3 {
        scene.world.tick(10);
        let summary = scene.converge();
        assert_eq!((summary.created, tries()), (0, 1), "once a run, and no machine beside it that would wait as well");
    }

    scene.world.tick(300);
    scene.converge();
    let failed = scene.servers().into_iter().find_map(|server| server.metadata.get("poolkeeper_failed").cloned());
    assert!(failed.as_ref().is_some_and(|why| why.ends_with("no SSH within 5m (no floating IP)")), "{failed:?}");

    scene.world.limit_floating_ips(&provider(), None);
    scene.world.tick(3600);
    scene.converge();
    assert_eq!((scene.servers().len(), scene.agents().len()), (2, 2), "with room again the pool fills");
    assert_one_a_server(&scene, "with room again");
    scene.assert_settled();
}

#[test]
fn what_one_cannot_be_made_of_is_said() {
    let mut scene = scene();
    scene.desired.controller.providers.get_mut(PROVIDER).expect("one").floating_ip_network = Some("pubic".to_owned());
    scene.timer();
    let near = Some("public".to_owned());
    let names = vec!["ci-net".to_owned(), "public".to_owned()];
    let waits = |plan: &Plan| plan.waits.iter().map(|wait| wait.waits_for.clone()).collect::<Vec<_>>();
    assert_eq!(waits(&scene.plan()), vec![WaitsFor::NoNetwork { name: "pubic".into(), near, names }; 2]);

    let scene = self::scene();
    for _ in 0..2 {
        scene.world.next_fate(Fate { no_address: true, ..Fate::default() });
    }
    scene.timer();
    assert_eq!(waits(&scene.plan()), [WaitsFor::Port, WaitsFor::Port]);
    assert_eq!(floating_ips(&scene), []);
}

/// Whatever the list of floating IPs hides, it hides all of the provider: no node looks as if it lacked one.
#[test]
fn a_gap_makes_none_and_releases_none() {
    let scene = scene();
    scene.converge();
    scene.world.begin_outage(Source::Provider(provider()), "connect timed out");
    scene.timer();
    scene.world.end_outage(&Source::Provider(provider()));
    assert_one_a_server(&scene, "after the outage");
    assert_eq!((count(&scene, "create-floating-ip"), count(&scene, "delete-floating-ip")), (2, 0));
    scene.assert_settled();
}

/// They work, and are replaced as whatever else drifted is.
#[test]
fn nodes_from_before_go_on_without_until_they_are_replaced() {
    let mut scene = Scene::new(Generation::J2_462);
    scene.converge();
    let before = scene.names();
    with_floating_ips(&mut scene);
    let plan = scene.plan();
    assert_eq!((plan.pools[0].counts.ready, plan.pools[0].counts.coming), (2, 0), "still ready");
    assert!(plan.chains.iter().all(|chain| chain.verb == Verb::Create), "{:?}", plan.chains);
    let summary = scene.converge();
    assert_eq!((summary.created, summary.deleted, summary.failed), (2, 2, 0));
    assert!(!scene.names().iter().any(|name| before.contains(name)));
    assert_one_a_server(&scene, "all are new");
    scene.assert_settled();
}

/// A run that dies at any of its calls, before or after that had its effect, leaves none over and none doubled.
#[test]
fn a_run_killed_at_any_call_leaves_none_over() {
    for drop in [Drop::BeforeEffect, Drop::AfterEffect] {
        for at in 0.. {
            let scene = scene();
            scene.converge();
            let used = scene.names().first().expect("two").clone();
            scene.world.start_gearman_build(&Scene::target(), &used, 60).expect("an idle node");
            scene.world.tick(61);
            scene.world.stop_after(at, drop);
            scene.timer();
            if !scene.world.stopped() {
                assert!(at > 10, "{at} calls make no node");
                break;
            }
            let when = format!("{drop:?}: {}", scene.world.stopped_at().unwrap_or_default());
            scene.world.resume();
            scene.converge();
            assert!(!scene.names().contains(&used), "{when}");
            assert_eq!(scene.names().len(), 2, "{when}");
            assert_one_a_server(&scene, &when);
            assert_eq!((count(&scene, "create-floating-ip"), count(&scene, "delete-floating-ip")), (3, 1), "{when}");
            scene.assert_settled();
        }
    }
}

/// The real binary and the real clients.
#[test]
fn over_http_and_ssh_a_node_comes_and_goes_with_its_own() {
    let served = Served::new(Shape { providers: 1, targets: 1, pools: 1, min_ready: 1 }).with_floating_ips();
    let (cloud, target) = (ProviderName::from("cloud-0"), "ci-0".into());
    served.world.add_floating_ip(&cloud, "web frontend, alice").expect("one");
    served.world.with(|state| state.clouds.get_mut("cloud-0").expect("a cloud").page = 1);
    served.done(&["apply", "--yes", "--until-converged"], "the first node");
    let of = |name: &str| {
        let server = served.world.server_named(name).expect("a server");
        let ips = served.world.floating_ips(&cloud);
        ips.into_iter().filter(|ip| ip.description.ends_with(server.id.as_str())).collect::<Vec<_>>()
    };
    let first = served.servers("cloud-0");
    let ips = of(&first[0]);
    assert_eq!((first.len(), ips.len()), (1, 1));
    let listed = served.done(&["list"], "its address");
    assert!(listed.contains(&ips[0].address), "{listed}");

    served.world.start_gearman_build(&target, &first[0], 1).expect("a build");
    served.world.tick(2);
    served.done(&["apply", "--yes", "--until-converged"], "the next node");
    let second = served.servers("cloud-0");
    assert_eq!((second.len(), of(&second[0]).len()), (1, 1));
    assert_ne!(first, second);

    let server = served.world.server_named(&second[0]).expect("a server");
    served.world.with(|state| state.delete_server(&cloud, &server.id)).expect("deleted");
    served.world.tick(2);
    served.done(&["apply", "--yes", "--until-converged"], "a node that a person deleted");
    assert_eq!(served.world.floating_ips(&cloud).len(), 2, "that of the third node, and alice's");
    assert!(served.done(&["plan"], "settled").contains("nothing to do"));
}
