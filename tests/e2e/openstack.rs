//! Keystone, Nova, Neutron and Glance over curl, as far as the scenarios look and clean up. Shares nothing with poolkeeper's own client.

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use crate::lab::{Answer, curl};

const KEYSTONE: &str = "http://127.0.0.1:5000/v3";
const NOVA: &str = "http://127.0.0.1:8774/v2.1";
const GLANCE: &str = "http://127.0.0.1:9292/v2";
const NEUTRON: &str = "http://127.0.0.1:9696/v2.0";
const JSON: &str = "Content-Type: application/json";

pub(crate) struct Cloud {
    token: String,
    /// The id of the project that the token is for.
    project: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) created: String,
    properties: Value,
}

impl Image {
    /// Empty where there is none.
    pub(crate) fn property(&self, key: &str) -> &str {
        self.properties[key].as_str().unwrap_or_default()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FloatingIp {
    pub(crate) id: String,
    pub(crate) description: String,
    /// The server whose port it is on.
    pub(crate) server: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) address: Option<String>,
    /// Seconds since 1970.
    pub(crate) created: i64,
    metadata: Value,
}

impl Server {
    /// A metadata value, empty where there is none.
    pub(crate) fn mark(&self, key: &str) -> &str {
        self.metadata.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// By its name: of a deleted server Nova shows no metadata.
    pub(crate) fn pool(&self) -> &str {
        self.name.rsplit_once('-').map_or(&self.name, |(pool, _)| pool)
    }

    fn read(value: &Value) -> Result<Self> {
        let text = |key: &str| value[key].as_str().map(str::to_owned).with_context(|| format!("`{key}` of {value}"));
        let first = value["addresses"].as_object().and_then(|networks| networks.values().next());
        Ok(Self {
            id: text("id")?,
            name: text("name")?,
            status: text("status")?,
            created: text("created")?.parse::<jiff::Timestamp>()?.as_second(),
            address: first.and_then(|addresses| addresses[0]["addr"].as_str()).map(str::to_owned),
            metadata: value["metadata"].clone(),
        })
    }
}

impl Cloud {
    /// As the user of clouds.yaml's entry `lab`.
    pub(crate) fn login() -> Result<Self> {
        Self::login_as("nodepoolmanager", "contintcloud")
    }

    /// As the cloud's operator.
    pub(crate) fn admin() -> Result<Self> {
        Self::login_as("admin", "admin")
    }

    fn login_as(user: &str, project: &str) -> Result<Self> {
        let user = json!({"name": user, "password": "labpw", "domain": {"id": "default"}});
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": project, "domain": {"id": "default"}}}}});
        let answer = curl("POST", &format!("{KEYSTONE}/auth/tokens"), &["-H", JSON, "-d", &body.to_string()])?;
        if answer.status != 201 {
            bail!("Keystone answered {}: {}", answer.status, answer.body);
        }
        let project = answer.json()?["token"]["project"]["id"].as_str().context("a project's id")?.to_owned();
        Ok(Self { token: answer.token, project })
    }

    pub(crate) fn project(&self) -> &str {
        &self.project
    }

    fn nova(&self, method: &str, path: &str, arguments: &[&str]) -> Result<Answer> {
        let token = format!("X-Auth-Token: {}", self.token);
        let mut all = vec!["-H", &token];
        all.extend(arguments);
        curl(method, &format!("{NOVA}{path}"), &all)
    }

    fn neutron(&self, method: &str, path: &str) -> Result<Answer> {
        curl(method, &format!("{NEUTRON}{path}"), &["-H", &format!("X-Auth-Token: {}", self.token)])
    }

    fn glance(&self, method: &str, path: &str) -> Result<Answer> {
        curl(method, &format!("{GLANCE}{path}"), &["-H", &format!("X-Auth-Token: {}", self.token)])
    }

    /// Every image that the project sees.
    pub(crate) fn images(&self) -> Result<Vec<Image>> {
        let list = self.glance("GET", "/images?limit=1000")?.json()?;
        let read = |image: &Value| {
            let text = |key: &str| image[key].as_str().map(str::to_owned).unwrap_or_default();
            Image {
                id: text("id"),
                name: text("name"),
                status: text("status"),
                created: text("created_at"),
                properties: image.clone(),
            }
        };
        Ok(list["images"].as_array().with_context(|| format!("no list of images: {list}"))?.iter().map(read).collect())
    }

    pub(crate) fn delete_image(&self, id: &str) -> Result<()> {
        match self.glance("DELETE", &format!("/images/{id}"))? {
            Answer { status: 204 | 404, .. } => Ok(()),
            Answer { status, body, .. } => bail!("DELETE of image {id}: {status} {body}"),
        }
    }

    /// Every floating IP of the project.
    pub(crate) fn floating_ips(&self) -> Result<Vec<FloatingIp>> {
        let list = self.neutron("GET", "/floatingips")?.json()?;
        let read = |ip: &Value| {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let server = match text(&ip["port_id"]) {
                Some(port) => text(&self.neutron("GET", &format!("/ports/{port}"))?.json()?["port"]["device_id"]),
                None => None,
            };
            let id = text(&ip["id"]).context("a floating IP without an id")?;
            Ok(FloatingIp { id, description: text(&ip["description"]).unwrap_or_default(), server })
        };
        list["floatingips"].as_array().with_context(|| format!("no list of floating IPs: {list}"))?.iter().map(read).collect()
    }

    pub(crate) fn release(&self, ip: &FloatingIp) -> Result<()> {
        match self.neutron("DELETE", &format!("/floatingips/{}", ip.id))? {
            Answer { status: 204 | 404, .. } => Ok(()),
            Answer { status, body, .. } => bail!("DELETE of floating IP {}: {status} {body}", ip.id),
        }
    }

    fn servers(&self, query: &str) -> Result<Vec<Server>> {
        let list = self.nova("GET", &format!("/servers/detail?limit=1000{query}"), &[])?.json()?;
        let servers = list["servers"].as_array().with_context(|| format!("no list of servers: {list}"))?;
        servers.iter().map(Server::read).collect()
    }

    /// Every server of the project that carries this controller's id.
    pub(crate) fn servers_of(&self, controller: &str) -> Result<Vec<Server>> {
        let servers = self.servers("")?;
        Ok(servers.into_iter().filter(|server| server.mark("poolkeeper_controller") == controller).collect())
    }

    /// Every server there is or was, in whatever project: for the operator.
    pub(crate) fn servers_ever(&self) -> Result<Vec<Server>> {
        let mut servers = self.servers("&all_tenants=1&deleted=True")?;
        servers.extend(self.servers("&all_tenants=1")?);
        Ok(servers)
    }

    /// Does something while parts of a project's quota are others, and puts them back whatever comes of it.
    pub(crate) fn with_quota<T>(&self, project: &str, quota: &Value, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let path = format!("/os-quota-sets/{project}");
        let before = self.nova("GET", &path, &[])?.json()?;
        let set = |quota: &Value| {
            let body = json!({"quota_set": quota}).to_string();
            let answer = self.nova("PUT", &path, &["-H", JSON, "-d", &body])?;
            if answer.status != 200 {
                bail!("PUT {path}: {} {}", answer.status, answer.body);
            }
            Ok(())
        };
        let names = quota.as_object().context("a map of quotas")?.keys();
        let mut old: Map<String, Value> = names.map(|name| (name.clone(), before["quota_set"][name].clone())).collect();
        // Also where what is used now is above it.
        old.insert("force".to_owned(), true.into());
        set(quota)?;
        let result = act();
        let restored = set(&old.into());
        // What went wrong first is what is told.
        result.and_then(|result| restored.map(|()| result))
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
        let action = ["-H", JSON, "-d", &body];
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
