//! Servers and agents joined into nodes, and each node's state. Pure.

pub mod asks;
pub mod join;
pub mod state;

pub use asks::asks;
pub use join::{AgentSight, Joined, Node, join};
pub use state::{KeptWhy, State};
