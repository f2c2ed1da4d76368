//! `image pin`, `unpin` and `delete`: one chain of a plan, through the same executor as every run, under the same lock.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::AtomicBool;

use anyhow::bail;
use jiff::SignedDuration;

use super::{At, Undone};
use crate::execute::{Surroundings, execute};
use crate::exit::{self, Usage};
use crate::names::{ImageName, NodeName, ProviderName};
use crate::node::join;
use crate::observed::marks::dated;
use crate::observed::{Image, ImageMark, Observed};
use crate::plan::snapshot::Snapshots;
use crate::plan::snapshot::keep::{boots_from, sealed};
use crate::plan::{Act, Action, Because, Chain, Expects, ImageExpects, Subject, Verb};
use crate::report::progress::chain_lines;
use crate::run::{Outside, lock_within, sleep};
use crate::settings::{Settings, now};
use crate::world::World as _;

/// What a person does to a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Pin,
    Unpin,
    /// Called bad: nodes boot from the one before it. `now`: deleted at once.
    Delete {
        now: bool,
    },
}

/// A snapshot of ours that was named.
#[derive(Debug)]
struct Found<'a> {
    image: ImageName,
    provider: &'a ProviderName,
    snapshot: &'a Image,
}

pub fn change(
    wanted: &str,
    change: Change,
    lock_timeout: SignedDuration,
    settings: &Settings,
    at: At<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    let stopped = AtomicBool::new(false);
    let outside = Outside { clock: &now, pause: &sleep, stopped: &stopped };
    let _lock = lock_within(&at.desired.controller.lock_file, lock_timeout, outside)?;
    let observed = Observed::of_lists(at.live.lists(at.desired));
    let found = find(wanted, change, at, &observed)?;
    if let Some(already) = already(change, found.snapshot) {
        writeln!(out, "{}: {already}", found.snapshot.name)?;
        return Ok(exit::DONE);
    }
    let chains = [chain(change, &found, at, &observed)?];
    let results = execute(&chains, Surroundings { world: at.live, clock: &now, stop: &|| false, watch: &|_, _| () });
    let mut failed = false;
    for (chain, result) in chains.iter().zip(&results) {
        out.write_all(chain_lines(chain, result, settings.style).as_bytes())?;
        failed |= !result.all_done(chain);
    }
    if let (Change::Delete { now }, false) = (change, failed) {
        writeln!(out, "{}", after(&found, now, at, &observed))?;
    }
    Ok(if failed { exit::SOME_FAILED } else { exit::DONE })
}

/// By its name in Glance, its id, or the beginning of one of them. What cannot be taken back needs the whole of it.
fn find<'a>(wanted: &str, change: Change, at: At<'_>, observed: &'a Observed) -> anyhow::Result<Found<'a>> {
    let controller = &at.desired.controller.id;
    let lists = observed.lists.providers.iter().filter_map(|(name, list)| Some((name, list.as_ref().ok()?)));
    let all: Vec<Found<'_>> = lists
        .flat_map(|(provider, list)| list.images.iter().map(move |image| (provider, image)))
        .filter(|(_, image)| image.is_sealed(controller))
        .filter_map(|(provider, snapshot)| {
            let image = ImageName::from(snapshot.mark(ImageMark::Image)?);
            Some(Found { image, provider, snapshot })
        })
        .collect();
    let exact = |found: &&Found<'_>| found.snapshot.name == wanted || found.snapshot.id.as_str() == wanted;
    let begins = |found: &&Found<'_>| found.snapshot.name.starts_with(wanted) || found.snapshot.id.as_str().starts_with(wanted);
    let names =
        |list: &[&Found<'_>]| list.iter().map(|one| format!("{} ({})", one.snapshot.name, one.snapshot.id)).collect::<Vec<_>>();
    if wanted.is_empty() {
        bail!(Usage("an empty name is no snapshot's; `poolkeeper image list` shows them".to_owned()));
    }
    let some: Vec<&Found<'_>> = all.iter().filter(exact).collect();
    if let (true, Some(gap)) = (some.is_empty(), observed.lists.providers.values().find_map(|list| list.as_ref().err())) {
        bail!(Undone::from(gap.clone()));
    }
    if let (Change::Delete { now: true }, true) = (change, some.is_empty()) {
        bail!(Usage(format!("`{wanted}` is no snapshot of ours by its whole name or id, and --now takes no less")));
    }
    let some = if some.is_empty() { all.iter().filter(begins).collect() } else { some };
    match some.as_slice() {
        [one] => Ok(Found { image: one.image.clone(), ..**one }),
        [] => bail!(Usage(format!("`{wanted}` is no snapshot of ours; `poolkeeper image list` shows them"))),
        several => bail!(Usage(format!("`{wanted}` may be {}: give more of it", names(several).join(" or ")))),
    }
}

/// It is so already.
fn already(change: Change, snapshot: &Image) -> Option<&'static str> {
    match change {
        Change::Pin => snapshot.protected.then_some("it is pinned already"),
        Change::Unpin => (!snapshot.protected).then_some("it is not pinned"),
        Change::Delete { now: false } => {
            snapshot.mark(ImageMark::Bad).map(|_| "it is marked bad already; --now deletes it at once")
        }
        Change::Delete { now: true } => None,
    }
}

fn chain(change: Change, found: &Found<'_>, at: At<'_>, observed: &Observed) -> anyhow::Result<Chain> {
    let (snapshot, provider) = (found.snapshot, found.provider);
    let expected = || sealed(&at.desired.controller.id, provider, &snapshot.id);
    let (provider, image) = (provider.clone(), snapshot.id.clone());
    let (verb, because, actions) = match change {
        Change::Pin | Change::Unpin => {
            let protected = change == Change::Pin;
            let expects = ImageExpects { protected: Some(!protected), ..expected() };
            let act = Act::ProtectImage { provider, image, protected };
            (Verb::Mark, if protected { Because::Pinned } else { Because::Unpinned }, vec![(act, expects)])
        }
        Change::Delete { now: at_once } => {
            if snapshot.protected {
                bail!(Undone::new(format!("{} is pinned", snapshot.name), "`poolkeeper image unpin` it first"));
            }
            let expects = || ImageExpects { protected: Some(false), ..expected() };
            let bad = BTreeMap::from([(ImageMark::Bad, dated(now(), "by hand"))]);
            let mut acts = vec![(Act::MarkImage { provider: provider.clone(), image: image.clone(), marks: bad }, expects())];
            if at_once {
                let joined = join(at.desired, observed, now());
                if let Some(node) = boots_from(&joined, &snapshot.id) {
                    bail!(Undone::new(
                        format!("{} boots from {} now", node.name, snapshot.name),
                        "without --now it is marked bad, and goes once nothing boots from it"
                    ));
                }
                let build = snapshot.mark(ImageMark::Build).unwrap_or_default();
                if let Some(builder) = joined.builders.iter().find(|node| node.server.id.as_str() == build) {
                    bail!(Undone::new(
                        format!(
                            "the builder of {} is still there ({}), and would save it again",
                            snapshot.name,
                            builder.state.word()
                        ),
                        "without --now it is marked bad; or try again once the builder is gone, in a run or two"
                    ));
                }
                acts.push((Act::DeleteImage { provider, image }, expects()));
            }
            (if at_once { Verb::Delete } else { Verb::Mark }, Because::CalledBad, acts)
        }
    };
    let action = |(act, expects)| Action { act, expects: Expects { image: Some(expects), ..Expects::default() } };
    let subject = Subject { pool: None, image: Some(found.image.clone()), name: NodeName::new(snapshot.name.as_str()) };
    Ok(Chain { subject, verb, because, times: None, actions: actions.into_iter().map(action).collect() })
}

/// What nodes boot from after that.
fn after(found: &Found<'_>, at_once: bool, at: At<'_>, observed: &Observed) -> String {
    let Found { image, provider, snapshot } = found;
    if !at.desired.images.get(image).is_some_and(|image| image.providers.contains(provider)) {
        let gone = if at_once { "" } else { "; it stays until `poolkeeper image delete --now`" };
        return format!("nothing builds {image} in {provider} any more, and no node boots from it{gone}");
    }
    let snapshots = Snapshots::of(at.desired, observed);
    let next = snapshots.good(image, provider).find(|one| one.id != snapshot.id);
    match next {
        // It was not the one that nodes boot from.
        Some(next) if next.created > snapshot.created => format!("nodes boot from {}, as before", next.name),
        // What said so is gone with it.
        Some(next) if at_once => format!(
            "nodes boot from {} now; nothing tells any more that these inputs are bad: unless one changes, the next run builds them again",
            next.name
        ),
        Some(next) => format!("nodes boot from {} now; the same inputs are built again after rebuild-after", next.name),
        None => {
            let when = if at_once {
                "which is due now (`poolkeeper plan` tells what it waits for)".to_owned()
            } else {
                format!("once an input changes, after rebuild-after, or now by `poolkeeper image update {image}`")
            };
            format!("no good snapshot of {image} is left in {provider}: its pools launch nothing until one is built, {when}")
        }
    }
}
