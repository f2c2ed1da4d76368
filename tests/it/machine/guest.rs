//! A machine of the tests: a temporary root, and a shell that runs remote commands in it as sshd would.

use std::fs;
use std::io::{PipeReader, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use poolkeeper::desired::{Digest, ScriptDir};
use poolkeeper::live::machine::remote_command::{RemoteCommand, read_done, read_facts};
use poolkeeper::live::machine::streams;
use poolkeeper::names::{NodeName, ProviderName, ServerId};
use poolkeeper::observed::{HostKey, Login, MachineFacts, ScriptState};
use poolkeeper::plan::{Machine, NodeFiles, PushScripts};
use poolkeeper::world::Done;

pub(super) const SERVER: &str = "0b7d4b0e-6f0b-4d0e-8f1a-5a2f6d0c9e11";
pub(super) const HOSTNAME: &str = "ci node's \"1\"";

/// An RSA key takes a second of a busy machine: most tests have a quick one. The file's name is its last argument.
const KEYGEN: &str = "#!/bin/sh\nfor file; do :; done\necho private >\"$file\"\necho public >\"$file.pub\"\n";

/// A root directory, and a shell that is its `sh`.
pub(super) struct Guest {
    pub(super) root: tempfile::TempDir,
    pub(super) name: String,
}

pub(super) struct Said {
    pub(super) text: String,
    pub(super) ok: bool,
}

impl Said {
    pub(super) fn done(&self) -> Done {
        let Self { text, ok } = self;
        assert!(ok, "{text}");
        read_done(text).expect("an answer")
    }

    pub(super) fn refused(&self) -> &str {
        assert!(!self.ok && read_done(&self.text).is_none(), "{}", self.text);
        &self.text
    }
}

/// One guest a shell that this machine has; busybox brings its own tar, tr, stat and setsid.
pub(super) fn guests() -> Vec<Guest> {
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
        let applets: &[&str] =
            if name == "busybox" { &["sh", "tar", "tr", "stat", "setsid", "tail", "date", "ls"] } else { &["sh"] };
        for applet in applets {
            symlink(shell, bin.join(applet)).expect("a link");
        }
        let keygen = bin.join("ssh-keygen");
        fs::write(&keygen, KEYGEN).expect("a file");
        fs::set_permissions(&keygen, fs::Permissions::from_mode(0o755)).expect("a mode");
        Self { root, name: name.to_owned() }
    }

    /// From now on with the real one.
    pub(super) fn with_ssh_keygen(self) -> Self {
        fs::remove_file(self.path("bin/ssh-keygen")).expect("the quick one");
        self
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// Where this shell finds a command.
    pub(super) fn which(&self, name: &str) -> String {
        let mut shell = Command::new(self.path("bin/sh"));
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.path("bin").display());
        let output = shell.args(["-c", "command -v \"$1\"", "which", name]).env_clear().env("PATH", path).output().expect("sh");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    pub(super) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{}: {path}: {error}", self.name))
    }

    /// As sshd runs it: the login shell with `-c`, output merged, and the answer is over when nobody holds its end.
    fn spawn(&self, command: &RemoteCommand, stdin: &[u8]) -> (Child, PipeReader) {
        let line = command.render_in(&self.root.path().to_string_lossy());
        let (reader, writer) = std::io::pipe().expect("a pipe");
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
        drop(child.stdin.as_mut().expect("stdin").write_all(stdin));
        (child, reader)
    }

    pub(super) fn run(&self, command: &RemoteCommand, stdin: &[u8]) -> Said {
        let (mut child, mut reader) = self.spawn(command, stdin);
        drop(child.stdin.take());
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("output");
        Said { text, ok: child.wait().expect("an end").success() }
    }

    /// Killed while it waits for more than `stdin`, and all that it started has ended.
    pub(super) fn run_killed(&self, command: &RemoteCommand, stdin: &[u8]) {
        let (mut child, mut reader) = self.spawn(command, stdin);
        child.kill().expect("it runs");
        assert!(!child.wait().expect("an end").success());
        reader.read_to_string(&mut String::new()).expect("output");
    }

    pub(super) fn look(&self) -> MachineFacts {
        let said = self.run(&RemoteCommand::Look { server: SERVER.into(), digest: digest(), workspace: None }, b"");
        assert!(said.ok, "{}: {}", self.name, said.text);
        read_facts(&said.text).unwrap_or_else(|| panic!("{}: {}", self.name, said.text))
    }

    /// Looks until the script is over. The limit is a count: a machine that is slow looks longer.
    pub(super) fn over(&self) -> ScriptState {
        let mut looks = std::iter::repeat_with(|| self.look().script).take(1000);
        looks.find(|state| !matches!(state, ScriptState::Running { .. })).expect("the script ends")
    }

    pub(super) fn push(&self, files: &[(&str, &str)]) -> Said {
        self.run(&RemoteCommand::Push { server: SERVER.into() }, &stream(files))
    }

    pub(super) fn start(&self, script: Option<&str>, environment: &[(&str, &str)]) -> Said {
        let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned().into()));
        self.run(&start_command(script), &streams::environment(&pairs.collect()).expect("an environment"))
    }

    /// Ends every process of a session, as a reboot or an out-of-memory killer would.
    pub(super) fn kill_session(&self, pid_file: &str) {
        let pid = self.read(pid_file).split_whitespace().nth(1).expect("a pid").to_owned();
        let killed = Command::new("pkill").args(["-9", "-s", &pid]).status().expect("pkill");
        assert!(killed.success());
    }
}

pub(super) fn digest() -> Digest {
    Digest::of(&["ready.sh"])
}

pub(super) fn state(file: &str) -> String {
    format!("var/lib/poolkeeper/{SERVER}/{}/{file}", digest())
}

pub(super) fn start_command(script: Option<&str>) -> RemoteCommand {
    RemoteCommand::Start { server: SERVER.into(), digest: digest(), hostname: HOSTNAME.into(), script: script.map(str::to_owned) }
}

pub(super) fn stream(files: &[(&str, &str)]) -> Vec<u8> {
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
