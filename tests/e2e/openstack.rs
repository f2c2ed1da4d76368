//! Keystone and Nova over curl, as far as the scenarios look and clean up. Shares nothing with poolkeeper's own client.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::lab::{Answer, curl};

const KEYSTONE: &str = "http://127.0.0.1:5000/v3";
const NOVA: &str = "http://127.0.0.1:8774/v2.1";

pub(crate) struct Cloud {
    token: String,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) address: Option<String>,
    metadata: Value,
}

impl Server {
    /// A metadata value, empty where there is none.
    pub(crate) fn mark(&self, key: &str) -> &str {
        self.metadata.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn read(value: &Value) -> Result<Self> {
        let text = |key: &str| value[key].as_str().map(str::to_owned).with_context(|| format!("`{key}` of {value}"));
        let first = value["addresses"].as_object().and_then(|networks| networks.values().next());
        Ok(Self {
            id: text("id")?,
            name: text("name")?,
            status: text("status")?,
            address: first.and_then(|addresses| addresses[0]["addr"].as_str()).map(str::to_owned),
            metadata: value["metadata"].clone(),
        })
    }
}

impl Cloud {
    /// As the user of clouds.yaml's entry `lab`.
    pub(crate) fn login() -> Result<Self> {
        let user = json!({"name": "nodepoolmanager", "password": "labpw", "domain": {"id": "default"}});
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": "contintcloud", "domain": {"id": "default"}}}}});
        let json = ["-H", "Content-Type: application/json", "-d", &body.to_string()];
        let answer = curl("POST", &format!("{KEYSTONE}/auth/tokens"), &json)?;
        if answer.status != 201 {
            bail!("Keystone answered {}: {}", answer.status, answer.body);
        }
        Ok(Self { token: answer.token })
    }

    fn nova(&self, method: &str, path: &str, arguments: &[&str]) -> Result<Answer> {
        let token = format!("X-Auth-Token: {}", self.token);
        let mut all = vec!["-H", &token];
        all.extend(arguments);
        curl(method, &format!("{NOVA}{path}"), &all)
    }

    /// Every server of the project that carries this controller's id.
    pub(crate) fn servers_of(&self, controller: &str) -> Result<Vec<Server>> {
        let list = self.nova("GET", "/servers/detail?limit=1000", &[])?.json()?;
        let servers = list["servers"].as_array().with_context(|| format!("no list of servers: {list}"))?;
        let servers: Vec<Server> = servers.iter().map(Server::read).collect::<Result<_>>()?;
        Ok(servers.into_iter().filter(|server| server.mark("poolkeeper_controller") == controller).collect())
    }

    /// The one server of this controller.
    pub(crate) fn only_server_of(&self, controller: &str) -> Result<Server> {
        let mut servers = self.servers_of(controller)?;
        match (servers.pop(), servers.is_empty()) {
            (Some(server), true) => Ok(server),
            (Some(server), false) => bail!("more than one server: {server:?}, {servers:?}"),
            (None, _) => bail!("no server carries poolkeeper_controller={controller}"),
        }
    }

    pub(crate) fn is_gone(&self, id: &str) -> Result<bool> {
        Ok(self.nova("GET", &format!("/servers/{id}"), &[])?.status == 404)
    }

    pub(crate) fn delete(&self, id: &str) -> Result<()> {
        match self.nova("DELETE", &format!("/servers/{id}"), &[])? {
            Answer { status: 204 | 404, .. } => Ok(()),
            Answer { status, body, .. } => bail!("DELETE of server {id}: {status} {body}"),
        }
    }

    /// The SSH host keys on the console log, between the lines that cloud-init prints around them.
    pub(crate) fn console_keys(&self, id: &str) -> Result<Vec<String>> {
        let body = json!({"os-getConsoleOutput": {"length": null}}).to_string();
        let action = ["-H", "Content-Type: application/json", "-d", &body];
        let answer = self.nova("POST", &format!("/servers/{id}/action"), &action)?;
        if answer.status != 200 {
            return Ok(Vec::new());
        }
        let log = answer.json()?;
        let log = log["output"].as_str().unwrap_or_default();
        let inside = log.split("-----BEGIN SSH HOST KEY KEYS-----").nth(1).unwrap_or_default();
        let inside = inside.split("-----END SSH HOST KEY KEYS-----").next().unwrap_or_default();
        let keys = inside.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            Some(format!("{} {}", words.next()?, words.next()?))
        });
        Ok(keys.collect())
    }
}
