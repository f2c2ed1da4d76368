//! The image day: a base image published, a snapshot built from it by a setup script, a node booted from that, a byte of a
//! script changed, a bad one noticed and gone back from.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::desired::{Pool, desired_state};
use crate::lab::{CONTROLLER, Lab, PATIENCE, Run, wait_for};
use crate::openstack::{Cloud, Image, Server};
use crate::steps::{Steps, clean, on};

const CONVERGE: [&str; 3] = ["apply", "--yes", "--until-converged"];

/// In Glance; like servers, what is made here begins with `e2e-`.
const BASE: &str = "e2e-base";
const SNAPSHOT: &str = "e2e-snapshot";

pub(crate) fn run(lab: &Lab, steps: &mut Steps) -> Result<()> {
    clean()?;
    let cloud = Cloud::login()?;
    let desired = desired_state(lab, "images", "5m", &[Pool::default()])?;
    with_snapshot(lab, &desired)?;
    let scene = Scene { lab, cloud: &cloud, desired: &desired };

    scene.publish(steps)?;
    scene.build(steps)?;
    let first = scene.node_from_it(steps)?;
    let second = scene.rebuilt_for_a_byte(steps, &first)?;
    scene.oldest_goes(steps, &first, &second)?;
    scene.back_to_the_one_before(steps)
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

    /// Newest first.
    fn snapshots(&self) -> Result<Vec<Image>> {
        let images = self.cloud.images()?;
        let mut snapshots: Vec<Image> = images.into_iter().filter(|image| image.name.starts_with(SNAPSHOT)).collect();
        for image in &snapshots {
            ensure!(image.status == "active" && image.property("poolkeeper_self") == image.id, "not sealed: {image:?}");
        }
        snapshots.sort_by(|a, b| b.created.cmp(&a.created));
        Ok(snapshots)
    }

    fn no_builder(&self) -> Result<()> {
        let builder = |server: &Server| server.mark("poolkeeper_role") == "builder";
        let left = self.cloud.servers_of(CONTROLLER)?.into_iter().find(builder);
        ensure!(left.is_none(), "a builder is left: {left:?}");
        Ok(())
    }

    fn publish(&self, steps: &mut Steps) -> Result<()> {
        let file = self.desired.join("../ci-base.qcow2");
        let path = file.to_str().context("a path")?;
        self.poolkeeper(&["image", "save", "ci-base", path], 0)?;
        steps.done("`image save`: the lab's own image in a file");
        self.poolkeeper(&["image", "publish", path, BASE], 0)?;
        let named: Vec<Image> = self.cloud.images()?.into_iter().filter(|image| image.name == BASE).collect();
        ensure!(named.len() == 1 && named[0].status == "active", "published once: {named:?}");
        steps.done("`image publish`: a base image of ours");
        Ok(())
    }

    fn build(&self, steps: &mut Steps) -> Result<()> {
        self.poolkeeper(&["plan"], 0)?.expect(&["+ build", "there is no good snapshot of it"])?;
        self.poolkeeper(&["image", "update", SNAPSHOT, "--wait"], 0)?.expect(&["nodes boot from it now"])?;
        ensure!(self.snapshots()?.len() == 1, "one snapshot: {:?}", self.snapshots()?);
        self.no_builder()?;
        steps.done("`image update --wait`: a snapshot built, sealed, its builder deleted");
        Ok(())
    }

    /// A node that was booted from the snapshot: what the setup script left, and nothing of the builder's own.
    fn node_from_it(&self, steps: &mut Steps) -> Result<Image> {
        self.poolkeeper(&CONVERGE, 0)?.expect(&["done: 1 created"])?;
        let snapshot = self.snapshots()?.pop().context("the snapshot")?;
        let node = self.node()?;
        ensure!(node.mark("poolkeeper_base") == snapshot.id, "booted from {}", node.mark("poolkeeper_base"));
        let builder = snapshot.property("poolkeeper_build");
        let look = "cat /etc/e2e-marker; wc -c < /etc/machine-id; ls /var/lib/dhcp; ls /var/lib/poolkeeper";
        let seen = on(self.lab, &node, &self.cloud.console_keys(&node.id)?, look)?;
        let expected = format!("made by {SNAPSHOT}\n0\n{}\n", node.id);
        ensure!(
            seen == expected,
            "marker, machine-id, leases, state directories (its builder was {builder}):\n{seen}\nexpected:\n{expected}"
        );
        steps.done("a node booted from it: the marker, no machine-id, no lease, no state of the builder");
        Ok(snapshot)
    }

    /// The one node, finished by its own marks.
    fn node(&self) -> Result<Server> {
        let server = self.cloud.only_server_of(CONTROLLER)?;
        ensure!(server.mark("poolkeeper_agent") == "joined", "not joined: {server:?}");
        let keys = self.cloud.console_keys(&server.id)?;
        ensure!(keys.iter().any(|key| key == server.mark("poolkeeper_hostkey")), "its own host key: {keys:?}");
        Ok(server)
    }

    fn rebuilt_for_a_byte(&self, steps: &mut Steps, first: &Image) -> Result<Image> {
        setup_script(self.desired, "# one byte more")?;
        self.poolkeeper(&["plan", "--exit-code"], 4)?.expect(&["+ build", "scripts changed"])?;
        steps.done("a byte of a script changed: the plan says why it builds again");
        self.poolkeeper(&CONVERGE, 0)?;
        let snapshots = self.snapshots()?;
        ensure!(snapshots.len() == 2 && snapshots[1].id == first.id, "the previous one is kept: {snapshots:?}");
        ensure!(self.node()?.mark("poolkeeper_base") == snapshots[0].id, "the node is of the new one");
        self.no_builder()?;
        steps.done("built again; the idle node is replaced; the previous snapshot is kept");
        Ok(snapshots[0].clone())
    }

    fn oldest_goes(&self, steps: &mut Steps, first: &Image, second: &Image) -> Result<()> {
        self.poolkeeper(&["image", "update", SNAPSHOT, "--wait"], 0)?;
        self.poolkeeper(&CONVERGE, 0)?;
        let snapshots = self.snapshots()?;
        ensure!(snapshots.len() == 2 && snapshots[1].id == second.id, "two are kept: {snapshots:?}");
        ensure!(snapshots.iter().all(|image| image.id != first.id), "the oldest is there: {snapshots:?}");
        steps.done("a third one: two are kept, the oldest is deleted");
        Ok(())
    }

    fn back_to_the_one_before(&self, steps: &mut Steps) -> Result<()> {
        let snapshots = self.snapshots()?;
        self.poolkeeper(&["image", "delete", &snapshots[0].name], 0)?.expect(&[&snapshots[1].name])?;
        let node = self.node()?;
        self.cloud.delete(&node.id)?;
        wait_for("the node to be gone", PATIENCE, || Ok(self.cloud.is_gone(&node.id)?.then_some(())))?;
        self.poolkeeper(&CONVERGE, 0)?;
        let node = self.node()?;
        ensure!(node.mark("poolkeeper_base") == snapshots[1].id, "booted from {}", node.mark("poolkeeper_base"));
        self.poolkeeper(&["image", "list"], 0)?.expect(&["bad", "current"])?;
        steps.done("`image delete` of the current one: the next node boots from the one before it");
        Ok(())
    }
}

fn with_snapshot(lab: &Lab, desired: &Path) -> Result<()> {
    fs::create_dir_all(desired.join("images"))?;
    let pool: PathBuf = desired.join("pools/e2e.yaml");
    let text = fs::read_to_string(&pool)?.replace("image: {glance: ci-base}", &format!("image: {SNAPSHOT}"));
    fs::write(&pool, text)?;
    let image = format!(
        "providers: [lab]
base-image: {BASE}
flavor: ci.tiny
setup-script: setup.sh
script-dir: scripts
username: debian
private-key: {}
keep: 2
clean: [machine-id, dhcp-leases]
",
        lab.private_key().display()
    );
    fs::write(desired.join(format!("images/{SNAPSHOT}.yaml")), image)?;
    setup_script(desired, "")
}

/// Leaves the marker, and what a machine that ran for a while has.
fn setup_script(desired: &Path, end: &str) -> Result<()> {
    let script = desired.join("scripts/setup.sh");
    let text = format!(
        "#!/bin/sh
set -e
echo 'made by {SNAPSHOT}' | sudo tee /etc/e2e-marker
echo 0123456789abcdef0123456789abcdef | sudo tee /etc/machine-id
sudo mkdir -p /var/lib/dhcp
echo lease | sudo tee /var/lib/dhcp/dhclient.leases
{end}
"
    );
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
