//! Nova v2.1: which request does what. The rules are `cloud`'s, the answers' fields `nova_json`'s.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::keystone;
use super::message::{Request, Response};
use super::nova_json::{self, Minor};
use crate::names::{ProviderName, ServerId};
use crate::observed::marks::MAX_VALUE;
use crate::sandbox::cloud::NewServer;
use crate::sandbox::state::State;
use crate::sandbox::{Refusal, Sandbox};

/// Nova's newest minor version that is played.
const NEWEST: Minor = 93;

/// `base` is the service's root: the version comes after it.
pub(super) fn answer(sandbox: &Sandbox, provider: &ProviderName, request: &Request, path: &[&str], base: &str) -> Response {
    sandbox.with(|state| {
        let id = format!("req-{}", state.ids.uuid());
        let response = match (path, minor(request)) {
            ([], _) => return Response::json(200, &json!({ "versions": [nova_json::version(base, false)] })),
            (_, Err(asked)) => refused(&Refusal::new(
                406,
                format!("Version {asked} is not supported by the API. Minimum is 2.1 and maximum is 2.{NEWEST}."),
            ))
            .with("OpenStack-API-Version", format!("compute {asked}")),
            (_, Ok(_)) if !state.knows_token(provider, request.header("x-auth-token")) && path.len() > 1 => {
                keystone::unauthorized(base)
            }
            (["v2.1", rest @ ..], Ok(minor)) => routed(state, provider, request, rest, minor, base)
                .with("OpenStack-API-Version", format!("compute 2.{minor}"))
                .with("X-OpenStack-Nova-API-Version", format!("2.{minor}"))
                .with("Vary", "X-OpenStack-Nova-API-Version"),
            (_, Ok(_)) => Response::text(404, "text/plain", "404 Not Found"),
        };
        response.with("X-Openstack-Request-Id", id.clone()).with("X-Compute-Request-Id", id)
    })
}

/// The microversion that is asked for, or its text when it is none of ours.
fn minor(request: &Request) -> Result<Minor, String> {
    let new = request.header("openstack-api-version").and_then(|text| text.strip_prefix("compute "));
    let Some(text) = new.or_else(|| request.header("x-openstack-nova-api-version")) else { return Ok(1) };
    let text = text.trim();
    if text == "latest" {
        return Ok(NEWEST);
    }
    let minor = text.strip_prefix("2.").and_then(|minor| minor.parse().ok());
    minor.filter(|minor| (1..=NEWEST).contains(minor)).ok_or_else(|| text.to_owned())
}

fn refused(refusal: &Refusal) -> Response {
    Response::text(refusal.status, "application/json; charset=UTF-8", nova_json::fault(refusal).to_string())
}

fn routed(state: &mut State, provider: &ProviderName, request: &Request, path: &[&str], minor: Minor, base: &str) -> Response {
    let result = match (request.method.as_str(), path) {
        ("GET", []) => Ok(Response::json(200, &json!({ "version": nova_json::version(base, true) }))),
        ("GET", ["servers", "detail"]) => list(state, provider, request, minor, base),
        ("POST", ["servers"]) => create(state, provider, request, base),
        ("GET", ["servers", id]) => show(state, provider, id, minor, base),
        ("DELETE", ["servers", id]) => state.delete_server(provider, &ServerId::from(*id)).map(|()| Response::empty(204)),
        ("GET", ["servers", id, "metadata"]) => {
            let server = state.cloud(provider).and_then(|cloud| cloud.server(&ServerId::from(*id)));
            server.map(|server| Response::json(200, &json!({ "metadata": server.seen.metadata })))
        }
        ("POST", ["servers", id, "metadata"]) => set_metadata(state, provider, &ServerId::from(*id), request),
        ("DELETE", ["servers", id, "metadata", key]) => delete_metadata(state, provider, &ServerId::from(*id), key),
        ("POST", ["servers", id, "action"]) => action(state, provider, &ServerId::from(*id), request, (minor, base)),
        ("GET", ["limits"]) => state.cloud(provider).map(|cloud| Response::json(200, &nova_json::limits(&cloud.quota(), minor))),
        ("GET", ["flavors", "detail"]) => state.cloud(provider).map(|cloud| {
            let flavors: Vec<Value> = cloud.flavors.iter().map(|flavor| nova_json::flavor(flavor, minor, base)).collect();
            Response::json(200, &json!({ "flavors": flavors }))
        }),
        _ => Err(Refusal::new(404, "The resource could not be found.")),
    };
    result.unwrap_or_else(|refusal| refused(&refusal))
}

/// Newest first, as Nova sorts.
fn list(state: &mut State, provider: &ProviderName, request: &Request, minor: Minor, base: &str) -> Result<Response, Refusal> {
    let cloud = &*state.cloud(provider)?;
    let mut servers: Vec<_> = cloud.servers.values().collect();
    servers.sort_by(|a, b| (b.seen.created, &b.seen.id).cmp(&(a.seen.created, &a.seen.id)));
    if let Some(name) = request.query_value("name") {
        servers.retain(|server| server.seen.name.contains(&name));
    }
    let limit = match request.query_value("limit").map(|text| text.parse::<usize>()) {
        Some(Ok(limit)) => limit.min(cloud.page),
        Some(Err(_)) => return Err(Refusal::new(400, "limit must be an integer")),
        None => cloud.page,
    };
    let from = match request.query_value("marker") {
        None => 0,
        Some(marker) => {
            let at = servers.iter().position(|server| server.seen.id.as_str() == marker);
            at.ok_or_else(|| Refusal::new(400, format!("marker [{marker}] not found")))? + 1
        }
    };
    let page: Vec<_> = servers.into_iter().skip(from).take(limit).collect();
    let shown: Vec<Value> = page.iter().map(|server| nova_json::server(cloud, server, minor, base, false)).collect();
    let mut body = json!({ "servers": shown });
    // A full page has a link, whether or not there is more.
    if let (Some(last), Some(fields)) = (page.last().filter(|_| page.len() == limit), body.as_object_mut()) {
        let mut query: Vec<String> = Vec::new();
        query.extend(
            request.raw_query().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("marker=")).map(str::to_owned),
        );
        query.push(format!("marker={}", last.seen.id));
        let href = format!("{base}/v2.1/servers/detail?{}", query.join("&"));
        fields.insert("servers_links".to_owned(), json!([{ "rel": "next", "href": href }]));
    }
    Ok(Response::json(200, &body))
}

fn show(state: &mut State, provider: &ProviderName, id: &str, minor: Minor, base: &str) -> Result<Response, Refusal> {
    let id = ServerId::from(id);
    let cloud = &*state.cloud(provider)?;
    let server = cloud.servers.get(&id).ok_or_else(|| crate::sandbox::cloud::gone(&id))?;
    Ok(Response::json(200, &json!({ "server": nova_json::server(cloud, server, minor, base, true) })))
}

fn create(state: &mut State, provider: &ProviderName, request: &Request, base: &str) -> Result<Response, Refusal> {
    let new = request.json().as_ref().and_then(new_server);
    let new = new.ok_or_else(|| Refusal::new(400, "Invalid input for field/attribute server."))?;
    let password = state.ids.hex(12);
    let id = state.create_server(provider, new)?;
    let server = state.cloud(provider)?.server(&id)?;
    let location = format!("{base}/v2.1/servers/{id}");
    let body = json!({ "server": {
        "id": id, "links": nova_json::links(base, "servers", id.as_str()), "OS-DCF:diskConfig": "MANUAL",
        "security_groups": nova_json::security_groups(server), "adminPass": password,
    } });
    Ok(Response::json(202, &body).with("Location", location))
}

fn new_server(body: &Value) -> Option<NewServer> {
    let server = body.get("server")?;
    let text = |name: &str| server.get(name).and_then(Value::as_str).map(str::to_owned);
    let list = |name: &str, field: &str| -> Vec<String> {
        let items = server.get(name).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|item| item.get(field)?.as_str().map(str::to_owned)).collect()
    };
    let metadata = server.get("metadata").and_then(Value::as_object).into_iter().flatten();
    let metadata: Option<BTreeMap<String, String>> =
        metadata.map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    Some(NewServer {
        name: text("name")?,
        image: text("imageRef")?,
        flavor: text("flavorRef")?,
        networks: list("networks", "uuid"),
        security_groups: list("security_groups", "name"),
        availability_zone: text("availability_zone"),
        key_name: text("key_name"),
        config_drive: server.get("config_drive").and_then(Value::as_bool).unwrap_or_default(),
        user_data: text("user_data").map(Into::into),
        metadata: metadata?,
    })
}

fn set_metadata(state: &mut State, provider: &ProviderName, id: &ServerId, request: &Request) -> Result<Response, Refusal> {
    let body = request.json().and_then(|body| body.get("metadata").cloned());
    let items: Option<BTreeMap<String, String>> = body.and_then(|items| serde_json::from_value(items).ok());
    let items = items.ok_or_else(|| Refusal::new(400, "Invalid input for field/attribute metadata."))?;
    let all = state.set_marks(provider, id, &items)?;
    Ok(Response::json(200, &json!({ "metadata": all })))
}

fn delete_metadata(state: &mut State, provider: &ProviderName, id: &ServerId, key: &str) -> Result<Response, Refusal> {
    state.clear_mark(provider, id, key)?;
    Ok(Response::empty(204).with("Content-Type", "application/json"))
}

/// An image of a server: its id in the body, or in a header before 2.45.
fn create_image(
    state: &mut State,
    provider: &ProviderName,
    id: &ServerId,
    asked: &Value,
    (minor, base): (Minor, &str),
) -> Result<Response, Refusal> {
    let name = asked.get("name").and_then(Value::as_str);
    let metadata: Option<BTreeMap<String, String>> =
        asked.get("metadata").map_or_else(|| Some(BTreeMap::new()), |items| serde_json::from_value(items.clone()).ok());
    let too_long = |metadata: &BTreeMap<String, String>| metadata.values().any(|value| value.chars().count() > MAX_VALUE);
    let (Some(name), Some(metadata)) = (name, metadata.filter(|metadata| !too_long(metadata))) else {
        return Err(Refusal::new(400, "Invalid input for field/attribute createImage."));
    };
    let image = state.create_image(provider, id, name, &metadata)?;
    if minor < 45 {
        let location = format!("{}/image/images/{image}", base.trim_end_matches("/compute"));
        return Ok(Response::text(202, "text/html; charset=UTF-8", "").with("Location", location));
    }
    Ok(Response::json(202, &json!({ "image_id": image })))
}

fn action(
    state: &mut State,
    provider: &ProviderName,
    id: &ServerId,
    request: &Request,
    version: (Minor, &str),
) -> Result<Response, Refusal> {
    let body = request.json().unwrap_or_default();
    let name = body.as_object().and_then(|fields| fields.keys().next()).cloned().unwrap_or_default();
    let now = state.clock.now();
    state.cloud(provider)?.server(id)?;
    match name.as_str() {
        "os-getConsoleOutput" => {
            let output = state.machines.get(id).map(|machine| machine.console(now)).unwrap_or_default();
            let wanted = body.pointer("/os-getConsoleOutput/length").and_then(Value::as_u64);
            let lines: Vec<&str> = output.lines().collect();
            let skipped = wanted.and_then(|wanted| usize::try_from(wanted).ok()).map_or(0, |n| lines.len().saturating_sub(n));
            let shown: Vec<&str> = lines.into_iter().skip(skipped).collect();
            Ok(Response::json(200, &json!({ "output": shown.join("\n") })))
        }
        "createImage" => create_image(state, provider, id, body.get("createImage").unwrap_or(&Value::Null), version),
        "lock" | "unlock" => {
            state.set_lock(provider, id, name == "lock")?;
            Ok(Response::empty(202))
        }
        _ => Err(Refusal::new(400, format!("There is no such action: {name}"))),
    }
}
