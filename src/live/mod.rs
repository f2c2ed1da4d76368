//! The real world: OpenStack and Jenkins over HTTP, machines over SSH. Decides nothing.

pub mod http;
pub mod jenkins;
pub mod machine;
pub mod openstack;
mod world;

pub use world::{Live, Surroundings};
