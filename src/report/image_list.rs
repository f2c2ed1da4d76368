//! `image list`: a line for each snapshot of ours, and below them what becomes of each image.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::gaps::unseen;
use super::plan_text::{builder_waits, images};
use super::style::{Style, wrap};
use super::table::{Column, left, right, table};
use crate::desired::{Desired, units};
use crate::names::{ImageId, ProviderName, is_uuid, short};
use crate::node::Joined;
use crate::observed::{Gap, Image, ImageMark, Observed};
use crate::plan::snapshot::Snapshots;
use crate::plan::{ImageLine, Plan, WaitsFor};

const COLUMNS: [Column; 7] = [
    left("snapshot"),
    left("id").dropped(2),
    left("provider").dropped(1),
    left("state"),
    right("age"),
    left("base").dropped(3),
    right("nodes"),
];

/// What `--format json` gives: an empty list behind a gap says which it is.
#[derive(Debug, serde::Serialize)]
pub struct Listing {
    pub gaps: Vec<Gap>,
    pub snapshots: Vec<Row>,
    pub images: Vec<ImageRow>,
}

/// How an image of the desired state stands in one of its providers that was seen.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ImageRow {
    #[serde(flatten)]
    pub line: ImageLine,
    /// Where one is at work.
    pub builder_waits_for: Option<WaitsFor>,
}

pub fn image_rows(plan: &Plan) -> Vec<ImageRow> {
    let row = |line: &ImageLine| ImageRow { line: line.clone(), builder_waits_for: builder_waits(plan, line).cloned() };
    plan.images.iter().map(row).collect()
}

/// A snapshot as `--format json` gives it.
#[derive(Debug, serde::Serialize)]
pub struct Row {
    /// Of the desired state, or of an earlier one.
    pub image: String,
    pub provider: ProviderName,
    /// In Glance: also the name of the server that built it.
    pub snapshot: String,
    pub id: ImageId,
    pub state: State,
    /// `image pin`: Glance refuses to delete it.
    pub pinned: bool,
    pub created: Timestamp,
    /// Bytes; none until the data has come.
    pub size: Option<u64>,
    /// The name of the image that it was made from, or its id where it is gone.
    pub base: Option<String>,
    /// The builder's server id.
    pub build: Option<String>,
    /// A digest of each input.
    pub inputs: Option<String>,
    /// Time and by whom, of a bad one.
    pub bad: Option<String>,
    /// Servers of ours that were booted from it.
    pub nodes: usize,
    #[serde(skip)]
    age: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its data is on its way, or it is not sealed yet: nodes do not boot from it.
    Saving,
    /// The newest good one: nodes boot from it.
    Current,
    /// Good, and older.
    Previous,
    Bad,
    /// Its image is not in the desired state any more: kept, and nobody's to boot from.
    Removed,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Saving => "saving",
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Bad => "bad",
            Self::Removed => "removed",
        }
    }
}

/// Base images that snapshots of ours were made from and that are in no list: renamed by a publish, or gone.
pub fn unlisted_bases(desired: &Desired, observed: &Observed) -> BTreeSet<(ProviderName, ImageId)> {
    let controller = &desired.controller.id;
    let lists = observed.lists.providers.iter().filter_map(|(name, list)| Some((name, list.as_ref().ok()?)));
    let bases = lists.flat_map(|(provider, list)| {
        let ours = list.images.iter().filter(|image| image.names(controller));
        let ids = ours.filter_map(|image| image.mark(ImageMark::Base)).map(ImageId::new);
        ids.filter(|id| !list.images.iter().any(|image| image.id == *id)).map(|id| (provider.clone(), id))
    });
    bases.collect()
}

/// Names of images that are in no list.
pub type Names = BTreeMap<(ProviderName, ImageId), String>;

/// By image, provider, and newest first. What only inherited our properties is not ours, and not in it.
pub fn rows(desired: &Desired, observed: &Observed, joined: &Joined<'_>, names: &Names, now: Timestamp) -> Vec<Row> {
    let controller = &desired.controller.id;
    let snapshots = Snapshots::of(desired, observed);
    let mut nodes: BTreeMap<(&ProviderName, &ImageId), usize> = BTreeMap::new();
    for node in &joined.nodes {
        if let Some(base) = &node.marks.base {
            *nodes.entry((&node.provider, base)).or_default() += 1;
        }
    }
    let mut rows = Vec::new();
    for (provider, list) in observed.lists.providers.iter().filter_map(|(name, list)| Some((name, list.as_ref().ok()?))) {
        for image in list.images.iter().filter(|image| image.names(controller)) {
            let builder = image.mark(ImageMark::Build);
            let builds = |id: &str| joined.builders.iter().any(|node| node.server.id.as_str() == id);
            let Some(name) = image.mark(ImageMark::Image) else { continue };
            let current = snapshots.newest_good(&name.into(), provider).is_some_and(|newest| newest.id == image.id);
            let state = match (image.is_sealed(controller), image.mark(ImageMark::Bad)) {
                (false, _) if image.mark(ImageMark::Itself).is_some() || !builder.is_some_and(builds) => continue,
                (false, _) => State::Saving,
                (true, Some(_)) => State::Bad,
                (true, None) if !desired.images.contains_key(name) => State::Removed,
                (true, None) if current => State::Current,
                (true, None) => State::Previous,
            };
            let nodes = nodes.get(&(provider, &image.id)).copied().unwrap_or_default();
            rows.push(row((name, provider), image, base(image, provider, &list.images, names), (state, nodes), now));
        }
    }
    rows.sort_by(|a, b| {
        (&a.image, &a.provider)
            .cmp(&(&b.image, &b.provider))
            .then_with(|| b.created.cmp(&a.created))
            .then_with(|| a.id.cmp(&b.id))
    });
    rows
}

fn base(image: &Image, provider: &ProviderName, images: &[Image], names: &Names) -> Option<String> {
    let id = ImageId::new(image.mark(ImageMark::Base)?);
    let listed = images.iter().find(|one| one.id == id).map(|one| one.name.clone());
    let name = listed.or_else(|| names.get(&(provider.clone(), id.clone())).cloned());
    Some(name.unwrap_or_else(|| id.to_string()))
}

fn row(
    (name, provider): (&str, &ProviderName),
    image: &Image,
    base: Option<String>,
    (state, nodes): (State, usize),
    now: Timestamp,
) -> Row {
    let text = |mark| image.mark(mark).map(str::to_owned);
    Row {
        image: name.to_owned(),
        provider: provider.clone(),
        snapshot: image.name.clone(),
        id: image.id.clone(),
        state,
        pinned: image.protected,
        created: image.created,
        size: image.size,
        base,
        build: text(ImageMark::Build),
        inputs: text(ImageMark::Spec),
        bad: text(ImageMark::Bad),
        nodes,
        age: units::short(units::since(image.created, now)),
    }
}

/// `plan` is made from the same look.
pub fn text(rows: &[Row], plan: &Plan, style: Style) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let state = if row.pinned { format!("{}, pinned", row.state.word()) } else { row.state.word().to_owned() };
            let base = match row.base.as_deref() {
                None => "-",
                Some(gone) if is_uuid(gone) => short(gone),
                Some(name) => name,
            };
            vec![
                row.snapshot.clone(),
                short(row.id.as_str()).to_owned(),
                row.provider.to_string(),
                state,
                row.age.clone(),
                base.to_owned(),
                row.nodes.to_string(),
            ]
        })
        .collect();
    let unseen = unseen("snapshots", rows.is_empty(), &plan.gaps);
    let mut table = match unseen {
        None if rows.is_empty() => "no snapshots\n".to_owned(),
        Some(unseen) if rows.is_empty() => unseen,
        unseen => table(&COLUMNS, &cells, style) + &unseen.unwrap_or_default(),
    };
    if rows.iter().any(|row| row.state == State::Removed) {
        let words =
            "removed: its file is not in images/ any more; it is kept, and `poolkeeper image delete --now SNAPSHOT` deletes it";
        table += &wrap(words, style.width, 0, 0).join("\n");
        table.push('\n');
    }
    let images = images(plan, style);
    if images.is_empty() { table } else { format!("{table}\n{}", images.trim_end_matches('\n').to_owned() + "\n") }
}
