//! When a snapshot is built, and why: none is there, its inputs changed, it grew old, or a person asks. One at a time in each
//! provider, for which a slot is kept.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::{Snapshots, base};
use crate::desired::units::{exact, since};
use crate::desired::{Desired, Pool, Provider, ScriptDir, SnapshotImage};
use crate::names::{ImageId, ImageName, NodeName, PoolName, ProviderName, Purpose};
use crate::node::{Joined, KeptWhy, Node, State};
use crate::observed::{Answer, Ask, Image, ImageMark, Mark, Observed};
use crate::plan::backoff::{BackOff, BackOffs, next_attempt};
use crate::plan::launch::create_chain;
use crate::plan::room::{Made, Room};
use crate::plan::spec::Inputs;
use crate::plan::{Because, Chain, FailedBuild, ImageLine, WaitsFor};

/// Why a snapshot is built. In the order in which builds that wait for one place come.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Due {
    /// By a person, in this run.
    Requested,
    /// There is no good one.
    Missing,
    /// Inputs that are not what the newest one was made from.
    Changed(Vec<&'static str>),
    /// Older than `rebuild-after`.
    Old(SignedDuration),
}

impl Due {
    fn rank(&self) -> u8 {
        match self {
            Self::Requested => 0,
            Self::Missing => 1,
            Self::Changed(_) => 2,
            Self::Old(_) => 3,
        }
    }
}

impl fmt::Display for Due {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => out.write_str("an update was asked for"),
            Self::Missing => out.write_str("there is no good snapshot of it"),
            Self::Changed(inputs) => write!(out, "{} changed", inputs.join(", ")),
            Self::Old(limit) => write!(out, "the newest is older than {}", exact(*limit)),
        }
    }
}

/// An image in one of its providers that was seen.
#[derive(Debug)]
pub struct Look<'a> {
    pub image: &'a SnapshotImage,
    pub provider: &'a Provider,
    pub current: Option<&'a Image>,
    /// What it would be made from now; none: its base image cannot be told.
    pub inputs: Option<Inputs>,
    /// What is built and why, or what that waits for; none of both: it is as it should be.
    pub want: Result<Want<'a>, Option<WaitsFor>>,
    /// The builder that is at work on it.
    pub builder: Option<(NodeName, &'static str)>,
}

#[derive(Debug, Clone)]
pub struct Want<'a> {
    pub base: &'a Image,
    pub spec: String,
    pub due: Due,
}

/// Every image in each of its providers that was seen, in the order of their names.
pub fn looks<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    joined: &Joined<'_>,
    snapshots: &Snapshots<'a>,
    now: Timestamp,
) -> Vec<Look<'a>> {
    let pairs = desired.images.values().flat_map(|image| image.providers.iter().map(move |provider| (image, provider)));
    let seen = pairs.filter_map(|(image, name)| {
        let list = observed.lists.providers.get(name)?.as_ref().ok()?;
        Some((image, desired.provider(name)?, list.images.as_slice()))
    });
    seen.map(|(image, provider, images)| {
        let builder = joined.builders.iter().find(|node| is_at_work(node, image, &provider.name));
        let launched = || unlisted(observed, image, &provider.name, now);
        let builder = builder.map(|node| (node.name.clone(), node.state.word())).or_else(launched);
        let current = snapshots.newest_good(&image.name, &provider.name);
        let found = base(images, image).map_err(|waits| with_the_last(waits, current, &provider.name, observed));
        let inputs = found.as_ref().ok().map(|base| Inputs::of_snapshot(image, &base.id));
        let look = Look { image, provider, current, inputs, want: Err(None), builder };
        let want = look.want(found, snapshots.all(&image.name, &provider.name), observed, now);
        Look { want, ..look }
    })
    .collect()
}

/// The base image that a snapshot was made from, as a question: a name alone does not tell what became of it.
pub fn last_base(current: &Image, provider: &ProviderName) -> Option<Ask> {
    Some(Ask::Image(provider.clone(), ImageId::from(current.mark(ImageMark::Base)?)))
}

fn with_the_last(waits: WaitsFor, current: Option<&Image>, provider: &ProviderName, observed: &Observed) -> WaitsFor {
    let WaitsFor::NoImage { name, .. } = waits else { return waits };
    let answer = current.and_then(|current| observed.answer(&last_base(current, provider)?));
    let before = match answer {
        Some(Answer::Image(None)) => Some("was deleted".to_owned()),
        Some(Answer::Image(Some(last))) if last.name != name && last.id.as_str() != name => {
            Some(format!("is called `{}` now", last.name))
        }
        Some(Answer::Image(Some(last))) if !last.is_active() => Some(format!("is {}", last.status)),
        // It is there, and of another project than the wanted one; or nobody could tell.
        Some(_) | None => None,
    };
    WaitsFor::NoImage { name, before }
}

/// On its way to a snapshot, and not a person's.
pub fn is_at_work(node: &Node<'_>, image: &SnapshotImage, provider: &ProviderName) -> bool {
    node.marks.image.as_ref() == Some(&image.name) && node.provider == *provider && is_coming_or_stands(node)
}

/// In a state of Nova's that no rule is made for (paused, migrating) it may go on any time.
fn is_coming_or_stands(node: &Node<'_>) -> bool {
    node.state.is_coming() || matches!(node.state, State::Kept(KeptWhy::Status(_)))
}

fn unlisted(
    observed: &Observed,
    image: &SnapshotImage,
    provider: &ProviderName,
    now: Timestamp,
) -> Option<(NodeName, &'static str)> {
    let mut launched = crate::plan::need::unlisted(observed, now).into_iter();
    let launched = launched.find(|one| one.purpose.image() == Some(&image.name) && one.provider == *provider)?;
    Some((launched.name.clone(), State::Launching.word()))
}

impl<'a> Look<'a> {
    fn want(
        &self,
        base: Result<&'a Image, WaitsFor>,
        all: &[&Image],
        observed: &Observed,
        now: Timestamp,
    ) -> Result<Want<'a>, Option<WaitsFor>> {
        if self.builder.is_some() {
            return Err(None);
        }
        let (base, inputs) = match (base, &self.inputs) {
            (Ok(base), Some(inputs)) => (base, inputs),
            (Err(waits), _) => return Err(Some(waits)),
            (Ok(_), None) => return Err(None),
        };
        let Some(due) = self.due(inputs, observed, now) else { return Err(None) };
        // What a person called bad would come out bad again.
        let same_and_bad = all.iter().find(|image| {
            let same = image.mark(ImageMark::Spec) == Some(inputs.spec.as_str());
            image.mark(ImageMark::Bad).is_some() && same && since(image.created, now) <= self.image.rebuild_after
        });
        match same_and_bad.filter(|_| due != Due::Requested) {
            Some(bad) => {
                let until = bad.created.checked_add(self.image.rebuild_after).unwrap_or(Timestamp::MAX);
                Err(Some(WaitsFor::BadInputs { name: bad.name.clone(), until }))
            }
            None => Ok(Want { base, spec: inputs.spec.clone(), due }),
        }
    }

    fn due(&self, inputs: &Inputs, observed: &Observed, now: Timestamp) -> Option<Due> {
        if observed.this_run.is_update_due(&self.image.name, &self.provider.name) {
            return Some(Due::Requested);
        }
        let Some(current) = self.current else { return Some(Due::Missing) };
        let changed = inputs.drifted(current.mark(ImageMark::Spec));
        if !changed.is_empty() {
            return Some(Due::Changed(changed));
        }
        (since(current.created, now) > self.image.rebuild_after).then_some(Due::Old(self.image.rebuild_after))
    }

    /// From the create call to a snapshot that nodes boot from.
    fn at_most(&self) -> SignedDuration {
        self.provider.launch_timeout + self.provider.boot_timeout + self.image.setup_timeout + self.image.setup_timeout
    }

    /// The builder is made from what is wanted now.
    pub fn is_from_now(&self, builder: &Node<'_>) -> bool {
        self.inputs.as_ref().is_none_or(|inputs| builder.marks.spec.as_deref() == Some(inputs.spec.as_str()))
    }
}

/// A builder of this very plan: nobody finds it by its name yet, and a later plan gives another one.
pub const TO_BE_CREATED: &str = "to be created";

/// What a pass builds, and how each image stands.
#[derive(Debug, Default)]
pub struct Builds {
    pub chains: Vec<Chain>,
    pub lines: Vec<ImageLine>,
}

impl Builds {
    pub fn waits(&self, image: &ImageName, provider: &ProviderName) -> Option<&WaitsFor> {
        let line = self.lines.iter().find(|line| line.name == *image && line.provider == *provider)?;
        line.waits_for.as_ref()
    }

    /// Images that are stale by their scripts and are being built from those of now. A first try alone, and no longer than one
    /// takes: after it nobody knows when there will be a snapshot.
    pub fn awaited<'l>(
        &self,
        looks: &'l [Look<'_>],
        joined: &Joined<'_>,
        back_offs: &BackOffs,
        now: Timestamp,
    ) -> BTreeMap<(&'l ImageName, &'l ProviderName), &'l ScriptDir> {
        let awaited = looks.iter().filter(|look| {
            let spec = look.current.and_then(|current| current.mark(ImageMark::Spec));
            let changed = look.inputs.as_ref().is_some_and(|inputs| inputs.drifted(spec).contains(&"scripts"));
            let key = (Purpose::Image(look.image.name.clone()), look.provider.name.clone(), None);
            let builder = look.builder.as_ref().and_then(|(name, _)| joined.builders.iter().find(|node| node.name == *name));
            let in_time = |node: &Node<'_>| node.marks.attempt <= 1 && since(node.server.created, now) <= look.at_most();
            let fails = back_offs.get(&key).is_some_and(|back_off| !back_off.over);
            changed && !fails && builder.is_none_or(in_time) && self.goes_on(look)
        });
        awaited.map(|look| ((&look.image.name, &look.provider.name), look.image.scripts.as_ref())).collect()
    }

    /// A builder is at work on it, or begins, or soon will: not where a person, or room that nodes take, is waited for.
    fn goes_on(&self, look: &Look<'_>) -> bool {
        let at_work = |line: &ImageLine| line.state.is_some_and(|state| state != "kept");
        let of_provider = || self.lines.iter().filter(|line| line.provider == look.provider.name);
        let Some(line) = of_provider().find(|line| line.name == look.image.name) else { return false };
        at_work(line)
            || match &line.waits_for {
                Some(WaitsFor::LaunchesAtATime { .. } | WaitsFor::LaunchesPerRun { .. } | WaitsFor::NextPass) => true,
                Some(WaitsFor::OtherBuild(other)) => of_provider().any(|line| line.name == *other && at_work(line)),
                Some(_) | None => false,
            }
    }

    /// What becomes of each image's build, for pools that have no snapshot to boot from.
    pub fn says(&self) -> BTreeMap<(ImageName, ProviderName), String> {
        let says = |line: &ImageLine| match (&line.builder, line.state, &line.waits_for) {
            (Some(_), Some(TO_BE_CREATED), _) => Some(format!("its builder is {TO_BE_CREATED}")),
            (Some(builder), Some(state), _) => Some(format!("its builder {builder} is {state}")),
            (_, _, Some(waits)) => Some(format!("its build waits for {waits}")),
            (_, _, None) => None,
        };
        let said = self.lines.iter().filter_map(|line| Some(((line.name.clone(), line.provider.clone()), says(line)?)));
        said.collect()
    }
}

/// One builder at a time in each provider: the first that is due, and a slot is kept for it while there is no room.
pub fn builds(room: &mut Room<'_>, looks: &[Look<'_>], back_offs: &BackOffs, pools: &BTreeMap<PoolName, Pool>) -> Builds {
    let mut taken: BTreeMap<&ProviderName, ImageName> = BTreeMap::new();
    for look in looks.iter().filter(|look| look.builder.is_some()) {
        taken.insert(&look.provider.name, look.image.name.clone());
    }
    let mut waits: BTreeMap<(&ImageName, &ProviderName), WaitsFor> = BTreeMap::new();
    let mut chains = Vec::new();
    let mut due: Vec<(&Look<'_>, &Want<'_>)> = looks.iter().filter_map(|look| Some((look, look.want.as_ref().ok()?))).collect();
    due.sort_by_key(|(look, want)| (want.due.rank(), look.current.map(|image| image.created), &look.image.name));
    for (look, want) in due {
        let key = (&look.image.name, &look.provider.name);
        if let Some(other) = taken.get(&look.provider.name) {
            waits.insert(key, WaitsFor::OtherBuild(other.clone()));
            continue;
        }
        match slot(room, look, want, back_offs) {
            Ok(chain) => {
                chains.push(chain);
                taken.insert(&look.provider.name, look.image.name.clone());
            }
            Err(wait) => {
                if wait.is_for_a_slot() {
                    room.keep_slot(&look.provider.name, &look.image.name);
                    taken.insert(&look.provider.name, look.image.name.clone());
                }
                waits.insert(key, wait);
            }
        }
    }
    let seen = Seen { chains: &chains, pools, back_offs, now: room.now };
    let lines = looks.iter().map(|look| line(look, &mut waits, seen)).collect();
    Builds { chains, lines }
}

fn slot(room: &mut Room<'_>, look: &Look<'_>, want: &Want<'_>, back_offs: &BackOffs) -> Result<Chain, WaitsFor> {
    let (image, provider) = (look.image, look.provider);
    let purpose = Purpose::Image(image.name.clone());
    room.may_launch(None)?;
    room.has_launches_left()?;
    room.may_ever_fit(&image.flavor, provider)?;
    room.place(&purpose, provider)?;
    let back_off = back_offs.get(&(purpose.clone(), provider.name.clone(), None));
    if let Some(back_off) = back_off.filter(|back_off| want.due != Due::Requested && back_off.allows(room.now) == 0) {
        return Err(back_off.waits(0, room.now));
    }
    let (flavor, networks) = room.parts(&image.flavor, provider)?;
    let attempt = next_attempt(back_off, &room.observed.this_run, &purpose, &provider.name);
    let marks = BTreeMap::from([
        (Mark::Role, "builder".to_owned()),
        (Mark::Image, image.name.to_string()),
        (Mark::Try, attempt.to_string()),
        (Mark::Spec, want.spec.clone()),
    ]);
    let zone = provider.availability_zones.first().cloned();
    let create = room.made(Made { purpose, provider, image: want.base, flavor, networks, marks, zone, user_data: None })?;
    room.take(&create);
    Ok(create_chain(create, Because::Build(want.due.clone())))
}

#[derive(Clone, Copy)]
struct Seen<'s> {
    chains: &'s [Chain],
    pools: &'s BTreeMap<PoolName, Pool>,
    back_offs: &'s BackOffs,
    now: Timestamp,
}

fn line<'l>(
    look: &'l Look<'_>,
    waits: &mut BTreeMap<(&'l ImageName, &'l ProviderName), WaitsFor>,
    Seen { chains, pools, back_offs, now }: Seen<'_>,
) -> ImageLine {
    let (image, provider) = (&look.image.name, &look.provider.name);
    let own = if let Err(waits) = &look.want { waits.clone() } else { None };
    let created = chains.iter().find(|chain| chain.subject.image.as_ref() == Some(image) && chain.creates_in(provider));
    let started = created.map(|chain| (chain.subject.name.clone(), TO_BE_CREATED));
    let builder = look.builder.clone().or(started);
    ImageLine {
        name: image.clone(),
        provider: provider.clone(),
        current: look.current.map(|image| NodeName::new(image.name.as_str())),
        created: look.current.map(|image| image.created),
        age: look.current.map(|image| since(image.created, now)),
        state: builder.as_ref().map(|(_, state)| *state),
        builder: builder.map(|(name, _)| name),
        due: look.want.as_ref().ok().map(|want| want.due.clone()),
        waits_for: waits.remove(&(image, provider)).or(own),
        failed: back_offs.get(&(Purpose::Image(image.clone()), provider.clone(), None)).and_then(|it| failed(it, now)),
        pools: used_by(image, pools),
    }
}

fn failed(back_off: &BackOff, now: Timestamp) -> Option<FailedBuild> {
    let BackOff { kept: _, name, attempt, began, until, why, trying: _, over } = back_off;
    let (builder, why) = (name.clone(), why.clone());
    (!over).then(|| FailedBuild { builder, at: *began, ago: since(*began, now), attempt: *attempt, why, again: *until })
}

fn used_by(image: &ImageName, pools: &BTreeMap<PoolName, Pool>) -> Vec<PoolName> {
    let uses = pools.values().filter(|pool| pool.image.snapshot() == Some(image));
    uses.map(|pool| pool.name.clone()).collect()
}
