//! Observing, in two rounds and no third: the lists, then what the lists leave open, asked side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;

use crate::desired::Desired;
use crate::observed::{Answer, Ask, Gap, Lists, Observed, ThisRun};
use crate::plan::asks::asks_of;
use crate::plan::planner::plan_of;
use crate::plan::{Overview, Plan, asks, plan};
use crate::world::World;

/// How many questions are asked at one time. Most are SSH connects that wait up to 3 s for a machine that boots: with 16, the
/// hundred machines of a full refill cost one pass 20 s at worst, and none of them holds up the others.
const WIDTH: usize = 16;

/// Everything that a plan is made from.
pub fn observe(world: &dyn World, desired: &Desired, this_run: &ThisRun, clock: &dyn Fn() -> Timestamp) -> Observed {
    let mut observed = listed(world, desired, this_run);
    let asks: Vec<Ask> = asks(desired, &observed, clock()).into_iter().collect();
    observed.answers = answer_all(world, &asks);
    observed
}

fn listed(world: &dyn World, desired: &Desired, this_run: &ThisRun) -> Observed {
    Observed { this_run: this_run.clone(), ..Observed::of_lists(world.lists(desired)) }
}

/// The same with its plan, and the time that it is of. Most passes ask nothing beyond the lists: then what was put together
/// for the questions is what the plan is made from.
pub fn observe_and_plan(
    world: &dyn World,
    desired: &Desired,
    this_run: &ThisRun,
    clock: &dyn Fn() -> Timestamp,
) -> (Observed, Plan, Timestamp) {
    let mut observed = listed(world, desired, this_run);
    let now = clock();
    let overview = Overview::of(desired, &observed, now);
    let asks: Vec<Ask> = asks_of(&overview).into_iter().collect();
    if asks.is_empty() {
        let plan = plan_of(overview);
        return (observed, plan, now);
    }
    drop(overview);
    observed.answers = answer_all(world, &asks);
    let now = clock();
    let plan = plan(desired, &observed, now);
    (observed, plan, now)
}

/// The answers to what a person wants to know beyond a plan's own questions.
pub type Further = BTreeMap<Ask, Result<Answer, Gap>>;

/// Round two for these lists, and further questions beside it. What a plan is made from stays as if they had not been asked.
pub fn answer_further(
    world: &dyn World,
    desired: &Desired,
    lists: Lists,
    further: &BTreeSet<Ask>,
    now: Timestamp,
) -> (Observed, Further) {
    let mut observed = Observed::of_lists(lists);
    let own = asks(desired, &observed, now);
    let all: Vec<Ask> = own.union(further).cloned().collect();
    let answers = answer_all(world, &all);
    let further = answers.iter().filter(|(ask, _)| further.contains(ask)).cloned().collect();
    observed.answers = answers.into_iter().filter(|(ask, _)| own.contains(ask)).collect();
    (observed, further)
}

fn answer_all(world: &dyn World, asks: &[Ask]) -> Vec<(Ask, Result<Answer, Gap>)> {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(Vec::with_capacity(asks.len()));
    let work = || {
        while let Some(ask) = asks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let answer = world.answer(ask);
            answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((ask.clone(), answer));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..WIDTH.min(asks.len()) {
            scope.spawn(work);
        }
        work();
    });
    let mut answers = answers.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    answers.sort_by(|(a, _), (b, _)| a.cmp(b));
    answers
}
