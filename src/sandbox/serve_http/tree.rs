//! Jenkins' `tree` parameter: which fields of an answer are wanted. Names that nothing has are passed over.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Names, each with what is wanted of it; nothing: the value as it is.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Tree(BTreeMap<String, Self>);

/// None: it cannot be read, as a range (`{0,1}`) cannot by Hudson.
pub(super) fn parse(text: &str) -> Option<Tree> {
    let mut rest = text;
    let tree = names(&mut rest)?;
    rest.is_empty().then_some(tree)
}

fn names(rest: &mut &str) -> Option<Tree> {
    let mut tree = Tree::default();
    loop {
        let end = rest.find([',', '[', ']', '{', '}']).unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(end)?;
        if name.is_empty() {
            return None;
        }
        *rest = after;
        let mut inner = Tree::default();
        if let Some(after) = rest.strip_prefix('[') {
            *rest = after;
            inner = names(rest)?;
            *rest = rest.strip_prefix(']')?;
        }
        tree.0.insert(name.to_owned(), inner);
        match rest.strip_prefix(',') {
            Some(after) => *rest = after,
            None => return Some(tree),
        }
    }
}

impl Tree {
    /// `_class` comes with every object that has one.
    pub(super) fn pick(&self, value: &Value) -> Value {
        if self.0.is_empty() {
            return value.clone();
        }
        match value {
            Value::Array(items) => items.iter().map(|item| self.pick(item)).collect(),
            Value::Object(fields) => {
                let class = fields.get("_class").map(|class| ("_class".to_owned(), class.clone()));
                let wanted = self.0.iter().filter_map(|(name, tree)| Some((name.clone(), tree.pick(fields.get(name)?))));
                Value::Object(wanted.chain(class).collect::<Map<String, Value>>())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_picked_at_every_level() {
        let tree = parse("a,list[name,cause[text]],nonsense").expect("a tree");
        let value = json!({ "a": 1, "b": 2, "list": [{ "name": "x", "age": 3, "cause": { "text": "t", "more": 1 } }] });
        assert_eq!(tree.pick(&value), json!({ "a": 1, "list": [{ "name": "x", "cause": { "text": "t" } }] }));
        let classes = parse("list[name]").expect("a tree");
        let value = json!({ "list": [{ "_class": "C", "name": "x", "age": 3 }] });
        assert_eq!(classes.pick(&value), json!({ "list": [{ "_class": "C", "name": "x" }] }));
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        for text in ["", "a[", "a[b", "a]", "a{0,1}", ",a"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
