//! `kill -9` at three places of a node's way up; the next run goes on, and in the end there is one node, made once.

use anyhow::{Result, ensure};

use crate::desired::{Pool, desired_state};
use crate::hudson;
use crate::lab::{CONTROLLER, Lab};
use crate::openstack::Cloud;
use crate::steps::{Steps, clean, finished_node};

const APPLY: [&str; 3] = ["apply", "--yes", "--until-converged"];

pub(crate) fn run(lab: &Lab, steps: &mut Steps) -> Result<()> {
    clean()?;
    let cloud = Cloud::login()?;
    // Long enough to be seen while it runs.
    let desired = desired_state(lab, "killed", "5m", &[Pool { ready: "sleep 5", ..Pool::default() }])?;
    steps.done("an empty cloud, a desired state of one node");

    let accepted = || Ok(cloud.servers_of(CONTROLLER)?.into_iter().next());
    let server = lab.start(&desired, &APPLY)?.kill_when("a server was accepted", accepted)?;
    steps.done("killed once a server was accepted");

    let started = || {
        let keys = cloud.console_keys(&server.id)?;
        let Some(address) = cloud.only_server_of(CONTROLLER)?.address.filter(|_| !keys.is_empty()) else { return Ok(None) };
        let look = format!("ls /var/lib/poolkeeper/{} 2>/dev/null || true", server.id);
        Ok(lab.ssh("root", &address, &keys, &look)?.filter(|names| !names.trim().is_empty()))
    };
    lab.start(&desired, &APPLY)?.kill_when("the ready script was started", started)?;
    steps.done("killed once the ready script was started");

    let registered = || hudson::computer(&server.name);
    lab.start(&desired, &APPLY)?.kill_when("the agent was registered", registered)?;
    steps.done("killed once the agent was registered");

    lab.poolkeeper(&desired, &APPLY)?.expect_exit(0)?;
    let node = finished_node(lab, &cloud)?;
    ensure!(node.id == server.id, "another server than the first: {} and {}", server.id, node.id);
    steps.done("the next run goes on: the same server, prepared once, one agent, online");
    lab.poolkeeper(&desired, &["plan", "--exit-code"])?.expect_exit(0)?;
    steps.done("`plan --exit-code` is 0");
    Ok(())
}
