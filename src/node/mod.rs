//! Servers and agents joined into nodes, and each node's state. Pure.

pub mod join;
pub mod mass_offline;
pub mod name;
pub mod state;
pub mod why;
mod words;

pub use join::{AgentSight, Joined, LoneAgent, Node, Times, join};
pub use state::{KeptWhy, Stage, State};
pub use why::{FailedWhy, UsedWhy};
