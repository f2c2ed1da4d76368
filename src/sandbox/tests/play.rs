//! A small world, and one-word calls on it, for the tests of the world's rules.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::desired::{AgentMode, Digest, ScriptDir};
use crate::names::{NodeName, ProviderName, Purpose, ServerId, TargetName};
use crate::observed::{Answer, Ask, HostKey, Login, MachineAsk, MachineSight, Mark, ScriptState, ServerStatus};
use crate::plan::{Act, AgentLauncher, CreateAgent, CreateServer, Machine, NodeFiles, PushScripts, StartAgent, StartScript};
use crate::sandbox::{Generation, Sandbox};
use crate::world::{Done, World};

pub(super) const PROVIDER: &str = "cloud-1";
const TARGET: &str = "ci";

pub(super) struct Play {
    pub(super) world: Sandbox,
    pub(super) provider: ProviderName,
    pub(super) target: TargetName,
}

/// A world with one of each, where everything takes its default time.
pub(super) fn play(generation: Generation) -> Play {
    let start = "2026-11-25T10:00:00Z".parse().expect("a time");
    let world = Sandbox::new(start, 1);
    let (provider, target) = (ProviderName::from(PROVIDER), TargetName::from(TARGET));
    world.add_provider(&provider);
    world.add_network(&provider, "ci-net");
    world.add_image(&provider, "jessie");
    world.add_target(&target, generation);
    Play { world, provider, target }
}

impl Play {
    pub(super) fn create(&self, name: &str) -> Act {
        let image = self.world.with(|state| state.clouds[&self.provider].images[0].seen.id.clone());
        Act::CreateServer(Box::new(CreateServer {
            provider: self.provider.clone(),
            purpose: Purpose::Pool("jessie".into()),
            name: NodeName::from(name),
            image,
            image_name: "jessie".into(),
            image_age: jiff::SignedDuration::ZERO,
            flavor: "m1.small".into(),
            flavor_name: "m1.small".into(),
            networks: Vec::new(),
            security_groups: Vec::new(),
            availability_zone: None,
            key_name: None,
            config_drive: true,
            user_data: None,
            marks: BTreeMap::from([(Mark::Pool, "jessie".to_owned())]),
        }))
    }

    pub(super) fn launch(&self, name: &str) -> ServerId {
        match self.world.act(&self.create(name)) {
            Ok(Done::Accepted(id)) => id,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn status(&self, id: &ServerId) -> Option<ServerStatus> {
        self.world.server(&self.provider, id).map(|server| server.status)
    }

    pub(super) fn mark(&self, id: &ServerId, mark: Mark) -> Act {
        let marks = BTreeMap::from([(mark, "x".to_owned())]);
        Act::SetMarks { provider: self.provider.clone(), server: id.clone(), marks }
    }

    pub(super) fn delete(&self, id: &ServerId) -> Act {
        Act::DeleteServer { provider: self.provider.clone(), server: id.clone() }
    }

    pub(super) fn login(&self, id: &ServerId) -> Login {
        let server = self.world.server(&self.provider, id).expect("a server");
        let host = server.addresses.first().map(|address| address.address.clone()).unwrap_or_default();
        Login { host: host.to_string(), port: 22, usernames: vec!["jenkins".into()], private_key: PathBuf::from("/key") }
    }

    pub(super) fn look(&self, id: &ServerId, pinned: Option<HostKey>) -> MachineSight {
        let ask = MachineAsk {
            provider: self.provider.clone(),
            server: id.clone(),
            login: self.login(id),
            pinned,
            script: digest(),
            workspace: None,
        };
        match self.world.answer(&Ask::Machine(ask)) {
            Ok(Answer::Machine(sight)) => sight,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn machine(&self, id: &ServerId) -> Machine {
        let pinned = self.world.with(|state| state.machines[id].host_key.clone());
        Machine { provider: self.provider.clone(), server: id.clone(), login: self.login(id), pinned }
    }

    /// Of a machine that may be off.
    pub(super) fn machine_key(&self, id: &ServerId) -> HostKey {
        self.world.with(|state| state.machines[id].host_key.clone())
    }

    pub(super) fn script(&self, id: &ServerId) -> ScriptState {
        let pinned = self.machine(id).pinned;
        match self.look(id, Some(pinned)) {
            MachineSight::Up { facts: Some(facts), .. } => facts.script,
            other @ (MachineSight::NoSsh { .. }
            | MachineSight::LoginRefused { .. }
            | MachineSight::OtherKey { .. }
            | MachineSight::Up { .. }) => panic!("{other:?}"),
        }
    }

    pub(super) fn push(&self, id: &ServerId) -> Act {
        let files = BTreeMap::from([("ready.sh".to_owned(), b"exit 0".to_vec())]);
        Act::PushScripts(Box::new(PushScripts {
            machine: self.machine(id),
            scripts: std::sync::Arc::new(ScriptDir { files }),
            node: NodeFiles {
                hostname: "n1".into(),
                address: self.login(id).host,
                private_address: self.login(id).host,
                provider: self.provider.clone(),
                region: None,
                availability_zone: None,
                cloud: "cloud".into(),
                uuid: id.clone(),
            },
        }))
    }

    pub(super) fn start_script(&self, id: &ServerId) -> Act {
        let (machine, script) = (self.machine(id), Some("ready.sh".to_owned()));
        Act::StartScript(Box::new(StartScript { machine, digest: digest(), script, hostname: "n1".into(), env: BTreeMap::new() }))
    }

    pub(super) fn register(&self, name: &str, launcher: AgentLauncher) -> Act {
        Act::CreateAgent(Box::new(CreateAgent {
            target: self.target.clone(),
            name: NodeName::from(name),
            description: "of a test".into(),
            executors: 1,
            remote_fs: "/srv".into(),
            labels: vec!["jessie".into()],
            mode: AgentMode::Exclusive,
            launcher,
        }))
    }

    pub(super) fn delete_agent(&self, name: &str) -> Act {
        Act::DeleteAgent { target: self.target.clone(), name: NodeName::from(name) }
    }

    /// A machine whose inbound agent is online.
    pub(super) fn online(&self, name: &str) -> ServerId {
        let id = self.launch(name);
        self.world.tick(20);
        let start = Act::StartAgent(Box::new(StartAgent {
            machine: self.machine(&id),
            target: self.target.clone(),
            name: NodeName::from(name),
            remote_fs: "/srv".into(),
            start: None,
        }));
        assert_eq!(self.world.act(&self.register(name, AgentLauncher::Inbound)), Ok(Done::Done));
        assert_eq!(self.world.act(&start), Ok(Done::Done));
        assert_eq!(self.world.act(&start), Ok(Done::Already));
        self.world.tick(10);
        id
    }

    pub(super) fn agent(&self, name: &str) -> crate::observed::Computer {
        self.world.agent(&self.target, name).expect("an agent")
    }
}

pub(super) fn digest() -> Digest {
    Digest::of(&["ready"])
}
