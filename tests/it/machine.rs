//! Remote commands under a real sh in a temporary root.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use poolkeeper::desired::{Digest, ScriptDir};
use poolkeeper::live::machine::remote_command::{RemoteCommand, read_done, read_facts, write_done, write_facts};
use poolkeeper::live::machine::streams;
use poolkeeper::names::{NodeName, ProviderName, ServerId};
use poolkeeper::observed::{HostKey, Login, MachineFacts, ScriptState};
use poolkeeper::plan::{Machine, NodeFiles, PushScripts};
use poolkeeper::world::Done;
use proptest::prelude::*;

const SERVER: &str = "0b7d4b0e-6f0b-4d0e-8f1a-5a2f6d0c9e11";
const HOSTNAME: &str = "ci node's \"1\"";

/// A root directory, and a shell that is its `sh`.
struct Guest {
    root: tempfile::TempDir,
    name: String,
}

struct Said {
    text: String,
    ok: bool,
}

impl Said {
    fn done(&self) -> Done {
        let Self { text, ok } = self;
        assert!(ok, "{text}");
        read_done(text).expect("an answer")
    }

    fn refused(&self) -> &str {
        assert!(!self.ok && read_done(&self.text).is_none(), "{}", self.text);
        &self.text
    }
}

/// One guest a shell that this machine has; busybox brings its own tar, tr, stat and setsid.
fn guests() -> Vec<Guest> {
    let found = |names: &[&str]| names.iter().map(PathBuf::from).find(|path| path.exists());
    let shells = [
        ("dash", found(&["/bin/dash", "/usr/bin/dash"])),
        ("bash", found(&["/bin/bash", "/usr/bin/bash"])),
        ("busybox", found(&["/bin/busybox", "/usr/bin/busybox"])),
    ];
    let guests: Vec<Guest> = shells.into_iter().filter_map(|(name, path)| Some(Guest::new(name, &path?))).collect();
    assert!(!guests.is_empty(), "no shell on this machine");
    guests
}

impl Guest {
    fn new(name: &str, shell: &Path) -> Self {
        // A quote and a space: a root that is spliced anywhere would show.
        let root = tempfile::Builder::new().prefix("it's a root ").tempdir().expect("a directory");
        let bin = root.path().join("bin");
        fs::create_dir_all(&bin).expect("bin");
        fs::create_dir_all(root.path().join("etc")).expect("etc");
        let applets: &[&str] = if name == "busybox" { &["sh", "tar", "tr", "stat", "setsid", "tail", "date"] } else { &["sh"] };
        for applet in applets {
            symlink(shell, bin.join(applet)).expect("a link");
        }
        Self { root, name: name.to_owned() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{}: {path}: {error}", self.name))
    }

    /// As sshd runs it: the login shell with `-c`, output merged, and the answer is over when nobody holds its end.
    fn run(&self, command: &RemoteCommand, stdin: &[u8]) -> Said {
        let line = command.render_in(&self.root.path().to_string_lossy());
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let mut child = Command::new(self.path("bin/sh"))
            .args(["-c", &line])
            .env_clear()
            .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.path("bin").display()))
            .stdin(Stdio::piped())
            .stdout(writer.try_clone().expect("a pipe"))
            .stderr(writer)
            .spawn()
            .expect("sh");
        // A command that refuses may end before it has read everything.
        drop(child.stdin.take().expect("stdin").write_all(stdin));
        let mut text = String::new();
        std::io::Read::read_to_string(&mut reader, &mut text).expect("output");
        Said { text, ok: child.wait().expect("an end").success() }
    }

    fn look(&self) -> MachineFacts {
        let said = self.run(&RemoteCommand::Look { server: SERVER.into(), digest: digest() }, b"");
        assert!(said.ok, "{}: {}", self.name, said.text);
        read_facts(&said.text).unwrap_or_else(|| panic!("{}: {}", self.name, said.text))
    }

    /// Looks until the script is over. The limit is a count: a machine that is slow looks longer.
    fn over(&self) -> ScriptState {
        let mut looks = std::iter::repeat_with(|| self.look().script).take(1000);
        looks.find(|state| *state != ScriptState::Running).expect("the script ends")
    }

    fn push(&self, files: &[(&str, &str)]) -> Said {
        self.run(&RemoteCommand::Push { server: SERVER.into() }, &stream(files))
    }

    fn start(&self, script: Option<&str>, environment: &[(&str, &str)]) -> Said {
        let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned().into()));
        self.run(&start_command(script), &streams::environment(&pairs.collect()).expect("an environment"))
    }

    /// Ends every process of a session, as a reboot or an out-of-memory killer would.
    fn kill_session(&self, pid_file: &str) {
        let pid = self.read(pid_file).split_whitespace().nth(1).expect("a pid").to_owned();
        let killed = Command::new("pkill").args(["-9", "-s", &pid]).status().expect("pkill");
        assert!(killed.success());
    }
}

fn digest() -> Digest {
    Digest::of(&["ready.sh"])
}

fn state(file: &str) -> String {
    format!("var/lib/poolkeeper/{SERVER}/{}/{file}", digest())
}

fn start_command(script: Option<&str>) -> RemoteCommand {
    RemoteCommand::Start { server: SERVER.into(), digest: digest(), hostname: HOSTNAME.into(), script: script.map(str::to_owned) }
}

fn stream(files: &[(&str, &str)]) -> Vec<u8> {
    let files = files.iter().map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec()));
    let machine = Machine {
        provider: ProviderName::from("wmflabs-eqiad"),
        server: ServerId::from(SERVER),
        login: Login { host: "10.0.0.1".into(), port: 22, usernames: vec!["jenkins".into()], private_key: "/k".into() },
        pinned: HostKey::parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGE").expect("a key"),
    };
    let node = NodeFiles {
        hostname: NodeName::from("ci-1"),
        address: "203.0.113.7".into(),
        private_address: "10.0.0.7".into(),
        provider: ProviderName::from("wmflabs-eqiad"),
        region: Some("eqiad".into()),
        availability_zone: None,
        cloud: "contintcloud".into(),
        uuid: ServerId::from(SERVER),
    };
    streams::push(&PushScripts { machine, scripts: Arc::new(ScriptDir { files: files.collect() }), node }).expect("a stream")
}

#[test]
fn a_push_replaces_the_scripts_as_a_whole() {
    for guest in guests() {
        let first = guest.push(&[("setup.sh", "old"), ("it's \"odd\" $(name).sh", "odd"), ("ready.sh", "one")]);
        assert_eq!(first.done(), Done::Done);
        assert_eq!(guest.read("opt/nodepool-scripts/it's \"odd\" $(name).sh"), "odd");
        let mode = fs::metadata(guest.path("opt/nodepool-scripts/ready.sh")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        let key = guest.read("etc/nodepool/id_rsa");
        assert!(key.starts_with("-----BEGIN RSA PRIVATE KEY-----"));
        assert_eq!(fs::metadata(guest.path("etc/nodepool/id_rsa")).expect("a file").permissions().mode() & 0o777, 0o600);

        assert_eq!(guest.push(&[("ready.sh", "two")]).done(), Done::Done);
        assert_eq!(guest.read("opt/nodepool-scripts/ready.sh"), "two");
        assert!(!guest.path("opt/nodepool-scripts/setup.sh").exists(), "{}", guest.name);
        assert_eq!(guest.read("etc/nodepool/id_rsa"), key, "made once a machine");
        assert!(guest.read("etc/nodepool/id_rsa.pub").starts_with("ssh-rsa "));

        assert_eq!(guest.push(&[]).done(), Done::Done);
        assert_eq!(guest.read("opt/nodepool-scripts/ready.sh"), "two", "nothing to push leaves the image's own");
    }
}

#[test]
fn a_push_writes_nodepools_files() {
    for guest in guests() {
        // A snapshot brings the builder's key pair along.
        fs::create_dir_all(guest.path("etc/nodepool")).expect("a directory");
        fs::write(guest.path("etc/nodepool/id_rsa"), "the builder's").expect("a file");
        guest.push(&[]).done();
        let expected = BTreeMap::from([
            ("node", "203.0.113.7\n"),
            ("node_private", "10.0.0.7\n"),
            ("primary_node", "203.0.113.7\n"),
            ("primary_node_private", "10.0.0.7\n"),
            ("role", "primary\n"),
            ("sub_nodes", ""),
            ("sub_nodes_private", ""),
            ("provider", "NODEPOOL_PROVIDER=wmflabs-eqiad\nNODEPOOL_REGION=eqiad\nNODEPOOL_AZ=\nNODEPOOL_CLOUD=contintcloud\n"),
            ("uuid", "0b7d4b0e-6f0b-4d0e-8f1a-5a2f6d0c9e11\n"),
        ]);
        for (name, content) in expected {
            assert_eq!(guest.read(&format!("etc/nodepool/{name}")), content, "{name}");
        }
        assert_ne!(guest.read("etc/nodepool/id_rsa"), "the builder's");
        assert_eq!(fs::metadata(guest.path("etc/nodepool")).expect("a directory").permissions().mode() & 0o777, 0o777);
    }
}

#[test]
fn a_push_that_was_cut_off_changes_nothing_and_the_next_one_does_all() {
    for guest in guests() {
        guest.push(&[("ready.sh", "old")]).done();
        let whole = stream(&[("ready.sh", "new"), ("second.sh", "new")]);
        let command = RemoteCommand::Push { server: SERVER.into() };
        // In the middle of a file, and between two files, where tar itself sees no fault.
        for cut in [600, 1024] {
            guest.run(&command, &whole[..cut]).refused();
            assert_eq!(guest.read("opt/nodepool-scripts/ready.sh"), "old", "{}", guest.name);
        }
        // Killed between the two renames of the swap.
        fs::create_dir_all(guest.path("opt/.nodepool-scripts.new/opt")).expect("a directory");
        fs::rename(guest.path("opt/nodepool-scripts"), guest.path("opt/.nodepool-scripts.old")).expect("a rename");
        guest.run(&command, &whole).done();
        assert_eq!(guest.read("opt/nodepool-scripts/second.sh"), "new");
        let left: Vec<_> =
            fs::read_dir(guest.path("opt")).expect("opt").map(|entry| entry.expect("an entry").file_name()).collect();
        assert_eq!(left, ["nodepool-scripts"], "{}", guest.name);
    }
}

#[test]
fn a_script_gets_nodepools_contract_and_runs_once() {
    for guest in guests() {
        let script = "#!/bin/sh\npwd\nprintf '%s|%s|%s|%s\\n' \"$#\" \"$1\" \"$NODEPOOL_KEY\" \"$root\"\necho again >>count\n";
        guest.push(&[("ready it's.sh", script)]).done();
        assert_eq!(guest.look().script, ScriptState::NotStarted);
        let environment = [("NODEPOOL_KEY", "two\nlines, a 'quote' and $HOME"), ("root", "/"), ("PATH", "/usr/bin:/bin")];
        assert_eq!(guest.start(Some("ready it's.sh"), &environment).done(), Done::Done);
        assert_eq!(guest.over(), ScriptState::Passed);
        assert_eq!(guest.start(Some("ready it's.sh"), &environment).done(), Done::Already);
        assert_eq!(guest.over(), ScriptState::Passed);
        let directory = guest.path("opt/nodepool-scripts");
        let expected = format!("{}\n1|{HOSTNAME}|two\nlines, a 'quote' and $HOME|/\n", directory.display());
        assert_eq!(guest.read(&state("output")), expected, "{}", guest.name);
        assert_eq!(guest.read("opt/nodepool-scripts/count"), "again\n");
    }
}

#[test]
fn an_empty_script_passes() {
    for guest in guests() {
        guest.push(&[]).done();
        assert_eq!(guest.start(None, &[]).done(), Done::Done);
        assert_eq!(guest.over(), ScriptState::Passed, "{}", guest.name);
    }
}

#[test]
fn a_script_that_fails_shows_its_status_and_its_last_words() {
    for guest in guests() {
        let script = "#!/bin/sh\nhead -c 9000 /dev/zero | tr '\\0' x\nprintf '\\nE: \\033[31mno space\\n' >&2\nexit 100\n";
        guest.push(&[("ready.sh", script)]).done();
        guest.start(Some("ready.sh"), &[]).done();
        let ScriptState::Exited { status, tail } = guest.over() else { panic!("{}: it failed", guest.name) };
        assert_eq!(status, 100);
        assert!(tail.ends_with("x\nE: [31mno space\n"), "no control characters: {tail:?}");
        assert!(tail.len() < 4100);
    }
}

#[test]
fn a_script_that_is_missing_fails() {
    for guest in guests() {
        guest.push(&[]).done();
        guest.start(Some("ready.sh"), &[]).done();
        let state = guest.over();
        assert!(matches!(state, ScriptState::Exited { status: 1 | 2 | 127, .. }), "{}: {state:?}", guest.name);
    }
}

#[test]
fn a_script_runs_until_its_last_process_is_gone() {
    for guest in guests() {
        // The child stays in the session when its leader is killed.
        guest.push(&[("ready.sh", "#!/bin/sh\necho begun\ncat gate\n")]).done();
        let made = Command::new("mkfifo").arg(guest.path("opt/nodepool-scripts/gate")).status().expect("mkfifo");
        assert!(made.success());
        guest.start(Some("ready.sh"), &[]).done();
        assert_eq!(guest.look().script, ScriptState::Running, "{}", guest.name);
        // A writer that comes when the script reads: from now on it has begun.
        let gate = fs::OpenOptions::new().write(true).open(guest.path("opt/nodepool-scripts/gate")).expect("a reader");
        assert_eq!(guest.look().script, ScriptState::Running);
        guest.kill_session(&state("pid"));
        assert_eq!(guest.over(), ScriptState::Vanished { tail: "begun\n".into() }, "{}", guest.name);
        assert_eq!(guest.start(Some("ready.sh"), &[]).done(), Done::Already, "never started again");
        drop(gate);
    }
}

#[test]
fn after_a_reboot_nothing_runs() {
    for guest in guests() {
        guest.push(&[]).done();
        fs::create_dir_all(guest.path(&state(""))).expect("a directory");
        fs::write(guest.path(&state("pid")), "00000000-0000-0000-0000-000000000000 1\n").expect("a file");
        assert_eq!(guest.look().script, ScriptState::Vanished { tail: String::new() }, "{}", guest.name);
    }
}

#[test]
fn a_start_that_was_cut_off_starts_nothing() {
    for guest in guests() {
        guest.push(&[("ready.sh", "#!/bin/sh\n")]).done();
        for stdin in [&b""[..], b"NODEPOOL_A=1\0", b"NODEPOOL_A=1\0NODEPOOL_B"] {
            guest.run(&start_command(Some("ready.sh")), stdin).refused();
        }
        assert_eq!(guest.look().script, ScriptState::NotStarted, "{}", guest.name);
    }
}

#[test]
fn a_start_before_any_push_is_refused() {
    for guest in guests() {
        assert!(guest.start(None, &[]).refused().contains("poolkeeper"), "{}", guest.name);
        assert_eq!(guest.look().script, ScriptState::NotStarted);
    }
}

#[test]
fn between_mkdir_and_setsid_a_script_counts_as_running_for_a_moment() {
    for guest in guests() {
        guest.push(&[]).done();
        fs::create_dir_all(guest.path(&state(""))).expect("a directory");
        assert_eq!(guest.look().script, ScriptState::Running, "{}", guest.name);
        let directory = fs::File::open(guest.path(&state(""))).expect("a directory");
        directory.set_modified(UNIX_EPOCH + Duration::from_secs(1)).expect("a time");
        assert_eq!(guest.look().script, ScriptState::Vanished { tail: String::new() }, "{}", guest.name);
    }
}

#[test]
fn another_servers_state_is_ignored() {
    for guest in guests() {
        guest.push(&[]).done();
        guest.start(None, &[]).done();
        guest.over();
        let other = RemoteCommand::Look { server: "another".into(), digest: digest() };
        let facts = read_facts(&guest.run(&other, b"").text).expect("facts");
        assert_eq!(facts, MachineFacts { script: ScriptState::NotStarted, agent_running: false });
        assert_eq!(guest.look().script, ScriptState::Passed, "{}", guest.name);
    }
}

#[test]
fn an_agent_runs_once_and_is_started_again_when_it_died() {
    for guest in guests() {
        let command = RemoteCommand::StartAgent {
            server: SERVER.into(),
            name: "ci-1".into(),
            words: ["sh", "-c", "cat secret; echo \"$1\"; sleep 1000", "agent", "it's one word"].map(str::to_owned).to_vec(),
        };
        let files = |secret: &'static str| {
            streams::agent(&BTreeMap::from([("agent.jar", &b"jar"[..]), ("secret", secret.as_bytes())])).expect("a stream")
        };
        guest.push(&[]).done();
        assert!(!guest.look().agent_running);
        assert_eq!(guest.run(&command, &files("one\n")).done(), Done::Done);
        assert!(guest.look().agent_running, "{}", guest.name);
        assert_eq!(guest.run(&command, &files("two\n")).done(), Done::Already);
        let directory = format!("var/lib/poolkeeper/{SERVER}/agent");
        assert_eq!(guest.read(&format!("{directory}/secret")), "one\n");
        let mode = fs::metadata(guest.path(&format!("{directory}/secret"))).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        guest.kill_session(&format!("{directory}/pid"));
        assert!(!guest.look().agent_running, "{}", guest.name);
        guest.run(&command, &files("two\n")[..512]).refused();
        assert_eq!(guest.run(&command, &files("two\n")).done(), Done::Done);
        assert!(guest.look().agent_running);
        guest.kill_session(&format!("{directory}/pid"));
        assert!(guest.read(&format!("{directory}/output")).starts_with("one\nit's one word\n"), "{}", guest.name);
    }
}

fn any_command() -> impl Strategy<Value = RemoteCommand> {
    let text = "[^\\x00]{0,12}";
    let server = text.prop_map(ServerId::new);
    let digest = "[0-9a-f]{8}".prop_map(|text| Digest::of(&[text]));
    let words = prop::collection::vec(text, 0..5);
    prop_oneof![
        (server.clone(), digest.clone()).prop_map(|(server, digest)| RemoteCommand::Look { server, digest }),
        server.clone().prop_map(|server| RemoteCommand::Push { server }),
        (server.clone(), digest, text, prop::option::of(text)).prop_map(|(server, digest, hostname, script)| {
            RemoteCommand::Start { server, digest, hostname: NodeName::new(hostname), script }
        }),
        (server, text, words).prop_map(|(server, name, words)| RemoteCommand::StartAgent {
            server,
            name: NodeName::new(name),
            words
        }),
    ]
}

fn any_facts() -> impl Strategy<Value = MachineFacts> {
    let tail = "[ -~\\n]{0,40}";
    let script = prop_oneof![
        Just(ScriptState::NotStarted),
        Just(ScriptState::Running),
        Just(ScriptState::Passed),
        (1..256, tail).prop_map(|(status, tail)| ScriptState::Exited { status, tail }),
        tail.prop_map(|tail| ScriptState::Vanished { tail }),
    ];
    (script, any::<bool>()).prop_map(|(script, agent_running)| MachineFacts { script, agent_running })
}

proptest! {
    #[test]
    fn what_is_rendered_is_read_back(command in any_command()) {
        prop_assert_eq!(RemoteCommand::parse(&command.render()), Some(command));
    }

    #[test]
    fn no_other_line_is_a_command(command in any_command(), more in "[ -~]{1,8}") {
        let line = command.render();
        prop_assert_eq!(RemoteCommand::parse(&format!("{more}{line}")), None);
        prop_assert_eq!(RemoteCommand::parse(&line.replacen("poolkeeper", "keeper", 1)), None);
        prop_assert_eq!(RemoteCommand::parse(&more), None);
    }

    #[test]
    fn facts_are_read_back_whatever_a_shell_prints_before(facts in any_facts(), noise in "[ -9]{0,20}") {
        prop_assert_eq!(read_facts(&format!("{noise}\n{}", write_facts(&facts))), Some(facts));
    }
}

#[test]
fn answers_that_are_not_whole_are_none() {
    assert_eq!(read_facts("poolkeeper:script=running\n"), None);
    assert_eq!(read_facts("poolkeeper:script=exited\npoolkeeper:status=\npoolkeeper:agent=none\n"), None);
    assert_eq!(read_facts(""), None);
    assert_eq!(read_done("Please login as the user \"debian\" rather than the user \"root\".\n"), None);
    for done in [Done::Done, Done::Already] {
        assert_eq!(read_done(&write_done(&done)), Some(done));
    }
}
