//! Machines over SSH: a closed set of remote commands, a pinned host key.

mod answer;
mod calls;
pub mod host_key;
mod private_key;
pub mod remote_command;
pub mod session;
pub mod streams;

pub use calls::{AgentProgram, look, push, start, start_agent};
