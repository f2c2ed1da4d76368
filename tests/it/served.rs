//! A served world of any size with a directory to use it, and the real binary as a child process against it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::AtomicBool;

use jiff::{SignedDuration, Timestamp};
use poolkeeper::desired::Desired;
use poolkeeper::load::{LoadEnv, load};
use poolkeeper::names::{ProviderName, TargetName};
use poolkeeper::observe::observe;
use poolkeeper::observed::ThisRun;
use poolkeeper::plan::Plan;
use poolkeeper::run::{Options, Outside, run};
use poolkeeper::sandbox::serve_http::HttpServer;
use poolkeeper::sandbox::serve_ssh::SshServer;
use poolkeeper::sandbox::{Delays, Generation, Sandbox};
use poolkeeper::settings::now;
use secrecy::ExposeSecret as _;

use crate::audited::{Yes, planned};

/// How much of everything there is. A pool uses all providers, and the targets in turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) providers: usize,
    pub(crate) targets: usize,
    pub(crate) pools: usize,
    pub(crate) min_ready: u32,
}

/// Calls of one service: of `cloud-0`, `ci-0` or the machines (`ssh`).
pub(crate) type Calls = BTreeMap<String, usize>;

pub(crate) struct Served {
    pub(crate) world: Sandbox,
    pub(crate) desired: Desired,
    pub(crate) http: HttpServer,
    directory: tempfile::TempDir,
    _ssh: SshServer,
}

/// Time goes on by calls alone, and each thing takes so long that the very next look shows it: a run never waits, and the
/// same run makes the same calls.
const DELAYS: Delays = Delays { build: 1, ssh: 0, script: 1, agent: 0, delete: 1, off: 1, save: 1, restart: 10, call: 1 };

impl Served {
    pub(crate) fn new(shape: Shape) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        // The binary reads the wall's clock: what it sees must not be of another day.
        let world = Sandbox::new(now(), 1);
        world.set_delays(DELAYS);
        let (http, ssh) = (world.serve_http().expect("a port"), world.serve_ssh().expect("a port"));
        let desired = write(directory.path(), shape, &world, (&http, &ssh));
        Self { world, desired, http, directory, _ssh: ssh }
    }

    /// Each node with a floating IP of the network `public`.
    pub(crate) fn with_floating_ips(mut self) -> Self {
        let file = self.path("desired-state/controller.yaml");
        let text = fs::read_to_string(&file).expect("a file");
        fs::write(&file, text.replace("networks: [ci-net]", "networks: [ci-net], floating-ip-network: public")).expect("a file");
        for provider in self.desired.controller.providers.keys() {
            self.world.add_external_network(provider, "public");
        }
        self.desired = load(&self.path("desired-state"), &LoadEnv::default()).expect("a sound desired state").desired;
        self
    }

    /// Each pool boots from a snapshot that is built here.
    pub(crate) fn with_snapshot(mut self) -> Self {
        let state = self.path("desired-state");
        fs::create_dir_all(state.join("images")).expect("a directory");
        for entry in fs::read_dir(state.join("pools")).expect("pools") {
            let file = entry.expect("a pool").path();
            let text = fs::read_to_string(&file).expect("a file");
            let line = |key: &str| text.lines().find(|line| line.starts_with(key)).expect("a key").to_owned();
            let keys = ["providers", "private-key", "ssh-port", "flavor"].map(line).join("\n");
            let image = format!("base-image: debian-12\nsetup-script: ready.sh\nusername: jenkins\n{keys}\n");
            fs::write(state.join("images/snapshot.yaml"), image).expect("a file");
            fs::write(&file, text.replace("image: {glance: debian-12}", "image: snapshot")).expect("a file");
        }
        self.desired = load(&state, &LoadEnv::default()).expect("a sound desired state").desired;
        self
    }

    /// The binary, with nothing of our own environment.
    pub(crate) fn poolkeeper(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_poolkeeper"));
        command
            .env_clear()
            .env("OS_CLIENT_CONFIG_FILE", self.path("clouds.yaml"))
            .env("HOME", self.directory.path())
            .env("COLUMNS", "100")
            // No TLS is spoken here, and to read the system's certificates is most of what a short run does.
            .env("SSL_CERT_FILE", "/dev/null")
            .env("SSL_CERT_DIR", "/dev/null")
            .arg("--desired-state")
            .arg(self.desired_state())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs it to its end, which is a good one. What it printed.
    pub(crate) fn done(&self, arguments: &[&str], when: &str) -> String {
        let Output { status, stdout, stderr } = self.poolkeeper(arguments).output().expect("the binary");
        let (out, talk) = (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr));
        assert!(status.success() && talk.is_empty(), "{when}: {arguments:?}: {status}\n{out}{talk}");
        out
    }

    pub(crate) fn desired_state(&self) -> PathBuf {
        self.path("desired-state")
    }

    /// The calls that arrive while `work` is done, by who is asked.
    pub(crate) fn recorded<R>(&self, work: impl FnOnce() -> R) -> (Calls, R) {
        self.world.with(|state| state.faults.record = Some(Vec::new()));
        let result = work();
        let mut calls = Calls::new();
        for call in self.world.with(|state| state.faults.record.take()).unwrap_or_default() {
            // `GET /os/cloud-0/compute/...`, `GET /jenkins/ci-0/...`, `ssh connect`.
            let service = call.split('/').nth(2).unwrap_or("ssh");
            *calls.entry(service.to_owned()).or_default() += 1;
        }
        (calls, result)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Until nothing is left to do, in this process and on the world itself: how a test gets to its beginning.
    pub(crate) fn converge(&self) {
        let pause = |time: SignedDuration| self.world.tick(u32::try_from(time.as_secs().max(1)).unwrap_or(1));
        let (clock, stopped) = (|| self.world.now(), AtomicBool::new(false));
        let outside = Outside { clock: &clock, pause: &pause, stopped: &stopped };
        let summary =
            run(&self.desired, &self.world, &Options::default(), outside, &Yes(&self.desired)).expect("the lock is free");
        assert_eq!(summary.failed, 0, "{summary:?}");
    }

    /// What a run would do at this time, by the world itself.
    pub(crate) fn plan(&self, at: Timestamp) -> Plan {
        let observed = observe(&self.world, &self.desired, &ThisRun::default(), &|| at);
        planned(&self.desired, &observed, at)
    }

    /// The names of a provider's servers, in order.
    pub(crate) fn servers(&self, provider: &str) -> Vec<String> {
        let mut names: Vec<String> =
            self.world.servers(&ProviderName::from(provider)).into_iter().map(|server| server.name.to_string()).collect();
        names.sort_unstable();
        names
    }
}

fn write(directory: &Path, shape: Shape, world: &Sandbox, (http, ssh): (&HttpServer, &SshServer)) -> Desired {
    let key = directory.join("id_ed25519");
    ssh.write_key(&key).expect("a file");
    let mut clouds = "clouds:\n".to_owned();
    let mut controller =
        format!("controller: contint\nlock-file: {}\nlimits: {{max-launches-per-run: 100}}\n", directory.join("lock").display());
    controller.push_str("providers:\n");
    for number in 0..shape.providers {
        let provider = ProviderName::new(format!("cloud-{number}"));
        world.add_provider(&provider);
        world.add_network(&provider, "ci-net");
        world.add_image(&provider, "debian-12");
        let password = world.with(|state| state.password.expose_secret().to_owned());
        let line = format!(
            "  {provider}:\n    region_name: RegionOne\n    auth: {{auth_url: '{}', username: poolkeeper, password: '{password}', \
             project_name: sandbox, user_domain_id: default, project_domain_id: default}}\n",
            http.auth_url(&provider)
        );
        clouds.push_str(&line);
        let line = format!(
            "  {provider}: {{cloud: {provider}, max-servers: 100, max-concurrent-launches: 100, networks: [ci-net], \
             host-keys: console}}\n"
        );
        controller.push_str(&line);
    }
    controller.push_str("targets:\n");
    for number in 0..shape.targets {
        let target = TargetName::new(format!("ci-{number}"));
        world.add_target(&target, Generation::J2_462);
        let (user, token) = world.with(|state| {
            let jenkins = state.jenkins.get(&target).expect("the target");
            (jenkins.user.clone(), jenkins.token.expose_secret().to_owned())
        });
        let file = directory.join(format!("token-{number}"));
        private(&file, &token);
        let line =
            format!("  {target}: {{url: '{}', user: {user}, token-file: '{}'}}\n", http.jenkins_url(&target), file.display());
        controller.push_str(&line);
    }
    private(&directory.join("clouds.yaml"), &clouds);
    let state = directory.join("desired-state");
    fs::create_dir_all(state.join("pools")).expect("a directory");
    fs::create_dir_all(state.join("scripts")).expect("a directory");
    fs::write(state.join("controller.yaml"), controller).expect("a file");
    fs::write(state.join("scripts/ready.sh"), "#!/bin/sh\nexit 0\n").expect("a file");
    for number in 0..shape.pools {
        let pool = pool(shape, number, &key, ssh.port());
        fs::write(state.join(format!("pools/pool-{number:02}.yaml")), pool).expect("a file");
    }
    let loaded = load(&state, &LoadEnv::default()).expect("a sound desired state");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    loaded.desired
}

fn pool(shape: Shape, number: usize, key: &Path, port: u16) -> String {
    let providers: Vec<String> = (0..shape.providers).map(|number| format!("cloud-{number}")).collect();
    format!(
        "image: {{glance: debian-12}}
flavor: m1.small
providers: [{}]
target: ci-{}
min-ready: {}
max-servers: {}
script-dir: scripts
ready-script: ready.sh
username: jenkins
user-home: /home/jenkins
private-key: '{}'
ssh-port: {port}
used-when: [gearman]
agent: {{launcher: inbound, remote-fs: /home/jenkins/workspace}}
",
        providers.join(", "),
        number % shape.targets.max(1),
        shape.min_ready,
        shape.min_ready + 2,
        key.display()
    )
}

/// For its owner alone: the loader warns of any other.
fn private(path: &Path, text: &str) {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).expect("a file");
    file.write_all(text.as_bytes()).expect("a written file");
}
