//! Neutron v2.0: versions, networks, ports, floating IPs. The rules are `floating`'s.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::keystone;
use super::message::{Request, Response};
use crate::names::{FloatingIpId, ProviderName};
use crate::observed::Port;
use crate::sandbox::cloud::Cloud;
use crate::sandbox::floating::{CloudFloatingIp, NewFloatingIp};
use crate::sandbox::state::State;
use crate::sandbox::{Refusal, Sandbox};

pub(super) fn answer(sandbox: &Sandbox, provider: &ProviderName, request: &Request, path: &[&str], base: &str) -> Response {
    sandbox.with(|state| {
        let id = format!("req-{}", state.ids.uuid());
        let response = match (request.method.as_str(), path) {
            ("GET", []) => {
                let version = json!({ "id": "v2.0", "status": "CURRENT",
                                      "links": [{ "rel": "self", "href": format!("{base}/v2.0/") }] });
                return Response::json(200, &json!({ "versions": [version] }));
            }
            _ if !state.knows_token(provider, request.header("x-auth-token")) => keystone::unauthorized(base),
            (method, ["v2.0", rest @ ..]) => {
                routed(state, provider, request, (method, rest), base).unwrap_or_else(|refusal| refused(&refusal))
            }
            _ => refused(&not_found()),
        };
        response.with("X-Openstack-Request-Id", id)
    })
}

fn not_found() -> Refusal {
    Refusal::new(404, "The resource could not be found.")
}

/// `NeutronError` has the name of the exception, which clients tell one 404 from the other by.
fn refused(refusal: &Refusal) -> Response {
    let kind = match (refusal.status, refusal.said.split(' ').next().unwrap_or_default()) {
        (409, "Quota") => "OverQuota",
        (409, _) => "FloatingIPPortAlreadyAssociated",
        (404, "Floating") => "FloatingIPNotFound",
        (404, "Network") => "NetworkNotFound",
        (404, "Port") => "PortNotFound",
        (404, _) => "HTTPNotFound",
        _ => "BadRequest",
    };
    let error = json!({ "NeutronError": { "type": kind, "message": refusal.said, "detail": "" } });
    Response::json(refusal.status, &error)
}

fn routed(
    state: &mut State,
    provider: &ProviderName,
    request: &Request,
    (method, path): (&str, &[&str]),
    base: &str,
) -> Result<Response, Refusal> {
    match (method, path) {
        ("GET", ["networks"]) => Ok(networks(state.cloud(provider)?, request)),
        ("GET", ["ports"]) => {
            let cloud = state.cloud(provider)?;
            let server = request.query_value("device_id").unwrap_or_default();
            let ports: Vec<Value> = cloud.ports(&server).iter().map(|port| port_json(port, &server, &cloud.project_id)).collect();
            Ok(Response::json(200, &json!({ "ports": ports })))
        }
        ("GET", ["floatingips"]) => list(state.cloud(provider)?, request, base),
        ("POST", ["floatingips"]) => {
            let made = state.create_floating_ip(provider, new_floating_ip(request).ok_or_else(not_found)?)?;
            let shown = floating_ip_json(&made, state.cloud(provider)?);
            Ok(Response::json(201, &json!({ "floatingip": shown })))
        }
        ("GET", ["floatingips", id]) => {
            let cloud = state.cloud(provider)?;
            let gone = || Refusal::new(404, format!("Floating IP {id} could not be found"));
            let ip = cloud.floating_ips.get(*id).ok_or_else(gone)?;
            Ok(Response::json(200, &json!({ "floatingip": floating_ip_json(ip, cloud) })))
        }
        ("DELETE", ["floatingips", id]) => {
            state.delete_floating_ip(provider, &FloatingIpId::from(*id)).map(|()| Response::empty(204))
        }
        _ => Err(not_found()),
    }
}

fn networks(cloud: &Cloud, request: &Request) -> Response {
    let names: Vec<String> = request.query().into_iter().filter(|(key, _)| key == "name").map(|(_, value)| value).collect();
    let wanted = cloud.networks.iter().filter(|network| names.is_empty() || names.contains(&network.name));
    let shown: Vec<Value> = wanted
        .map(|network| network_json(network.id.as_str(), &network.name, &cloud.project_id, cloud.external.contains(&network.id)))
        .collect();
    Response::json(200, &json!({ "networks": shown }))
}

/// In pages of the cloud's size. Another project's are not shown.
fn list(cloud: &Cloud, request: &Request, base: &str) -> Result<Response, Refusal> {
    let ours = request.query_value("project_id").is_none_or(|project| project == cloud.project_id);
    let all: Vec<&CloudFloatingIp> = cloud.floating_ips.values().filter(|_| ours).collect();
    let from = match request.query_value("marker") {
        None => 0,
        Some(marker) => {
            let at = all.iter().position(|ip| ip.seen.id.as_str() == marker);
            at.ok_or_else(|| Refusal::new(400, format!("Invalid input for marker: {marker}")))? + 1
        }
    };
    let more = all.len() > from + cloud.page;
    let page: Vec<Value> = all.into_iter().skip(from).take(cloud.page).map(|ip| floating_ip_json(ip, cloud)).collect();
    let mut body = json!({ "floatingips": page });
    if let (true, Some(fields)) = (more, body.as_object_mut()) {
        let link = json!([{ "rel": "next", "href": format!("{base}/v2.0/floatingips") }]);
        fields.insert("floatingips_links".to_owned(), link);
    }
    Ok(Response::json(200, &body))
}

fn new_floating_ip(request: &Request) -> Option<NewFloatingIp> {
    let body = request.json()?;
    let text = |name: &str| body.pointer(&format!("/floatingip/{name}")).and_then(Value::as_str).map(str::to_owned);
    let (port, description) = (text("port_id"), text("description").unwrap_or_default());
    Some(NewFloatingIp { network: text("floating_network_id")?, port, description })
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn floating_ip_json(ip: &CloudFloatingIp, cloud: &Cloud) -> Value {
    let CloudFloatingIp { seen, network, created } = ip;
    let router = seen.port.as_ref().map(|_| "0b7fd1c0-9b6a-4f0e-9a63-2d8ef2b0c6a1");
    json!({
        "id": seen.id, "tenant_id": cloud.project_id, "floating_ip_address": seen.address, "floating_network_id": network,
        "router_id": router, "port_id": seen.port, "fixed_ip_address": seen.fixed,
        "status": if router.is_some() { "ACTIVE" } else { "DOWN" }, "project_id": cloud.project_id,
        "description": seen.description, "port_details": null, "tags": [], "created_at": time(*created),
        "updated_at": time(*created), "revision_number": 0,
    })
}

fn port_json(port: &Port, server: &str, project: &str) -> Value {
    let subnet = "62236cc5-951b-4570-85b2-8b80e871eb94";
    let fixed: Vec<Value> = port.fixed.iter().map(|address| json!({ "subnet_id": subnet, "ip_address": address })).collect();
    json!({
        "id": port.id, "name": "", "network_id": port.network, "tenant_id": project, "mac_address": "fa:16:3e:7c:d2:26",
        "admin_state_up": true, "status": "ACTIVE", "device_id": server, "device_owner": "compute:nova", "fixed_ips": fixed,
        "allowed_address_pairs": [], "extra_dhcp_opts": [], "security_groups": ["83da3395-d0bf-48ec-9936-45919a2b1518"],
        "description": "", "binding:vnic_type": "normal", "port_security_enabled": true, "tags": [],
        "created_at": "2026-11-22T07:10:35Z", "updated_at": "2026-11-22T07:10:36Z", "revision_number": 3, "project_id": project,
    })
}

fn network_json(id: &str, name: &str, project: &str, external: bool) -> Value {
    json!({
        "id": id, "name": name, "tenant_id": project, "admin_state_up": true, "mtu": 1500, "status": "ACTIVE",
        "subnets": ["62236cc5-951b-4570-85b2-8b80e871eb94"], "shared": true, "availability_zone_hints": [],
        "availability_zones": ["nova"], "ipv4_address_scope": null, "ipv6_address_scope": null, "router:external": external,
        "description": "", "port_security_enabled": true, "tags": [], "created_at": "2026-11-22T07:10:05Z",
        "updated_at": "2026-11-22T07:10:06Z", "revision_number": 2, "project_id": project,
    })
}
