//! How an agent looks to a client of each generation: as a `Computer`, and as the API's JSON before any `tree`.

use serde_json::{Map, Value, json};

use super::generation::Generation;
use super::jenkins::{Cause, Channel, Jenkins, Node, Why};
use crate::observed::{Computer, OfflineCause, TargetList};

/// What old versions put into the reason of a lost channel, shortened.
const BROKEN_OLD: &str = "Connection was broken: java.io.EOFException\n\tat org.jenkinsci.remoting.nio.NioChannelHub$3.run(NioChannelHub.java:614)\n\tat java.base/java.lang.Thread.run(Unknown Source)\n";
const BROKEN: &str = "Connection was broken";
const LAUNCH_FAILED: &str = "This agent is offline because Jenkins failed to launch the agent process on it.";

impl Jenkins {
    pub fn list(&self) -> TargetList {
        let session = self.generation.version().map(|_| self.session.clone());
        let computers = self.visible().map(|node| node.computer(self.generation)).collect();
        TargetList { version: self.generation.version().map(str::to_owned), session, computers }
    }

    /// Nodes without an executor have no computer.
    pub fn visible(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| node.executors > 0)
    }
}

impl Node {
    pub fn shown_cause(&self, generation: Generation) -> Option<OfflineCause> {
        let kept = if generation.keeps_marks() && self.marked { self.mark.as_ref() } else { None };
        kept.or(self.cause.as_ref()).map(|cause| cause.shown(generation))
    }

    pub fn computer(&self, generation: Generation) -> Computer {
        Computer {
            name: self.name.as_str().into(),
            description: generation.tells_description().then(|| self.description.clone()),
            offline: self.offline(),
            temporarily_offline: self.marked,
            num_executors: if self.ghost { 0 } else { self.executors },
            busy: !self.builds.is_empty() || self.ghost,
            builds: self.builds.iter().map(|build| build.url.clone()).collect(),
            cause: self.shown_cause(generation).map(Box::new),
        }
    }

    /// All that this generation exports of it, as far as anybody asks. `root` is the controller's URL.
    pub fn json(&self, generation: Generation, root: &str) -> Value {
        let cause = self.shown_cause(generation);
        let mut computer = Map::new();
        if generation.tells_class() {
            computer.insert("_class".into(), "hudson.slaves.SlaveComputer".into());
        }
        if generation.tells_description() {
            let labels: Vec<Value> = self.labels.iter().map(|label| json!({ "name": label })).collect();
            computer.insert("assignedLabels".into(), labels.into());
            computer.insert("description".into(), self.description.clone().into());
        }
        if generation.tells_reason() {
            let reason = cause.as_ref().and_then(|cause| cause.reason.clone()).unwrap_or_default();
            computer.insert("offlineCauseReason".into(), reason.into());
        }
        let executors: Vec<Value> = (0..self.executors)
            .map(|number| {
                let build = usize::try_from(number).ok().and_then(|at| self.builds.get(at));
                json!({
                    "currentExecutable": build.map(|build| executable(generation, &format!("{root}{}", build.url))),
                    "idle": build.is_none(), "number": number, "likelyStuck": false,
                    "progress": if build.is_some() { 50 } else { -1 },
                })
            })
            .collect();
        let rest = json!({
            "displayName": self.name, "executors": executors, "icon": "computer.png", "idle": self.builds.is_empty() && !self.ghost,
            "jnlpAgent": self.launcher == super::jenkins::NodeLauncher::Inbound, "launchSupported": true,
            "manualLaunchAllowed": true, "numExecutors": if self.ghost { 0 } else { self.executors }, "offline": self.offline(),
            "offlineCause": cause.map(cause_json), "oneOffExecutors": [], "temporarilyOffline": self.marked,
        });
        if let Value::Object(rest) = rest {
            computer.extend(rest);
        }
        Value::Object(computer)
    }

    /// Executors that count in `totalExecutors`: offline ones do not.
    pub fn counted_executors(&self) -> u32 {
        if self.offline() { 0 } else { self.executors }
    }

    pub fn ever_connected(&self) -> bool {
        self.channel != Channel::Never
    }
}

fn executable(generation: Generation, url: &str) -> Value {
    if generation.tells_class() { json!({ "_class": "hudson.model.FreeStyleBuild", "url": url }) } else { json!({ "url": url }) }
}

/// Only the fields that are there: a lost channel on Hudson is `{}`.
fn cause_json(cause: OfflineCause) -> Value {
    let mut fields = Map::new();
    let texts = [("_class", cause.class), ("description", cause.description), ("message", cause.message)];
    for (name, text) in texts {
        if let Some(text) = text {
            fields.insert(name.to_owned(), text.into());
        }
    }
    if let Some(since) = cause.since {
        fields.insert("timestamp".to_owned(), since.as_millisecond().into());
    }
    Value::Object(fields)
}

impl Cause {
    fn shown(&self, generation: Generation) -> OfflineCause {
        let class = match &self.why {
            Why::User { .. } => "hudson.slaves.OfflineCause$UserCause",
            Why::Cli { .. } => "hudson.slaves.OfflineCause$ByCLI",
            Why::Monitor(class) => class,
            Why::ChannelTermination => "hudson.slaves.OfflineCause$ChannelTermination",
            Why::LaunchFailed => "hudson.slaves.OfflineCause$LaunchFailed",
        };
        let oldest = generation == Generation::Hudson332;
        let by = |user: &str, message: &str| {
            let text = if message.is_empty() { String::new() } else { format!(" : {message}") };
            format!("Disconnected by {user}{text}")
        };
        let (description, message, reason) = match &self.why {
            Why::User { user, message } => (Some(by(user, message)), None, message.clone()),
            Why::Cli { user, message } => ((!oldest).then(|| by(user, message)), Some(message.clone()), message.clone()),
            Why::Monitor(_) => (None, None, "Disk space is too low. Only 0.4GB left.".to_owned()),
            Why::ChannelTermination if generation <= Generation::J2_46 => (None, None, BROKEN_OLD.to_owned()),
            Why::ChannelTermination => (None, None, BROKEN.to_owned()),
            Why::LaunchFailed => (None, None, LAUNCH_FAILED.to_owned()),
        };
        let reason = if generation.keeps_marks() { escape(&reason) } else { reason };
        OfflineCause {
            class: generation.tells_class().then(|| class.to_owned()),
            message,
            description,
            reason: generation.tells_reason().then_some(reason),
            since: generation.tells_reason().then_some(self.at),
        }
    }
}

/// As the newest versions escape the reason.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
