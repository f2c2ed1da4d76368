//! What poolkeeper runs on machines: a closed set of commands, how each is rendered to a shell command line and how its
//! answer is read. Nothing here connects to anything.
//!
//! A command line is `sh -c '<fixed program>' poolkeeper-<verb> ARG...`: values are positional arguments and never part of a
//! program's text (`programs`). What must not be seen in a process list (the environment, an agent's secret) comes by stdin. The programs
//! are for any POSIX sh (dash, busybox, bash). State on a machine:
//!
//! ```text
//! /var/lib/poolkeeper/<server id>/            made by Push, owned by the login user; another id's directory is ignored
//!     keys                                    /etc/nodepool/id_rsa was made on this machine, not inherited from a snapshot
//!     <digest>/{pid,output,status}            a script: made by Start alone, and never twice
//!     agent/{pid,output,agent.jar,secret}     the inbound agent, mode 0700
//! ```
//!
//! `pid` holds the boot id, the session's id and the uptime at its start (seconds): after a reboot nothing counts as running,
//! and a clock that a time service sets in mid-script changes no age.

use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error, StrDeserializer};

pub use super::answer::{read_done, read_facts, read_log, readable, write_done, write_facts, write_log};
use super::programs::{AS_ROOT, LOOK, PUSH, SCRIPT_LOG, START, START_AGENT, START_AGENT_SESSION, START_SESSION, TURN_OFF};
use crate::desired::{Clean, Digest};
use crate::names::{NodeName, ServerId};

/// One command. `render` and `parse` are each other's inverse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteCommand {
    /// The one read-only command: how the script of this digest stands, and whether the agent runs. Answer: `answer::read_facts`.
    Look {
        server: ServerId,
        digest: Digest,
        /// A directory: whether anything is in it.
        workspace: Option<String>,
    },
    /// Stdin: a tar stream of `opt/nodepool-scripts/*`, `etc/nodepool/*` and, last, an empty file `COMPLETE`. Without files
    /// of the first the machine's own directory stays. Repeatable. Answer: `answer::read_done`.
    Push { server: ServerId },
    /// Stdin: NUL-terminated `NAME=value`, and last the word `COMPLETE`. Answer: `answer::read_done`.
    Start {
        server: ServerId,
        digest: Digest,
        /// The script's one argument.
        hostname: NodeName,
        /// A file of /opt/nodepool-scripts; none: an empty script.
        script: Option<String>,
    },
    /// Stdin: a tar stream of the files of `agent_dir` and, last, an empty file `COMPLETE`. Answer: `answer::read_done`.
    StartAgent {
        server: ServerId,
        /// For those who read a process list; the machine does not need it.
        name: NodeName,
        /// The agent's command; its working directory is `agent_dir`.
        words: Vec<String>,
    },
    /// Takes our own traces off, and what else a copy of the disk should not have, then powers off. Repeatable as long as
    /// the machine is on. Answer: `answer::read_done`, before it goes.
    TurnOff { server: ServerId, clean: Vec<Clean> },
    /// A script's output, whole. Answer: `answer::read_log`.
    ScriptLog { server: ServerId, digest: Digest },
}

/// Ends what is sent by stdin: without it the stream was cut off, and nothing is done.
pub const COMPLETE: &str = "poolkeeper-complete";

/// Where an inbound agent's files are: the jar, the secret (mode 0600), its output.
pub fn agent_dir(server: &ServerId) -> String {
    format!("/var/lib/poolkeeper/{server}/agent")
}

/// A script's state directory without a pid file is younger than this (seconds): between mkdir and setsid. It takes
/// milliseconds; a machine that swaps gets half a minute.
const STARTING_SECONDS: &str = "30";

/// How much of a script's output an answer carries (bytes): the end of a stack trace, and small enough for one packet.
const TAIL_BYTES: &str = "4000";

/// How much of a script's output is its log (bytes): a build that prints more repeats itself.
pub const LOG_BYTES: u32 = 8 << 20;

impl RemoteCommand {
    /// The command line for a shell. It never carries a secret.
    pub fn render(&self) -> String {
        self.render_in("")
    }

    /// As `render`, for a machine whose root directory is elsewhere: a test's temporary directory.
    pub fn render_in(&self, root: &str) -> String {
        let (verb, programs) = self.programs();
        let mut words = vec!["sh", "-c", programs.0, verb];
        words.extend(programs.1);
        words.push(root);
        let arguments = self.arguments();
        words.extend(arguments.iter().map(String::as_str));
        let quoted: Vec<String> = words.into_iter().map(quote).collect();
        quoted.join(" ")
    }

    /// The command that a line of `render` stands for; none when it is anything else.
    pub fn parse(line: &str) -> Option<Self> {
        let words = split(line)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let command = match words.as_slice() {
            [_, _, _, "poolkeeper-look", "", server, digest_text, _, _, workspace @ ..] => Self::Look {
                server: ServerId::from(*server),
                digest: digest(digest_text)?,
                workspace: workspace.first().map(|path| (*path).to_owned()),
            },
            [_, _, _, "poolkeeper-push", _, "", server] => Self::Push { server: ServerId::from(*server) },
            [_, _, _, "poolkeeper-start", _, "", server, digest_text, hostname, script @ ..] => Self::Start {
                server: ServerId::from(*server),
                digest: digest(digest_text)?,
                hostname: NodeName::from(*hostname),
                script: script.first().map(|name| (*name).to_owned()),
            },
            [_, _, _, "poolkeeper-start-agent", _, "", server, name, words @ ..] => Self::StartAgent {
                server: ServerId::from(*server),
                name: NodeName::from(*name),
                words: words.iter().map(|word| (*word).to_owned()).collect(),
            },
            [_, _, _, "poolkeeper-turn-off", _, "", server, clean @ ..] => Self::TurnOff {
                server: ServerId::from(*server),
                clean: clean.iter().copied().map(cleaned).collect::<Option<_>>()?,
            },
            [_, _, _, "poolkeeper-script-log", "", server, digest_text, _] => {
                Self::ScriptLog { server: ServerId::from(*server), digest: digest(digest_text)? }
            }
            _ => return None,
        };
        // The programs' texts and whatever was passed over above.
        (command.render() == line).then_some(command)
    }

    /// The verb, the program, and the one that it hands on.
    fn programs(&self) -> (&'static str, (&'static str, Option<&'static str>)) {
        match self {
            Self::Look { .. } => ("poolkeeper-look", (LOOK, None)),
            Self::Push { .. } => ("poolkeeper-push", (AS_ROOT, Some(PUSH))),
            Self::Start { .. } => ("poolkeeper-start", (START, Some(START_SESSION))),
            Self::StartAgent { .. } => ("poolkeeper-start-agent", (START_AGENT, Some(START_AGENT_SESSION))),
            Self::TurnOff { .. } => ("poolkeeper-turn-off", (AS_ROOT, Some(TURN_OFF))),
            Self::ScriptLog { .. } => ("poolkeeper-script-log", (SCRIPT_LOG, None)),
        }
    }

    fn arguments(&self) -> Vec<String> {
        match self {
            Self::Look { server, digest, workspace } => {
                let (starting, tail) = (STARTING_SECONDS.to_owned(), TAIL_BYTES.to_owned());
                let mut arguments = vec![server.to_string(), digest.to_string(), starting, tail];
                arguments.extend(workspace.clone());
                arguments
            }
            Self::Push { server } => vec![server.to_string()],
            Self::Start { server, digest, hostname, script } => {
                let mut arguments = vec![server.to_string(), digest.to_string(), hostname.to_string()];
                arguments.extend(script.clone());
                arguments
            }
            Self::StartAgent { server, name, words } => {
                let mut arguments = vec![server.to_string(), name.to_string()];
                arguments.extend(words.iter().cloned());
                arguments
            }
            Self::TurnOff { server, clean } => {
                let clean = clean.iter().map(|clean| clean.word().to_owned());
                std::iter::once(server.to_string()).chain(clean).collect()
            }
            Self::ScriptLog { server, digest } => vec![server.to_string(), digest.to_string(), LOG_BYTES.to_string()],
        }
    }
}

fn cleaned(word: &str) -> Option<Clean> {
    [Clean::MachineId, Clean::DhcpLeases, Clean::HostKeys].into_iter().find(|clean| clean.word() == word)
}

fn digest(text: &str) -> Option<Digest> {
    let text: StrDeserializer<'_, Error> = text.into_deserializer();
    Digest::deserialize(text).ok()
}

/// One word for a shell, whatever is in it: between single quotes nothing means anything but the quote that ends them.
pub fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The words of a line that `quote` made: single quotes, and a backslash before a quote.
fn split(line: &str) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quoted, character) {
            (_, '\'') => quoted = !quoted,
            (true, other) => words.last_mut()?.push(other),
            (false, ' ') => words.push(String::new()),
            (false, '\\') => words.last_mut()?.push(characters.next()?),
            (false, _) => return None,
        }
    }
    (!quoted).then_some(words)
}
