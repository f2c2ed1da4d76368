//! From an empty cloud to two nodes, a build on one of them that no run disturbs, its replacement, and a node that an admin
//! takes offline by hand.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::desired::{Pool, desired_state};
use crate::hudson;
use crate::lab::{CONTROLLER, Lab, PATIENCE, Run, wait_for};
use crate::openstack::{Cloud, Server};
use crate::steps::{Steps, agents_are, clean, finished_nodes, on};

const CONVERGE: [&str; 3] = ["apply", "--yes", "--until-converged"];

pub(crate) fn run(lab: &Lab, steps: &mut Steps) -> Result<()> {
    clean()?;
    let cloud = Cloud::login()?;
    let desired = desired_state(lab, "two", "5m", &[Pool { min_ready: 2, ..Pool::default() }])?;
    steps.done("an empty cloud, a desired state of two nodes");
    let scene = Scene { lab, cloud: &cloud, desired: &desired };

    let nodes = scene.up_from_nothing(steps)?;
    contract(lab, &cloud, &nodes[0])?;
    steps.done("the ready script saw what nodepool promised");
    scene.nothing_to_do(steps)?;

    let used = scene.build_undisturbed(steps, &nodes)?;
    let nodes = scene.replaced(steps, &used)?;
    scene.nothing_to_do(steps)?;

    scene.offline_by_hand(steps, &nodes[0])?;
    scene.nothing_to_do(steps)
}

struct Scene<'a> {
    lab: &'a Lab,
    cloud: &'a Cloud,
    desired: &'a Path,
}

impl Scene<'_> {
    fn poolkeeper(&self, arguments: &[&str], exit: i32) -> Result<Run> {
        self.lab.poolkeeper(self.desired, arguments)?.expect_exit(exit)
    }

    /// Two finished nodes beside `except`, which are something else.
    fn two(&self, except: &[&Server]) -> Result<Vec<Server>> {
        let ids: Vec<&str> = except.iter().map(|server| server.id.as_str()).collect();
        let nodes = finished_nodes(self.lab, self.cloud, &ids)?;
        ensure!(nodes.len() == 2, "two nodes expected: {nodes:?}");
        let mut all = except.to_vec();
        all.extend(&nodes);
        agents_are(&all)?;
        Ok(nodes)
    }

    fn nothing_to_do(&self, steps: &mut Steps) -> Result<()> {
        let before = ids(&self.cloud.servers_of(CONTROLLER)?);
        self.poolkeeper(&["plan", "--exit-code"], 0)?;
        ensure!(ids(&self.cloud.servers_of(CONTROLLER)?) == before, "a plan changed something");
        steps.done("`plan --exit-code` is 0");
        Ok(())
    }

    fn up_from_nothing(&self, steps: &mut Steps) -> Result<Vec<Server>> {
        self.poolkeeper(&["validate"], 0)?;
        steps.done("`validate`");
        self.poolkeeper(&["plan", "--exit-code"], 4)?;
        ensure!(self.cloud.servers_of(CONTROLLER)?.is_empty(), "a plan created a server");
        steps.done("`plan --exit-code` is 4, and nothing is there yet");
        self.poolkeeper(&CONVERGE, 0)?.expect(&["done: 2 created, 0 deleted"])?;
        let nodes = self.two(&[])?;
        steps.done("`apply --until-converged`: two nodes, prepared, registered, online");
        Ok(nodes)
    }

    /// A build, marked while it runs as the Gearman plugin marks it. A run in the middle of it leaves both alone.
    fn build_undisturbed(&self, steps: &mut Steps, nodes: &[Server]) -> Result<Server> {
        let build = hudson::build()?;
        let started = || {
            let busy = hudson::computers()?.into_iter().find(|computer| !computer.idle);
            anyhow::Ok(busy.and_then(|computer| nodes.iter().find(|node| node.name == computer.name)))
        };
        let node = wait_for("the build to start", PATIENCE, started)?;
        self.lab.mark_as_gearman_does(&node.name)?;
        let busy = || hudson::busy(&node.name);
        let marked = busy()?.context("the build ended by itself")?;
        ensure!(marked.temporarily_offline, "the mark did not take: {marked:?}");
        steps.done("a build runs on one, marked as the Gearman plugin does");

        self.poolkeeper(&CONVERGE, 0)?.expect(&[&format!("note   {}: seen busy", node.name), "done: 1 created, 0 deleted"])?;
        ensure!(hudson::result(build)?.is_none(), "the build was ended: {:?}", hudson::result(build)?);
        ensure!(busy()?.is_some(), "the agent is not busy any more");
        self.two(&[node])?;
        steps.done("`apply` in the middle of the build keeps server and build, and makes another node");

        on(self.lab, node, &self.cloud.console_keys(&node.id)?, "touch /tmp/build-may-end")?;
        let build = wait_for("the end of the build", PATIENCE, || hudson::result(build))?;
        ensure!(build.result == "SUCCESS" && build.built_on == node.name, "{build:?}");
        steps.done("the build is over: SUCCESS, on that node");
        Ok(node.clone())
    }

    fn replaced(&self, steps: &mut Steps, used: &Server) -> Result<Vec<Server>> {
        let why = format!("delete {}: used: `Offline due to Gearman request`; agent removed, server deleted", used.name);
        self.poolkeeper(&CONVERGE, 0)?.expect(&[&why, "done: 0 created, 1 deleted"])?;
        ensure!(self.cloud.is_gone(&used.id)?, "the used server is still there");
        let nodes = self.two(&[])?;
        ensure!(nodes.iter().all(|node| node.name != used.name), "the name {} came back", used.name);
        steps.done("`apply`: the used node is gone, two are ready");
        Ok(nodes)
    }

    fn offline_by_hand(&self, steps: &mut Steps, node: &Server) -> Result<()> {
        hudson::toggle_offline(&node.name, "disk full, I look into it")?;
        self.poolkeeper(&CONVERGE, 0)?.expect(&["done: 1 created, 0 deleted"])?;
        ensure!(!self.cloud.is_gone(&node.id)?, "the server that an admin took offline is gone");
        let computer = hudson::computer(&node.name)?.context("its agent is gone")?;
        ensure!(computer.temporarily_offline, "the admin's mark is gone: {computer:?}");
        self.two(&[node])?;
        steps.done("an admin's offline node is kept, and another one is made");
        Ok(())
    }
}

fn ids(servers: &[Server]) -> Vec<String> {
    let mut ids: Vec<String> = servers.iter().map(|server| server.id.clone()).collect();
    ids.sort();
    ids
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
