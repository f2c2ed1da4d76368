//! `plan`: what apply would do, and why. Changes nothing, takes no lock.

use std::io::Write;

use anyhow::Context as _;

use crate::cli::{Format, PlanArgs};
use crate::desired::Desired;
use crate::exit;
use crate::node::join;
use crate::observe::observe_and_plan;
use crate::observed::ThisRun;
use crate::report::plan_text::plan_text;
use crate::report::waits::waits_text;
use crate::settings::{Settings, now};
use crate::world::World;

pub fn plan(
    args: &PlanArgs,
    settings: &Settings,
    desired: &Desired,
    world: &dyn World,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let pools = super::pools(desired, &args.pool)?;
    let (observed, plan, at) = observe_and_plan(world, desired, &ThisRun::default(), &now);
    let plan = plan.only(&pools);
    let style = settings.style.with_json();
    let text = match args.format {
        Format::Text if settings.verbose > 0 => {
            plan_text(&plan, style) + &waits_text(&plan, &join(desired, &observed, at), &pools, style)
        }
        Format::Text => plan_text(&plan, style),
        Format::Json => serde_json::to_string_pretty(&plan)? + "\n",
    };
    out.write_all(text.as_bytes()).context("cannot write the result")?;
    Ok(match (args.exit_code, plan.is_empty()) {
        (true, false) => exit::CHANGES_PENDING,
        (true, true) if plan.is_refused() => exit::REFUSED,
        (true, true) | (false, _) => exit::DONE,
    })
}
