//! From an empty cloud to one node, a build on it that no run disturbs, and its replacement afterwards.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::hudson;
use crate::lab::{CONTROLLER, Lab, PATIENCE, wait_for};
use crate::openstack::{Cloud, Server};
use crate::steps::{Steps, clean, desired_state, finished_node, on};

pub(crate) fn run(lab: &Lab, steps: &mut Steps) -> Result<()> {
    clean()?;
    let cloud = Cloud::login()?;
    let desired = desired_state(lab, "one-node", "")?;
    steps.done("an empty cloud, a desired state of one node");

    let first = from_nothing(lab, steps, &cloud, &desired)?;
    contract(lab, &cloud, &first)?;
    steps.done("the ready script saw what nodepool promised");
    lab.poolkeeper(&desired, &["plan", "--exit-code"])?.expect_exit(0)?;
    ensure!(finished_node(lab, &cloud)?.id == first.id, "a plan changed something");
    steps.done("`plan --exit-code` is 0");

    build_undisturbed(lab, steps, &cloud, &desired, &first)?;

    lab.poolkeeper(&desired, &["apply", "--yes", "--until-converged"])?.expect_exit(0)?;
    ensure!(cloud.is_gone(&first.id)?, "the used server is still there");
    ensure!(hudson::computer(&first.name)?.is_none(), "the used agent is still there");
    let second = finished_node(lab, &cloud)?;
    ensure!(second.name != first.name, "the name {} came back", first.name);
    steps.done("`apply`: the used node is gone, another one is ready");
    lab.poolkeeper(&desired, &["plan", "--exit-code"])?.expect_exit(0)?;
    steps.done("`plan --exit-code` is 0");
    Ok(())
}

fn from_nothing(lab: &Lab, steps: &mut Steps, cloud: &Cloud, desired: &Path) -> Result<Server> {
    lab.poolkeeper(desired, &["validate"])?.expect_exit(0)?;
    steps.done("`validate`");
    lab.poolkeeper(desired, &["plan", "--exit-code"])?.expect_exit(4)?;
    ensure!(cloud.servers_of(CONTROLLER)?.is_empty(), "a plan created a server");
    steps.done("`plan --exit-code` is 4, and nothing is there yet");
    lab.poolkeeper(desired, &["apply", "--yes", "--until-converged"])?.expect_exit(0)?;
    let server = finished_node(lab, cloud)?;
    steps.done("`apply --until-converged`: one node, prepared, registered, online");
    Ok(server)
}

/// The files of /etc/nodepool as the ready script saw them.
fn contract(lab: &Lab, cloud: &Cloud, server: &Server) -> Result<()> {
    // One connection: each begins with a line `== NAME`.
    let all = "cd seen && for f in *; do echo \"== $f\"; cat \"$f\"; echo; done";
    let all = on(lab, server, &cloud.console_keys(&server.id)?, all)?;
    let seen = |file: &str| {
        let part = all.split("== ").find_map(|part| part.strip_prefix(&format!("{file}\n")));
        part.map(str::trim).with_context(|| format!("/etc/nodepool/{file} was not there"))
    };
    let address = server.address.as_deref().context("an address")?;
    for (file, expected) in [
        ("role", "primary"),
        ("node", address),
        ("node_private", address),
        ("primary_node", address),
        ("primary_node_private", address),
        ("sub_nodes", ""),
        ("sub_nodes_private", ""),
        ("uuid", &server.id),
    ] {
        let text = seen(file)?;
        ensure!(text == expected, "/etc/nodepool/{file} is `{text}` instead of `{expected}`");
    }
    ensure!(seen("provider")?.contains("NODEPOOL_PROVIDER=lab"), "/etc/nodepool/provider: {}", seen("provider")?);
    ensure!(seen("id_rsa")?.contains("PRIVATE KEY"), "/etc/nodepool/id_rsa is no private key");
    ensure!(seen("id_rsa.pub")?.starts_with("ssh-rsa "), "/etc/nodepool/id_rsa.pub: {}", seen("id_rsa.pub")?);
    Ok(())
}

/// A build, marked while it runs as the Gearman plugin marks it; a run in the middle of it leaves both alone.
fn build_undisturbed(lab: &Lab, steps: &mut Steps, cloud: &Cloud, desired: &Path, node: &Server) -> Result<()> {
    let build = hudson::build()?;
    let busy = || Ok(hudson::computer(&node.name)?.filter(|computer| !computer.idle));
    wait_for("the build to start", PATIENCE, busy)?;
    lab.mark_as_gearman_does(&node.name)?;
    let marked = busy()?.context("the build ended by itself")?;
    ensure!(marked.temporarily_offline, "the mark did not take: {marked:?}");
    steps.done("a build runs on it, marked as the Gearman plugin does");

    lab.poolkeeper(desired, &["apply", "--yes", "--deadline", "10s"])?.expect_exit(0)?;
    ensure!(hudson::result(build)?.is_none(), "the build was ended: {:?}", hudson::result(build)?);
    ensure!(busy()?.is_some(), "the agent is not busy any more");
    ensure!(!cloud.is_gone(&node.id)?, "the server is gone");
    steps.done("`apply` in the middle of the build keeps server and build");

    on(lab, node, &cloud.console_keys(&node.id)?, "touch /tmp/build-may-end")?;
    let build = wait_for("the end of the build", PATIENCE, || hudson::result(build))?;
    ensure!(build.result == "SUCCESS" && build.built_on == node.name, "{build:?}");
    steps.done("the build is over: SUCCESS, on that node");
    Ok(())
}
