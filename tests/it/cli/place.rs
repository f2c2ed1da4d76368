//! A directory of one test with a served world in it, and the binary run there, cut off from everything else.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::SignedDuration;
use poolkeeper::live::http::{Patience, install_tls_provider};
use poolkeeper::live::openstack::{self, CloudsEnv};
use poolkeeper::live::{Live, Surroundings};
use poolkeeper::load::{LoadEnv, load};
use poolkeeper::run::{Options, Outside, run};
use poolkeeper::sandbox::stage::Stage;
use poolkeeper::sandbox::{Generation, HttpFault, HttpFaultAnswer};
use poolkeeper::settings::now;
use secrecy::ExposeSecret as _;

use crate::scene::Yes;

/// Texts are wrapped with the directory's name in them: it has the same length on every machine.
const ROOT: &str = "/tmp";
pub(super) const ROOT_PREFIX: &str = "poolkeeper-";
pub(super) const ROOT_RANDOM: usize = 6;

/// How old the world is when a test looks at it: `3h` on every screen, however slowly the test runs.
const AGE: SignedDuration = SignedDuration::from_mins(190);

pub(super) struct Place {
    pub(super) stage: Stage,
    root: tempfile::TempDir,
}

impl Place {
    /// A pool of two, and an empty cloud.
    pub(super) fn empty() -> Self {
        Self::since(AGE)
    }

    /// Its world is so old when the test begins.
    pub(super) fn since(age: SignedDuration) -> Self {
        install_tls_provider();
        let root = tempfile::Builder::new().prefix(ROOT_PREFIX).rand_bytes(ROOT_RANDOM).tempdir_in(ROOT);
        let root = root.expect("a directory");
        let start = now().checked_sub(age).expect("a time");
        let stage = Stage::set_up(root.path(), Generation::J2_462, start).expect("a stage");
        for dir in ["home", "tmp"] {
            fs::create_dir(root.path().join(dir)).expect("a directory");
        }
        Self { stage, root }
    }

    /// Both nodes ready for three hours.
    pub(super) fn filled() -> Self {
        let place = Self::empty();
        place.passes(None);
        let behind = now().duration_since(place.stage.world.now()).as_secs();
        place.stage.world.tick(u32::try_from(behind).unwrap_or_default());
        place
    }

    /// Runs passes in this process, on the world's own clock: until this deadline, or until all that is wanted is there.
    pub(super) fn passes(&self, deadline: Option<SignedDuration>) {
        let desired = load(&self.stage.desired_state, &LoadEnv::default()).expect("a sound desired state").desired;
        let file = self.path("clouds.yaml").to_string_lossy().into_owned();
        let env = CloudsEnv { vars: [("OS_CLIENT_CONFIG_FILE".to_owned(), file)].into(), ..CloudsEnv::default() };
        let world = self.stage.world.clone();
        let clock = Arc::new(move || world.now());
        let openstack = openstack::Surroundings { env, cache_dir: None, patience: Patience::endless(), clock };
        let live = Live::new(&desired, Surroundings { openstack, nodepool: std::collections::BTreeMap::new() });
        let world = &self.stage.world;
        let pause = |time: SignedDuration| world.tick(u32::try_from(time.as_secs().max(1)).unwrap_or(1));
        let (clock, stopped) = (|| world.now(), AtomicBool::new(false));
        let outside = Outside { clock: &clock, pause: &pause, stopped: &stopped };
        let options = Options { deadline, ..Options::default() };
        let summary = run(&desired, &live, &options, outside, &Yes(&desired)).expect("the lock is free");
        assert_eq!(summary.failed, 0, "the pool filled");
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    /// Changes a file below the directory: `from` stands in it once.
    pub(super) fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path(file);
        let text = fs::read_to_string(&path).expect("a file to edit");
        assert_eq!(text.matches(from).count(), 1, "`{from}` is once in {file}: {text}");
        fs::write(path, text.replace(from, to)).expect("written");
    }

    pub(super) fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).expect("written");
    }

    /// From now on every request with this in its line is answered so.
    pub(super) fn answer(&self, of: &str, status: u16, content_type: &str, body: &str) {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        self.fault(of, HttpFaultAnswer::Say { status, headers, body: body.to_owned() });
    }

    pub(super) fn fault(&self, of: &str, answer: HttpFaultAnswer) {
        let fault = HttpFault { of: of.to_owned(), answer, times: u32::MAX };
        self.stage.world.with(|state| state.faults.http.push(fault));
    }

    pub(super) fn no_faults(&self) {
        self.stage.world.with(|state| state.faults.http.clear());
    }

    /// Not started yet. Nothing of the test's own environment gets in.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(env!("CARGO_BIN_EXE_poolkeeper"));
        command.args(arguments);
        command
    }

    /// Any program, in the same surroundings.
    pub(super) fn bare(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("XDG_CONFIG_HOME", self.path("home/config"))
            .env("XDG_CONFIG_DIRS", self.path("home/site"))
            .env("XDG_CACHE_HOME", self.path("home/cache"))
            .env("COLUMNS", "80")
            .env("NO_COLOR", "1")
            .env("RUST_BACKTRACE", "1")
            .env("OS_CLIENT_CONFIG_FILE", &self.stage.clouds_yaml)
            .env("POOLKEEPER_DESIRED_STATE", &self.stage.desired_state)
            .current_dir(self.root.path())
            .stdin(Stdio::null());
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Said {
        self.said(&self.command(arguments).output().expect("the program starts"))
    }

    /// Runs a command that waits for the world: each line that it says moves the world's time to where the next one can be.
    pub(super) fn run_in_time(&self, command: &mut Command) -> Said {
        let talk = self.path("tmp/stderr");
        command.stdout(Stdio::piped()).stderr(fs::File::create(&talk).expect("a file"));
        let mut child = command.spawn().expect("the program starts");
        let mut stdout = String::new();
        for line in BufReader::new(child.stdout.take().expect("its output")).lines() {
            let line = line.expect("a line");
            // What the sandbox's machines take, in seconds: boot and SSH, the script, the agent.
            self.stage.world.tick(match line.split(' ').next() {
                Some("create") => 5,
                Some("boot") => 2,
                Some("ready") => 3,
                _ => 0,
            });
            stdout += &(line + "\n");
        }
        let status = child.wait().expect("its end");
        let stderr = fs::read(&talk).expect("its talk");
        self.said(&Output { status, stdout: stdout.into_bytes(), stderr })
    }

    /// What came, once it is sure that nothing is in it that never may be.
    pub(super) fn said(&self, output: &Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let said = Said { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) };
        for text in [&said.stdout, &said.stderr] {
            for never in ["panicked", "backtrace", "fault of poolkeeper itself", "RUST_BACKTRACE"] {
                assert!(!text.contains(never), "{never}: {text}");
            }
            for (what, secret) in self.secrets() {
                assert!(!text.contains(&secret), "{what} is shown: {text}");
            }
        }
        said
    }

    /// What must never be seen: what it is, and its text.
    pub(super) fn secrets(&self) -> Vec<(&'static str, String)> {
        use base64::Engine as _;
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        self.stage.world.with(|state| {
            let mut secrets = vec![("the cloud's password", state.password.expose_secret().to_owned())];
            for jenkins in state.jenkins.values() {
                let (password, token) = (jenkins.password.expose_secret(), jenkins.token.expose_secret());
                secrets.push(("the target's password", password.to_owned()));
                secrets.push(("the target's token", token.to_owned()));
                secrets.push(("the target's Authorization", encode(&format!("{}:{token}", jenkins.user))));
                secrets.push(("the target's Authorization", encode(&format!("{}:{password}", jenkins.user))));
                secrets.extend(jenkins.nodes.keys().map(|name| ("an agent's secret", jenkins.agent_secret(name))));
            }
            secrets.push(("a token", "gAAAAAB".to_owned()));
            secrets
        })
    }
}

/// What a run of the binary came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "look at it, or at its exit code at least"]
pub(super) struct Said {
    /// None: a signal ended it.
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}
