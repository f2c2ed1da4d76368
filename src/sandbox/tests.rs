//! The world's own rules: what time brings, what Nova and Jenkins refuse, what a restart hides.

mod images;
mod play;

use super::{AgentFate, BuildFate, Delays, Drop, Fate, Generation, Sandbox, ScriptFate};
use crate::names::{PoolName, ProviderName};
use crate::observed::{Answer, Ask, HostKey, MachineSight, Mark, Object, ScriptState, ServerStatus, Source};
use crate::plan::{Act, AgentLauncher, StartAgent};
use crate::world::{ActErrorKind, Done, World};
use play::{PROVIDER, play};

#[test]
fn a_server_builds_then_boots_then_answers() {
    let play = play(Generation::J2_462);
    let id = play.launch("n1");
    assert_eq!(play.status(&id), Some(ServerStatus::Build));
    play.world.tick(5);
    assert_eq!(play.status(&id), Some(ServerStatus::Active));
    assert!(matches!(play.look(&id, None), MachineSight::NoSsh { .. }));
    play.world.tick(8);
    let MachineSight::Up { key, facts: None } = play.look(&id, None) else { panic!("no SSH") };
    let Ok(Answer::Console(log)) = play.world.answer(&Ask::Console(play.provider.clone(), id.clone())) else {
        panic!("no console")
    };
    assert!(key.stands_on(&log), "{log}");
    let other = HostKey::parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGE+FfnOTQDG");
    assert!(matches!(play.look(&id, other), MachineSight::OtherKey { .. }));
}

#[test]
fn fates_are_met() {
    let play = play(Generation::J2_462);
    play.world.next_fate(Fate { build: BuildFate::Error("No valid host was found.".into()), ..Fate::default() });
    play.world.next_fate(Fate { no_address: true, ..Fate::default() });
    let (error, homeless) = (play.launch("n1"), play.launch("n2"));
    play.world.tick(60);
    let error = play.world.server(&play.provider, &error).expect("a server");
    assert_eq!((error.status, error.fault.as_deref()), (ServerStatus::Error, Some("No valid host was found.")));
    let homeless = play.world.server(&play.provider, &homeless).expect("a server");
    assert!(homeless.status == ServerStatus::Active && homeless.addresses.is_empty());
}

#[test]
fn a_script_runs_once_and_leaves_its_status() {
    let play = play(Generation::J2_462);
    let script = ScriptFate::Exits { status: 3, output: "one\ntwo".into() };
    play.world.pool_fate(&PoolName::from("jessie"), Fate { script, ..Fate::default() });
    let id = play.launch("n1");
    play.world.tick(20);
    assert_eq!(play.script(&id), ScriptState::NotStarted);
    assert_eq!(play.world.act(&play.push(&id)), Ok(Done::Done));
    assert_eq!(play.world.act(&play.start_script(&id)), Ok(Done::Done));
    assert!(matches!(play.script(&id), ScriptState::Running { .. }));
    play.world.tick(4);
    assert_eq!(play.script(&id), ScriptState::Exited { status: 3, tail: "one\ntwo".into() });
    assert_eq!(play.world.act(&play.start_script(&id)), Ok(Done::Already));
}

#[test]
fn a_restart_ends_a_script_without_a_status() {
    let play = play(Generation::J2_462);
    let id = play.launch("n1");
    play.world.tick(20);
    assert_eq!(play.world.act(&play.push(&id)), Ok(Done::Done));
    assert_eq!(play.world.act(&play.start_script(&id)), Ok(Done::Done));
    play.world.power(&id, false);
    play.world.power(&id, true);
    play.world.tick(20);
    assert!(matches!(play.script(&id), ScriptState::Vanished { .. }));
}

#[test]
fn nova_takes_metadata_only_in_some_states() {
    let play = play(Generation::J2_462);
    let id = play.launch("n1");
    let refused = |act: &Act| play.world.act(act).map_err(|error| error.kind);
    assert_eq!(refused(&play.mark(&id, Mark::Busy)), Err(ActErrorKind::NotNow), "BUILD");
    play.world.tick(5);
    assert_eq!(refused(&play.mark(&id, Mark::Busy)), Ok(Done::Done), "ACTIVE");
    play.world.change_server(&id, |server| server.locked = Some(true));
    assert_eq!(refused(&play.mark(&id, Mark::Busy)), Err(ActErrorKind::NotNow), "locked");
    assert_eq!(refused(&play.delete(&id)), Err(ActErrorKind::NotNow), "locked");
    play.world.change_server(&id, |server| server.locked = Some(false));
    assert_eq!(refused(&play.delete(&id)), Ok(Done::Done));
    assert_eq!(refused(&play.mark(&id, Mark::Busy)), Err(ActErrorKind::NotNow), "a task");
    assert!(play.world.server(&play.provider, &id).is_some_and(|server| server.is_deleting()));
    play.world.tick(1);
    assert_eq!(play.status(&id), None);
    assert_eq!(refused(&play.delete(&id)), Ok(Done::Already));
    assert_eq!(refused(&play.mark(&id, Mark::Busy)), Err(ActErrorKind::Refused), "gone");
    assert_eq!(play.world.with(|state| state.deleted_servers.len()), 1);
}

#[test]
fn quota_is_told_from_other_refusals() {
    let play = play(Generation::J2_462);
    play.world.with(|state| state.clouds.get_mut(PROVIDER).expect("a cloud").limits.instances = Some(2));
    let (first, second) = (play.launch("same"), play.launch("same"));
    assert_ne!(first, second, "Nova allows two servers of one name");
    let error = play.world.act(&play.create("third")).expect_err("over quota");
    assert_eq!(error.kind, ActErrorKind::Quota);
    let said = "Quota exceeded for instances: Requested 1, but already used 2 of 2 instances (HTTP 403)";
    assert_eq!(error.said, said);
}

#[test]
fn an_inbound_agent_comes_online_and_is_lost_with_its_server() {
    let play = play(Generation::J2_462);
    let id = play.online("n1");
    assert!(play.agent("n1").online());
    assert_eq!(play.world.start_build(&play.target, "n1", 60).as_deref(), Some("job/sleeper/1/"));
    assert_eq!(play.world.start_build(&play.target, "n1", 60), None, "one executor");
    assert!(play.agent("n1").busy);
    assert_eq!(play.world.act(&play.delete(&id)), Ok(Done::Done));
    assert!(play.agent("n1").channel_lost());
    let killed = play.world.with(|state| state.killed_builds.clone());
    assert_eq!(killed.iter().map(|build| build.by).collect::<Vec<_>>(), ["DELETE server"]);
}

#[test]
fn an_ssh_agent_connects_by_itself() {
    let play = play(Generation::J2_462);
    let id = play.launch("n1");
    play.world.tick(5);
    let host = play.login(&id).host;
    let launcher =
        AgentLauncher::Ssh { host, port: 22, credentials_id: "ci".into(), java_path: None, jvm_options: None, host_key: None };
    assert_eq!(play.world.act(&play.register("n1", launcher)), Ok(Done::Done));
    play.world.tick(7);
    let failed = play.agent("n1").cause.and_then(|cause| cause.class);
    assert_eq!(failed.as_deref(), Some("hudson.slaves.OfflineCause$LaunchFailed"), "SSH is not up yet");
    play.world.tick(10);
    assert!(play.agent("n1").online());
}

#[test]
fn an_agent_that_dies_is_not_running() {
    let play = play(Generation::J2_462);
    play.world.next_fate(Fate { agent: AgentFate::Dies, ..Fate::default() });
    let id = play.launch("n1");
    play.world.tick(20);
    let start = StartAgent {
        machine: play.machine(&id),
        target: play.target.clone(),
        name: "n1".into(),
        remote_fs: "/srv".into(),
        start: None,
    };
    let start = Act::StartAgent(Box::new(start));
    let unregistered = play.world.act(&start).map_err(|error| error.kind);
    assert_eq!(unregistered, Err(ActErrorKind::Refused), "its secret is not there");
    assert_eq!(play.world.act(&play.register("n1", AgentLauncher::Inbound)), Ok(Done::Done));
    assert_eq!(play.world.act(&start), Ok(Done::Done));
    let MachineSight::Up { facts: Some(facts), .. } = play.look(&id, Some(play.machine(&id).pinned)) else { panic!("no SSH") };
    assert!(!facts.agent_running);
}

#[test]
fn gearmans_mark_comes_with_the_builds_end() {
    for generation in Generation::ALL {
        let play = play(generation);
        play.online("n1");
        play.world.start_gearman_build(&play.target, "n1", 5).expect("a build");
        play.world.tick(4);
        assert!(play.agent("n1").busy);
        play.world.tick(1);
        let agent = play.agent("n1");
        assert!(!agent.busy && agent.temporarily_offline, "{generation:?}");
        assert!(agent.cause.is_some_and(|cause| cause.is_gearman()), "{generation:?}");
    }
}

#[test]
fn a_restart_hides_marks_of_old_generations_until_the_agent_is_back() {
    for generation in Generation::ALL {
        let play = play(generation);
        play.online("n1");
        play.world.mark_gearman(&play.target, "n1");
        play.world.restart_controller(&play.target);
        let down = play.world.read(&Object { agent: Some((play.target.clone(), "n1".into())), ..Object::default() });
        assert!(down.is_err(), "it is starting");
        play.world.tick(20);
        let agent = play.agent("n1");
        assert!(agent.offline);
        assert_eq!(agent.temporarily_offline, generation.keeps_marks(), "{generation:?}");
        assert_eq!(agent.cause.is_some(), generation.keeps_marks(), "{generation:?}");
        play.world.tick(6);
        assert_eq!(play.agent("n1").online(), !generation.keeps_marks(), "for a moment it looks fresh");
        play.world.tick(1);
        assert!(play.agent("n1").cause.is_some_and(|cause| cause.is_gearman()), "{generation:?}");
    }
}

#[test]
fn a_lost_channel_hides_a_marks_text_but_for_the_newest() {
    for generation in Generation::ALL {
        let play = play(generation);
        play.online("n1");
        play.world.mark_gearman(&play.target, "n1");
        play.world.lose_channel(&play.target, "n1");
        let agent = play.agent("n1");
        assert!(agent.temporarily_offline);
        let cause = agent.cause.expect("a cause");
        assert_eq!(cause.is_gearman(), generation.keeps_marks(), "{generation:?}");
        assert_eq!(cause.is_lost_channel(), !generation.keeps_marks(), "{generation:?}");
        play.world.tick(10);
        assert!(play.agent("n1").cause.is_some_and(|cause| cause.is_gearman()), "its agent is back");
    }
}

#[test]
fn deleting_a_busy_agent_is_an_offence() {
    let play = play(Generation::Hudson332);
    play.online("n1");
    play.world.start_build(&play.target, "n1", 60).expect("a build");
    assert_eq!(play.world.act(&play.delete_agent("n1")), Ok(Done::Done));
    assert_eq!(play.world.with(|state| state.killed_builds.len()), 1);
    let dying = play.agent("n1");
    assert!(dying.busy && dying.offline, "Hudson lists it until its build is dead");
    play.world.tick(3);
    assert_eq!(play.world.agents(&play.target), []);
    assert_eq!(play.world.act(&play.delete_agent("n1")), Ok(Done::Already));
}

#[test]
fn a_stop_drops_that_call_and_all_later_ones() {
    for (drop, servers) in [(Drop::BeforeEffect, 1), (Drop::AfterEffect, 2)] {
        let play = play(Generation::J2_462);
        play.world.stop_after(1, drop);
        play.launch("n1");
        for name in ["n2", "n3"] {
            let error = play.world.act(&play.create(name)).expect_err("dropped");
            assert_eq!(error.kind, ActErrorKind::Unanswered);
        }
        assert!(play.world.stopped());
        assert_eq!(play.world.servers(&play.provider).len(), servers, "{drop:?}");
        play.world.resume();
        play.launch("n4");
    }
}

#[test]
fn an_outage_is_a_gap_and_changes_nothing() {
    let play = play(Generation::J2_462);
    let id = play.launch("n1");
    play.world.begin_outage(Source::Provider(play.provider.clone()), "connect timed out");
    let object = Object { server: Some((play.provider.clone(), id.clone())), ..Object::default() };
    assert_eq!(play.world.read(&object).map_err(|gap| gap.answered), Err("connect timed out".to_owned()));
    assert!(play.world.act(&play.delete(&id)).is_err());
    play.world.end_outage(&Source::Provider(play.provider.clone()));
    assert!(play.world.read(&object).is_ok_and(|fresh| fresh.server.flatten().is_some()));
}

#[test]
fn the_same_seed_makes_the_same_world() {
    let ids = |seed| {
        let world = Sandbox::new("2026-11-25T10:00:00Z".parse().expect("a time"), seed);
        let provider = ProviderName::from(PROVIDER);
        world.add_provider(&provider);
        world.set_delays(Delays { ssh: 0, ..Delays::default() });
        world.add_server(&provider, "one", &[("who", "alice")]).expect("a server")
    };
    assert_eq!(ids(1), ids(1));
    assert_ne!(ids(1), ids(2));
}
