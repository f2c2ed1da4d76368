//! `image log`: what the setup script of an image's newest builder has printed so far, whole.

use std::io::Write;

use anyhow::bail;

use super::{At, Undone, image_named};
use crate::desired::SnapshotImage;
use crate::exit;
use crate::names::ProviderName;
use crate::node::{Node, join};
use crate::observed::{Answer, Ask, Observed};
use crate::plan::asks::machine;
use crate::plan::snapshot::Snapshots;
use crate::settings::now;
use crate::world::World as _;

pub fn log(image: &str, provider: Option<&str>, at: At<'_>, out: &mut dyn Write) -> anyhow::Result<u8> {
    let wanted = image_named(at.desired, image)?;
    let named = provider.map(|_| super::provider(at.desired, provider)).transpose()?;
    let observed = Observed::of_lists(at.live.lists(at.desired));
    let text = of_newest(wanted, named.as_ref(), at, &observed)?;
    out.write_all(text.as_bytes())?;
    Ok(exit::DONE)
}

/// After a good build the output is gone with its builder: that is no fault, and said as what it is.
fn no_builder(image: &SnapshotImage, provider: Option<&ProviderName>, at: At<'_>, observed: &Observed) -> Undone {
    let snapshots = Snapshots::of(at.desired, observed);
    let of = image.providers.iter().filter(|name| provider.is_none_or(|provider| provider == *name));
    match of.filter_map(|name| snapshots.newest_good(&image.name, name)).max_by_key(|snapshot| snapshot.created) {
        Some(snapshot) => Undone::new(
            format!(
                "no builder of {} is there; that of its newest good snapshot ({}) is deleted, and with it what its setup script printed",
                image.name, snapshot.name
            ),
            "it is kept nowhere, the journal of the runs has their steps alone; to keep it, let the setup script write to a file, \
             as by `exec > >(tee /var/log/setup.log) 2>&1` in bash: that is in the snapshot, and on each node from it",
        ),
        None => Undone::new(
            format!("no builder of {} is there", image.name),
            "a failed one goes when its back-off ends; keep one with `apply --keep-failed`",
        ),
    }
}

/// The log of the image's newest builder, whatever became of it.
pub(super) fn of_newest(
    image: &SnapshotImage,
    provider: Option<&ProviderName>,
    at: At<'_>,
    observed: &Observed,
) -> anyhow::Result<String> {
    let joined = join(at.desired, observed, now());
    let of =
        |node: &&Node<'_>| node.marks.image.as_ref() == Some(&image.name) && provider.is_none_or(|name| node.provider == *name);
    let Some(node) = joined.builders.iter().filter(of).max_by_key(|node| (node.server.created, &node.name)) else {
        if let Some(gap) = observed.lists.providers.values().find_map(|list| list.as_ref().err()) {
            bail!(Undone::from(gap.clone()));
        }
        bail!(no_builder(image, provider, at, observed));
    };
    let ask = at.desired.provider(&node.provider).and_then(|provider| machine(node, provider));
    let Some(ask) = ask.filter(|ask| ask.pinned.is_some()) else {
        bail!(Undone::new(
            format!("the setup script of {} has not been started", node.name),
            "`poolkeeper explain` with its name says what it waits for"
        ));
    };
    let answer = at.live.answer(&Ask::ScriptLog(ask)).map_err(Undone::from)?;
    let Answer::ScriptLog(text) = answer else { bail!("an answer to something else: {answer:?}") };
    if text.is_empty() {
        bail!(Undone::new(
            format!("nothing is there of the output of {}", node.name),
            "its setup script has printed nothing yet, or it was cleaned away when the builder was switched off"
        ));
    }
    Ok(text)
}
