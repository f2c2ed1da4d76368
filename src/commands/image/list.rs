//! `image list`: every snapshot of ours, and how each image of the desired state stands. Asks no machine.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::Context as _;

use super::At;
use crate::cli::Format;
use crate::exit;
use crate::node::join;
use crate::observed::{Gap, Observed};
use crate::plan::plan;
use crate::report::gaps::gaps_text;
use crate::report::image_list::{Listing, Names, image_rows, rows, text, unlisted_bases};
use crate::settings::{Settings, now};
use crate::world::World as _;

pub fn list(format: Format, settings: &Settings, at: At<'_>, out: &mut dyn Write, talk: &mut dyn Write) -> anyhow::Result<u8> {
    let observed = Observed::of_lists(at.live.lists(at.desired));
    let mut gaps: Vec<_> = observed.gaps().cloned().collect();
    let names = names(at, &observed, &mut gaps);
    talk.write_all(gaps_text(&gaps, settings.talk).as_bytes())?;
    let when = now();
    let joined = join(at.desired, &observed, when);
    let plan = plan(at.desired, &observed, when);
    let rows = rows(at.desired, &observed, &joined, &names, when);
    match format {
        Format::Text => out.write_all(text(&rows, &plan, settings.style.with_json()).as_bytes()),
        Format::Json => {
            let listing = Listing { gaps, snapshots: rows, images: image_rows(&plan) };
            writeln!(out, "{}", serde_json::to_string_pretty(&listing)?)
        }
    }
    .context("cannot write the result")?;
    Ok(exit::DONE)
}

/// A call for each: a publish has renamed it, and a person knows no id. One that is gone has no name; a provider that does not
/// answer is a gap, and not asked again.
fn names(at: At<'_>, observed: &Observed, gaps: &mut Vec<Gap>) -> Names {
    let mut names = Names::new();
    let mut unseen = BTreeSet::new();
    for (provider, id) in unlisted_bases(at.desired, observed) {
        if unseen.contains(&provider) {
            continue;
        }
        match at.live.cloud(&provider).and_then(|cloud| cloud.images_named(id.as_str())) {
            Ok(images) => names.extend(images.into_iter().find(|image| image.id == id).map(|image| ((provider, id), image.name))),
            Err(gap) => {
                gaps.push(gap);
                unseen.insert(provider);
            }
        }
    }
    names
}
