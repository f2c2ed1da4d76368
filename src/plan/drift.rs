//! Nodes made from inputs that changed: what drifted, and how many are replaced at one time. Which of them go is `surplus`'s.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::WaitsFor;
use super::snapshot::Snapshots;
use super::spec::Inputs;
use crate::desired::units::{self, since};
use crate::desired::{Desired, Pool, PoolImage, Provider, ScriptDir};
use crate::names::{ImageId, ImageName, PoolName, ProviderName, ServerId, short};
use crate::node::{Joined, Node, State};
use crate::observed::image::newest;
use crate::observed::{Image, Observed};

/// An input of a node that is not what it would be made from now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drift {
    /// A part of `poolkeeper_spec`.
    Input(&'static str),
    Image {
        from: String,
        to: String,
    },
    Age(SignedDuration),
}

impl fmt::Display for Drift {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(name) => write!(out, "{name} changed"),
            Self::Image { from, to } => write!(out, "image {from} -> {to}"),
            Self::Age(age) => write!(out, "older than {}", units::exact(*age)),
        }
    }
}

/// Drifted idle nodes, by server.
pub type Drifted = BTreeMap<ServerId, Vec<Drift>>;

/// What drifted of every idle node. A node that is not idle is looked at when it is.
pub fn drifted(
    desired: &Desired,
    observed: &Observed,
    joined: &Joined<'_>,
    snapshots: &Snapshots<'_>,
    now: Timestamp,
) -> Drifted {
    let mut wanted: BTreeMap<(&PoolName, &ProviderName), Wanted<'_>> = BTreeMap::new();
    let mut drifted = Drifted::new();
    for node in joined.nodes.iter().filter(|node| is_idle(node)) {
        let (Some(pool), Some(provider)) = (node.pool, desired.provider(&node.provider)) else { continue };
        let wanted =
            wanted.entry((&pool.name, &provider.name)).or_insert_with(|| Wanted::of(observed, snapshots, pool, provider));
        let drift = wanted.drift_of(node, now);
        if !drift.is_empty() {
            drifted.insert(node.server.id.clone(), drift);
        }
    }
    drifted
}

/// What nodes of a pool in a provider would be made from now.
struct Wanted<'a> {
    inputs: Inputs,
    /// None: not seen, or there is none.
    image: Option<&'a Image>,
    /// Of the snapshots that its nodes may be from, by what people call them.
    names: BTreeMap<&'a ImageId, &'a str>,
    max_age: Option<SignedDuration>,
}

impl<'a> Wanted<'a> {
    fn of(observed: &'a Observed, snapshots: &Snapshots<'a>, pool: &Pool, provider: &Provider) -> Self {
        let image = match (&pool.image, observed.lists.providers.get(&provider.name)) {
            (PoolImage::Glance(name), Some(Ok(list))) => newest(&list.images, name),
            (PoolImage::Snapshot(name), Some(Ok(_))) => snapshots.newest_good(name, &provider.name),
            (_, Some(Err(_)) | None) => None,
        };
        let all = pool.image.snapshot().map(|name| snapshots.all(name, &provider.name)).unwrap_or_default();
        let names = all.iter().map(|image| (&image.id, image.name.as_str())).collect();
        Self { inputs: Inputs::of(pool, provider), image, names, max_age: pool.max_ready_age }
    }

    /// Images made elsewhere are of one name.
    fn shown<'i>(&self, id: &'i ImageId) -> &'i str
    where
        'a: 'i,
    {
        self.names.get(id).copied().unwrap_or_else(|| short(id.as_str()))
    }

    fn drift_of(&self, node: &Node<'_>, now: Timestamp) -> Vec<Drift> {
        let inputs = self.inputs.drifted(node.marks.spec.as_deref());
        let mut drift: Vec<Drift> = inputs.into_iter().map(Drift::Input).collect();
        if let (Some(image), Some(from)) = (self.image, &node.server.image)
            && image.id != *from
        {
            drift.push(Drift::Image { from: self.shown(from).to_owned(), to: self.shown(&image.id).to_owned() });
        }
        if let Some(limit) = self.max_age.filter(|limit| since(node.server.created, now) > *limit) {
            drift.push(Drift::Age(limit));
        }
        drift
    }
}

/// Takes out those whose scripts changed together with their snapshot's: replaced now they would be replaced again by that one.
/// What drifted in anything else, too, waits for nothing: it may be from a snapshot that a person calls bad. `awaited`: the images that are being built from changed scripts.
pub fn take_awaiting(
    drifted: &mut Drifted,
    joined: &Joined<'_>,
    awaited: &BTreeMap<(&ImageName, &ProviderName), &ScriptDir>,
) -> BTreeMap<ServerId, WaitsFor> {
    let mut awaiting = BTreeMap::new();
    if awaited.is_empty() {
        return awaiting;
    }
    for node in &joined.nodes {
        let Some(pool) = node.pool else { continue };
        let Some(image) = pool.image.snapshot() else { continue };
        // A directory of the pool's own changes for itself.
        if pool.scripts.as_deref().is_none_or(|own| awaited.get(&(image, &node.provider)).is_none_or(|scripts| *scripts != own)) {
            continue;
        }
        let drift = drifted.get(&node.server.id).filter(|drift| **drift == [Drift::Input("script")]);
        if let Some(drift) = drift.cloned() {
            drifted.remove(&node.server.id);
            awaiting.insert(node.server.id.clone(), WaitsFor::NewSnapshot { image: image.clone(), drift });
        }
    }
    awaiting
}

/// Online, without a build, and seen so.
pub fn is_idle(node: &Node<'_>) -> bool {
    node.state == State::Ready
}

/// How many idle drifted nodes of a pool do not count as ready at one time, so that their replacements launch first: a tenth,
/// so that a bad change shows in few nodes before the rest follows.
pub fn replaced_at_a_time(min_ready: u32) -> u32 {
    (min_ready / 10).max(1)
}
