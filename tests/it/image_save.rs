//! `image save` that a signal ends: nothing of it is left.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use jiff::SignedDuration;
use poolkeeper::run::sleep;
use poolkeeper::sandbox::{Drop, Stop};

use crate::publish::{content, served, write};

#[test]
fn a_save_that_a_signal_ends_leaves_nothing() {
    for (name, number) in [("TERM", 15), ("INT", 2), ("HUP", 1)] {
        let served = served();
        let source = write(&served, "source", &content(9));
        served.done(&["image", "publish", &source.to_string_lossy(), "ci-base"], "published");
        // Its data never comes.
        served.world.with(|state| {
            state.faults.stop_at(Stop::Like { begins: "GET", ends: "/file", after: 0 }, Drop::BeforeEffect);
            state.faults.silent = true;
        });
        let folder = served.desired_state().join("../saved");
        fs::create_dir(&folder).expect("a folder");
        let left = || fs::read_dir(&folder).expect("a folder").count();
        let named = served.poolkeeper(&["image", "save", "ci-base", &folder.join("ci-base").to_string_lossy()]);
        let mut save = Command::new("env");
        save.args(["--default-signal=HUP,INT,TERM", "--"]).arg(named.get_program()).args(named.get_args()).env_clear();
        save.envs(named.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("PATH", "/usr/bin:/bin");
        let mut save = save.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary");
        while !served.world.with(|state| state.faults.stopped()) {
            sleep(SignedDuration::from_millis(1));
        }
        assert_eq!(left(), 1, "its part");
        let kill = format!("kill -{name} {}", save.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
        let status = save.wait().expect("its end");
        assert_eq!((status.signal(), left()), (Some(number), 0), "{name}");
    }
}
