//! Command lines and answers as text: rendered, read back, refused.

use poolkeeper::desired::{Clean, Digest};
use poolkeeper::live::machine::remote_command::{
    RemoteCommand, read_done, read_facts, read_log, write_done, write_facts, write_log,
};
use poolkeeper::names::{NodeName, ServerId};
use poolkeeper::observed::{MachineFacts, ScriptState, WorkspaceSight};
use poolkeeper::world::Done;
use proptest::prelude::*;

fn any_command() -> impl Strategy<Value = RemoteCommand> {
    let text = "[^\\x00]{0,12}";
    let server = text.prop_map(ServerId::new);
    let digest = "[0-9a-f]{8}".prop_map(|text| Digest::of(&[text]));
    let words = prop::collection::vec(text, 0..5);
    let clean = prop::collection::vec(prop::sample::select(vec![Clean::MachineId, Clean::DhcpLeases, Clean::HostKeys]), 0..4);
    prop_oneof![
        (server.clone(), clean).prop_map(|(server, clean)| RemoteCommand::TurnOff { server, clean }),
        (server.clone(), digest.clone()).prop_map(|(server, digest)| RemoteCommand::ScriptLog { server, digest }),
        (server.clone(), digest.clone(), prop::option::of(text)).prop_map(|(server, digest, workspace)| RemoteCommand::Look {
            server,
            digest,
            workspace
        }),
        server.clone().prop_map(|server| RemoteCommand::Push { server }),
        (server.clone(), digest, text, prop::option::of(text)).prop_map(|(server, digest, hostname, script)| {
            RemoteCommand::Start { server, digest, hostname: NodeName::new(hostname), script }
        }),
        (server, text, words).prop_map(|(server, name, words)| RemoteCommand::StartAgent {
            server,
            name: NodeName::new(name),
            words
        }),
    ]
}

fn any_facts() -> impl Strategy<Value = MachineFacts> {
    let tail = "[ -~\\n]{0,40}";
    let script = prop_oneof![
        Just(ScriptState::NotStarted),
        (any::<u64>(), tail).prop_map(|(seconds, tail)| ScriptState::Running { seconds, tail }),
        Just(ScriptState::Passed),
        (1..256, tail).prop_map(|(status, tail)| ScriptState::Exited { status, tail }),
        tail.prop_map(|tail| ScriptState::Vanished { tail }),
    ];
    let workspace = prop::option::of(prop_oneof![Just(WorkspaceSight::Empty), Just(WorkspaceSight::Used)]);
    (script, any::<bool>(), workspace).prop_map(|(script, agent_running, workspace)| MachineFacts {
        script,
        agent_running,
        workspace,
    })
}

proptest! {
    #[test]
    fn what_is_rendered_is_read_back(command in any_command()) {
        prop_assert_eq!(RemoteCommand::parse(&command.render()), Some(command));
    }

    #[test]
    fn no_other_line_is_a_command(command in any_command(), more in "[ -~]{1,8}") {
        let line = command.render();
        prop_assert_eq!(RemoteCommand::parse(&format!("{more}{line}")), None);
        prop_assert_eq!(RemoteCommand::parse(&line.replacen("poolkeeper", "keeper", 1)), None);
        prop_assert_eq!(RemoteCommand::parse(&more), None);
    }

    #[test]
    fn facts_are_read_back_whatever_a_shell_prints_before(facts in any_facts(), noise in "[ -9]{0,20}") {
        prop_assert_eq!(read_facts(&format!("{noise}\n{}", write_facts(&facts))), Some(facts));
    }
}

#[test]
fn a_log_is_read_back_whatever_stands_in_it() {
    for log in ["", "one\ntwo", "poolkeeper:log\npoolkeeper:not-started\n"] {
        assert_eq!(read_log(&format!("Welcome!\n{}", write_log(Some(log)))).as_deref(), Some(log));
    }
    assert_eq!(read_log(&format!("Welcome!\n{}", write_log(None))).as_deref(), Some(""));
    assert_eq!(read_log("Please login as the user \"debian\" rather than the user \"root\".\n"), None);
}

#[test]
fn answers_that_are_not_whole_are_none() {
    assert_eq!(read_facts("poolkeeper:seconds=3\npoolkeeper:script=running\n"), None);
    assert_eq!(read_facts("poolkeeper:script=running\npoolkeeper:agent=none\n"), None, "since when?");
    assert_eq!(read_facts("poolkeeper:script=exited\npoolkeeper:status=\npoolkeeper:agent=none\n"), None);
    assert_eq!(read_facts(""), None);
    assert_eq!(read_done("Please login as the user \"debian\" rather than the user \"root\".\n"), None);
    for done in [Done::Done, Done::Already] {
        assert_eq!(read_done(&write_done(&done)), Some(done));
    }
}
