//! Reads the desired-state directory and its scripts into values. The only file access of the desired state.
