//! What an apply says while it goes: one line a change, fit for a terminal and for a journal.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};

use super::plan_text::{plural, refusal_text, unmet_text};
use super::printable::printable;
use super::style::{Role, Style, wrap};
use crate::desired::units;
use crate::execute::{ChainResult, Outcome, Step};
use crate::names::{PoolName, short};
use crate::node::Times;
use crate::plan::{Act, Because, Chain, NodeWait, Plan, Step as UpStep, Subject, Verb, WaitsFor};
use crate::run::{Ended, Summary};
use crate::world::{ActError, Done};

/// The lines that a chain's end is told with.
pub fn chain_lines(chain: &Chain, result: &ChainResult, style: Style) -> String {
    match result.steps.iter().find(|step| !step.outcome.is_done()) {
        Some(step) => not_done(chain, step, style),
        None => done(chain, result),
    }
}

fn done(chain: &Chain, result: &ChainResult) -> String {
    let name = &chain.subject.name;
    let took = result
        .steps
        .first()
        .zip(result.steps.last())
        .map_or(SignedDuration::ZERO, |(first, last)| last.ended.duration_since(first.began));
    let took = seconds(took);
    let line = match (chain.verb, &chain.because) {
        (Verb::Create, _) => create_line(chain, result),
        (Verb::Boot, Because::Next(UpStep::Prepare)) => format!("boot   {name}: {}", boot_times(chain.times, result)),
        (Verb::Boot, Because::Next(UpStep::Setup)) => {
            format!("boot   {name}: {}, setup script started", boot_times(chain.times, result))
        }
        (Verb::Boot, Because::Next(UpStep::TurnOff)) => format!("built  {name}: setup script ended 0, switching off ({took})"),
        (Verb::Boot, Because::Next(UpStep::CreateImage)) => format!("save   {name}: off, its image is being made ({took})"),
        (Verb::Boot, Because::Next(UpStep::Seal)) => format!("saved  {name}: nodes boot from it now ({took})"),
        (Verb::Boot, Because::Next(UpStep::FloatingIp)) => format!("boot   {name}: floating IP created ({took})"),
        (Verb::Boot, Because::Next(UpStep::Register)) => format!("ready  {name}: ready script ended 0, registered ({took})"),
        (Verb::Boot, _) => format!("boot   {name}: agent started ({took})"),
        (Verb::Mark, Because::Next(_)) => format!("online {name}: online{}", after(chain.times, result)),
        (Verb::Mark, because) => format!("note   {name}: {because}"),
        (Verb::Retire, because) => format!("retire {name}: {because}"),
        (Verb::Delete, because) => format!("delete {name}: {because}; {} ({took})", removed(chain, result)),
    };
    format!("{}\n", printable(&line))
}

fn create_line(chain: &Chain, result: &ChainResult) -> String {
    let name = &chain.subject.name;
    let provider = chain.actions.iter().find_map(|action| {
        let Act::CreateServer(create) = &action.act else { return None };
        Some(create.provider.to_string())
    });
    let (id, took) = match result.steps.first() {
        Some(Step { outcome: Outcome::Done(Done::Accepted(id)), began, ended, .. }) => {
            (short(id.as_str()).to_owned(), ended.duration_since(*began))
        }
        Some(_) | None => (String::new(), SignedDuration::ZERO),
    };
    format!("create {name} in {}: accepted {id} ({})", provider.unwrap_or_default(), seconds(took))
}

fn boot_times(times: Option<Times>, result: &ChainResult) -> String {
    let began = result.steps.first().map(|step| step.began);
    let mut parts = Vec::new();
    if let Some((times, began)) = times.zip(began) {
        if let Some(launched) = times.launched {
            parts.push(format!("ACTIVE after {}", units::short(units::since(times.created, launched))));
        }
        parts.push(format!("SSH after {}", units::short(units::since(times.created, began))));
    }
    parts.push("host key pinned".to_owned());
    parts.join(", ")
}

fn after(times: Option<Times>, result: &ChainResult) -> String {
    let seen: Option<Timestamp> = result.steps.first().map(|step| step.began);
    times.zip(seen).map(|(times, seen)| format!(" after {}", units::short(units::since(times.created, seen)))).unwrap_or_default()
}

fn removed(chain: &Chain, result: &ChainResult) -> String {
    let did = |wanted: fn(&Act) -> bool| {
        let step = result.steps.iter().find(|step| chain.actions.get(step.action).is_some_and(|action| wanted(&action.act)));
        step.map(|step| step.outcome == Outcome::Done(Done::Already))
    };
    let mut parts = Vec::new();
    if let Some(gone) = did(|act| matches!(act, Act::DeleteAgent { .. })) {
        parts.push(if gone { "agent was gone" } else { "agent removed" });
    }
    if let Some(gone) = did(|act| matches!(act, Act::DeleteImage { .. })) {
        parts.push(if gone { "image was gone" } else { "image deleted" });
    }
    if let Some(gone) = did(|act| matches!(act, Act::DeleteServer { .. })) {
        parts.push(if gone { "server was gone" } else { "server deleted" });
    }
    parts.join(", ")
}

fn not_done(chain: &Chain, step: &Step, style: Style) -> String {
    let name = &chain.subject.name;
    let kind = chain.actions.get(step.action).map_or("act", |action| action.act.kind());
    match &step.outcome {
        Outcome::Failed(ActError { said, tried, hint, .. }) => {
            let hint = hint.as_ref().map(|hint| format!("  {} {hint}\n", style.paint(Role::Hint, "hint:"))).unwrap_or_default();
            let said = printable(said);
            format!("{} {name}: {kind}: {said}\n  ({tried})\n{hint}", style.paint(Role::Error, "failed"))
        }
        Outcome::Stale(stale) => format!("skip   {name}: {kind}: {stale}; looked at again\n"),
        Outcome::Unread(gap) => format!("skip   {name}: {kind}: {}\n", printable(&gap.to_string())),
        Outcome::NotReached => format!("left   {name}: {kind}: not begun; the next run goes on\n"),
        Outcome::Broken(text) => {
            format!("{} {name}: {kind}: a fault of poolkeeper itself: {text}\n", style.paint(Role::Error, "failed"))
        }
        Outcome::Done(_) => String::new(),
    }
}

/// What an apply leaves behind that time of seconds does not change and a person may want to know of: what a limit held back,
/// and what pools and nodes wait for. A node that waits for the same as its pool needs no line of its own.
pub fn waits_lines(plan: &Plan, style: Style) -> String {
    let mut text: String = plan.refusals.iter().map(|refusal| refusal_text(refusal, style)).collect();
    text += &unmet_text(plan, style);
    let told = |waits: &WaitsFor| !waits.is_quiet() && !waits.is_under_way() && waits.lacks().is_none();
    let mut of_pool: BTreeMap<&PoolName, &WaitsFor> = BTreeMap::new();
    for pool in &plan.pools {
        if let Some(waits) = pool.waits_for.as_ref().filter(|waits| told(waits)) {
            let _ = writeln!(text, "waits  {}: {}", pool.name, printable(&waits.to_string()));
            of_pool.insert(&pool.name, waits);
        }
    }
    for image in &plan.images {
        if let Some(waits) = image.waits_for.as_ref().filter(|waits| told(waits)) {
            let _ = writeln!(text, "waits  {} in {}: {}", image.name, image.provider, printable(&waits.to_string()));
        }
    }
    let mut alike: BTreeMap<(&'static str, String), Vec<&str>> = BTreeMap::new();
    for NodeWait { subject: Subject { pool, image: _, name }, provider: _, state, waits_for } in &plan.waits {
        let same = pool.as_ref().and_then(|pool| of_pool.get(pool)).is_some_and(|waits| *waits == waits_for);
        if told(waits_for) && !same {
            alike.entry((*state, waits_for.to_string())).or_default().push(name.as_str());
        }
    }
    for ((state, waits), names) in alike {
        let _ = writeln!(text, "waits  {}: {state}: {}", few(&names), printable(&waits));
    }
    text
}

/// Where a line's text begins, after its verb: its further lines begin there, too.
const VERB: usize = 7;

const HINT: &str = "hint: ";

/// The lines of this file, and errors, for a terminal of this width. Elsewhere each stays one line, as a journal wants it.
pub fn folded(text: &str, width: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let led = line.chars().take_while(|c| *c == ' ').count();
        let (lead, rest) = line.split_at(led);
        let indent = match led {
            0 => VERB,
            _ if rest.starts_with(HINT) => led + HINT.len(),
            _ => led + 2,
        };
        for (at, piece) in wrap(rest, width, led, indent).into_iter().enumerate() {
            let _ = if at == 0 { writeln!(out, "{lead}{piece}") } else { writeln!(out, "{:indent$}{piece}", "") };
        }
    }
    out
}

/// Names that fit a line: two of them stand for many.
fn few(names: &[&str]) -> String {
    match names {
        [a, b, _, rest @ ..] => format!("{a}, {b} and {} more", rest.len() + 1),
        _ => names.join(", "),
    }
}

/// The last line of an apply.
pub fn done_line(summary: &Summary, calls: u64, took: SignedDuration) -> String {
    let Summary { passes, created, deleted, failed, stale, left, unapproved, last, ended } = summary;
    let mut parts = vec![format!("{created} created"), format!("{deleted} deleted")];
    let coming: u32 = last.iter().flat_map(|plan| &plan.pools).map(|pool| pool.counts.coming).sum();
    for (count, what) in [(coming, "under way"), (*failed, "failed"), (*stale, "skipped"), (*left, "left")] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts.push(plural(*passes, "pass").replace("passs", "passes"));
    parts.push(plural(u32::try_from(calls).unwrap_or(u32::MAX), "call"));
    parts.push(seconds(took));
    let then = match ended {
        Some(Ended::Deadline) => "; its deadline passed, the next run takes up what is left",
        Some(Ended::Once) => "; the next run goes on",
        Some(Ended::Signal) => "; stopped by a signal, the next run goes on",
        Some(Ended::Declined | Ended::Converged) | None => "",
    };
    let more =
        if *unapproved == 0 { String::new() } else { format!("; {unapproved} more to do, not in the plan that was approved") };
    format!("done: {}{then}{more}\n", parts.join(", "))
}

/// `0.6s` below ten seconds, `44s` above.
fn seconds(took: SignedDuration) -> String {
    let millis = took.as_millis().max(0);
    if millis < 10_000 { format!("{}.{}s", millis / 1000, millis % 1000 / 100) } else { units::short(took) }
}
