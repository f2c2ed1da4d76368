//! YAML text to our own `Node`, and the place of a node in the text. The one door to the YAML library beside `clouds_yaml.rs`.
//! What the keys mean is not known here.
//!
//! The library takes duplicate keys silently and gives no place for faults of meaning. So maps are read as lists of pairs, and
//! a place is looked for only when there is a fault: the text is walked again to the node's path with a reader that fails
//! there, and the library's own error says where that was.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Far above any file that a person writes and reviews, low enough that no text keeps the reader busy.
pub const MAX_BYTES: usize = 64 * 1024;
/// Nodes of one file with its aliases written out: a handful of aliases in a row would otherwise fill the memory.
const MAX_NODES: usize = 5_000;
/// Our own files have at most 4 levels.
const MAX_DEPTH: usize = 16;

/// Brackets that are open at one time. The library looks at all of them for each word: tens of thousands keep it busy for
/// minutes. Counted without a look at quotes and comments, hence far above `MAX_DEPTH`.
const MAX_OPEN: usize = 100;

/// A node of the text. Scalars have the kind that YAML 1.2 gives them: `yes` and `08` are text, `~` is null.
#[derive(Clone, PartialEq)]
pub enum Node {
    Null,
    Bool(bool),
    /// A whole number of 0 or more.
    Count(u64),
    /// Any other number: negative, with a fraction, or too large.
    Number,
    Text(String),
    List(Vec<Self>),
    /// In the order of the text, duplicates kept.
    Map(Vec<(Self, Self)>),
}

impl Node {
    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "empty",
            Self::Bool(_) => "true or false",
            Self::Count(_) | Self::Number => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Count(_) | Self::Number | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// The pairs of a map; none for any other kind.
    pub fn pairs(&self) -> &[(Self, Self)] {
        match self {
            Self::Map(pairs) => pairs,
            Self::Null | Self::Bool(_) | Self::Count(_) | Self::Number | Self::Text(_) | Self::List(_) => &[],
        }
    }
}

/// Contents stay out: a text may be a secret.
impl fmt::Debug for Node {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.kind())
    }
}

/// One step from a node to a node in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The key of a map's nth pair.
    Key(usize),
    /// The value of a map's nth pair.
    Value(usize),
    /// A list's nth item.
    Item(usize),
}

/// Why a text is not read, and the byte where, when there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub message: String,
    pub hint: Option<String>,
    pub at: Option<usize>,
}

const TOO_DEEP: (&str, &str) = ("nested too deeply", "no value of ours has more than 4 levels");

/// The bracket that is one too many.
fn too_many_open(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let deep = |(_, letter): &(usize, char)| {
        match letter {
            '[' | '{' => open += 1,
            ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        open > MAX_OPEN
    };
    text.char_indices().find(deep).map(|(at, _)| at)
}

/// Reads a text of one document. Comments alone are `Null`.
pub fn read(text: &str) -> Result<Node, Refusal> {
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} KiB, more than {}", text.len() / 1024, MAX_BYTES / 1024);
        return Err(Refusal { message, hint: None, at: None });
    }
    if let Some(at) = text.find(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        let hint = Some("write it as an escape in double quotes, such as \"\\e\"".to_owned());
        return Err(Refusal { message: "a control character stands in the text".to_owned(), hint, at: Some(at) });
    }
    if let Some(at) = too_many_open(text) {
        return Err(Refusal { message: TOO_DEEP.0.to_owned(), hint: Some(TOO_DEEP.1.to_owned()), at: Some(at) });
    }
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let Some(first) = documents.next() else { return Ok(Node::Null) };
    let walk = Walk { left: Cell::new(MAX_NODES), why: Cell::new(None) };
    let node = NodeSeed { walk: &walk, depth: 0 }.deserialize(first).map_err(|error| walk.refusal(text, &error))?;
    if let Some(second) = documents.next() {
        let at = Place(&[]).deserialize(second).err().and_then(|error| index(&error));
        let message = "a second document begins here".to_owned();
        return Err(Refusal {
            message,
            hint: Some("one object a file: take out the `---` or make it a file of its own".to_owned()),
            at,
        });
    }
    Ok(node)
}

/// The byte at which the node of this path begins in the text. A node behind an alias begins at its anchor.
pub fn locate(text: &str, path: &[Step]) -> Option<usize> {
    let first = serde_yaml::Deserializer::from_str(text).next()?;
    Place(path).deserialize(first).err().and_then(|error| index(&error))
}

fn index(error: &serde_yaml::Error) -> Option<usize> {
    error.location().map(|location| location.index())
}

/// What to do about something that is never closed. The library says on which line it began, but for the first one.
fn close(what: &str, said: &str) -> String {
    let begun = said.split_once(", while ").and_then(|(_, context)| context.split_once(" at line ")).map(|(_, place)| place);
    let line = begun.and_then(|place| place.split(' ').next()).unwrap_or("1");
    format!("close the {what} of line {line}")
}

/// What one reading shares: how many nodes may still come, and why it was given up.
struct Walk {
    left: Cell<usize>,
    why: Cell<Option<(&'static str, &'static str)>>,
}

impl Walk {
    fn refusal(&self, text: &str, error: &serde_yaml::Error) -> Refusal {
        let at = index(error);
        if let Some((message, hint)) = self.why.get() {
            return Refusal { message: message.to_owned(), hint: Some(hint.to_owned()), at };
        }
        let whole = error.to_string();
        // The library's own place is dropped from its words: the fault shows it better.
        let said = whole.split(" at line ").next().unwrap_or_default().split(", while ").next().unwrap_or_default();
        let said = if said.ends_with("recursion limit exceeded") { "recursion limit exceeded" } else { said };
        let rest = at.and_then(|at| text.get(at..)).unwrap_or_default();
        let hint = match (said, rest.chars().next()) {
            ("repetition limit exceeded" | "recursion limit exceeded", _) => "write the values out instead of aliases".to_owned(),
            ("did not find expected ',' or ']'", _) => close("`[`", &whole),
            ("did not find expected ',' or '}'", _) => close("`{`", &whole),
            ("found unexpected end of stream", _) => close("quote", &whole),
            (_, Some('\t')) => "indent with spaces: this is a tab".to_owned(),
            (_, Some('@' | '`' | '%')) => "put the value in quotes: YAML keeps this character for itself".to_owned(),
            ("mapping values are not allowed in this context", _) => {
                "check the indentation; put a value with `: ` in it in quotes".to_owned()
            }
            _ => String::new(),
        };
        Refusal { message: format!("not valid YAML: {said}"), hint: Some(hint).filter(|hint| !hint.is_empty()), at }
    }

    fn give_up<E: serde::de::Error>(&self, message: &'static str, hint: &'static str) -> E {
        self.why.set(Some((message, hint)));
        E::custom(message)
    }
}

struct NodeSeed<'w> {
    walk: &'w Walk,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = Node;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("YAML")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Count(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(u64::try_from(value).map_or(Node::Number, Node::Count))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Number)
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.step()?)? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut pairs = Vec::new();
        while let Some(key) = entries.next_key_seed(self.step()?)? {
            pairs.push((key, entries.next_value_seed(self.step()?)?));
        }
        Ok(Node::Map(pairs))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        Err(self.walk.give_up("a tag such as `!name` stands here", "tags mean nothing in these files: take it out"))
    }
}

impl NodeSeed<'_> {
    /// The seed of one more node in this one, if there may be one.
    fn step<E: serde::de::Error>(&self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.walk.give_up(TOO_DEEP.0, TOO_DEEP.1));
        }
        match self.walk.left.get().checked_sub(1) {
            None => Err(self.walk.give_up("too many values, with aliases written out", "use fewer aliases, or split the file")),
            Some(left) => {
                self.walk.left.set(left);
                Ok(Self { walk: self.walk, depth: self.depth + 1 })
            }
        }
    }
}

/// Walks to the node of a path and fails there: every `visit` that is not written out below is a failure by serde's default,
/// and the library puts the place of the current node into the error.
struct Place<'p>(&'p [Step]);

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("nothing")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        if let Some((Step::Item(nth), rest)) = self.0.split_first() {
            for _ in 0..*nth {
                items.next_element::<IgnoredAny>()?;
            }
            items.next_element_seed(Place(rest))?;
        }
        Err(A::Error::custom("here"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        if let Some((step @ (Step::Key(nth) | Step::Value(nth)), rest)) = self.0.split_first() {
            for _ in 0..*nth {
                entries.next_entry::<IgnoredAny, IgnoredAny>()?;
            }
            if let Step::Key(_) = step {
                entries.next_key_seed(Place(rest))?;
            } else {
                entries.next_key::<IgnoredAny>()?;
                entries.next_value_seed(Place(rest))?;
            }
        }
        Err(A::Error::custom("here"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, path: &[Step]) -> String {
        let at = locate(text, path).unwrap_or(usize::MAX);
        text.get(at..).unwrap_or("nowhere").lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn scalars_have_the_kinds_of_yaml_1_2() {
        let kinds = [
            ("yes", Node::Text("yes".into())),
            ("08", Node::Text("08".into())),
            ("010", Node::Text("010".into())),
            ("1_000", Node::Text("1_000".into())),
            ("12:30", Node::Text("12:30".into())),
            ("0o10", Node::Count(8)),
            ("0x1f", Node::Count(31)),
            ("-1", Node::Number),
            ("1.5", Node::Number),
            ("1e3", Node::Number),
            ("99999999999999999999", Node::Number),
            ("~", Node::Null),
            ("Null", Node::Null),
            ("", Node::Null),
            ("True", Node::Bool(true)),
            ("\"true\"", Node::Text("true".into())),
            ("!!str 5", Node::Text("5".into())),
        ];
        for (text, node) in kinds {
            assert!(read(text) == Ok(node), "{text}");
        }
    }

    #[test]
    fn places_are_exact_behind_wide_characters_and_aliases() {
        let text = "\u{e9}: \u{6f22}\nlist: &l [1, {a: b}]\nagain: *l\nnone:\n";
        assert_eq!(place(text, &[Step::Value(0)]), "\u{6f22}");
        assert_eq!(place(text, &[Step::Key(1)]), "list: &l [1, {a: b}]");
        assert_eq!(place(text, &[Step::Value(1), Step::Item(1), Step::Value(0)]), "b}]");
        assert_eq!(place(text, &[Step::Value(2), Step::Item(0)]), "1, {a: b}]", "behind an alias: at its anchor");
        assert_eq!(place(text, &[Step::Key(3)]), "none:");
    }

    #[test]
    fn duplicates_and_their_order_are_kept() {
        let node = read("b: 1\na: 2\nb: 3\n").expect("a map");
        let keys: Vec<_> = node.pairs().iter().filter_map(|(key, _)| key.text()).collect();
        assert_eq!(keys, ["b", "a", "b"]);
    }

    #[test]
    fn debug_output_shows_no_content() {
        let node = read("password: hunter2").expect("a map");
        assert!(!format!("{node:?}").contains("hunter2"));
    }

    #[test]
    fn what_would_keep_the_library_busy_is_refused_before_it() {
        for text in ["{a: ".repeat(10_000), "[".repeat(60_000), "x".repeat(MAX_BYTES + 1)] {
            assert!(read(&text).is_err());
        }
    }
}
