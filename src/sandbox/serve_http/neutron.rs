//! Neutron v2.0: versions, networks.

use serde_json::{Value, json};

use super::keystone;
use super::message::{Request, Response};
use crate::names::ProviderName;
use crate::sandbox::Sandbox;

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
            ("GET", ["v2.0", "networks"]) => {
                let names: Vec<String> =
                    request.query().into_iter().filter(|(key, _)| key == "name").map(|(_, value)| value).collect();
                let networks = state.clouds.get(provider).into_iter().flat_map(|cloud| {
                    cloud.networks.iter().map(|network| network_json(network.id.as_str(), &network.name, &cloud.project_id))
                });
                let wanted = |network: &Value| {
                    names.is_empty() || names.iter().any(|name| network.get("name").and_then(Value::as_str) == Some(name))
                };
                Response::json(200, &json!({ "networks": networks.filter(wanted).collect::<Vec<Value>>() }))
            }
            _ => {
                let message = "The resource could not be found.";
                Response::json(404, &json!({ "NeutronError": { "type": "HTTPNotFound", "message": message, "detail": "" } }))
            }
        };
        response.with("X-Openstack-Request-Id", id)
    })
}

fn network_json(id: &str, name: &str, project: &str) -> Value {
    json!({
        "id": id, "name": name, "tenant_id": project, "admin_state_up": true, "mtu": 1500, "status": "ACTIVE",
        "subnets": ["62236cc5-951b-4570-85b2-8b80e871eb94"], "shared": true, "availability_zone_hints": [],
        "availability_zones": ["nova"], "ipv4_address_scope": null, "ipv6_address_scope": null, "router:external": false,
        "description": "", "port_security_enabled": true, "tags": [], "created_at": "2026-11-22T07:10:05Z",
        "updated_at": "2026-11-22T07:10:06Z", "revision_number": 2, "project_id": project,
    })
}
