//! The command line, as clap reads it. No behaviour.
