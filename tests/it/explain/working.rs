//! Nodes that were online once: ready, busy, used, a person's, lost, and what is left of them.

use poolkeeper::desired::units::Share;
use poolkeeper::observed::{ServerStatus, Source};

use super::{filled, shown};
use crate::scene::Scene;

#[test]
fn a_ready_node() {
    let (scene, name) = filled();
    shown(
        &scene,
        &name,
        "
ci-jessie-1ngdcd00028 is ready
  seen     Nova 22db33e5 ACTIVE, created 40s ago, in eqiad (nova), m1.medium,
           image-ci-jessie, 127.10.1.1
           Jenkins contint1001: online, idle
  marks    host key pinned (ssh-ed25519), joined
  rule     a node whose agent is online and idle is ready
  next     takes the next build that Jenkins gives it
",
    );
}

#[test]
fn a_busy_node() {
    let (scene, name) = filled();
    scene.world.start_build(&Scene::target(), &name, 600).expect("idle");
    scene.timer();
    scene.world.tick(120);
    shown(
        &scene,
        &name,
        "
ci-jessie-1ngdcd00028 is busy, since 2m
  seen     Nova 22db33e5 ACTIVE, created 3m ago, in eqiad (nova), m1.medium,
           image-ci-jessie, 127.10.1.1
           Jenkins contint1001: online, runs job/sleeper/1
  marks    host key pinned (ssh-ed25519), joined, busy 2m ago
  rule     a node whose agent runs a build is busy, and never removed
  next     waits for its build
           then it is used and deleted, or ready again where a node is not for a
           single use
",
    );
}

#[test]
fn a_used_node_that_gearman_marked() {
    let (scene, name) = filled();
    scene.world.mark_gearman(&Scene::target(), &name);
    scene.world.tick(12);
    shown(
        &scene,
        &name,
        "
ci-jessie-1ngdcd00028 is used, since 12s
  seen     Nova 22db33e5 ACTIVE, created 52s ago, in eqiad (nova), m1.medium,
           image-ci-jessie, 127.10.1.1
           Jenkins contint1001: offline, marked offline, idle, `Offline due to
           Gearman request`, since 12s
  marks    host key pinned (ssh-ed25519), joined
  rule     an agent that the Gearman plugin took offline after its build is used
  next     the next run begins its removal, and looks again before it deletes
           anything: used: `Offline due to Gearman request`, idle 12s
           its steps: write that on the server, as a mark
",
    );
}

#[test]
fn a_node_that_a_person_took_offline_with_a_text_for_the_terminal() {
    let (scene, name) = filled();
    scene.world.mark_by_person(&Scene::target(), &name, "alice", "disk full\u{1b}[31m\u{7}");
    scene.world.tick(600);
    shown(
        &scene,
        &name,
        "
ci-jessie-1ngdcd00028 is kept, since 10m
  seen     Nova 22db33e5 ACTIVE, created 10m ago, in eqiad (nova), m1.medium,
           image-ci-jessie, 127.10.1.1
           Jenkins contint1001: offline, marked offline, idle, `disk full?`,
           since 10m
  marks    host key pinned (ssh-ed25519), joined
  rule     a node that a person marked offline is kept until the person lifts
           the mark
  next     waits for a person: offline: disk full?
           kept meanwhile, and counted as no ready node
",
    );
}

#[test]
fn a_held_node() {
    let (scene, name) = filled();
    let id = scene.servers().first().expect("two").id.clone();
    let mark = "alice; 2026-11-25T18:00:00Z; T143938";
    scene.world.change_server(&id, |server| {
        server.locked = Some(true);
        server.metadata.insert("poolkeeper_hold", mark);
    });
    shown(
        &scene,
        &name,
        "
ci-jessie-1ngdcd00028 is held
  seen     Nova 22db33e5 ACTIVE, locked, created 40s ago, in eqiad (nova),
           m1.medium, image-ci-jessie, 127.10.1.1
           Jenkins contint1001: online, idle
  marks    host key pinned (ssh-ed25519), joined, hold by alice until 2026-11-25
           18:00 UTC (T143938)
  rule     a server that is locked, or has a hold that is not over, is a
           person's
  next     waits for a person: held by alice: T143938
           kept meanwhile, and counted as no ready node
",
    );
}

#[test]
fn a_node_in_a_status_that_no_rule_speaks_of() {
    let (scene, name) = filled();
    let id = scene.servers().first().expect("two").id.clone();
    scene.world.change_server(&id, |server| server.status = ServerStatus::Other("SHELVED".to_owned()));
    shown(
        &scene,
        &name,
        "
ci-jessie-1ngdcd00028 is kept
  seen     Nova 22db33e5 SHELVED, created 40s ago, in eqiad (nova), m1.medium,
           image-ci-jessie, 127.10.1.1
           Jenkins contint1001: online, idle
  marks    host key pinned (ssh-ed25519), joined
  rule     no rule speaks of a server in SHELVED: it is kept and shown
  next     waits for a person: Nova shows SHELVED
           kept meanwhile, and counted as no ready node
",
    );
}

#[test]
fn a_lost_node() {
    let (scene, name) = filled();
    let id = scene.servers().first().expect("two").id.clone();
    scene.world.power(&id, false);
    scene.timer();
    scene.world.tick(30);
    shown(
        &scene,
        &name,
        "
ci-jessie-1ngdcd00028 is lost, since 30s
  seen     Nova 22db33e5 SHUTOFF, created 70s ago, in eqiad (nova), m1.medium,
           image-ci-jessie, 127.10.1.1
           Jenkins contint1001: offline, idle, `Connection was broken`, since
           30s
  marks    host key pinned (ssh-ed25519), joined, lost 30s ago
  rule     an agent that is offline without anybody's mark is lost, and given up
           after lost-grace
  next     waits for its agent to return, until 10:10
           then it is what it was before; else given up: used after a build,
           failed without one
",
    );
}

#[test]
fn a_node_behind_a_gap() {
    let (scene, name) = filled();
    scene.world.begin_outage(Source::Target(Scene::target()), "connect timed out after 10s");
    shown(
        &scene,
        &name,
        "
ci-jessie-1ngdcd00028 is there, and its agent was not seen
  seen     Nova 22db33e5 ACTIVE, created 40s ago, in eqiad (nova), m1.medium,
           image-ci-jessie, 127.10.1.1
           Jenkins contint1001 not seen: connect timed out after 10s (GET
           /computer/api/json)
  marks    host key pinned (ssh-ed25519), joined
  rule     a node that was online once, and whose agent is behind a gap, is not
           seen: it counts as ready, and is left alone
  next     waits for contint1001 to be seen again
           nothing that depends on it is done meanwhile
  see      poolkeeper status
",
    );
}

#[test]
fn a_server_whose_agent_is_gone_while_a_limit_holds() {
    let (mut scene, name) = filled();
    scene.world.with(|state| state.jenkins.values_mut().for_each(|jenkins| jenkins.nodes.clear()));
    scene.desired.controller.limits.max_deletes_per_run = Share::Count(1);
    shown(
        &scene,
        &name,
        "
ci-jessie-1ngdcd00028 is an orphan
  seen     Nova 22db33e5 ACTIVE, created 40s ago, in eqiad (nova), m1.medium,
           image-ci-jessie, 127.10.1.1
           Jenkins contint1001: no such agent
  marks    host key pinned (ssh-ed25519), joined
  rule     a server whose agent was online once and is gone is never registered
           again
  next     waits for a person to lift a limit
           2 of 2 healthy nodes would be deleted, limit is 1
           (max-deletes-per-run: 1)
           none of them is, now or by the timer; lift once with --allow-deletes
           2
  see      poolkeeper status
",
    );
}

#[test]
fn an_agent_whose_server_is_gone() {
    let (scene, name) = filled();
    scene.world.with(|state| {
        state.clouds.values_mut().for_each(|cloud| cloud.servers.retain(|_, server| server.seen.name != name));
        state.machines.clear();
    });
    scene.world.tick(60);
    shown(
        &scene,
        &name,
        "
ci-jessie-1ngdcd00028 is an agent without a server
  seen     Jenkins contint1001: offline, idle, `Connection was broken`, since
           59s
  rule     an agent with a name of ours whose server is in no list is removed
           once it is offline and idle
  next     the next run deletes it: its server is gone
           its steps: remove the agent
",
    );
}
