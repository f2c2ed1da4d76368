//! Rules for names, and checks that need more than one file: references, clashes. What one value may be is in `parse`.

use std::collections::BTreeMap;

use super::controller::Controller;
use super::document::{Document, Go};
use super::faults::Fault;
use super::image::SnapshotImage;
use super::near::near;
use super::parse::Parsed;
use super::pool::{Launcher, Pool};
use super::yaml::Node;

/// Metadata values and names of servers are made from it.
const LONGEST_ID: usize = 32;
/// A server is called `<pool>-<11 characters>`, and a DNS label has at most 63.
const LONGEST_NAME: usize = 63 - 12;

pub fn controller_id(id: &str) -> Result<(), String> {
    if id.len() > LONGEST_ID {
        return Err(format!("{} characters, at most {LONGEST_ID}", id.len()));
    }
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return Err("small letters, digits and `-`".to_owned());
    }
    Ok(())
}

/// Pools and images: servers and agents are named after them.
pub fn dns_name(name: &str) -> Result<(), String> {
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return Err("small letters, digits and `-`: servers and agents are named after it, so DNS must take it".to_owned());
    }
    if name.is_empty() || name.starts_with('-') || name.ends_with('-') {
        return Err("it must begin and end with a letter or a digit, for DNS".to_owned());
    }
    if name.len() > LONGEST_NAME {
        return Err(format!("it has {} characters, at most {LONGEST_NAME}: a node adds 12, and DNS takes 63", name.len()));
    }
    Ok(())
}

/// Providers and targets: they stand in metadata, metrics and on the command line.
pub fn plain_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(plain) || name.starts_with(['-', '.']) {
        return Err("letters, digits, `-`, `_` and `.`".to_owned());
    }
    if name.len() > 63 { Err("at most 63 characters".to_owned()) } else { Ok(()) }
}

/// Jenkins splits labels at blanks and reads the rest of these as operators of its label expressions.
pub fn label(label: &str) -> Result<(), String> {
    match label.chars().find(|c| c.is_whitespace() || "\"'&|!<>()\\,;".contains(*c)) {
        Some(c) if c.is_whitespace() => Err("it has a blank: make it two items".to_owned()),
        Some(c) => Err(format!("it has `{c}`")),
        None => Ok(()),
    }
}

/// All files, parsed, by name.
#[derive(Debug)]
pub struct Files {
    /// None: there is no controller.yaml.
    pub controller: Option<Parsed<Controller>>,
    pub images: BTreeMap<String, Parsed<SnapshotImage>>,
    pub pools: BTreeMap<String, Parsed<Pool>>,
}

/// Faults between files. A file that is no YAML is no reason for faults of others.
pub fn check(files: &Files) -> Vec<Fault> {
    let mut out = Vec::new();
    for (name, pool) in &files.pools {
        if let Some(doc) = &pool.doc {
            providers(files, doc, &mut out);
            target(files, doc, pool.value.as_ref(), &mut out);
            image(files, doc, &mut out);
            if let Some(pool) = &pool.value {
                room(files, doc, pool, &mut out);
            }
        }
        if let Some(doc) = pool.doc.as_ref().filter(|_| files.images.contains_key(name)) {
            let fault = doc.fault(&[], format!("the pool `{name}` has the name of an image"));
            out.push(fault.hint("their servers could not be told apart by name: rename one of the two"));
        }
    }
    for doc in files.images.values().filter_map(|image| image.doc.as_ref()) {
        providers(files, doc, &mut out);
    }
    out
}

fn controller(files: &Files) -> Option<&Document> {
    files.controller.as_ref().and_then(|controller| controller.doc.as_ref())
}

fn unknown(fault: Fault, name: &str, file: &str, known: &[&str]) -> Fault {
    let list = known.iter().take(8).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match near(name, known.iter().copied()) {
        Some(near) => fault.label(format!("did you mean `{near}`?")),
        None => fault.hint(format!("{file} has {list}")),
    }
}

fn providers(files: &Files, doc: &Document, out: &mut Vec<Fault>) {
    let Some(controller) = controller(files) else { return };
    let known = controller.names_in("providers");
    // Without any there is a fault already, and these would only repeat it.
    if known.is_empty() {
        return;
    }
    let list = doc.root.pairs().iter().find(|(key, _)| key.text() == Some("providers")).map(|(_, value)| value);
    let Some(Node::List(items)) = list else { return };
    for (nth, item) in items.iter().enumerate() {
        if let Some(name) = item.text().filter(|name| !known.contains(name)) {
            let fault = doc.fault_at(&[Go::To("providers"), Go::Item(nth)], format!("no provider `{name}`"));
            out.push(unknown(fault, name, "controller.yaml", &known));
        }
    }
}

fn target(files: &Files, doc: &Document, pool: Option<&Pool>, out: &mut Vec<Fault>) {
    let (Some(controller), Some(name)) = (controller(files), doc.text_of("target")) else { return };
    let known = controller.names_in("targets");
    if known.is_empty() {
        return;
    }
    if !known.contains(&name) {
        let fault = doc.fault_at(&[Go::To("target")], format!("no target `{name}`"));
        out.push(unknown(fault, name, "controller.yaml", &known));
        return;
    }
    let target = files.controller.as_ref().and_then(|controller| controller.value.as_ref()).and_then(|it| it.targets.get(name));
    let ssh = pool.is_some_and(|pool| matches!(pool.agent.launcher, Launcher::Ssh { .. }));
    if ssh && target.is_some_and(|target| target.credentials_id.is_none()) {
        let fault = doc.fault_at(&[Go::To("target")], format!("target `{name}` has no `credentials-id`"));
        out.push(fault.hint("Jenkins logs in to the agents with it; or `agent: {launcher: inbound}`"));
    }
}

fn image(files: &Files, doc: &Document, out: &mut Vec<Fault>) {
    let Some(name) = doc.text_of("image") else { return };
    let at = [Go::To("image")];
    if let Some(image) = files.images.get(name) {
        built_where_launched(doc, name, image, out);
        return;
    }
    let known: Vec<&str> = files.images.keys().map(String::as_str).collect();
    let fault = doc.fault_at(&at, format!("no image `{name}`"));
    out.push(match near(name, known.iter().copied()) {
        Some(near) => fault.label(format!("did you mean `{near}`?")),
        None => fault.hint(format!("one that Glance has already is named as `image: {{glance: {name}}}`")),
    });
}

/// A snapshot is an image of one cloud: it must be built in each provider that a pool boots it in.
fn built_where_launched(doc: &Document, name: &str, image: &Parsed<SnapshotImage>, out: &mut Vec<Fault>) {
    let Some(image) = &image.value else { return };
    let list = doc.root.pairs().iter().find(|(key, _)| key.text() == Some("providers")).map(|(_, value)| value);
    let Some(Node::List(items)) = list else { return };
    for (nth, item) in items.iter().enumerate() {
        if let Some(provider) = item.text().filter(|name| !image.providers.iter().any(|one| one.as_str() == *name)) {
            let fault =
                doc.fault_at(&[Go::To("providers"), Go::Item(nth)], format!("the image `{name}` is not built in `{provider}`"));
            out.push(fault.hint(format!("add `{provider}` to the `providers` of images/{name}.yaml")));
        }
    }
}

/// A pool that can never be filled is no mistake of form, but surely none of intent either.
fn room(files: &Files, doc: &Document, pool: &Pool, out: &mut Vec<Fault>) {
    let Some(controller) = files.controller.as_ref().and_then(|controller| controller.value.as_ref()) else { return };
    let rooms: Option<Vec<u32>> = pool.providers.iter().map(|name| Some(controller.providers.get(name)?.max_servers)).collect();
    let Some(room) = rooms.map(|rooms| rooms.into_iter().fold(0, u32::saturating_add)) else { return };
    if pool.min_ready > room && pool.min_ready <= pool.max_servers {
        let message = format!("`min-ready: {}` is more than its providers' `max-servers` together ({room})", pool.min_ready);
        out.push(doc.fault_at(&[Go::To("min-ready")], message).warning());
    }
}
