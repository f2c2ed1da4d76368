//! Takes the keys of a map one by one and gathers faults: unknown, duplicate, missing, not supported yet. What a value may be
//! is in `value.rs`, which keys there are in `tables.rs`.

use std::borrow::Cow;
use std::cell::RefCell;

use super::document::Document;
use super::faults::{Fault, names_a_secret};
use super::near::near;
use super::tables::{ALL, Preset, Table};
use super::value::Value;
use super::yaml::{self, Node, Step};

/// Where faults are put while a file is read; reading goes on.
#[derive(Debug, Default)]
pub struct Faults(RefCell<Vec<Fault>>);

impl Faults {
    pub fn add(&self, fault: Fault) {
        self.0.borrow_mut().push(fault);
    }

    pub fn into_inner(self) -> Vec<Fault> {
        self.0.into_inner()
    }
}

/// A map whose keys are known.
#[derive(Debug)]
pub struct Keys<'d> {
    pub doc: &'d Document,
    pub out: &'d Faults,
    path: Vec<Step>,
    pairs: Cow<'d, [(Node, Node)]>,
    table: &'static Table,
}

impl<'d> Keys<'d> {
    /// The root of a file.
    pub fn root(doc: &'d Document, out: &'d Faults, table: &'static Table) -> Option<Self> {
        let root = Value { doc, out, path: Vec::new(), name: String::new(), node: Cow::Borrowed(&doc.root) };
        match &doc.root {
            Node::Map(_) => Self::of(root, table),
            Node::Null => {
                out.add(Fault::of_file(doc.file.as_str(), "the file is empty").hint(required(table)));
                None
            }
            other @ (Node::Bool(_) | Node::Count(_) | Node::Number | Node::Text(_) | Node::List(_)) => {
                out.add(Fault::of_file(doc.file.as_str(), format!("the file is {}, not a map of keys", other.kind())));
                None
            }
        }
    }

    /// A value that must be a map of these keys. Unknown, duplicate, missing and unsupported ones are faults at once.
    pub fn of(value: Value<'d>, table: &'static Table) -> Option<Self> {
        let pairs = value.map()?;
        let keys = Self { doc: value.doc, out: value.out, path: value.path, pairs, table };
        for nth in 0..keys.pairs.len() {
            keys.check_key(nth);
        }
        for key in table.keys.iter().filter(|key| key.preset == Preset::Required && !keys.has(key.name)) {
            // One that is there but misspelt has its fault already.
            if !keys.pairs.iter().any(|(name, _)| name.text().and_then(|name| keys.meant(name)) == Some(key.name)) {
                keys.out.add(keys.fault(format!("`{}` is missing", key.name)));
            }
        }
        Some(keys)
    }

    fn check_key(&self, nth: usize) {
        let Some((key, value)) = self.pairs.get(nth) else { return };
        let Some(name) = key.text() else {
            self.out.add(self.fault_at_key(nth, "a key must be text").label(format!("this is {}", key.kind())));
            return;
        };
        if let Some(first) = self.position(name).filter(|first| *first < nth) {
            self.out.add(duplicate(self.doc, &self.path, name, first, nth));
            return;
        }
        let Some(known) = self.table.key(name) else {
            self.out.add(self.unknown(nth, name));
            return;
        };
        if known.preset == Preset::Required && *value == Node::Null {
            self.out.add(self.fault_at_key(nth, format!("`{name}` is empty")).label("it needs a value"));
            return;
        }
        if let Preset::NotYet(only) = known.preset
            && *value != Node::Null
            && yaml::read(only).as_ref() != Ok(value)
        {
            let left = match only {
                "null" => "leave it out".to_owned(),
                other => format!("leave it out: `{other}` is all there is"),
            };
            self.out.add(self.fault_at_key(nth, format!("`{name}` is not supported yet")).hint(left));
        }
    }

    fn unknown(&self, nth: usize, name: &str) -> Fault {
        let fault = self.fault_at_key(nth, format!("unknown key `{name}`"));
        if name == "<<" {
            return fault.hint("YAML 1.2 has no merge keys: write the keys out");
        }
        if names_a_secret(name) && self.table.key("token-file").is_some() {
            return fault.hint("a secret stands in a file of its own: `token-file` or `password-file`");
        }
        let elsewhere = ALL.iter().find(|table| table.key(name).is_some()).map(|table| format!("it is a key of {}", table.what));
        match (self.meant(name), elsewhere) {
            (Some(near), None) => return fault.label(format!("did you mean `{near}`?")),
            (Some(near), Some(elsewhere)) => return fault.label(format!("{elsewhere}; did you mean `{near}`?")),
            (None, Some(elsewhere)) => return fault.label(elsewhere),
            (None, None) => {}
        }
        if self.table.keys.len() > 10 {
            return fault;
        }
        let known: Vec<String> = self.table.keys.iter().map(|key| format!("`{}`", key.name)).collect();
        fault.hint(format!("{} has {}", self.table.what, known.join(", ")))
    }

    /// The key that a misspelt one is near to.
    fn meant(&self, name: &str) -> Option<&'static str> {
        if self.table.key(name).is_some() { None } else { near(name, self.table.keys.iter().map(|key| key.name)) }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.pairs.iter().position(|(key, _)| key.text() == Some(name))
    }

    /// The names that are given, known or not.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter_map(|(key, _)| key.text())
    }

    /// Whether the key is given, were it with an empty value.
    pub fn has(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// A fault at a key's name.
    fn fault_at_key(&self, nth: usize, message: impl Into<String>) -> Fault {
        let mut path = self.path.clone();
        path.push(Step::Key(nth));
        self.doc.fault(&path, message)
    }

    /// A fault at the name of a key that is given, or at the whole map.
    pub fn fault_at(&self, name: &str, message: impl Into<String>) -> Fault {
        match self.position(name) {
            Some(nth) => self.fault_at_key(nth, message),
            None => self.fault(message),
        }
    }

    /// A fault of the whole map.
    pub fn fault(&self, message: impl Into<String>) -> Fault {
        match self.path.split_last() {
            Some((Step::Value(nth), parents)) => {
                let mut path = parents.to_vec();
                path.push(Step::Key(*nth));
                self.doc.fault(&path, message)
            }
            _ => self.doc.fault(&self.path, message),
        }
    }

    /// The value of a key: as given, else its default. None: left out without a default, or a fault that was noted already.
    pub fn at(&self, name: &str) -> Option<Value<'d>> {
        let given = self.position(name).and_then(|nth| self.pairs.get(nth).map(|(_, value)| (nth, value)));
        let mut path = self.path.clone();
        let node = match (given, self.table.key(name)?.preset) {
            (_, Preset::NotYet(_)) => return None,
            (Some((_, Node::Null)) | None, Preset::From(_) | Preset::Required) => {
                return None;
            }
            (Some((nth, value)), _) => {
                path.push(Step::Value(nth));
                value.clone()
            }
            (None, Preset::Is(default)) => yaml::read(default).ok()?,
        };
        Some(Value { doc: self.doc, out: self.out, path, name: name.to_owned(), node: Cow::Owned(node) })
    }

    /// A value where null means none.
    pub fn optional<T>(&self, name: &str, read: impl FnOnce(&Value<'d>) -> Option<T>) -> Option<Option<T>> {
        match self.at(name) {
            None => Some(None),
            Some(value) if *value.node == Node::Null => Some(None),
            Some(value) => read(&value).map(Some),
        }
    }

    pub fn text(&self, name: &str) -> Option<String> {
        self.at(name)?.text()
    }

    pub fn count(&self, name: &str, at_least: u32) -> Option<u32> {
        self.at(name)?.count(at_least)
    }

    pub fn duration(&self, name: &str) -> Option<jiff::SignedDuration> {
        self.at(name)?.duration()
    }

    /// The map of keys that stands at a key.
    pub fn keys(&self, name: &str, table: &'static Table) -> Option<Self> {
        Self::of(self.at(name)?, table)
    }
}

/// A key that stands in a map for the second time.
pub fn duplicate(doc: &Document, map: &[Step], name: &str, first: usize, nth: usize) -> Fault {
    let path = |nth| {
        let mut path = map.to_vec();
        path.push(Step::Key(nth));
        path
    };
    let fault = doc.fault(&path(nth), format!("duplicate key `{name}`"));
    match doc.fault(&path(first), "").spot {
        Some(spot) => fault.label(format!("it stands on line {} too", spot.line)),
        None => fault,
    }
}

fn required(table: &Table) -> String {
    let names = table.keys.iter().filter(|key| key.preset == Preset::Required).map(|key| format!("`{}`", key.name));
    format!("{} needs {}", table.what, names.collect::<Vec<_>>().join(", "))
}
