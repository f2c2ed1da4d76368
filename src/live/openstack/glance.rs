//! The calls to Glance: our images, those that are named by the desired state, and changes of one.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::auth::Service;
use super::fault::{self, CallError};
use super::nova_json::time;
use super::service::Session;
use crate::live::http::{Method, Request, Response};
use crate::names::{ControllerId, ImageId, is_uuid};
use crate::observed::{Image, ImageMark};
use crate::world::Done;

/// Glance's own default maximum (`api_limit_max`); without a limit a page has 25.
const PAGE: usize = 1000;

/// More pages than this are a loop.
const MAX_PAGES: usize = 1000;

/// Properties of ours begin so.
const OURS: &str = "poolkeeper_";

#[derive(Deserialize)]
struct ImagesAnswer {
    images: Vec<ImageBody>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct ImageBody {
    id: String,
    /// Null for one that was made without a name.
    name: Option<String>,
    status: String,
    created_at: String,
    owner: Option<String>,
    #[serde(default)]
    protected: bool,
    size: Option<u64>,
    /// Properties stand among the fields.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The images that carry our controller's id, and those of these names or ids; each once, by id. One call for ours, one
/// for all names, one more only when there are ids.
pub(super) fn images(session: &Session, names: &[&str], controller: &ControllerId) -> Result<Vec<Image>, CallError> {
    let mut found = BTreeMap::new();
    for filter in filters(names, controller) {
        for image in list(session, &filter)? {
            found.insert(image.id.clone(), image);
        }
    }
    Ok(found.into_values().collect())
}

/// Glance's filters are joined by and, so that each set of images is a call of its own.
fn filters(names: &[&str], controller: &ControllerId) -> Vec<String> {
    let mut filters = vec![format!("{}={}", ImageMark::Controller.key(), encoded(controller.as_str()))];
    filters.extend(named_filters(names));
    filters
}

fn named_filters(names: &[&str]) -> Vec<String> {
    let mut filters = Vec::new();
    // Glance keeps the backslash of a quoted `"`: such a name can only be asked for alone (glance/common/utils.py,
    // `split_filter_value_for_quotes`).
    let (odd, plain): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.contains(['"', '\\']));
    let is_id = |name: &&str| is_uuid(name);
    let quoted = |names: &[&str]| {
        let list: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        encoded(&list.join(","))
    };
    if !plain.is_empty() {
        filters.push(format!("name=in:{}", quoted(&plain)));
    }
    let ids: Vec<&str> = plain.iter().copied().filter(is_id).collect();
    if !ids.is_empty() {
        filters.push(format!("id=in:{}", quoted(&ids)));
    }
    filters.extend(odd.iter().map(|name| format!("name=eq:{}", encoded(name))));
    filters
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn list(session: &Session, filter: &str) -> Result<Vec<Image>, CallError> {
    let mut images = Vec::new();
    let mut seen = BTreeSet::new();
    let mut path = format!("/images?{filter}&limit={PAGE}");
    for _ in 0..MAX_PAGES {
        let (tried, response) = session.call(Service::Image, &path, Request::get)?;
        if !response.is_success() {
            return Err(fault::refused(&tried, &response));
        }
        let unreadable = |said: String| fault::unreadable(&tried, &response, &said);
        let answer: ImagesAnswer = response.json().map_err(|said| fault::foreign(&tried, &response, &said))?;
        for body in answer.images {
            images.push(image(body).map_err(unreadable)?);
        }
        match answer.next {
            Some(next) if !seen.insert(next.clone()) => return Err(unreadable("the list turns in a circle".to_owned())),
            // `/v2/images?...&marker=...`: our URL has the version already.
            Some(next) => path = next.split_once("/images").map_or(next.clone(), |(_, rest)| format!("/images{rest}")),
            None => return Ok(images),
        }
    }
    Err(fault::setup("GET /images", format!("the list has no end: {MAX_PAGES} pages")))
}

/// Images of a name or an id, whatever their status.
pub(super) fn named(session: &Session, name: &str) -> Result<Vec<Image>, CallError> {
    let mut images = Vec::new();
    for filter in named_filters(&[name]) {
        images.extend(list(session, &filter)?);
    }
    Ok(images)
}

pub(super) fn with_property(session: &Session, key: &str, value: &str) -> Result<Vec<Image>, CallError> {
    list(session, &format!("{key}={}", encoded(value)))
}

/// One image as it is now; none: Glance says that it is not there.
pub(super) fn one(session: &Session, id: &ImageId) -> Result<Option<Image>, CallError> {
    let (tried, response) = session.call(Service::Image, &format!("/images/{id}"), Request::get)?;
    if is_gone(&response, id) {
        return Ok(None);
    }
    read(&tried, &response).map(Some)
}

pub(super) fn read(tried: &str, response: &Response) -> Result<Image, CallError> {
    if !response.is_success() {
        return Err(fault::refused(tried, response));
    }
    let body: ImageBody = response.json().map_err(|said| fault::foreign(tried, response, &said))?;
    image(body).map_err(|said| fault::unreadable(tried, response, &said))
}

/// Glance itself says that this image is not there: in JSON, or on a page of HTML before Rocky. A proxy's 404 names no image.
fn is_gone(response: &Response, id: &ImageId) -> bool {
    let said = response.text();
    let words = [format!("No image found with ID {id}"), format!("Failed to find image {id}")];
    response.status == 404 && words.iter().any(|words| said.contains(words.as_str()))
}

/// One request for all of them, read back: Glance takes all or none, and answers with what it saved.
pub(super) fn mark(session: &Session, id: &ImageId, marks: &BTreeMap<ImageMark, String>) -> Result<Done, CallError> {
    // `add` takes a property that is there, too.
    let changes = marks.iter().map(|(mark, value)| json!({"op": "add", "path": format!("/{mark}"), "value": value}));
    let (tried, response) = patch(session, id, &changes.collect())?;
    let saved = read(&tried, &response)?.properties;
    match marks.iter().find(|(mark, value)| saved.get(mark.key()) != Some(value)) {
        Some((mark, _)) => Err(fault::unreadable(&tried, &response, &format!("{mark} is not in what Glance saved"))),
        None => Ok(Done::Done),
    }
}

pub(super) fn protect(session: &Session, id: &ImageId, protected: bool) -> Result<Done, CallError> {
    let changes = json!([{"op": "replace", "path": "/protected", "value": protected}]);
    let (tried, response) = patch(session, id, &changes)?;
    read(&tried, &response).map(|_| Done::Done)
}

pub(super) fn rename(session: &Session, id: &ImageId, name: &str) -> Result<Done, CallError> {
    let changes = json!([{"op": "replace", "path": "/name", "value": name}]);
    let (tried, response) = patch(session, id, &changes)?;
    read(&tried, &response).map(|_| Done::Done)
}

/// Twice is as good as once.
fn patch(session: &Session, id: &ImageId, changes: &Value) -> Result<(String, Response), CallError> {
    let body = changes.to_string().into_bytes();
    let ask = |url| Request::new(Method::Patch, url).bytes(JSON_PATCH, body.clone()).idempotent();
    session.call(Service::Image, &format!("/images/{id}"), ask)
}

/// Operations as objects with `op`, `path` and `value`.
const JSON_PATCH: &str = "application/openstack-images-v2.1-json-patch";

pub(super) fn delete(session: &Session, id: &ImageId) -> Result<Done, CallError> {
    let (tried, response) = session.call(Service::Image, &format!("/images/{id}"), |url| Request::delete(url).idempotent())?;
    if is_gone(&response, id) {
        return Ok(Done::Already);
    }
    if response.is_success() { Ok(Done::Done) } else { Err(fault::refused(&tried, &response)) }
}

fn image(body: ImageBody) -> Result<Image, String> {
    let ours = body.rest.into_iter().filter(|(key, _)| key.starts_with(OURS));
    let properties = ours.filter_map(|(key, value)| value.as_str().map(|text| (key, text.to_owned())));
    Ok(Image {
        created: time(&body.created_at)?,
        properties: properties.collect(),
        id: ImageId::new(body.id),
        name: body.name.unwrap_or_default(),
        status: body.status,
        owner: body.owner,
        protected: body.protected,
        size: body.size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_for_ours_one_for_names_one_for_ids() {
        let controller = ControllerId::from("contint");
        assert_eq!(filters(&[], &controller), ["poolkeeper_controller=contint"]);
        let id = "20a86b39-fb6f-4429-9d79-e8a0ff8af973";
        let all = filters(&["image ci, jessie", id, "a\"b"], &controller);
        assert_eq!(all.len(), 4);
        assert_eq!(all[1], "name=in:%22image%20ci%2C%20jessie%22%2C%2220a86b39%2Dfb6f%2D4429%2D9d79%2De8a0ff8af973%22");
        assert_eq!(all[2], "id=in:%2220a86b39%2Dfb6f%2D4429%2D9d79%2De8a0ff8af973%22");
        assert_eq!(all[3], "name=eq:a%22b");
    }
}
