//! One file a command, thin: settings in, stages called, report out.

pub mod apply;
pub mod list;
pub mod observe;
pub mod plan;
pub mod validate;
