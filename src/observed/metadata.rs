//! A server's metadata: our marks by what they are, all else by its key.

use std::collections::BTreeMap;

use super::Mark;
use crate::names::Text;

/// As a map by key. Thousands are read in a run, and most of what is in them are marks: a mark's key is kept as one byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// In the order of `Mark`, each at most once.
    marks: Vec<(Mark, Text)>,
    others: BTreeMap<Text, Text>,
}

impl Metadata {
    pub fn mark(&self, mark: Mark) -> Option<&Text> {
        let at = self.place(mark).ok()?;
        self.marks.get(at).map(|(_, value)| value)
    }

    pub fn marks(&self) -> &[(Mark, Text)] {
        &self.marks
    }

    pub fn get(&self, key: &str) -> Option<&Text> {
        Mark::of_key(key).map_or_else(|| self.others.get(key), |mark| self.mark(mark))
    }

    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The value that was there before.
    pub fn insert(&mut self, key: &str, value: impl Into<Text>) -> Option<Text> {
        let value = value.into();
        let Some(mark) = Mark::of_key(key) else { return self.others.insert(Text::new(key), value) };
        match self.place(mark).map(|at| self.marks.get_mut(at)) {
            Ok(Some((_, old))) => Some(std::mem::replace(old, value)),
            Ok(None) => None,
            Err(at) => {
                self.marks.insert(at, (mark, value));
                None
            }
        }
    }

    pub fn remove(&mut self, key: &str) -> Option<Text> {
        let Some(mark) = Mark::of_key(key) else { return self.others.remove(key) };
        self.place(mark).ok().map(|at| self.marks.remove(at).1)
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// By key.
    pub fn all(&self) -> BTreeMap<&str, &str> {
        let marks = self.marks.iter().map(|(mark, value)| (mark.key(), value.as_str()));
        marks.chain(self.others.iter().map(|(key, value)| (key.as_str(), value.as_str()))).collect()
    }

    fn place(&self, mark: Mark) -> Result<usize, usize> {
        self.marks.binary_search_by_key(&mark, |(mark, _)| *mark)
    }
}

impl<K: AsRef<str>, V: Into<Text>> Extend<(K, V)> for Metadata {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        let pairs = pairs.into_iter();
        self.marks.reserve(pairs.size_hint().0);
        for (key, value) in pairs {
            self.insert(key.as_ref(), value);
        }
    }
}

impl<K: AsRef<str>, V: Into<Text>> FromIterator<(K, V)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut metadata = Self::default();
        metadata.extend(pairs);
        metadata
    }
}

impl serde::Serialize for Metadata {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_map(self.all())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_other_keys_come_back_by_key() {
        let pairs = [("poolkeeper_try", "1"), ("zoo", "z"), ("poolkeeper_base", "b"), ("a", ""), ("poolkeeper_try", "2")];
        let mut metadata: Metadata = pairs.into_iter().collect();
        let json = r#"{"a":"","poolkeeper_base":"b","poolkeeper_try":"2","zoo":"z"}"#;
        assert_eq!(serde_json::to_string(&metadata).expect("JSON"), json);
        assert_eq!((metadata.mark(Mark::Try), metadata.get("zoo")), (Some(&"2".into()), Some(&"z".into())));
        assert_eq!((metadata.remove("poolkeeper_try"), metadata.remove("zoo")), (Some("2".into()), Some("z".into())));
        assert_eq!(metadata.insert("poolkeeper_base", "c"), Some("b".into()));
        assert!(metadata.contains_key("a") && !metadata.contains_key("poolkeeper_try") && metadata.mark(Mark::Agent).is_none());
        metadata.clear();
        assert_eq!(metadata, Metadata::default());
    }
}
