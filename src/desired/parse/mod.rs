//! Text of a desired-state file to its values, one file here a kind of file. No I/O: what the values name (scripts, keys) is
//! read and looked at by `load`.

pub mod controller;
pub mod image;
pub mod pool;

use super::document::Document;
use super::faults::Fault;
use super::keys::{Faults, Keys};
use super::pool::FlavorChoice;
use super::tables::{FLAVOR, Table};
use super::value::Value;
use super::yaml::Node;

/// What became of a file.
#[derive(Debug)]
pub struct Parsed<T> {
    /// None: it is no YAML.
    pub doc: Option<Document>,
    /// None: it has faults.
    pub value: Option<T>,
    pub faults: Vec<Fault>,
}

/// Reads a file whose root is a map of these keys.
fn file<T>(file: &str, text: &str, table: &'static Table, read: impl FnOnce(&Keys<'_>) -> Option<T>) -> Parsed<T> {
    match Document::read(file, text) {
        Err(fault) => Parsed { doc: None, value: None, faults: vec![*fault] },
        Ok(doc) => {
            let out = Faults::default();
            let value = Keys::root(&doc, &out, table).and_then(|keys| read(&keys));
            let faults = out.into_inner();
            Parsed { doc: Some(doc), value, faults }
        }
    }
}

/// `m1.medium`, or `{min-ram: 4096, name-contains: m1}`.
fn flavor(keys: &Keys<'_>) -> Option<FlavorChoice> {
    let value = keys.at("flavor")?;
    if let Node::Map(_) = *value.node {
        let keys = Keys::of(value, &FLAVOR)?;
        let (min_ram, name_contains) = (keys.count("min-ram", 0), keys.optional("name-contains", Value::text));
        return Some(FlavorChoice::AtLeast { min_ram: min_ram?, name_contains: name_contains?.unwrap_or_default() });
    }
    value.text().map(FlavorChoice::Name)
}

/// The users that a login is tried as, in this order.
fn usernames(keys: &Keys<'_>) -> Option<Vec<String>> {
    let value = keys.at("username")?;
    let users = value.one_or_more()?;
    match users.iter().find(|user| user.contains(|c: char| c.is_whitespace() || matches!(c, ':' | '@' | '/'))) {
        Some(user) => value.refuse(value.fault(format!("`{user}` is no user name"))),
        None => Some(users),
    }
}

/// The name of a file directly in the script directory.
fn script_name(value: &Value<'_>) -> Option<String> {
    let name = value.text()?;
    if name.contains('/') {
        let fault = value.fault(format!("`{}` must be the name of a file in `script-dir`", value.name));
        return value.refuse(fault.label("without a path"));
    }
    Some(name)
}
