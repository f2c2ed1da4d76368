//! Exit codes, each with its meaning. Scripts and units rely on them.

/// Done; gaps and a passed deadline too: they are said.
pub const DONE: u8 = 0;
/// Unexpected: a fault of ours, or of the machine we run on.
pub const UNEXPECTED: u8 = 1;
/// The command line cannot be understood, or names what is not there: a file, a pool, a node, a snapshot, an image.
pub const USAGE: u8 = 2;
/// The desired state has faults; nothing was looked at or done.
pub const BAD_DESIRED_STATE: u8 = 3;
/// `plan --exit-code`: there is something to do, whatever else a limit refuses.
pub const CHANGES_PENDING: u8 = 4;
/// Some actions failed; the rest was done.
pub const SOME_FAILED: u8 = 5;
/// A limit or the quota refused part of the plan, or the desired state asks for what is not there: a person must act. `plan
/// --exit-code`: nothing else is to do.
pub const REFUSED: u8 = 6;
/// Another run holds the lock (`EX_TEMPFAIL` of sysexits.h).
pub const LOCKED: u8 = 75;
/// SIGINT (Ctrl-C) before the question of `apply` was answered: nothing was changed; or a second one: ended at once.
pub const INTERRUPTED: u8 = 130;
/// The same of SIGTERM.
pub const TERMINATED: u8 = 143;

/// The command line asks for something that cannot be: exit with [`USAGE`].
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}
