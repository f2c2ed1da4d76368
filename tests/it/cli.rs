//! The binary as a person or a timer calls it: exit code, stdout and stderr.
