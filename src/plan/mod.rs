//! What would be changed and why: a value, made by a pure function. Nothing is left to choose when it is carried out.

pub mod action;
pub mod expects;
pub mod reason;

pub use action::{
    Act, Action, AgentLauncher, Chain, CreateAgent, CreateServer, Machine, NodeFiles, PushScripts, StartAgent, StartScript,
    Subject, Verb,
};
pub use expects::{AgentExpects, AgentIs, Expects, MarkExpects, ServerExpects, Stale, still_holds};
pub use reason::{Because, FailedWhy, Step, UsedWhy, WaitsFor};
