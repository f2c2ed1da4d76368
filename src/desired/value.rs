//! One value of the desired state: what it may be, and the fault when it is not. Which key it belongs to, it knows by name
//! alone.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::SignedDuration;

use super::document::Document;
use super::faults::Fault;
use super::keys::{Faults, duplicate};
use super::near::near;
use super::units::{Share, duration};
use super::yaml::{Node, Step};

/// Ten years: times are added to today's date, and no timeout of ours is meant to be longer.
const LONGEST: SignedDuration = SignedDuration::from_hours(10 * 366 * 24);

#[derive(Debug, Clone)]
pub struct Value<'d> {
    pub doc: &'d Document,
    pub out: &'d Faults,
    /// Of a default: the map that it would stand in.
    pub path: Vec<Step>,
    /// As in faults: `min-ready`, `an item of networks`.
    pub name: String,
    pub node: Cow<'d, Node>,
}

impl<'d> Value<'d> {
    pub fn fault(&self, message: impl Into<String>) -> Fault {
        self.doc.fault(&self.path, message)
    }

    /// Notes a fault and gives nothing, for the end of a reader.
    pub fn refuse<T>(&self, fault: Fault) -> Option<T> {
        self.out.add(fault);
        None
    }

    /// The fault of a wrong kind.
    fn wrong<T>(&self, expected: &str) -> Option<T> {
        let name = &self.name;
        if *self.node == Node::Null {
            return self.refuse(self.fault(format!("`{name}` is empty")).hint("give it a value, or leave the key out"));
        }
        let fault = self.fault(format!("`{name}` must be {expected}"));
        let said = match (&*self.node, expected) {
            (Node::Text(text), "true or false") => match text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" => format!("`{text}` is text in YAML 1.2: write `true`"),
                "no" | "off" | "n" => format!("`{text}` is text in YAML 1.2: write `false`"),
                _ => "this is text".to_owned(),
            },
            (Node::Text(text), _) if expected.contains("number") && text.parse::<u64>().is_ok() => {
                format!("this is text: write {}", text.parse::<u64>().unwrap_or_default())
            }
            (Node::Number, _) if expected.contains("number") => "this one is not".to_owned(),
            (Node::Count(_) | Node::Number | Node::Bool(_), "text") => format!("this is {}: put it in quotes", self.node.kind()),
            (other, _) => format!("this is {}", other.kind()),
        };
        self.refuse(fault.label(said))
    }

    /// One line of text.
    pub fn text(&self) -> Option<String> {
        let text = self.lines()?;
        if text.contains(|c: char| c.is_control()) {
            return self
                .refuse(self.fault(format!("`{}` must be one line", self.name)).label("without line breaks, tabs and escapes"));
        }
        if text.trim().is_empty() {
            return self.refuse(self.fault(format!("`{}` is empty", self.name)).hint("give it a value, or leave the key out"));
        }
        Some(text)
    }

    /// Text of any number of lines, also an empty one.
    pub fn lines(&self) -> Option<String> {
        match self.node.text() {
            Some(text) => Some(text.to_owned()),
            None => self.wrong("text"),
        }
    }

    pub fn flag(&self) -> Option<bool> {
        match *self.node {
            Node::Bool(flag) => Some(flag),
            Node::Null | Node::Count(_) | Node::Number | Node::Text(_) | Node::List(_) | Node::Map(_) => {
                self.wrong("true or false")
            }
        }
    }

    pub fn count(&self, at_least: u32) -> Option<u32> {
        match *self.node {
            Node::Count(count) => match u32::try_from(count) {
                Ok(count) if count >= at_least => Some(count),
                Ok(_) => self.refuse(self.fault(format!("`{}` must be at least {at_least}", self.name))),
                Err(_) => self.refuse(self.fault(format!("`{}` is too large", self.name)).label(format!("at most {}", u32::MAX))),
            },
            Node::Null | Node::Bool(_) | Node::Number | Node::Text(_) | Node::List(_) | Node::Map(_) => {
                self.wrong("a whole number of 0 or more")
            }
        }
    }

    pub fn port(&self) -> Option<u16> {
        match u16::try_from(self.count(1)?) {
            Ok(port) => Some(port),
            Err(_) => self.refuse(self.fault(format!("`{}` must be a port number", self.name)).label("from 1 to 65535")),
        }
    }

    /// At least a second: none of ours means anything at 0.
    pub fn duration(&self) -> Option<SignedDuration> {
        let text = match &*self.node {
            Node::Text(text) => text,
            Node::Count(count) => {
                let fault = self.fault(format!("`{}: {count}` has no unit", self.name));
                return self.refuse(fault.label(format!("write `{count}s` or `{count}m`")));
            }
            Node::Null | Node::Bool(_) | Node::Number | Node::List(_) | Node::Map(_) => {
                return self.wrong("a duration such as `90s` or `15m`");
            }
        };
        match duration(text) {
            Ok(duration) if duration < SignedDuration::from_secs(1) => {
                self.refuse(self.fault(format!("`{}` must be at least `1s`", self.name)))
            }
            Ok(duration) if duration > LONGEST => self.refuse(self.fault(format!("`{}` is longer than ten years", self.name))),
            Ok(duration) => Some(duration),
            Err(error) => self.refuse(self.fault(error)),
        }
    }

    pub fn share(&self) -> Option<Share> {
        match &*self.node {
            Node::Count(_) => self.count(0).map(Share::Count),
            Node::Text(text) => Share::parse(text).map_or_else(|error| self.refuse(self.fault(error)), Some),
            Node::Null | Node::Bool(_) | Node::Number | Node::List(_) | Node::Map(_) => {
                self.wrong("a number or a percentage such as `50%`")
            }
        }
    }

    /// A path as written; `load` takes relative ones from the desired-state directory.
    pub fn path(&self) -> Option<PathBuf> {
        self.text().map(PathBuf::from)
    }

    /// A path on a machine of ours, where no directory is the current one.
    pub fn path_there(&self) -> Option<String> {
        let path = self.text()?;
        if path.starts_with('/') {
            return Some(path);
        }
        self.refuse(self.fault(format!("`{}` must be an absolute path", self.name)).label("on the node: it begins with `/`"))
    }

    /// One of a few words.
    pub fn one_of<T: Clone>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, meant)) = words.iter().find(|(word, _)| *word == text) {
            return Some(meant.clone());
        }
        let known: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let fault = self.fault(format!("`{}` must be {}", self.name, known.join(" or ")));
        self.refuse(match near(&text, words.iter().map(|(word, _)| *word)) {
            Some(near) => fault.label(format!("did you mean `{near}`?")),
            None => fault,
        })
    }

    /// The items of a list.
    pub fn items(&self) -> Option<Vec<Self>> {
        let Node::List(items) = &*self.node else { return self.wrong("a list") };
        let item = |(nth, node): (usize, &Node)| {
            let mut path = self.path.clone();
            path.push(Step::Item(nth));
            Value { path, node: Cow::Owned(node.clone()), name: self.name.clone(), ..*self }
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// A list of different texts.
    pub fn texts(&self) -> Option<Vec<String>> {
        let mut texts: Vec<String> = Vec::new();
        let mut whole = true;
        for item in self.items()? {
            match item.text() {
                Some(text) if texts.contains(&text) => {
                    self.out.add(item.fault(format!("`{text}` stands twice in `{}`", self.name)));
                    whole = false;
                }
                Some(text) => texts.push(text),
                None => whole = false,
            }
        }
        whole.then_some(texts)
    }

    /// A list of texts with at least one in it.
    pub fn some_texts(&self) -> Option<Vec<String>> {
        let texts = self.texts()?;
        if texts.is_empty() { self.refuse(self.fault(format!("`{}` is an empty list", self.name))) } else { Some(texts) }
    }

    /// One text, or a list of them.
    pub fn one_or_more(&self) -> Option<Vec<String>> {
        if let Node::List(_) = *self.node { self.some_texts() } else { self.text().map(|text| vec![text]) }
    }

    pub(super) fn map(&self) -> Option<Cow<'d, [(Node, Node)]>> {
        match &self.node {
            Cow::Borrowed(Node::Map(pairs)) => Some(Cow::Borrowed(pairs)),
            Cow::Owned(Node::Map(pairs)) => Some(Cow::Owned(pairs.clone())),
            Cow::Borrowed(_) | Cow::Owned(_) => self.wrong("a map"),
        }
    }

    /// A map whose keys are names that a person chose. Each value is named by its key.
    pub fn entries(&self) -> Option<Vec<(String, Self)>> {
        let pairs = self.map()?;
        let mut entries = Vec::new();
        for (nth, (key, node)) in pairs.iter().enumerate() {
            let mut path = self.path.clone();
            path.push(Step::Key(nth));
            let Some(name) = key.text() else {
                let fault = self.doc.fault(&path, format!("a name in `{}` must be text", self.name));
                self.out.add(fault.label(format!("this is {}: put it in quotes", key.kind())));
                continue;
            };
            if let Some(first) = pairs.iter().position(|(key, _)| key.text() == Some(name)).filter(|first| *first < nth) {
                self.out.add(duplicate(self.doc, &self.path, name, first, nth));
                continue;
            }
            path.pop();
            path.push(Step::Value(nth));
            entries.push((name.to_owned(), Value { path, node: Cow::Owned(node.clone()), name: name.to_owned(), ..*self }));
        }
        Some(entries)
    }

    /// A fault at this value's own key.
    pub fn fault_at_key(&self, message: impl Into<String>) -> Fault {
        let mut path = self.path.clone();
        if let Some(Step::Value(nth)) = path.last().copied() {
            path.pop();
            path.push(Step::Key(nth));
        }
        self.doc.fault(&path, message)
    }

    /// A map of texts.
    pub fn table(&self) -> Option<BTreeMap<String, String>> {
        // All are read before any is missed: each has its fault.
        let read: Vec<_> = self.entries()?.into_iter().map(|(name, value)| Some((name, value.lines()?))).collect();
        read.into_iter().collect()
    }
}
