//! Machines on their way up, and those that failed on it.

use poolkeeper::cli::Format;
use poolkeeper::sandbox::{AgentFate, BuildFate, Fate, ScriptFate, SshFate};

use super::{explain, fated, shown};
use crate::scene::Scene;

#[test]
fn a_machine_in_build() {
    let (scene, name) = fated(Fate { build: BuildFate::Stuck, ..Fate::default() }, 1);
    shown(
        &scene,
        &name,
        "
ci-jessie-1ngdcd00028 is launching, since 50s
  seen     Nova 22db33e5 BUILD, task scheduling, created 50s ago, in eqiad
           (nova), m1.medium, image-ci-jessie, no address
           Jenkins contint1001: no such agent
  marks    no host key pinned
  rule     a server in BUILD for no longer than launch-timeout is launching
  next     waits for ACTIVE
           then SSH is looked for; failed after launch-timeout
",
    );
}

#[test]
fn a_machine_in_error() {
    let (scene, name) = fated(Fate { build: BuildFate::Error("No valid host was found".into()), ..Fate::default() }, 1);
    shown(
        &scene,
        &name,
        "
ci-jessie-1ngdcd00028 is failed
  seen     Nova 22db33e5 ERROR, created 6s ago, in eqiad (nova), m1.medium,
           image-ci-jessie, no address
           Nova says: No valid host was found
           Jenkins contint1001: no such agent
  marks    no host key pinned
  rule     a server that Nova shows in ERROR is failed
  next     waits for back-off until 10:01 (ERROR: No valid host was found, try
           1)
           kept as the mark of back-off; deleted once a newer node is ready
",
    );
}

#[test]
fn a_booting_machine_whose_key_is_not_on_the_console() {
    let (scene, name) = fated(Fate { silent_console: true, ..Fate::default() }, 1);
    shown(
        &scene,
        &name,
        "
ci-jessie-1ngdcd00028 is booting, since 45s
  seen     Nova 22db33e5 ACTIVE, created 50s ago, in eqiad (nova), m1.medium,
           image-ci-jessie
           SSH on 127.10.1.1:22 answers (ssh-ed25519), its host key is not on
           the console
           Jenkins contint1001: no such agent
  marks    no host key pinned
  rule     ACTIVE, and no SSH with a key to trust yet, for no longer than
           boot-timeout, is booting
  console  [    0.000000] Linux version 6.1.0
           [    2.104511] cloud-init: address 127.10.1.1
  next     waits for SSH
           then its host key is pinned and its ready script starts; failed after
           boot-timeout
",
    );
}

#[test]
fn a_machine_whose_ready_script_runs() {
    let (scene, name) = fated(Fate { script: ScriptFate::Hangs, ..Fate::default() }, 1);
    shown(
        &scene,
        &name,
        "
ci-jessie-1ngdcd00028 is preparing
  seen     Nova 22db33e5 ACTIVE, created 50s ago, in eqiad (nova), m1.medium,
           image-ci-jessie
           SSH on 127.10.1.1:22 answers, ready script running for 36s
           Jenkins contint1001: no such agent
  marks    host key pinned (ssh-ed25519)
  rule     a machine whose ready script was started and is not over is preparing
  next     waits for its ready script
           then its agent is registered; failed after ready-timeout
",
    );
}

#[test]
fn a_machine_whose_ready_script_failed() {
    let output = format!("{}\u{1b}[31mE: no space left\u{1b}[0m\n", "Get: a package\n".repeat(20));
    let (scene, name) = fated(Fate { script: ScriptFate::Exits { status: 100, output }, ..Fate::default() }, 1);
    shown(
        &scene,
        &name,
        "
ci-jessie-1ngdcd00028 is failed, since 0s
  seen     Nova 22db33e5 ACTIVE, created 18s ago, in eqiad (nova), m1.medium,
           image-ci-jessie
           SSH on 127.10.1.1:22 answers, ready script exited 100
           Jenkins contint1001: no such agent
  marks    host key pinned (ssh-ed25519), failed 0s ago (ready script exited
           100:  [31mE: no space left [0m)
  rule     a server with the mark poolkeeper_failed is failed, and its machine
           is not asked again
  output   Get: a package
           Get: a package
           Get: a package
           Get: a package
           Get: a package
           Get: a package
           Get: a package
           E: no space left
  next     waits for back-off until 10:01 (ready script exited 100:  [31mE: no
           space left [0m, try 1)
           kept as the mark of back-off; deleted once a newer node is ready
",
    );
}

#[test]
fn a_machine_without_ssh_while_a_newer_one_is_tried() {
    let (scene, name) = fated(Fate { ssh: SshFate::Never, ..Fate::default() }, 7);
    shown(
        &scene,
        &name,
        "
ci-jessie-1ngdcd00028 is failed, since 44s
  seen     Nova 22db33e5 ACTIVE, created 5m ago, in eqiad (nova), m1.medium,
           image-ci-jessie
           no SSH on 127.10.1.1:22 (connection refused)
           Jenkins contint1001: no such agent
  marks    no host key pinned, failed 44s ago (no SSH within 5m (port 22:
           connection refused))
  rule     a server with the mark poolkeeper_failed is failed, and its machine
           is not asked again
  console  [    0.000000] Linux version 6.1.0
           [    2.104511] cloud-init: address 127.10.1.1
  next     waits for the next try, under way (try 1: no SSH within 5m (port 22:
           connection refused))
           then this one, the mark of back-off, is deleted
",
    );
}

#[test]
fn a_node_whose_agent_never_came_online() {
    let (scene, name) = fated(Fate { agent: AgentFate::NeverOnline, ..Fate::default() }, 1);
    shown(
        &scene,
        &name,
        "
ci-jessie-1ngdcd00028 is joining, since 32s
  seen     Nova 22db33e5 ACTIVE, created 50s ago, in eqiad (nova), m1.medium,
           image-ci-jessie
           SSH on 127.10.1.1:22 answers, ready script passed, the agent's
           process runs
           Jenkins contint1001: offline, idle
  marks    host key pinned (ssh-ed25519), joining 32s ago
  rule     registered, and never online yet, for no longer than online-timeout,
           is joining
  next     waits for its agent to come online
           then it is ready; failed after online-timeout
",
    );
}

/// No time that is past: what holds back the try that is due.
#[test]
fn a_failed_machine_whose_back_off_is_over() {
    let (mut scene, name) = fated(Fate { build: BuildFate::Error("No valid host was found".into()), ..Fate::default() }, 1);
    scene.world.tick(600);
    scene.desired.controller.paused = Some("moving house".to_owned());
    let next = |scene: &Scene| {
        let text = explain(scene, &name, Format::Text).expect("a node");
        let (_, next) = text.split_once("  next     ").expect("next");
        next.lines().map(str::trim).collect::<Vec<_>>().join(" ")
    };
    let due = "waits for the next try, which is due (try 1: ERROR: No valid host was found)";
    let kept = "kept as the mark of back-off; deleted once a newer node is ready";
    assert_eq!(next(&scene), format!("{due} which waits for a person: paused: moving house {kept}"));
    scene.desired.controller.paused = None;
    assert_eq!(next(&scene), format!("{due} the next run begins it {kept}"));
}
