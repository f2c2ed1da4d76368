//! Why nothing is done for a node, a line each: what `plan -v` adds, so that every inaction can be read.

use std::collections::BTreeSet;

use super::printable::printable;
use super::style::Style;
use super::table::{Column, left, table};
use crate::names::PoolName;
use crate::node::{Joined, State};
use crate::plan::Plan;

const COLUMNS: [Column; 3] = [left("left alone"), left("state"), left("waits for")];

/// Every node without a chain; empty when there is none. A ready one waits for nothing of ours.
///
/// `pools`: only of these; none named: of all, removed ones too.
pub fn waits_text(plan: &Plan, joined: &Joined<'_>, pools: &[PoolName], style: Style) -> String {
    let acted: BTreeSet<&str> = plan.chains.iter().map(|chain| chain.subject.name.as_str()).collect();
    let waiting: BTreeSet<&str> = plan.waits.iter().map(|wait| wait.subject.name.as_str()).collect();
    let shown = |pool: Option<&PoolName>| pools.is_empty() || pool.is_some_and(|pool| pools.contains(pool));
    let rest = joined.nodes.iter().filter(|node| {
        let name = node.name.as_str();
        !acted.contains(name) && !waiting.contains(name) && shown(node.pool_name())
    });
    let rest = rest.map(|node| {
        let takes_builds = node.state == State::Ready && node.pool.is_some();
        (node.name.as_str(), node.state.word(), if takes_builds { "a build" } else { "-" }.to_owned())
    });
    let waits = plan.waits.iter().map(|wait| (wait.subject.name.as_str(), wait.state, wait.waits_for.to_string()));
    let mut lines: Vec<(&str, &str, String)> = waits.chain(rest).collect();
    lines.sort();
    if lines.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> =
        lines.into_iter().map(|(name, state, waits)| vec![name.to_owned(), state.to_owned(), printable(&waits)]).collect();
    format!("\n{}", table(&COLUMNS, &rows, style))
}
