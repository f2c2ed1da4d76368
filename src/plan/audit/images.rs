//! Snapshots and their builders: who makes them, what is sealed and what goes.

use jiff::{SignedDuration, Timestamp};

use super::Offence;
use super::sight::{Sight, Sights};
use crate::desired::SnapshotImage;
use crate::names::{ImageId, ImageName, ProviderName};
use crate::node::name::is_ours;
use crate::observed::image::newest;
use crate::observed::{AgentMark, Image, ImageMark, Mark, Role};
use crate::plan::{Act, Action, Chain, CreateServer, ImageExpects, MarkExpects, Plan};

fn listed<'s>(sights: &'s Sights<'_>, provider: &ProviderName) -> &'s [Image] {
    let list = sights.observed.lists.providers.get(provider).and_then(|list| list.as_ref().ok());
    list.map(|list| list.images.as_slice()).unwrap_or_default()
}

fn text(image: &Image, mark: ImageMark) -> &str {
    image.properties.get(mark.key()).map_or("", String::as_str)
}

fn is_sealed(sights: &Sights<'_>, image: &Image) -> bool {
    let ours = text(image, ImageMark::Controller) == sights.desired.controller.id.as_str();
    ours && text(image, ImageMark::Itself) == image.id.as_str()
}

fn is_good(sights: &Sights<'_>, image: &Image) -> bool {
    is_sealed(sights, image) && image.status == "active" && text(image, ImageMark::Bad).is_empty()
}

/// Good ones of an image in a provider.
fn good<'s>(sights: &'s Sights<'_>, name: &str, provider: &ProviderName) -> Vec<&'s Image> {
    let of_it = listed(sights, provider).iter().filter(|image| text(image, ImageMark::Image) == name);
    of_it.filter(|image| is_good(sights, image)).collect()
}

/// What Glance has of a builder that is not sealed.
pub(super) fn unsealed<'s>(sights: &'s Sights<'_>, sight: &Sight<'_>) -> impl Iterator<Item = &'s Image> {
    let (controller, id) = (sights.desired.controller.id.clone(), sight.server.id.clone());
    listed(sights, sight.provider).iter().filter(move |image| {
        text(image, ImageMark::Controller) == controller.as_str()
            && text(image, ImageMark::Build) == id.as_str()
            && text(image, ImageMark::Itself).is_empty()
    })
}

/// An image that a builder's own chain seals or deletes: its own, not sealed, read again before.
pub(super) fn of_builder(sights: &Sights<'_>, sight: &Sight<'_>, action: &Action, id: &ImageId) -> bool {
    let Some(image) = unsealed(sights, sight).find(|image| image.id == *id) else { return false };
    let Some(expected) = &action.expects.image else { return false };
    let its = expected.marks.get(&ImageMark::Build) == Some(&MarkExpects::Is(sight.server.id.to_string()));
    let open = expected.marks.get(&ImageMark::Itself) == Some(&MarkExpects::Absent);
    let acts = if let Act::MarkImage { marks, .. } = &action.act {
        let itself = marks.get(&ImageMark::Itself).map(String::as_str) == Some(id.as_str());
        image.status == "active" && expected.status.as_deref() == Some("active") && itself
    } else {
        !image.protected && expected.protected == Some(false)
    };
    sight.marks.role == Role::Builder && is_its(sights, expected, sight.provider, id) && its && open && acts
}

fn is_its(sights: &Sights<'_>, expected: &ImageExpects, provider: &ProviderName, id: &ImageId) -> bool {
    expected.id == *id && expected.provider == *provider && expected.controller.as_ref() == Some(&sights.desired.controller.id)
}

/// A chain of no server: a sealed snapshot goes. None: it is none.
pub(super) fn deletion(sights: &Sights<'_>, plan: &Plan, chain: &Chain) -> Option<Vec<Offence>> {
    let [before @ .., action @ Action { act: Act::DeleteImage { provider, image: id }, .. }] = chain.actions.as_slice() else {
        return None;
    };
    // That of a builder's way down is looked at with the builder.
    if action.expects.server.is_some() {
        return None;
    }
    let name = &chain.subject.name;
    let Some(image) = listed(sights, provider).iter().find(|image| image.id == *id).filter(|image| is_sealed(sights, image))
    else {
        return Some(vec![Offence::Foreign(name.clone())]);
    };
    let mut offences = Vec::new();
    let expected = action.expects.image.as_ref();
    let sealed = |it: &ImageExpects| it.marks.get(&ImageMark::Itself) == Some(&MarkExpects::Is(id.to_string()));
    if !expected.is_some_and(|it| is_its(sights, it, provider, id) && sealed(it) && it.protected == Some(false)) {
        offences.push(Offence::NoExpects(name.clone()));
    }
    let tried = |mark: &Action| {
        let of_it =
            matches!(&mark.act, Act::MarkImage { image, marks, .. } if image == id && marks.keys().eq([&ImageMark::Going]));
        of_it && mark.expects == action.expects
    };
    if before.len() != 1 || !before.iter().all(tried) {
        offences.push(Offence::NoExpects(name.clone()));
    }
    if image.protected {
        offences.push(Offence::ImageProtected(name.clone()));
    }
    if in_use(sights, plan, id) {
        offences.push(Offence::ImageInUse(name.clone()));
    }
    let of = text(image, ImageMark::Image);
    let newer = good(sights, of, provider).into_iter().filter(|other| other.created >= image.created && other.id != *id).count();
    if text(image, ImageMark::Bad).is_empty() && is_needed(sights, of, provider, image) {
        offences.push(Offence::ImageNeeded(name.clone()));
    }
    // A bad one goes as soon as there is a newer good one.
    let keep = sights.desired.images.get(of).map(|of| if text(image, ImageMark::Bad).is_empty() { of.keep } else { 1 });
    if keep.is_none_or(|keep| newer < usize::try_from(keep.max(1)).unwrap_or(usize::MAX)) {
        offences.push(Offence::ImageNeeded(name.clone()));
    }
    Some(offences)
}

/// Nodes work that booted from it, and none that booted from a newer good one.
fn is_needed(sights: &Sights<'_>, of: &str, provider: &ProviderName, image: &Image) -> bool {
    let newer = |id: &ImageId| {
        good(sights, of, provider).iter().any(|one| one.id == *id && one.created >= image.created && one.id != image.id)
    };
    let joined = |sight: &Sight<'_>| sight.marks.agent == Some(AgentMark::Joined) && !sight.has(Mark::Failed);
    let online = || sights.nodes().filter(|sight| sight.provider == provider && joined(sight));
    let from = |is: &dyn Fn(&ImageId) -> bool| online().any(|sight| sight.marks.base.as_ref().is_some_and(is));
    from(&|id| *id == image.id) && !from(&newer)
}

/// A machine boots from it, or will by this plan; or a pool names it.
fn in_use(sights: &Sights<'_>, plan: &Plan, id: &ImageId) -> bool {
    let boots = |sight: &Sight<'_>| sight.launching(sights) || sight.booting(sights);
    let mut ours = sights.ours.values().filter(|sight| sight.marks.base.as_ref() == Some(id));
    let mut acts = plan.chains.iter().flat_map(|chain| &chain.actions).map(|action| &action.act);
    let lists = sights.observed.lists.providers.values().flatten();
    let mut named = sights.desired.pools.values().filter_map(|pool| pool.image.glance());
    let is_named = named.any(|name| lists.clone().any(|list| newest(&list.images, name).is_some_and(|image| image.id == *id)));
    is_named || ours.any(boots) || acts.any(|act| if let Act::CreateServer(create) = act { create.image == *id } else { false })
}

/// A new builder.
pub(super) fn create(sights: &Sights<'_>, create: &CreateServer, image: &ImageName, offences: &mut Vec<Offence>) {
    let (name, provider) = (&create.name, &create.provider);
    let controller = &sights.desired.controller;
    if !name.as_str().starts_with(&format!("{image}-")) || !is_ours(&controller.id, name.as_str()) {
        offences.push(Offence::BadName(name.clone()));
    }
    let mark = |mark: Mark| create.marks.get(&mark).map(String::as_str);
    let marked = mark(Mark::Controller) == Some(controller.id.as_str())
        && mark(Mark::Role) == Some("builder")
        && mark(Mark::Image) == Some(image.as_str())
        && mark(Mark::Pool).is_none()
        && mark(Mark::Base) == Some(create.image.as_str())
        && mark(Mark::Spec).is_some_and(|spec| spec.starts_with("v1 base="))
        && mark(Mark::Try).and_then(|attempt| attempt.parse::<u32>().ok()).is_some_and(|attempt| attempt > 0);
    if !marked {
        offences.push(Offence::BadMarks(name.clone()));
    }
    let Some(desired) = sights.desired.images.get(image).filter(|image| image.providers.contains(provider)) else {
        offences.push(Offence::WrongProvider(name.clone()));
        return;
    };
    if controller.paused.is_some() {
        offences.push(Offence::BuildWhilePaused(image.clone()));
    }
    back_off(sights, create, desired, offences);
}

/// One at work in the same provider, that this plan does not give up.
pub(super) fn is_second(sights: &Sights<'_>, plan: &Plan, create: &CreateServer) -> bool {
    let given_up = |sight: &Sight<'_>| {
        let acts = plan.chains.iter().flat_map(|chain| &chain.actions).map(|action| &action.act);
        let mut marks = acts.filter(|act| act.server() == Some((sight.provider, &sight.server.id)));
        marks.any(|act| if let Act::SetMarks { marks, .. } = act { marks.contains_key(&Mark::Failed) } else { false })
    };
    let going = |sight: &Sight<'_>| {
        let marked = [Mark::Retire, Mark::Failed].into_iter().any(|mark| sight.has(mark));
        marked || sight.held(sights.now) || sight.server.task.is_some() || given_up(sight)
    };
    let at_work = |sight: &Sight<'_>| {
        let built = sight.has(Mark::Built) && ["ACTIVE", "SHUTOFF"].contains(&sight.server.status.as_str());
        let of = sight.marks.image.as_ref().and_then(|image| sights.desired.images.get(image));
        let known = of.is_some_and(|image| image.providers.contains(sight.provider));
        known && (built || sight.launching(sights) || sight.booting(sights))
    };
    let builders = sights.ours.values().filter(|sight| sight.marks.role == Role::Builder && *sight.provider == create.provider);
    builders.filter(|sight| !going(sight)).any(at_work)
}

/// Of a build of the same inputs that failed, unless a person asks for another now.
fn back_off(sights: &Sights<'_>, create: &CreateServer, image: &SnapshotImage, offences: &mut Vec<Offence>) {
    let asked = sights.observed.this_run.update.contains(&(image.name.clone(), create.provider.clone()));
    let same = |sight: &&Sight<'_>| {
        sight.marks.role == Role::Builder
            && *sight.provider == create.provider
            && sight.marks.image.as_ref() == Some(&image.name)
            && sight.marks.spec.as_deref() == create.marks.get(&Mark::Spec).map(String::as_str)
            && sight.has(Mark::Failed)
            && !sight.has(Mark::Retire)
    };
    let newest = sights.ours.values().filter(same).max_by_key(|sight| (sight.server.created, &sight.server.name));
    let Some(kept) = newest.filter(|_| !asked) else { return };
    let built = good(sights, image.name.as_str(), &create.provider).into_iter().any(|one| one.created > kept.server.created);
    let minutes = 2_i64.saturating_pow(kept.marks.attempt.saturating_sub(1)).min(30);
    let began = kept.marks.failed.as_ref().map_or(kept.server.created, |failed| failed.at);
    let until = began.checked_add(SignedDuration::from_mins(minutes)).unwrap_or(Timestamp::MAX);
    if !built && sights.now < until {
        offences.push(Offence::BuildBackOff(image.name.clone(), create.provider.clone()));
    }
}

/// What a node of a pool that boots from snapshots is made from.
pub(super) fn boots_from_good(sights: &Sights<'_>, create: &CreateServer, image: &ImageName) -> bool {
    good(sights, image.as_str(), &create.provider).iter().any(|good| good.id == create.image)
}
