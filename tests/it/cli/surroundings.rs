//! Broken surroundings: what was tried, on what, what was answered, what to do next.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use jiff::SignedDuration;
use poolkeeper::sandbox::{Drop, HttpFaultAnswer};

use super::place::Place;
use super::transcript::Transcript;

const CLOUDS: &str = "clouds.yaml";
const TOKENS: &str = "/identity/v3/auth/tokens";
const AGENTS: &str = "/jenkins/ci/computer/api/json";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// Nobody listens there: a port of the system that nothing has used for decades (tcpmux).
const REFUSED: &str = "127.0.0.1:1";

/// Between the words.
fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
    let (_, rest) = text.split_once(start).expect("the start");
    rest.split_once(end).map_or(rest, |(inner, _)| inner)
}

#[test]
fn a_clouds_yaml_that_does_not_do() {
    let place = Place::filled();
    let whole = fs::read_to_string(place.path(CLOUDS)).expect("clouds.yaml");
    let mut transcript = Transcript::new("clouds-yaml");
    let mut say = |what: &str| assert_eq!(transcript.run(what, &place, &["plan"]).code, Some(0), "{what}");

    place.write(CLOUDS, &whole.replace("  sandbox:\n", "  sandbax:\n"));
    say("no such cloud in it, but one of a near name");
    place.write(CLOUDS, &whole.replace("  sandbox:\n", "  devstack:\n  lab:\n"));
    say("no such cloud in it, and none of a near name");
    place.write(CLOUDS, &whole.replace("clouds:\n", "clouds: [\n"));
    say("no YAML");
    for (what, start) in [("an open quote", "\""), ("an alias", "*"), ("a reserved letter", "%")] {
        let password = between(&whole, "password: ", "\n");
        place.write(CLOUDS, &whole.replace(password, &format!("{start}{}", password.trim_matches('\''))));
        say(&format!("no YAML: {what} at the password"));
    }
    place.write(CLOUDS, "");
    say("empty");
    place.write(CLOUDS, "- sandbox\n");
    say("a list");
    place.write(CLOUDS, &whole.replace(between(&whole, "    auth:\n", "\u{0}"), "      username: poolkeeper\n"));
    say("no auth_url");
    let password = between(&whole, "password: ", "\n");
    place.write(CLOUDS, &whole.replace(password, "7807e0"));
    say("a password that YAML takes for a number");
    place.write(CLOUDS, &whole.replace(&format!("      password: {password}\n"), ""));
    say("no password");
    place.write(CLOUDS, &whole.replace("    auth:\n", "    auth_type: v3oidcpassword\n    auth:\n"));
    say("another way of login");
    place.write(CLOUDS, &whole.replace("    auth:\n", &format!("    cacert: {}/ca.pem\n    auth:\n", place.root().display())));
    say("a certificate that is not there");
    fs::remove_file(place.path(CLOUDS)).expect("removed");
    say("not there");
    fs::create_dir(place.path(CLOUDS)).expect("made");
    say("a directory");
    transcript.check();
}

#[test]
fn no_clouds_yaml_at_all() {
    let place = Place::filled();
    let mut transcript = Transcript::new("no-clouds-yaml");
    let output = place.command(&["plan"]).env_remove("OS_CLIENT_CONFIG_FILE").output().expect("it starts");
    transcript.add("nowhere", &["plan"], &place.said(&output));
    transcript.check();
}

#[test]
fn a_keystone_that_does_not_do() {
    let place = Place::filled();
    let whole = fs::read_to_string(place.path(CLOUDS)).expect("clouds.yaml");
    let mut transcript = Transcript::new("keystone");
    let mut say = |what: &str| assert_eq!(transcript.run(what, &place, &["plan"]).code, Some(0), "{what}");

    place.write(CLOUDS, &whole.replace(between(&whole, "password: ", "\n"), "hunter2"));
    say("a wrong password");
    place.write(CLOUDS, &whole);
    place.write(CLOUDS, &whole.replace(between(&whole, "auth_url: http://", "/"), REFUSED));
    say("a port that nobody listens on");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    place.write(CLOUDS, &whole.replace(between(&whole, "auth_url: http://", "/"), &address));
    place.edit("desired-state/controller.yaml", "max-servers: 6", "max-servers: 6\n    api-timeout: 1s");
    say("one that says nothing");
    place.edit("desired-state/controller.yaml", "    api-timeout: 1s\n", "");
    place.write(CLOUDS, &whole.replace(between(&whole, "auth_url: ", "\n"), "keystone.example.org/v3"));
    say("a URL that is none");
    place.write(CLOUDS, &whole.replace("auth_url: http:", "auth_url: https:"));
    say("TLS where there is none");
    place.write(CLOUDS, &whole.replace("/identity/v3", "/identity/v4"));
    say("a path that is none");
    place.write(CLOUDS, &whole);
    for (what, status, kind, body) in [
        ("a page", 200, HTML, "<html><head><title>Welcome to nginx!</title></head></html>"),
        ("JSON of something else", 200, JSON, r#"{"status": "ok", "password": "hunter2"}"#),
        ("JSON of something else, made", 201, JSON, r#"{"status": "ok"}"#),
        ("503 of a proxy", 503, HTML, "<html><body><h1>503 Service Unavailable</h1>No server is available.</body></html>"),
        (
            "500",
            500,
            JSON,
            r#"{"error": {"code": 500, "message": "An unexpected error prevented the server from fulfilling your request.", "title": "Internal Server Error"}}"#,
        ),
        ("429", 429, "text/plain", "Too many requests"),
    ] {
        place.answer(TOKENS, status, kind, body);
        say(what);
        place.no_faults();
    }
    place.fault(TOKENS, HttpFaultAnswer::Half);
    say("half an answer");
    place.no_faults();
    place.fault(TOKENS, HttpFaultAnswer::Drop(Drop::BeforeEffect));
    say("no answer");
    transcript.check();
}

#[test]
fn a_nova_or_glance_that_does_not_do() {
    let place = Place::filled();
    let mut transcript = Transcript::new("nova");
    let mut say = |what: &str| assert_eq!(transcript.run(what, &place, &["plan"]).code, Some(0), "{what}");
    for (what, status, kind, body) in [
        ("a page", 200, HTML, "<html><head><title>Horizon</title></head></html>"),
        ("truncated JSON", 200, JSON, r#"{"servers": [{"id": "0a1b"#),
        ("JSON of something else", 200, JSON, r#"{"versions": []}"#),
        ("503", 503, HTML, "<html><body><h1>503 Service Unavailable</h1></body></html>"),
        (
            "403",
            403,
            JSON,
            r#"{"forbidden": {"code": 403, "message": "Policy doesn't allow os_compute_api:servers:detail to be performed."}}"#,
        ),
        ("a redirect", 302, HTML, ""),
    ] {
        place.answer("/servers/detail", status, kind, body);
        say(what);
        place.no_faults();
    }
    place.answer("/image/v2/images", 401, JSON, "");
    say("Glance, 401 again and again");
    place.no_faults();
    place.edit(CLOUDS, "RegionOne", "RegionTwo");
    say("a region that is none");
    transcript.check();
}

#[test]
fn a_jenkins_that_does_not_do() {
    let place = Place::filled();
    let mut transcript = Transcript::new("jenkins");
    let mut say = |what: &str| assert_eq!(transcript.run(what, &place, &["plan"]).code, Some(0), "{what}");
    for (what, status, kind, body) in [
        ("a login page", 200, HTML, "<html><head><title>Sign in [Jenkins]</title></head><body>...</body></html>"),
        ("JSON of something else", 200, JSON, r#"{"jobs": []}"#),
        ("truncated JSON", 200, JSON, r#"{"busyExecutors": 0, "computer": [{"displayName"#),
        ("401", 401, HTML, "<html><head><title>Error 401 Unauthorized</title></head></html>"),
        ("403", 403, HTML, "<html><head><title>Error 403 Forbidden</title></head></html>"),
        ("404", 404, HTML, "<html><head><title>Error 404 Not Found</title></head></html>"),
        (
            "503 while it starts",
            503,
            HTML,
            "<html><head><title>Starting Jenkins</title></head><body>Please wait while Jenkins is getting ready to work</body></html>",
        ),
        ("502 of a proxy", 502, HTML, "<html><head><title>502 Bad Gateway</title></head></html>"),
    ] {
        place.answer(AGENTS, status, kind, body);
        say(what);
        place.no_faults();
    }
    let headers = vec![
        ("Content-Type".to_owned(), HTML.to_owned()),
        ("Location".to_owned(), "https://sso.example.org/login?from=%2Fci%2F&token=hunter2".to_owned()),
    ];
    place.fault(AGENTS, HttpFaultAnswer::Say { status: 302, headers, body: String::new() });
    say("a redirect to a login page");
    place.no_faults();
    place.fault(AGENTS, HttpFaultAnswer::Half);
    say("half an answer");
    place.no_faults();
    let file = "desired-state/controller.yaml";
    let whole = fs::read_to_string(place.path(file)).expect("controller.yaml");
    place.write(file, &whole.replace("/jenkins/ci/", "/ci/"));
    say("a path that is none");
    place.write(file, &whole.replace(between(&whole, "url: http://", "/"), REFUSED));
    say("a port that nobody listens on");
    place.write(file, &whole.replace(between(&whole, "url: ", "\n"), "https://jenkins.invalid/ci/"));
    say("a name that is none");
    transcript.check();
}

#[test]
fn secrets_of_a_target_that_do_not_do() {
    let place = Place::filled();
    let mut transcript = Transcript::new("target-secret");
    let mut say = |what: &str| assert_eq!(transcript.run(what, &place, &["plan"]).code, Some(0), "{what}");
    let file = "jenkins-secret";
    let whole = fs::read_to_string(place.path(file)).expect("a secret");
    place.write(file, "11hunter2\n");
    say("a wrong one");
    place.write(file, "\n");
    say("an empty one");
    place.write(file, &format!("{whole}nodepool\n"));
    say("two lines");
    place.write(file, "h\u{fc}nter\n");
    say("letters that HTTP does not take");
    fs::write(place.path(file), b"\xff\xfe\n").expect("written");
    say("not UTF-8");
    place.write(file, &whole);
    fs::set_permissions(place.path(file), fs::Permissions::from_mode(0o644)).expect("mode");
    say("one that everybody can read");
    fs::remove_file(place.path(file)).expect("removed");
    say("not there");
    fs::create_dir(place.path(file)).expect("made");
    say("a directory");
    place.edit("desired-state/controller.yaml", &place.path(file).display().to_string(), "jenkins-token");
    say("a credential of a unit, without the unit");
    transcript.check();
}

#[test]
fn private_keys_that_do_not_do() {
    let place = Place::since(SignedDuration::from_mins(2));
    let mut transcript = Transcript::new("private-key");
    place.passes(Some(SignedDuration::from_millis(1)));
    place.stage.world.tick(5);
    let mut say = |what: &str, arguments: &[&str]| transcript.run(what, &place, arguments).code;
    let file = "id_ed25519";
    let write = |text: &str| place.write(file, text);
    let mode = |mode| fs::set_permissions(place.path(file), fs::Permissions::from_mode(mode)).expect("mode");
    mode(0o644);
    assert_eq!(say("one that everybody can read", &["plan"]), Some(0));
    mode(0o600);
    write("hunter2\n");
    assert_eq!(say("no key", &["plan"]), Some(0));
    write(ENCRYPTED);
    assert_eq!(say("one with a passphrase", &["plan"]), Some(0));
    write("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGE+FfnOTQDGpBxpBFvUeliXWCBxhlGaZKlDHWRGVRix\n");
    assert_eq!(say("a public key", &["plan"]), Some(0));
    write("");
    assert_eq!(say("an empty one", &["plan"]), Some(0));
    fs::remove_file(place.path(file)).expect("removed");
    assert_eq!(say("not there", &["plan"]), Some(0));
    write(OTHER);
    mode(0o600);
    assert_eq!(say("another one than the machine knows", &["plan"]), Some(0));
    transcript.check();
}

const ENCRYPTED: &str = include_str!("../../fixtures/cli/encrypted-key");
const OTHER: &str = include_str!("../../fixtures/cli/other-key");
