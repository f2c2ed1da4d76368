//! Recognisable secrets of every kind are planted, and nothing that the program says has one.

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use jiff::SignedDuration;
use poolkeeper::sandbox::{Fate, ScriptFate};

use super::place::{Place, Said};

const SCRIPT: &str = "a-word-of-a-script";
const USER_DATA: &str = "a-word-of-user-data-that-is-long";
const VARIABLE: &str = "a-word-of-a-variable";

fn planted() -> Place {
    let place = Place::since(SignedDuration::from_mins(2));
    place.write("desired-state/scripts/ready.sh", &format!("#!/bin/sh\necho {SCRIPT}\n"));
    place.write("desired-state/user-data", USER_DATA);
    place.edit("desired-state/pools/ci-debian.yaml", "min-ready: 2", "min-ready: 1\nuser-data: user-data");
    place
}

fn assert_clean(what: &str, said: &Said) {
    let encoded = base64::engine::general_purpose::STANDARD.encode(USER_DATA);
    for text in [&said.stdout, &said.stderr] {
        for secret in [SCRIPT, USER_DATA, &encoded, VARIABLE] {
            assert!(!text.contains(secret), "{what}: {secret}: {text}");
        }
    }
}

/// `said` looks for the world's own secrets: passwords, tokens, the agents' secrets.
#[test]
fn no_output_has_a_secret() {
    let place = planted();
    let look = |arguments: &[&str]| {
        let said = place.said(&place.command(arguments).env("NODEPOOL_SECRET", VARIABLE).output().expect("it starts"));
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        assert_clean(&arguments.join(" "), &said);
        said
    };
    let looks: [&[&str]; 8] = [
        &["-vv", "validate"],
        &["-vv", "plan"],
        &["-vv", "plan", "--format", "json"],
        &["-vv", "observe"],
        &["-vv", "list"],
        &["-vv", "status"],
        &["-vv", "status", "--format", "json"],
        &["-vv", "list", "--format", "json"],
    ];
    let mut log = String::new();
    for arguments in looks {
        log += &look(arguments).stderr;
    }
    let mut apply = place.command(&["-vv", "apply", "--yes", "--until-converged"]);
    let said = place.run_in_time(apply.env("NODEPOOL_SECRET", VARIABLE));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_clean("apply", &said);
    for arguments in looks {
        let _said = look(arguments);
    }

    // All of it was sent, and the log shows each call and where it hid something.
    log += &said.stderr;
    for call in ["/identity/v3/auth/tokens", "/compute/v2.1/servers", "/metadata", "/computer/doCreateItem", "jenkins-agent.jnlp"]
    {
        assert!(log.contains(call), "{call} is not in the log");
    }
    for hidden in [r#""password":"***""#, r#""token":"***""#, r#""user_data":"***""#, "X-Auth-Token: ***", "Authorization: ***"] {
        assert!(log.contains(hidden), "{hidden} is not in the log");
    }
    let sent = place.stage.world.with(|state| {
        let servers = state.clouds.values().flat_map(|cloud| cloud.servers.values());
        servers.filter_map(|server| server.user_data.clone()).collect::<Vec<_>>()
    });
    assert_eq!(sent.len(), 1, "the server has its user data");
}

#[test]
fn a_secret_that_a_script_prints_is_hidden() {
    let place = planted();
    let output = format!("login with {VARIABLE} failed\n");
    place.stage.world.next_fate(Fate { script: ScriptFate::Exits { status: 7, output }, ..Fate::default() });
    let failed = || {
        let servers = place.stage.world.servers(&"sandbox".into());
        servers.into_iter().find_map(|server| Some((server.name, server.metadata.get("poolkeeper_failed")?.clone())))
    };
    // A pass or more each: created, its script started, its script seen to have failed. A slow machine has one in a second.
    let runs = (0..20).take_while(|_| failed().is_none());
    for _ in runs {
        let mut apply = place.command(&["-vv", "apply", "--yes", "--deadline", "1s"]);
        // A word of what poolkeeper itself reads from a machine is a value like any other.
        apply.env("NODEPOOL_SECRET", VARIABLE).env("NODEPOOL_MODE", "exited").env("NODEPOOL_PROXY", "none");
        assert_clean("apply", &place.said(&apply.output().expect("it starts")));
        place.stage.world.tick(5);
    }
    let (name, mark) = failed().expect("its ready script failed");
    assert!(mark.ends_with("ready script exited 7: login with *** failed"), "{mark}");
    for arguments in [&["explain", &name][..], &["plan", "-v"], &["observe"], &["list"], &["status"]] {
        let said = place.said(&place.command(arguments).env("NODEPOOL_SECRET", VARIABLE).output().expect("it starts"));
        assert_clean(&arguments.join(" "), &said);
    }
}

/// The one place that keeps a secret.
#[test]
fn the_token_is_kept_for_its_owner_alone() {
    let place = Place::filled();
    let _said = place.run(&["plan"]);
    let dir = place.path("home/cache/poolkeeper");
    let files: Vec<_> = std::fs::read_dir(dir).expect("the cache").map(|file| file.expect("a file").path()).collect();
    let [file] = &files[..] else { panic!("one file: {files:?}") };
    assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(file).expect("text").contains("gAAAAAB"), "this is where the token is");
}
