//! Which rule makes a node's state, in one sentence for each, and since when it holds. The rules themselves are `node/state.rs`'.

use jiff::{SignedDuration, Timestamp};

use crate::desired::units;
use crate::desired::{Desired, units::exact};
use crate::node::{FailedWhy, KeptWhy, Node, Stage, State, UsedWhy};
use crate::observed::AgentMark;

/// The sentence of docs/architecture.md's table that fits, with the limits that it was held against.
pub fn rule_of(state: &State) -> String {
    match state {
        State::Deleting => "a server that Nova is deleting is no capacity, and nothing is left to do for it".to_owned(),
        State::Busy => "a node whose agent runs a build is busy, and never removed".to_owned(),
        State::Held(_) => "a server that is locked, or has a hold that is not over, is a person's".to_owned(),
        State::HoldOver(_) => "a node whose hold is over takes no build again: a person was in it".to_owned(),
        State::Retiring(_) => "a node whose removal has begun, or whose pool is gone, only goes down".to_owned(),
        State::Launching => "a server in BUILD for no longer than launch-timeout is launching".to_owned(),
        State::Failed(why) => failed(why),
        State::Kept(why) => kept(why),
        State::WithoutFloatingIp => {
            "ACTIVE, in a provider whose nodes have floating IPs, and none was made for it yet: it is booting".to_owned()
        }
        State::Booting { up: None } => {
            "ACTIVE, and no SSH with a key to trust yet, for no longer than boot-timeout, is booting".to_owned()
        }
        State::Booting { up: Some(_) } => "ACTIVE, SSH answers, and no script was started: it is booting".to_owned(),
        State::Preparing => "a machine whose ready script was started and is not over is preparing".to_owned(),
        State::ToRegister => "a machine whose ready script passed, without an agent, is to be registered".to_owned(),
        State::Joining { start: false } => {
            "registered, and never online yet, for no longer than online-timeout, is joining".to_owned()
        }
        State::Joining { start: true } => {
            "registered, never online yet, and its agent's process is not there: joining".to_owned()
        }
        State::Orphan => "a server whose agent was online once and is gone is never registered again".to_owned(),
        State::Used(why) => used(why),
        State::Resuming { .. } => {
            "a used node on which a Pipeline may go on after its controller's restart is left alone for lost-grace".to_owned()
        }
        State::Lost { until: None } => "an agent that is offline without anybody's mark is lost".to_owned(),
        State::Lost { until: Some(_) } => {
            "an agent that is offline without anybody's mark is lost, and given up after lost-grace".to_owned()
        }
        State::MassOffline => {
            "more agents of its target are missing at one time than mass-offline allows: none is judged for it".to_owned()
        }
        State::Unseen => {
            "a node that was online once, and whose agent is behind a gap, is not seen: it counts as ready, and is left alone"
                .to_owned()
        }
        State::Ready => "a node whose agent is online and idle is ready".to_owned(),
        State::Snapshot(stage) => builder(stage).to_owned(),
    }
}

fn builder(stage: &Stage) -> &'static str {
    match stage {
        Stage::Passed => "a builder whose setup script exited 0 is marked built, and never starts it again",
        Stage::TurningOff => "a builder that is built, and on for no longer than boot-timeout, is turning off",
        Stage::Off => "a builder that is built and off, without an image in Glance, gets its image made",
        Stage::Saving => "a builder whose image is not active yet, for no longer than setup-timeout, is saving",
        Stage::Saved(_) => {
            "a builder whose image is active is saved; the image is sealed with its own id, then nodes boot from it"
        }
        Stage::Sealed(_) => "a builder whose image is sealed is not needed any more",
    }
}

fn failed(why: &FailedWhy) -> String {
    let longer = |what: &str, within: &SignedDuration, limit: &str| {
        format!("{what} for longer than {} ({limit}) is failed", exact(*within))
    };
    match why {
        FailedWhy::Marked(_) => {
            "a server with the mark poolkeeper_failed is failed, and its machine is not asked again".to_owned()
        }
        FailedWhy::Error(_) => "a server that Nova shows in ERROR is failed".to_owned(),
        FailedWhy::NotActive { within } => longer("BUILD", within, "launch-timeout"),
        FailedWhy::NoSsh { within, .. } => {
            longer("ACTIVE and no SSH", within, "boot-timeout; with ready-timeout once its key is pinned")
        }
        FailedWhy::KeyNotOnConsole { within } => {
            longer("ACTIVE, and a host key that is not on the console,", within, "boot-timeout")
        }
        FailedWhy::OtherHostKey => "a machine that answers with another host key than the pinned one is failed".to_owned(),
        FailedWhy::Script { .. } => "a ready script that ends with another status than 0 has failed the node".to_owned(),
        FailedWhy::ScriptVanished { .. } => {
            "a ready script without a process and without a status has failed the node".to_owned()
        }
        FailedWhy::ScriptTimeout { within, .. } => longer("a ready script that runs", within, "ready-timeout"),
        FailedWhy::Setup { .. } => "a setup script that ends with another status than 0 has failed its builder".to_owned(),
        FailedWhy::SetupVanished { .. } => {
            "a setup script without a process and without a status has failed its builder".to_owned()
        }
        FailedWhy::SetupTimeout { within, .. } => longer("a setup script that runs", within, "setup-timeout"),
        FailedWhy::OffTooEarly => "a builder that is off without the mark poolkeeper_built is failed".to_owned(),
        FailedWhy::NotOff { within } => longer("a builder that is built, and on", within, "boot-timeout"),
        FailedWhy::NotSaved { within } => longer("a builder whose image is not active", within, "setup-timeout"),
        FailedWhy::ImageIs(_) => "a builder whose image will never be active is failed".to_owned(),
        FailedWhy::NotOnline { within } => longer("registered, and never online,", within, "online-timeout"),
        FailedWhy::Lost => "an agent that is lost for longer than lost-grace, and never ran a build, is failed".to_owned(),
        FailedWhy::Monitor(_) => "a node that a monitor took offline, and that never ran a build, is failed".to_owned(),
    }
}

fn kept(why: &KeptWhy) -> String {
    match why {
        KeptWhy::Status(status) => format!("no rule speaks of a server in {status}: it is kept and shown"),
        KeptWhy::Person(_) => "a node that a person marked offline is kept until the person lifts the mark".to_owned(),
        KeptWhy::NoPool => "a server with our mark, but of no pool that can be read, is an alien: it is left alone".to_owned(),
    }
}

fn used(why: &UsedWhy) -> String {
    match why {
        UsedWhy::Marked(_) => "a server with the mark poolkeeper_used is used, whatever Jenkins shows now".to_owned(),
        UsedWhy::Gearman => "an agent that the Gearman plugin took offline after its build is used".to_owned(),
        UsedWhy::Message(_) => "an agent that was marked offline with a text that `used-when` looks for is used".to_owned(),
        UsedWhy::Workspace => "a single-use node with something in its workspace directory is used".to_owned(),
        UsedWhy::OurMark => "an agent that was taken offline at the sight of its build is used".to_owned(),
        UsedWhy::SeenBusy => "a single-use node that was seen busy, and is not any more, is used".to_owned(),
        UsedWhy::Monitor(_) => "a node that a monitor took offline after it ran a build is used".to_owned(),
    }
}

/// Since when a node is in its state, where marks or services tell.
pub fn since_of(desired: &Desired, node: &Node<'_>) -> Option<Timestamp> {
    let (marks, server) = (&node.marks, node.server);
    let offline = || node.agent.computer().and_then(|agent| agent.cause.as_ref()?.since);
    let known = |at: &Timestamp| *at != Timestamp::UNIX_EPOCH;
    let since = match &node.state {
        State::Launching => Some(server.created),
        State::WithoutFloatingIp | State::Booting { .. } => server.launched,
        State::Busy => marks.busy.as_ref().map(|busy| busy.at),
        State::HoldOver(_) => marks.hold.as_ref().and_then(|hold| hold.until),
        State::Failed(why) => marks.failed.as_ref().map(|failed| failed.at).or_else(|| failed_at(desired, node, why)),
        State::Kept(KeptWhy::Person(_)) => offline(),
        State::Joining { .. } => joining_at(node),
        State::Used(_) | State::Resuming { .. } => marks.used.as_ref().map(|used| used.at).or_else(offline),
        State::Lost { .. } | State::MassOffline => marks.lost.or_else(offline),
        State::Deleting
        | State::Held(_)
        | State::Retiring(_)
        | State::Kept(KeptWhy::Status(_) | KeptWhy::NoPool)
        | State::Preparing
        | State::ToRegister
        | State::Orphan
        | State::Snapshot(Stage::Passed)
        | State::Unseen
        | State::Ready => None,
        State::Snapshot(Stage::TurningOff | Stage::Off) => marks.built,
        State::Snapshot(Stage::Saving | Stage::Saved(_) | Stage::Sealed(_)) => {
            node.snapshots.iter().map(|image| image.created).max()
        }
    };
    since.filter(known)
}

fn joining_at(node: &Node<'_>) -> Option<Timestamp> {
    match node.marks.agent {
        Some(AgentMark::Joining(at)) => Some(at),
        Some(AgentMark::Joined) | None => None,
    }
}

/// When the limit was passed that made it failed.
fn failed_at(desired: &Desired, node: &Node<'_>, why: &FailedWhy) -> Option<Timestamp> {
    let server = node.server;
    let (began, within) = match why {
        FailedWhy::NotActive { within } => (server.created, *within),
        FailedWhy::NoSsh { within, .. } | FailedWhy::KeyNotOnConsole { within } => {
            (server.launched.unwrap_or(server.created), *within)
        }
        FailedWhy::NotOnline { within } => (joining_at(node)?, *within),
        FailedWhy::NotOff { within } => (node.marks.built?, *within),
        FailedWhy::NotSaved { within } => (node.snapshots.iter().map(|image| image.created).max().or(node.marks.built)?, *within),
        FailedWhy::Lost => (node.marks.lost?, desired.controller.lost_grace),
        FailedWhy::Monitor(_) => return node.agent.computer()?.cause.as_ref()?.since,
        FailedWhy::Marked(_)
        | FailedWhy::Error(_)
        | FailedWhy::OtherHostKey
        | FailedWhy::Setup { .. }
        | FailedWhy::SetupVanished { .. }
        | FailedWhy::SetupTimeout { .. }
        | FailedWhy::OffTooEarly
        | FailedWhy::ImageIs(_)
        | FailedWhy::Script { .. }
        | FailedWhy::ScriptVanished { .. }
        | FailedWhy::ScriptTimeout { .. } => return None,
    };
    began.checked_add(within).ok()
}

/// `3m ago`; marks that cannot be read have no time.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    if at == Timestamp::UNIX_EPOCH {
        "at a time unknown".to_owned()
    } else {
        format!("{} ago", units::short(units::since(at, now)))
    }
}
