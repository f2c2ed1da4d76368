//! Remote commands under a real sh in a temporary root.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use poolkeeper::desired::Digest;
use poolkeeper::live::machine::remote_command::{COMPLETE, RemoteCommand, read_done, read_facts, write_done, write_facts};
use poolkeeper::names::{NodeName, ServerId};
use poolkeeper::observed::{MachineFacts, ScriptState};
use poolkeeper::world::Done;
use proptest::prelude::*;

const SERVER: &str = "0b7d4b0e-6f0b-4d0e-8f1a-5a2f6d0c9e11";

fn any_command() -> impl Strategy<Value = RemoteCommand> {
    let text = "[^\\x00]{0,12}";
    let server = text.prop_map(ServerId::new);
    let digest = "[0-9a-f]{8}".prop_map(|text| Digest::of(&[text]));
    let words = prop::collection::vec(text, 0..5);
    prop_oneof![
        (server.clone(), digest.clone()).prop_map(|(server, digest)| RemoteCommand::Look { server, digest }),
        server.clone().prop_map(|server| RemoteCommand::Push { server }),
        (server.clone(), digest, text, prop::option::of(text)).prop_map(|(server, digest, hostname, script)| {
            RemoteCommand::Start { server, digest, hostname: NodeName::new(hostname), script }
        }),
        (server, text, words)
            .prop_map(|(server, name, words)| { RemoteCommand::StartAgent { server, name: NodeName::new(name), words } }),
    ]
}

proptest! {
    #[test]
    fn what_is_rendered_is_read_back(command in any_command()) {
        prop_assert_eq!(RemoteCommand::parse(&command.render()), Some(command));
    }
}
