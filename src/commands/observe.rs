//! `observe`: what is there, as JSON. Changes nothing, takes no lock.

use std::io::Write;

use anyhow::Context as _;

use crate::desired::Desired;
use crate::exit;
use crate::observe;
use crate::observed::ThisRun;
use crate::settings::now;
use crate::world::World;

pub fn observe(desired: &Desired, world: &dyn World, out: &mut dyn Write) -> anyhow::Result<u8> {
    let observed = observe::observe(world, desired, &ThisRun::default(), &now);
    writeln!(out, "{}", serde_json::to_string_pretty(&observed)?).context("cannot write the result")?;
    Ok(exit::DONE)
}
