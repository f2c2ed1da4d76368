//! Machines over SSH: a closed set of remote commands, a pinned host key.

pub mod remote_command;
