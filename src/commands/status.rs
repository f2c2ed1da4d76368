//! `status`: how providers, targets and pools stand. Changes nothing, takes no lock; asks what a plan asks, and the quotas.

use std::io::Write;

use anyhow::Context as _;
use jiff::Timestamp;

use crate::cli::{Format, StatusArgs};
use crate::desired::Desired;
use crate::exit;
use crate::node::join;
use crate::observe::answer_further;
use crate::plan::plan;
use crate::report::status::{quota_asks, status, text};
use crate::report::style::Style;
use crate::world::World;

pub fn show(
    args: &StatusArgs,
    desired: &Desired,
    world: &dyn World,
    clock: &dyn Fn() -> Timestamp,
    style: Style,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let lists = world.lists(desired);
    let asks = quota_asks(desired, &lists);
    let (observed, further) = answer_further(world, desired, lists, &asks, clock());
    let now = clock();
    let plan = plan(desired, &observed, now);
    let status = status(desired, &observed, &further, &join(desired, &observed, now), &plan, now);
    match args.format {
        Format::Text => out.write_all(text(&status, &plan, now, style.with_json()).as_bytes()),
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&status)?),
    }
    .context("cannot write the result")?;
    Ok(exit::DONE)
}
