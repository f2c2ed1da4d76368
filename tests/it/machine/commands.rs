//! What each command does to a machine, under every shell that is here.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use poolkeeper::live::machine::remote_command::{RemoteCommand, read_facts};
use poolkeeper::live::machine::streams;
use poolkeeper::observed::{MachineFacts, ScriptState, WorkspaceSight};
use poolkeeper::world::Done;

use super::guest::{Guest, HOSTNAME, SERVER, digest, guests, start_command, state, stream};

#[test]
fn a_push_replaces_the_scripts_as_a_whole() {
    for guest in guests().into_iter().map(Guest::with_ssh_keygen) {
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
        guest.run_killed(&command, &whole[..1500]);
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
        assert!(matches!(guest.look().script, ScriptState::Running { .. }), "{}", guest.name);
        // A writer that comes when the script reads: from now on it has begun.
        let gate = fs::OpenOptions::new().write(true).open(guest.path("opt/nodepool-scripts/gate")).expect("a reader");
        let ScriptState::Running { seconds: age, tail } = guest.look().script else { panic!("{}", guest.name) };
        assert_eq!(tail, "begun\n", "{}", guest.name);
        // As if it had been started when the machine was.
        let pid = guest.read(&state("pid")).rsplit_once(' ').map(|(rest, _)| format!("{rest} 0\n")).expect("an uptime");
        fs::write(guest.path(&state("pid")), pid).expect("a file");
        let uptime = fs::read_to_string("/proc/uptime").expect("a file");
        let uptime: u64 = uptime.split('.').next().and_then(|text| text.parse().ok()).expect("seconds");
        let ScriptState::Running { seconds, .. } = guest.look().script else { panic!("{}", guest.name) };
        assert!(age < uptime && uptime <= seconds, "{}: {age} of {uptime}, then {seconds}", guest.name);
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
        guest.run_killed(&start_command(Some("ready.sh")), b"NODEPOOL_A=1\0");
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
        assert_eq!(guest.look().script, ScriptState::Running { seconds: 0, tail: String::new() }, "{}", guest.name);
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
        let other = RemoteCommand::Look { server: "another".into(), digest: digest(), workspace: None };
        let facts = read_facts(&guest.run(&other, b"").text).expect("facts");
        assert_eq!(facts, MachineFacts { script: ScriptState::NotStarted, agent_running: false, workspace: None });
        assert_eq!(guest.look().script, ScriptState::Passed, "{}", guest.name);
    }
}

#[test]
fn a_workspace_is_used_as_soon_as_anything_is_in_it() {
    for guest in guests() {
        let look = |workspace: &str| {
            let workspace = Some(workspace.to_owned());
            let look = RemoteCommand::Look { server: SERVER.into(), digest: digest(), workspace };
            read_facts(&guest.run(&look, b"").text).expect("facts").workspace
        };
        let directory = "/home/jenkins/it's a/workspace";
        assert_eq!(look(directory), Some(WorkspaceSight::Empty), "{}: not there", guest.name);
        fs::create_dir_all(guest.path(&directory[1..])).expect("a directory");
        assert_eq!(look(directory), Some(WorkspaceSight::Empty), "{}", guest.name);
        fs::write(guest.path(&directory[1..]).join(".hidden"), "").expect("a file");
        assert_eq!(look(directory), Some(WorkspaceSight::Used), "{}", guest.name);
        assert_eq!(guest.look().workspace, None, "{}: not asked", guest.name);
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
