//! Controllers, their agents, marks and builds. How a state looks to a client is `jenkins_view`'s.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::generation::Generation;
use super::refusal::Refusal;
use crate::desired::AgentMode;
use crate::names::NodeName;
use crate::observed::agent::GEARMAN_MESSAGE;

#[derive(Debug, Clone)]
pub struct Jenkins {
    pub generation: Generation,
    pub user: String,
    pub password: SecretString,
    /// Hudson has none.
    pub token: SecretString,
    pub nodes: BTreeMap<NodeName, Node>,
    /// Nothing is answered until then.
    pub down_until: Option<Timestamp>,
    /// `X-Jenkins-Session`.
    pub session: String,
    pub builds_started: u32,
    /// Pipelines that wait for their node, to go on on it.
    pub resuming: Vec<(NodeName, Build)>,
}

/// An agent.
#[derive(Debug, Clone)]
pub struct Node {
    pub name: NodeName,
    pub description: String,
    /// 0: it is there, and no API shows it.
    pub executors: u32,
    pub remote_fs: String,
    pub labels: Vec<String>,
    pub mode: AgentMode,
    pub launcher: NodeLauncher,
    pub channel: Channel,
    /// When the connection that is under way will stand.
    pub connects_at: Option<Timestamp>,
    /// The offline mark as it is kept with the node.
    pub mark: Option<Cause>,
    /// `temporarilyOffline` as the running controller knows it.
    pub marked: bool,
    /// The running controller's one `offlineCause`: whichever came last.
    pub cause: Option<Cause>,
    pub builds: Vec<Build>,
    pub builds_run: u32,
    /// Hudson lists a deleted node until its build is dead.
    pub deleted_at: Option<Timestamp>,
    /// Deleted under a Pipeline: listed without executors until it is deleted again.
    pub ghost: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeLauncher {
    /// The controller connects to this address.
    Ssh {
        host: String,
    },
    Inbound,
    /// An agent outside the sandbox's machines: it is online whenever nothing else was done to it.
    Elsewhere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Never,
    Up,
    Lost,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub at: Timestamp,
    pub why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// `toggleOffline`, `changeOfflineCause`, the web page.
    User {
        user: String,
        message: String,
    },
    /// `offline-node`, and the Gearman plugin.
    Cli {
        user: String,
        message: String,
    },
    /// A node monitor: its cause's class.
    Monitor(String),
    ChannelTermination,
    LaunchFailed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    pub url: String,
    pub ends: Timestamp,
    pub kind: Kind,
}

/// What kind of build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plain,
    /// The Gearman plugin marks the node when it is over.
    Gearman,
    /// It outlives the controller.
    Pipeline,
}

impl Jenkins {
    /// `secrets`: password, then API token.
    pub fn new(generation: Generation, user: &str, secrets: (SecretString, SecretString), session: String) -> Self {
        Self {
            generation,
            user: user.to_owned(),
            password: secrets.0,
            token: secrets.1,
            nodes: BTreeMap::new(),
            down_until: None,
            session,
            builds_started: 0,
            resuming: Vec::new(),
        }
    }

    pub fn node(&mut self, name: &str) -> Result<&mut Node, Refusal> {
        self.nodes.get_mut(name).filter(|node| node.executors > 0).ok_or_else(|| Refusal::new(404, "Not Found"))
    }

    /// What an inbound agent proves itself with: of its name, but the same for every node on Hudson.
    pub fn agent_secret(&self, name: &NodeName) -> String {
        let name = if self.generation == Generation::Hudson332 { "" } else { name.as_str() };
        let hash = Sha256::digest(format!("{} agent {name}", self.password.expose_secret()));
        hash.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// `doCreateItem`.
    pub fn create(&mut self, node: Node) -> Result<(), Refusal> {
        let name = node.name.as_str();
        let old = self.generation == Generation::Hudson332;
        let unsafe_one = name.chars().find(|c| "?*/\\%!@#$^&|<>[]:;".contains(*c) && !(old && *c == '|'));
        if name.is_empty() || name == "." || (name == ".." && !old) {
            return Err(Refusal::new(400, if name.is_empty() { "Query parameter 'name' is required" } else { "Bad name" }));
        }
        if let Some(c) = unsafe_one {
            return Err(Refusal::new(400, format!("\u{2018}{c}\u{2019} is an unsafe character")));
        }
        if self.nodes.contains_key(name) {
            let kind = if old { "Slave" } else { "Agent" };
            return Err(Refusal::new(400, format!("{kind} called \u{2018}{name}\u{2019} already exists")));
        }
        if node.executors == 0 && !self.generation.swallows_zero_executors() {
            return Err(Refusal::new(500, "Invalid agent configuration. No. of executors must be greater than 0"));
        }
        self.nodes.insert(node.name.clone(), node);
        Ok(())
    }

    /// `doDelete`. The URLs of builds that die of it.
    pub fn delete(&mut self, name: &str, now: Timestamp) -> Result<Vec<String>, Refusal> {
        let lingers = self.generation == Generation::Hudson332;
        // Nobody else can take up what waits for this node.
        let lost: Vec<_> = self.resuming.extract_if(.., |(waits_for, _)| waits_for.as_str() == name).collect();
        let node = self.node(name)?;
        let lost = lost.iter().map(|(_, build)| build);
        let killed: Vec<String> = node.builds.iter().chain(lost).map(|build| build.url.clone()).collect();
        if lingers && !killed.is_empty() && node.deleted_at.is_none() {
            node.deleted_at = Some(now);
            node.lose_channel(now);
            return Ok(killed);
        }
        self.nodes.remove(name);
        Ok(killed)
    }

    /// All channels are lost; what is not kept is forgotten.
    pub fn restart(&mut self, until: Timestamp, session: String) {
        self.down_until = Some(until);
        self.session = session;
        let keeps = self.generation.keeps_marks();
        for node in self.nodes.values_mut() {
            let pipelines = node.builds.extract_if(.., |build| build.kind == Kind::Pipeline);
            self.resuming.extend(pipelines.map(|build| (node.name.clone(), build)));
            node.channel = Channel::Never;
            node.connects_at = None;
            node.cause = None;
            node.marked = keeps && node.mark.is_some();
            node.builds.clear();
        }
    }

    pub fn is_down(&self, now: Timestamp) -> bool {
        self.down_until.is_some_and(|until| until > now)
    }

    /// Starts a build; none when no executor of the node is free and online. Its URL, below the controller's.
    pub fn start_build(&mut self, name: &str, ends: Timestamp, kind: Kind) -> Option<String> {
        let number = self.builds_started + 1;
        let node = self.nodes.get_mut(name)?;
        let free = u32::try_from(node.builds.len()).unwrap_or(u32::MAX) < node.executors;
        if node.offline() || !free || node.deleted_at.is_some() {
            return None;
        }
        let url = format!("job/sleeper/{number}/");
        node.builds.push(Build { url: url.clone(), ends, kind });
        node.builds_run += 1;
        self.builds_started = number;
        Some(url)
    }

    /// Why each Pipeline waits, in the words of this generation.
    pub fn waiting(&self) -> Vec<String> {
        let old = self.generation <= Generation::J1_651;
        let quoted = |name: &NodeName| if old { name.to_string() } else { format!("\u{2018}{name}\u{2019}") };
        self.resuming.iter().map(|(name, _)| format!("{} is offline", quoted(name))).collect()
    }

    /// What time does by itself: builds end, deleted nodes go. Connections are the world's.
    pub fn step(&mut self, now: Timestamp) {
        /// Seconds until a deleted node's build is dead, as recorded.
        const DYING: i64 = 3;
        self.nodes.retain(|_, node| node.deleted_at.is_none_or(|at| now.duration_since(at).as_secs() < DYING));
        for node in self.nodes.values_mut().filter(|node| node.deleted_at.is_none()) {
            if node.builds.iter().any(|build| build.ends <= now && build.kind == Kind::Gearman) {
                node.mark_gearman(now);
            }
            node.builds.retain(|build| build.ends > now);
        }
        for (name, build) in std::mem::take(&mut self.resuming) {
            match self.nodes.get_mut(&name) {
                Some(node) if !node.offline() && node.builds.is_empty() => node.builds.push(build),
                Some(_) => self.resuming.push((name, build)),
                // Its node was deleted: it was counted as killed then.
                None => {}
            }
        }
    }
}

impl Node {
    pub fn new(name: NodeName, launcher: NodeLauncher) -> Self {
        Self {
            name,
            description: String::new(),
            executors: 1,
            remote_fs: "/home/jenkins/workspace".to_owned(),
            labels: Vec::new(),
            mode: AgentMode::Exclusive,
            launcher,
            channel: Channel::Never,
            connects_at: None,
            mark: None,
            marked: false,
            cause: None,
            builds: Vec::new(),
            builds_run: 0,
            deleted_at: None,
            ghost: false,
        }
    }

    pub fn offline(&self) -> bool {
        self.channel != Channel::Up || self.marked
    }

    pub fn set_mark(&mut self, at: Timestamp, why: Why) {
        let cause = Cause { at, why };
        self.mark = Some(cause.clone());
        self.cause = Some(cause);
        self.marked = true;
    }

    pub fn mark_gearman(&mut self, at: Timestamp) {
        self.set_mark(at, Why::Cli { user: "anonymous".to_owned(), message: GEARMAN_MESSAGE.to_owned() });
    }

    /// `toggleOffline` of a marked node.
    pub fn unmark(&mut self) {
        self.mark = None;
        self.cause = None;
        self.marked = false;
    }

    /// Its builds are the caller's to account for.
    pub fn lose_channel(&mut self, at: Timestamp) {
        self.channel = Channel::Lost;
        self.connects_at = None;
        self.cause = Some(Cause { at, why: Why::ChannelTermination });
    }

    /// A mark that the running controller knows is shown at once; one that only the node kept, a second later.
    pub fn connect(&mut self) {
        self.channel = Channel::Up;
        self.connects_at = None;
        self.cause = if self.marked { self.mark.clone() } else { None };
    }

    /// The second after a connection: the node's own mark is applied.
    pub fn apply_kept_mark(&mut self) {
        if self.channel == Channel::Up && !self.marked && self.mark.is_some() {
            self.marked = true;
            self.cause = self.mark.clone();
        }
    }
}
