//! A run that is told to end, and output that nobody reads.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use jiff::SignedDuration;
use poolkeeper::exit;
use poolkeeper::live::http::{Client, Method, Options, Patience, Request};
use poolkeeper::lock::try_lock;

use super::place::Place;
use super::terminal::Terminal;
use super::transcript::Transcript;
use crate::http_server::{HttpServer, Reply, Seen};

/// Stands before Nova, and holds up the first call that writes a mark: one message says that it came, one lets it go on.
fn gate(nova: String) -> (HttpServer, Receiver<()>, Sender<()>) {
    let (came, has_come) = channel();
    let (go, may_go) = channel();
    let gate = Mutex::new(Some((came, may_go)));
    let client = Client::new(&Options::new(&nova, Duration::from_secs(30), Patience::endless())).expect("a client");
    let server = HttpServer::start(move |seen, _| {
        if seen.method == "POST" && seen.path.ends_with("/metadata") {
            let first = gate.lock().expect("no panic").take();
            if let Some((came, may_go)) = first {
                came.send(()).expect("the test waits for it");
                may_go.recv().expect("the test lets it go");
            }
        }
        forward(&client, &nova, seen)
    });
    (server, has_come, go)
}

fn forward(client: &Client, to: &str, seen: &Seen) -> Reply {
    let method = match seen.method.as_str() {
        "GET" => Method::Get,
        "DELETE" => Method::Delete,
        _ => Method::Post,
    };
    let query = if seen.query.is_empty() { String::new() } else { format!("?{}", seen.query) };
    let mut request = Request::new(method, format!("{to}{}{query}", seen.path));
    for name in ["X-Auth-Token", "Accept", "OpenStack-API-Version"] {
        request = request.header(name, seen.header(&name.to_ascii_lowercase()));
    }
    if !seen.body.is_empty() {
        request = request.bytes("application/json", seen.body.clone().into_bytes());
    }
    let answer = client.send(&request).expect("the sandbox answers");
    Reply::new(answer.status, answer.body.clone()).header("Content-Type", answer.header("content-type").unwrap_or_default())
}

pub(super) fn terminate(child: &Child) {
    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
}

/// Reads until a line begins so; what was read.
pub(super) fn read_until(reader: &mut impl std::io::BufRead, start: &str) -> String {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).expect("a line"), 0, "no `{start}` came: {text}");
        text += &line;
        if line.starts_with(start) {
            return text;
        }
    }
}

/// One machine, created a moment ago and up, and a desired state that wants one.
fn one_machine() -> Place {
    let place = Place::since(SignedDuration::from_mins(2));
    place.edit("desired-state/pools/ci-debian.yaml", "min-ready: 2", "min-ready: 1");
    place.passes(Some(SignedDuration::from_millis(1)));
    place.stage.world.tick(5);
    place
}

#[test]
fn sigterm_lets_the_call_in_flight_end_and_begins_nothing() {
    let place = one_machine();
    let clouds = std::fs::read_to_string(place.path("clouds.yaml")).expect("clouds.yaml");
    let (_, url) = clouds.split_once("auth_url: ").expect("a URL");
    let (root, _) = url.split_once("/os/").expect("the sandbox's root");
    let (server, has_come, go) = gate(root.to_owned());
    let nova = format!("    compute_endpoint_override: {}/os/sandbox/compute/v2.1\n    auth:\n", server.url());
    place.write("clouds.yaml", &clouds.replace("    auth:\n", &nova));

    let arguments = ["apply", "--yes", "--until-converged"];
    let mut child = place.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    has_come.recv().expect("a mark is on its way");
    terminate(&child);
    let mut talk = BufReader::new(child.stderr.take().expect("its talk"));
    let mut stderr = read_until(&mut talk, "stopping: ");
    go.send(()).expect("it waits");
    let mut output = child.wait_with_output().expect("its end");
    talk.read_to_string(&mut stderr).expect("the rest");
    output.stderr = stderr.into_bytes();
    let said = place.said(&output);

    let mut transcript = Transcript::new("sigterm");
    transcript.add("stopped while the host key is pinned", &arguments, &said);
    assert_eq!(said.code, Some(0));
    let marked = |key: &str| place.stage.world.servers(&"sandbox".into()).iter().all(|server| server.metadata.contains_key(key));
    assert!(marked("poolkeeper_hostkey"), "the call in flight was finished");

    let said = place.run_in_time(&mut place.command(&arguments));
    transcript.add("the next run goes on", &arguments, &said);
    assert_eq!(said.code, Some(0));
    transcript.check();
    let ready = place.run(&["plan"]);
    assert_eq!(ready.stdout, "demo: nothing to do (1 node, 1 ready)\n");
}

#[test]
fn sigterm_ends_the_wait_for_a_lock() {
    let place = Place::empty();
    let _lock = try_lock(&place.path("lock")).expect("free");
    let arguments = ["-v", "apply", "--yes", "--lock-timeout", "24h"];
    let mut child = place.command(&arguments).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("its talk"));
    let waits = read_until(&mut stderr, " INFO another run holds the lock: waiting for it");
    terminate(&child);
    let mut talk = String::new();
    stderr.read_to_string(&mut talk).expect("text");
    assert_eq!(child.wait().expect("its end").code(), Some(75), "{waits}{talk}");
    assert!(talk.starts_with("stopping: ") && talk.contains("error: another run holds the lock"), "{talk}");
}

/// The signal is the answer: nothing that is typed afterwards counts.
#[test]
fn a_signal_at_the_question_is_a_no() {
    let place = Place::empty();
    let made = || place.stage.world.servers(&"sandbox".into()).len();
    for (signal, code) in [("INT", exit::INTERRUPTED), ("TERM", exit::TERMINATED)] {
        let Some(mut terminal) = Terminal::start(&place, "apply --deadline 1s", true) else { return };
        terminal.wait_for("Apply? [y/N] ");
        if signal == "INT" {
            terminal.type_in("\u{3}");
        } else {
            terminal.signal(signal);
        }
        terminal.wait_for(&format!("\r\ndemo: stopped by SIG{signal}, nothing was changed\r\n"));
        let said = terminal.end(&place);
        assert_eq!((said.code, made()), (Some(code.into()), 0), "{}", said.stdout);
        assert!(!said.stdout.contains("stopping:"), "no call is in flight: {}", said.stdout);
    }
}

#[test]
fn output_that_nobody_reads_ends_quietly() {
    let place = Place::filled();
    let closed = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        writer
    };
    for arguments in [&["plan"][..], &["plan", "--format", "json"], &["list"], &["observe"], &["validate"], &["--help"]] {
        let output = place.command(arguments).stdout(closed()).output().expect("the program starts");
        let said = place.said(&output);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
    // `2>&1 | head -1`: the log has no reader either.
    for arguments in [&["-vv", "plan"][..], &["-vv", "list"]] {
        let status = place.command(arguments).stdout(closed()).stderr(closed()).status().expect("the program starts");
        assert_eq!(status.code(), Some(0), "{arguments:?}");
    }
    // Errors have none: their exit code still tells.
    let status = place.command(&["aply"]).stderr(closed()).status().expect("the program starts");
    assert_eq!(status.code(), Some(2));
}

/// `/dev/full` takes nothing: a full disk under a redirected output.
#[test]
fn output_that_cannot_be_written_is_an_error() {
    let place = Place::filled();
    let full = || File::options().write(true).open("/dev/full").expect("the device");
    let mut transcript = Transcript::new("full");
    for arguments in [&["plan"][..], &["observe"], &["validate"]] {
        let output = place.command(arguments).stdout(full()).output().expect("the program starts");
        let said = place.said(&output);
        transcript.add("a full disk", arguments, &said);
        assert_eq!(said.code, Some(1));
    }
    transcript.check();
}
