//! One file a command, thin: settings in, stages called, report out.
