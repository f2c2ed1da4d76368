//! What happens in a world, as values: runs of the timer, builds, people, faults, kills. How it is done is `drive`'s.

use poolkeeper::sandbox::{AgentFate, BuildFate, Fate, ScriptFate, SshFate};
use proptest::prelude::*;

/// Which of those that there are: a number, taken modulo their count.
pub(super) type Pick = u8;

#[derive(Debug, Clone)]
pub(super) enum Event {
    /// The timer's `apply`; its host's clock is so many seconds off; something happens between its looks and its acts.
    Run {
        skew: i32,
        meanwhile: Vec<(u8, Deed)>,
    },
    /// The same, cut off at a call, before its effect or after it.
    KilledRun {
        call: u64,
        done: bool,
    },
    Tick(u32),
    Deed(Deed),
    NextFate(Fate),
    Outage {
        target: bool,
        which: Pick,
    },
    OutagesEnd,
    MinReady {
        pool: Pick,
        wanted: u32,
    },
    NewLabel {
        pool: Pick,
    },
    NewImage {
        provider: Pick,
    },
    /// A server of somebody else: of no mark, of another deployment, or with a name like ours.
    Stranger {
        kind: u8,
        provider: Pick,
    },
    StrangeAgent {
        target: Pick,
    },
}

/// Done to one node, at any moment.
#[derive(Debug, Clone)]
pub(super) struct Deed {
    pub(super) node: Pick,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Build {
        seconds: u32,
        gearman: bool,
    },
    Pipeline {
        seconds: u32,
    },
    /// Over before anybody looks.
    ShortBuild,
    /// A job's own mark.
    Done,
    GearmanMark,
    PersonMark,
    MonitorMark,
    Unmark,
    LoseChannel,
    RestartController,
    Hold,
    HoldFor(u32),
    ServerGone,
    AgentGone,
    PowerOff,
    PowerOn,
    Status(&'static str),
    Task(Option<&'static str>),
}

impl Kind {
    /// Something that befalls only a node whose agent is online.
    pub(super) fn is_of_a_working_node(&self) -> bool {
        matches!(
            self,
            Self::Build { .. }
                | Self::Pipeline { .. }
                | Self::ShortBuild
                | Self::Done
                | Self::GearmanMark
                | Self::PersonMark
                | Self::MonitorMark
        )
    }
}

pub(super) fn any_events(most: usize) -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(any_event(), most / 3..=most)
}

fn any_event() -> impl Strategy<Value = Event> {
    let meanwhile = prop::collection::vec((0_u8..12, any_deed()), 0..3);
    prop_oneof![
        10 => (prop_oneof![6 => Just(0), 1 => -90_i32..90], meanwhile).prop_map(|(skew, meanwhile)| Event::Run { skew, meanwhile }),
        2 => (0_u64..24, any::<bool>()).prop_map(|(call, done)| Event::KilledRun { call, done }),
        4 => prop_oneof![1_u32..30, 30_u32..400, 500_u32..1300].prop_map(Event::Tick),
        9 => any_deed().prop_map(Event::Deed),
        4 => any_fate().prop_map(Event::NextFate),
        1 => (any::<bool>(), any::<Pick>()).prop_map(|(target, which)| Event::Outage { target, which }),
        1 => Just(Event::OutagesEnd),
        1 => (any::<Pick>(), 0_u32..5).prop_map(|(pool, wanted)| Event::MinReady { pool, wanted }),
        1 => any::<Pick>().prop_map(|pool| Event::NewLabel { pool }),
        1 => any::<Pick>().prop_map(|provider| Event::NewImage { provider }),
        1 => (0_u8..3, any::<Pick>()).prop_map(|(kind, provider)| Event::Stranger { kind, provider }),
        1 => any::<Pick>().prop_map(|target| Event::StrangeAgent { target }),
    ]
}

fn any_deed() -> impl Strategy<Value = Deed> {
    let statuses = prop::sample::select(vec!["PAUSED", "SUSPENDED", "SHUTOFF", "ERROR", "SHELVED", "ACTIVE"]);
    let kind = prop_oneof![
        9 => (5_u32..1500, any::<bool>()).prop_map(|(seconds, gearman)| Kind::Build { seconds, gearman }),
        2 => (5_u32..1500).prop_map(|seconds| Kind::Pipeline { seconds }),
        1 => Just(Kind::ShortBuild),
        1 => Just(Kind::Done),
        2 => Just(Kind::GearmanMark),
        2 => Just(Kind::PersonMark),
        1 => Just(Kind::MonitorMark),
        1 => Just(Kind::Unmark),
        1 => Just(Kind::LoseChannel),
        1 => Just(Kind::RestartController),
        1 => Just(Kind::Hold),
        1 => (60_u32..3600).prop_map(Kind::HoldFor),
        1 => Just(Kind::ServerGone),
        1 => Just(Kind::AgentGone),
        1 => Just(Kind::PowerOff),
        1 => Just(Kind::PowerOn),
        1 => statuses.prop_map(Kind::Status),
        1 => prop::option::of(Just("rebooting")).prop_map(Kind::Task),
    ];
    (any::<Pick>(), kind).prop_map(|(node, kind)| Deed { node, kind })
}

fn any_fate() -> impl Strategy<Value = Fate> {
    let fate = Fate::default;
    prop::sample::select(vec![
        Fate { build: BuildFate::Error("No valid host was found".into()), ..fate() },
        Fate { build: BuildFate::Stuck, ..fate() },
        Fate { no_address: true, ..fate() },
        Fate { ssh: SshFate::Never, ..fate() },
        Fate { ssh: SshFate::LoginRefused, ..fate() },
        Fate { silent_console: true, ..fate() },
        Fate { script: ScriptFate::Exits { status: 3, output: "E: no space".into() }, ..fate() },
        Fate { script: ScriptFate::Hangs, ..fate() },
        Fate { script: ScriptFate::Vanishes, ..fate() },
        Fate { agent: AgentFate::NeverOnline, ..fate() },
        Fate { agent: AgentFate::Dies, ..fate() },
    ])
}
