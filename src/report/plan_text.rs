//! A plan as a person reads it: gaps first, deletions before creations, counts per pool, and one line of sum.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::gaps::gaps_text;
use super::printable::printable;
use super::style::{Role, Style, cells, wrap};
use super::table::{Column, left, right, table};
use crate::desired::units;
use crate::names::{PoolName, Purpose};
use crate::observed::{Account, Source};
use crate::plan::snapshot::due::TO_BE_CREATED;
use crate::plan::{Act, Because, Chain, Counts, CreateServer, FailedBuild, Head, ImageLine, Plan, Refusal, Verb, WaitsFor};

/// The whole plan; one line when there is nothing to do and nothing to say.
pub fn plan_text(plan: &Plan, style: Style) -> String {
    if plan.is_quiet() {
        return nothing_to_do(plan);
    }
    let mut text = head(&plan.head, style);
    text.push_str(&gaps_text(&plan.gaps, style));
    for refusal in &plan.refusals {
        text.push_str(&refusal_text(refusal, style));
    }
    text.push_str(&unmet_text(plan, style));
    text.push_str(&failed_builds(plan, style));
    text.push('\n');
    for chain in &plan.chains {
        match chain.verb {
            Verb::Create => {}
            Verb::Delete | Verb::Retire | Verb::Mark | Verb::Boot => text.push_str(&chain_text(chain, style)),
        }
    }
    for (create, because, count) in creates(&plan.chains) {
        text.push_str(&create_text(create, because, count, style));
    }
    if !plan.chains.is_empty() {
        text.push('\n');
    }
    text.push_str(&pools(plan, style));
    text.push('\n');
    text.push_str(&images(plan, style));
    text.push_str(&sum(plan, style));
    text
}

/// The one line of a plan that does nothing.
pub fn nothing_to_do(plan: &Plan) -> String {
    let nodes: u32 = plan.pools.iter().map(|pool| pool.counts.servers()).sum();
    let counted: Vec<String> = states(plan).into_iter().map(|(state, count)| format!("{count} {state}")).collect();
    let counted = if counted.is_empty() { String::new() } else { format!(", {}", counted.join(", ")) };
    let nothing = match (plan.is_quiet(), plan.is_refused()) {
        (true, _) => "nothing to do",
        (false, false) => "nothing to do now",
        (false, true) => "nothing can be done now",
    };
    format!("{}: {nothing} ({}{counted}){}\n", plan.head.controller, plural(nodes, "node"), not_seen(plan))
}

/// How many nodes of all pools are in which state; zeros left out.
fn states(plan: &Plan) -> Vec<(&'static str, u32)> {
    let total = |field: fn(&Counts) -> u32| plan.pools.iter().map(|pool| field(&pool.counts)).sum::<u32>();
    let counts = [
        ("ready", total(|c| c.ready)),
        ("not seen", total(|c| c.unseen)),
        ("busy", total(|c| c.busy)),
        ("coming", total(|c| c.coming)),
        ("used", total(|c| c.used)),
        ("held", total(|c| c.held)),
        ("failed", total(|c| c.failed)),
        ("deleting", total(|c| c.deleting)),
    ];
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

pub fn plural(count: u32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn count_of(things: usize, what: &str) -> String {
    plural(u32::try_from(things).unwrap_or(u32::MAX), what)
}

/// Which deployment, how much of it, and from which commit.
pub(super) fn title(head: &Head) -> String {
    let revision = head.revision.as_ref().map(|revision| format!(" (desired-state at {revision})")).unwrap_or_default();
    format!(
        "{}: {}, {}, {}{revision}\n",
        head.controller,
        count_of(head.providers.len(), "provider"),
        count_of(head.targets.len(), "target"),
        count_of(head.pools, "pool"),
    )
}

fn head(head: &Head, style: Style) -> String {
    let mut text = title(head);
    let providers = head.providers.iter().map(|provider| {
        let servers = format!("{} of {} servers", provider.servers, provider.max_servers);
        match &provider.account {
            Some(Account { file, cloud, project, user }) => {
                format!("{}: cloud {cloud} of {file}, project {project}, user {user}, {servers}", provider.name)
            }
            None => format!("{}: not seen", provider.name),
        }
    });
    let targets = head.targets.iter().map(|target| {
        let version =
            target.version.as_ref().map_or_else(|| "Jenkins or Hudson".to_owned(), |version| format!("Jenkins {version}"));
        format!("{}: {}", target.name, if target.seen { version } else { "not seen".to_owned() })
    });
    let line: Vec<String> = providers.chain(targets).collect();
    for line in wrap(&line.join(" · "), style.width, 0, 2).iter().enumerate() {
        let indent = if line.0 == 0 { "" } else { "  " };
        let _ = writeln!(text, "{indent}{}", line.1);
    }
    text
}

/// What a limit held back, and the flag that lifts it.
pub fn refusal_text(refusal: &Refusal, style: Style) -> String {
    led("refused: ", &refusal.to_string(), &refusal.meaning(), style)
}

/// What the desired state asks for, and cannot be: for a person to mend, here or there.
pub fn unmet_text(plan: &Plan, style: Style) -> String {
    const MEANING: &str = "nothing goes on for it until a person mends that";
    plan.unmet().iter().map(|unmet| led("unmet:   ", &printable(&unmet.to_string()), MEANING, style)).collect()
}

/// Snapshots whose last build failed, and when it is tried again.
pub fn failed_builds(plan: &Plan, style: Style) -> String {
    let failed = plan.images.iter().filter_map(|image| Some((image, image.failed.as_ref()?)));
    let text = failed.map(|(image, failed)| {
        let FailedBuild { builder: _, at: _, ago, attempt, why, again } = failed;
        let what = format!(
            "the build of {} in {}, {} ago (try {attempt}): {}",
            image.name,
            image.provider,
            units::short(*ago),
            printable(why)
        );
        let next = match (&image.builder, &image.waits_for) {
            (Some(builder), _) => format!("tried again: {builder} is {}", image.state.unwrap_or_default()),
            (None, Some(WaitsFor::BackOff { .. })) => format!("tried again from {} UTC on", again.strftime("%H:%M")),
            (None, Some(_)) => format!("the next try waits for {}", image_waits(image).unwrap_or_default()),
            (None, None) => "tried again when a build is due".to_owned(),
        };
        led("failed:  ", &what, &format!("{next}; the output: poolkeeper image log {}", image.name), style)
    });
    text.collect()
}

fn led(word: &str, what: &str, meaning: &str, style: Style) -> String {
    let lead = word.len();
    let mut text = String::new();
    for (at, line) in wrap(what, style.width, lead, lead).into_iter().enumerate() {
        let start = if at == 0 { style.paint(Role::Error, word) } else { " ".repeat(lead) };
        let _ = writeln!(text, "{start}{line}");
    }
    for line in wrap(meaning, style.width, lead, lead) {
        let _ = writeln!(text, "{}{line}", " ".repeat(lead));
    }
    text
}

/// Where the reasons of a plan's lines begin.
const REASON_COLUMN: usize = 40;
/// Fewer columns than this are no room for one beside a long name.
const REASON_ROOM: usize = 20;
/// Where further words begin, below what they are of.
const DETAIL_COLUMN: usize = 12;

fn chain_text(chain: &Chain, style: Style) -> String {
    let (sign, role, word) = match chain.verb {
        // A retirement begins in this pass and ends in a later one of the same run: to a person it is one deletion.
        Verb::Delete | Verb::Retire => ("-", Role::Removed, "delete"),
        Verb::Mark => ("~", Role::Changed, "note"),
        Verb::Boot => ("~", Role::Changed, "boot"),
        Verb::Create => ("+", Role::Added, "create"),
    };
    line(sign, role, word, chain.subject.name.as_str(), &chain.because.to_string(), style)
}

fn line(sign: &str, role: Role, word: &str, what: &str, why: &str, style: Style) -> String {
    let start = format!("{sign} {word:<7} {what}");
    let gap = REASON_COLUMN.saturating_sub(cells(&start)).max(2);
    let beside = cells(&start) + gap;
    let is_beside = beside + REASON_ROOM <= style.width;
    // Else below, where the further words of a creation stand, too.
    let column = if is_beside { beside } else { DETAIL_COLUMN };
    let mut text = style.paint(role, &start);
    if is_beside {
        text.push_str(&" ".repeat(gap));
    } else {
        let _ = write!(text, "\n{:DETAIL_COLUMN$}", "");
    }
    for (at, piece) in wrap(&printable(why), style.width, column, column).into_iter().enumerate() {
        if at > 0 {
            text.push_str(&" ".repeat(column));
        }
        let _ = writeln!(text, "{}", style.paint(Role::Dim, &piece));
    }
    text
}

/// Creates that differ in their name alone are one line with a count; the reason is the first one's.
fn creates(chains: &[Chain]) -> Vec<(&CreateServer, &Because, usize)> {
    let mut kinds: Vec<(&CreateServer, &Because, usize)> = Vec::new();
    for chain in chains {
        for action in &chain.actions {
            let Act::CreateServer(create) = &action.act else { continue };
            match kinds.iter_mut().find(|(other, _, _)| same_kind(other, create)) {
                Some((_, _, count)) => *count += 1,
                None => kinds.push((create, &chain.because, 1)),
            }
        }
    }
    kinds
}

fn same_kind(a: &CreateServer, b: &CreateServer) -> bool {
    (&a.purpose, &a.provider, &a.image, &a.flavor, &a.availability_zone)
        == (&b.purpose, &b.provider, &b.image, &b.flavor, &b.availability_zone)
}

fn create_text(create: &CreateServer, because: &Because, count: usize, style: Style) -> String {
    let (word, what) = match &create.purpose {
        Purpose::Pool(pool) => ("create", format!("{pool} x{count}")),
        Purpose::Image(image) => ("build", image.to_string()),
    };
    let mut text = line("+", Role::Added, word, &what, &because.to_string(), style);
    let zone = create.availability_zone.as_ref().map(|zone| format!(", {zone}")).unwrap_or_default();
    let from = format!(
        "from {} ({}), {}{zone}, in {}",
        create.image_name,
        units::short(create.image_age),
        create.flavor_name,
        create.provider
    );
    for piece in wrap(&from, style.width, DETAIL_COLUMN, DETAIL_COLUMN) {
        let _ = writeln!(text, "{:DETAIL_COLUMN$}{}", "", style.paint(Role::Dim, &piece));
    }
    text
}

const POOL_COLUMNS: [Column; 10] = [
    left("pool"),
    right("ready"),
    right("not seen"),
    right("busy"),
    right("coming"),
    right("used"),
    right("held"),
    right("failed"),
    right("want"),
    left("waits for"),
];

/// The counts of every pool, and what it waits for. What is behind a gap has a column only where there is such.
pub(super) fn pools(plan: &Plan, style: Style) -> String {
    let all_seen = plan.pools.iter().all(|pool| pool.counts.unseen == 0);
    let shown = |at: usize| at != UNSEEN || !all_seen;
    let rows: Vec<Vec<String>> = plan
        .pools
        .iter()
        .map(|pool| {
            let counts = &pool.counts;
            let Counts { ready, unseen, busy, coming, used, held, failed, want, .. } = counts;
            let mut row = vec![pool.name.to_string()];
            row.extend([ready, unseen, busy, coming, used, held, failed, want].map(u32::to_string));
            row.push(pool_waits(plan, &pool.name, pool.waits_for.as_ref()));
            row.into_iter().enumerate().filter(|(at, _)| shown(*at)).map(|(_, cell)| cell).collect()
        })
        .collect();
    let columns: Vec<Column> =
        POOL_COLUMNS.into_iter().enumerate().filter(|(at, _)| shown(*at)).map(|(_, column)| column).collect();
    table(&columns, &rows, style)
}

/// Among `POOL_COLUMNS`.
const UNSEEN: usize = 2;

const IMAGE_COLUMNS: [Column; 6] =
    [left("image"), left("provider"), left("snapshot"), right("age").dropped(1), left("builder").dropped(2), left("waits for")];

/// Every image that is built, in each of its providers, with a blank line behind them; nothing where there is none.
pub(super) fn images(plan: &Plan, style: Style) -> String {
    if plan.images.is_empty() {
        return String::new();
    }
    let dash = || "-".to_owned();
    let rows: Vec<Vec<String>> = plan
        .images
        .iter()
        .map(|image| {
            let builder = image.builder.as_ref().zip(image.state).map(|(name, state)| match state {
                TO_BE_CREATED => state.to_owned(),
                _ => format!("{name}: {state}"),
            });
            let waits = image_waits(image).or_else(|| builder_waits(plan, image).map(ToString::to_string));
            vec![
                image.name.to_string(),
                image.provider.to_string(),
                image.current.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string),
                image.age.map_or_else(dash, units::short),
                builder.unwrap_or_else(dash),
                printable(&waits.unwrap_or_default()),
            ]
        })
        .collect();
    format!("{}\n", table(&IMAGE_COLUMNS, &rows, style))
}

/// A listing asks for no flavors: what is due is the next run's.
fn image_waits(image: &ImageLine) -> Option<String> {
    match (&image.waits_for, &image.due) {
        (Some(WaitsFor::NextPass), Some(due)) => Some(format!("the next run, it is due: {due}")),
        (waits, _) => waits.as_ref().map(ToString::to_string),
    }
}

/// Of the builder that is at work.
pub(super) fn builder_waits<'a>(plan: &'a Plan, image: &ImageLine) -> Option<&'a WaitsFor> {
    plan.waits.iter().find(|wait| Some(&wait.subject.name) == image.builder.as_ref()).map(|wait| &wait.waits_for)
}

/// The pool's own reason, else what its nodes on the way wait for.
fn pool_waits(plan: &Plan, pool: &PoolName, own: Option<&WaitsFor>) -> String {
    if let Some(own) = own {
        return own.to_string();
    }
    let mut counted: BTreeMap<String, u32> = BTreeMap::new();
    for wait in plan.waits.iter().filter(|wait| wait.subject.pool.as_ref() == Some(pool) && !wait.waits_for.is_quiet()) {
        *counted.entry(wait.waits_for.to_string()).or_default() += 1;
    }
    let texts: Vec<String> =
        counted.into_iter().map(|(what, count)| if count == 1 { what } else { format!("{what} ({count})") }).collect();
    texts.join(", ")
}

/// Providers and targets behind a gap: what was counted is without them.
fn not_seen(plan: &Plan) -> String {
    let services =
        plan.gaps.iter().map(|gap| &gap.source).filter(|source| matches!(source, Source::Provider(_) | Source::Target(_)));
    let unseen: Vec<String> = services.collect::<BTreeSet<_>>().iter().map(ToString::to_string).collect();
    if unseen.is_empty() { String::new() } else { format!("; not seen: {}", unseen.join(", ")) }
}

/// What would be done and what is kept, in one sentence.
pub(super) fn sum(plan: &Plan, style: Style) -> String {
    let of = |verb: Verb| plan.chains.iter().filter(|chain| chain.verb == verb).count();
    let deletions = of(Verb::Delete) + of(Verb::Retire);
    let parts =
        [(of(Verb::Create), "to create"), (deletions, "to delete"), (of(Verb::Boot), "to boot on"), (of(Verb::Mark), "to note")];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let mut text = match (parts.is_empty(), plan.is_refused()) {
        (true, false) => "Nothing to do now".to_owned(),
        (true, true) => "Nothing can be done now".to_owned(),
        (false, _) => parts.join(", "),
    };
    text += &not_seen(plan);
    let kept: Vec<String> = states(plan)
        .into_iter()
        .filter(|(state, _)| matches!(*state, "held" | "failed" | "busy"))
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    if !kept.is_empty() {
        let _ = write!(text, ". Kept: {} (poolkeeper explain NODE)", kept.join(", "));
    }
    wrap(&text, style.width, 0, 0).join("\n") + "\n"
}
