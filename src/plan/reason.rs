//! Why something is done, and why something is not: closed enums with one text each.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::drift::Drift;
use super::snapshot::due::Due;
use crate::desired::units;
use crate::names::{ImageName, ProviderName, ServerId, short};
use crate::node::{FailedWhy, UsedWhy};

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
    /// A person kept it, until now.
    HoldOver(String),
    Orphan,
    /// An agent of ours whose server is in no list.
    LoneAgent,
    /// A floating IP of ours whose server is in no list: that server.
    LoneFloatingIp(ServerId),
    /// Left in Jenkins' list of an agent that was deleted under a Pipeline.
    Ghost,
    /// More are ready than wanted.
    Surplus,
    /// Its pool is not in the desired state any more.
    PoolRemoved,
    /// Made from inputs that changed; its replacement is ready, or there is no room for it.
    Drift(Vec<Drift>),
    /// Its removal began in an earlier pass or run.
    Retiring(String),
    Busy,
    Lost,
    /// Up and not lost any more.
    Back,
    /// A Pipeline waits for it to go on after the controller's restart.
    Resuming,
    /// Of a builder: its snapshot is due.
    Build(Due),
    Pinned,
    Unpinned,
    /// A snapshot, by a person.
    CalledBad,
    /// Of a builder: its snapshot is what nodes boot from.
    Saved,
    /// Of a builder: what it is made from is not what is wanted any more.
    InputsChanged,
    /// Of a builder: its image is not in the desired state any more, or not in its provider.
    ImageRemoved(String),
    /// Of a snapshot: newer good ones are more than are kept.
    BeyondKeep {
        keep: u32,
    },
    /// Of a snapshot: a person called it bad, and there is a newer good one.
    BadSnapshot,
    Next(Step),
}

/// The next step up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// ACTIVE: one floating IP on its port.
    FloatingIp,
    /// SSH answered: pin the key, push scripts, start the ready script.
    Prepare,
    /// The ready script passed: register the agent.
    Register,
    /// Registered: start the inbound agent.
    StartAgent,
    /// First seen online.
    Joined,
    /// Of a builder, SSH answered: pin the key, push scripts, start the setup script.
    Setup,
    /// The setup script passed: switched off.
    TurnOff,
    /// Off: its image is made.
    CreateImage,
    /// Its image is active: nodes may boot from it.
    Seal,
}

/// Why nothing more is done for a pool or a node now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitsFor {
    /// A machine on its way up: what it waits for.
    Boot,
    /// A port that its floating IP can be put on.
    Port,
    Ssh,
    Script,
    Online,
    /// Its build.
    Build,
    /// A person: held, or marked offline by hand.
    Person(String),
    /// Nova, to finish a deletion.
    Deletion,
    /// A person, to see why Nova does not finish it.
    StuckDeletion {
        since: Timestamp,
    },
    /// A person, to see why Nova does not finish what it does with a builder.
    StuckTask {
        task: String,
        longest: String,
    },
    /// Our own mark to be seen in a later pass.
    LaterPass,
    /// A lost agent to come back.
    Return {
        until: Timestamp,
    },
    /// A Pipeline that may go on on it after the controller's restart.
    Resume {
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
    /// Its flavor needs more than the whole quota: what leaves makes no room.
    BeyondQuota {
        flavor: String,
        what: &'static str,
        need: u64,
        limit: u64,
    },
    BackOff {
        until: Timestamp,
        attempt: u32,
        why: String,
    },
    /// After a back-off: what becomes of the one machine that is on its way.
    Try {
        attempt: u32,
        why: String,
    },
    /// The back-off is over, and none is on its way: what holds it back is its pool's or image's own reason.
    TryDue {
        attempt: u32,
        why: String,
    },
    /// `before`: what became of the one that its snapshot of now was made from, where that was seen.
    NoImage {
        name: String,
        before: Option<String>,
    },
    /// Projects that share an active image of that name.
    SeveralOwners {
        name: String,
        owners: Vec<String>,
    },
    /// `why`: what becomes of its build.
    NoSnapshot {
        image: ImageName,
        why: String,
    },
    /// A snapshot of the same inputs that a person called bad.
    BadInputs {
        name: String,
        until: Timestamp,
    },
    /// The builder of another image in the same provider.
    OtherBuild(ImageName),
    /// The last slot of a provider is for the builder of this image.
    KeptForBuild(ImageName),
    /// A builder: its setup script.
    Setup,
    /// A builder: to be off.
    Off,
    /// A builder: its image to become active.
    Saving,
    /// A builder: its image was asked for, and is not there any more.
    SavedAgain,
    /// A snapshot: Glance to delete it, which it did not when it was last asked. `said`: in this run.
    LetGo {
        until: Timestamp,
        said: Option<String>,
    },
    /// `near`: the name of one that there is, and that may be meant. `names`: all that there are, where they are few.
    NoFlavor {
        name: String,
        near: Option<String>,
        names: Vec<String>,
    },
    NoNetwork {
        name: String,
        near: Option<String>,
        names: Vec<String>,
    },
    Refused(String),
    /// A drifted node: its replacement to be ready.
    Replacement(Vec<Drift>),
    /// A drifted node: the snapshot that the same change has built anew, so that it is replaced once.
    NewSnapshot {
        image: ImageName,
        drift: Vec<Drift>,
    },
    /// A person, to lift a limit.
    Limit,
    /// Flavors, networks and limits are asked for in the next pass.
    NextPass,
}

impl fmt::Display for Because {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { have, want } => write!(out, "{have} of {want} ready or coming"),
            Self::Used { why, idle: Some(idle) } => write!(out, "used: {why}, idle {}", units::short(*idle)),
            Self::Used { why, idle: None } => write!(out, "used: {why}"),
            Self::Failed(why) => write!(out, "failed: {why}"),
            Self::RoomForTry { attempt, .. } => write!(out, "room for the next try (try {attempt} failed)"),
            Self::HoldOver(who) => write!(out, "its hold is over ({who})"),
            Self::Orphan => out.write_str("its agent is gone from Jenkins"),
            Self::Ghost => out.write_str("a ghost of a deleted agent"),
            Self::LoneAgent => out.write_str("its server is gone"),
            Self::LoneFloatingIp(server) => write!(out, "its server {} is gone", short(server.as_str())),
            Self::Surplus => out.write_str("surplus: more are ready than wanted"),
            Self::PoolRemoved => out.write_str("its pool was removed"),
            Self::Drift(drift) => write!(out, "drift: {}", joined(drift)),
            Self::Retiring(why) => write!(out, "retiring: {why}"),
            Self::Busy => out.write_str("seen busy"),
            Self::Lost => out.write_str("agent lost"),
            Self::Back => out.write_str("agent back"),
            Self::Resuming => out.write_str("a Pipeline waits to go on on it"),
            Self::Build(due) => write!(out, "{due}"),
            Self::Pinned => out.write_str("pinned: nothing deletes it until it is unpinned"),
            Self::Unpinned => out.write_str("not pinned any more"),
            Self::CalledBad => out.write_str("called bad by a person"),
            Self::Saved => out.write_str("its snapshot is there"),
            Self::InputsChanged => out.write_str("its inputs changed: it is built anew"),
            Self::ImageRemoved(why) => out.write_str(why),
            Self::BeyondKeep { keep } => write!(out, "newer snapshots are there (keep: {keep})"),
            Self::BadSnapshot => out.write_str("bad, and a newer good one is there"),
            Self::Next(step) => write!(out, "{step}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::FloatingIp => "ACTIVE: create a floating IP",
            Self::Prepare => "SSH answers: run the ready script",
            Self::Register => "ready script passed: register the agent",
            Self::StartAgent => "registered: start the agent",
            Self::Joined => "first seen online",
            Self::Setup => "SSH answers: run the setup script",
            Self::TurnOff => "setup script passed: clean up and switch off",
            Self::CreateImage => "off: make its image",
            Self::Seal => "its image is active: nodes may boot from it",
        })
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boot => out.write_str("ACTIVE"),
            Self::Port => out.write_str("a port with an IPv4 address for its floating IP"),
            Self::Ssh => out.write_str("SSH"),
            Self::Script => out.write_str("its ready script"),
            Self::Online => out.write_str("its agent to come online"),
            Self::Build => out.write_str("its build"),
            Self::Person(who) => write!(out, "a person: {who}"),
            Self::Deletion => out.write_str("Nova to delete it"),
            Self::StuckDeletion { since } => write!(out, "a person: Nova deletes it since {}", clock(*since)),
            Self::StuckTask { task, longest } => write!(out, "a person: Nova is at its task {task} since more than {longest}"),
            Self::LaterPass => out.write_str("a second look at it, some seconds later"),
            Self::Return { until } => write!(out, "its agent to return, until {}", clock(*until)),
            Self::Resume { until } => write!(out, "its Pipeline to go on, until {}", clock(*until)),
            Self::Gap(what) => write!(out, "{what} to be seen again"),
            Self::Paused(why) => write!(out, "a person: paused: {why}"),
            Self::PoolFull { max } => write!(out, "room in the pool (max-servers: {max})"),
            Self::ProviderFull { max } => write!(out, "room in the provider (max-servers: {max})"),
            Self::LaunchesAtATime { max } => write!(out, "launches under way (max-concurrent-launches: {max})"),
            Self::LaunchesPerRun { max } => write!(out, "the next run (max-launches-per-run: {max})"),
            Self::Quota(what) => write!(out, "room in the quota ({what})"),
            Self::BackOff { until, attempt, why } => write!(out, "back-off until {} ({why}, try {attempt})", clock(*until)),
            Self::TryDue { attempt, why } => write!(out, "the next try, which is due (try {attempt}: {why})"),
            Self::Try { attempt, why } => write!(out, "the next try, under way (try {attempt}: {why})"),
            Self::BeyondQuota { .. }
            | Self::NoImage { .. }
            | Self::SeveralOwners { .. }
            | Self::NoFlavor { .. }
            | Self::NoNetwork { .. } => write!(out, "a person: {}", self.lacks().unwrap_or_default()),
            Self::NoSnapshot { image, why } if why.is_empty() => write!(out, "a snapshot `{image}`"),
            Self::NoSnapshot { image, why } => write!(out, "a snapshot `{image}`: {why}"),
            Self::BadInputs { name, until } => {
                let until = until.strftime("%Y-%m-%d %H:%M");
                write!(out, "changed inputs, an `image update`, or {until}: {name} of the same ones is bad")
            }
            Self::OtherBuild(image) => write!(out, "the build of `{image}`, one at a time in a provider"),
            Self::KeptForBuild(image) => write!(out, "room in the provider: its last slot is for the build of `{image}`"),
            Self::Setup => out.write_str("its setup script"),
            Self::Off => out.write_str("it to be off"),
            Self::Saving => out.write_str("its image to become active"),
            Self::SavedAgain => out.write_str("the next run: its image was made and is not there any more"),
            Self::LetGo { until, said: Some(said) } => {
                write!(out, "Glance to let it go, asked again from {}: {said}", clock(*until))
            }
            Self::LetGo { until, said: None } => {
                write!(
                    out,
                    "Glance to let it go, asked again from {}: a deletion was begun, and it is still there",
                    clock(*until)
                )
            }
            Self::Refused(said) => write!(out, "the next run: {said}"),
            Self::Replacement(drift) => write!(out, "its replacement ({})", joined(drift)),
            Self::NewSnapshot { image, drift } => {
                write!(out, "the build of `{image}` from the same change, to be replaced once ({})", joined(drift))
            }
            Self::Limit => out.write_str("a person to lift a limit"),
            Self::NextPass => out.write_str("the next run, which asks for flavors and limits"),
        }
    }
}

fn joined(drift: &[Drift]) -> String {
    drift.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Hours and minutes, UTC.
fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M").to_string()
}
