//! `apply`: plans, asks on a terminal, carries it out, and says each change.

use std::io::{BufRead, Write};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use anyhow::bail;

use crate::cli::ApplyArgs;
use crate::desired::Desired;
use crate::execute::ChainResult;
use crate::exit;
use crate::observed::Gap;
use crate::plan::{Chain, Plan};
use crate::report::gaps::{gaps_text, is_same};
use crate::report::plan_text::{nothing_to_do, plan_text};
use crate::report::progress::{chain_lines, done_line, waits_lines};
use crate::report::style::Style;
use crate::run::{Audience, Ended, Options, Outside, Summary, run, sleep};
use crate::settings::{Settings, now};
use crate::world::World;

/// Where an apply is told, and who answers its question.
pub struct Console<'a> {
    pub out: &'a mut (dyn Write + Send),
    /// None where there is no terminal.
    pub answers: Option<&'a mut (dyn BufRead + Send)>,
    /// Set by SIGTERM or SIGINT.
    pub stopped: &'a AtomicBool,
    /// How many calls were made so far.
    pub calls: &'a (dyn Fn() -> u64 + Sync),
}

impl std::fmt::Debug for Console<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Console")
    }
}

pub fn apply(
    args: &ApplyArgs,
    settings: &Settings,
    desired: &Desired,
    world: &dyn World,
    console: Console<'_>,
) -> anyhow::Result<u8> {
    if !args.yes && console.answers.is_none() {
        bail!(crate::exit::Usage(
            "apply asks before it changes anything, and there is no terminal to answer on; give --yes".to_owned()
        ));
    }
    let options = Options {
        deadline: (!args.until_converged).then_some(args.deadline),
        pools: super::pools(desired, &args.pool)?,
        lock_timeout: args.lock_timeout,
        within_approved: !args.yes,
    };
    let Console { out, answers, stopped, calls } = console;
    let inner = Inner { out, answers, approved: args.yes, gaps: Vec::new() };
    let talk = Talk { style: settings.style, inner: Mutex::new(inner) };
    let began = now();
    let outside = Outside { clock: &now, pause: &sleep, stopped };
    let summary = run(desired, world, &options, outside, &talk)?;
    talk.end(&summary, calls(), now().duration_since(began))?;
    Ok(code(&summary))
}

fn code(summary: &Summary) -> u8 {
    let refused = summary.last.as_ref().is_some_and(|plan| !plan.refusals.is_empty());
    match (summary.failed, refused) {
        (0, false) => exit::DONE,
        (0, true) => exit::REFUSED,
        (_, _) => exit::SOME_FAILED,
    }
}

struct Talk<'a> {
    style: Style,
    inner: Mutex<Inner<'a>>,
}

struct Inner<'a> {
    out: &'a mut (dyn Write + Send),
    answers: Option<&'a mut (dyn BufRead + Send)>,
    /// A plan was shown and a person said yes, or `--yes`: later passes of this run go on without a question.
    approved: bool,
    /// Said already: a gap that stays is said once a run.
    gaps: Vec<Gap>,
}

impl<'a> Talk<'a> {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner<'a>> {
        // A poisoned lock means that a line was half written; the rest must still be said.
        match self.inner.lock() {
            Ok(inner) => inner,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    fn end(&self, summary: &Summary, calls: u64, took: jiff::SignedDuration) -> anyhow::Result<()> {
        let mut inner = self.inner();
        match &summary.last {
            Some(plan) if summary.ended == Some(Ended::Declined) => {
                writeln!(inner.out, "{}: nothing was changed", plan.head.controller)?;
            }
            Some(plan) if summary.passes == 1 && plan.is_empty() => {
                inner.out.write_all(waits_lines(plan, self.style).as_bytes())?;
                inner.out.write_all(nothing_to_do(plan).as_bytes())?;
            }
            Some(plan) => {
                inner.out.write_all(waits_lines(plan, self.style).as_bytes())?;
                inner.out.write_all(done_line(summary, calls, took).as_bytes())?;
            }
            None => inner.out.write_all(done_line(summary, calls, took).as_bytes())?,
        }
        Ok(())
    }
}

impl Audience for Talk<'_> {
    fn approve(&self, plan: &Plan, _pass: u32) -> bool {
        let mut inner = self.inner();
        // The first plan that changes something is asked for, whichever pass makes it: the first may only be waiting.
        if inner.approved || plan.is_empty() {
            let new: Vec<Gap> =
                plan.gaps.iter().filter(|gap| !inner.gaps.iter().any(|said| is_same(said, gap))).cloned().collect();
            drop(inner.out.write_all(gaps_text(&new, self.style).as_bytes()));
            inner.gaps.extend(new);
            return true;
        }
        drop(inner.out.write_all(plan_text(plan, self.style).as_bytes()));
        drop(inner.out.write_all(b"\nApply? [y/N] "));
        drop(inner.out.flush());
        let mut answer = String::new();
        let read = inner.answers.as_mut().and_then(|answers| answers.read_line(&mut answer).ok());
        if !answer.ends_with('\n') {
            // Its end instead of an answer: the cursor still stands behind the question.
            drop(inner.out.write_all(b"\n"));
        }
        inner.approved = read.is_some() && matches!(answer.trim(), "y" | "Y" | "yes");
        inner.approved
    }

    fn chain(&self, chain: &Chain, result: &ChainResult) {
        let text = chain_lines(chain, result, self.style);
        let mut inner = self.inner();
        // A reader that went away (`| head`) must not stop what is under way.
        drop(inner.out.write_all(text.as_bytes()));
        drop(inner.out.flush());
    }
}
