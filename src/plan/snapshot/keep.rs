//! Which snapshots go: good ones beyond `keep`, but none that works while nobody has seen one work that stays; and bad ones once
//! there is a newer good one. Never one that is protected, in use, or the last good one; and never what is not surely ours. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Snapshots, base};
use crate::desired::Desired;
use crate::names::{ControllerId, ImageId, NodeName, ProviderName};
use crate::node::{Joined, Node};
use crate::observed::image::newest;
use crate::observed::marks::seconds;
use crate::observed::{AgentMark, Image, ImageMark, Mark, Observed, ServerStatus};
use crate::plan::backoff::BackOffs;
use crate::plan::retire::Sight;
use crate::plan::steps::not_refused;
use crate::plan::{
    Act, Action, Because, Chain, Expects, ImageExpects, MarkExpects, NodeWait, ServerExpects, Subject, Verb, WaitsFor,
};

/// Sealed, and not protected by a person.
pub fn sealed(controller: &ControllerId, provider: &ProviderName, id: &ImageId) -> ImageExpects {
    ImageExpects {
        provider: provider.clone(),
        id: id.clone(),
        controller: Some(controller.clone()),
        name: None,
        status: None,
        protected: None,
        marks: BTreeMap::from([(ImageMark::Itself, MarkExpects::Is(id.to_string()))]),
    }
}

/// Of what a builder that goes down leaves in Glance.
pub fn delete_unsealed(controller: &ControllerId, builder: &Node<'_>, image: &Image) -> Action {
    let build = MarkExpects::Is(builder.server.id.to_string());
    let marks = BTreeMap::from([(ImageMark::Build, build), (ImageMark::Itself, MarkExpects::Absent)]);
    // One that became active between the look and this is looked at once more.
    let status = Some(image.status.clone());
    let expected = ImageExpects { protected: Some(false), status, marks, ..sealed(controller, &builder.provider, &image.id) };
    let act = Act::DeleteImage { provider: builder.provider.clone(), image: image.id.clone() };
    // It is ours as long as its builder is there.
    let server = ServerExpects {
        provider: builder.provider.clone(),
        id: builder.server.id.clone(),
        controller: controller.clone(),
        status: None,
        marks: builder.server.mark(Mark::Hold).map(|hold| (Mark::Hold, MarkExpects::Is(hold.to_owned()))).into_iter().collect(),
    };
    Action { act, expects: Expects { server: Some(server), image: Some(expected), ..Expects::default() } }
}

/// Glance refuses to delete an image that something was cloned from (a server, a volume), as long as that is there: hours or weeks.
const AGAIN: SignedDuration = SignedDuration::from_mins(30);

/// Those that go now, each a chain, and those that Glance did not let go. `creates`: of this very plan.
pub fn surplus(
    sight: Sight<'_>,
    joined: &Joined<'_>,
    snapshots: &Snapshots<'_>,
    back_offs: &BackOffs,
    creates: &[Chain],
) -> (Vec<Chain>, Vec<NodeWait>) {
    let Sight { desired, observed, now, .. } = sight;
    let used = in_use(desired, observed, joined, creates);
    // Machines from the newest fail: those before it are what the pools live on.
    let failing: BTreeSet<&ImageId> =
        back_offs.iter().filter(|(_, it)| !it.over).filter_map(|((.., from), _)| from.as_ref()).collect();
    let (mut chains, mut waits) = (Vec::new(), Vec::new());
    for image in desired.images.values() {
        for provider in &image.providers {
            // What a create of this run boots from is not told; its list will be.
            if observed.this_run.launched.iter().any(|launched| launched.provider == *provider && !launched.listed) {
                continue;
            }
            let good: Vec<&Image> = snapshots.good(&image.name, provider).collect();
            let Some(newest) = good.first() else { continue };
            let keep = usize::try_from(image.keep.max(1)).unwrap_or(usize::MAX);
            let (staying, beyond) = good.split_at(keep.min(good.len()));
            let fails = |images: &[&Image]| images.iter().any(|image| failing.contains(&image.id));
            let works = |images: &[&Image]| works(joined, provider, images);
            let halted = fails(&[newest]) || (fails(staying) && !works(staying));
            // One that nodes came online from stays while none did from a newer one, which may be as broken as it is untried.
            let needed = |one: &Image| halted || (works(&[one]) && !works(staying));
            let beyond = beyond.iter().filter(|one| !needed(one));
            let bad = snapshots.all(&image.name, provider).iter();
            let bad = bad.filter(|image| image.mark(ImageMark::Bad).is_some() && image.created < newest.created);
            let beyond = beyond.map(|one| (*one, Because::BeyondKeep { keep: image.keep }));
            for (one, because) in beyond.chain(bad.map(|one| (*one, Because::BadSnapshot))) {
                if one.protected || used.contains(&one.id) {
                    continue;
                }
                let state = if because == Because::BadSnapshot { "bad" } else { "previous" };
                let subject = Subject { pool: None, image: Some(image.name.clone()), name: NodeName::new(one.name.as_str()) };
                let step = match not_let_go(one, &subject.name, sight) {
                    Some(waits_for) => Err(waits_for),
                    None => not_refused(sight, Some(deletion(desired, subject.clone(), provider, one, because, now))),
                };
                match step {
                    Ok(chain) => chains.extend(chain),
                    Err(waits_for) => waits.push(NodeWait { subject, provider: provider.clone(), state, waits_for }),
                }
            }
        }
    }
    (chains, waits)
}

/// It was tried, and is there still.
fn not_let_go(image: &Image, name: &NodeName, sight: Sight<'_>) -> Option<WaitsFor> {
    let said = sight.observed.this_run.refusal("delete-image", name).cloned();
    let tried: Option<Timestamp> = image.mark(ImageMark::Going).and_then(|at| at.parse().ok());
    let tried = tried.filter(|at| (SignedDuration::ZERO..AGAIN).contains(&sight.now.duration_since(*at)));
    let until = tried.or(said.as_ref().map(|_| sight.now))?.checked_add(AGAIN).unwrap_or(Timestamp::MAX);
    Some(WaitsFor::LetGo { until, said })
}

/// A node from one of them came online.
fn works(joined: &Joined<'_>, provider: &ProviderName, images: &[&Image]) -> bool {
    joined.nodes.iter().any(|node| {
        node.marks.agent == Some(AgentMark::Joined)
            && node.marks.failed.is_none()
            && node.provider == *provider
            && images.iter().any(|image| node.marks.base.as_ref() == Some(&image.id))
    })
}

/// That it is tried is written first: who is refused is the next run's to know.
fn deletion(
    desired: &Desired,
    subject: Subject,
    provider: &ProviderName,
    image: &Image,
    because: Because,
    now: Timestamp,
) -> Chain {
    let mut expected = sealed(&desired.controller.id, provider, &image.id);
    expected.protected = Some(false);
    if because == Because::BadSnapshot {
        expected.marks.insert(ImageMark::Bad, MarkExpects::Present);
    }
    let marks = BTreeMap::from([(ImageMark::Going, seconds(now).to_string())]);
    let acts = [
        Act::MarkImage { provider: provider.clone(), image: image.id.clone(), marks },
        Act::DeleteImage { provider: provider.clone(), image: image.id.clone() },
    ];
    let expects = Expects { image: Some(expected), ..Expects::default() };
    let actions = acts.into_iter().map(|act| Action { act, expects: expects.clone() });
    Chain { subject, verb: Verb::Delete, because, times: None, actions: actions.collect() }
}

/// A machine of ours that boots from it now.
pub fn boots_from<'j, 'a>(joined: &'j Joined<'a>, image: &ImageId) -> Option<&'j Node<'a>> {
    booting(joined).find(|node| node.marks.base.as_ref() == Some(image))
}

fn booting<'j, 'a>(joined: &'j Joined<'a>) -> impl Iterator<Item = &'j Node<'a>> {
    let all = joined.nodes.iter().chain(&joined.builders);
    all.filter(|node| node.server.status == ServerStatus::Build || node.state.is_launching())
}

/// Images that a machine boots from now, or will: of ours that are launching, of this plan's creates, base images,
/// and those that a pool names.
fn in_use(desired: &Desired, observed: &Observed, joined: &Joined<'_>, creates: &[Chain]) -> BTreeSet<ImageId> {
    let mut used: BTreeSet<ImageId> = booting(joined).filter_map(|node| node.marks.base.clone()).collect();
    for action in creates.iter().flat_map(|chain| &chain.actions) {
        if let Act::CreateServer(create) = &action.act {
            used.insert(create.image.clone());
        }
    }
    for list in observed.lists.providers.values().flatten() {
        let named = desired.pools.values().filter_map(|pool| pool.image.glance());
        used.extend(named.filter_map(|name| newest(&list.images, name)).map(|image| image.id.clone()));
        used.extend(desired.images.values().filter_map(|image| base(&list.images, image).ok()).map(|image| image.id.clone()));
    }
    used
}
