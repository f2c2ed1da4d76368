//! A regular expression of the desired state: the one door to `regex-lite`. What it is held against is the caller's.

use std::fmt;

use regex_lite::Regex;

/// Found anywhere in a text, unless it says `^` and `$`. Its time grows with the text's length alone.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Regex::new(text).map(Self).map_err(|error| error.to_string())
    }

    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// It is found in every text, so it tells nothing.
    pub fn is_everywhere(&self) -> bool {
        self.is_in("")
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0.as_str())
    }
}

impl serde::Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self.0.as_str())
    }
}
