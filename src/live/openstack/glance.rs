//! The calls to Glance: our images, and those that are named by the desired state.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::auth::Service;
use super::fault::{self, CallError};
use super::nova_json::time;
use super::service::Session;
use crate::live::http::Request;
use crate::names::{ControllerId, ImageId};
use crate::observed::{Image, Mark};

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
    let mut filters = vec![format!("{}={}", Mark::Controller.key(), encoded(controller.as_str()))];
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

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
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
