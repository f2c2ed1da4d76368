//! A large image up and down: memory must not grow with it.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use crate::figures::Figure;
use crate::served::{Served, Shape};
use crate::usage;

/// A hole all through: read as zeros, and no room on a disk.
const BYTES: u64 = 1 << 30;

/// Peak memory of either.
const MEMORY_MIB: f64 = 32.0;

pub(crate) fn figures(program: &Path) -> Vec<Figure> {
    let served = Served::new(Shape { providers: 1, targets: 1, pools: 1, min_ready: 1 });
    let directory = served.desired_state().join("..");
    let (source, target) = (directory.join("source.img"), directory.join("target.img"));
    File::create(&source).and_then(|file| file.set_len(BYTES)).expect("a file");
    let command = |arguments: &[&str]| {
        let named = served.poolkeeper(arguments);
        let mut command = Command::new(program);
        command.args(named.get_args()).env_clear();
        command.envs(named.get_envs().filter_map(|(name, value)| Some((name, value?))));
        usage::of(&command)
    };
    let up = command(&["image", "publish", &source.to_string_lossy(), "large"]);
    let down = command(&["image", "save", "large", &target.to_string_lossy()]);
    assert_eq!(target.metadata().expect("the saved file").len(), BYTES);
    let of = |what: &str, usage: usage::Usage| {
        let memory = Figure::new(format!("`image {what}` of 1 GiB: peak memory"), usage.peak_mib, "MiB", Some(MEMORY_MIB));
        [memory, Figure::new(format!("`image {what}` of 1 GiB: CPU"), usage.cpu_ms, "ms", None)]
    };
    of("publish", up).into_iter().chain(of("save", down)).collect()
}
