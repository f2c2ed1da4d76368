//! The table of a builder's states, a line for each row, from what Nova, Glance and its machine show.

use std::collections::BTreeMap;

use jiff::Timestamp;
use poolkeeper::desired::units::duration;
use poolkeeper::desired::{Desired, Digest, Family};
use poolkeeper::node::{Stage, State, join};
use poolkeeper::observed::{
    Address, AddressKind, Answer, Ask, HostKey, Image, ImageMark, Lists, Login, MachineAsk, MachineFacts, MachineSight, Observed,
    ProviderLists, ScriptState, Server, ServerStatus, ThisRun,
};

use crate::images::{IMAGE, snapshot};
use crate::scene::{PROVIDER, desired};

const BUILDER: &str = "0b7d4b0e-6f0b-4d0e-8f1a-5a2f6d0c9e11";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGE+FfnOTQDGpBxpBFvUeliXWCBxhlGaZKlDHWRGVRix";

/// What is seen, and the state. Unsaid: ACTIVE for a minute, its key pinned, boot-timeout 5m, setup-timeout 10m.
const ROWS: &[(&str, &str)] = &[
    ("task=deleting", "deleting"),
    ("hold", "held"),
    ("hold failed", "held"),
    ("hold=over", "retiring"),
    ("retire", "retiring"),
    ("image=none", "kept"),
    ("BUILD", "launching"),
    ("BUILD age=16m", "failed: not ACTIVE within 15m"),
    ("failed", "failed: it broke"),
    ("ERROR", "failed: ERROR, and Nova shows no fault"),
    ("PAUSED", "kept"),
    ("SHELVED", "kept"),
    // Up to its setup script it is a machine as others are.
    ("ssh=none", "preparing"),
    ("ssh=none unpinned", "booting"),
    ("ssh=none unpinned age=6m", "failed: no SSH within 5m (port 22: connection refused)"),
    ("ssh=other-key", "failed: another SSH host key than the pinned one"),
    ("script=none", "booting: up"),
    ("script=running:9m", "preparing"),
    ("script=running:11m", "failed: setup script not over within 10m: E: no space"),
    ("script=exit", "failed: setup script exited 3: E: no space"),
    ("script=vanished", "failed: setup script ended without a status: E: no space"),
    ("script=passed", "built"),
    ("image=removed", "retiring"),
    ("image=removed script=passed", "retiring"),
    // Switched off.
    ("built=1m", "turning off"),
    ("built=6m", "failed: not off within 5m"),
    ("SHUTOFF", "failed: turned off before its setup script was over"),
    ("SHUTOFF built=1m", "off"),
    ("SHUTOFF built=11m", "failed: its image not active within 10m"),
    // In Glance.
    ("SHUTOFF built=1m glance=queued:1m", "saving"),
    ("SHUTOFF built=1m glance=saving:1m", "saving"),
    ("SHUTOFF built=20m glance=saving:9m", "saving"),
    ("SHUTOFF built=20m glance=saving:11m", "failed: its image not active within 10m"),
    ("SHUTOFF built=1m glance=killed:1m", "failed: its image is killed"),
    ("SHUTOFF built=1m glance=active:1m", "saved"),
    ("built=1m glance=active:1m", "saved"),
    ("SHUTOFF built=20m glance=active:11m", "saved"),
    ("SHUTOFF built=1m glance=active:1m sealed", "done"),
    ("image=removed SHUTOFF built=1m glance=active:1m", "saved"),
    ("image=removed SHUTOFF built=1m glance=saving:1m", "saving"),
    ("image=removed SHUTOFF built=1m glance=saving:119m", "saving"),
    ("image=removed SHUTOFF built=1m glance=saving:121m", "failed: its image not active within 2h"),
    ("failed glance=active:1m", "failed: it broke"),
    // Somebody else's, by inheritance.
    ("SHUTOFF built=1m glance=active:1m sealed=other", "off"),
    ("SHUTOFF built=1m glance=active:1m ours=other", "off"),
    ("SHUTOFF built=1m glance=active:1m build=other", "off"),
];

fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().expect("a time")
}

fn ago(text: &str) -> Timestamp {
    now() - duration(text).unwrap_or_else(|why| panic!("{why}"))
}

struct Seen {
    desired: Desired,
    server: Server,
    image: Option<Image>,
    machine: Option<MachineSight>,
}

fn seen() -> Seen {
    let marks = [("controller", "contint"), ("role", "builder"), ("image", IMAGE), ("hostkey", KEY), ("spec", "v1 base=x")];
    let address = Address { network: "ci-net".into(), address: "10.0.0.4".into(), family: Family::V4, kind: AddressKind::Fixed };
    let server = Server {
        id: BUILDER.into(),
        name: "snapshot-ci-jessie-1ng7j2g00wq".into(),
        status: ServerStatus::Active,
        task: None,
        created: ago("1m"),
        updated: None,
        launched: Some(ago("1m")),
        image: None,
        flavor: "m1.medium".into(),
        addresses: vec![address],
        availability_zone: None,
        locked: Some(false),
        metadata: marks.map(|(key, value)| (format!("poolkeeper_{key}"), value)).into_iter().collect(),
        fault: None,
    };
    let mut desired = desired("/nowhere/lock".into());
    desired.images.insert(IMAGE.into(), snapshot());
    Seen { desired, server, image: None, machine: None }
}

fn script(value: &str) -> ScriptState {
    let tail = || "E: no space\n".to_owned();
    match value.split_once(':').unwrap_or((value, "")) {
        ("none", _) => ScriptState::NotStarted,
        ("running", age) => {
            let seconds = u64::try_from(duration(age).expect("a duration").as_secs()).expect("not negative");
            ScriptState::Running { seconds, tail: tail() }
        }
        ("exit", _) => ScriptState::Exited { status: 3, tail: tail() },
        ("vanished", _) => ScriptState::Vanished { tail: tail() },
        ("passed", _) => ScriptState::Passed,
        other => panic!("{other:?}"),
    }
}

impl Seen {
    fn mark(&mut self, key: &str, value: String) {
        self.server.metadata.insert(&format!("poolkeeper_{key}"), value);
    }

    fn image_mark(&mut self, mark: ImageMark, value: &str) {
        let image = self.image.as_mut().expect("glance= comes first");
        image.properties.insert(mark.key().to_owned(), value.to_owned());
    }

    fn word(&mut self, word: &str) {
        let key = HostKey::parse(KEY).expect("a key");
        match word.split_once('=').unwrap_or((word, "")) {
            ("task", task) => self.server.task = Some(task.to_owned()),
            ("age", age) => (self.server.created, self.server.launched) = (ago(age), Some(ago(age))),
            ("hold", "over") => self.mark("hold", format!("alice; {}; look", ago("1m"))),
            ("hold", _) => self.mark("hold", "alice; -; look".to_owned()),
            ("retire", _) => self.mark("retire", "surplus".to_owned()),
            ("failed", _) => self.mark("failed", format!("{} it broke", ago("1m"))),
            ("built", age) => self.mark("built", ago(age).to_string()),
            ("unpinned", _) => drop(self.server.metadata.remove("poolkeeper_hostkey")),
            ("image", "none") => drop(self.server.metadata.remove("poolkeeper_image")),
            ("image", _) => self.desired.images.clear(),
            ("ssh", "none") => self.machine = Some(MachineSight::NoSsh { why: "connection refused".into() }),
            ("ssh", _) => self.machine = Some(MachineSight::OtherKey { key }),
            ("script", value) => {
                let facts = MachineFacts { script: script(value), agent_running: false, workspace: None };
                self.machine = Some(MachineSight::Up { key, facts: Some(facts) });
            }
            ("glance", value) => self.glance(value),
            ("sealed", "") => self.image_mark(ImageMark::Itself, "i1"),
            ("sealed", other) => self.image_mark(ImageMark::Itself, other),
            ("ours", other) => self.image_mark(ImageMark::Controller, other),
            ("build", other) => self.image_mark(ImageMark::Build, other),
            (status, _) => self.server.status = ServerStatus::parse(status),
        }
    }

    fn glance(&mut self, value: &str) {
        let (status, age) = value.split_once(':').expect("a status and an age");
        let marks = [(ImageMark::Controller, "contint"), (ImageMark::Build, BUILDER), (ImageMark::Itself, "")];
        self.image = Some(Image {
            id: "i1".into(),
            name: "snapshot-ci-jessie-1ng7j2g00wq".into(),
            status: status.to_owned(),
            created: ago(age),
            owner: None,
            protected: false,
            size: None,
            properties: marks.map(|(mark, value)| (mark.key().to_owned(), value.to_owned())).into(),
        });
    }

    fn state(self) -> String {
        let Self { desired, server, image, machine } = self;
        let login = Login { host: "10.0.0.4".into(), port: 22, usernames: Vec::new(), private_key: "/key".into() };
        let (provider, script) = (PROVIDER.into(), Digest::of(&["x"]));
        let ask = MachineAsk { provider, server: server.id.clone(), login, pinned: None, script, workspace: None };
        let answers = machine.into_iter().map(|sight| (Ask::Machine(ask.clone()), Ok(Answer::Machine(sight)))).collect();
        let list = ProviderLists { servers: vec![server], images: image.into_iter().collect(), ..ProviderLists::default() };
        let lists = Lists { providers: BTreeMap::from([(PROVIDER.into(), Ok(list))]), ..Lists::default() };
        let observed = Observed { lists, answers, this_run: ThisRun::default() };
        let joined = join(&desired, &observed, now());
        assert!(joined.nodes.is_empty(), "a builder counts in no pool");
        words(&joined.builders.first().expect("it is listed").state)
    }
}

fn words(state: &State) -> String {
    if let State::Snapshot(Stage::Saved(id) | Stage::Sealed(id)) = state {
        assert_eq!(id.as_str(), "i1");
    }
    if let State::Failed(why) = state {
        return format!("failed: {why}");
    }
    let up = if matches!(state, State::Booting { up: Some(_) }) { ": up" } else { "" };
    format!("{}{up}", state.word())
}

#[test]
fn each_row_has_its_state() {
    let state_of = |row: &str| {
        let mut seen = seen();
        row.split_whitespace().for_each(|word| seen.word(word));
        seen.state()
    };
    let wrong: Vec<String> = ROWS
        .iter()
        .filter(|(row, expected)| state_of(row) != *expected)
        .map(|(row, expected)| format!("{row}: {} instead of {expected}", state_of(row)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
