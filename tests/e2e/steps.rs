//! What the scenarios have in common: the desired state, timed steps, and a look at a finished node.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::hudson;
use crate::lab::{CONTROLLER, Lab, PATIENCE, wait_for};
use crate::openstack::{Cloud, Server};

/// The one pool. Servers and agents are named after it, and nothing else in the lab is.
const POOL: &str = "e2e";

fn is_ours(name: &str) -> bool {
    name.strip_prefix(POOL).is_some_and(|rest| rest.starts_with('-'))
}

/// Prints how long each step took. Says nothing about how long it may take.
pub(crate) struct Steps {
    start: Instant,
    last: Instant,
}

impl Steps {
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        Self { start: now, last: now }
    }

    pub(crate) fn done(&mut self, step: &str) {
        let now = Instant::now();
        line(step, now - self.last);
        self.last = now;
    }

    pub(crate) fn total(&mut self) {
        self.done("everything made here is deleted");
        line("total", self.start.elapsed());
    }
}

fn line(step: &str, took: Duration) {
    println!("{step:<72} {:>7.1} s", took.as_secs_f64());
}

/// A desired-state directory with one pool of one node. `ready` is the end of its ready script.
pub(crate) fn desired_state(lab: &Lab, name: &str, ready: &str) -> Result<PathBuf> {
    let scratch = lab.scratch(name)?;
    let folder = scratch.join("desired-state");
    fs::create_dir_all(folder.join("pools"))?;
    fs::create_dir_all(folder.join("scripts"))?;
    let password = scratch.join("password");
    fs::write(&password, "labpw\n")?;
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600))?;
    fs::write(folder.join("controller.yaml"), controller(&scratch, &password))?;
    fs::write(folder.join(format!("pools/{POOL}.yaml")), pool(&lab.private_key()))?;
    let script = folder.join("scripts/ready.sh");
    fs::write(&script, format!("{READY}{ready}\n"))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

fn controller(scratch: &Path, password: &Path) -> String {
    format!(
        "controller: {CONTROLLER}
providers:
  lab:
    cloud: lab
    max-servers: 3
    max-concurrent-launches: 3
    networks: [ci-net]
    security-groups: [default]
    key-name: ci-key
    host-keys: console
targets:
  hudson:
    url: http://10.77.0.1:8080/
    user: nodepool
    password-file: {}
lock-file: {}/lock
",
        password.display(),
        scratch.display()
    )
}

fn pool(private_key: &Path) -> String {
    format!(
        "image: {{glance: ci-base}}
flavor: ci.tiny
providers: [lab]
target: hudson
labels: [ci]
min-ready: 1
max-servers: 3
script-dir: scripts
ready-script: ready.sh
username: jenkins
user-home: /home/jenkins
private-key: {}
used-when: [gearman]
agent:
  launcher: inbound
  remote-fs: /home/jenkins
",
        private_key.display()
    )
}

/// Leaves a line in the marker at each start, and what nodepool's contract promises beside it.
const READY: &str = r#"#!/bin/sh
set -e
echo "$(id -un) $(pwd) $1" >> "$HOME/ready-ran"
mkdir -p "$HOME/seen"
for f in role node node_private primary_node primary_node_private sub_nodes sub_nodes_private id_rsa id_rsa.pub provider uuid; do
  cat "/etc/nodepool/$f" > "$HOME/seen/$f"
done
"#;

/// The one node, finished: ACTIVE, its pinned key the one on its console, prepared once, registered and online.
pub(crate) fn finished_node(lab: &Lab, cloud: &Cloud) -> Result<Server> {
    let server = cloud.only_server_of(CONTROLLER)?;
    ensure!(server.status == "ACTIVE", "{} is {}", server.name, server.status);
    let keys = cloud.console_keys(&server.id)?;
    let pinned = server.mark("poolkeeper_hostkey");
    ensure!(keys.iter().any(|key| key == pinned), "pinned `{pinned}`, on the console {keys:?}");
    ensure!(server.mark("poolkeeper_agent") == "joined", "poolkeeper_agent is `{}`", server.mark("poolkeeper_agent"));
    let ran = on(lab, &server, &keys, "cat ready-ran")?;
    let expected = format!("jenkins /opt/nodepool-scripts {}\n", server.name);
    ensure!(ran == expected, "the ready script ran once, as `{expected}`: {ran}");
    let agents = hudson::computers()?;
    let ours: Vec<_> = agents.iter().filter(|agent| is_ours(&agent.name)).collect();
    let [agent] = ours.as_slice() else { anyhow::bail!("one agent expected: {ours:?}") };
    ensure!(agent.name == server.name, "agent {}, server {}", agent.name, server.name);
    ensure!(!agent.offline && !agent.temporarily_offline && agent.idle, "not online and idle: {agent:?}");
    Ok(server)
}

/// A command on a server as `jenkins`, its host key checked against the console's.
pub(crate) fn on(lab: &Lab, server: &Server, keys: &[String], command: &str) -> Result<String> {
    let address = server.address.as_deref().with_context(|| format!("{} has no address", server.name))?;
    wait_for(&format!("SSH to {}", server.name), PATIENCE, || lab.ssh("jenkins", address, keys, command))
}

/// Deletes what carries our mark, and waits until it is gone.
pub(crate) fn clean() -> Result<()> {
    let cloud = Cloud::login()?;
    for server in cloud.servers_of(CONTROLLER)? {
        cloud.delete(&server.id)?;
    }
    for computer in hudson::computers()? {
        if is_ours(&computer.name) {
            hudson::delete(&computer.name)?;
        }
    }
    wait_for("our servers to be gone", PATIENCE, || Ok(cloud.servers_of(CONTROLLER)?.is_empty().then_some(())))
}
