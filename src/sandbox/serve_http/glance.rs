//! Glance v2: versions, the list with filters and pages, one image.

use serde_json::{Value, json};

use super::message::{Request, Response};
use crate::names::ProviderName;
use crate::observed::Image;
use crate::sandbox::Sandbox;
use crate::sandbox::state::State;

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
            _ => fault(404, "Not Found", "The resource could not be found.<br /><br />\n\n\n"),
        };
        response.with("X-Openstack-Request-Id", id)
    })
}

const NO_TOKEN: &str = "This server could not verify that you are authorized to access the document you requested. Either you supplied the wrong credentials (e.g., bad password), or your browser does not understand how to supply the credentials required.<br /><br />\n\n\n";

fn fault(status: u16, title: &str, message: &str) -> Response {
    Response::json(status, &json!({ "message": message, "code": format!("{status} {title}"), "title": title }))
}

fn show(state: &mut State, provider: &ProviderName, id: &str) -> Response {
    let image = state.clouds.get(provider).and_then(|cloud| cloud.images.iter().find(|image| image.id.as_str() == id));
    match image {
        Some(image) => Response::json(200, &image_json(image)),
        None => fault(404, "Not Found", &format!("No image found with ID {id}<br /><br />\n\n\n")),
    }
}

fn list(state: &mut State, provider: &ProviderName, request: &Request) -> Response {
    let query = request.query();
    let mut images: Vec<&Image> = state.clouds.get(provider).into_iter().flat_map(|cloud| &cloud.images).collect();
    images.sort_by(|a, b| (b.created, &b.id).cmp(&(a.created, &a.id)));
    images.retain(|image| query.iter().all(|(key, value)| fits(image, key, value)));
    let number = |name: &str| request.query_value(name).and_then(|text| text.parse::<usize>().ok());
    let limit = number("limit").unwrap_or(PAGE);
    let from = match request.query_value("marker") {
        None => 0,
        Some(marker) => match images.iter().position(|image| image.id.as_str() == marker) {
            Some(at) => at + 1,
            None => return fault(400, "Bad Request", &format!("Marker {marker} could not be found")),
        },
    };
    let more = images.len() > from + limit;
    let page: Vec<&Image> = images.into_iter().skip(from).take(limit).collect();
    let raw: Vec<&str> = request.raw_query().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("marker=")).collect();
    let path = |marker: Option<&str>| {
        let marker = marker.map(|id| format!("marker={id}"));
        let pairs: Vec<&str> = raw.iter().copied().chain(marker.as_deref()).collect();
        if pairs.is_empty() { "/v2/images".to_owned() } else { format!("/v2/images?{}", pairs.join("&")) }
    };
    let shown: Vec<Value> = page.iter().map(|image| image_json(image)).collect();
    let mut body = json!({ "images": shown, "first": path(None), "schema": "/v2/schemas/images" });
    if let (true, Some(last), Some(fields)) = (more, page.last(), body.as_object_mut()) {
        fields.insert("next".to_owned(), path(Some(last.id.as_str())).into());
    }
    Response::json(200, &body)
}

/// Filters are joined by and; `in:` has a list of names, quoted or not.
fn fits(image: &Image, key: &str, value: &str) -> bool {
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

fn image_json(image: &Image) -> Value {
    let time = image.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let file = format!("/v2/images/{}", image.id);
    let mut fields = json!({
        "name": image.name, "disk_format": "raw", "container_format": "bare", "visibility": "private", "size": image.size,
        "virtual_size": image.size, "status": image.status, "checksum": "fcd6bcb56c1689fcef28b57c22475bad",
        "protected": image.protected, "min_ram": 0, "min_disk": 0, "owner": image.owner, "os_hidden": false,
        "os_hash_algo": "sha512", "os_hash_value": "73e4153936dab198397b74ee9efc2609", "id": image.id, "created_at": time,
        "updated_at": time, "tags": [], "self": file, "file": format!("{file}/file"), "schema": "/v2/schemas/image",
    });
    if let Some(fields) = fields.as_object_mut() {
        fields.extend(image.properties.iter().map(|(key, value)| (key.clone(), value.clone().into())));
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
