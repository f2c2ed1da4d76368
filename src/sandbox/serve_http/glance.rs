//! Glance v2: versions, the list with filters and pages, one image, its changes and its deletion. The rules are `images`'.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::message::{Request, Response};
use crate::names::{ImageId, ProviderName};
use crate::publish::Digests;
use crate::sandbox::images::{CloudImage, ImageChange, no_image};
use crate::sandbox::state::State;
use crate::sandbox::{Refusal, Sandbox};

/// Glance's own default page, when no limit is asked for.
const PAGE: usize = 25;

/// Parameters that are no filters.
const NO_FILTERS: [&str; 5] = ["limit", "marker", "sort", "sort_key", "sort_dir"];

pub(super) fn answer(sandbox: &Sandbox, provider: &ProviderName, request: &Request, path: &[&str], base: &str) -> Response {
    sandbox.with(|state| {
        let id = format!("req-{}", state.ids.uuid());
        let response = match (request.method.as_str(), path) {
            ("GET", []) => {
                let version = json!({ "id": "v2.16", "status": "CURRENT",
                                      "links": [{ "rel": "self", "href": format!("{base}/v2/") }] });
                return Response::json(300, &json!({ "versions": [version] }));
            }
            _ if !state.knows_token(provider, request.header("x-auth-token")) => {
                return fault(401, "Unauthorized", NO_TOKEN).with("WWW-Authenticate", format!("Keystone uri=\"{base}\""));
            }
            ("GET", ["v2", "images"]) => list(state, provider, request),
            ("GET", ["v2", "images", id]) => show(state, provider, id),
            ("POST", ["v2", "images"]) => create(state, provider, request).unwrap_or_else(|refusal| refused(&refusal)),
            ("PUT", ["v2", "images", id, "file"]) => {
                let stored = request.take_stored().ok_or_else(|| Refusal::new(400, "Data is missing"));
                let ended = stored.and_then(|stored| state.end_upload(provider, &ImageId::from(*id), stored));
                ended.map_or_else(|refusal| refused(&refusal), |()| Response::empty(204))
            }
            ("GET", ["v2", "images", id, "file"]) => file(state, provider, id),
            ("PATCH", ["v2", "images", id]) => {
                patch(state, provider, &ImageId::from(*id), request).unwrap_or_else(|refusal| refused(&refusal))
            }
            ("DELETE", ["v2", "images", id]) => {
                let deleted = state.delete_image(provider, &ImageId::from(*id));
                deleted.map_or_else(|refusal| refused(&refusal), |()| Response::empty(204))
            }
            _ => fault(404, "Not Found", "The resource could not be found.<br /><br />\n\n\n"),
        };
        response.with("X-Openstack-Request-Id", id)
    })
}

const NO_TOKEN: &str = "This server could not verify that you are authorized to access the document you requested. Either you supplied the wrong credentials (e.g., bad password), or your browser does not understand how to supply the credentials required.<br /><br />\n\n\n";

fn fault(status: u16, title: &str, message: &str) -> Response {
    Response::json(status, &json!({ "message": message, "code": format!("{status} {title}"), "title": title }))
}

/// As Glance's framework renders it: the words in markup, a line break at their end.
fn refused(refusal: &Refusal) -> Response {
    let title = match refusal.status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        _ => "Internal Server Error",
    };
    fault(refusal.status, title, &format!("{}<br /><br />\n\n\n", refusal.said))
}

fn show(state: &mut State, provider: &ProviderName, id: &str) -> Response {
    match state.clouds.get(provider).and_then(|cloud| cloud.image(id)) {
        Some(image) => Response::json(200, &image_json(image)),
        None => refused(&no_image(id)),
    }
}

/// 204 for an image without data.
fn file(state: &mut State, provider: &ProviderName, id: &str) -> Response {
    let Some(image) = state.clouds.get(provider).and_then(|cloud| cloud.image(id)) else { return refused(&no_image(id)) };
    image.data.as_ref().map_or_else(|| Response::empty(204), |stored| Response::file(Arc::clone(stored)))
}

/// What is no field of Glance's own is a property.
fn create(state: &mut State, provider: &ProviderName, request: &Request) -> Result<Response, Refusal> {
    let broken = || Refusal::new(400, "Provided object does not match schema 'image'");
    let body = request.json().and_then(|body| body.as_object().cloned()).ok_or_else(broken)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let own = ["name", "disk_format", "container_format", "min_disk", "min_ram", "visibility", "protected", "tags"];
    let properties = body.iter().filter(|(key, _)| !own.contains(&key.as_str()));
    let properties: Option<BTreeMap<String, String>> =
        properties.map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    let least = |name: &str| body.get(name).and_then(Value::as_u64).unwrap_or_default();
    let least = (least("min_disk"), least("min_ram"));
    let name = text("name").unwrap_or_default();
    let image = state.new_image(provider, &name, text("disk_format"), least, properties.ok_or_else(broken)?)?;
    Ok(Response::json(201, &image_json(image)))
}

const PATCH: &str = "application/openstack-images-v2.1-json-patch";

/// `add` takes a property that is there, too; `replace` only one that is.
fn patch(state: &mut State, provider: &ProviderName, id: &ImageId, request: &Request) -> Result<Response, Refusal> {
    if request.header("content-type") != Some(PATCH) {
        return Err(Refusal::new(415, format!("Unsupported Content-Type, {PATCH} expected")));
    }
    let broken = || Refusal::new(400, "Request body must be a JSON array of operation objects.");
    let operations = request.json().and_then(|body| body.as_array().cloned()).ok_or_else(broken)?;
    let image = state.cloud(provider)?.image(id.as_str()).ok_or_else(|| no_image(id.as_str()))?;
    let mut changes = Vec::new();
    for operation in &operations {
        let text = |name: &str| operation.get(name).and_then(Value::as_str).ok_or_else(broken);
        let (op, path) = (text("op")?, text("path")?);
        let key = path.strip_prefix('/').filter(|key| !key.contains('/')).ok_or_else(broken)?;
        let value = operation.get("value").ok_or_else(broken)?;
        changes.push(match (op, key, value) {
            ("add" | "replace", "name", Value::String(name)) => ImageChange::Name(name.clone()),
            ("add" | "replace", "protected", Value::Bool(protected)) => ImageChange::Protected(*protected),
            (_, "id" | "status" | "checksum" | "size" | "created_at" | "updated_at", _) => {
                return Err(Refusal::new(403, format!("Attribute '{key}' is read-only.")));
            }
            ("replace", key, Value::String(_)) if !image.seen.properties.contains_key(key) => {
                return Err(Refusal::new(409, format!("Property {key} does not exist.")));
            }
            ("add" | "replace", key, Value::String(value)) => ImageChange::Property(key.to_owned(), value.clone()),
            _ => return Err(broken()),
        });
    }
    Ok(Response::json(200, &image_json(&state.change_image(provider, id, &changes)?)))
}

fn list(state: &mut State, provider: &ProviderName, request: &Request) -> Response {
    let query = request.query();
    let mut images: Vec<&CloudImage> = state.clouds.get(provider).into_iter().flat_map(|cloud| &cloud.images).collect();
    images.sort_by(|a, b| (b.seen.created, &b.seen.id).cmp(&(a.seen.created, &a.seen.id)));
    images.retain(|image| query.iter().all(|(key, value)| fits(image, key, value)));
    let number = |name: &str| request.query_value(name).and_then(|text| text.parse::<usize>().ok());
    let limit = number("limit").unwrap_or(PAGE);
    let from = match request.query_value("marker") {
        None => 0,
        Some(marker) => match images.iter().position(|image| image.seen.id.as_str() == marker) {
            Some(at) => at + 1,
            None => return fault(400, "Bad Request", &format!("Marker {marker} could not be found")),
        },
    };
    let more = images.len() > from + limit;
    let page: Vec<&CloudImage> = images.into_iter().skip(from).take(limit).collect();
    let raw: Vec<&str> = request.raw_query().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("marker=")).collect();
    let path = |marker: Option<&str>| {
        let marker = marker.map(|id| format!("marker={id}"));
        let pairs: Vec<&str> = raw.iter().copied().chain(marker.as_deref()).collect();
        if pairs.is_empty() { "/v2/images".to_owned() } else { format!("/v2/images?{}", pairs.join("&")) }
    };
    let shown: Vec<Value> = page.iter().map(|image| image_json(image)).collect();
    let mut body = json!({ "images": shown, "first": path(None), "schema": "/v2/schemas/images" });
    if let (true, Some(last), Some(fields)) = (more, page.last(), body.as_object_mut()) {
        fields.insert("next".to_owned(), path(Some(last.seen.id.as_str())).into());
    }
    Response::json(200, &body)
}

/// Filters are joined by and; `in:` has a list of names, quoted or not.
fn fits(image: &CloudImage, key: &str, value: &str) -> bool {
    let image = &image.seen;
    if NO_FILTERS.contains(&key) {
        return true;
    }
    let has = match key {
        "name" => Some(image.name.as_str()),
        "id" => Some(image.id.as_str()),
        "status" => Some(image.status.as_str()),
        "owner" => image.owner.as_deref(),
        "visibility" => Some("private"),
        property => image.properties.get(property).map(String::as_str),
    };
    match value.strip_prefix("in:") {
        Some(list) => has.is_some_and(|has| split_list(list).iter().any(|one| one == has)),
        None => has == Some(value.strip_prefix("eq:").unwrap_or(value)),
    }
}

/// `a,"b,c"` is `a` and `b,c`.
fn split_list(list: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut quoted = false;
    for character in list.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => items.push(String::new()),
            other => items.last_mut().into_iter().for_each(|item| item.push(other)),
        }
    }
    items
}

fn image_json(image: &CloudImage) -> Value {
    let time = |at: jiff::Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let CloudImage { seen, disk_format, .. } = image;
    let file = format!("/v2/images/{}", seen.id);
    // What Glance knows of data that has come.
    let whole = |value: &str| seen.size.map(|_| value.to_owned());
    let stored = |digest: fn(&Digests) -> &String| image.data.as_ref().map(|stored| digest(&stored.digests).clone());
    let checksum = stored(|digests| &digests.md5).or_else(|| whole("fcd6bcb56c1689fcef28b57c22475bad"));
    let hash = stored(|digests| &digests.sha512).or_else(|| whole("73e4153936dab198397b74ee9efc2609"));
    let mut fields = json!({
        "name": seen.name, "disk_format": disk_format, "container_format": disk_format.as_ref().map(|_| "bare"), "visibility": "private",
        "size": seen.size, "virtual_size": seen.size, "status": seen.status,
        "checksum": checksum, "protected": seen.protected, "min_ram": image.min_ram,
        "min_disk": image.min_disk, "owner": seen.owner, "os_hidden": false, "os_hash_algo": whole("sha512"),
        "os_hash_value": hash, "id": seen.id, "created_at": time(seen.created),
        "updated_at": time(image.updated), "tags": [], "self": file, "file": format!("{file}/file"),
        "schema": "/v2/schemas/image",
    });
    if let Some(fields) = fields.as_object_mut() {
        fields.extend(seen.properties.iter().map(|(key, value)| (key.clone(), value.clone().into())));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_outside_quotes() {
        assert_eq!(split_list("a,\"b,c\""), ["a", "b,c"]);
        assert_eq!(split_list("\"x\""), ["x"]);
    }
}
