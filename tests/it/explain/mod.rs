//! `explain`: each state as a person reads it, and what is said when a name is nobody's or several nodes'.

mod coming;
mod working;

use poolkeeper::cli::{ExplainArgs, Format};
use poolkeeper::commands::explain::show;
use poolkeeper::desired::{HostKeyPolicy, Launcher};
use poolkeeper::exit::Usage;
use poolkeeper::observed::Source;
use poolkeeper::report::style::Style;
use poolkeeper::sandbox::{AgentFate, Fate, Generation};

use crate::scene::{PROVIDER, Scene};

fn explain(scene: &Scene, node: &str, format: Format) -> anyhow::Result<String> {
    let args = ExplainArgs { node: node.to_owned(), format };
    let mut out = Vec::new();
    show(&args, &scene.desired, &scene.world, &|| scene.world.now(), Style::plain(), &mut out)?;
    Ok(String::from_utf8(out).expect("UTF-8"))
}

/// The whole screen, word for word and line for line.
#[track_caller]
fn shown(scene: &Scene, node: &str, expected: &str) {
    let text = explain(scene, node, Format::Text).expect("a node");
    assert_eq!(text, expected.trim_start_matches('\n'), "\n{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "wider than 80 columns");
}

/// What is said instead, as a mistake of the command line.
#[track_caller]
fn refused(scene: &Scene, node: &str, expected: &str) {
    let error = explain(scene, node, Format::Text).expect_err("no node");
    assert!(error.is::<Usage>());
    assert_eq!(error.to_string(), expected);
}

/// Two nodes ready; the first one's name.
fn filled() -> (Scene, String) {
    let mut scene = Scene::new(Generation::J2_462);
    scene.converge_in_order();
    let name = scene.names().first().expect("two nodes").clone();
    (scene, name)
}

/// A pool of one whose machine comes to this, after so many runs of the timer.
fn fated(fate: Fate, runs: u32) -> (Scene, String) {
    let mut scene = Scene::new(Generation::J2_462);
    scene.pool().min_ready = 1;
    let pool = scene.pool().name.clone();
    scene.world.pool_fate(&pool, fate);
    for _ in 0..runs {
        scene.timer();
    }
    let name = scene.names().first().expect("a node").clone();
    (scene, name)
}

#[test]
fn a_name_an_id_or_the_beginning_of_one_will_do() {
    let (scene, name) = filled();
    let server = scene.servers().into_iter().find(|server| server.name == name).expect("its server");
    let by_name = explain(&scene, &name, Format::Text).expect("a node");
    let (id, begun) = (server.id.as_str(), name.get(..name.len() - 2).expect("a name"));
    for other in [id, id.get(..6).expect("a UUID"), begun] {
        assert_eq!(explain(&scene, other, Format::Text).expect("a node"), by_name, "{other}");
    }
}

#[test]
fn what_is_said_of_a_name_that_is_no_node() {
    let (scene, name) = filled();
    let mut names = scene.names();
    names.sort();
    refused(&scene, "ci-", &format!("`ci-` is the beginning of 2 nodes: {}; give more of one", names.join(", ")));
    refused(&scene, &format!("{name}x"), &format!("no node is called `{name}x`: did you mean `{name}`?"));
    refused(&scene, "colour", "no node is called `colour`; `poolkeeper list` shows the 2 that are there");

    scene.world.add_server(&PROVIDER.into(), "debug-trusty", &[]).expect("planted");
    refused(
        &scene,
        "debug-trusty",
        "`debug-trusty` is a server in eqiad without the mark of contint: poolkeeper never touches it",
    );
    let debug = [("poolkeeper_controller", "contint"), ("poolkeeper_role", "debug")];
    scene.world.add_server(&PROVIDER.into(), "debug-1", &debug).expect("planted");
    refused(&scene, "debug-1", "`debug-1` is a debug server in eqiad, not a node");

    let servers = scene.servers();
    scene.world.with(|state| {
        for server in &servers {
            state.delete_server(&PROVIDER.into(), &server.id).expect("deleted");
        }
        state.jenkins.values_mut().for_each(|jenkins| jenkins.nodes.clear());
    });
    scene.world.tick(60);
    refused(&scene, &name, &format!("no node is called `{name}`; the name was given out by contint: that node is gone"));
}

/// Not a verdict on the node: it may be there.
#[test]
fn a_node_of_a_provider_that_is_not_seen() {
    let (scene, name) = filled();
    scene.world.begin_outage(Source::Provider(PROVIDER.into()), "HTTP 503");
    shown(
        &scene,
        &name,
        "
gap:     eqiad was not seen: HTTP 503
  tried: GET /servers/detail
  stops: every launch of pools that use it, and every deletion there
ci-jessie-1ngdcd00028 is not seen
  seen     Jenkins contint1001: online, idle
  rule     what was not seen is not called gone: a node of a provider that was
           not seen may be there, and is left alone
  next     waits for eqiad to be seen again
           nothing that depends on it is done meanwhile
",
    );
    assert!(explain(&scene, "colour", Format::Text).expect("nobody knows").contains("Jenkins: no such agent"));
}

#[test]
fn two_servers_of_one_name_are_told_apart_by_id() {
    let (scene, name) = filled();
    let first = scene.servers().into_iter().find(|server| server.name == name).expect("its server");
    let metadata: Vec<(&str, &str)> = first.metadata.all().into_iter().collect();
    let second = scene.world.add_server(&PROVIDER.into(), &name, &metadata).expect("Nova allows it");
    let error = explain(&scene, &name, Format::Text).expect_err("two").to_string();
    assert!(error.starts_with(&format!("2 servers are called `{name}`: give one's id: ")), "{error}");
    for id in [&first.id, &second] {
        let text = explain(&scene, id.as_str(), Format::Text).expect("one");
        assert!(text.contains(&format!("Nova {} ACTIVE", poolkeeper::names::short(id.as_str()))), "{text}");
    }
}

#[test]
fn looking_closer_changes_no_state() {
    // Jenkins connects by itself, so no plan asks this machine; that its agent is no process of ours must decide nothing.
    let mut scene = Scene::new(Generation::J2_462);
    scene.pool().min_ready = 1;
    scene.pool().agent.launcher = Launcher::Ssh { port: 22, java_path: None, jvm_options: None, host_key: HostKeyPolicy::Pinned };
    let pool = scene.pool().name.clone();
    scene.world.pool_fate(&pool, Fate { agent: AgentFate::NeverOnline, ..Fate::default() });
    scene.timer();
    let name = scene.names().first().expect("a node").clone();
    let text = explain(&scene, &name, Format::Text).expect("a node");
    assert!(text.contains("ready script passed"), "its machine was asked: {text}");
    assert!(text.contains(" is joining") && text.contains("waits for its agent to come online"), "{text}");
}

#[test]
fn json_has_the_same_facts_and_no_content_of_files() {
    let (mut scene, name) = filled();
    scene.pool().user_data = Some(poolkeeper::desired::UserData::new("password: hunter2"));
    scene.pool().min_ready = 3;
    scene.world.mark_gearman(&Scene::target(), &name);
    let text = explain(&scene, &name, Format::Json).expect("a node");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["state"], "used");
    assert_eq!(json["server"]["status"], "ACTIVE");
    assert_eq!(json["agent"]["seen"]["computer"]["temporarily_offline"], true);
    assert_eq!(json["marks"]["poolkeeper_agent"], "joined");
    assert_eq!(json["next"]["chain"]["verb"], "retire");
    assert_eq!(json["since"], "2026-11-25T10:00:40Z");
    assert!(!text.contains("hunter2") && !text.contains("#!/bin/sh"));
}
