//! The lab as the scenarios see it: paths, the binary under test, curl and ssh. Knows no scenario.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// The controller's id of every desired state here: what carries it is ours to delete.
pub(crate) const CONTROLLER: &str = "e2e";

/// For a converging run: 30 to 60 s here, and over five minutes with half a dozen builds beside it, when a Java of a machine
/// takes minutes to start.
const RUN_TIMEOUT: Duration = Duration::from_secs(600);

/// For what takes seconds here, and a minute on a machine with other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Lab {
    /// tests/lab/lab.
    command: PathBuf,
    /// Its `LAB_DIR`.
    state: PathBuf,
    runs: AtomicUsize,
}

/// One run of the binary that has ended.
pub(crate) struct Run {
    pub(crate) exit: Option<i32>,
    pub(crate) output: String,
    what: String,
}

impl Run {
    pub(crate) fn expect_exit(self, exit: i32) -> Result<Self> {
        if self.exit != Some(exit) {
            let ended = self.exit.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
            bail!("`poolkeeper {}` ended with {ended} instead of {exit}; its output:\n{}", self.what, self.output);
        }
        Ok(self)
    }

    /// Each of these texts is in its output, where a line's break counts as a space.
    pub(crate) fn expect(self, texts: &[&str]) -> Result<Self> {
        let output = self.output.split_whitespace().collect::<Vec<_>>().join(" ");
        let missing = texts.iter().find(|text| !output.contains(&text.split_whitespace().collect::<Vec<_>>().join(" ")));
        match missing {
            Some(missing) => bail!("`poolkeeper {}` did not say `{missing}`; its output:\n{}", self.what, self.output),
            None => Ok(self),
        }
    }
}

/// A run that is under way. Killed and reaped when it is dropped.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
    what: String,
}

impl Running {
    /// Waits for the end, killing what takes too long.
    pub(crate) fn finish(mut self) -> Result<Run> {
        let status = wait_for(&format!("the end of `poolkeeper {}`", self.what), RUN_TIMEOUT, || Ok(self.child.try_wait()?))
            .with_context(|| self.output())?;
        Ok(Run { exit: status.code(), output: self.output(), what: self.what.clone() })
    }

    /// SIGKILL as soon as `reached` says so; an end before that is a failure.
    pub(crate) fn kill_when<T>(mut self, what: &str, mut reached: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let seen = wait_for(what, RUN_TIMEOUT, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("`poolkeeper {}` ended ({status}) before {what}; its output:\n{}", self.what, self.output());
            }
            reached()
        })?;
        self.child.kill()?;
        self.child.wait()?;
        Ok(seen)
    }

    fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_else(|error| format!("{}: {error}", self.log.display()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Lab {
    pub(crate) fn new(command: PathBuf, state: PathBuf) -> Self {
        Self { command, state, runs: AtomicUsize::new(0) }
    }

    pub(crate) fn private_key(&self) -> PathBuf {
        self.state.join("data/id_ed25519")
    }

    /// A fresh folder that goes with the lab's run-time state.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let folder = self.state.join("run/e2e").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    pub(crate) fn poolkeeper(&self, desired: &Path, arguments: &[&str]) -> Result<Run> {
        self.start(desired, arguments)?.finish()
    }

    /// Starts the binary under test in a clean environment. Its output goes to a file beside the services' logs.
    pub(crate) fn start(&self, desired: &Path, arguments: &[&str]) -> Result<Running> {
        let logs = self.state.join("log/e2e");
        fs::create_dir_all(&logs)?;
        let what = arguments.join(" ");
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let log = logs.join(format!("{number:02}-{}.log", what.replace([' ', '/'], "")));
        let mut out = File::create(&log)?;
        writeln!(out, "$ poolkeeper {what}")?;
        let child = Command::new(env!("CARGO_BIN_EXE_poolkeeper"))
            .arg("--desired-state")
            .arg(desired)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.state.join("run/e2e"))
            .env("OS_CLIENT_CONFIG_FILE", self.state.join("etc/clouds.yaml"))
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .context("starting poolkeeper")?;
        Ok(Running { child, log, what })
    }

    /// `lab jenkins-used NODE`: marks it as the Gearman plugin does.
    pub(crate) fn mark_as_gearman_does(&self, node: &str) -> Result<()> {
        let output = Command::new(&self.command).args(["jenkins-used", node]).stdin(Stdio::null()).output()?;
        text(&output).map(drop).context("lab jenkins-used")
    }

    /// `lab stop NAME` or `lab start NAME`, of a service.
    pub(crate) fn service(&self, verb: &str, name: &str) -> Result<()> {
        let output = Command::new(&self.command).args([verb, name]).stdin(Stdio::null()).output()?;
        text(&output).map(drop).with_context(|| format!("lab {verb} {name}"))
    }

    /// A command on a server, whose host key must be one of `keys`. `Ok(None)`: it cannot be reached (yet).
    pub(crate) fn ssh(&self, user: &str, address: &str, keys: &[String], command: &str) -> Result<Option<String>> {
        let known = self.state.join("run/e2e/known_hosts");
        let lines: Vec<String> = keys.iter().map(|key| format!("{address} {key}\n")).collect();
        fs::write(&known, lines.concat())?;
        let output = Command::new("ssh")
            .arg("-i")
            .arg(self.private_key())
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", known.display()))
            .args(["-F", "none", "-q", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=3"])
            .args(["-o", "ServerAliveInterval=5", &format!("{user}@{address}"), command])
            .stdin(Stdio::null())
            .output()?;
        // 255 is ssh's own failure, anything else the command's.
        if output.status.code() == Some(255) {
            return Ok(None);
        }
        text(&output).map(Some).with_context(|| format!("`{command}` on {address}"))
    }
}

/// What a command printed, or an error with what it said.
fn text(output: &Output) -> Result<String> {
    if !output.status.success() {
        bail!("{}: {}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Looks five times a second until there is something to see.
pub(crate) fn wait_for<T>(what: &str, timeout: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if start.elapsed() > timeout {
            bail!("{what}: not within {} s", timeout.as_secs());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// An answer over HTTP.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `X-Subject-Token`, which only Keystone sends.
    pub(crate) token: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.body).with_context(|| format!("HTTP {}: {}", self.status, self.body))
    }
}

/// One request by curl. Redirects are not followed.
pub(crate) fn curl(method: &str, url: &str, arguments: &[&str]) -> Result<Answer> {
    let output = Command::new("curl")
        .args(["-q", "-sS", "-g", "--noproxy", "*", "--max-time", "60", "-X", method])
        .args(["-w", "\n%{http_code} %header{x-subject-token}"])
        .args(arguments)
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .context("curl")?;
    let text = text(&output).with_context(|| format!("{method} {url}"))?;
    let (body, last) = text.rsplit_once('\n').context("curl's last line")?;
    let (status, token) = last.split_once(' ').context("curl's last line")?;
    Ok(Answer { status: status.parse()?, token: token.to_owned(), body: body.to_owned() })
}
