//! `plan`: what apply would do, and why. Changes nothing, takes no lock.

use std::io::Write;

use crate::cli::{Format, PlanArgs};
use crate::desired::Desired;
use crate::exit;
use crate::node::join;
use crate::observe::observe;
use crate::observed::ThisRun;
use crate::plan;
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
    let observed = observe(world, desired, &ThisRun::default(), &now);
    let at = now();
    let plan = plan::plan(desired, &observed, at).only(&pools);
    match args.format {
        Format::Text => {
            out.write_all(plan_text(&plan, settings.style).as_bytes())?;
            if settings.verbose > 0 {
                out.write_all(waits_text(&plan, &join(desired, &observed, at), &pools, settings.style).as_bytes())?;
            }
        }
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&plan)?)?,
    }
    Ok(if args.exit_code && !plan.is_empty() { exit::CHANGES_PENDING } else { exit::DONE })
}
