//! The CI server stopped and started in the middle: nothing is deleted while it is not seen, machines go on being prepared,
//! and a used node whose mark the restart hides is still used.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::desired::{Pool, desired_state};
use crate::hudson;
use crate::lab::{CONTROLLER, Lab, PATIENCE, wait_for};
use crate::openstack::{Cloud, Server};
use crate::steps::{Steps, clean, finished_node, on};

const CONVERGE: [&str; 3] = ["apply", "--yes", "--until-converged"];

pub(crate) fn run(lab: &Lab, steps: &mut Steps) -> Result<()> {
    clean()?;
    let cloud = Cloud::login()?;
    let desired = desired_state(lab, "restart", "5m", &[Pool::default()])?;
    lab.poolkeeper(&desired, &CONVERGE)?.expect_exit(0)?;
    let used = finished_node(lab, &cloud)?;
    steps.done("one node from nothing");

    let next = used_and_its_replacement(lab, &cloud, &desired, &used)?;
    steps.done("a build on it, marked and seen busy; its replacement is asked for; the build is over");

    lab.service("stop", "jenkins")?;
    let seen = while_it_is_down(lab, &cloud, &desired, &used, &next);
    // Whatever came of it, the next scenario needs it.
    lab.service("start", "jenkins")?;
    seen?;
    steps.done("without the CI server: nothing deleted, the new machine prepared, not registered");

    taken_up_again(lab, steps, &cloud, &desired, &used, &next)
}

/// A build, marked as the Gearman plugin does, seen once while it runs. It is over when this returns.
fn used_and_its_replacement(lab: &Lab, cloud: &Cloud, desired: &Path, used: &Server) -> Result<Server> {
    let build = hudson::build()?;
    wait_for("the build to start", PATIENCE, || hudson::busy(&used.name))?;
    lab.mark_as_gearman_does(&used.name)?;
    let seen = || {
        let servers = cloud.servers_of(CONTROLLER)?;
        let noted = servers.iter().any(|server| server.id == used.id && !server.mark("poolkeeper_busy").is_empty());
        Ok(servers.into_iter().find(|server| server.id != used.id && noted))
    };
    let next = lab.start(desired, &CONVERGE)?.kill_when("the busy node was noted and another one asked for", seen)?;
    on(lab, used, &cloud.console_keys(&used.id)?, "touch /tmp/build-may-end")?;
    wait_for("the end of the build", PATIENCE, || hudson::result(build))?;
    Ok(next)
}

fn while_it_is_down(lab: &Lab, cloud: &Cloud, desired: &Path, used: &Server, next: &Server) -> Result<()> {
    lab.poolkeeper(desired, &CONVERGE)?.expect_exit(0)?.expect(&[
        "hudson was not seen: connection refused by ",
        "stops: every deletion of nodes registered there; launches go on, registration",
        &format!("{}: ACTIVE after", next.name),
        &format!("waits  {}: registering: hudson to be seen again", next.name),
        "done: 0 created, 0 deleted",
    ])?;
    let servers = cloud.servers_of(CONTROLLER)?;
    let find = |wanted: &Server| servers.iter().find(|server| server.id == wanted.id).context("a server that was there is gone");
    ensure!(find(used)?.mark("poolkeeper_retire").is_empty(), "the used node is on its way down: {:?}", find(used)?);
    let next = find(next)?;
    ensure!(servers.len() == 2 && next.mark("poolkeeper_agent").is_empty(), "{servers:?}");
    let ran = on(lab, next, &cloud.console_keys(&next.id)?, "cat ready-ran")?;
    ensure!(ran == format!("jenkins /opt/nodepool-scripts {}\n", next.name), "the ready script ran once: {ran}");
    lab.poolkeeper(desired, &["list"])?.expect_exit(0)?;
    Ok(())
}

fn taken_up_again(lab: &Lab, steps: &mut Steps, cloud: &Cloud, desired: &Path, used: &Server, next: &Server) -> Result<()> {
    lab.poolkeeper(desired, &CONVERGE)?.expect_exit(0)?.expect(&[&format!("ready  {}: ready script ended 0", next.name)])?;
    let registered = hudson::computer(&next.name)?.context("the new node has no agent")?;
    ensure!(!registered.offline, "the new node's agent is not online: {registered:?}");
    steps.done("it is there again: the new machine is registered and online");

    // Its agent comes back by itself, and with it the mark that the server hid meanwhile.
    let gone_or_back = || {
        let agent = hudson::computer(&used.name)?;
        Ok(agent.is_none_or(|agent| agent.temporarily_offline).then_some(()))
    };
    wait_for("the used node's agent to come back", PATIENCE, gone_or_back)?;
    lab.poolkeeper(desired, &CONVERGE)?.expect_exit(0)?;
    ensure!(cloud.is_gone(&used.id)?, "the used server is still there");
    let node = finished_node(lab, cloud)?;
    ensure!(node.id == next.id, "another node than the one that was prepared: {node:?}");
    steps.done("the used node is gone, though the restart hid its mark");
    lab.poolkeeper(desired, &["plan", "--exit-code"])?.expect_exit(0)?;
    steps.done("`plan --exit-code` is 0");
    Ok(())
}
