//! A run: lock, passes in a row, deadline, signals; the one sleep.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::desired::Desired;
use crate::execute::{ChainResult, Outcome, Surroundings, execute};
use crate::lock::{LockError, try_lock};
use crate::names::{ImageName, PoolName, ProviderName};
use crate::observe::observe_and_plan;
use crate::observed::{Ask, ImageMark, KeepFailed, Launched, MachineAsk, Observed, Refused, ThisRun, Tried};
use crate::plan::brakes::takes_a_healthy_node;
use crate::plan::need::listed;
use crate::plan::{Act, Action, Approved, Because, Chain, Plan};
use crate::world::{ActErrorKind, Done, World};

/// Between a pass that changed nothing and the next look at what is under way: a machine boots in ten seconds or more, and
/// a pass of an idle run costs four calls.
const PAUSE: SignedDuration = SignedDuration::from_secs(2);

/// Passes in a row of `image update --wait` in which nothing was to be had: about two minutes, a restart of a service.
const MISSES: u32 = 60;

/// How often a held lock is tried again.
const LOCK_PAUSE: SignedDuration = SignedDuration::from_millis(200);

/// How far a run goes.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// From the run's start; none: until nothing moves any more (`--until-converged`).
    pub deadline: Option<SignedDuration>,
    /// Only these; none named: all.
    pub pools: Vec<PoolName>,
    /// Snapshots to build in this run, whatever their age, and nothing else; none named: all that is due.
    pub update: BTreeSet<(ImageName, ProviderName)>,
    /// One pass, and no more: what it begins the next run goes on with.
    pub once: bool,
    /// Builders that fail in this run are held.
    pub keep_failed: Option<KeepFailed>,
    /// How long to wait for the first pass's lock; later ones are waited for until the run's end.
    pub lock_timeout: SignedDuration,
}

impl Options {
    /// Who waits for one build waits over a moment in which a service or the machine was not to be had, too.
    fn waits_over(&self, missed: bool, misses: &mut u32) -> bool {
        *misses = if missed { *misses + 1 } else { 0 };
        !self.update.is_empty() && !self.once && (1..=MISSES).contains(misses)
    }
}

/// The outside of a run, as arguments: tests bring their own.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    pub clock: &'a (dyn Fn() -> Timestamp + Sync),
    /// The sleep between passes.
    pub pause: &'a (dyn Fn(SignedDuration) + Sync),
    /// Set by SIGTERM or SIGINT: finish the calls in flight, begin nothing.
    pub stopped: &'a AtomicBool,
}

impl std::fmt::Debug for Outside<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Outside")
    }
}

/// Who is told, and asked.
pub trait Audience: Sync {
    /// Of what every pass saw and would do, before `approve`.
    fn looked(&self, _observed: &Observed, _plan: &Plan, _now: Timestamp) {}
    /// Whether a person is asked before this plan is carried out. The lock is let go meanwhile, and what is there is looked at
    /// again once there is an answer: others go on, and nobody knows how long a person reads. Later passes stay within what
    /// was approved.
    fn asks(&self, _plan: &Plan) -> bool {
        false
    }
    /// Of every pass's plan before anything is done. False: do nothing, end the run.
    fn approve(&self, plan: &Plan, pass: u32) -> bool;
    /// Of every chain when it is over.
    fn chain(&self, chain: &Chain, result: &ChainResult);
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub passes: u32,
    pub created: u32,
    pub deleted: u32,
    pub failed: u32,
    /// Skipped: what they relied on had changed, could not be seen, or was not to be had just then.
    pub stale: u32,
    /// Not begun for the deadline or a signal.
    pub left: u32,
    /// What the last pass would have begun beyond what a person said yes to.
    pub unapproved: u32,
    /// The last pass's plan: what is under way and what waits.
    pub last: Option<Plan>,
    pub ended: Option<Ended>,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nothing to do, and nothing that time of seconds would change.
    Converged,
    Deadline,
    Signal,
    /// The plan was not approved.
    Declined,
    /// It was to make one pass alone.
    Once,
}

/// Passes until nothing is left to do and nothing is under way, or until the deadline.
pub fn run(
    desired: &Desired,
    world: &dyn World,
    options: &Options,
    outside: Outside<'_>,
    audience: &dyn Audience,
) -> Result<Summary, LockError> {
    let began = Mutex::new((outside.clock)());
    let lasts = || (outside.clock)().duration_since(*began.lock().unwrap_or_else(PoisonError::into_inner));
    let over = || options.deadline.is_some_and(|deadline| lasts() >= deadline);
    let stopped = || outside.stopped.load(Ordering::Relaxed);
    let stop = || over() || stopped();
    let (update, keep_failed) = (options.update.clone(), options.keep_failed.clone());
    let mut this_run = ThisRun { update, keep_failed, ..ThisRun::default() };
    let mut summary = Summary::default();
    let mut approved: Option<Approved> = None;
    let mut misses = 0;
    loop {
        let begun = summary.passes > 0;
        // A run that has begun something says so at its end: it waits for another one's pass as long as it may last.
        let patient = |since: Timestamp| begun || (outside.clock)().duration_since(since) < options.lock_timeout;
        let waits = |since: Timestamp| !stop() && patient(since);
        let lock = match lock(&desired.controller.lock_file, &waits, outside) {
            Err(LockError::Held(_)) if begun => {
                summary.ended = Some(if stopped() { Ended::Signal } else { Ended::Deadline });
                return Ok(summary);
            }
            result => result?,
        };
        let (observed, plan, now) = observe_and_plan(world, desired, &this_run, outside.clock);
        let mut plan = plan.only(&options.pools).only_of(&options.update);
        this_run.note_listed(&listed(&observed));
        note_looks(&mut this_run, &observed, now);
        this_run.healthy_at_start.get_or_insert(plan.healthy);
        if let Some(approved) = &approved {
            (plan, summary.unapproved) = Approved::within(approved, plan, &this_run);
        }
        summary.passes += 1;
        audience.looked(&observed, &plan, now);
        let asks = audience.asks(&plan);
        let mut lock = Some(lock);
        if asks {
            drop(lock.take());
        }
        if !audience.approve(&plan, summary.passes) {
            return Ok(summary.end(plan, Ended::Declined));
        }
        if asks {
            approved = Some(Approved::of(&plan));
            // The deadline is the run's, not the reader's.
            *began.lock().unwrap_or_else(PoisonError::into_inner) = (outside.clock)();
            continue;
        }
        let watch = |chain: &Chain, result: &ChainResult| audience.chain(chain, result);
        let results = execute(&plan.chains, Surroundings { world, clock: outside.clock, stop: &stop, watch: &watch });
        drop(lock);
        summary.count(&plan, &results);
        remember(&mut this_run, &plan, &results);
        let changed = results.iter().any(|result| result.steps.iter().any(|step| step.outcome.is_done()));
        let converged = plan.is_empty() && !plan.under_way();
        if stopped() {
            return Ok(summary.end(plan, Ended::Signal));
        }
        let missed = !changed && (!plan.gaps.is_empty() || results.iter().any(ChainResult::may_do_better));
        if !options.waits_over(missed, &mut misses) && (converged || (!changed && !plan.under_way())) {
            // Cut off before anything was begun, it looks as if nothing could be done.
            let cut_off = over() && summary.left > 0;
            return Ok(summary.end(plan, if cut_off { Ended::Deadline } else { Ended::Converged }));
        }
        if options.once {
            return Ok(summary.end(plan, Ended::Once));
        }
        if over() {
            return Ok(summary.end(plan, Ended::Deadline));
        }
        summary.last = Some(plan);
        if !changed {
            (outside.pause)(PAUSE);
        }
    }
}

/// For a command by hand that changes something beside a run: the lock, waited for so long.
pub fn lock_within(path: &Path, timeout: SignedDuration, outside: Outside<'_>) -> Result<crate::lock::Lock, LockError> {
    lock(path, &|since| (outside.clock)().duration_since(since) < timeout, outside)
}

/// `waits`: whether to wait longer for a lock that is waited for since then.
fn lock(path: &Path, waits: &dyn Fn(Timestamp) -> bool, outside: Outside<'_>) -> Result<crate::lock::Lock, LockError> {
    let began = (outside.clock)();
    let mut said = false;
    loop {
        match try_lock(path) {
            Err(LockError::Held(_)) if waits(began) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::info!(lock = %path.display(), "another run holds the lock: waiting for it");
                }
                (outside.pause)(LOCK_PAUSE);
            }
            result => return result,
        }
    }
}

impl Summary {
    fn end(mut self, plan: Plan, ended: Ended) -> Self {
        self.last = Some(plan);
        self.ended = Some(ended);
        self
    }

    fn count(&mut self, plan: &Plan, results: &[ChainResult]) {
        for (chain, result) in plan.chains.iter().zip(results) {
            for step in &result.steps {
                match &step.outcome {
                    Outcome::Done(_) => self.count_done(chain, step.action),
                    // What a gap hides is looked at again, as what has changed is.
                    Outcome::Stale(_) | Outcome::Unread(_) => self.stale += 1,
                    Outcome::NotReached => self.left += 1,
                    Outcome::Failed(error) if error.kind == ActErrorKind::NotNow => self.stale += 1,
                    Outcome::Failed(_) | Outcome::Broken(_) => self.failed += 1,
                }
            }
        }
    }

    fn count_done(&mut self, chain: &Chain, action: usize) {
        let act = chain.actions.get(action).map(|action| &action.act);
        self.created += u32::from(matches!(act, Some(Act::CreateServer(_))));
        self.deleted += u32::from(matches!(act, Some(Act::DeleteServer { .. })));
    }
}

/// What the next pass must know of this one beyond what the lists show.
fn remember(this_run: &mut ThisRun, plan: &Plan, results: &[ChainResult]) {
    for (chain, result) in plan.chains.iter().zip(results) {
        for step in &result.steps {
            if let Some(action) = chain.actions.get(step.action) {
                remember_action(this_run, chain, action, &step.outcome, step.ended);
            }
        }
    }
}

fn note_looks(this_run: &mut ThisRun, observed: &Observed, now: Timestamp) {
    for (ask, _) in &observed.answers {
        if let Ask::Machine(MachineAsk { server, workspace: Some(_), .. }) = ask {
            this_run.looked.insert(server.clone(), now);
        }
    }
}

fn remember_action(this_run: &mut ThisRun, chain: &Chain, action: &Action, outcome: &Outcome, at: Timestamp) {
    let name = &chain.subject.name;
    if let Act::CreateServer(create) = &action.act {
        this_run.names.insert(create.name.clone());
        let server = if let Outcome::Done(Done::Accepted(server)) = outcome {
            Some(Some(server.clone()))
        } else {
            outcome.is_unanswered().then_some(None)
        };
        if let Some(server) = server {
            let (purpose, provider) = (create.purpose.clone(), create.provider.clone());
            this_run.launched.push(Launched { name: create.name.clone(), purpose, provider, at, server, listed: false });
        }
    }
    if let (true, Act::MarkOffline { .. }) = (outcome.is_done(), &action.act) {
        this_run.marked.insert(name.clone(), at);
    }
    if let (true, Act::StartAgent(_)) = (outcome.is_done(), &action.act) {
        this_run.started.insert(name.clone());
    }
    if outcome.is_done() && takes_a_healthy_node(&chain.because) {
        this_run.retired.insert(name.clone());
    }
    if let (true, Act::DeleteServer { .. }, Because::RoomForTry { provider, attempt }, Some(purpose)) =
        (outcome.is_done(), &action.act, &chain.because, chain.subject.purpose())
    {
        this_run.tries.push(Tried { purpose, provider: provider.clone(), attempt: *attempt });
    }
    remember_build(this_run, chain, action, outcome, at);
    if let Outcome::Failed(error) = outcome
        && matches!(error.kind, ActErrorKind::Refused | ActErrorKind::Quota)
    {
        let refused = if let Act::CreateServer(create) = &action.act {
            Refused::Create(create.purpose.clone(), create.provider.clone())
        } else if let (Act::CreateFloatingIp(create), ActErrorKind::Quota) = (&action.act, error.kind) {
            Refused::FloatingIps(create.provider.clone())
        } else {
            Refused::Act(action.act.kind(), name.clone())
        };
        this_run.refused.insert(refused, error.said.clone());
    }
}

/// Steps of a builder that are done once in a run, or once in a while.
fn remember_build(this_run: &mut ThisRun, chain: &Chain, action: &Action, outcome: &Outcome, at: Timestamp) {
    let begun = outcome.is_done() || outcome.is_unanswered();
    if let (true, Act::TurnOff(off)) = (begun, &action.act) {
        this_run.turned_off.insert(off.machine.server.clone(), at);
    }
    if let Act::CreateImage(create) = &action.act {
        if begun {
            this_run.saved.insert(create.server.clone(), at);
        } else if let Outcome::Failed(error) = outcome {
            // 409 of a builder without a task does not go away in seconds.
            let refused = Refused::Act(action.act.kind(), chain.subject.name.clone());
            this_run.refused.insert(refused, error.said.clone());
        }
    }
    // What keeps a snapshot in use does not go away in seconds. A builder's unsealed image is in nobody's use.
    if let (Act::DeleteImage { .. } | Act::MarkImage { .. }, Outcome::Failed(error)) = (&action.act, outcome)
        && error.kind == ActErrorKind::NotNow
        && action.expects.server.is_none()
    {
        let said = &error.said;
        this_run.refused.insert(Refused::Act(action.act.kind(), chain.subject.name.clone()), said.clone());
    }
    if let (true, Act::MarkImage { provider, marks, .. }, Some(image)) = (outcome.is_done(), &action.act, &chain.subject.image)
        && marks.contains_key(&ImageMark::Itself)
    {
        this_run.sealed.insert((image.clone(), provider.clone()));
    }
}

/// The real pause. Nothing else sleeps: a pass never waits.
#[expect(clippy::disallowed_methods, reason = "the one sleep, between passes")]
pub fn sleep(duration: SignedDuration) {
    std::thread::sleep(Duration::try_from(duration).unwrap_or_default());
}
