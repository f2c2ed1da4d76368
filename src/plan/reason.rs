//! Why something is done, and why something is not: closed enums with one text each.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::desired::units;
use crate::names::ProviderName;

/// Why a chain is in the plan.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// Fewer ready or coming than wanted.
    Short {
        have: u32,
        want: u32,
    },
    Used {
        why: UsedWhy,
        idle: Option<SignedDuration>,
    },
    Failed(FailedWhy),
    /// The kept failed machine goes first: its back-off is over and there is no room for the next try beside it.
    RoomForTry {
        provider: ProviderName,
        attempt: u32,
    },
    Orphan,
    /// An agent of ours whose server is in no list.
    LoneAgent,
    Surplus,
    /// Its removal began in an earlier pass or run.
    Retiring(String),
    Busy,
    Lost,
    /// Up and not lost any more.
    Back,
    Next(Step),
}

/// The next step up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// SSH answered: pin the key, push scripts, start the ready script.
    Prepare,
    /// The ready script passed: register the agent.
    Register,
    /// Registered: start the inbound agent.
    StartAgent,
    /// First seen online.
    Joined,
}

/// What tells that a node's build is over, or that it must not get one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UsedWhy {
    /// The mark that an earlier pass wrote.
    Marked(String),
    /// The Gearman plugin's offline mark.
    Gearman,
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
    NotOnline {
        within: SignedDuration,
    },
    /// Lost for longer than the grace, and never used.
    Lost,
    Monitor(String),
}

/// Why nothing more is done for a pool or a node now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitsFor {
    /// A machine on its way up: what it waits for.
    Boot,
    Ssh,
    Script,
    Online,
    /// Its build.
    Build,
    /// A person: held, or marked offline by hand.
    Person(String),
    /// Nova, to finish a deletion.
    Deletion,
    /// Our own mark to be seen in a later pass.
    LaterPass,
    /// A lost agent to come back.
    Return {
        until: Timestamp,
    },
    Gap(String),
    Paused(String),
    PoolFull {
        max: u32,
    },
    ProviderFull {
        max: u32,
    },
    LaunchesAtATime {
        max: u32,
    },
    LaunchesPerRun {
        max: u32,
    },
    Quota(String),
    BackOff {
        until: Timestamp,
        attempt: u32,
        why: String,
    },
    NoImage(String),
    NoFlavor(String),
    NoNetwork(String),
    Refused(String),
    /// Flavors, networks and limits are asked for in the next pass.
    NextPass,
}

/// The first line of a text, for one-line reasons.
fn first_line(text: &str) -> &str {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default()
}

/// The last line of a text that says something.
fn last_line(text: &str) -> &str {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim()
}

impl fmt::Display for Because {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { have, want } => write!(out, "{have} of {want} ready or coming"),
            Self::Used { why, idle: Some(idle) } => write!(out, "used: {why}, idle {}", units::short(*idle)),
            Self::Used { why, idle: None } => write!(out, "used: {why}"),
            Self::Failed(why) => write!(out, "failed: {why}"),
            Self::RoomForTry { attempt, .. } => write!(out, "room for the next try (try {attempt} failed)"),
            Self::Orphan => out.write_str("its agent is gone from Jenkins"),
            Self::LoneAgent => out.write_str("its server is gone"),
            Self::Surplus => out.write_str("surplus"),
            Self::Retiring(why) => write!(out, "retiring: {why}"),
            Self::Busy => out.write_str("seen busy"),
            Self::Lost => out.write_str("agent lost"),
            Self::Back => out.write_str("agent back"),
            Self::Next(step) => write!(out, "{step}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Prepare => "SSH answers: run the ready script",
            Self::Register => "ready script passed: register the agent",
            Self::StartAgent => "registered: start the agent",
            Self::Joined => "first seen online",
        })
    }
}

impl fmt::Display for UsedWhy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Marked(why) => out.write_str(why),
            Self::Gearman => write!(out, "`{}`", crate::observed::agent::GEARMAN_MESSAGE),
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
            Self::NotOnline { within: limit } => within(out, "agent not online", limit),
            Self::Lost => out.write_str("agent lost for longer than lost-grace"),
            Self::Monitor(name) => write!(out, "taken offline by {name}"),
        }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boot => out.write_str("ACTIVE"),
            Self::Ssh => out.write_str("SSH"),
            Self::Script => out.write_str("its ready script"),
            Self::Online => out.write_str("its agent to come online"),
            Self::Build => out.write_str("its build"),
            Self::Person(who) => write!(out, "a person: {who}"),
            Self::Deletion => out.write_str("Nova to delete it"),
            Self::LaterPass => out.write_str("a look in a later pass"),
            Self::Return { until } => write!(out, "its agent to return, until {}", clock(*until)),
            Self::Gap(what) => write!(out, "{what} to be seen again"),
            Self::Paused(why) => write!(out, "a person: paused: {why}"),
            Self::PoolFull { max } => write!(out, "room in the pool (max-servers: {max})"),
            Self::ProviderFull { max } => write!(out, "room in the provider (max-servers: {max})"),
            Self::LaunchesAtATime { max } => write!(out, "launches under way (max-concurrent-launches: {max})"),
            Self::LaunchesPerRun { max } => write!(out, "the next run (max-launches-per-run: {max})"),
            Self::Quota(what) => write!(out, "quota: {what}"),
            Self::BackOff { until, attempt, why } => write!(out, "back-off until {} ({why}, try {attempt})", clock(*until)),
            Self::NoImage(name) => write!(out, "an ACTIVE image `{name}`"),
            Self::NoFlavor(name) => write!(out, "a flavor `{name}`"),
            Self::NoNetwork(name) => write!(out, "a network `{name}`"),
            Self::Refused(said) => write!(out, "the next run: {said}"),
            Self::NextPass => out.write_str("flavors and limits, seen in the next pass"),
        }
    }
}

/// Hours and minutes, UTC.
fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M").to_string()
}
