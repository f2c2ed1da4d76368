//! `demo`: the real binary against a sandbox of its own, command by command, from nothing to a replaced node.

use std::fs;
use std::io::{Read as _, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use jiff::SignedDuration;

use super::sandbox::WallTime;
use crate::run::sleep;
use crate::sandbox::Generation;
use crate::sandbox::stage::{PLAYED, Stage};
use crate::settings::now;

/// Seconds of the demo's one build: long enough to be seen in a listing.
const BUILD: u32 = 3;

/// `exe` is the binary that is shown, `width` the columns of the screen that it is shown on.
pub fn demo(out: &mut dyn Write, exe: &Path, width: usize) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let stage = Stage::set_up(&scratch.0, Generation::J2_462, now()).context("setting up the sandbox")?;
    let _wall_time = WallTime::start(&stage.world);
    let mut show = Show { out, exe, width, stage: &stage, home: &scratch.0 };

    show.say(&format!("Nothing real; {PLAYED}."))?;
    show.say("An empty cloud, and a pool that should have two nodes ready:")?;
    show.run(&["plan"])?;
    show.run(&["apply", "--yes", "--until-converged"])?;
    show.run(&["list"])?;
    let node = show.build()?;
    show.run(&["list"])?;
    show.wait_for_its_end(&node)?;
    show.run(&["plan"])?;
    show.run(&["apply", "--yes", "--until-converged"])?;
    show.run(&["list"])?;
    let last = show.run(&["plan"])?;
    if !last.contains("nothing to do") {
        bail!("the last plan of the demo still has something to do");
    }
    let (killed, calls) = stage.world.with(|state| (state.killed_builds.len(), state.faults.calls()));
    if killed > 0 {
        bail!("{killed} running builds were killed");
    }
    show.say(&format!("{calls} calls were answered, and no running build was killed."))
}

/// A directory of this process alone, gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("poolkeeper-demo-{}", std::process::id()));
        // An existing one is somebody else's: an error.
        fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's cleaning of its temporary directory.
        let _left = fs::remove_dir_all(&self.0);
    }
}

struct Show<'a> {
    out: &'a mut dyn Write,
    exe: &'a Path,
    width: usize,
    stage: &'a Stage,
    home: &'a Path,
}

impl Show<'_> {
    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        writeln!(self.out, "# {text}\n")?;
        Ok(self.out.flush()?)
    }

    /// Runs it and passes its output on as it comes; the whole is returned too. Its talk goes where ours goes.
    fn run(&mut self, arguments: &[&str]) -> anyhow::Result<String> {
        let shown = format!("poolkeeper {}", arguments.join(" "));
        writeln!(self.out, "$ {shown}")?;
        self.out.flush()?;
        let mut child = Command::new(self.exe)
            .arg("--desired-state")
            .arg(&self.stage.desired_state)
            .args(arguments)
            // Nothing of the person's own clouds may come in.
            .env_clear()
            .env("OS_CLIENT_CONFIG_FILE", &self.stage.clouds_yaml)
            .env("HOME", self.home)
            .env("COLUMNS", self.width.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", self.exe.display()))?;
        let mut text = Vec::new();
        if let Some(mut output) = child.stdout.take() {
            let mut buffer = [0; 4096];
            loop {
                let length = output.read(&mut buffer)?;
                let Some(part) = buffer.get(..length).filter(|part| !part.is_empty()) else { break };
                self.out.write_all(part)?;
                self.out.flush()?;
                text.extend_from_slice(part);
            }
        }
        let status = child.wait()?;
        writeln!(self.out)?;
        if !status.success() {
            bail!("`{shown}` ended with {status}");
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Starts a build on the first node that is free. The node's name.
    fn build(&mut self) -> anyhow::Result<String> {
        let (world, target) = (&self.stage.world, &self.stage.target);
        let agents = world.agents(target);
        let node = agents.iter().find(|agent| world.start_gearman_build(target, &agent.name, BUILD).is_some());
        let node = node.map(|agent| agent.name.clone()).context("no node takes a build: the pool did not come up")?;
        self.say(&format!("A build starts on {node}:"))?;
        Ok(node.to_string())
    }

    fn wait_for_its_end(&mut self, node: &str) -> anyhow::Result<()> {
        while self.stage.world.agent(&self.stage.target, node).is_some_and(|agent| agent.busy) {
            sleep(SignedDuration::from_millis(100));
        }
        self.say("It ends, and the Gearman plugin marks its node offline, as it does for nodes of one build:")
    }
}
