//! Plans and listings as text and JSON. Reads values, prints nothing itself.

pub mod explain;
pub mod explain_agent;
pub mod explain_text;
pub mod find;
pub mod gaps;
pub mod image_list;
pub mod list;
pub mod plan_text;
pub mod printable;
pub mod progress;
pub mod rule;
pub mod spinner;
pub mod status;
pub mod steps;
pub mod style;
pub mod table;
pub mod waits;
