//! A thin Jenkins client: one list, and the few calls that change an agent.

pub mod client;
pub mod computer;
mod config;
pub mod crumb;
pub mod fault;
pub mod inbound;
pub mod launcher;
mod queue;

pub use client::Jenkins;
