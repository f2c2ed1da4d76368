//! What could not be seen, as a value: a gap stops every deletion that depends on it and never raises the need.

use std::fmt;

use crate::names::{ProviderName, ServerId, TargetName};

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Gap {
    pub source: Source,
    /// What was tried: `GET /computer/api/json`.
    pub tried: String,
    /// What came instead of an answer, in the service's own words where it had any.
    pub answered: String,
    /// What a person can do now.
    pub hint: Option<String>,
}

/// What is not seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    Provider(ProviderName),
    Target(TargetName),
    Server(ProviderName, ServerId),
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider(name) => write!(out, "{name}"),
            Self::Target(name) => write!(out, "{name}"),
            Self::Server(provider, id) => write!(out, "server {} in {provider}", crate::names::short(id.as_str())),
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} was not seen: {} ({})", self.source, self.answered, self.tried)
    }
}
