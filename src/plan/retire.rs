//! The way down, the only one: facts written as marks, the agent offline, looked at again in a later pass, then removed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::floating;
use super::prepare::first_online;
use super::{Act, Action, AgentExpects, AgentIs, Because, Chain, Expects, MarkExpects, ServerExpects, Subject, Verb, WaitsFor};
use crate::desired::units::since;
use crate::desired::{Desired, UsedWhen};
use crate::names::TargetName;
use crate::node::{AgentSight, Node, State};
use crate::observed::agent::OUR_MESSAGE;
use crate::observed::{Computer, Dated, Mark, Observed, ServerStatus, marks};

/// A build may have been handed out in the moment of our own mark: the controller shows it within this time.
const SETTLE: SignedDuration = SignedDuration::from_secs(2);

/// A chain, or why there is none.
pub type Step = Result<Chain, WaitsFor>;

/// What is done for a node that is used, failed, orphaned or retiring.
pub fn removal(sight: Sight<'_>, node: &Node<'_>, because: Because) -> Step {
    Down::of(sight, node).removal(because)
}

/// Facts seen for the first time, and a busy node's mark against a second build. None: nothing new.
pub fn facts(sight: Sight<'_>, node: &Node<'_>) -> Option<Chain> {
    Down::of(sight, node).facts()
}

/// For a used node on which a Pipeline may go on: that it is used, and our mark off, so that it can. None: nothing to do.
pub fn resuming(sight: Sight<'_>, node: &Node<'_>) -> Option<Chain> {
    Down::of(sight, node).resuming()
}

/// What every node's way down is decided from.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'d> {
    pub desired: &'d Desired,
    pub observed: &'d Observed,
    /// Targets that miss most of their agents.
    pub mass_offline: &'d BTreeSet<TargetName>,
    pub now: Timestamp,
}

struct Down<'d, 'a> {
    desired: &'d Desired,
    observed: &'d Observed,
    mass_offline: &'d BTreeSet<TargetName>,
    node: &'d Node<'a>,
    now: Timestamp,
}

impl<'d, 'a> Down<'d, 'a> {
    fn of(sight: Sight<'d>, node: &'d Node<'a>) -> Self {
        let Sight { desired, observed, mass_offline, now } = sight;
        Self { desired, observed, mass_offline, node, now }
    }
}

impl Down<'_, '_> {
    fn removal(&self, because: Because) -> Step {
        let mut actions: Vec<Action> = self.unlock().into_iter().collect();
        actions.extend(self.facts().map(|chain| chain.actions).unwrap_or_default());
        let waits = self.take_down(&because, &mut actions)?;
        let verb = if waits.is_none() { Verb::Delete } else { Verb::Retire };
        match waits {
            Some(waits) if actions.is_empty() => Err(waits),
            _ => Ok(self.chain(verb, because, actions)),
        }
    }

    fn chain(&self, verb: Verb, because: Because, actions: Vec<Action>) -> Chain {
        Chain { subject: Subject::of(self.node), verb, because, times: Some(self.node.times()), actions }
    }

    /// The next steps down; what is left for a later pass, if anything.
    fn take_down(&self, because: &Because, actions: &mut Vec<Action>) -> Result<Option<WaitsFor>, WaitsFor> {
        let node = self.node;
        match node.agent {
            AgentSight::Gap if node.marks.agent.is_some() => return Err(WaitsFor::Gap(self.target_name())),
            AgentSight::Gap | AgentSight::Absent | AgentSight::Seen(_) => {}
        }
        let used = matches!(node.state, State::Used(_));
        if !used {
            // Intent before act; a used node carries `used` instead until it is seen idle and offline.
            // Retirement cannot be taken back: that an agent is gone must be so at a second look, too.
            let gone = (node.state == State::Orphan).then(|| self.agent_is(AgentIs::Absent)).flatten();
            actions.extend(self.mark_retire(because, gone));
        }
        if node.agent.computer().is_some_and(Computer::online) {
            if node.server.is_at_a_task() && node.marks.used.is_none() && node.marks.retire.is_none() {
                // Why it goes is to be written first, and soon can be.
                return Ok(Some(WaitsFor::LaterPass));
            }
            actions.extend(self.mark_offline(because));
            return Ok(Some(WaitsFor::LaterPass));
        }
        let marked = self.observed.this_run.marked.get(&node.name);
        if marked.is_some_and(|at| since(*at, self.now) < SETTLE) {
            return Ok(Some(WaitsFor::LaterPass));
        }
        // A use that was only just seen is written first; the rest is a later pass's.
        if used && !actions.is_empty() {
            return Ok(Some(WaitsFor::LaterPass));
        }
        if used {
            actions.extend(self.mark_retire(because, self.agent_is(self.removable())));
        }
        if let (AgentSight::Seen(_), Some(target)) = (node.agent, node.target()) {
            let act = Act::DeleteAgent { target: target.clone(), name: node.name.clone() };
            actions.push(Action { act, expects: self.expects(self.retired(), self.agent_is(self.removable())) });
        }
        let absent = match node.agent {
            AgentSight::Gap => None,
            AgentSight::Absent | AgentSight::Seen(_) => self.agent_is(AgentIs::Absent),
        };
        let expects = || self.expects(self.retired(), absent.clone());
        // Released before its server: what names the server by its id is never left behind for good.
        actions.extend(node.floating_ips.iter().map(|ip| floating::release(&node.provider, ip, expects())));
        let act = Act::DeleteServer { provider: node.provider.clone(), server: node.server.id.clone() };
        actions.push(Action { act, expects: expects() });
        Ok(None)
    }

    fn mark_retire(&self, because: &Because, agent: Option<AgentExpects>) -> Option<Action> {
        let missing = self.node.marks.retire.is_none() && self.takes_marks();
        missing.then(|| self.set_marks(BTreeMap::from([(Mark::Retire, marks::fit(&because.to_string()))]), agent))
    }

    /// The lock of a hold that is over goes first: Nova takes no mark before. An old Nova does not tell of locks.
    fn unlock(&self) -> Option<Action> {
        let locked = self.node.server.locked.unwrap_or_else(|| self.node.marks.retire.is_none());
        let act = Act::Unlock { provider: self.node.provider.clone(), server: self.node.server.id.clone() };
        (self.hold_is_over() && locked).then(|| Action { act, expects: self.expects(BTreeMap::new(), None) })
    }

    fn hold_is_over(&self) -> bool {
        matches!(self.node.state, State::HoldOver(_))
    }

    fn takes_marks(&self) -> bool {
        self.node.server.takes_metadata() || (self.hold_is_over() && self.node.server.is_settled())
    }

    /// A busy node comes here only when its channel is lost for longer than the grace.
    fn removable(&self) -> AgentIs {
        if self.node.agent.computer().is_some_and(|agent| agent.busy) { AgentIs::GivenUp } else { AgentIs::Removable }
    }

    fn target_name(&self) -> String {
        self.node.target().map_or_else(|| "its target".to_owned(), ToString::to_string)
    }

    /// Intent before act: a machine that takes marks carries `retire` before it is touched.
    fn retired(&self) -> BTreeMap<Mark, MarkExpects> {
        if self.takes_marks() { BTreeMap::from([(Mark::Retire, MarkExpects::Present)]) } else { BTreeMap::new() }
    }

    fn expects(&self, mut marks: BTreeMap<Mark, MarkExpects>, agent: Option<AgentExpects>) -> Expects {
        // What is decided of a node with a hold is void once the hold says something else.
        let hold = self.node.server.mark(Mark::Hold);
        marks.extend(hold.map(|hold| (Mark::Hold, MarkExpects::Is(hold.to_owned()))));
        let server = ServerExpects {
            provider: self.node.provider.clone(),
            id: self.node.server.id.clone(),
            controller: self.desired.controller.id.clone(),
            // A machine in BUILD may have become a good one meanwhile.
            status: (self.node.server.status == ServerStatus::Build).then_some(ServerStatus::Build),
            marks,
        };
        Expects { server: Some(server), agent, ..Expects::default() }
    }

    fn agent_is(&self, is: AgentIs) -> Option<AgentExpects> {
        let known = self.desired.target(self.node.target()?).is_some() && self.node.agent != AgentSight::Gap;
        let target = self.node.target()?.clone();
        known.then(|| AgentExpects { target, name: self.node.name.clone(), is })
    }

    fn set_marks(&self, marks: BTreeMap<Mark, String>, agent: Option<AgentExpects>) -> Action {
        let act = Act::SetMarks { provider: self.node.provider.clone(), server: self.node.server.id.clone(), marks };
        Action { act, expects: self.expects(BTreeMap::new(), agent) }
    }

    fn mark_offline(&self, why: &Because) -> Option<Action> {
        let agent = self.node.agent.computer()?;
        if agent.temporarily_offline {
            return None;
        }
        let message = format!("{OUR_MESSAGE} {why}");
        let act = Act::MarkOffline { target: self.node.target()?.clone(), name: self.node.name.clone(), message };
        let unmarked = self.agent_is(AgentIs::Unmarked);
        Some(Action { act, expects: self.expects(BTreeMap::new(), unmarked) })
    }

    fn facts(&self) -> Option<Chain> {
        let new = self.new_facts();
        let mut actions = Vec::new();
        if !new.is_empty() && self.node.server.takes_metadata() {
            actions.push(self.set_marks(new, None));
        }
        if self.is_back() {
            let act =
                Act::ClearMark { provider: self.node.provider.clone(), server: self.node.server.id.clone(), mark: Mark::Lost };
            actions.push(Action { act, expects: self.expects(BTreeMap::new(), None) });
        }
        let locked = self.node.server.locked == Some(true);
        let held = self.node.marks.hold.as_ref().map_or(locked, |hold| !hold.expired(self.now));
        if self.node.state == State::Busy && !held && self.marks_busy_nodes() {
            actions.extend(self.mark_offline(&Because::Busy));
        }
        (!actions.is_empty()).then(|| self.chain(Verb::Mark, self.fact(), actions))
    }

    fn resuming(&self) -> Option<Chain> {
        let mut actions = self.facts().map(|chain| chain.actions).unwrap_or_default();
        if let (Some(target), Some(true)) = (self.node.target(), self.node.agent.computer().map(Computer::marked_by_us)) {
            let act = Act::LiftMark { target: target.clone(), name: self.node.name.clone() };
            actions.push(Action { act, expects: self.expects(BTreeMap::new(), self.agent_is(AgentIs::MarkedByUs)) });
        }
        (!actions.is_empty()).then(|| self.chain(Verb::Mark, Because::Resuming, actions))
    }

    /// Which of the facts a chain is told for.
    fn fact(&self) -> Because {
        if let State::Lost { .. } = &self.node.state {
            Because::Lost
        } else if self.is_back() {
            Because::Back
        } else if let State::Failed(why) = &self.node.state {
            Because::Failed(why.clone())
        } else if let State::Used(why) = &self.node.state {
            Because::Used { why: why.clone(), idle: None }
        } else if self.node.state == State::Busy {
            Because::Busy
        } else {
            Because::Next(super::Step::Joined)
        }
    }

    fn marks_busy_nodes(&self) -> bool {
        self.node.pool.is_some_and(|pool| pool.single_use && pool.used_when.contains(&UsedWhen::Busy))
            && self.node.agent.computer().is_some_and(Computer::online)
    }

    fn new_facts(&self) -> BTreeMap<Mark, String> {
        let (node, have) = (self.node, &self.node.marks);
        let mut facts = BTreeMap::new();
        if first_online(node) {
            facts.insert(Mark::Agent, "joined".to_owned());
        }
        // One that goes on after the controller's restart is busy in the new session.
        let new = |busy: &Dated| node.session.is_some_and(|now| now != busy.text);
        if node.state == State::Busy && have.busy.as_deref().is_none_or(new) {
            facts.insert(Mark::Busy, marks::dated(self.now, node.session.unwrap_or("-")));
        }
        if let (State::Used(why) | State::Resuming { why, .. }, None) = (&node.state, &have.used) {
            facts.insert(Mark::Used, marks::dated(self.now, &why.to_string()));
        }
        if let (State::Failed(why), None) = (&node.state, &have.failed) {
            facts.insert(Mark::Failed, marks::dated(self.now, &why.to_string()));
        }
        let lost = node.state == (State::Lost { until: None }) || self.lost_while_busy();
        if lost && have.lost.is_none() {
            facts.insert(Mark::Lost, marks::seconds(self.now).to_string());
        }
        facts
    }

    fn lost_while_busy(&self) -> bool {
        // While most of its target's agents are missing nobody's grace begins.
        let mass = self.node.target().is_some_and(|target| self.mass_offline.contains(target));
        self.node.state == State::Busy && !mass && self.node.agent.computer().is_some_and(Computer::channel_lost)
    }

    fn is_back(&self) -> bool {
        // Of a server that is not ACTIVE an agent may look online until the controller's own time-out.
        self.node.marks.lost.is_some()
            && self.node.server.status == ServerStatus::Active
            && self.node.server.takes_metadata()
            && self.node.agent.computer().is_some_and(Computer::online)
    }
}
