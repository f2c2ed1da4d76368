//! Why a node is used or failed: closed enums with one text each.

use std::fmt;

use jiff::SignedDuration;

use crate::desired::units;

/// What tells that a node's build is over, or that it must not get one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UsedWhy {
    /// The mark that an earlier pass wrote.
    Marked(String),
    /// The Gearman plugin's offline mark.
    Gearman,
    /// An offline mark with a text that the pool looks for.
    Message(String),
    /// Something is in its workspace.
    Workspace,
    /// Our own mark, set at the sight of its build.
    OurMark,
    /// Seen busy, now idle, single-use.
    SeenBusy,
    /// A node monitor took it offline after it was used.
    Monitor(String),
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailedWhy {
    /// The mark that an earlier pass wrote.
    Marked(String),
    /// Nova's own words.
    Error(String),
    NotActive {
        within: SignedDuration,
    },
    NoSsh {
        within: SignedDuration,
        why: String,
    },
    KeyNotOnConsole {
        within: SignedDuration,
    },
    OtherHostKey,
    Script {
        status: i32,
        tail: String,
    },
    ScriptVanished {
        tail: String,
    },
    ScriptTimeout {
        within: SignedDuration,
        tail: String,
    },
    Setup {
        status: i32,
        tail: String,
    },
    SetupVanished {
        tail: String,
    },
    SetupTimeout {
        within: SignedDuration,
        tail: String,
    },
    /// SHUTOFF, and its setup script had not passed.
    OffTooEarly,
    /// Of a builder: on, long after it was told to go off.
    NotOff {
        within: SignedDuration,
    },
    /// Of a builder: no image of it is active.
    NotSaved {
        within: SignedDuration,
    },
    /// What became of its image, in Glance's word.
    ImageIs(String),
    NotOnline {
        within: SignedDuration,
    },
    /// Lost for longer than the grace, and never used.
    Lost,
    Monitor(String),
}

/// The first line of a text, for one-line reasons.
fn first_line(text: &str) -> &str {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default()
}

/// The last line of a text that says something.
fn last_line(text: &str) -> &str {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim()
}

/// The last lines of a text that say something, in one line.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(3)).copied().collect::<Vec<_>>().join(" / ")
}

impl fmt::Display for UsedWhy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Marked(why) => out.write_str(why),
            Self::Gearman => write!(out, "`{}`", crate::observed::agent::GEARMAN_MESSAGE),
            Self::Message(text) => write!(out, "`{text}`"),
            Self::Workspace => out.write_str("something is in its workspace"),
            Self::OurMark => out.write_str("marked at the sight of its build"),
            Self::SeenBusy => out.write_str("seen busy, now idle"),
            Self::Monitor(name) => write!(out, "taken offline by {name}"),
        }
    }
}

impl fmt::Display for FailedWhy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = |out: &mut fmt::Formatter<'_>, what: &str, within: &SignedDuration| {
            write!(out, "{what} within {}", units::exact(*within))
        };
        match self {
            Self::Marked(why) => out.write_str(why),
            Self::Error(fault) if fault.trim().is_empty() => out.write_str("ERROR, and Nova shows no fault"),
            Self::Error(fault) => write!(out, "ERROR: {}", first_line(fault)),
            Self::NotActive { within: limit } => within(out, "not ACTIVE", limit),
            Self::NoSsh { within: limit, why } => {
                within(out, "no SSH", limit)?;
                write!(out, " ({})", first_line(why))
            }
            Self::KeyNotOnConsole { within: limit } => within(out, "host key not on the console", limit),
            Self::OtherHostKey => out.write_str("another SSH host key than the pinned one"),
            Self::Script { status, tail } => write!(out, "ready script exited {status}: {}", last_line(tail)),
            Self::ScriptVanished { .. } => out.write_str("ready script ended without a status"),
            Self::ScriptTimeout { within: limit, tail } => {
                within(out, "ready script not over", limit)?;
                write!(out, ": {}", last_line(tail))
            }
            Self::Setup { status, tail } => write!(out, "setup script exited {status}: {}", last_lines(tail)),
            Self::SetupVanished { tail } => write!(out, "setup script ended without a status: {}", last_lines(tail)),
            Self::SetupTimeout { within: limit, tail } => {
                within(out, "setup script not over", limit)?;
                write!(out, ": {}", last_lines(tail))
            }
            Self::OffTooEarly => out.write_str("turned off before its setup script was over"),
            Self::NotOff { within: limit } => within(out, "not off", limit),
            Self::NotSaved { within: limit } => within(out, "its image not active", limit),
            Self::ImageIs(status) => write!(out, "its image is {status}"),
            Self::NotOnline { within: limit } => within(out, "agent not online", limit),
            Self::Lost => out.write_str("agent lost for longer than lost-grace"),
            Self::Monitor(name) => write!(out, "taken offline by {name}"),
        }
    }
}
