//! `sandbox`: serves the embedded cloud, Jenkins and machines in wall time until it is interrupted.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context as _, bail};
use jiff::SignedDuration;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::exit::Usage;
use crate::live::machine::remote_command::quote;
use crate::run::sleep;
use crate::sandbox::stage::Stage;
use crate::sandbox::{Generation, Sandbox};
use crate::settings::now;

/// How far the world's clock may lag behind (it never leads): small beside the second that it counts in.
const STEP: SignedDuration = SignedDuration::from_millis(100);

/// A build starts so often (seconds), and lasts so long: a pool of two has one node used a minute.
const BUILD_EVERY: i64 = 60;
const BUILD_SECONDS: u32 = 20;

/// `version`: of the Jenkins that is played, or its beginning.
pub fn sandbox(out: &mut dyn Write, dir: &Path, version: &str) -> anyhow::Result<()> {
    let generation = Generation::parse(version).ok_or_else(|| {
        let known = Generation::ALL.map(Generation::name).join(", ");
        Usage(format!("the sandbox plays no Jenkins `{version}`; give one of {known}"))
    })?;
    let dir = std::path::absolute(dir).with_context(|| format!("the directory {}", dir.display()))?;
    take(&dir)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("waiting for signals")?;
    }
    let setting_up = || format!("setting up the sandbox in {}", dir.display());
    let stage = Stage::set_up(&dir, generation, now()).with_context(setting_up)?;
    stage.add_an_image(&dir).with_context(setting_up)?;
    writeln!(out, "# {}", crate::sandbox::stage::PLAYED)?;
    writeln!(out, "export OS_CLIENT_CONFIG_FILE={}", shell_word(&stage.clouds_yaml))?;
    writeln!(out, "poolkeeper --desired-state {} plan", shell_word(&stage.desired_state))?;
    out.flush()?;
    let _wall_time = WallTime::start(&stage.world);
    let mut next_build = now().as_second() + BUILD_EVERY;
    while !stop.load(Ordering::SeqCst) {
        sleep(STEP);
        if now().as_second() >= next_build {
            next_build += BUILD_EVERY;
            start_a_build(&stage);
        }
    }
    Ok(())
}

/// In each directory that a sandbox has made: what it writes there may be written over, and nothing in another one.
const MARK: &str = ".poolkeeper-sandbox";

/// Makes the directory, or takes one that is empty or a sandbox's own.
fn take(dir: &Path) -> anyhow::Result<()> {
    let mark = dir.join(MARK);
    let is_free = match fs::read_dir(dir) {
        Ok(mut entries) => mark.is_file() || entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => bail!(Usage(format!("{} is no directory", dir.display()))),
        Err(error) => return Err(error).with_context(|| format!("reading {}", dir.display())),
    };
    if !is_free {
        let dir = dir.display();
        bail!(Usage(format!("{dir} has files that no sandbox made (no {MARK} is in it): give an empty directory, or a new one")));
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| format!("making {}", dir.display()))?;
    let said = "`poolkeeper sandbox` writes over what it once wrote here\n";
    fs::write(&mark, said).with_context(|| format!("writing {}", mark.display()))
}

/// On the first agent that takes one.
fn start_a_build(stage: &Stage) {
    let agents = stage.world.agents(&stage.target);
    let _started = agents.iter().find_map(|agent| stage.world.start_gearman_build(&stage.target, &agent.name, BUILD_SECONDS));
}

/// A path as one word for a shell.
fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    if plain { text.into_owned() } else { quote(&text) }
}

/// Ties a world's clock to the wall's, until it is dropped.
#[derive(Debug)]
pub(super) struct WallTime {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl WallTime {
    pub(super) fn start(world: &Sandbox) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (stop, world) = (Arc::clone(&stop), world.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let behind = now().as_second() - world.now().as_second();
                    world.tick(u32::try_from(behind).unwrap_or_default());
                    sleep(STEP);
                }
            })
        };
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for WallTime {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word() {
        assert_eq!(shell_word(Path::new("/tmp/x-1")), "/tmp/x-1");
        assert_eq!(shell_word(Path::new("/tmp/it's here")), r"'/tmp/it'\''s here'");
    }
}
