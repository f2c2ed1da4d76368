//! Agents as Jenkins lists them: the one query for all of them, and its answer read. All generations since 1.580 and Hudson.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::Value;

use crate::live::http::Raw;
use crate::names::Text;
use crate::observed::{Computer, OfflineCause};

/// The properties of one computer. Names that a generation does not know match nothing. No `depth` and no ranges, which
/// Hudson answers with 500, and no `monitorData`, which is costly.
const FIELDS: &str = "_class,displayName,description,offline,temporarilyOffline,idle,numExecutors,offlineCauseReason,\
                      offlineCause[_class,description,message,timestamp],\
                      executors[idle,currentExecutable[url]],oneOffExecutors[idle,currentExecutable[url]]";

/// Of every computer, in one call.
pub fn list_path() -> String {
    encoded(&format!("computer/api/json?tree=busyExecutors,totalExecutors,computer[{FIELDS}]"))
}

/// Of one computer; `name` is percent-encoded already.
pub fn one_path(name: &str) -> String {
    encoded(&format!("computer/{name}/api/json?tree={FIELDS}"))
}

/// Some proxies refuse bare brackets in a URL.
fn encoded(path: &str) -> String {
    path.replace('[', "%5B").replace(']', "%5D")
}

/// The answer to `list_path`. A list without its sums is not whole.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComputerSet {
    #[serde(rename = "busyExecutors")]
    _busy: i64,
    #[serde(rename = "totalExecutors")]
    _total: i64,
    #[serde(deserialize_with = "agents")]
    computer: Vec<Computer>,
}

/// Read one by one, without the controller's own node.
fn agents<'de, D: Deserializer<'de>>(json: D) -> Result<Vec<Computer>, D::Error> {
    json.deserialize_seq(AgentsVisitor)
}

struct AgentsVisitor;

impl<'de> Visitor<'de> for AgentsVisitor {
    type Value = Vec<Computer>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list of computers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Computer>, A::Error> {
        let mut agents = Vec::new();
        while let Some(computer) = list.next_element::<RawComputer<'de>>()? {
            if !computer.is_controller() {
                agents.push(computer.read());
            }
        }
        Ok(agents)
    }
}

/// The answer to `one_path`, and an item of the list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawComputer<'a> {
    #[serde(rename = "_class", borrow)]
    class: Option<Raw<'a>>,
    display_name: Text,
    description: Option<String>,
    offline: bool,
    temporarily_offline: bool,
    idle: bool,
    num_executors: i64,
    offline_cause_reason: Option<Raw<'a>>,
    offline_cause: Option<RawCause>,
    #[serde(default)]
    executors: Vec<RawExecutor>,
    #[serde(default)]
    one_off_executors: Vec<RawExecutor>,
}

/// Plugins bring classes of their own: a field of another type is passed over, and hides no list.
#[derive(Debug, Deserialize)]
struct RawCause {
    #[serde(rename = "_class")]
    class: Option<String>,
    description: Option<Value>,
    message: Option<Value>,
    timestamp: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawExecutor {
    idle: bool,
    current_executable: Option<RawBuild>,
}

#[derive(Debug, Deserialize)]
struct RawBuild {
    url: Option<String>,
}

impl ComputerSet {
    /// Every agent by name, without the controller's own node. Controllers list them in an order of their own.
    pub fn agents(self) -> Vec<Computer> {
        let mut agents = self.computer;
        agents.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        agents
    }
}

impl RawComputer<'_> {
    /// By its class where there is one; else by the names that it has in English. An agent of ours never has them.
    fn is_controller(&self) -> bool {
        match self.class.as_deref() {
            Some(class) => class.ends_with("$MasterComputer"),
            None => matches!(self.display_name.as_str(), "master" | "Built-In Node"),
        }
    }

    pub fn read(self) -> Computer {
        let runs = self.executors.iter().chain(&self.one_off_executors);
        let working = runs.clone().any(|executor| !executor.idle || executor.current_executable.is_some());
        let builds = runs.filter_map(|executor| executor.current_executable.as_ref()?.url.clone()).collect();
        Computer {
            name: self.display_name,
            description: self.description,
            offline: self.offline,
            temporarily_offline: self.temporarily_offline,
            num_executors: u32::try_from(self.num_executors).unwrap_or_default(),
            busy: working || !self.idle,
            builds,
            cause: cause(self.offline_cause, self.offline_cause_reason.as_deref()).map(Box::new),
        }
    }
}

/// `{}` is a cause: Hudson says no more of a lost channel.
fn cause(cause: Option<RawCause>, reason: Option<&str>) -> Option<OfflineCause> {
    let reason = reason.and_then(first_line);
    match cause {
        Some(RawCause { class, description, message, timestamp }) => Some(OfflineCause {
            class,
            message: message.as_ref().and_then(Value::as_str).map(str::to_owned),
            description: description.as_ref().and_then(Value::as_str).and_then(first_line),
            reason,
            since: timestamp.as_ref().and_then(Value::as_i64).and_then(|millis| Timestamp::from_millisecond(millis).ok()),
        }),
        None => reason.map(|reason| OfflineCause { reason: Some(reason), ..OfflineCause::default() }),
    }
}

/// A lost channel's reason is a stack trace on controllers of before 2.60: its first line says what there is to know.
fn first_line(text: &str) -> Option<String> {
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}
