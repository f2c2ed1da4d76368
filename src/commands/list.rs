//! `list`: every node of ours. Asks no machine.

use std::io::Write;

use anyhow::Context as _;

use crate::cli::{Format, ListArgs};
use crate::desired::Desired;
use crate::exit;
use crate::node::join;
use crate::observed::Observed;
use crate::report::gaps::gaps_text;
use crate::report::list::{List, rows, text};
use crate::settings::{Settings, now};
use crate::world::World;

pub fn list(
    args: &ListArgs,
    settings: &Settings,
    desired: &Desired,
    world: &dyn World,
    out: &mut dyn Write,
    talk: &mut dyn Write,
) -> anyhow::Result<u8> {
    let observed = Observed::of_lists(world.lists(desired));
    let gaps: Vec<_> = observed.gaps().cloned().collect();
    talk.write_all(gaps_text(&gaps, settings.talk).as_bytes())?;
    let at = now();
    let joined = join(desired, &observed, at);
    let rows = rows(desired, &observed, &joined, at);
    match args.format {
        Format::Text => out.write_all(text(&rows, &gaps, settings.style.with_json()).as_bytes()),
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&List { gaps: &gaps, nodes: &rows })?),
    }
    .context("cannot write the result")?;
    Ok(exit::DONE)
}
