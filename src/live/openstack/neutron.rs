//! The calls to Neutron: networks, ports, floating IPs.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::auth::Service;
use super::fault::{self, CallError};
use super::service::Session;
use crate::live::http::{Request, Response};
use crate::names::{FloatingIpId, NetworkId, PortId, ServerId};
use crate::observed::{FloatingIp, Network, Port};
use crate::plan::CreateFloatingIp;
use crate::world::Done;

/// Without a limit Neutron gives all in one answer, unless it is set up to page (`pagination_max_limit`).
const MAX_PAGES: usize = 1000;

/// What we read of a floating IP.
const FIELDS: &str = "fields=id&fields=floating_ip_address&fields=fixed_ip_address&fields=port_id&fields=description";

#[derive(Deserialize)]
struct NetworkBody {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct PortBody {
    id: String,
    network_id: String,
    #[serde(default)]
    fixed_ips: Vec<FixedIpBody>,
}

#[derive(Deserialize)]
struct FixedIpBody {
    ip_address: String,
}

#[derive(Deserialize)]
struct FloatingIpAnswer {
    floatingip: FloatingIpBody,
}

#[derive(Deserialize)]
struct FloatingIpBody {
    id: String,
    floating_ip_address: String,
    fixed_ip_address: Option<String>,
    port_id: Option<String>,
    /// Since Newton.
    description: Option<String>,
}

#[derive(Deserialize)]
struct LinkBody {
    rel: String,
}

impl FloatingIpBody {
    fn read(self) -> FloatingIp {
        FloatingIp {
            id: FloatingIpId::new(self.id),
            address: self.floating_ip_address,
            fixed: self.fixed_ip_address,
            port: self.port_id.map(PortId::new),
            description: self.description.unwrap_or_default(),
        }
    }
}

/// Every network that the project can see. Names are not unique.
pub(super) fn networks(session: &Session) -> Result<Vec<Network>, CallError> {
    let bodies = pages(session, "networks", "fields=id&fields=name", |body: &NetworkBody| &body.id)?;
    Ok(bodies.into_iter().map(|body| Network { id: NetworkId::new(body.id), name: body.name }).collect())
}

/// Every floating IP of the project: an administrator's token would be shown those of all projects.
pub(super) fn floating_ips(session: &Session) -> Result<Vec<FloatingIp>, CallError> {
    let project = session.token()?.facts.project_id.clone();
    let query = format!("project_id={project}&{FIELDS}");
    let bodies = pages(session, "floatingips", &query, |body: &FloatingIpBody| &body.id)?;
    Ok(bodies.into_iter().map(FloatingIpBody::read).collect())
}

/// A server's ports.
pub(super) fn ports(session: &Session, server: &ServerId) -> Result<Vec<Port>, CallError> {
    let query = format!("device_id={server}&fields=id&fields=network_id&fields=fixed_ips");
    let bodies = pages(session, "ports", &query, |body: &PortBody| &body.id)?;
    let port = |body: PortBody| Port {
        id: PortId::new(body.id),
        network: NetworkId::new(body.network_id),
        fixed: body.fixed_ips.into_iter().map(|fixed| fixed.ip_address).collect(),
    };
    Ok(bodies.into_iter().map(port).collect())
}

/// All pages of a list.
fn pages<T: DeserializeOwned>(
    session: &Session,
    what: &str,
    query: &str,
    id: impl Fn(&T) -> &String,
) -> Result<Vec<T>, CallError> {
    let first = format!("/{what}?{query}");
    let mut all: Vec<T> = Vec::new();
    let mut path = first.clone();
    for _ in 0..MAX_PAGES {
        let (tried, response) = session.call(Service::Network, &path, Request::get)?;
        if !response.is_success() {
            return Err(fault::refused(&tried, &response));
        }
        let (items, more) = page(&response, what).map_err(|said| fault::foreign(&tried, &response, &said))?;
        let before = all.last().map(|last| id(last).clone());
        all.extend(items);
        match all.last().map(&id) {
            Some(last) if more && before.as_ref() == Some(last) => {
                return Err(fault::unreadable(&tried, &response, "the list turns in a circle"));
            }
            Some(last) if more => path = format!("{first}&marker={last}"),
            Some(_) | None => return Ok(all),
        }
    }
    Err(fault::setup(&format!("GET /{what}"), format!("the list has no end: {MAX_PAGES} pages")))
}

/// A page's items, and whether there is a next one.
fn page<T: DeserializeOwned>(response: &Response, what: &str) -> Result<(Vec<T>, bool), String> {
    let mut answer: Map<String, Value> = response.json()?;
    let items = answer.remove(what).ok_or_else(|| format!("missing field `{what}`"))?;
    let items = serde_json::from_value(items).map_err(|error| error.to_string())?;
    let links = answer.remove(&format!("{what}_links")).map(serde_json::from_value::<Vec<LinkBody>>);
    let links = links.transpose().map_err(|error| error.to_string())?.unwrap_or_default();
    Ok((items, links.iter().any(|link| link.rel == "next")))
}

/// Neutron itself says that the floating IP is not there. A proxy's 404 says nothing of it.
fn is_gone(response: &Response) -> bool {
    let kind = || {
        let body: Value = serde_json::from_slice(&response.body).ok()?;
        Some(body.pointer("/NeutronError/type")?.as_str()? == "FloatingIPNotFound")
    };
    response.status == 404 && kind() == Some(true)
}

/// One as it is now; none: it is not there.
pub(super) fn floating_ip(session: &Session, id: &FloatingIpId) -> Result<Option<FloatingIp>, CallError> {
    let (tried, response) = session.call(Service::Network, &format!("/floatingips/{id}"), Request::get)?;
    if is_gone(&response) {
        return Ok(None);
    }
    if !response.is_success() {
        return Err(fault::refused(&tried, &response));
    }
    let answer: FloatingIpAnswer = response.json().map_err(|said| fault::foreign(&tried, &response, &said))?;
    Ok(Some(answer.floatingip.read()))
}

/// Never retried blindly: what was made without an answer is found by its description.
pub(super) fn create_floating_ip(session: &Session, wanted: &CreateFloatingIp) -> Result<Done, CallError> {
    let CreateFloatingIp { provider: _, server: _, network, port, description } = wanted;
    let body = json!({"floatingip": {
        "floating_network_id": network.as_str(), "port_id": port.as_str(), "description": description,
    }});
    let (tried, response) = session.call(Service::Network, "/floatingips", |url| Request::post(url).json(body.clone()))?;
    if !response.is_success() {
        return Err(fault::refused(&tried, &response));
    }
    let answer: FloatingIpAnswer = response.json().map_err(|said| fault::foreign(&tried, &response, &said))?;
    // Without its words it would be nobody's.
    if answer.floatingip.read().description != *description {
        return Err(fault::unreadable(&tried, &response, "the description is not in what Neutron saved"));
    }
    Ok(Done::Done)
}

pub(super) fn delete_floating_ip(session: &Session, id: &FloatingIpId) -> Result<Done, CallError> {
    let delete = |url| Request::delete(url).idempotent();
    let (tried, response) = session.call(Service::Network, &format!("/floatingips/{id}"), delete)?;
    if is_gone(&response) {
        return Ok(Done::Already);
    }
    if response.is_success() { Ok(Done::Done) } else { Err(fault::refused(&tried, &response)) }
}
