//! The one door to the outside. `live` is the real thing, `sandbox` an in-memory one; nothing else does I/O for a plan.

use std::fmt;

use crate::desired::Desired;
use crate::names::ServerId;
use crate::observed::{Answer, Ask, Fresh, Gap, Lists, Object};
use crate::plan::Act;

/// What a run asks of the outside. Each call has a timeout of its own and never waits for a machine, a script or an image.
pub trait World: Sync {
    /// Round one. Its number of calls does not grow with the number of pools.
    fn lists(&self, desired: &Desired) -> Lists;

    /// Round two: one question.
    fn answer(&self, ask: &Ask) -> Result<Answer, Gap>;

    /// One object as it is now, directly before it is acted on.
    fn read(&self, object: &Object) -> Result<Fresh, Gap>;

    /// One changing request.
    fn act(&self, act: &Act) -> Result<Done, ActError>;
}

/// What a service said yes to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    /// A create was accepted.
    Accepted(ServerId),
    Done,
    /// It was so already: a deletion answered 404, an agent that is offline, a script that was started before.
    Already,
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ActError {
    pub kind: ActErrorKind,
    /// In the service's own words, with status and request id.
    pub said: String,
    /// The call: `POST /servers in wmflabs-eqiad`.
    pub tried: String,
    /// What a person can do now.
    pub hint: Option<String>,
}

/// What the caller does next depends on this alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActErrorKind {
    /// The service said no: asking again in this run brings the same.
    Refused,
    /// 403 for want of quota: no boot failure.
    Quota,
    /// 409, 429, a task in the way: a later pass looks again.
    NotNow,
    /// No answer: it may have been done or not, the next look tells.
    Unanswered,
}

impl fmt::Display for ActError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.said, self.tried)
    }
}

impl std::error::Error for ActError {}
