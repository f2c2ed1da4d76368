//! Machines over SSH: a closed set of remote commands, a pinned host key.

mod answer;
mod calls;
pub mod host_key;
mod private_key;
mod programs;
pub mod remote_command;
pub mod session;
pub mod streams;

pub use calls::{AgentProgram, log, look, push, start, start_agent, turn_off};
