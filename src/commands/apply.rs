//! `apply`: plans, asks on a terminal, carries it out, and says each change.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use anyhow::bail;
use jiff::{SignedDuration, Timestamp};

use super::signals::{Answer, Heard, Stop};
use crate::cli::ApplyArgs;
use crate::desired::Desired;
use crate::execute::ChainResult;
use crate::exit;
use crate::observed::KeepFailed;
use crate::plan::{Chain, Plan};
use crate::report::gaps::Said;
use crate::report::plan_text::{nothing_to_do, plan_text};
use crate::report::progress::{chain_lines, done_line, folded, waits_lines};
use crate::report::spinner::Spinner;
use crate::report::style::Style;
use crate::run::{Audience, Ended, Options, Outside, Summary, run, sleep};
use crate::settings::{Settings, now};
use crate::world::World;

/// Where an apply is told, and who answers its question.
pub struct Console<'a> {
    pub out: &'a mut (dyn Write + Send),
    /// None where there is no terminal.
    pub answer: Option<Answer<'a>>,
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
    if !args.yes && console.answer.is_none() {
        bail!(crate::exit::Usage(
            "apply asks before it changes anything, and there is no terminal to answer on; give --yes".to_owned()
        ));
    }
    let options = Options {
        deadline: (!args.until_converged).then_some(args.deadline),
        pools: super::pools(desired, &args.pool)?,
        update: BTreeSet::new(),
        once: false,
        keep_failed: args.keep_failed.map(keep_failed),
        lock_timeout: args.lock_timeout,
    };
    let Console { out, answer, stopped, calls } = console;
    let spinner = settings.lively.then(|| Spinner::new(settings.style.width));
    let inner = Inner { out, answer, approved: args.yes, interrupted: None, gaps: Said::default(), spinner };
    let talk = Talk { style: settings.style, folds: settings.terminal, inner: Mutex::new(inner) };
    let began = now();
    let outside = Outside { clock: &now, pause: &sleep, stopped };
    let summary = run(desired, world, &options, outside, &talk)?;
    talk.end(&summary, calls(), now().duration_since(began))?;
    Ok(talk.inner().interrupted.map_or_else(|| code(&summary), Stop::code))
}

/// The hold says where it came from: who ran the command is not known here.
fn keep_failed(time: SignedDuration) -> KeepFailed {
    KeepFailed { who: "apply".to_owned(), until: now().checked_add(time).unwrap_or(Timestamp::MAX) }
}

fn code(summary: &Summary) -> u8 {
    let refused = summary.last.as_ref().is_some_and(Plan::is_refused);
    match (summary.failed, refused) {
        (0, false) => exit::DONE,
        (0, true) => exit::REFUSED,
        (_, _) => exit::SOME_FAILED,
    }
}

struct Talk<'a> {
    style: Style,
    /// A line that is longer than the terminal is folded; a journal's never is.
    folds: bool,
    inner: Mutex<Inner<'a>>,
}

struct Inner<'a> {
    out: &'a mut (dyn Write + Send),
    answer: Option<Answer<'a>>,
    /// A plan was shown and a person said yes, or `--yes`: later passes of this run go on without a question.
    approved: bool,
    /// What came instead of an answer.
    interrupted: Option<Stop>,
    gaps: Said,
    spinner: Option<Spinner>,
}

impl Inner<'_> {
    /// A reader that went away (`| head`) must not stop what is under way.
    fn say(&mut self, text: &str) {
        let out = &mut self.out;
        let mut write = || drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
        match &self.spinner {
            Some(spinner) => spinner.suspend(write),
            None => write(),
        }
    }
}

impl<'a> Talk<'a> {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner<'a>> {
        // A poisoned lock means that a line was half written; the rest must still be said.
        match self.inner.lock() {
            Ok(inner) => inner,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    fn fold(&self, text: String) -> String {
        if self.folds { folded(&text, self.style.width) } else { text }
    }

    fn end(&self, summary: &Summary, calls: u64, took: jiff::SignedDuration) -> anyhow::Result<()> {
        let mut inner = self.inner();
        if let Some(spinner) = &mut inner.spinner {
            spinner.clear();
        }
        match &summary.last {
            Some(plan) if summary.ended == Some(Ended::Declined) => {
                let by = inner.interrupted.map(|stop| format!("stopped by {}, ", stop.word())).unwrap_or_default();
                writeln!(inner.out, "{}: {by}nothing was changed", plan.head.controller)?;
            }
            Some(plan) if summary.passes == 1 && plan.is_empty() && summary.ended != Some(Ended::Deadline) => {
                inner.out.write_all(self.fold(waits_lines(plan, self.style) + &nothing_to_do(plan)).as_bytes())?;
            }
            Some(plan) => {
                let text = waits_lines(plan, self.style) + &done_line(summary, calls, took);
                inner.out.write_all(self.fold(text).as_bytes())?;
            }
            None => inner.out.write_all(self.fold(done_line(summary, calls, took)).as_bytes())?,
        }
        Ok(())
    }
}

impl Audience for Talk<'_> {
    fn asks(&self, plan: &Plan) -> bool {
        // The first plan that changes something is asked for, whichever pass makes it: the first may only be waiting.
        !self.inner().approved && !plan.is_empty()
    }

    fn approve(&self, plan: &Plan, _pass: u32) -> bool {
        let mut inner = self.inner();
        if inner.approved || plan.is_empty() {
            let news = inner.gaps.news(&plan.gaps, self.style);
            inner.say(&news);
            if let Some(spinner) = &mut inner.spinner {
                spinner.show(&plan.waits);
            }
            return true;
        }
        // The plan's text has them.
        drop(inner.gaps.news(&plan.gaps, self.style));
        let text = format!("{}\nApply? [y/N] ", plan_text(plan, self.style));
        let heard = match inner.answer {
            Some(answer) => answer(&mut || inner.say(&text)),
            None => Heard::Line(String::new()),
        };
        match heard {
            Heard::Line(line) => {
                // Its end instead of an answer: the cursor still stands behind the question.
                let is_whole = line.ends_with('\n');
                if !is_whole {
                    inner.say("\n");
                }
                inner.approved = is_whole && matches!(line.trim(), "y" | "Y" | "yes");
            }
            Heard::Signal(stop) => {
                inner.say("\n");
                inner.interrupted = Some(stop);
            }
        }
        inner.approved
    }

    fn chain(&self, chain: &Chain, result: &ChainResult) {
        let text = chain_lines(chain, result, self.style);
        self.inner().say(&self.fold(text));
    }
}
