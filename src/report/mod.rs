//! Plans and listings as text and JSON. Reads values, prints nothing itself.

pub mod list;
pub mod plan_text;
pub mod progress;
pub mod style;
pub mod table;
