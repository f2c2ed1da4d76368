//! The real binary against a real OpenStack and a real CI server: the lab of tests/lab. Started by `make e2e`, inside the
//! lab's namespaces. A plain `cargo test` runs none of it and counts nothing.
//!
//! What happened is judged by clients of its own (curl, ssh), never by poolkeeper's.
#![expect(clippy::print_stdout, reason = "no test harness: the report is this program's output")]
#![expect(clippy::indexing_slicing, reason = "of JSON alone, where what is missing is null and nothing panics")]
#![expect(clippy::disallowed_methods, reason = "waits for real machines, and says how long each step took")]

mod desired;
mod faults;
mod floating;
mod hudson;
mod images;
mod killed;
mod lab;
mod openstack;
mod restart;
mod steps;
mod two;

use std::process::ExitCode;

use anyhow::Result;
use lab::Lab;
use steps::{Steps, clean};

type Scenario = fn(&Lab, &mut Steps) -> Result<()>;

const SCENARIOS: [(&str, Scenario); 6] = [
    ("two: from nothing, a build, an admin's offline node", two::run),
    ("killed: three times on a node's way up", killed::run),
    ("faults: told, cleaned up, not hammered", faults::run),
    ("floating: an IP on each server, released with it", floating::run),
    ("images: published, built, booted from, gone back from", images::run),
    ("restart: of the CI server, in the middle", restart::run),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some("--lab"), Some(lab)) = (arguments.next().as_deref(), arguments.next()) else {
        println!("e2e: nothing run: it needs the lab, see `make e2e`");
        return ExitCode::SUCCESS;
    };
    // The second argument is the lab's state directory; further ones name the scenarios to run.
    let Some(state) = arguments.next() else {
        println!("e2e: --lab COMMAND STATE-DIRECTORY [PART-OF-A-NAME...]");
        return ExitCode::from(2);
    };
    let wanted: Vec<String> = arguments.collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part));
    let lab = Lab::new(lab.into(), state.into());
    let (mut passed, mut failed) = (0, 0);
    for (name, scenario) in SCENARIOS.iter().filter(|(name, _)| is_wanted(name)) {
        println!("\n{name}");
        if run(&lab, *scenario) {
            passed += 1;
        } else {
            failed += 1;
        }
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A scenario and, whatever came of it, the removal of what it made.
fn run(lab: &Lab, scenario: Scenario) -> bool {
    let mut steps = Steps::start();
    let result = scenario(lab, &mut steps);
    if let Err(error) = &result {
        println!("FAILED: {error:#}");
    }
    let cleaned = clean();
    if let Err(error) = &cleaned {
        println!("FAILED to clean up: {error:#}");
    }
    steps.total();
    result.is_ok() && cleaned.is_ok()
}
