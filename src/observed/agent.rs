//! A target's answer to the one list call, and the agents in it. Jenkins' API calls an agent a *computer*.

use jiff::Timestamp;

use crate::names::Text;

#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct TargetList {
    /// `X-Jenkins`; Hudson sends none.
    pub version: Option<String>,
    /// `X-Jenkins-Session`: another one after each start of the controller.
    pub session: Option<String>,
    /// By name, without the controller's own node: the join looks them up by it.
    pub computers: Vec<Computer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Computer {
    /// `displayName`.
    pub name: Text,
    /// Since Jenkins 2.79.
    pub description: Option<String>,
    pub offline: bool,
    pub temporarily_offline: bool,
    pub num_executors: u32,
    /// Any executor or one-off executor runs something, or `idle` is false.
    pub busy: bool,
    /// URLs of what runs; empty on a busy agent when Job/Read is missing.
    pub builds: Vec<String>,
    /// Few are offline: boxed.
    pub cause: Option<Box<OfflineCause>>,
}

/// `offlineCause` and `offlineCauseReason`, as far as the controller tells.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct OfflineCause {
    /// Since Jenkins 2.2.
    pub class: Option<String>,
    /// Of a mark by command line or plugin (`ByCLI`): the raw text.
    pub message: Option<String>,
    /// Localised; Hudson's only text of a person's mark.
    pub description: Option<String>,
    /// Since Jenkins 1.612; HTML-escaped in the newest.
    pub reason: Option<String>,
    /// Since Jenkins 1.612.
    pub since: Option<Timestamp>,
}

/// What the Gearman plugin marks a node with when its build is over (`OFFLINE_NODE_WHEN_COMPLETE`).
pub const GEARMAN_MESSAGE: &str = "Offline due to Gearman request";

/// Begins every message that we mark an agent offline with; `message`, reason and description all keep it.
pub const OUR_MESSAGE: &str = "poolkeeper:";

impl OfflineCause {
    /// The channel was lost, or the launch failed: says nothing of the node's use, and hides a mark's text.
    pub fn is_lost_channel(&self) -> bool {
        match self.class.as_deref() {
            Some(class) => class.ends_with("$ChannelTermination") || class.ends_with("$LaunchFailed"),
            // Without `_class` (before 2.2, Hudson): a mark by plugin or command line has a message, one by a person a
            // description; only a lost channel has neither.
            None => self.message.is_none() && self.description.is_none(),
        }
    }

    pub fn is_gearman(&self) -> bool {
        self.message.as_deref() == Some(GEARMAN_MESSAGE)
            || (self.message.is_none() && self.reason.as_deref() == Some(GEARMAN_MESSAGE))
    }

    /// Taken offline by a node monitor (disk space, clock, response time): its class's own name.
    pub fn monitor(&self) -> Option<&str> {
        self.class.as_deref()?.strip_prefix("hudson.node_monitors.").and_then(|name| name.split(['$', '.']).next())
    }

    pub fn is_ours(&self) -> bool {
        [&self.message, &self.reason, &self.description].into_iter().flatten().any(|text| text.contains(OUR_MESSAGE))
    }

    /// The best text there is, for people.
    pub fn text(&self) -> Option<&str> {
        self.texts().next()
    }

    /// Every text that there is, the rawest first.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let texts = [&self.message, &self.reason, &self.description];
        texts.into_iter().flatten().map(String::as_str).filter(|text| !text.is_empty())
    }
}

impl Computer {
    pub fn online(&self) -> bool {
        !self.offline
    }

    /// Taken offline by this program alone.
    pub fn marked_by_us(&self) -> bool {
        self.temporarily_offline && self.cause.as_deref().is_some_and(OfflineCause::is_ours)
    }

    /// What is left in the list of an agent that was deleted under a Pipeline: no executors. Whether it is one, its missing
    /// configuration tells: a person can set an agent's executors to 0, too.
    pub fn may_be_ghost(&self) -> bool {
        self.num_executors == 0 && self.offline
    }

    /// Offline without anybody's mark, whatever the cause, or a lost channel hides the mark.
    pub fn channel_lost(&self) -> bool {
        self.offline && (!self.temporarily_offline || self.cause.as_deref().is_some_and(OfflineCause::is_lost_channel))
    }

    /// The same, and nothing else looks like it: a monitor's mark of a version without classes is temporarily offline
    /// without a word, too, and the build on it runs.
    pub fn channel_surely_lost(&self) -> bool {
        let told = self.cause.as_ref().is_some_and(|cause| cause.class.is_some());
        self.channel_lost() && (!self.temporarily_offline || told)
    }
}
