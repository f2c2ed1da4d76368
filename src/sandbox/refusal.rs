//! A service's refusal: status and words. Shared by the direct world and the served one.

use crate::world::ActErrorKind;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The service's own words.
    pub said: String,
}

impl Refusal {
    pub fn new(status: u16, said: impl Into<String>) -> Self {
        Self { status, said: said.into() }
    }

    pub fn kind(&self) -> ActErrorKind {
        match self.status {
            403 | 409 if self.said.starts_with("Quota exceeded") => ActErrorKind::Quota,
            409 | 413 | 429 | 503 => ActErrorKind::NotNow,
            _ => ActErrorKind::Refused,
        }
    }
}
