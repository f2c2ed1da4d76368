//! The desired states of the scenarios, written to a scratch directory. The services are the lab's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::lab::{CONTROLLER, Lab};

/// The name that pools' names begin with. Servers and agents are named after it, and nothing else in the lab is.
pub(crate) const POOL: &str = "e2e";

pub(crate) fn is_ours(name: &str) -> bool {
    name.strip_prefix(POOL).is_some_and(|rest| rest.starts_with('-'))
}

/// A pool of small real machines, unless it says otherwise.
pub(crate) struct Pool {
    /// Also the stem of its file.
    pub(crate) name: &'static str,
    pub(crate) image: &'static str,
    pub(crate) flavor: &'static str,
    pub(crate) min_ready: u32,
    /// The end of its ready script.
    pub(crate) ready: &'static str,
}

impl Default for Pool {
    fn default() -> Self {
        Self { name: POOL, image: "ci-base", flavor: "ci.tiny", min_ready: 1, ready: "" }
    }
}

/// A desired-state directory under the lab's state. `boot_timeout`: for all its machines.
pub(crate) fn desired_state(lab: &Lab, name: &str, boot_timeout: &str, pools: &[Pool]) -> Result<PathBuf> {
    let scratch = lab.scratch(name)?;
    let folder = scratch.join("desired-state");
    fs::create_dir_all(folder.join("pools"))?;
    fs::create_dir_all(folder.join("scripts"))?;
    let password = scratch.join("password");
    fs::write(&password, "labpw\n")?;
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600))?;
    fs::write(folder.join("controller.yaml"), controller(&scratch, &password, boot_timeout))?;
    for pool in pools {
        fs::write(folder.join(format!("pools/{}.yaml", pool.name)), pool_file(pool, &lab.private_key()))?;
        let script = folder.join(format!("scripts/{}.sh", pool.name));
        fs::write(&script, format!("{READY}{}\n", pool.ready))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    }
    Ok(folder)
}

fn controller(scratch: &Path, password: &Path, boot_timeout: &str) -> String {
    format!(
        "controller: {CONTROLLER}
providers:
  lab:
    cloud: lab
    max-servers: 12
    max-concurrent-launches: 8
    networks: [ci-net]
    security-groups: [default]
    key-name: ci-key
    host-keys: console
    boot-timeout: {boot_timeout}
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

fn pool_file(pool: &Pool, private_key: &Path) -> String {
    let Pool { name, image, flavor, min_ready, ready: _ } = pool;
    format!(
        "image: {{glance: {image}}}
flavor: {flavor}
providers: [lab]
target: hudson
labels: [ci]
min-ready: {min_ready}
max-servers: {}
script-dir: scripts
ready-script: {name}.sh
username: jenkins
user-home: /home/jenkins
private-key: {}
used-when: [gearman]
agent:
  launcher: inbound
  remote-fs: /home/jenkins
",
        min_ready + 2,
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
