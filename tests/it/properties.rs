//! What is true of every world: random deployments, and what people, chance and `kill -9` do to them.
//!
//! The worlds are the same in every run. `PROPTEST_RNG_SEED=N PROPTEST_CASES=N` looks at others; one that failed is written to
//! `proptest-regressions/` and is tried first from then on.

mod checks;
mod deployment;
mod drive;
mod events;

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use deployment::{Shape, any_shape};
use drive::Drive;
use events::{Event, any_events};

fn config(seed: u64) -> Config {
    let default = Config::default();
    let rng_seed = if default.rng_seed == RngSeed::Random { RngSeed::Fixed(seed) } else { default.rng_seed };
    Config { rng_seed, max_shrink_iters: 150, ..default }
}

/// One world from its beginning until it is quiet. Everything that must hold on the way is asserted on the way.
fn live(shape: &Shape, events: &[Event]) {
    let drive = Drive::new(shape);
    for event in events {
        drive.happen(event);
    }
    drive.end();
}

/// A world's events and calls are many; a run of the tests is to end within a minute.
const EVENTS: usize = 60;

proptest! {
    #![proptest_config(config(1))]
    #[test]
    fn a_world_in_which_anything_happens_ends_well(shape in any_shape(), events in any_events(EVENTS)) {
        live(&shape, &events);
    }
}

proptest! {
    #![proptest_config(config(2))]
    #[test]
    fn a_run_that_is_killed_anywhere_leaves_nothing_that_the_next_does_not_mend(
        shape in any_shape(),
        before in any_events(4),
        kills in prop::collection::vec((0_u64..24, any::<bool>()), 1..6),
    ) {
        let drive = Drive::new(&shape);
        for event in &before {
            drive.happen(event);
        }
        for (call, done) in kills {
            drive.happen(&Event::KilledRun { call, done });
        }
        drive.end();
    }
}

/// The worlds that these tests make are worth something only when much happens in them.
#[test]
fn the_worlds_are_eventful() {
    let mut runner = proptest::test_runner::TestRunner::new(Config { cases: 64, failure_persistence: None, ..config(1) });
    let (creates, deletes, builds, failures) = (Cell::new(0), Cell::new(0), Cell::new(0), Cell::new(0));
    let strategy = (any_shape(), any_events(EVENTS));
    let result = runner.run(&strategy, |(shape, events)| {
        let drive = Drive::new(&shape);
        for event in &events {
            drive.happen(event);
        }
        let tally = drive.tally();
        creates.set(creates.get() + tally.creates);
        deletes.set(deletes.get() + tally.deletes);
        builds.set(builds.get() + tally.builds);
        failures.set(failures.get() + tally.failed);
        Ok(())
    });
    assert!(result.is_ok(), "{result:?}");
    let seen = (creates.get(), deletes.get(), builds.get(), failures.get());
    assert!(seen.0 > 200 && seen.1 > 100 && seen.2 > 50 && seen.3 > 20, "creates, deletes, builds, failures: {seen:?}");
}
