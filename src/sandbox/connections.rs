//! Agents' connections: which could be there, which have lost their other end, and what each second brings them.

use jiff::Timestamp;

use super::faults::AgentFate;
use super::jenkins::{Cause, Channel, Node, NodeLauncher, Why};
use super::state::{KilledBuild, State};
use crate::names::{NodeName, TargetName};

impl State {
    /// Whether something on a machine holds, or could make, this agent's connection.
    fn connectable(&self, target: &TargetName, name: &NodeName, launcher: &NodeLauncher) -> bool {
        let now = self.clock.now();
        match launcher {
            NodeLauncher::Elsewhere => true,
            NodeLauncher::Inbound => self.machines.values().any(|machine| {
                let runs = machine.agent.as_ref().is_some_and(|agent| agent.target == *target && agent.name == *name);
                runs && machine.on && machine.fate.agent == AgentFate::Connects
            }),
            NodeLauncher::Ssh { host } => self
                .machines
                .values()
                .any(|machine| machine.address == *host && machine.reachable(now) && machine.fate.agent == AgentFate::Connects),
        }
    }

    /// Channels whose other end is gone. A build on one dies; `by` is who is to blame, empty: nobody.
    pub(super) fn drop_dead_channels(&mut self, by: &'static str) {
        let now = self.clock.now();
        let mut dead = Vec::new();
        for (target, jenkins) in &self.jenkins {
            for node in jenkins.nodes.values().filter(|node| node.channel == Channel::Up) {
                if !self.connectable(target, &node.name, &node.launcher) {
                    dead.push((target.clone(), node.name.clone()));
                }
            }
        }
        for (target, name) in dead {
            let Some(node) = self.jenkins.get_mut(&target).and_then(|jenkins| jenkins.nodes.get_mut(&name)) else {
                continue;
            };
            node.lose_channel(now);
            for build in std::mem::take(&mut node.builds) {
                if !by.is_empty() {
                    let (target, node) = (target.clone(), name.clone());
                    self.killed_builds.push(KilledBuild { at: now, target, node, url: build.url, by });
                }
            }
        }
    }

    pub(super) fn connect_agents(&mut self) {
        let now = self.clock.now();
        let due = self.clock.after(self.delays.agent);
        let mut may = Vec::new();
        for (target, jenkins) in self.jenkins.iter().filter(|(_, jenkins)| !jenkins.is_down(now)) {
            for node in jenkins.visible().filter(|node| node.deleted_at.is_none()) {
                may.push((target.clone(), node.name.clone(), self.connectable(target, &node.name, &node.launcher)));
            }
        }
        for (target, name, connectable) in may {
            let Some(node) = self.jenkins.get_mut(&target).and_then(|jenkins| jenkins.nodes.get_mut(&name)) else {
                continue;
            };
            if node.channel == Channel::Up {
                node.apply_kept_mark();
            } else if !connectable {
                node.fail_launch(now, due);
            } else {
                let at = *node.connects_at.get_or_insert(due);
                if at <= now {
                    node.connect();
                }
            }
        }
    }
}

impl Node {
    /// A controller that connects by itself says that it failed, again and again.
    fn fail_launch(&mut self, now: Timestamp, due: Timestamp) {
        if !matches!(self.launcher, NodeLauncher::Ssh { .. }) {
            self.connects_at = None;
            return;
        }
        if *self.connects_at.get_or_insert(due) <= now {
            self.cause = Some(Cause { at: now, why: Why::LaunchFailed });
            self.connects_at = None;
        }
    }
}
