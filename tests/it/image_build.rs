//! `image build`: what cannot be published is said before anything is built; a build that is stopped is stopped as a whole.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use jiff::SignedDuration;
use poolkeeper::run::sleep;

use crate::publish::{CLOUD, served, text};
use crate::served::Served;

/// An image of the desired state, and another program in place of diskimage-builder's. The directory that PATH is to have.
fn scene(served: &Served, script: &str) -> std::path::PathBuf {
    let state = served.desired_state();
    let bin = state.join("../bin");
    for folder in [&bin, &state.join("images"), &state.join("../tmp")] {
        fs::create_dir_all(folder).expect("a folder");
    }
    let image = format!(
        "providers: [{CLOUD}]\nbase-image: debian-base\nflavor: m1.small\nsetup-script: ready.sh\nscript-dir: scripts\n\
         private-key: '{}'\ndiskimage: {{elements: [debian]}}\n",
        state.join("../id_ed25519").display()
    );
    fs::write(state.join("images/base.yaml"), image).expect("a file");
    fs::write(state.join("../script"), script).expect("a file");
    // By another process: what a fork of this one has open for writing cannot be executed.
    let mut install = Command::new("install");
    let installed = install.args(["-m", "755", "../script", "disk-image-create"]).current_dir(&bin).status();
    assert!(installed.expect("install").success());
    bin
}

#[test]
fn what_cannot_be_published_is_not_built() {
    let served = served();
    let state = served.desired_state();
    let called = state.join("../called");
    let bin = scene(&served, &format!("#!/bin/sh\n>'{}'\nexit 1\n", called.display()));
    let build = |more: &[&str], clouds: &str| {
        let directory = bin.to_string_lossy().into_owned();
        let mut command = served.poolkeeper(&[&["image", "build", "base", "--directory", &directory], more].concat());
        command.env("PATH", format!("{directory}:/usr/bin:/bin"));
        if !clouds.is_empty() {
            command.env("OS_CLIENT_CONFIG_FILE", clouds);
        }
        let output = command.output().expect("the binary");
        let ran = called.exists() && fs::remove_file(&called).is_ok();
        (output.status.code(), ran, text(&output.stderr))
    };
    let refused = |(code, ran, talk): (Option<i32>, bool, String), expected: i32, words: &str| {
        assert!(code == Some(expected) && !ran && talk.contains(words), "{words}: {code:?}, {ran}: {talk}");
    };
    refused(build(&["--provider", "cloud-7"], ""), 2, "there is no such provider");
    refused(build(&[], "/nonexistent/clouds.yaml"), 5, "/nonexistent/clouds.yaml");
    let (_, ran, _) = build(&["--no-publish"], "/nonexistent/clouds.yaml");
    assert!(ran, "what is not published needs no cloud");
    let controller = state.join("controller.yaml");
    let settings = fs::read_to_string(&controller).expect("a file");
    let lock = settings.lines().find(|line| line.starts_with("lock-file:")).expect("a lock");
    fs::write(&controller, settings.replace(lock, "lock-file: /nonexistent/lock")).expect("a file");
    refused(build(&[], ""), 1, "the lock file /nonexistent/lock cannot be opened");
}

/// With a child that would sleep for a minute, a trap that takes down what it has mounted, and what it says going through a filter:
/// as diskimage-builder has it, it ends when it cannot say what it does.
const SLEEPS: &str = r#"#!/bin/bash
set -e
exec 2> >(exec -a outfilter.py cat >&2)
cleanup() {
    echo cleaning >&2
    rm -r "$DIB_IMAGE_FILENAME.d"
    echo cleaned >&2
}
trap cleanup EXIT
mkdir "$DIB_IMAGE_FILENAME.d"
sleep 60 &
echo "child $!" >&2
sleep 60
"#;

const DEFAULT: &str = "--default-signal=HUP,INT,TERM";

/// Does not hear of SIGTERM, and neither does its child.
const DEAF: &str = "#!/bin/sh\ntrap '' TERM\nsleep 60 &\necho \"child $!\" >&2\nwait\n";

/// A build whose program has started a child, its talk, and the child's number. `signals`: which ones are ignored, and which not,
/// whatever this process was started with: one in the background of a script has SIGINT ignored.
fn building(served: &Served, script: &str, signals: &[&str]) -> (Child, BufReader<ChildStderr>, String) {
    let bin = scene(served, script).to_string_lossy().into_owned();
    let named = served.poolkeeper(&["image", "build", "base", "--no-publish", "--directory", &bin]);
    let mut build = Command::new("env");
    build.args(signals).arg(named.get_program()).args(named.get_args()).env_clear();
    build.envs(named.get_envs().filter_map(|(name, value)| Some((name, value?))));
    build.env("PATH", format!("{bin}:/usr/bin:/bin")).env("TMPDIR", served.desired_state().join("../tmp"));
    let mut build = build.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary");
    let mut talk = BufReader::new(build.stderr.take().expect("its talk"));
    let mut line = String::new();
    while !line.starts_with("child ") {
        line.clear();
        assert_ne!(talk.read_line(&mut line).expect("a line"), 0, "it ended");
    }
    let child = line.trim_start_matches("child ").trim().to_owned();
    (build, talk, child)
}

fn signal(build: &Child, signal: &str) {
    let kill = format!("kill -{signal} {}", build.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
}

/// Nothing of the program runs, and nothing of the image or of our own files is there.
fn nothing_left(served: &Served, child: &str) {
    let state = fs::read_to_string(Path::new("/proc").join(child).join("stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "the program's child is gone: {state}");
    let names = |folder: &str| {
        let entries = fs::read_dir(served.desired_state().join(folder)).expect("a folder");
        entries.map(|entry| entry.expect("a name").file_name()).collect::<Vec<_>>()
    };
    assert_eq!((names("../bin"), names("../tmp")), (vec!["disk-image-create".into()], vec![]));
}

#[test]
fn a_build_that_is_told_to_end_is_ended_with_all_that_it_started() {
    for name in ["TERM", "INT", "HUP"] {
        let served = served();
        let (mut build, mut talk, child) = building(&served, SLEEPS, &[DEFAULT]);
        signal(&build, name);
        let mut said = String::new();
        talk.read_to_string(&mut said).expect("text");
        assert_eq!(build.wait().expect("its end").code(), Some(5), "{name}: {said}");
        let words =
            ["stopping: disk-image-create is told to end", "\ncleaned\n", "error: stopped by a signal", "no image is made"];
        for words in words {
            assert!(said.contains(words), "{name}: {words}: {said}");
        }
        nothing_left(&served, &child);
    }
}

/// The terminal goes away as its emulator does: nothing can be printed any more, and it is cleaned up all the same.
#[test]
fn a_build_whose_terminal_is_closed_cleans_up() {
    let served = served();
    // What it prints of its cleaning up is seen by nobody.
    let cleaned = served.desired_state().join("../cleaned");
    let script = SLEEPS.replace("echo cleaned >&2\n", &format!("echo cleaned >&2\n    >'{}'\n", cleaned.display()));
    let bin = scene(&served, &script).to_string_lossy().into_owned();
    let named = served.poolkeeper(&["image", "build", "base", "--no-publish", "--directory", &bin]);
    let words: Vec<String> = named.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let pid_file = served.desired_state().join("../pid");
    let program = named.get_program().to_string_lossy();
    let line = format!("echo $$ >'{}'; exec env {DEFAULT} {program} {}", pid_file.display(), words.join(" "));
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &line, "/dev/null"]).env_clear();
    terminal.envs(named.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("SHELL", "/bin/sh");
    terminal.env("PATH", format!("{bin}:/usr/bin:/bin")).env("TMPDIR", served.desired_state().join("../tmp"));
    let spawned = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut terminal = match spawned {
        Ok(terminal) => terminal,
        Err(error) => {
            writeln!(std::io::stderr(), "\nNOT CHECKED: a terminal, by script: {error}").expect("stderr");
            return;
        }
    };
    let mut screen = BufReader::new(terminal.stdout.take().expect("its screen"));
    let mut line = String::new();
    while !line.starts_with("child ") {
        line.clear();
        assert_ne!(screen.read_line(&mut line).expect("a line"), 0, "it ended");
    }
    let child = line.trim_start_matches("child ").trim().to_owned();
    terminal.kill().expect("it runs");
    terminal.wait().expect("its end");
    let stat = Path::new("/proc").join(fs::read_to_string(pid_file).expect("its pid").trim()).join("stat");
    let runs = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    // It is no child of ours; a minute is far more than it takes.
    for _ in 0..600 {
        if !runs() {
            break;
        }
        sleep(SignedDuration::from_millis(100));
    }
    assert!(!runs(), "it goes on without its terminal");
    assert!(cleaned.exists(), "its trap came to its end");
    nothing_left(&served, &child);
}

/// As `nohup` starts it.
#[test]
fn a_signal_that_was_ignored_at_the_start_stays_so() {
    let served = served();
    let (mut build, mut talk, child) = building(&served, SLEEPS, &[DEFAULT, "--ignore-signal=HUP"]);
    signal(&build, "HUP");
    sleep(SignedDuration::from_millis(500));
    assert!(build.try_wait().expect("a child").is_none(), "it goes on");
    signal(&build, "TERM");
    let mut said = String::new();
    talk.read_to_string(&mut said).expect("text");
    assert!(build.wait().expect("its end").code() == Some(5) && said.contains("\ncleaned\n"), "{said}");
    nothing_left(&served, &child);
}

#[test]
fn a_second_signal_kills_what_does_not_end() {
    let served = served();
    let (mut build, mut talk, child) = building(&served, DEAF, &[DEFAULT]);
    signal(&build, "TERM");
    let mut said = String::new();
    assert_ne!(talk.read_line(&mut said).expect("a line"), 0);
    assert!(said.starts_with("stopping: "), "{said}");
    // What comes within two seconds of the first one is the same signal: `timeout` sends it twice.
    signal(&build, "TERM");
    sleep(SignedDuration::from_millis(2100));
    assert!(build.try_wait().expect("a child").is_none(), "one signal that came twice kills nothing");
    signal(&build, "TERM");
    talk.read_to_string(&mut said).expect("text");
    assert_eq!(build.wait().expect("its end").code(), Some(5), "{said}");
    assert!(said.contains("was killed") && said.contains("hint: its mounts"), "{said}");
    nothing_left(&served, &child);
}
