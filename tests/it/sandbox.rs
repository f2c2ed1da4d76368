//! The served sandbox against the real clients: one node's whole life over HTTP and SSH.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "a helper of a test fails by panicking, as the test does")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use poolkeeper::desired::{AgentMode, Clean, Digest, Provider, ScriptDir, Target};
use poolkeeper::live::http::{Patience, install_tls_provider};
use poolkeeper::live::jenkins::Jenkins;
use poolkeeper::live::machine;
use poolkeeper::live::openstack::clouds_yaml::CloudsEnv;
use poolkeeper::live::openstack::{Cloud, Surroundings};
use poolkeeper::names::{FlavorId, NetworkId, NodeName, PoolName, ProviderName, Purpose, ServerId, TargetName};
use poolkeeper::observed::{HostKey, ImageMark, Login, MachineAsk, MachineSight, Mark, ScriptState, ServerStatus};
use poolkeeper::plan::{
    AgentLauncher, CreateAgent, CreateImage, CreateServer, Machine, NodeFiles, PushScripts, StartAgent, StartScript, TurnOff,
};
use poolkeeper::sandbox::serve_http::HttpServer;
use poolkeeper::sandbox::serve_ssh::SshServer;
use poolkeeper::sandbox::{Drop, Fate, Generation, Sandbox, SshFate};
use poolkeeper::world::{ActErrorKind, Done};
use secrecy::ExposeSecret as _;

use crate::scene::{POOL, PROVIDER, TARGET, desired};

/// The world, its servers, and real clients of them.
struct Wire {
    world: Sandbox,
    cloud: Cloud,
    jenkins: Jenkins,
    ssh: SshServer,
    directory: tempfile::TempDir,
    _http: HttpServer,
}

fn wire(generation: Generation) -> Wire {
    install_tls_provider();
    let directory = tempfile::tempdir().expect("a directory");
    let desired = desired(directory.path().join("lock"));
    let world = Sandbox::for_desired(&desired, generation, "2026-11-25T10:00:00Z".parse().expect("a time"), 3);
    let http = world.serve_http().expect("a port");
    let ssh = world.serve_ssh().expect("a port");
    ssh.write_key(&directory.path().join("key")).expect("a key file");

    let provider = desired.provider(&ProviderName::from(PROVIDER)).expect("the provider");
    let cloud = cloud(provider, &world, &http, directory.path());
    let (password, token) = world.with(|state| {
        let jenkins = &state.jenkins[TARGET];
        (jenkins.password.clone(), jenkins.token.clone())
    });
    let target = desired.target(&TargetName::from(TARGET)).expect("the target");
    let target = Target { url: http.jenkins_url(&target.name), ..target.clone() };
    let is_token = generation != Generation::Hudson332;
    let secret = if is_token { token } else { password };
    let jenkins = Jenkins::new(&target, secret, is_token, Duration::from_secs(10), Patience::endless()).expect("a client");
    Wire { world, cloud, jenkins, ssh, directory, _http: http }
}

fn cloud(provider: &Provider, world: &Sandbox, http: &HttpServer, directory: &std::path::Path) -> Cloud {
    let password = world.with(|state| state.password.expose_secret().to_owned());
    let auth = format!(
        "{{auth_url: '{}', username: poolkeeper, password: '{password}', project_name: sandbox, user_domain_id: default, project_domain_id: default}}",
        http.auth_url(&provider.name)
    );
    let file = directory.join("clouds.yaml");
    std::fs::write(&file, format!("clouds: {{{}: {{region_name: RegionOne, auth: {auth}}}}}\n", provider.cloud))
        .expect("written");
    let vars = BTreeMap::from([("OS_CLIENT_CONFIG_FILE".to_owned(), file.to_string_lossy().into_owned())]);
    let env = CloudsEnv { vars, user_config_dir: None, home: None, site_dirs: Vec::new(), current_dir: None };
    let clock = world.clone();
    let clock = Arc::new(move || clock.now());
    let around = Surroundings { env, cache_dir: None, patience: Patience::endless(), clock };
    Cloud::new(provider, &around).expect("a cloud")
}

impl Wire {
    fn launch(&self) -> ServerId {
        let image = self.lists().images[0].id.clone();
        let wanted = CreateServer {
            provider: ProviderName::from(PROVIDER),
            purpose: Purpose::Pool(PoolName::from(POOL)),
            name: NodeName::from("n1"),
            image,
            image_name: "image-ci-jessie".into(),
            image_age: jiff::SignedDuration::ZERO,
            flavor: FlavorId::new(self.cloud.flavors().expect("flavors")[0].id.as_str()),
            flavor_name: "m1.small".into(),
            networks: vec![NetworkId::new(self.cloud.networks().expect("networks")[0].id.as_str())],
            security_groups: vec!["default".into()],
            availability_zone: None,
            key_name: None,
            config_drive: true,
            user_data: Some(poolkeeper::desired::UserData::new("#cloud-config\n")),
            marks: BTreeMap::from([(Mark::Controller, "contint".to_owned())]),
        };
        match self.cloud.create_server(&wanted) {
            Ok(Done::Accepted(id)) => id,
            other => panic!("{other:?}"),
        }
    }

    fn lists(&self) -> poolkeeper::observed::ProviderLists {
        self.cloud.lists(&["image-ci-jessie"], &"contint".into()).expect("lists")
    }

    fn login(&self, id: &ServerId) -> Login {
        let server = self.cloud.server(id).expect("an answer").expect("a server");
        let host = server.addresses.first().map(|address| address.address.clone()).unwrap_or_default();
        let private_key = self.directory.path().join("key");
        Login { host: host.to_string(), port: self.ssh.port(), usernames: vec!["jenkins".into()], private_key }
    }

    fn look(&self, id: &ServerId, pinned: Option<&HostKey>) -> MachineSight {
        let (provider, login) = (ProviderName::from(PROVIDER), self.login(id));
        let ask = MachineAsk { provider, server: id.clone(), login, pinned: pinned.cloned(), script: digest(), workspace: None };
        machine::look(&ask, &BTreeMap::new()).expect("a sight")
    }

    fn script(&self, id: &ServerId, key: &HostKey) -> (ScriptState, bool) {
        match self.look(id, Some(key)) {
            MachineSight::Up { facts: Some(facts), .. } => (facts.script, facts.agent_running),
            other @ (MachineSight::Up { .. }
            | MachineSight::NoSsh { .. }
            | MachineSight::LoginRefused { .. }
            | MachineSight::OtherKey { .. }) => panic!("{other:?}"),
        }
    }
}

fn digest() -> Digest {
    Digest::of(&["ready.sh"])
}

fn agent() -> CreateAgent {
    CreateAgent {
        target: TargetName::from(TARGET),
        name: NodeName::from("n1"),
        description: "of a test".into(),
        executors: 1,
        remote_fs: "/home/jenkins".into(),
        labels: vec![POOL.into()],
        mode: AgentMode::Exclusive,
        launcher: AgentLauncher::Inbound,
    }
}

fn prepare(wire: &Wire, on: &Machine) {
    let left = Duration::from_secs(30);
    let address = on.login.host.clone();
    let node = NodeFiles {
        hostname: NodeName::from("n1"),
        address: address.clone(),
        private_address: address,
        provider: on.provider.clone(),
        region: None,
        availability_zone: None,
        cloud: "contintcloud".into(),
        uuid: on.server.clone(),
    };
    let files = BTreeMap::from([("ready.sh".to_owned(), b"#!/bin/sh\n".to_vec())]);
    let push = PushScripts { machine: on.clone(), scripts: Arc::new(ScriptDir { files }), node };
    assert_eq!(machine::push(&push, left), Ok(Done::Done));
    let hostname = NodeName::from("n1");
    let start =
        StartScript { machine: on.clone(), digest: digest(), script: Some("ready.sh".into()), hostname, env: BTreeMap::new() };
    assert_eq!(machine::start(&start, &BTreeMap::new(), left), Ok(Done::Done));
    assert_eq!(machine::start(&start, &BTreeMap::new(), left), Ok(Done::Already));
    wire.world.tick(3);
    assert!(matches!(wire.script(&on.server, &on.pinned).0, ScriptState::Running { seconds: 3, .. }));
    wire.world.tick(1);
    assert_eq!(wire.script(&on.server, &on.pinned).0, ScriptState::Passed);
}

fn join(wire: &Wire, on: &Machine) {
    assert_eq!(wire.jenkins.create_agent(&agent()), Ok(Done::Done));
    let start = StartAgent {
        machine: on.clone(),
        target: TargetName::from(TARGET),
        name: NodeName::from("n1"),
        remote_fs: "/home/jenkins".into(),
        start: None,
    };
    let program = wire.jenkins.agent_program(&start).expect("a program");
    assert_eq!(machine::start_agent(&start, &program, Duration::from_secs(30)), Ok(Done::Done));
    assert!(wire.script(&on.server, &on.pinned).1, "the agent runs");
    wire.world.tick(7);
    let list = wire.jenkins.list().expect("a list");
    assert!(list.computers.iter().any(|computer| computer.name == "n1" && computer.online()), "{list:?}");
}

#[test]
fn a_node_lives_and_goes_over_the_wire_in_every_generation() {
    for generation in Generation::ALL {
        let wire = wire(generation);
        let id = wire.launch();
        wire.world.tick(5);
        assert!(matches!(wire.look(&id, None), MachineSight::NoSsh { .. }), "its SSH is not up");
        wire.world.tick(8);
        let MachineSight::Up { key, facts: None } = wire.look(&id, None) else { panic!("no SSH") };
        assert!(key.stands_on(&wire.cloud.console(&id).expect("a console")));
        let marks = BTreeMap::from([(Mark::Hostkey, key.to_string())]);
        assert_eq!(wire.cloud.set_marks(&id, &marks), Ok(Done::Done));
        let on =
            Machine { provider: ProviderName::from(PROVIDER), server: id.clone(), login: wire.login(&id), pinned: key.clone() };
        prepare(&wire, &on);
        join(&wire, &on);

        let target = TargetName::from(TARGET);
        wire.world.start_gearman_build(&target, "n1", 3).expect("a build");
        wire.world.tick(3);
        let name = NodeName::from("n1");
        let used = wire.jenkins.computer(&name).expect("an answer").expect("an agent");
        assert!(used.cause.is_some_and(|cause| cause.is_gearman()), "{generation:?}");
        assert_eq!(wire.jenkins.delete_agent(&name), Ok(Done::Done));
        assert_eq!(wire.cloud.delete_server(&id), Ok(Done::Done));
        wire.world.tick(1);
        assert_eq!(wire.cloud.server(&id), Ok(None));
        assert!(wire.world.with(|state| state.killed_builds.is_empty()));
        let kinds: Vec<&str> = wire.world.with(|state| state.log.iter().map(|change| change.kind).collect());
        let expected = ["create-server", "set-marks", "push-scripts", "start-script", "create-agent", "start-agent"];
        assert_eq!(kinds, [&expected[..], &["delete-agent", "delete-server"]].concat(), "{generation:?}");
    }
}

#[test]
fn marks_by_hand_are_read_back() {
    for generation in Generation::ALL {
        let wire = wire(generation);
        let (target, name) = (TargetName::from(TARGET), NodeName::from("n1"));
        wire.world.add_agent(&target, "n1", "");
        assert_eq!(wire.jenkins.mark_offline(&name, "poolkeeper: used"), Ok(Done::Done), "{generation:?}");
        let marked = wire.jenkins.computer(&name).expect("an answer").expect("an agent");
        assert!(marked.cause.is_some_and(|cause| cause.is_ours()), "{generation:?}");
        wire.world.unmark(&target, "n1");
        wire.world.lose_channel(&target, "n1");
        let lost = wire.jenkins.computer(&name).expect("an answer").expect("an agent");
        assert!(lost.channel_lost(), "{generation:?}");
    }
}

#[test]
fn machines_refuse_as_their_fate_says() {
    let wire = wire(Generation::J2_462);
    wire.world.next_fate(Fate { ssh: SshFate::LoginRefused, ..Fate::default() });
    let id = wire.launch();
    wire.world.tick(20);
    assert!(matches!(wire.look(&id, None), MachineSight::LoginRefused { .. }));
    let good = wire.launch();
    wire.world.tick(20);
    let MachineSight::LoginRefused { key: other, .. } = wire.look(&id, None) else { panic!("refused") };
    assert!(matches!(wire.look(&good, Some(&other)), MachineSight::OtherKey { .. }));
    wire.world.power(&good, false);
    assert!(matches!(wire.look(&good, None), MachineSight::NoSsh { .. }));
}

#[test]
fn a_call_that_is_dropped_is_unanswered_and_may_be_done() {
    for (drop, servers) in [(Drop::BeforeEffect, 1), (Drop::AfterEffect, 2)] {
        let wire = wire(Generation::J2_462);
        wire.launch();
        let image = wire.lists().images[0].id.clone();
        wire.world.stop_after(0, drop);
        let wanted = CreateServer {
            provider: ProviderName::from(PROVIDER),
            purpose: Purpose::Pool(PoolName::from(POOL)),
            name: NodeName::from("n2"),
            image,
            image_name: String::new(),
            image_age: jiff::SignedDuration::ZERO,
            flavor: FlavorId::from("m1.medium"),
            flavor_name: String::new(),
            networks: Vec::new(),
            security_groups: Vec::new(),
            availability_zone: None,
            key_name: None,
            config_drive: false,
            user_data: None,
            marks: BTreeMap::new(),
        };
        let error = wire.cloud.create_server(&wanted).expect_err("dropped");
        assert_eq!(error.kind, ActErrorKind::Unanswered, "{error}");
        wire.world.resume();
        assert_eq!(wire.lists().servers.len(), servers, "{drop:?}");
        assert!(wire.lists().servers.iter().all(|server| server.status == ServerStatus::Build));
    }
}

#[test]
fn a_builder_becomes_an_image_over_the_wire() {
    let wire = wire(Generation::J2_462);
    let id = wire.launch();
    wire.world.tick(20);
    let MachineSight::Up { key, .. } = wire.look(&id, None) else { panic!("no SSH") };
    let (provider, login) = (ProviderName::from(PROVIDER), wire.login(&id));
    let on = Machine { provider: provider.clone(), server: id.clone(), login: login.clone(), pinned: key.clone() };
    prepare(&wire, &on);
    let ask = MachineAsk {
        provider: provider.clone(),
        server: id.clone(),
        login,
        pinned: Some(key),
        script: digest(),
        workspace: None,
    };
    assert_eq!(machine::log(&ask, &BTreeMap::new()).as_deref(), Ok("all well"));

    let off = TurnOff { machine: on, clean: vec![Clean::HostKeys] };
    assert_eq!(machine::turn_off(&off, Duration::from_secs(30)), Ok(Done::Done));
    wire.world.tick(3);
    assert_eq!(wire.world.server(&provider, &id).map(|server| server.status), Some(ServerStatus::Shutoff));
    assert!(machine::log(&ask, &BTreeMap::new()).is_err(), "nobody answers any more");

    let marks = BTreeMap::from([(ImageMark::Controller, "contint".to_owned()), (ImageMark::Itself, String::new())]);
    let create = CreateImage { provider, server: id, name: NodeName::from("snap"), marks, properties: BTreeMap::new() };
    assert_eq!(wire.cloud.create_image(&create), Ok(Done::Done));
    let refused = wire.cloud.create_image(&create).expect_err("it is being saved");
    assert_eq!(refused.kind, ActErrorKind::NotNow, "{refused}");
    let snap = || wire.lists().images.into_iter().find(|image| image.name == "snap").expect("ours is listed");
    let image = snap();
    assert_eq!((image.status.as_str(), image.size), ("queued", None));
    wire.world.tick(6);
    let itself = BTreeMap::from([(ImageMark::Itself, image.id.to_string())]);
    assert_eq!(wire.cloud.mark_image(&image.id, &itself), Ok(Done::Done));
    assert_eq!(wire.cloud.rename_image(&image.id, "snap"), Ok(Done::Done));
    assert_eq!(wire.cloud.protect_image(&image.id, true), Ok(Done::Done));
    let sealed = wire.cloud.image(&image.id).expect("an answer").expect("an image");
    assert_eq!((sealed.status.as_str(), sealed.protected), ("active", true));
    assert_eq!(sealed.properties.get("poolkeeper_self"), Some(&image.id.to_string()));
    let refused = wire.cloud.delete_image(&image.id).expect_err("it is protected");
    assert_eq!(refused.kind, ActErrorKind::Refused);
    assert_eq!(wire.cloud.protect_image(&image.id, false), Ok(Done::Done));
    assert_eq!(wire.cloud.delete_image(&image.id), Ok(Done::Done));
    assert_eq!((wire.cloud.delete_image(&image.id), wire.cloud.image(&image.id)), (Ok(Done::Already), Ok(None)));
}
