//! Floating IPs as Neutron keeps them: one on the port of each server, released with it, also when a person deleted the server.
//! On the lab's fake host: no packet moves, and no machine answers.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};

use crate::desired::{Pool, desired_state};
use crate::lab::{CONTROLLER, Lab, PATIENCE, wait_for};
use crate::openstack::{Cloud, FloatingIp, Server};
use crate::steps::{Steps, clean};

const APPLY: [&str; 4] = ["apply", "--yes", "--deadline", "10s"];

pub(crate) fn run(lab: &Lab, steps: &mut Steps) -> Result<()> {
    clean()?;
    let cloud = Cloud::login()?;
    ensure!(cloud.floating_ips()?.is_empty(), "floating IPs of somebody else: {:?}", cloud.floating_ips()?);
    let pool = |name, min_ready| Pool { name, image: "fake-base", flavor: "fake.tiny", min_ready, ready: "" };
    let desired = with_floating_ips(desired_state(lab, "floating", "10m", &[pool("e2e", 1)])?)?;
    lab.poolkeeper(&desired, &APPLY)?.expect_exit(0)?;
    let (first, ip) = one_each(&cloud)?;
    steps.done("a server, and a floating IP on its port");

    lab.poolkeeper(&desired, &APPLY)?.expect_exit(0)?;
    ensure!(one_each(&cloud)?.1 == ip, "another floating IP");
    steps.done("the next run makes no other");

    cloud.delete(&first.id)?;
    wait_for("the server to be gone", PATIENCE, || Ok(cloud.is_gone(&first.id)?.then_some(())))?;
    let left = cloud.floating_ips()?;
    ensure!(left.iter().map(|ip| &ip.id).eq([&ip.id]), "Neutron keeps it without its server: {left:?}");
    lab.poolkeeper(&desired, &APPLY)?.expect_exit(0)?;
    let (second, other) = one_each(&cloud)?;
    ensure!(second.id != first.id && other.id != ip.id, "{second:?}, {other:?}");
    steps.done("a person deleted the server: its floating IP is released, the next has its own");

    let desired = with_floating_ips(desired_state(lab, "floating", "10m", &[pool("e2e-other", 0)])?)?;
    lab.poolkeeper(&desired, &["apply", "--yes", "--until-converged"])?.expect_exit(0)?;
    ensure!(cloud.floating_ips()?.is_empty(), "left: {:?}", cloud.floating_ips()?);
    ensure!(cloud.servers_of(CONTROLLER)?.is_empty(), "left: {:?}", cloud.servers_of(CONTROLLER)?);
    steps.done("its pool removed: the floating IP released, then the server deleted");
    Ok(())
}

fn with_floating_ips(desired: PathBuf) -> Result<PathBuf> {
    let file = desired.join("controller.yaml");
    let text = fs::read_to_string(&file)?;
    fs::write(&file, text.replace("    host-keys: console\n", "    floating-ip-network: public\n"))?;
    Ok(desired)
}

/// The one server of ours, and the one floating IP, which is on its port and says so.
fn one_each(cloud: &Cloud) -> Result<(Server, FloatingIp)> {
    let server = cloud.only_server_of(CONTROLLER)?;
    let ips = cloud.floating_ips()?;
    let [ip] = ips.as_slice() else { bail!("one floating IP expected: {ips:?}") };
    let words = format!("poolkeeper controller={CONTROLLER} server={}", server.id);
    ensure!(ip.description == words, "it says `{}` instead of `{words}`", ip.description);
    ensure!(ip.server.as_deref() == Some(server.id.as_str()), "it is on no port of {}: {ip:?}", server.id);
    Ok((server, ip.clone()))
}
