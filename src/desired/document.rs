//! A file's text with its nodes: places by key names, and faults at them. Pure.

use std::cell::Cell;

use super::faults::{Fault, Severity, Spot};
use super::yaml::{self, Node, Step};

/// Places that are looked for in one file: each is a walk through its text. Nobody reads more faults than this; those behind
/// them are named without their lines.
const MAX_PLACES: usize = 100;

/// A desired-state file, read as YAML but not yet as values.
#[derive(Clone)]
pub struct Document {
    /// As shown in faults.
    pub file: String,
    text: String,
    pub root: Node,
    /// Places that may still be looked for.
    places: Cell<usize>,
}

/// The text stays out: it may hold what no log should show.
impl std::fmt::Debug for Document {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Document({})", self.file)
    }
}

/// A step by name.
#[derive(Debug, Clone, Copy)]
pub enum Go<'n> {
    To(&'n str),
    Item(usize),
}

impl Document {
    pub fn read(file: &str, text: &str) -> Result<Self, Box<Fault>> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match yaml::read(text) {
            Ok(root) => Ok(Self { file: file.to_owned(), text: text.to_owned(), root, places: Cell::new(MAX_PLACES) }),
            Err(refusal) => {
                let mut fault = Fault::of_file(file, refusal.message);
                fault.spot = refusal.at.map(|at| Spot::new(text, at, 1));
                fault.hint = refusal.hint;
                Err(Box::new(fault))
            }
        }
    }

    /// A fault at the node of this path; of the whole file for the root.
    pub fn fault(&self, path: &[Step], message: impl Into<String>) -> Fault {
        let (spot, names) = (self.spot(path), self.names(path));
        Fault { path: names, spot, severity: Severity::Error, ..Fault::of_file(self.file.as_str(), message) }
    }

    /// The path that leads over these names, as far as it exists.
    pub fn path(&self, names: &[Go<'_>]) -> Vec<Step> {
        let mut path = Vec::new();
        let mut node = &self.root;
        for name in names {
            let next = match (name, node) {
                (Go::To(name), Node::Map(pairs)) => pairs
                    .iter()
                    .enumerate()
                    .find(|(_, (key, _))| key.text() == Some(*name))
                    .map(|(nth, (_, value))| (Step::Value(nth), value)),
                (Go::Item(nth), Node::List(items)) => items.get(*nth).map(|item| (Step::Item(*nth), item)),
                _ => None,
            };
            let Some((step, inner)) = next else { break };
            path.push(step);
            node = inner;
        }
        path
    }

    /// A fault at the value that these names lead to, or at what is nearest to it.
    pub fn fault_at(&self, names: &[Go<'_>], message: impl Into<String>) -> Fault {
        self.fault(&self.path(names), message)
    }

    /// The text that stands at a key of the root.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        self.root.pairs().iter().find(|(name, _)| name.text() == Some(key)).and_then(|(_, value)| value.text())
    }

    /// The names of a map at a key of the root: providers, targets.
    pub fn names_in(&self, key: &str) -> Vec<&str> {
        let map = self.root.pairs().iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value);
        map.map(Node::pairs).unwrap_or_default().iter().filter_map(|(name, _)| name.text()).collect()
    }

    fn node(&self, path: &[Step]) -> Option<&Node> {
        path.iter().try_fold(&self.root, |node, step| match (step, node) {
            (Step::Key(nth), Node::Map(pairs)) => pairs.get(*nth).map(|(key, _)| key),
            (Step::Value(nth), Node::Map(pairs)) => pairs.get(*nth).map(|(_, value)| value),
            (Step::Item(nth), Node::List(items)) => items.get(*nth),
            _ => None,
        })
    }

    /// `providers.wmflabs-eqiad.networks[0]`.
    fn names(&self, path: &[Step]) -> String {
        let mut names = String::new();
        for (length, step) in path.iter().enumerate() {
            match step {
                Step::Item(nth) => names.extend(["[", &nth.to_string(), "]"]),
                Step::Key(nth) | Step::Value(nth) => {
                    let parent = path.get(..length).and_then(|parent| self.node(parent));
                    let key = parent.and_then(|parent| parent.pairs().get(*nth)).and_then(|(key, _)| key.text());
                    if !names.is_empty() {
                        names.push('.');
                    }
                    names.push_str(key.unwrap_or("?"));
                }
            }
        }
        names
    }

    fn spot(&self, path: &[Step]) -> Option<Spot> {
        self.places.set(self.places.get().checked_sub(1)?);
        let node = self.node(path)?;
        let (last, parents) = path.split_last()?;
        let at = yaml::locate(&self.text, path)?;
        let rest = self.text.get(at..).unwrap_or_default();
        // Of a value that is empty, or that begins on a line of its own, the key is what a person looks for.
        let shown = match node {
            Node::Null => rest.starts_with(['~', 'n', 'N']),
            Node::Map(_) => rest.starts_with('{'),
            Node::List(_) => rest.starts_with('['),
            Node::Bool(_) | Node::Count(_) | Node::Number | Node::Text(_) => true,
        };
        match last {
            Step::Value(nth) if !shown => {
                let mut key = parents.to_vec();
                key.push(Step::Key(*nth));
                self.spot(&key)
            }
            Step::Value(_) | Step::Key(_) | Step::Item(_) => Some(Spot::new(&self.text, at, length(rest, node))),
        }
    }
}

/// How many characters of the text belong to a node that begins here, on its first line.
fn length(rest: &str, node: &Node) -> usize {
    let line = rest.lines().next().unwrap_or_default();
    if let Some(text) = node.text().filter(|text| !text.is_empty() && line.starts_with(text)) {
        return text.chars().count();
    }
    let closing = |open: char, close: char| {
        let mut depth = 0_usize;
        line.char_indices().find(|(_, c)| {
            depth += usize::from(*c == open);
            depth -= usize::from(*c == close && depth > 0);
            depth == 0
        })
    };
    let end = match line.chars().next() {
        Some(quote @ ('"' | '\'')) => line.char_indices().skip(1).find(|(_, c)| *c == quote),
        Some('[') => closing('[', ']'),
        Some('{') => closing('{', '}'),
        Some(_) | None => None,
    };
    if let Some((at, _)) = end {
        return line.get(..=at).unwrap_or_default().chars().count();
    }
    let plain = line.split(" #").next().unwrap_or_default();
    let plain = if let Node::Text(_) = node { plain } else { plain.split([',', ']', '}', ':']).next().unwrap_or_default() };
    plain.trim_end().chars().count()
}
