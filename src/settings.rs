//! Flags, environment and clock, read once. Nothing else reads them.
