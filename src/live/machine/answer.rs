//! What the remote commands print, and how it is read. The programs that print it are `remote_command`'s.

use crate::observed::{MachineFacts, ScriptState, WorkspaceSight};
use crate::world::Done;

/// Begins each line of an answer: a login shell may print lines of its own before it.
const ANSWER: &str = "poolkeeper:";

/// The answer to `Look`; none when it is not whole.
pub fn read_facts(output: &str) -> Option<MachineFacts> {
    let (head, tail) = output.split_once("poolkeeper:tail\n").unwrap_or((output, ""));
    let value = |name: &str| {
        let lines = head.lines().filter_map(|line| line.strip_prefix(ANSWER)?.split_once('='));
        lines.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let tail = readable(tail);
    let script = match value("script")? {
        "not-started" => ScriptState::NotStarted,
        "running" => ScriptState::Running { seconds: value("seconds")?.parse().ok()?, tail },
        "vanished" => ScriptState::Vanished { tail },
        "exited" => match value("status")?.trim().parse().ok()? {
            0 => ScriptState::Passed,
            status => ScriptState::Exited { status, tail },
        },
        _ => return None,
    };
    let workspace = match value("workspace") {
        Some("used") => Some(WorkspaceSight::Used),
        Some(_) => Some(WorkspaceSight::Empty),
        None => None,
    };
    Some(MachineFacts { script, agent_running: value("agent")? == "running", workspace })
}

/// The answer to `ScriptLog`: empty when the script was not started; none when it is no answer.
pub fn read_log(output: &str) -> Option<String> {
    // A login shell may print before it, and a script may print our own word.
    let not_started = || output.lines().any(|line| line == "poolkeeper:not-started").then(String::new);
    match output.split_once("poolkeeper:log\n") {
        Some((_, log)) => Some(readable(log)),
        None => not_started(),
    }
}

/// The answer to the commands that change something; none when it is not whole.
pub fn read_done(output: &str) -> Option<Done> {
    output.lines().find_map(|line| match line.strip_prefix(ANSWER)? {
        "started" => Some(Done::Done),
        "already" => Some(Done::Already),
        _ => None,
    })
}

/// What Look prints for these facts: `read_facts` reads it back.
pub fn write_facts(facts: &MachineFacts) -> String {
    let agent = if facts.agent_running { "running" } else { "none" };
    let status = |status: i32| format!("{ANSWER}status={status}\n");
    let (state, more, tail) = match &facts.script {
        ScriptState::NotStarted => ("not-started", String::new(), ""),
        ScriptState::Running { seconds, tail } => ("running", format!("{ANSWER}seconds={seconds}\n"), tail.as_str()),
        ScriptState::Passed => ("exited", status(0), ""),
        ScriptState::Exited { status: number, tail } => ("exited", status(*number), tail.as_str()),
        ScriptState::Vanished { tail } => ("vanished", String::new(), tail.as_str()),
    };
    let workspace = match facts.workspace {
        None => "",
        Some(WorkspaceSight::Empty) => "poolkeeper:workspace=empty\n",
        Some(WorkspaceSight::Used) => "poolkeeper:workspace=used\n",
    };
    format!("{ANSWER}script={state}\n{more}{ANSWER}agent={agent}\n{workspace}{ANSWER}tail\n{tail}")
}

/// What `ScriptLog` prints: `read_log` reads it back. None: the script was not started.
pub fn write_log(log: Option<&str>) -> String {
    log.map_or_else(|| format!("{ANSWER}not-started\n"), |log| format!("{ANSWER}log\n{log}"))
}

/// What the others print: `read_done` reads it back.
pub fn write_done(done: &Done) -> String {
    match done {
        Done::Done | Done::Accepted(_) => format!("{ANSWER}started\n"),
        Done::Already => format!("{ANSWER}already\n"),
    }
}

/// A machine's output for a screen: no control characters but line ends and tabs, so that none moves the cursor.
pub fn readable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control() || matches!(character, '\n' | '\t')).collect()
}
