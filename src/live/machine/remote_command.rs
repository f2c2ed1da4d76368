//! What poolkeeper runs on machines: a closed set of commands, how each is rendered to a shell command line and how its
//! answer is read. Nothing here connects to anything.
//!
//! A command line is `sh -c '<fixed program>' poolkeeper-<verb> ARG...`: values are positional arguments and never part of a
//! program's text. What must not be seen in a process list (the environment, an agent's secret) comes by stdin. The programs
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

pub use super::answer::{read_done, read_facts, readable, write_done, write_facts};
use crate::desired::Digest;
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

/// `alive FILE`: a process of the session that FILE names is left.
macro_rules! alive {
    () => {
        r#"alive() {
    [ -s "$1" ] && read -r pk_boot pk_pid pk_began <"$1" || return 1
    read -r pk_now </proc/sys/kernel/random/boot_id && [ "$pk_boot" = "$pk_now" ] || return 1
    for pk_stat in /proc/[0-9]*/stat; do
        { read -r pk_line <"$pk_stat"; } 2>/dev/null || continue
        set -- ${pk_line##*) }
        [ "$1" != Z ] && [ "$1" != X ] && [ "$4" = "$pk_pid" ] && return 0
    done
    return 1
}
"#
    };
}

/// `started FILE`: this process leads a session, and FILE says so before anybody is told.
macro_rules! started {
    () => {
        r#"read -r pk_boot </proc/sys/kernel/random/boot_id
read -r pk_up pk_rest </proc/uptime
echo "$pk_boot $$ ${pk_up%.*}" >"$1/pid.new" && mv "$1/pid.new" "$1/pid" && echo poolkeeper:started || exit 1
"#
    };
}

/// Arguments: root, server, digest, seconds, bytes, and perhaps a directory. The status is looked for again after the last
/// process is gone: a script that ends in between has not vanished. A directory that cannot be read tells nothing, or each new
/// node would be taken for used.
const LOOK: &str = concat!(
    alive!(),
    r#"run=$1/var/lib/poolkeeper/$2/$3
script() {
    [ -d "$run" ] || { echo not-started; return; }
    for turn in 1 2; do
        [ -s "$run/status" ] && { echo exited; return; }
        alive "$run/pid" && { read -r pk_up pk_rest </proc/uptime; echo "running $((${pk_up%.*} - ${pk_began:-0}))"; return; }
    done
    [ ! -e "$run/pid" ] && [ $(($(date +%s) - $(stat -c %Y "$run"))) -lt "$1" ] && { echo running 0; return; }
    echo vanished
}
state=$(script "$4")
seconds=${state#running }
[ "$state" = "$seconds" ] || { state=running; echo "poolkeeper:seconds=$seconds"; }
echo "poolkeeper:script=$state"
[ "$state" != exited ] || echo "poolkeeper:status=$(cat "$run/status")"
if alive "$1/var/lib/poolkeeper/$2/agent/pid"; then echo poolkeeper:agent=running; else echo poolkeeper:agent=none; fi
if [ $# -gt 5 ]; then
    if [ -n "$(ls -A "$1$6" 2>/dev/null)" ]; then echo poolkeeper:workspace=used; else echo poolkeeper:workspace=empty; fi
fi
case $state in running|exited|vanished) echo poolkeeper:tail; tail -c "$5" "$run/output" 2>/dev/null;; esac
exit 0
"#
);

/// Arguments: the program, root, then the program's. Whoever may write /etc is root.
const AS_ROOT: &str = r#"program=$1
shift
set -- sh -c "$program" poolkeeper-push "$@" "$(id -u):$(id -g)"
[ -w "$5/etc" ] || set -- sudo -n "$@"
exec "$@"
"#;

/// Arguments: root, server, owner. The directory is unpacked beside and swapped as a whole; files of /etc/nodepool one by one.
/// Killed anywhere, the next push does all of it again.
const PUSH: &str = r#"set -e
umask 022
state=$1/var/lib/poolkeeper/$2 etc=$1/etc/nodepool scripts=$1/opt/nodepool-scripts
new=$1/opt/.nodepool-scripts.new old=$1/opt/.nodepool-scripts.old
mkdir -p "$state" "$etc" "$1/opt"
chown "$3" "$state"
chmod 0777 "$etc"
rm -rf "$new" "$old"
mkdir "$new"
tar -x -o -m -f - -C "$new"
[ -e "$new/poolkeeper-complete" ] || { echo "the files were cut off on their way" >&2; exit 1; }
if [ ! -e "$state/keys" ]; then
    ssh-keygen -q -t rsa -b 2048 -m PEM -N "" -C nodepool -f "$new/id_rsa" </dev/null
    chmod 0600 "$new/id_rsa"
    chown "$3" "$new/id_rsa" "$new/id_rsa.pub"
    mv -f "$new/id_rsa" "$new/id_rsa.pub" "$etc"
    : >"$state/keys"
fi
for file in "$new"/etc/nodepool/*; do
    [ -e "$file" ] || continue
    chown "$3" "$file"
    mv -f "$file" "$etc"
done
if [ -d "$new/opt/nodepool-scripts" ]; then
    chown -R "$3" "$new/opt/nodepool-scripts"
    chmod -R a+rx "$new/opt/nodepool-scripts"
    [ ! -e "$scripts" ] && [ ! -L "$scripts" ] || mv "$scripts" "$old"
    mv "$new/opt/nodepool-scripts" "$scripts"
fi
rm -rf "$new" "$old"
echo poolkeeper:started
"#;

/// Arguments: the session's program, root, server, digest, hostname, and the script. A newline in a value travels as the
/// character 1, for `read` cannot take NUL. Positional arguments alone after the environment: it may name any variable.
const START: &str = r#"pk_run=$2/var/lib/poolkeeper/$3/$4
[ ! -d "$pk_run" ] || { cat >/dev/null; echo poolkeeper:already; exit 0; }
command -v setsid >/dev/null || { echo "setsid is missing on this machine" >&2; exit 1; }
tr "\n\000" "\001\n" | {
    pk_one=$(printf "\001") pk_whole= pk_line="
"
    while IFS= read -r pk_pair; do
        [ "$pk_pair" != poolkeeper-complete ] || { pk_whole=1; break; }
        pk_value=${pk_pair#*=}
        while :; do
            case $pk_value in *"$pk_one"*) ;; *) break;; esac
            pk_value=${pk_value%%"$pk_one"*}$pk_line${pk_value#*"$pk_one"}
        done
        export "${pk_pair%%=*}=$pk_value"
    done
    [ "$pk_whole" ] || { echo "the environment was cut off on its way" >&2; exit 1; }
    if ! mkdir -m 0700 "$pk_run"; then
        [ -d "$pk_run" ] && { echo poolkeeper:already; exit 0; }
        exit 1
    fi
    pk_answer=$(setsid sh -c "$1" poolkeeper-script "$pk_run" "$2/opt/nodepool-scripts" "$5" ${6+"$6"} </dev/null &)
    [ "$pk_answer" ] && echo "$pk_answer"
}
"#;

/// Arguments: the state directory, the scripts' directory, hostname, and the script.
const START_SESSION: &str = concat!(
    started!(),
    r#"exec >"$1/output" 2>&1
pk_status=0
if [ "$#" -gt 3 ]; then
    (cd "$2" && exec "./$4" "$3")
    pk_status=$?
fi
echo "$pk_status" >"$1/status.new" && mv "$1/status.new" "$1/status"
"#
);

/// Arguments: the session's program, root, server, name, and the words.
const START_AGENT: &str = concat!(
    alive!(),
    r#"umask 077
agent=$2/var/lib/poolkeeper/$3/agent
mkdir -p "$agent" || exit 1
if alive "$agent/pid"; then cat >/dev/null; echo poolkeeper:already; exit 0; fi
command -v setsid >/dev/null || { echo "setsid is missing on this machine" >&2; exit 1; }
rm -rf "$agent/new"
mkdir "$agent/new" && tar -x -o -m -f - -C "$agent/new" || exit 1
[ -e "$agent/new/poolkeeper-complete" ] || { echo "the files were cut off on their way" >&2; exit 1; }
rm "$agent/new/poolkeeper-complete"
mv -f "$agent"/new/* "$agent" && rmdir "$agent/new" || exit 1
session=$1
shift 4
answer=$(setsid sh -c "$session" poolkeeper-agent "$agent" "$@" </dev/null &)
[ "$answer" ] && echo "$answer"
"#
);

/// Arguments: the agent's directory, and the words.
const START_AGENT_SESSION: &str = concat!(
    started!(),
    r#"cd "$1" && exec >>output 2>&1 || exit 1
shift
exec "$@"
"#
);

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
        }
    }
}

fn digest(text: &str) -> Option<Digest> {
    let text: StrDeserializer<'_, Error> = text.into_deserializer();
    Digest::deserialize(text).ok()
}

/// One word for a shell, whatever is in it.
fn quote(word: &str) -> String {
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
