//! A served world, and raw requests to it over a TCP stream.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::names::{ProviderName, TargetName};
use crate::sandbox::serve_http::HttpServer;
use crate::sandbox::{Generation, Sandbox};

pub(super) struct Served {
    pub(super) world: Sandbox,
    pub(super) server: HttpServer,
    pub(super) token: String,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

pub(super) fn served(generation: Generation) -> Served {
    let world = Sandbox::new("2026-11-25T10:00:00Z".parse().expect("a time"), 7);
    let provider = ProviderName::from("cloud-1");
    world.add_provider(&provider);
    world.add_network(&provider, "ci-net");
    world.add_image(&provider, "jessie");
    world.add_target(&TargetName::from("ci"), generation);
    let server = world.serve_http().expect("a port");
    let mut served = Served { world, server, token: String::new() };
    let password = served.world.with(|state| state.password.expose_secret().to_owned());
    let answer = served.authenticate(&password);
    assert_eq!(answer.status, 201, "{}", answer.body);
    served.token = answer.header("x-subject-token").expect("a token").to_owned();
    served
}

impl Served {
    /// None: the connection was closed without an answer.
    pub(super) fn send(&self, method: &str, path: &str, headers: &[(&str, String)], body: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect(self.server.address()).expect("a connection");
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        }
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer or none");
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }

    pub(super) fn authenticate(&self, password: &str) -> Answer {
        let user = json!({ "name": "poolkeeper", "domain": { "id": "default" }, "password": password });
        let body = json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": user } },
            "scope": { "project": { "name": "sandbox", "domain": { "id": "default" } } },
        } });
        self.send("POST", "/os/cloud-1/identity/v3/auth/tokens", &[], &body.to_string()).expect("an answer")
    }

    pub(super) fn os(&self, method: &str, path: &str, version: &str, body: &Value) -> Answer {
        let headers = [
            ("X-Auth-Token", self.token.clone()),
            ("OpenStack-API-Version", format!("compute {version}")),
            ("Content-Type", "application/json".to_owned()),
        ];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, &format!("/os/cloud-1/{path}"), &headers, &body).expect("an answer")
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.os("GET", path, "2.93", &Value::Null)
    }

    pub(super) fn create(&self) -> Answer {
        let image = self.world.with(|state| state.clouds["cloud-1"].images[0].seen.id.clone());
        let server = json!({ "name": "n1", "imageRef": image, "flavorRef": "m1.small", "networks": "auto", "metadata": {} });
        self.os("POST", "compute/v2.1/servers", "2.93", &json!({ "server": server }))
    }

    pub(super) fn created(&self) -> String {
        let answer = self.create();
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.json()["server"]["id"].as_str().expect("an id").to_owned()
    }

    pub(super) fn jenkins(&self, method: &str, path: &str, headers: &[(&str, String)], body: &str) -> Answer {
        let secret = self.world.with(|state| state.jenkins["ci"].token.expose_secret().to_owned());
        self.jenkins_as(&secret, method, path, headers, body)
    }

    pub(super) fn jenkins_as(&self, secret: &str, method: &str, path: &str, headers: &[(&str, String)], body: &str) -> Answer {
        let basic = format!("Basic {}", STANDARD.encode(format!("nodepool:{secret}")));
        let mut all = vec![("Authorization", basic), ("Content-Type", "application/x-www-form-urlencoded".to_owned())];
        all.extend(headers.iter().cloned());
        self.send(method, &format!("/jenkins/ci/{path}"), &all, body).expect("an answer")
    }

    pub(super) fn password(&self) -> String {
        self.world.with(|state| state.jenkins["ci"].password.expose_secret().to_owned())
    }
}
