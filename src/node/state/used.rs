//! What tells that a node's build is over, and whether it may go on. The table that asks is `state`'s.

use jiff::Timestamp;

use super::{Rules, later};
use crate::desired::UsedWhen;
use crate::node::UsedWhy;
use crate::observed::{Computer, MachineFacts, MachineSight, OfflineCause, WorkspaceSight};

impl Rules<'_, '_> {
    pub(super) fn used(&self, agent: &Computer) -> Option<UsedWhy> {
        let marks = &self.node.marks;
        if let Some(used) = &marks.used {
            return Some(UsedWhy::Marked(used.text.clone()));
        }
        if agent.temporarily_offline
            && let Some(cause) = &agent.cause
        {
            let gearman = self.node.pool.is_none_or(|pool| pool.used_when.contains(&UsedWhen::Gearman));
            if cause.is_gearman() && gearman {
                return Some(UsedWhy::Gearman);
            }
            if cause.is_ours() {
                return Some(UsedWhy::OurMark);
            }
            if let Some(text) = self.message(cause) {
                return Some(UsedWhy::Message(text.to_owned()));
            }
        }
        let single_use = self.node.pool.is_none_or(|pool| pool.single_use);
        if !agent.online() || !single_use {
            return None;
        }
        let worked_in = matches!(
            self.node.machine,
            Some(MachineSight::Up { facts: Some(MachineFacts { workspace: Some(WorkspaceSight::Used), .. }), .. })
        );
        let seen_busy = marks.busy.is_some().then_some(UsedWhy::SeenBusy);
        seen_busy.or_else(|| worked_in.then_some(UsedWhy::Workspace))
    }

    /// When a Pipeline's return is given up; none: nothing can come back to this node. A queue that was not seen may have it.
    pub(super) fn resumes_until(&self) -> Option<Timestamp> {
        let (node, marks) = (self.node, &self.node.marks);
        let (busy, now) = (&marks.busy.as_ref()?.text, node.session?);
        // A controller that tells no session (Hudson) resumes nothing.
        if busy == now || busy == "-" || node.resuming == Some(false) {
            return None;
        }
        let since = marks.used.as_ref().map_or(self.now, |used| used.at);
        Some(later(since, self.desired.controller.lost_grace)).filter(|until| self.now < *until)
    }

    /// The text of a mark that the pool looks for.
    fn message<'c>(&self, cause: &'c OfflineCause) -> Option<&'c str> {
        let wanted = self.node.pool.into_iter().flat_map(|pool| &pool.used_when);
        let mut patterns = wanted.filter_map(|when| if let UsedWhen::Message(pattern) = when { Some(pattern) } else { None });
        // The raw text comes before Jenkins' own words around it, in which a user's name may stand.
        patterns.find_map(|pattern| cause.texts().find(|text| pattern.is_in(text)))
    }
}
