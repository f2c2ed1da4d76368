//! What the scenarios have in common: timed steps, a look at finished nodes, and the cleaning up.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::desired::is_ours;
use crate::hudson::{self, Computer};
use crate::lab::{CONTROLLER, Lab, PATIENCE, wait_for};
use crate::openstack::{Cloud, Server};

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

/// The nodes of this controller, each finished: ACTIVE, its pinned key the one on its console, prepared once, registered,
/// online and idle. `except`: ids of servers that are something else; they are passed over.
pub(crate) fn finished_nodes(lab: &Lab, cloud: &Cloud, except: &[&str]) -> Result<Vec<Server>> {
    let mut servers = cloud.servers_of(CONTROLLER)?;
    servers.retain(|server| !except.contains(&server.id.as_str()));
    let agents = hudson::computers()?;
    for server in &servers {
        finished(lab, cloud, server, &agents)?;
    }
    Ok(servers)
}

fn finished(lab: &Lab, cloud: &Cloud, server: &Server, agents: &[Computer]) -> Result<()> {
    ensure!(server.status == "ACTIVE", "{} is {}", server.name, server.status);
    let keys = cloud.console_keys(&server.id)?;
    let pinned = server.mark("poolkeeper_hostkey");
    ensure!(keys.iter().any(|key| key == pinned), "pinned `{pinned}`, on the console {keys:?}");
    ensure!(server.mark("poolkeeper_agent") == "joined", "poolkeeper_agent is `{}`", server.mark("poolkeeper_agent"));
    let ran = on(lab, server, &keys, "cat ready-ran")?;
    let expected = format!("jenkins /opt/nodepool-scripts {}\n", server.name);
    ensure!(ran == expected, "the ready script ran once, as `{expected}`: {ran}");
    let named: Vec<_> = agents.iter().filter(|agent| agent.name == server.name).collect();
    let [agent] = named.as_slice() else { anyhow::bail!("one agent {} expected: {named:?}", server.name) };
    ensure!(!agent.offline && !agent.temporarily_offline && agent.idle, "not online and idle: {agent:?}");
    Ok(())
}

/// The one node of this controller, finished, and no other agent of ours.
pub(crate) fn finished_node(lab: &Lab, cloud: &Cloud) -> Result<Server> {
    let server = cloud.only_server_of(CONTROLLER)?;
    finished_nodes(lab, cloud, &[])?;
    agents_are(&[&server])?;
    Ok(server)
}

/// Each of these servers has an agent, and no other agent of ours is there.
pub(crate) fn agents_are(servers: &[&Server]) -> Result<()> {
    let mut agents: Vec<String> = hudson::computers()?.into_iter().map(|agent| agent.name).filter(|name| is_ours(name)).collect();
    let mut expected: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
    agents.sort();
    expected.sort_unstable();
    ensure!(agents == expected, "agents {agents:?}, servers {expected:?}");
    Ok(())
}

/// A command on a server as `jenkins`, its host key checked against the console's.
pub(crate) fn on(lab: &Lab, server: &Server, keys: &[String], command: &str) -> Result<String> {
    let address = server.address.as_deref().with_context(|| format!("{} has no address", server.name))?;
    wait_for(&format!("SSH to {}", server.name), PATIENCE, || lab.ssh("jenkins", address, keys, command))
}

/// Deletes and releases what carries our mark, and waits until it is gone.
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
    for ip in
        cloud.floating_ips()?.iter().filter(|ip| ip.description.starts_with(&format!("poolkeeper controller={CONTROLLER} ")))
    {
        cloud.release(ip)?;
    }
    for image in cloud.images()?.iter().filter(|image| is_ours(&image.name)) {
        cloud.delete_image(&image.id)?;
    }
    wait_for("our servers to be gone", PATIENCE, || Ok(cloud.servers_of(CONTROLLER)?.is_empty().then_some(())))
}
