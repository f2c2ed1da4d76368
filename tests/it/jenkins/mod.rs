//! The Jenkins client against recorded answers of real controllers: four of Jenkins from 2016 to 2026, and Hudson.
#![expect(clippy::indexing_slicing, reason = "a helper of a test fails by panicking, as the test does")]

mod changing;
mod controller;
mod seeing;

use poolkeeper::desired::AgentMode;
use poolkeeper::names::NodeName;
use poolkeeper::plan::{AgentLauncher, CreateAgent};

const VERSIONS: [&str; 5] = ["hudson-3.3.2", "1.651.2", "2.46.1", "2.462.3", "2.568.2"];

fn node(name: &str) -> NodeName {
    NodeName::from(name)
}

fn inbound(name: &str) -> CreateAgent {
    CreateAgent {
        target: "contint1001".into(),
        name: name.into(),
        description: "pool=demo".into(),
        executors: 1,
        remote_fs: format!("/srv/agents/{name}"),
        labels: vec!["demo".into(), "linux".into()],
        mode: AgentMode::Exclusive,
        launcher: AgentLauncher::Inbound,
    }
}
