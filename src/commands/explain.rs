//! `explain`: one node's state, what is seen, the rule and what comes next. Changes nothing; asks its machine and console.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use crate::cli::{Cli, ExplainArgs, Format};
use crate::desired::Desired;
use crate::exit::{self, Usage};
use crate::node::{Node, State, join};
use crate::observe::answer_further;
use crate::observed::{Ask, Observed, ServerStatus};
use crate::plan::asks;
use crate::plan::plan;
use crate::report::explain::{Sources, explain};
use crate::report::explain_agent::{explain_agent, explain_unseen};
use crate::report::explain_text::text;
use crate::report::find::{Found, find};
use crate::report::style::Style;
use crate::world::World;

pub fn show(
    args: &ExplainArgs,
    desired: &Desired,
    world: &dyn World,
    clock: &dyn Fn() -> Timestamp,
    style: Style,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let listed = Observed::of_lists(world.lists(desired));
    // First by the lists alone: nothing is asked for a name that nobody has.
    let asks = match find(&args.node, desired, &listed, &join(desired, &listed, clock())) {
        Ok(Found::Node(node)) => further_asks(desired, node),
        Ok(Found::Agent(_) | Found::Unseen) => BTreeSet::new(),
        Err(said) => bail!(Usage(said)),
    };
    let (observed, further) = answer_further(world, desired, listed.lists, &asks, clock());
    let now = clock();
    let plan = plan(desired, &observed, now);
    let joined = join(desired, &observed, now);
    let explanation = match find(&args.node, desired, &observed, &joined) {
        Ok(Found::Node(node)) => {
            let sources = Sources { desired, observed: &observed, plan: &plan, further: &further };
            explain(sources, node, &Cli::has_command)
        }
        Ok(Found::Agent(lone)) => explain_agent(&plan, lone),
        Ok(Found::Unseen) => explain_unseen(&args.node, &observed),
        Err(said) => bail!(Usage(said)),
    };
    match args.format {
        Format::Text => out.write_all(text(&explanation, now, style).as_bytes()),
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&explanation)?),
    }
    .context("cannot write the result")?;
    Ok(exit::DONE)
}

/// Its machine and console, where they tell something about its state. Nodes that work or are a person's are left in peace.
fn further_asks(desired: &Desired, node: &Node<'_>) -> BTreeSet<Ask> {
    let (machine, console) = match &node.state {
        State::Failed(_) | State::Booting { .. } => (true, true),
        State::Preparing | State::ToRegister | State::Joining { .. } | State::Lost { .. } => (true, false),
        State::Deleting
        | State::Busy
        | State::Held(_)
        | State::HoldOver(_)
        | State::Retiring(_)
        | State::Launching
        | State::WithoutFloatingIp
        | State::Kept(_)
        | State::Orphan
        | State::Used(_)
        | State::Resuming { .. }
        | State::MassOffline
        | State::Snapshot(_)
        | State::Unseen
        | State::Ready => (false, false),
    };
    let mut wanted = BTreeSet::new();
    if console && node.server.status != ServerStatus::Build {
        wanted.insert(Ask::Console(node.provider.clone(), node.server.id.clone()));
    }
    if machine
        && node.server.status == ServerStatus::Active
        && let Some(provider) = desired.provider(&node.provider)
    {
        wanted.extend(asks::machine(node, provider).map(Ask::Machine));
    }
    wanted
}
