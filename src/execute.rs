//! Carries out a plan: chains side by side, each ended at its first action that is not done. Decides nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;

use crate::observed::Gap;
use crate::plan::{Action, Chain, Stale, still_holds};
use crate::world::{ActError, ActErrorKind, Done, World};

/// How many chains are carried out at one time. Each waits for one service most of its time; more would only queue up in
/// Nova's API workers (two to eight on a private cloud) and delay everybody else's calls.
pub const WIDTH: usize = 8;

/// What became of one action.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Done(Done),
    /// What it relied on is not so any more: skipped.
    Stale(Stale),
    /// What it relies on could not be read: skipped.
    Unread(Gap),
    Failed(ActError),
    /// The deadline or a signal came first: nothing was begun.
    NotReached,
    /// A fault of ours, caught so that the report is not lost.
    Broken(String),
}

impl Outcome {
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// It may have been done or not.
    pub fn is_unanswered(&self) -> bool {
        matches!(self, Self::Failed(error) if error.kind == ActErrorKind::Unanswered)
    }
}

/// One action, carried out or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its place in the chain.
    pub action: usize,
    pub outcome: Outcome,
    pub began: Timestamp,
    pub ended: Timestamp,
}

/// A chain's actions up to the first that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainResult {
    /// Its place in the plan.
    pub chain: usize,
    pub steps: Vec<Step>,
}

impl ChainResult {
    /// Something was not done that the next look may find to be done: not to be had just then, unread, changed meanwhile.
    pub fn may_do_better(&self) -> bool {
        self.steps.iter().any(|step| match &step.outcome {
            Outcome::Stale(_) | Outcome::Unread(_) => true,
            Outcome::Failed(error) => matches!(error.kind, ActErrorKind::NotNow | ActErrorKind::Unanswered),
            Outcome::Done(_) | Outcome::NotReached | Outcome::Broken(_) => false,
        })
    }

    pub fn all_done(&self, chain: &Chain) -> bool {
        self.steps.len() == chain.actions.len() && self.steps.iter().all(|step| step.outcome.is_done())
    }
}

/// What the executor needs of its surroundings.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    pub world: &'a dyn World,
    pub clock: &'a (dyn Fn() -> Timestamp + Sync),
    /// True: begin nothing more.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Told of each chain when it is over, one at a time.
    pub watch: &'a (dyn Fn(&Chain, &ChainResult) + Sync),
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Surroundings")
    }
}

/// Carries out every chain, in their order as workers come free. Results in the same order.
pub fn execute(chains: &[Chain], around: Surroundings<'_>) -> Vec<ChainResult> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(chains.len()));
    let work = || {
        while let Some((at, chain)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            chains.get(at).map(|chain| (at, chain))
        } {
            let result = ChainResult { chain: at, steps: carry_out(chain, around) };
            let mut results = results.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            (around.watch)(chain, &result);
            results.push(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..WIDTH.min(chains.len()) {
            scope.spawn(work);
        }
        work();
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|result| result.chain);
    results
}

fn carry_out(chain: &Chain, around: Surroundings<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for (at, action) in chain.actions.iter().enumerate() {
        let began = (around.clock)();
        let outcome =
            catch_unwind(AssertUnwindSafe(|| one(action, around))).unwrap_or_else(|panic| Outcome::Broken(text_of(&*panic)));
        let done = outcome.is_done();
        steps.push(Step { action: at, outcome, began, ended: (around.clock)() });
        if !done {
            break;
        }
    }
    steps
}

fn one(action: &Action, around: Surroundings<'_>) -> Outcome {
    if (around.stop)() {
        return Outcome::NotReached;
    }
    if let Some(object) = action.expects.object() {
        let fresh = match around.world.read(&object) {
            Ok(fresh) => fresh,
            Err(gap) => return Outcome::Unread(gap),
        };
        if let Err(stale) = still_holds(&action.expects, &fresh) {
            return Outcome::Stale(stale);
        }
    }
    match around.world.act(&action.act) {
        Ok(done) => Outcome::Done(done),
        Err(error) => Outcome::Failed(error),
    }
}

/// A panic's own message; its payload is a text in every panic of Rust's own macros.
fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
