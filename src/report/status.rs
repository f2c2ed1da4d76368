//! How everything stands, as a value and as text: gaps and refusals first, then providers, targets and pools.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use jiff::Timestamp;

use super::gaps::gaps_text;
use super::image_list::{ImageRow, image_rows};
use super::plan_text::{failed_builds, images, plural, pools, refusal_text, sum, title, unmet_text};
use super::printable::printable;
use super::style::{Role, Style, wrap};
use super::table::{Column, left, right, table};
use crate::desired::{Desired, Provider, units};
use crate::names::{ControllerId, ProviderName, ServerId, TargetName};
use crate::node::Joined;
use crate::observe::Further;
use crate::observed::{Account, Answer, Ask, Computer, Gap, Headroom, Lists, Marks, Observed, Quota};
use crate::plan::need::{Load, loads};
use crate::plan::{Plan, PoolLine, Refusal, TargetHead, Verb};

#[derive(Debug, serde::Serialize)]
pub struct Status {
    pub controller: ControllerId,
    pub revision: Option<String>,
    /// The reason, when nothing is launched for a person's word.
    pub paused: Option<String>,
    pub gaps: Vec<Gap>,
    pub refusals: Vec<Refusal>,
    pub providers: Vec<ProviderStatus>,
    pub targets: Vec<TargetStatus>,
    pub pools: Vec<PoolLine>,
    pub images: Vec<ImageRow>,
    /// Nodes of pools that are not in the desired state any more: pool -> state -> how many.
    pub removed_pools: BTreeMap<String, BTreeMap<&'static str, u32>>,
    /// What the next pass would do: verb -> how many chains.
    pub to_do: BTreeMap<Verb, u32>,
}

#[derive(Debug, serde::Serialize)]
pub struct ProviderStatus {
    pub name: ProviderName,
    pub seen: bool,
    /// None behind a gap.
    pub account: Option<Account>,
    /// Servers of ours.
    pub servers: u32,
    pub max_servers: u32,
    /// In BUILD or booting.
    pub launching: u32,
    pub max_concurrent_launches: u32,
    /// Nova's, of the whole project; none when it was not seen.
    pub quota: Option<Quota>,
    pub quota_gap: Option<Gap>,
    pub foreign: Vec<Foreign>,
}

/// A server in the project that is not ours: it takes its share of the quota, and is never touched.
#[derive(Debug, serde::Serialize)]
pub struct Foreign {
    pub name: String,
    pub id: ServerId,
    pub flavor: String,
    pub created: Timestamp,
}

#[derive(Debug, serde::Serialize)]
pub struct TargetStatus {
    pub name: TargetName,
    pub seen: bool,
    pub version: Option<String>,
    /// Agents of ours, with and without a server. A busy one is online or offline, too: marked, it runs its build to the end.
    pub online: u32,
    pub busy: u32,
    pub offline: u32,
}

/// Which quotas to ask for, beside what a plan asks.
pub fn quota_asks(desired: &Desired, lists: &Lists) -> BTreeSet<Ask> {
    let seen = desired.controller.providers.keys().filter(|name| matches!(lists.providers.get(*name), Some(Ok(_))));
    seen.map(|name| Ask::Limits(name.clone())).collect()
}

pub fn status(
    desired: &Desired,
    observed: &Observed,
    further: &Further,
    joined: &Joined<'_>,
    plan: &Plan,
    now: Timestamp,
) -> Status {
    let loads = loads(desired, observed, joined, now);
    let mut removed_pools: BTreeMap<String, BTreeMap<&'static str, u32>> = BTreeMap::new();
    for node in joined.nodes.iter().filter(|node| node.pool.is_none()) {
        let pool = node.pool_name().map_or_else(|| "-".to_owned(), ToString::to_string);
        *removed_pools.entry(pool).or_default().entry(node.state.word()).or_default() += 1;
    }
    let mut to_do: BTreeMap<Verb, u32> = BTreeMap::new();
    for chain in &plan.chains {
        *to_do.entry(chain.verb).or_default() += 1;
    }
    let providers = desired.controller.providers.values();
    Status {
        controller: desired.controller.id.clone(),
        revision: desired.revision.clone(),
        paused: desired.controller.paused.clone(),
        gaps: plan.gaps.clone(),
        refusals: plan.refusals.clone(),
        providers: providers.map(|provider| provider_status(desired, observed, further, provider, &loads)).collect(),
        targets: plan.head.targets.iter().map(|target| target_status(joined, target)).collect(),
        pools: plan.pools.clone(),
        images: image_rows(plan),
        removed_pools,
        to_do,
    }
}

fn provider_status(
    desired: &Desired,
    observed: &Observed,
    further: &Further,
    provider: &Provider,
    loads: &BTreeMap<ProviderName, Load>,
) -> ProviderStatus {
    let list = observed.lists.providers.get(&provider.name).and_then(|list| list.as_ref().ok());
    let strangers = list.into_iter().flat_map(|list| &list.servers);
    let strangers = strangers.filter(|server| Marks::read(&server.metadata, &desired.controller.id).is_none());
    let foreign = strangers.map(|server| Foreign {
        name: server.name.to_string(),
        id: server.id.clone(),
        flavor: server.flavor.to_string(),
        created: server.created,
    });
    let (quota, quota_gap) = match further.get(&Ask::Limits(provider.name.clone())) {
        Some(Ok(Answer::Limits(quota))) => (Some(*quota), None),
        Some(Err(gap)) => (None, Some(gap.clone())),
        Some(Ok(_)) | None => (None, None),
    };
    let load = loads.get(&provider.name).copied().unwrap_or_default();
    ProviderStatus {
        name: provider.name.clone(),
        seen: list.is_some(),
        account: list.map(|list| list.account.clone()),
        servers: load.servers,
        max_servers: provider.max_servers,
        launching: load.launching,
        max_concurrent_launches: provider.max_concurrent_launches,
        quota,
        quota_gap,
        foreign: foreign.collect(),
    }
}

fn target_status(joined: &Joined<'_>, target: &TargetHead) -> TargetStatus {
    let with_server = joined.nodes.iter().filter(|node| node.target() == Some(&target.name));
    let with_server = with_server.filter_map(|node| node.agent.computer());
    let lone = joined.lone_agents.iter().filter(|lone| lone.target == target.name).map(|lone| lone.computer);
    let agents: Vec<&Computer> = with_server.chain(lone).collect();
    let count = |is: fn(&Computer) -> bool| u32::try_from(agents.iter().filter(|agent| is(agent)).count()).unwrap_or(u32::MAX);
    TargetStatus {
        name: target.name.clone(),
        seen: target.seen,
        version: target.version.clone(),
        online: count(Computer::online),
        busy: count(|agent| agent.busy),
        offline: count(|agent| agent.offline),
    }
}

/// `plan` is the one that the status was made from.
pub fn text(status: &Status, plan: &Plan, now: Timestamp, style: Style) -> String {
    let mut text = String::new();
    text.push_str(&title(&plan.head));
    text.push_str(&gaps_text(&status.gaps, style));
    for refusal in &status.refusals {
        text.push_str(&refusal_text(refusal, style));
    }
    text.push_str(&unmet_text(plan, style));
    text.push_str(&failed_builds(plan, style));
    if let Some(reason) = &status.paused {
        let _ = writeln!(text, "{} {}", style.paint(Role::Warning, "paused:"), printable(reason));
    }
    text.push('\n');
    text.push_str(&providers(status, style));
    for provider in &status.providers {
        below(&mut text, provider, now, style);
    }
    text.push('\n');
    text.push_str(&targets(status, style));
    text.push('\n');
    if !status.pools.is_empty() {
        text.push_str(&pools(plan, style));
    }
    for (pool, states) in &status.removed_pools {
        let nodes: u32 = states.values().sum();
        let states: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        line(&mut text, &format!("{pool} is not in the desired state: {} ({})", plural(nodes, "node"), states.join(", ")), style);
    }
    text.push('\n');
    text.push_str(&images(plan, style));
    text.push_str(&sum(plan, style));
    text
}

/// A line of its own, wrapped, what is over indented.
fn line(text: &mut String, line: &str, style: Style) {
    for (at, piece) in wrap(&printable(line), style.width, 0, 2).iter().enumerate() {
        let _ = writeln!(text, "{}{piece}", if at == 0 { "" } else { "  " });
    }
}

const PROVIDER_COLUMNS: [Column; 7] = [
    left("provider"),
    right("servers"),
    right("launching"),
    right("instances"),
    right("cores"),
    right("RAM GiB"),
    right("foreign"),
];

fn providers(status: &Status, style: Style) -> String {
    let rows: Vec<Vec<String>> = status.providers.iter().map(provider_row).collect();
    table(&PROVIDER_COLUMNS, &rows, style)
}

fn provider_row(provider: &ProviderStatus) -> Vec<String> {
    let mut row = vec![provider.name.to_string()];
    if provider.account.is_none() {
        row.push("not seen".to_owned());
        row.extend(std::iter::repeat_n("-".to_owned(), PROVIDER_COLUMNS.len() - 2));
        return row;
    }
    row.push(format!("{} of {}", provider.servers, provider.max_servers));
    row.push(format!("{} of {}", provider.launching, provider.max_concurrent_launches));
    match provider.quota {
        Some(Quota { instances, cores, ram }) => {
            row.extend([used(instances, |count| count.to_string()), used(cores, |count| count.to_string()), used(ram, gib)]);
        }
        None => row.extend(std::iter::repeat_n("not seen".to_owned(), 3)),
    }
    row.push(provider.foreign.len().to_string());
    row
}

fn used(headroom: Headroom, shown: fn(u64) -> String) -> String {
    match headroom.limit {
        Some(limit) => format!("{} of {}", shown(headroom.used), shown(limit)),
        None => format!("{}, no limit", shown(headroom.used)),
    }
}

/// MiB as GiB, with one digit where it is not whole.
fn gib(mib: u64) -> String {
    if mib.is_multiple_of(1024) { (mib / 1024).to_string() } else { format!("{}.{}", mib / 1024, mib % 1024 * 10 / 1024) }
}

/// So many foreign servers are named; JSON has all.
const NAMED: usize = 6;

/// Whose eyes see a provider, what of it is not seen, and who else is in it.
fn below(text: &mut String, provider: &ProviderStatus, now: Timestamp, style: Style) {
    let name = &provider.name;
    if let Some(Account { file, cloud, project, user }) = &provider.account {
        line(text, &format!("{name}: cloud {cloud} of {file}, project {project}, user {user}"), style);
    }
    if let Some(Gap { answered, tried, .. }) = &provider.quota_gap {
        line(text, &format!("{name}: quota not seen: {answered} ({tried})"), style);
    }
    if provider.foreign.is_empty() {
        return;
    }
    let mut shown: Vec<String> = provider
        .foreign
        .iter()
        .take(NAMED)
        .map(|server| format!("{} ({}, {})", server.name, server.flavor, units::short(units::since(server.created, now))))
        .collect();
    let more = provider.foreign.len().saturating_sub(NAMED);
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    line(text, &format!("{name}: foreign, never touched: {}", shown.join(", ")), style);
}

const TARGET_COLUMNS: [Column; 5] = [left("target"), left("version"), right("online"), right("busy"), right("offline")];

fn targets(status: &Status, style: Style) -> String {
    let rows: Vec<Vec<String>> = status.targets.iter().map(target_row).collect();
    table(&TARGET_COLUMNS, &rows, style)
}

fn target_row(target: &TargetStatus) -> Vec<String> {
    let mut row = vec![target.name.to_string()];
    if target.seen {
        let version =
            target.version.as_ref().map_or_else(|| "Jenkins or Hudson".to_owned(), |version| format!("Jenkins {version}"));
        row.push(printable(&version));
        row.extend([target.online, target.busy, target.offline].map(|count| count.to_string()));
    } else {
        row.extend(["not seen", "-", "-", "-"].map(str::to_owned));
    }
    row
}
