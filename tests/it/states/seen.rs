//! A node as it is seen, from a line of words: `SHUTOFF joined agent=temp,gearman lost=5m`. No rows: those are `states`'.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use poolkeeper::desired::units::{duration, exact};
use poolkeeper::desired::{Desired, Digest, Family, HostKeys, Pattern, UsedWhen};
use poolkeeper::names::{ProviderName, ServerId, TargetName};
use poolkeeper::node::state::KeptWhy;
use poolkeeper::node::{State, join};
use poolkeeper::observed::agent::{GEARMAN_MESSAGE, OUR_MESSAGE};
use poolkeeper::observed::{
    Address, AddressKind, Answer, Ask, Computer, Gap, HostKey, Lists, Login, MachineAsk, MachineFacts, MachineSight, Observed,
    OfflineCause, ProviderLists, ScriptState, Server, ServerStatus, Source, TargetList, ThisRun, WorkspaceSight,
};

use crate::scene::{POOL, PROVIDER, TARGET, desired};

const NAME: &str = "ci-jessie-1ng7j2g00wq";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGE+FfnOTQDGpBxpBFvUeliXWCBxhlGaZKlDHWRGVRix";
const OTHER_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKP0QWbYCN1ZKlv9yGcTRNvOSSwdZEsGOTBFpgCZnGfx";

fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().expect("a time")
}

/// So long ago.
fn ago(text: &str) -> Timestamp {
    now() - duration(text).unwrap_or_else(|why| panic!("{why}"))
}

/// What a word is about: two words about one thing cannot both be seen.
pub(super) fn about(word: &str) -> &'static str {
    match word.split('=').next().unwrap_or(word) {
        "joining" | "joined" | "unregistered" => "agent mark",
        "agent" => "agent",
        "task" => "task",
        "age" => "age",
        "lost" => "lost mark",
        "used" => "used mark",
        "busy" => "busy mark",
        "failed" => "failed mark",
        "retire" => "retire mark",
        "hold" => "hold mark",
        "locked" => "lock",
        "pinned" => "host key mark",
        "pool" => "pool",
        "address" => "address",
        "ssh" | "script" | "workspace" => "machine",
        "console" => "console",
        "host-keys" => "host-keys",
        "used-when" => "used-when",
        "single-use" => "single-use",
        "mass" => "mass",
        "session" => "session",
        "queue" => "queue",
        status if status.chars().all(|c| c.is_ascii_uppercase() || c == '_') => "status",
        other => panic!("`{other}` is no word of a row"),
    }
}

/// The state of a node that is seen so, in words.
pub(super) fn state_of(line: &str) -> String {
    let mut seen = Seen::new();
    for word in line.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        seen.word(about(word), key, value);
    }
    seen.state()
}

struct Seen {
    desired: Desired,
    server: Server,
    agent: Option<Computer>,
    target_gap: bool,
    machine: Option<Result<MachineSight, ()>>,
    console: Option<Result<String, ()>>,
    mass: bool,
    /// Of the controller; the busy mark's is `4c1f`.
    session: Option<String>,
    /// Whether the controller's queue names the node; none: it was not asked.
    queue: Option<bool>,
}

impl Seen {
    /// ACTIVE for a minute, ours, and nothing else is known of it.
    fn new() -> Self {
        let marks = [("controller", "contint"), ("role", "node"), ("pool", POOL), ("target", TARGET)];
        let address =
            Address { network: "ci-net".into(), address: "10.0.0.4".into(), family: Family::V4, kind: AddressKind::Fixed };
        let server = Server {
            id: ServerId::from("0b7d4b0e-6f0b-4d0e-8f1a-5a2f6d0c9e11"),
            name: NAME.into(),
            status: ServerStatus::Active,
            task: None,
            created: ago("1m"),
            updated: Some(ago("1m")),
            launched: Some(ago("1m")),
            image: None,
            flavor: "m1.medium".into(),
            addresses: vec![address],
            availability_zone: None,
            locked: Some(false),
            metadata: marks.map(|(key, value)| (format!("poolkeeper_{key}"), value)).into_iter().collect(),
            fault: None,
        };
        let desired = desired("/nowhere/lock".into());
        Self {
            desired,
            server,
            agent: None,
            target_gap: false,
            machine: None,
            console: None,
            mass: false,
            session: Some("4c1f".into()),
            queue: None,
        }
    }

    fn mark(&mut self, key: &str, value: impl Into<String>) {
        self.server.metadata.insert(&format!("poolkeeper_{key}"), value.into());
    }

    fn word(&mut self, about: &str, key: &str, value: &str) {
        let pool = self.desired.pools.get_mut(POOL).expect("the pool");
        match about {
            "status" => {
                self.server.status = ServerStatus::parse(key);
                self.server.fault = (key == "ERROR").then(|| "No valid host".to_owned());
            }
            "task" => self.server.task = Some(value.to_owned()),
            "age" => {
                self.server.created = ago(value);
                self.server.launched = Some(ago(value));
            }
            "lock" => self.server.locked = Some(true),
            "address" => self.server.addresses.clear(),
            "agent mark" if key == "joining" => self.mark("agent", format!("joining {}", ago(value))),
            "agent mark" if key == "joined" => self.mark("agent", "joined"),
            "agent mark" => {}
            "lost mark" => self.mark("lost", ago(value).to_string()),
            "used mark" => self.mark("used", format!("{} build", ago(if value.is_empty() { "1m" } else { value }))),
            "busy mark" => self.mark("busy", format!("{} 4c1f", ago("1m"))),
            "failed mark" => self.mark("failed", format!("{} it broke", ago("1m"))),
            "retire mark" => self.mark("retire", "surplus"),
            "hold mark" if value == "none" => {}
            "hold mark" if value == "over" => self.mark("hold", format!("alice; {}; look", ago("1m"))),
            "hold mark" => self.mark("hold", "alice; -; look"),
            "host key mark" => self.mark("hostkey", KEY),
            "pool" if value == "removed" => self.desired.pools.clear(),
            "pool" => drop(self.server.metadata.remove("poolkeeper_pool")),
            "host-keys" => self.desired.controller.providers.values_mut().for_each(|one| one.host_keys = HostKeys::FirstUse),
            "used-when" if value == "message" => {
                pool.used_when = vec![UsedWhen::Message(Pattern::parse("^T[0-9]+$").expect("a pattern"))];
            }
            "used-when" => pool.used_when.clear(),
            "single-use" => pool.single_use = false,
            "mass" => self.mass = true,
            "session" => self.session = Some(value.to_owned()).filter(|session| session != "none"),
            "queue" => self.queue = Some(value == "names-it"),
            "agent" if value == "gap" => self.target_gap = true,
            "agent" => self.agent = computer(value),
            "machine" => self.machine = Some(machine(key, value)),
            "console" => self.console = Some(console(value)),
            other => panic!("nothing is done for {other}"),
        }
    }

    fn state(&self) -> String {
        let observed = self.observed();
        let joined = join(&self.desired, &observed, now());
        let node = joined.nodes.iter().find(|node| node.name.as_str() == NAME).expect("it is listed");
        words(&node.state)
    }

    fn observed(&self) -> Observed {
        let mut servers = vec![self.server.clone()];
        // Four more whose agents are gone.
        servers.extend((0..if self.mass { 4 } else { 0 }).map(|number| {
            let mut other = Self::new();
            other.mark("agent", "joined");
            Server { id: ServerId::new(format!("other-{number}")), name: format!("ci-jessie-{number}").into(), ..other.server }
        }));
        let provider = ProviderName::from(PROVIDER);
        let lists = ProviderLists { servers, ..ProviderLists::default() };
        let target = if self.target_gap {
            Err(gap(Source::Target(TargetName::from(TARGET))))
        } else {
            let (computers, session) = (self.agent.clone().into_iter().collect(), self.session.clone());
            Ok(TargetList { computers, session, ..TargetList::default() })
        };
        let lists = Lists {
            providers: BTreeMap::from([(provider.clone(), Ok(lists))]),
            targets: BTreeMap::from([(TargetName::from(TARGET), target)]),
        };
        Observed { lists, answers: self.answers(&provider), this_run: ThisRun::default() }
    }

    fn answers(&self, provider: &ProviderName) -> Vec<(Ask, Result<Answer, Gap>)> {
        let id = &self.server.id;
        let failed = || gap(Source::Server(provider.clone(), id.clone()));
        let login = Login { host: "10.0.0.4".into(), port: 22, usernames: Vec::new(), private_key: "/key".into() };
        let ask = MachineAsk {
            provider: provider.clone(),
            server: id.clone(),
            login,
            pinned: None,
            script: Digest::of(&["x"]),
            workspace: None,
        };
        let machine = self.machine.clone().map(|sight| (Ask::Machine(ask), sight.map(Answer::Machine).map_err(|()| failed())));
        let console = self
            .console
            .clone()
            .map(|text| (Ask::Console(provider.clone(), id.clone()), text.map(Answer::Console).map_err(|()| failed())));
        let waited_for = |named: bool| vec![if named { NAME.to_owned() } else { "other".to_owned() }];
        let queue = self.queue.map(|named| (Ask::Queue(TargetName::from(TARGET)), Ok(Answer::Queue(waited_for(named)))));
        machine.into_iter().chain(console).chain(queue).collect()
    }
}

fn gap(source: Source) -> Gap {
    Gap { source, tried: "a look".into(), answered: "HTTP 503".into(), hint: None }
}

/// From flags: `online`, `offline`, `busy`, `temp` and at most one cause; `none`: the target is seen without it.
fn computer(flags: &str) -> Option<Computer> {
    let flags: BTreeSet<&str> = flags.split(',').collect();
    let has = |flag: &str| flags.contains(flag);
    if has("none") {
        return None;
    }
    let class = |name: &str| OfflineCause { class: Some(format!("hudson.{name}")), ..OfflineCause::default() };
    let text = |text: &str| Some(text.to_owned());
    let cause = flags.iter().find_map(|flag| match *flag {
        "online" | "offline" | "busy" | "temp" => None,
        "gearman" => Some(OfflineCause { message: text(GEARMAN_MESSAGE), ..class("slaves.OfflineCause$ByCLI") }),
        "gearman-of-old" => Some(OfflineCause { message: text(GEARMAN_MESSAGE), ..OfflineCause::default() }),
        "ours" => {
            let description = format!("Disconnected by nodepool : {OUR_MESSAGE} seen busy");
            Some(OfflineCause { description: Some(description), ..class("slaves.OfflineCause$UserCause") })
        }
        "cli" => Some(OfflineCause { message: text("T143938"), ..class("slaves.OfflineCause$ByCLI") }),
        "person" => Some(OfflineCause { reason: text("disk full"), ..class("slaves.OfflineCause$UserCause") }),
        "monitor" => Some(class("node_monitors.DiskSpaceMonitorDescriptor$DiskSpace")),
        "channel" => Some(class("slaves.OfflineCause$ChannelTermination")),
        "launch" => Some(class("slaves.OfflineCause$LaunchFailed")),
        "restart" => Some(class("slaves.OfflineCause$SimpleOfflineCause")),
        // A lost channel before 2.2; and a monitor's mark there.
        "bare" => Some(OfflineCause::default()),
        other => panic!("`{other}` is nothing an agent shows"),
    });
    Some(Computer {
        name: NAME.into(),
        description: None,
        offline: !has("online"),
        temporarily_offline: has("temp"),
        num_executors: 1,
        busy: has("busy"),
        builds: Vec::new(),
        cause: cause.map(Box::new),
    })
}

fn machine(key: &str, value: &str) -> Result<MachineSight, ()> {
    let pinned = HostKey::parse(KEY).expect("a key");
    let up = |script: ScriptState, agent_running: bool| {
        Ok(MachineSight::Up { key: pinned.clone(), facts: Some(MachineFacts { script, agent_running, workspace: None }) })
    };
    let tail = || "E: no space\n".to_owned();
    match (key, value.split_once(':').unwrap_or((value, ""))) {
        ("ssh", ("gap", _)) => Err(()),
        ("ssh", ("none", _)) => Ok(MachineSight::NoSsh { why: "connection refused".into() }),
        ("ssh", ("refused", _)) => Ok(MachineSight::LoginRefused { key: pinned, why: "permission denied".into() }),
        ("ssh", ("other-key", _)) => Ok(MachineSight::OtherKey { key: HostKey::parse(OTHER_KEY).expect("a key") }),
        ("ssh", ("unpinned", _)) => Ok(MachineSight::Up { key: pinned, facts: None }),
        ("workspace", (what, _)) => {
            let workspace = Some(if what == "used" { WorkspaceSight::Used } else { WorkspaceSight::Empty });
            let facts = MachineFacts { script: ScriptState::Passed, agent_running: true, workspace };
            Ok(MachineSight::Up { key: pinned.clone(), facts: Some(facts) })
        }
        ("script", ("none", _)) => up(ScriptState::NotStarted, false),
        ("script", ("running", age)) => {
            let seconds = duration(age).map_or(0, |age| u64::try_from(age.as_secs()).expect("not negative"));
            up(ScriptState::Running { seconds, tail: tail() }, false)
        }
        ("script", ("exit", status)) => {
            up(ScriptState::Exited { status: status.parse().expect("a status"), tail: tail() }, false)
        }
        ("script", ("vanished", _)) => up(ScriptState::Vanished { tail: tail() }, false),
        ("script", ("passed", agent)) => up(ScriptState::Passed, agent == "agent"),
        other => panic!("{other:?} is nothing a machine shows"),
    }
}

fn console(value: &str) -> Result<String, ()> {
    let log = |key: &str| format!("-----BEGIN SSH HOST KEY KEYS-----\n{key} root@x\n-----END SSH HOST KEY KEYS-----\n");
    match value {
        "gap" => Err(()),
        "key" => Ok(log(KEY)),
        "other" => Ok(log(OTHER_KEY)),
        "empty" => Ok(String::new()),
        other => panic!("`{other}` is nothing a console shows"),
    }
}

/// A state in words: with its reason, where it has one.
fn words(state: &State) -> String {
    let word = state.word();
    match state {
        State::Failed(why) => format!("failed: {why}"),
        State::Used(why) => format!("used: {why}"),
        State::Held(why) | State::Retiring(why) => format!("{word}: {why}"),
        State::Kept(KeptWhy::Status(status)) => format!("kept: {status}"),
        State::Kept(KeptWhy::Person(text)) => format!("kept: by a person: {text}"),
        State::Kept(KeptWhy::NoPool) => "kept: no pool".into(),
        State::Resuming { .. } => "resuming".into(),
        State::HoldOver(_) => "hold over".into(),
        State::MassOffline => "mass offline".into(),
        State::Lost { until: None } => "lost: to be marked".into(),
        State::Lost { until: Some(until) } if *until <= now() => "lost: its target is a gap".into(),
        State::Lost { until: Some(until) } => format!("lost: {} left", exact(until.duration_since(now()))),
        State::WithoutFloatingIp => "booting: no floating IP".into(),
        State::Booting { up: Some(_) } => "booting: up".into(),
        State::Joining { start: true } => "joining: its agent is to be started".into(),
        State::Deleting
        | State::Busy
        | State::Launching
        | State::Booting { up: None }
        | State::Preparing
        | State::ToRegister
        | State::Joining { start: false }
        | State::Orphan
        | State::Snapshot(_)
        | State::Unseen
        | State::Ready => word.into(),
    }
}
