//! `list`: every node and builder of ours, one line each.

use jiff::Timestamp;

use super::gaps::unseen;
use super::style::Style;
use super::table::{Column, left, right, table};
use crate::desired::Desired;
use crate::desired::units;
use crate::node::{AgentSight, Joined, Node, State};
use crate::observed::{Gap, Observed};
use crate::plan::Subject;

const COLUMNS: [Column; 7] = [
    left("node"),
    left("state"),
    right("age"),
    left("provider").dropped(2),
    left("image").dropped(3),
    left("ip").dropped(1),
    left("jenkins"),
];

/// `--format json`: an empty list behind a gap says which it is.
#[derive(Debug, serde::Serialize)]
pub struct List<'r> {
    pub gaps: &'r [Gap],
    pub nodes: &'r [Row],
}

/// A node as `--format json` gives it.
#[derive(Debug, serde::Serialize)]
pub struct Row {
    pub node: String,
    pub pool: Option<String>,
    /// Of a builder: the image that it builds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builds: Option<String>,
    pub state: &'static str,
    pub created: Timestamp,
    pub provider: String,
    pub server: String,
    pub image: Option<String>,
    pub ip: Option<String>,
    pub jenkins: String,
    #[serde(skip)]
    age: String,
}

pub fn rows(desired: &Desired, observed: &Observed, joined: &Joined<'_>, now: Timestamp) -> Vec<Row> {
    let all = joined.nodes.iter().chain(&joined.builders);
    let mut rows: Vec<Row> = all.map(|node| row(desired, observed, node, now)).collect();
    rows.sort_by(|a, b| (&a.builds, &a.pool, &a.node).cmp(&(&b.builds, &b.pool, &b.node)));
    rows
}

fn row(desired: &Desired, observed: &Observed, node: &Node<'_>, now: Timestamp) -> Row {
    let images = observed.lists.providers.get(&node.provider).and_then(|list| list.as_ref().ok()).map(|list| &list.images);
    let image = node.server.image.as_ref().map(|id| {
        let known = images.into_iter().flatten().find(|image| image.id == *id);
        known.map_or_else(|| crate::names::short(id.as_str()).to_owned(), |image| image.name.clone())
    });
    let address = desired.provider(&node.provider).and_then(|provider| node.address(provider));
    Row {
        node: node.name.to_string(),
        pool: node.pool_name().map(ToString::to_string),
        builds: Subject::of(node).image.map(|image| image.to_string()),
        state: node.state.word(),
        created: node.server.created,
        provider: node.provider.to_string(),
        server: node.server.id.to_string(),
        image,
        ip: address.map(str::to_owned),
        jenkins: jenkins(node),
        age: units::short(units::since(node.server.created, now)),
    }
}

/// What the agent does, or why there is none to see.
fn jenkins(node: &Node<'_>) -> String {
    let agent = match node.agent {
        AgentSight::Gap => return "not seen".to_owned(),
        AgentSight::Absent => return "-".to_owned(),
        AgentSight::Seen(agent) => agent,
    };
    if agent.busy {
        let build = agent.builds.first().map(|url| job_path(url));
        return build.unwrap_or_else(|| "busy".to_owned());
    }
    if agent.online() {
        return "online, idle".to_owned();
    }
    match (&node.state, agent.cause.as_ref().and_then(|cause| cause.text())) {
        (State::Held(why), _) => format!("offline: {why}"),
        (_, Some(text)) => format!("offline: {}", text.lines().next().unwrap_or_default()),
        (_, None) => "offline".to_owned(),
    }
}

/// `job/tox-jessie/4411` of a build's URL.
pub(super) fn job_path(url: &str) -> String {
    let path = url.find("/job/").and_then(|at| url.get(at + 1..)).unwrap_or(url);
    path.trim_end_matches('/').to_owned()
}

/// `gaps`: of the same look.
pub fn text(rows: &[Row], gaps: &[Gap], style: Style) -> String {
    let unseen = unseen("nodes", rows.is_empty(), gaps);
    if rows.is_empty() {
        return unseen.unwrap_or_else(|| "no nodes\n".to_owned());
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            vec![
                row.node.clone(),
                row.state.to_owned(),
                row.age.clone(),
                row.provider.clone(),
                or_dash(&row.image),
                or_dash(&row.ip),
                row.jenkins.clone(),
            ]
        })
        .collect();
    table(&COLUMNS, &cells, style) + &unseen.unwrap_or_default()
}
