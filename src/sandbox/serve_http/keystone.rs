//! Keystone v3: versions, tokens with a catalog.

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::message::{Request, Response};
use crate::names::ProviderName;
use crate::sandbox::Sandbox;
use crate::sandbox::state::State;

/// `base` is the provider's root.
pub(super) fn answer(sandbox: &Sandbox, provider: &ProviderName, request: &Request, path: &[&str], base: &str) -> Response {
    let response = sandbox.with(|state| match (request.method.as_str(), path) {
        ("GET", []) => Response::json(300, &json!({ "versions": { "values": [version(base)] } })),
        ("GET", ["v3"]) => Response::json(200, &json!({ "version": version(base) })),
        ("POST", ["v3", "auth", "tokens"]) => issue(state, provider, request, base),
        _ => Response::json(404, &error(404, "Not Found", "Could not find the requested resource.")),
    });
    let id = sandbox.with(|state| state.ids.uuid());
    response.with("Vary", "X-Auth-Token").with("x-openstack-request-id", format!("req-{id}"))
}

fn version(base: &str) -> Value {
    json!({
        "id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
        "links": [{ "rel": "self", "href": format!("{base}/identity/v3/") }],
        "media-types": [{ "base": "application/json", "type": "application/vnd.openstack.identity-v3+json" }],
    })
}

pub(super) fn error(code: u16, title: &str, message: &str) -> Value {
    json!({ "error": { "code": code, "message": message, "title": title } })
}

/// 401 of every service that asks Keystone.
pub(super) fn unauthorized(base: &str) -> Response {
    Response::json(401, &error(401, "Unauthorized", "The request you have made requires authentication."))
        .with("WWW-Authenticate", format!("Keystone uri=\"{base}\""))
}

/// Methods `password` and `application_credential`: either way the world's one password is the secret.
fn accepted(state: &State, provider: &ProviderName, body: &Value) -> Option<&'static str> {
    let cloud = state.clouds.get(provider)?;
    let identity = body.pointer("/auth/identity")?;
    let right = |secret: Option<&Value>| secret.and_then(Value::as_str) == Some(state.password.expose_secret());
    if let Some(credential) = identity.get("application_credential") {
        return right(credential.get("secret")).then_some("application_credential");
    }
    let user = identity.pointer("/password/user")?;
    let named = [user.get("name"), user.get("id")].into_iter().flatten().filter_map(Value::as_str);
    let user_fits = named.into_iter().any(|name| name == cloud.user || name == cloud.user_id);
    let project = body.pointer("/auth/scope/project")?;
    let named = [project.get("name"), project.get("id")].into_iter().flatten().filter_map(Value::as_str);
    let project_fits = named.into_iter().any(|name| name == cloud.project || name == cloud.project_id);
    (user_fits && project_fits && right(user.get("password"))).then_some("password")
}

fn issue(state: &mut State, provider: &ProviderName, request: &Request, base: &str) -> Response {
    let Some(body) = request.json() else {
        let message = "Expecting to find auth in request body. The server could not comply with the request since it is either malformed or otherwise incorrect.";
        return Response::json(400, &error(400, "Bad Request", message));
    };
    let Some(method) = accepted(state, provider, &body) else { return unauthorized(&format!("{base}/identity/v3")) };
    let (token, expires) = state.issue_token(provider);
    let (issued, audit) = (state.clock.now(), state.ids.hex(22));
    let ids: Vec<String> = (0..24).map(|_| state.ids.hex(32)).collect();
    let Some(cloud) = state.clouds.get(provider) else { return unauthorized(base) };
    let time = |at: jiff::Timestamp| at.strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
    let domain = json!({ "id": "default", "name": "Default" });
    let answer = json!({ "token": {
        "methods": [method],
        "user": { "domain": domain, "id": cloud.user_id, "name": cloud.user, "password_expires_at": null },
        "audit_ids": [audit],
        "expires_at": time(expires), "issued_at": time(issued),
        "project": { "domain": domain, "id": cloud.project_id, "name": cloud.project },
        "is_domain": false,
        "roles": [{ "id": "9a55af7bcb8b4fc29f0aff30e0476c33", "name": "reader" },
                  { "id": "e2cdaf77e8da466e92d977303882134b", "name": "member" }],
        "catalog": catalog(base, &ids),
    } });
    Response::json(201, &answer).with("X-Subject-Token", token.expose_secret())
}

fn catalog(base: &str, ids: &[String]) -> Value {
    let services = [
        ("image", "glance", format!("{base}/image")),
        ("identity", "keystone", format!("{base}/identity/v3")),
        ("compute", "nova", format!("{base}/compute/v2.1")),
        ("network", "neutron", format!("{base}/network")),
    ];
    let mut ids = ids.iter();
    let mut id = || ids.next().cloned().unwrap_or_default();
    let entry = |(kind, name, url): (&str, &str, String)| {
        let endpoints: Vec<Value> = ["public", "admin", "internal"]
            .iter()
            .map(|interface| {
                json!({ "id": id(), "interface": interface, "region_id": "RegionOne", "url": url, "region": "RegionOne" })
            })
            .collect();
        json!({ "endpoints": endpoints, "id": id(), "type": kind, "name": name })
    };
    services.map(entry).into_iter().collect()
}
