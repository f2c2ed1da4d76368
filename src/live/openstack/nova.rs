//! The calls to Nova: servers, their marks, flavors, limits, console logs. Shapes of answers are `nova_json`'s.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::Service;
use super::fault::{self, CallError};
use super::nova_json::{FlavorBody, LimitsAnswer, Link, ServerAnswer, ServersAnswer, Texts, absolute, has_next};
use super::service::{Session, speaks};
use crate::live::http::{Request, Response};
use crate::names::{FlavorId, ServerId};
use crate::observed::{Flavor, Mark, Quota, Server};
use crate::plan::{CreateImage, CreateServer};
use crate::world::Done;

/// Nova's own default maximum (`[api] max_limit`): a list of up to this many servers is one call.
const PAGE: usize = 1000;

/// No project has a million servers: more pages than this are a loop.
const MAX_PAGES: usize = 1000;

/// Lines of a console log. cloud-init prints host keys last, and a kernel's panic fits.
const CONSOLE_LINES: u32 = 200;

/// From this one on `networks` must be given, and `auto` is the word for Nova's own choice.
const NETWORKS_REQUIRED: u32 = 37;

#[derive(Deserialize)]
struct FlavorsAnswer {
    flavors: Vec<FlavorBody>,
    #[serde(default)]
    flavors_links: Vec<Link>,
}

/// A page's items, and whether there is a next one.
type Page<T> = (Vec<T>, bool);

/// Every server of the project.
pub(super) fn servers(session: &Session) -> Result<Vec<Server>, CallError> {
    let read = |tried: &str, response: &Response| {
        let answer: ServersAnswer = json_of(tried, response)?;
        answer.read().map_err(|said| fault::unreadable(tried, response, &said))
    };
    pages(session, "/servers/detail", read, |server| server.id.as_str())
}

/// All flavors that the project may use.
pub(super) fn flavors(session: &Session) -> Result<Vec<Flavor>, CallError> {
    let read = |tried: &str, response: &Response| {
        let answer: FlavorsAnswer = json_of(tried, response)?;
        let flavor = |body: FlavorBody| Flavor { id: FlavorId::new(body.id), name: body.name, vcpus: body.vcpus, ram: body.ram };
        Ok((answer.flavors.into_iter().map(flavor).collect(), has_next(&answer.flavors_links)))
    };
    pages(session, "/flavors/detail", read, |flavor| flavor.id.as_str())
}

/// All pages. The next one's URL is made here, by marker: the `href` that Nova gives has the scheme and the host that Nova
/// thinks it has, which is not always where we reach it.
fn pages<T>(
    session: &Session,
    path: &str,
    read: impl Fn(&str, &Response) -> Result<Page<T>, CallError>,
    id: impl Fn(&T) -> &str,
) -> Result<Vec<T>, CallError> {
    let mut all: Vec<T> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut next = format!("{path}?limit={PAGE}");
    for _ in 0..MAX_PAGES {
        let (tried, response) = session.call(Service::Compute, &next, Request::get)?;
        success(&tried, &response)?;
        let (items, more) = read(&tried, &response)?;
        let marker = items.last().map(|item| id(item).to_owned());
        let before = all.len();
        // One that two pages show, because others came between them, is one.
        all.extend(items.into_iter().filter(|item| seen.insert(id(item).to_owned())));
        if marker.is_some() && all.len() == before {
            return Err(fault::unreadable(&tried, &response, "the list turns in a circle: a page with nothing new"));
        }
        match marker {
            Some(marker) if more => next = format!("{path}?limit={PAGE}&marker={marker}"),
            Some(_) | None => return Ok(all),
        }
    }
    Err(fault::setup(path, format!("the list has no end: {MAX_PAGES} pages")))
}

fn success(tried: &str, response: &Response) -> Result<(), CallError> {
    if response.is_success() { Ok(()) } else { Err(fault::refused(tried, response)) }
}

fn json_of<'b, T: Deserialize<'b>>(tried: &str, response: &'b Response) -> Result<T, CallError> {
    response.json().map_err(|said| fault::foreign(tried, response, &said))
}

/// Nova itself says that the server (or the key of its metadata) is not there. A proxy's 404 says nothing of a server, nor
/// does Nova's `The resource could not be found` for a URL that it does not know.
fn is_gone(response: &Response) -> bool {
    let said = || {
        let body: Value = serde_json::from_slice(&response.body).ok()?;
        body.pointer("/itemNotFound/message")?
            .as_str()
            .map(|said| said.starts_with("Instance") || said.starts_with("Metadata item"))
    };
    response.status == 404 && said() == Some(true)
}

/// One server as it is now; none: it is not there.
pub(super) fn server(session: &Session, id: &ServerId) -> Result<Option<Server>, CallError> {
    let (tried, response) = session.call(Service::Compute, &format!("/servers/{id}"), Request::get)?;
    if is_gone(&response) {
        return Ok(None);
    }
    success(&tried, &response)?;
    let answer: ServerAnswer<'_> = json_of(&tried, &response)?;
    if answer.server.is_unseen() {
        let said = "it is in a cell that is down: Nova does not show its marks";
        return Err(fault::unreadable(&tried, &response, said));
    }
    answer.server.into_server(&mut Texts::default()).map(Some).map_err(|said| fault::unreadable(&tried, &response, &said))
}

/// The end of the console log. Empty while the server has none yet.
pub(super) fn console(session: &Session, id: &ServerId) -> Result<String, CallError> {
    let ask = |url| Request::post(url).json(json!({"os-getConsoleOutput": {"length": CONSOLE_LINES}})).idempotent();
    let (tried, response) = session.call(Service::Compute, &format!("/servers/{id}/action"), ask)?;
    if response.status == 409 {
        return Ok(String::new());
    }
    success(&tried, &response)?;
    let answer: Value = json_of(&tried, &response)?;
    Ok(answer.get("output").and_then(Value::as_str).unwrap_or_default().to_owned())
}

pub(super) fn limits(session: &Session) -> Result<Quota, CallError> {
    let (tried, response) = session.call(Service::Compute, "/limits", Request::get)?;
    success(&tried, &response)?;
    let answer: LimitsAnswer = json_of(&tried, &response)?;
    Ok(absolute(&answer.limits.absolute))
}

/// Never retried blindly: Nova has no idempotency key, and what was accepted without an answer is found by its marks.
pub(super) fn create(session: &Session, wanted: &CreateServer) -> Result<Done, CallError> {
    let microversion = session.microversion()?;
    let body = create_body(wanted, speaks(microversion.as_deref(), NETWORKS_REQUIRED));
    let (tried, response) = session.call(Service::Compute, "/servers", |url| Request::post(url).json(body.clone()))?;
    success(&tried, &response)?;
    let answer: Value = json_of(&tried, &response)?;
    let id = answer.pointer("/server/id").and_then(Value::as_str);
    let id = id.ok_or_else(|| fault::unreadable(&tried, &response, "an answer without the server's id"))?;
    Ok(Done::Accepted(ServerId::from(id)))
}

fn create_body(wanted: &CreateServer, networks_required: bool) -> Value {
    let CreateServer {
        provider: _,
        purpose: _,
        name,
        image,
        image_name: _,
        image_age: _,
        flavor,
        flavor_name: _,
        networks,
        security_groups,
        availability_zone,
        key_name,
        config_drive,
        user_data,
        marks,
    } = wanted;
    let mut server = json!({
        "name": name.as_str(),
        "imageRef": image.as_str(),
        "flavorRef": flavor.as_str(),
        "config_drive": config_drive,
        "metadata": metadata(marks),
    });
    let mut set = |key: &str, value: Value| {
        if let Some(server) = server.as_object_mut() {
            server.insert(key.to_owned(), value);
        }
    };
    if !networks.is_empty() {
        set("networks", networks.iter().map(|id| json!({"uuid": id.as_str()})).collect());
    } else if networks_required {
        set("networks", Value::from("auto"));
    }
    if !security_groups.is_empty() {
        set("security_groups", security_groups.iter().map(|name| json!({"name": name})).collect());
    }
    if let Some(zone) = availability_zone {
        set("availability_zone", Value::from(zone.as_str()));
    }
    if let Some(key) = key_name {
        set("key_name", Value::from(key.as_str()));
    }
    if let Some(data) = user_data {
        set("user_data", Value::from(base64::engine::general_purpose::STANDARD.encode(data.expose())));
    }
    json!({"server": server})
}

fn metadata(marks: &BTreeMap<Mark, String>) -> Value {
    Value::Object(marks.iter().map(|(mark, value)| (mark.key().to_owned(), Value::from(value.as_str()))).collect())
}

/// One request for all of them: Nova takes all or none.
pub(super) fn set_marks(session: &Session, id: &ServerId, marks: &BTreeMap<Mark, String>) -> Result<Done, CallError> {
    let body = json!({"metadata": metadata(marks)});
    let set = |url| Request::post(url).json(body.clone()).idempotent();
    let (tried, response) = session.call(Service::Compute, &format!("/servers/{id}/metadata"), set)?;
    success(&tried, &response)?;
    // Two writers at one time can lose a key: Nova answers with what it saved.
    let answer: Value = json_of(&tried, &response)?;
    let saved = |mark: &Mark| answer.get("metadata").and_then(|saved| saved.get(mark.key())).and_then(Value::as_str);
    match marks.iter().find(|(mark, value)| saved(mark) != Some(value.as_str())) {
        Some((mark, _)) => Err(fault::unreadable(&tried, &response, &format!("{mark} is not in what Nova saved"))),
        None => Ok(Done::Done),
    }
}

pub(super) fn clear_mark(session: &Session, id: &ServerId, mark: Mark) -> Result<Done, CallError> {
    gone_is_done(session, &format!("/servers/{id}/metadata/{}", mark.key()))
}

/// Never sent twice: each makes an image of its own, and one that was accepted without an answer is found by its marks. Of the
/// properties, ours come last: Nova gives what the call says precedence over what the server's own image has.
pub(super) fn create_image(session: &Session, wanted: &CreateImage) -> Result<Done, CallError> {
    let CreateImage { provider: _, server, name, marks, properties } = wanted;
    let marks = marks.iter().map(|(mark, value)| (mark.key().to_owned(), value.clone()));
    let metadata: BTreeMap<String, String> = properties.clone().into_iter().chain(marks).collect();
    let body = json!({"createImage": {"name": name.as_str(), "metadata": metadata}});
    let ask = |url| Request::post(url).json(body.clone());
    let (tried, response) = session.call(Service::Compute, &format!("/servers/{server}/action"), ask)?;
    success(&tried, &response)?;
    // From 2.45 on the image's id is in the body, before in a header with Nova's own idea of Glance's address.
    let in_body = || serde_json::from_slice::<Value>(&response.body).ok()?.get("image_id")?.as_str().map(str::to_owned);
    match in_body().or_else(|| response.header("location").map(str::to_owned)) {
        Some(_) => Ok(Done::Done),
        None => Err(fault::unreadable(&tried, &response, "an answer without the image's id")),
    }
}

/// Nova answers 202 for a server that is not locked, too.
pub(super) fn unlock(session: &Session, id: &ServerId) -> Result<Done, CallError> {
    let unlock = |url| Request::post(url).json(json!({"unlock": null})).idempotent();
    let (tried, response) = session.call(Service::Compute, &format!("/servers/{id}/action"), unlock)?;
    success(&tried, &response).map(|()| Done::Done)
}

pub(super) fn delete(session: &Session, id: &ServerId) -> Result<Done, CallError> {
    gone_is_done(session, &format!("/servers/{id}"))
}

fn gone_is_done(session: &Session, path: &str) -> Result<Done, CallError> {
    let (tried, response) = session.call(Service::Compute, path, |url| Request::delete(url).idempotent())?;
    if is_gone(&response) {
        return Ok(Done::Already);
    }
    success(&tried, &response).map(|()| Done::Done)
}
