//! One file a command, thin: settings in, stages called, report out.

pub mod apply;
#[cfg(feature = "sandbox")]
pub mod demo;
pub mod dispatch;
pub mod explain;
pub mod list;
pub mod observe;
pub mod plan;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod status;
pub mod validate;
