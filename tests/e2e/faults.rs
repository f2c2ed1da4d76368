//! What a cloud and a machine can do wrong: each is told in the services' own words, cleaned up, and not hammered.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::desired::{Pool, desired_state};
use crate::lab::{CONTROLLER, Lab, PATIENCE, Run, wait_for};
use crate::openstack::{Cloud, Server};
use crate::steps::{Steps, agents_are, clean};

const CONVERGE: [&str; 3] = ["apply", "--yes", "--until-converged"];
const APPLY: [&str; 4] = ["apply", "--yes", "--deadline", "5s"];

/// A person must act: for what is not there, or for the quota.
const REFUSED: i32 = 6;

/// Seconds from the creation of the machine of the first try, which failed, to the second try (docs/architecture.md).
const FIRST_BACK_OFF: i64 = 60;

pub(crate) fn run(lab: &Lab, steps: &mut Steps) -> Result<()> {
    clean()?;
    let scene = Scene { lab, cloud: Cloud::login()?, admin: Cloud::admin()? };
    steps.done("an empty cloud");
    // The failed machine of a huge flavor must not be what the next try lacks room for.
    scene.admin.with_quota(scene.cloud.project(), &json!({"ram": -1}), || {
        scene.cloud_says_no(steps)?;
        clean()
    })?;
    scene.quotas(steps)?;
    clean()?;
    scene.ready_script_fails(steps)
}

struct Scene<'a> {
    lab: &'a Lab,
    cloud: Cloud,
    admin: Cloud,
}

impl Scene<'_> {
    fn poolkeeper(&self, desired: &Path, arguments: &[&str]) -> Result<Run> {
        self.lab.poolkeeper(desired, arguments)
    }

    /// Four pools at one time, none of which can get a node. No real machine is started.
    fn cloud_says_no(&self, steps: &mut Steps) -> Result<()> {
        let fake = |name, flavor, min_ready| Pool { name, image: "fake-base", flavor, min_ready, ready: "" };
        let pools = [
            fake("e2e-flavor", "no.such", 1),
            Pool { image: "no-such", ..fake("e2e-image", "fake.tiny", 1) },
            Pool { image: "ci-base", ..fake("e2e-host", "huge.impossible", 1) },
            fake("e2e-ssh", "fake.tiny", 2),
        ];
        // A machine of the lab's fake host is ACTIVE and answers nothing. Given up soon, so that also on a slow machine all are
        // well before the first back-off is over.
        let desired = desired_state(self.lab, "faults", "8s", &pools)?;
        let before = self.ids_ever()?;
        self.poolkeeper(&desired, &CONVERGE)?.expect_exit(REFUSED)?.expect(&[
            "e2e-flavor (0 of 1 ready or coming): there is no flavor `no.such`",
            "e2e-image (0 of 1 ready or coming): there is no ACTIVE image `no-such`",
            "waits  e2e-host: back-off until",
            "(ERROR: No valid host was found. There are not enough hosts available., try ",
            "failed: no SSH within 8s",
        ])?;
        steps.done("no such flavor, no such image, no valid host, no SSH: each is told");
        self.one_kept_of("e2e-host", "ERROR")?;
        let kept = self.one_kept_of("e2e-ssh", "ACTIVE")?;
        ensure!(kept.mark("poolkeeper_failed").contains("no SSH within 8s"), "poolkeeper_failed: {kept:?}");
        steps.done("the newest failed machine of a pool is kept, the others are gone");

        for _ in 0..3 {
            self.poolkeeper(&desired, &APPLY)?.expect_exit(REFUSED)?;
        }
        self.not_hammered(&before, &[("e2e-flavor", 0), ("e2e-image", 0), ("e2e-host", 1), ("e2e-ssh", 2)])?;
        steps.done("three more runs: nothing is tried before its time");

        let second = || {
            self.poolkeeper(&desired, &APPLY)?.expect_exit(REFUSED)?;
            let tries = self.cloud.servers_of(CONTROLLER)?;
            Ok(tries.into_iter().find(|server| server.pool() == "e2e-ssh" && server.mark("poolkeeper_try") == "2"))
        };
        wait_for("the second try", PATIENCE, second)?;
        self.poolkeeper(&desired, &CONVERGE)?.expect_exit(REFUSED)?.expect(&["no SSH within 8s", "try 2)"])?;
        ensure!(self.cloud.is_gone(&kept.id)?, "the machine of the first try is still there");
        self.one_kept_of("e2e-ssh", "ACTIVE")?;
        self.not_hammered(&before, &[("e2e-flavor", 0), ("e2e-image", 0), ("e2e-host", 1), ("e2e-ssh", 2)])?;
        steps.done("the second try comes in its time, one machine alone, and takes the first one's place");
        Ok(())
    }

    /// A quota that Nova's limits show, and one that only the create's refusal tells.
    fn quotas(&self, steps: &mut Steps) -> Result<()> {
        let pool = Pool { image: "fake-base", flavor: "fake.tiny", ..Pool::default() };
        let desired = desired_state(self.lab, "quotas", "5m", &[pool])?;
        let before = self.ids_ever()?;
        self.admin.with_quota(self.cloud.project(), &json!({"instances": 0}), || {
            let run = self.poolkeeper(&desired, &CONVERGE)?.expect_exit(REFUSED)?;
            run.expect(&["e2e (0 of 1 ready or coming): flavor `fake.tiny` needs 1 instances"]).map(drop)
        })?;
        steps.done("no quota left: told, and nothing is asked for");
        self.admin.with_quota(self.cloud.project(), &json!({"metadata_items": 3}), || {
            let run = self.poolkeeper(&desired, &CONVERGE)?.expect_exit(5)?;
            ensure!(run.output.matches("POST ").count() == 1, "asked more than once in a run:\n{}", run.output);
            run.expect(&["failed e2e-", "Maximum number of metadata items exceeds 3", "(HTTP 403, req-", "hint: "]).map(drop)
        })?;
        self.not_hammered(&before, &[("e2e", 0)])?;
        steps.done("a quota that only Nova knows: its own words, asked for once");
        self.poolkeeper(&desired, &["plan", "--exit-code"])?.expect_exit(4)?.expect(&["create"])?;
        steps.done("quotas as before: the plan creates again");
        Ok(())
    }

    fn ready_script_fails(&self, steps: &mut Steps) -> Result<()> {
        let script = "echo looking for the disk\necho the disk is on fire >&2\nexit 3";
        let pool = Pool { name: "e2e-script", min_ready: 2, ready: script, ..Pool::default() };
        let desired = desired_state(self.lab, "script", "5m", &[pool])?;
        let before = self.ids_ever()?;
        // Killed, because on a slow machine a try takes longer than its back-off, and one follows the other.
        let marked = || {
            let servers = self.cloud.servers_of(CONTROLLER)?;
            Ok(servers.into_iter().find(|server| !server.mark("poolkeeper_failed").is_empty()))
        };
        let failed = self.lab.start(&desired, &CONVERGE)?.kill_when("a machine was marked as failed", marked)?;
        let words = "ready script exited 3: the disk is on fire";
        ensure!(failed.mark("poolkeeper_failed").contains(words), "poolkeeper_failed: {failed:?}");
        self.poolkeeper(&desired, &APPLY)?.expect_exit(0)?.expect(&[words])?;
        let servers = self.cloud.servers_of(CONTROLLER)?;
        let unregistered = servers.iter().all(|server| server.mark("poolkeeper_agent").is_empty());
        ensure!(unregistered, "one was registered: {servers:?}");
        agents_are(&[])?;
        self.not_hammered(&before, &[("e2e-script", 2)])?;
        steps.done("a ready script that fails: told with its last line, and never registered");
        Ok(())
    }

    /// The one machine of a pool.
    fn one_kept_of(&self, pool: &str, status: &str) -> Result<Server> {
        let mut servers = self.cloud.servers_of(CONTROLLER)?;
        servers.retain(|server| server.pool() == pool);
        ensure!(servers.len() == 1 && servers[0].status == status, "one server of {pool} in {status} expected: {servers:?}");
        servers.pop().context("a server")
    }

    /// Of every server there ever was.
    fn ids_ever(&self) -> Result<Vec<String>> {
        Ok(self.admin.servers_ever()?.into_iter().map(|server| server.id).collect())
    }

    /// Of each pool, as Nova remembers it: so many machines in the first try, one in each later one, and none before the
    /// back-off after the try before it was over.
    fn not_hammered(&self, before: &[String], pools: &[(&str, usize)]) -> Result<()> {
        let mut servers = self.admin.servers_ever()?;
        servers.retain(|server| !before.contains(&server.id));
        servers.sort_by_key(|server| server.created);
        for (pool, first) in pools {
            let (of_pool, others): (Vec<_>, Vec<_>) = servers.into_iter().partition(|server| server.pool() == *pool);
            servers = others;
            let count = of_pool.len();
            ensure!(count >= *first && (*first > 0 || count == 0), "{pool}: {first} machines at first: {of_pool:?}");
            let mut wait = FIRST_BACK_OFF;
            for pair in of_pool.get(first.saturating_sub(1)..).unwrap_or_default().windows(2) {
                let after = pair[1].created - pair[0].created;
                ensure!(after >= wait, "{pool}: a try came {after} s after the one before it, not {wait} s: {of_pool:?}");
                wait *= 2;
            }
        }
        ensure!(servers.is_empty(), "servers of no pool: {servers:?}");
        Ok(())
    }
}
