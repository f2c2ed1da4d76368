//! poolkeeper keeps pools of disposable CI nodes filled on OpenStack and Jenkins.
//!
//! A run is a row of passes; each pass goes through the stages below, from left to right:
//!
//! ```text
//! load -> desired ─┐
//!                  ├─> node -> plan -> execute -> report
//! world -> observed┘
//! ```
//!
//! `desired`, `observed`, `node` and `plan` are pure: no I/O, no clock, no environment. `world` is the one door to the
//! outside; `live` and `sandbox` implement it. docs/architecture.md has the code map and the rules each stage keeps.

pub mod cli;
pub mod commands;
pub mod desired;
pub mod execute;
pub mod exit;
pub mod live;
pub mod load;
pub mod lock;
pub mod names;
pub mod node;
pub mod observe;
pub mod observed;
pub mod plan;
pub mod publish;
pub mod report;
pub mod run;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod settings;
pub mod world;
