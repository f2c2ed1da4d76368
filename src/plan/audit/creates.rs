//! New servers: their names and marks, where they may be made, and every maximum.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::sight::{Sight, Sights};
use super::{Offence, images};
use crate::desired::Provider;
use crate::names::{ImageId, NodeName, PoolName, ProviderName, Purpose};
use crate::node::name::is_ours;
use crate::observed::{AgentMark, Answer, Ask, Mark, Refused, Role};
use crate::plan::{Act, CreateServer, Plan};

/// A create that no list shows counts for so long.
const UNLISTED: SignedDuration = SignedDuration::from_secs(60);

/// What DNS takes in one label.
const LONGEST_NAME: usize = 63;

pub(super) fn audit(sights: &Sights<'_>, plan: &Plan, offences: &mut Vec<Offence>) {
    let acts = plan.chains.iter().flat_map(|chain| &chain.actions);
    let creates: Vec<&CreateServer> =
        acts.filter_map(|action| if let Act::CreateServer(create) = &action.act { Some(&**create) } else { None }).collect();
    let mut taken = taken(sights);
    for create in &creates {
        one(sights, create, &mut taken, offences);
        if create.purpose.image().is_some() && images::is_second(sights, plan, create) {
            offences.push(Offence::TwoBuilders(create.provider.clone()));
        }
    }
    let launched = sights.observed.this_run.launched.len();
    let limit = sights.desired.controller.limits.max_launches_per_run;
    if !creates.is_empty() && launched + creates.len() > size(limit) {
        offences.push(Offence::RunOver);
    }
    let by = |key: fn(&CreateServer) -> &str| {
        let mut counts: BTreeMap<&str, Vec<&CreateServer>> = BTreeMap::new();
        for create in &creates {
            counts.entry(key(create)).or_default().push(create);
        }
        counts
    };
    for (pool, creates) in by(|create| create.purpose.pool().map_or("", PoolName::as_str)) {
        in_pool(sights, &PoolName::from(pool), &creates, offences);
    }
    for (provider, creates) in by(|create| create.provider.as_str()) {
        if let Some(provider) = sights.desired.controller.providers.get(provider) {
            in_provider(sights, provider, &creates, offences);
        }
    }
}

fn size(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Every name that is seen or was given out.
fn taken(sights: &Sights<'_>) -> BTreeSet<NodeName> {
    let lists = &sights.observed.lists;
    let servers = lists.providers.values().flatten().flat_map(|list| &list.servers).map(|server| server.name.as_str());
    let agents = lists.targets.values().flatten().flat_map(|list| &list.computers).map(|agent| agent.name.as_str());
    let names = sights.observed.this_run.names.iter().cloned();
    servers.chain(agents).map(NodeName::from).chain(names).collect()
}

fn one(sights: &Sights<'_>, create: &CreateServer, taken: &mut BTreeSet<NodeName>, offences: &mut Vec<Offence>) {
    let CreateServer { name, purpose, provider, .. } = create;
    if !taken.insert(name.clone()) {
        offences.push(Offence::NameTaken(name.clone()));
    }
    let refused = Refused::Create(purpose.clone(), provider.clone());
    if sights.observed.this_run.refused.contains_key(&refused) {
        offences.push(Offence::RefusedAlready(name.clone()));
    }
    match purpose {
        Purpose::Pool(pool) => node(sights, create, pool, offences),
        Purpose::Image(image) => images::create(sights, create, image, offences),
    }
}

fn node(sights: &Sights<'_>, create: &CreateServer, pool: &PoolName, offences: &mut Vec<Offence>) {
    let CreateServer { name, provider, .. } = create;
    let controller = &sights.desired.controller;
    let text = name.as_str();
    let safe = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let shaped = text.starts_with(&format!("{pool}-")) && text.len() <= LONGEST_NAME && !text.ends_with('-');
    if !safe || !shaped || !is_ours(&controller.id, text) {
        offences.push(Offence::BadName(name.clone()));
    }
    let desired = sights.desired.pools.get(pool);
    let mark = |mark: Mark| create.marks.get(&mark).map(String::as_str);
    let marked = mark(Mark::Controller) == Some(controller.id.as_str())
        && mark(Mark::Role) == Some("node")
        && mark(Mark::Pool) == Some(pool.as_str())
        && mark(Mark::Target) == desired.map(|pool| pool.target.as_str())
        && mark(Mark::Base) == Some(create.image.as_str())
        && mark(Mark::Spec).is_some_and(|spec| spec.starts_with("v1 "))
        && mark(Mark::Try).and_then(|attempt| attempt.parse::<u32>().ok()).is_some_and(|attempt| attempt > 0);
    if !marked {
        offences.push(Offence::BadMarks(name.clone()));
    }
    let Some(desired) = desired.filter(|pool| pool.providers.contains(provider)) else {
        offences.push(Offence::WrongProvider(name.clone()));
        return;
    };
    if desired.image.snapshot().is_some_and(|image| !images::boots_from_good(sights, create, image)) {
        offences.push(Offence::BootsFromBad(name.clone()));
    }
    if desired.paused.is_some() || controller.paused.is_some() {
        offences.push(Offence::CreateWhilePaused(pool.clone()));
    }
    let seen = |provider: &ProviderName| sights.observed.lists.providers.get(provider).is_some_and(Result::is_ok);
    if !desired.providers.iter().all(seen) {
        offences.push(Offence::CreateAtGap(pool.clone()));
    }
}

/// Accepted or unanswered creates of this run that no list has shown.
fn unlisted<'s>(sights: &'s Sights<'_>) -> impl Iterator<Item = (&'s Purpose, &'s ProviderName)> {
    let lists = sights.observed.lists.providers.values().flatten();
    let listed: BTreeSet<&str> = lists.flat_map(|list| &list.servers).map(|server| server.name.as_str()).collect();
    let launched = sights.observed.this_run.launched.iter();
    let open = launched.filter(move |launched| {
        let young = sights.now.duration_since(launched.at) < UNLISTED;
        young && !launched.listed && !listed.contains(launched.name.as_str())
    });
    open.map(|launched| (&launched.purpose, &launched.provider))
}

fn in_pool(sights: &Sights<'_>, pool: &PoolName, creates: &[&CreateServer], offences: &mut Vec<Offence>) {
    let Some(desired) = sights.desired.pools.get(pool) else { return };
    let of_pool = || sights.nodes().filter(|sight| sight.marks.pool.as_ref() == Some(pool));
    let unlisted = unlisted(sights).filter(|(of, _)| of.pool() == Some(pool)).count();
    if of_pool().count() + unlisted + creates.len() > size(desired.max_servers) {
        offences.push(Offence::PoolOver(pool.clone()));
    }
    // As many more as are replaced at one time may launch beside those that work.
    let want = size(desired.min_ready);
    let spare = (want / 10).max(1);
    let ready = of_pool().filter(|sight| sight.ready(sights.now)).count();
    let coming = of_pool().filter(|sight| coming(sights, sight)).count();
    if ready + coming + unlisted + creates.len() > want.max(ready) + spare {
        offences.push(Offence::Unneeded(pool.clone()));
    }
    // Of a pool that boots from snapshots each snapshot has a back-off of its own.
    let snapshots = desired.image.snapshot().is_some();
    let mut tries: BTreeMap<(&ProviderName, Option<&ImageId>), usize> = BTreeMap::new();
    for create in creates {
        *tries.entry((&create.provider, snapshots.then_some(&create.image))).or_default() += 1;
    }
    for ((provider, from), creates) in tries {
        if let Some(kept) = newest_failed(sights, pool, provider, from) {
            back_off(sights, pool, (kept, from), creates, offences);
        }
    }
}

/// What a person took, or had, is on its way to no pool, whatever Nova is doing with it.
fn coming(sights: &Sights<'_>, sight: &Sight<'_>) -> bool {
    (sight.launching(sights) || sight.booting(sights)) && !sight.has(Mark::Hold)
}

fn is_from(sight: &Sight<'_>, from: Option<&ImageId>) -> bool {
    from.is_none() || sight.marks.base.as_ref() == from
}

fn newest_failed<'s, 'a>(
    sights: &'s Sights<'a>,
    pool: &PoolName,
    provider: &ProviderName,
    from: Option<&ImageId>,
) -> Option<&'s Sight<'a>> {
    let of_pool = sights.nodes().filter(|sight| sight.provider == provider && sight.marks.pool.as_ref() == Some(pool));
    let of_pool = of_pool.filter(|sight| is_from(sight, from));
    of_pool.filter(|sight| sight.failed(sights)).max_by_key(|sight| (sight.server.created, &sight.server.name))
}

fn back_off(
    sights: &Sights<'_>,
    pool: &PoolName,
    (kept, from): (&Sight<'_>, Option<&ImageId>),
    creates: usize,
    offences: &mut Vec<Offence>,
) {
    let later = |sight: &&Sight<'_>| {
        is_from(sight, from)
            && sight.provider == kept.provider
            && sight.marks.pool.as_ref() == Some(pool)
            && sight.server.created > kept.server.created
    };
    if sights.nodes().filter(later).any(|sight| sight.marks.agent == Some(AgentMark::Joined)) {
        return;
    }
    let trying = sights.nodes().filter(later).filter(|sight| coming(sights, sight)).count();
    let minutes = 2_i64.saturating_pow(kept.marks.attempt.saturating_sub(1)).min(30);
    let until = kept.server.created.checked_add(SignedDuration::from_mins(minutes)).unwrap_or(Timestamp::MAX);
    if sights.now < until || trying + creates > 1 {
        offences.push(Offence::BackOff(pool.clone(), kept.provider.clone()));
    }
}

fn in_provider(sights: &Sights<'_>, provider: &Provider, creates: &[&CreateServer], offences: &mut Vec<Offence>) {
    let unlisted = unlisted(sights).filter(|(_, of)| **of == provider.name).count();
    let servers = sights.ours.values().filter(|sight| *sight.provider == provider.name).count();
    if servers + unlisted + creates.len() > size(provider.max_servers) {
        offences.push(Offence::ProviderOver(provider.name.clone()));
    }
    let of_provider = sights.ours.values().filter(|sight| *sight.provider == provider.name);
    let of_provider = of_provider.filter(|sight| matches!(sight.marks.role, Role::Node | Role::Builder));
    let launching = of_provider.filter(|sight| sight.launching(sights) || sight.booting(sights)).count();
    if launching + unlisted + creates.len() > size(provider.max_concurrent_launches) {
        offences.push(Offence::LaunchesOver(provider.name.clone()));
    }
    if !fits_quota(sights, provider, creates) {
        offences.push(Offence::QuotaOver(provider.name.clone()));
    }
}

/// By the limits and flavors that were seen; without them nothing may be made.
fn fits_quota(sights: &Sights<'_>, provider: &Provider, creates: &[&CreateServer]) -> bool {
    let Some(Answer::Limits(quota)) = sights.observed.answer(&Ask::Limits(provider.name.clone())) else { return false };
    let Some(Answer::Flavors(flavors)) = sights.observed.answer(&Ask::Flavors(provider.name.clone())) else { return false };
    let (mut instances, mut cores, mut ram) = (0, 0, 0);
    for create in creates {
        let Some(flavor) = flavors.iter().find(|flavor| flavor.id == create.flavor) else { return false };
        instances += 1;
        cores += flavor.vcpus;
        ram += flavor.ram;
    }
    quota.instances.left() >= instances && quota.cores.left() >= cores && quota.ram.left() >= ram
}
