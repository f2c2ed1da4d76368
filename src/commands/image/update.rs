//! `image update`: a snapshot is built now, whatever its age; `--wait` until nodes boot from it, or its build failed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use jiff::SignedDuration;

use super::{At, Undone, image_named, log};
use crate::desired::SnapshotImage;
use crate::execute::ChainResult;
use crate::exit::{self, Usage};
use crate::names::{ImageId, ProviderName};
use crate::node::join;
use crate::observed::Observed;
use crate::plan::snapshot::Snapshots;
use crate::plan::snapshot::due::is_at_work;
use crate::plan::{Chain, Plan};
use crate::report::gaps::Said;
use crate::report::progress::{chain_lines, done_line, waits_lines};
use crate::report::style::Style;
use crate::run::{Audience, Options, Outside, run, sleep};
use crate::settings::{Settings, now};
use crate::world::World as _;

/// Of a failed setup script's output.
const LINES: usize = 50;

#[derive(Debug)]
pub struct Wanted<'a> {
    pub image: &'a str,
    /// None: each of the image's.
    pub provider: Option<&'a str>,
    pub wait: bool,
    pub lock_timeout: SignedDuration,
}

pub fn update(
    wanted: &Wanted<'_>,
    settings: &Settings,
    at: At<'_>,
    stopped: &AtomicBool,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    let image = image_named(at.desired, wanted.image)?;
    let providers = match wanted.provider {
        Some(_) => vec![built_in(image, super::provider(at.desired, wanted.provider)?)?],
        None => image.providers.clone(),
    };
    let update: BTreeSet<_> = providers.iter().map(|provider| (image.name.clone(), provider.clone())).collect();
    let before = if wanted.wait { seen(&providers, &Observed::of_lists(at.live.lists(at.desired)))? } else { BTreeSet::new() };
    let options = Options { once: !wanted.wait, update, lock_timeout: wanted.lock_timeout, ..Options::default() };
    let talk = Talk { style: settings.style, out: Mutex::new((&mut *out, Said::default())) };
    let began = now();
    let summary = run(at.desired, at.live, &options, Outside { clock: &now, pause: &sleep, stopped }, &talk)?;
    if let Some(plan) = &summary.last {
        out.write_all(waits_lines(plan, settings.style).as_bytes())?;
    }
    out.write_all(done_line(&summary, at.live.calls(), now().duration_since(began)).as_bytes())?;
    if !wanted.wait {
        // By what is there now: what was planned may not have been done.
        let observed = Observed::of_lists(at.live.lists(at.desired));
        let joined = join(at.desired, &observed, now());
        let at_work = |provider: &ProviderName| joined.builders.iter().any(|node| is_at_work(node, image, provider));
        let all = providers.iter().all(at_work);
        return Ok(if all { exit::DONE } else { exit::SOME_FAILED });
    }
    let (observed, after) = current(at, image);
    // One that was there before is no new one, whatever a person called bad meanwhile.
    let is_new = |provider: &ProviderName| after.get(provider).is_some_and(|id| !before.contains(id));
    let unbuilt: Vec<&ProviderName> = providers.iter().filter(|provider| !is_new(provider)).collect();
    for provider in &unbuilt {
        writeln!(out, "no new snapshot of {} in {provider}", image.name)?;
        match log::of_newest(image, Some(provider), at, &observed) {
            Ok(text) => out.write_all(tail(&text).as_bytes())?,
            // Its own reasons were told above.
            Err(error) => tracing::info!(%error, "no log of its setup script"),
        }
    }
    Ok(if unbuilt.is_empty() { exit::DONE } else { exit::SOME_FAILED })
}

fn built_in(image: &SnapshotImage, provider: ProviderName) -> Result<ProviderName, Usage> {
    if image.providers.contains(&provider) {
        return Ok(provider);
    }
    let known: Vec<&str> = image.providers.iter().map(ProviderName::as_str).collect();
    Err(Usage(format!("--provider {provider}: {} is not built there, only in {}", image.name, known.join(", "))))
}

/// All images: what a new one is told from cannot be unknown.
fn seen(providers: &[ProviderName], observed: &Observed) -> Result<BTreeSet<ImageId>, Undone> {
    let gap = |provider: &ProviderName| observed.lists.providers.get(provider)?.as_ref().err();
    match providers.iter().find_map(gap) {
        Some(gap) => Err(gap.clone().into()),
        None => {
            Ok(observed.lists.providers.values().flatten().flat_map(|list| &list.images).map(|image| image.id.clone()).collect())
        }
    }
}

/// What nodes boot from, in each provider that was seen.
fn current(at: At<'_>, image: &SnapshotImage) -> (Observed, BTreeMap<ProviderName, ImageId>) {
    let observed = Observed::of_lists(at.live.lists(at.desired));
    let snapshots = Snapshots::of(at.desired, &observed);
    let newest = |provider: &ProviderName| Some((provider.clone(), snapshots.newest_good(&image.name, provider)?.id.clone()));
    let newest = image.providers.iter().filter_map(newest).collect();
    (observed, newest)
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
    last.iter().flat_map(|line| ["  ", line, "\n"]).collect()
}

struct Talk<'a> {
    style: Style,
    out: Mutex<(&'a mut (dyn Write + Send), Said)>,
}

impl Talk<'_> {
    fn say(&self, text: &str) {
        let mut inner = self.out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A reader that went away must not stop what is under way.
        drop(inner.0.write_all(text.as_bytes()).and_then(|()| inner.0.flush()));
    }
}

impl Audience for Talk<'_> {
    fn approve(&self, plan: &Plan, _pass: u32) -> bool {
        let news = {
            let mut inner = self.out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            inner.1.news(&plan.gaps, self.style)
        };
        self.say(&news);
        true
    }

    fn chain(&self, chain: &Chain, result: &ChainResult) {
        self.say(&chain_lines(chain, result, self.style));
    }
}
