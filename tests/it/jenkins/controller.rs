//! A controller on loopback that answers as real ones were recorded, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use poolkeeper::desired::{Target, TargetSecret};
use poolkeeper::live::http::{Patience, install_tls_provider};
use poolkeeper::live::jenkins::Jenkins;
use poolkeeper::names::TargetName;
use serde_json::Value;

/// What the server was asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// `POST /computer/doCreateItem`, without the query.
    pub(super) call: String,
    pub(super) query: String,
    /// Names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

#[derive(Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

pub(super) fn answer(status: u16, body: &str) -> Answer {
    Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
}

/// A recorded answer.
pub(super) fn recorded(version: &str, name: &str) -> Answer {
    let path = format!("{}/tests/fixtures/jenkins/{version}/answers.json", env!("CARGO_MANIFEST_DIR"));
    let answers: Value = serde_json::from_slice(&std::fs::read(path).expect("a fixture")).expect("JSON");
    let recorded = &answers[name];
    let headers = recorded["headers"].as_object().expect("headers").iter();
    Answer {
        status: u16::try_from(recorded["status"].as_u64().expect("a status")).expect("a status"),
        headers: headers.map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned())).collect(),
        body: recorded["body"].as_str().map_or_else(|| recorded["body"].to_string(), str::to_owned).into_bytes(),
    }
}

/// A controller on loopback that answers by a function of what it is asked.
pub(super) struct Controller {
    pub(super) url: String,
    pub(super) asked: Arc<Mutex<Vec<Asked>>>,
}

impl Controller {
    pub(super) fn new(route: impl Fn(&Asked) -> Answer + Send + 'static) -> Self {
        install_tls_provider();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/ci/", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(request) = read_request(&stream) else { continue };
                log.lock().expect("a lock").push(request.clone());
                send(&stream, &route(&request));
            }
        });
        Self { url, asked }
    }

    /// Of a generation: every call that is not in `other` is answered as it was recorded.
    pub(super) fn of(version: &'static str, other: impl Fn(&Asked) -> Option<Answer> + Send + 'static) -> Self {
        Self::new(move |asked| other(asked).unwrap_or_else(|| usual(version, asked)))
    }

    pub(super) fn client(&self, is_token: bool) -> Jenkins {
        let target = Target {
            name: TargetName::from("contint1001"),
            url: self.url.clone(),
            user: "nodepool".into(),
            secret: TargetSecret::TokenFile("/unused".into()),
            credentials_id: None,
        };
        Jenkins::new(&target, "hunter2".to_owned().into(), is_token, Duration::from_secs(20), Patience::endless())
            .expect("a client")
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("a lock").clone()
    }

    pub(super) fn calls(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.call).collect()
    }
}

fn usual(version: &str, asked: &Asked) -> Answer {
    let (method, path) = asked.call.split_once(' ').expect("a call");
    let name = match (method, path) {
        ("GET", "/computer/api/json") => "list",
        ("GET", "/crumbIssuer/api/json") => "crumb",
        ("POST", "/computer/doCreateItem") => "created",
        ("POST", path) if path.ends_with("/doDelete") => "deleted",
        ("POST", path) if path.ends_with("/changeOfflineCause") && !version.starts_with("hudson") => "marked",
        ("POST", path) if path.ends_with("/toggleOffline") => "marked",
        ("GET", path) if path.ends_with("/jenkins-agent.jnlp") => "jenkins-agent-jnlp",
        ("GET", path) if path.ends_with("/slave-agent.jnlp") => "slave-agent-jnlp",
        _ => "missing",
    };
    recorded(version, name)
}

pub(super) fn read_request(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().expect("a length"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let path = path.strip_prefix("/ci").expect("below the target's url");
    let body = String::from_utf8(body).expect("text");
    Some(Asked { call: format!("{method} {path}"), query: query.to_owned(), headers, body })
}

fn send(mut stream: &TcpStream, answer: &Answer) {
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {}\r\n", answer.status, answer.body.len());
    for (name, value) in &answer.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    // A client that went away is its own test.
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&answer.body)));
}
