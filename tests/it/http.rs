//! The HTTP door: what is retried, what is an error, what is hidden. OpenStack's and Jenkins' words are tested with them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use poolkeeper::live::http::{Client, HttpErrorKind, Options, Patience, Request, install_tls_provider};
use secrecy::SecretString;

use crate::http_server::{HttpServer, Reply};
use crate::trace::{alone, traced};

fn options(url: &str, patience: Patience) -> Options {
    install_tls_provider();
    Options::new(url, Duration::from_secs(30), patience)
}

fn client(url: &str) -> Client {
    Client::new(&options(url, Patience::endless())).expect("a client")
}

#[test]
fn reads_are_retried_twice_and_other_calls_are_not() {
    let server = HttpServer::with(&[
        ("GET /a", &[Reply::new(503, "busy"), Reply::new(502, "busy"), Reply::new(200, "there")]),
        ("GET /b", &[Reply::new(429, "slow down")]),
        ("POST /a", &[Reply::new(503, "busy"), Reply::new(200, "twice")]),
        ("DELETE /a", &[Reply::new(504, ""), Reply::new(204, "")]),
        ("GET /c", &[Reply::new(500, "broken"), Reply::new(200, "")]),
    ]);
    let (url, client) = (server.url(), client(&server.url()));
    let status = |request: Request| client.send(&request).expect("an answer").status;
    assert_eq!(status(Request::get(format!("{url}/a"))), 200);
    assert_eq!(status(Request::get(format!("{url}/b"))), 429);
    assert_eq!(status(Request::post(format!("{url}/a"))), 503);
    assert_eq!(status(Request::delete(format!("{url}/a")).idempotent()), 204);
    assert_eq!(status(Request::get(format!("{url}/c"))), 500);
    assert_eq!(client.calls(), 3 + 3 + 1 + 2 + 1);
}

#[test]
fn a_retry_waits_as_long_as_it_is_told_and_never_past_the_time_left() {
    let server = HttpServer::with(&[("GET /", &[Reply::new(503, "").header("Retry-After", "7"), Reply::new(200, "")])]);
    let waited = Arc::new(Mutex::new(Vec::new()));
    let patience = |left: u64| {
        let waited = Arc::clone(&waited);
        Patience {
            pause: Arc::new(move |pause| waited.lock().expect("no panic").push(pause)),
            left: Arc::new(move || Duration::from_secs(left)),
        }
    };
    let ask = |left| {
        server.forget();
        let client = Client::new(&options(&server.url(), patience(left))).expect("a client");
        client.send(&Request::get(server.url())).map(|response| response.status)
    };
    assert_eq!(ask(20), Ok(200));
    assert_eq!(*waited.lock().expect("no panic"), [Duration::from_secs(7)]);
    assert_eq!(ask(7), Ok(503), "seven seconds do not fit");
    let error = ask(0).expect_err("no time");
    assert_eq!((error.kind, error.sent), (HttpErrorKind::NoTimeLeft, false));
    assert!(server.lines().is_empty(), "nothing is sent when no time is left");
}

#[test]
fn a_retry_ends_when_the_time_does() {
    let server = HttpServer::with(&[("GET /", &[Reply::new(503, "")])]);
    let left = Arc::new(AtomicU64::new(60));
    let (at_pause, at_left) = (Arc::clone(&left), Arc::clone(&left));
    let patience = Patience {
        pause: Arc::new(move |_| at_pause.store(0, Ordering::SeqCst)),
        left: Arc::new(move || Duration::from_secs(at_left.load(Ordering::SeqCst))),
    };
    let client = Client::new(&options(&server.url(), patience)).expect("a client");
    let error = client.send(&Request::get(server.url())).expect_err("no time for a second one");
    assert_eq!(error.kind, HttpErrorKind::NoTimeLeft);
    assert_eq!(server.lines(), ["GET /"]);
}

#[test]
fn kinds_of_silence() {
    let server = HttpServer::with(&[
        ("GET /cut", &[Reply::json(200, r#"{"servers": []}"#).cut_at(9)]),
        ("POST /gone", &[Reply::hang_up()]),
    ]);
    let (url, client) = (server.url(), client(&server.url()));
    let error = client.send(&Request::get(format!("{url}/cut"))).expect_err("a truncated body");
    assert_eq!((error.kind, error.sent), (HttpErrorKind::Broken, true));
    assert_eq!(error.said, "HTTP 200, but its body ended after 9 bytes, before it was whole");
    assert_eq!(server.lines().len(), 3, "a read whose answer broke is asked again");

    let error = client.send(&Request::post(format!("{url}/gone"))).expect_err("no answer");
    assert_eq!((error.kind, error.sent), (HttpErrorKind::Broken, true));

    drop(server);
    let error = client.send(&Request::post(format!("{url}/x"))).expect_err("nobody there");
    assert_eq!((error.kind, error.sent), (HttpErrorKind::Refused, false));
    assert_eq!(error.said, format!("connection refused by {}", url.trim_start_matches("http://")));

    // Longer than any name can be: it fails before a resolver is asked.
    let error = client.send(&Request::get(format!("http://{}/", "a".repeat(300)))).expect_err("no such name");
    assert_eq!((error.kind, error.sent), (HttpErrorKind::Dns, false), "{}", error.said);

    let error = client.send(&Request::get("http//broken")).expect_err("no URL");
    assert_eq!((error.kind, error.sent), (HttpErrorKind::Invalid, false), "{}", error.said);
}

#[test]
fn an_answer_that_does_not_come_is_a_timeout() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let mut options = options(&url, Patience::endless());
    options.timeout = Duration::from_millis(50);
    let error = Client::new(&options).expect("a client").send(&Request::post(url)).expect_err("nobody accepts");
    assert_eq!((error.kind, error.sent), (HttpErrorKind::Timeout, true), "{}", error.said);
}

#[test]
fn plain_http_on_a_tls_url_is_said_to_be_no_tls() {
    let server = HttpServer::with(&[]);
    let url = server.url().replace("http:", "https:");
    let error = client(&url).send(&Request::get(&url)).expect_err("no TLS there");
    assert_eq!((error.kind, error.sent), (HttpErrorKind::Tls, false), "{}", error.said);
}

#[test]
fn redirects_are_answers_and_cookies_come_through() {
    let moved = Reply::new(302, "").header("Location", "http://127.0.0.1:1/elsewhere");
    let moved = moved.header("Set-Cookie", "JSESSIONID=a; Path=/").header("Set-Cookie", "other=b");
    let server = HttpServer::with(&[("POST /create", &[moved])]);
    let url = format!("{}/create", server.url());
    let response = client(&url).send(&Request::post(&url).form(&[("a b", "c&d"), ("json", "{}")])).expect("an answer");
    assert_eq!(response.status, 302);
    assert_eq!(response.headers("set-cookie").collect::<Vec<_>>(), ["JSESSIONID=a; Path=/", "other=b"]);
    assert_eq!(server.seen()[0].body, "a%20b=c%26d&json=%7B%7D");
    assert_eq!(server.seen()[0].header("content-type"), "application/x-www-form-urlencoded");
}

#[derive(Debug, serde::Deserialize)]
struct Version {
    #[expect(dead_code, reason = "only its absence is looked at")]
    version: String,
}

#[test]
fn what_is_no_json_is_said() {
    let page = "<html><head><title>Sign in [Jenkins]</title></head><body>...</body></html>";
    let server = HttpServer::with(&[
        ("GET /html", &[Reply::html(200, page)]),
        ("GET /untyped", &[Reply::new(200, format!("\n<!DOCTYPE html>{page}"))]),
        ("GET /other", &[Reply::json(200, r#"{"ver": 1, "password": "hunter2"}"#)]),
        ("GET /nothing", &[Reply::json(200, "")]),
    ]);
    let client = client(&server.url());
    let said = |path: &str| {
        let response = client.send(&Request::get(format!("{}{path}", server.url()))).expect("an answer");
        response.json::<Version>().expect_err("no version")
    };
    assert_eq!(said("/html"), "HTML instead of JSON: Sign in [Jenkins]");
    assert_eq!(said("/untyped"), "HTML instead of JSON: Sign in [Jenkins]");
    let other = said("/other");
    assert!(other.starts_with("not the expected JSON: missing field `version`"), "{other}");
    assert!(other.ends_with(r#"it begins with: {"password":"***","ver":1}"#), "{other}");
    assert!(said("/nothing").ends_with("it begins with: (nothing)"));
}

#[test]
fn secrets_are_in_no_debug_output_and_no_trace() {
    alone("http::secrets_are_in_no_debug_output_and_no_trace", look_for_secrets);
}

fn look_for_secrets() {
    let server = HttpServer::with(&[(
        "POST /login",
        &[Reply::json(201, r#"{"token": {"id": "hunter2"}, "adminPass": "hunter2", "name": "shown"}"#)
            .header("X-Subject-Token", "hunter2")
            .header("Set-Cookie", "JSESSIONID=hunter2")],
    )]);
    let url = server.url().replace("http://", "http://user:hunter2@");
    let client = client(&url);
    let secret = || SecretString::from("hunter2");
    let login = || Request::post(format!("{url}/login?token=hunter2&page=1"));
    let requests = [
        login().secret_header("X-Auth-Token", secret()).header("Cookie", "JSESSIONID=hunter2").header("Accept", "shown"),
        login().basic_auth("user", &secret()).json(serde_json::json!({"auth": {"password": {"user": "hunter2"}}, "a": "shown"})),
        login().form(&[("Jenkins-Crumb", "hunter2"), ("json", r#"{"j_password": "hunter2", "a": "shown"}"#)]),
        login().bytes("text/plain", b"hunter2".to_vec()),
    ];
    let trace = traced(|| {
        for request in &requests {
            assert_eq!(client.send(request).expect("an answer").status, 201);
        }
    });
    let debug = format!("{requests:?} {:?} {client:?}", client.send(&requests[0]));
    for text in [&trace, &debug] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert_eq!(trace.matches("shown").count(), 3 + 4, "what is no secret is there: {trace}");
    assert!(trace.contains("page=1"), "{trace}");
    assert!(server.seen().first().is_some_and(|seen| seen.header("x-auth-token") == "hunter2"), "it was sent");
}
