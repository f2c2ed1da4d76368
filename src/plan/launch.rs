//! New nodes: which pool gets scarce room, in which of its providers, from which image.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::backoff::{self, BackOff, BackOffs, Key};
use super::need::Counts;
use super::room::{Made, Room};
use super::snapshot::Snapshots;
use super::spec::Inputs;
use super::{Act, Action, Because, Chain, CreateServer, Expects, Subject, Verb, WaitsFor};
use crate::desired::{Pool, PoolImage, Provider};
use crate::names::{ImageName, PoolName, ProviderName, Purpose, Text};
use crate::node::Joined;
use crate::observed::image::newest;
use crate::observed::{Image, Mark};

/// What a pass launches, and why pools get no more.
#[derive(Debug, Default)]
pub struct Launches {
    pub chains: Vec<Chain>,
    pub waits: BTreeMap<PoolName, WaitsFor>,
}

/// Slots go one by one to the pool with the lowest (ready + coming) / min-ready; ties to the pool whose newest machine is the
/// oldest (none: first), then by name: a function of what is seen, so that no pool starves without a history.
pub fn launches(pools: &mut Pools<'_, '_>, counts: &BTreeMap<PoolName, Counts>) -> Launches {
    let mut have: BTreeMap<&PoolName, Counts> = counts.iter().map(|(pool, counts)| (pool, *counts)).collect();
    let mut result = Launches::default();
    let mut open: BTreeSet<&PoolName> = have.iter().filter(|(_, counts)| counts.need() > 0).map(|(pool, _)| *pool).collect();
    while let Some(name) = open.iter().copied().min_by(|a, b| pools.before(a, b, &have)) {
        let Some((pool, counts)) = pools.room.desired.pools.get(name).zip(have.get_mut(name)) else { break };
        match pools.slot(pool, counts) {
            Ok(create) => {
                let because = Because::Short { have: counts.have(), want: counts.want };
                pools.take(pool, &create);
                counts.coming += 1;
                result.chains.push(create_chain(create, because));
                if counts.need() == 0 {
                    open.remove(name);
                }
            }
            Err(waits) => {
                result.waits.insert(name.clone(), waits);
                open.remove(name);
            }
        }
    }
    result
}

pub fn create_chain(create: CreateServer, because: Because) -> Chain {
    let subject =
        Subject { pool: create.purpose.pool().cloned(), image: create.purpose.image().cloned(), name: create.name.clone() };
    let act = Act::CreateServer(Box::new(create));
    Chain { subject, verb: Verb::Create, because, times: None, actions: vec![Action { act, expects: Expects::default() }] }
}

/// What the pools' turns are decided from.
#[derive(Debug)]
pub struct Pools<'r, 'a> {
    room: &'r mut Room<'a>,
    back_offs: &'r BackOffs,
    snapshots: &'r Snapshots<'a>,
    /// Why an image has no good snapshot in a provider.
    says: &'r BTreeMap<(ImageName, ProviderName), String>,
    /// In this pass.
    launched: BTreeMap<Key, u32>,
    newest: BTreeMap<PoolName, Timestamp>,
    zones: BTreeMap<(PoolName, Text), u32>,
}

impl<'r, 'a> Pools<'r, 'a> {
    pub fn new(
        room: &'r mut Room<'a>,
        joined: &Joined<'_>,
        back_offs: &'r BackOffs,
        snapshots: &'r Snapshots<'a>,
        says: &'r BTreeMap<(ImageName, ProviderName), String>,
    ) -> Self {
        let mut newest: BTreeMap<PoolName, Timestamp> = BTreeMap::new();
        let mut zones: BTreeMap<(PoolName, Text), u32> = BTreeMap::new();
        for node in &joined.nodes {
            let Some(pool) = node.pool_name() else { continue };
            let at = newest.entry(pool.clone()).or_insert(node.server.created);
            *at = (*at).max(node.server.created);
            if let Some(zone) = &node.server.availability_zone {
                *zones.entry((pool.clone(), zone.clone())).or_default() += 1;
            }
        }
        Self { room, back_offs, snapshots, says, launched: BTreeMap::new(), newest, zones }
    }

    fn before(&self, a: &PoolName, b: &PoolName, have: &BTreeMap<&PoolName, Counts>) -> std::cmp::Ordering {
        let counts = |pool: &PoolName| have.get(pool).copied().unwrap_or_default();
        let (x, y) = (counts(a), counts(b));
        // have/want compared without a division: x.have / x.want < y.have / y.want.
        let left = u64::from(x.have()) * u64::from(y.want.max(1));
        let right = u64::from(y.have()) * u64::from(x.want.max(1));
        left.cmp(&right).then_with(|| self.newest.get(a).cmp(&self.newest.get(b))).then_with(|| a.cmp(b))
    }

    /// The next create of a pool, or why there is none.
    fn slot(&self, pool: &Pool, counts: &Counts) -> Result<CreateServer, WaitsFor> {
        self.room.may_launch(pool.paused.as_ref())?;
        let lists = &self.room.observed.lists.providers;
        if let Some(gap) = pool.providers.iter().find(|name| !matches!(lists.get(*name), Some(Ok(_)))) {
            return Err(WaitsFor::Gap(gap.to_string()));
        }
        if let Some(why) = self.fits_nowhere(pool) {
            return Err(why);
        }
        if counts.servers() >= counts.max {
            return Err(WaitsFor::PoolFull { max: counts.max });
        }
        self.room.has_launches_left()?;
        let mut waits = None;
        for name in &pool.providers {
            let Some(provider) = self.room.desired.provider(name) else { continue };
            match self.in_provider(pool, provider, counts) {
                Ok(create) => return Ok(create),
                // The first provider is the preferred one: what it waits for is what a person wants to know, unless nothing helps.
                Err(why) => {
                    if waits.as_ref().is_none_or(|first: &WaitsFor| first.lacks().is_some()) {
                        waits = Some(why);
                    }
                }
            }
        }
        Err(waits.unwrap_or(WaitsFor::NextPass))
    }

    /// Said before a full pool is: a node that works must not make room for one that never comes, or of which nothing is known.
    fn fits_nowhere(&self, pool: &Pool) -> Option<WaitsFor> {
        let providers = pool.providers.iter().filter_map(|name| self.room.desired.provider(name));
        let mut whys = providers.map(|provider| {
            let fits = self.room.may_ever_fit(&pool.flavor, provider);
            let parts = fits.and_then(|()| self.room.parts(&pool.flavor, provider).map(drop));
            parts.err().filter(|why| !matches!(why, WaitsFor::Quota(_)))
        });
        let first = whys.next()??;
        whys.all(|why| why.is_some()).then_some(first)
    }

    fn in_provider(&self, pool: &Pool, provider: &Provider, counts: &Counts) -> Result<CreateServer, WaitsFor> {
        let purpose = Purpose::Pool(pool.name.clone());
        self.room.may_ever_fit(&pool.flavor, provider)?;
        self.room.place(&purpose, provider)?;
        let (image, back_off) = self.image(pool, provider, counts)?;
        let (flavor, networks) = self.room.parts(&pool.flavor, provider)?;
        let attempt = backoff::next_attempt(back_off, &self.room.observed.this_run, &purpose, &provider.name);
        let marks = BTreeMap::from([
            (Mark::Role, "node".to_owned()),
            (Mark::Pool, pool.name.to_string()),
            (Mark::Target, pool.target.to_string()),
            (Mark::Try, attempt.to_string()),
            (Mark::Spec, Inputs::of(pool, provider).spec),
        ]);
        let (zone, user_data) = (self.zone(pool, provider), pool.user_data.clone());
        self.room.made(Made { purpose, provider, image, flavor, networks, marks, zone, user_data })
    }

    /// What the next node boots from, and the back-off that it is the next try of.
    fn image(&self, pool: &Pool, provider: &Provider, counts: &Counts) -> Result<(&'a Image, Option<&BackOff>), WaitsFor> {
        let name = match &pool.image {
            PoolImage::Glance(name) => {
                let back_off = self.not_backed_off(&key(pool, provider, None))?;
                let image = newest(self.room.images(provider), name)
                    .ok_or_else(|| WaitsFor::NoImage { name: name.clone(), before: None })?;
                return Ok((image, back_off));
            }
            PoolImage::Snapshot(name) => name,
        };
        let mut waits = None;
        // Machines from the newest fail: the pool is kept full from those before it. What only drifted waits for its next try.
        let missing = counts.all_ready() + counts.coming < counts.want;
        for image in self.snapshots.good(name, &provider.name) {
            match self.not_backed_off(&key(pool, provider, Some(image))) {
                Ok(back_off) => return Ok((image, back_off)),
                Err(why) => waits = waits.or(Some(why)),
            }
            if !missing {
                break;
            }
        }
        let says = self.says.get(&(name.clone(), provider.name.clone()));
        Err(waits.unwrap_or_else(|| WaitsFor::NoSnapshot { image: name.clone(), why: says.cloned().unwrap_or_default() }))
    }

    fn not_backed_off(&self, key: &Key) -> Result<Option<&BackOff>, WaitsFor> {
        let Some(back_off) = self.back_offs.get(key) else { return Ok(None) };
        let launched = self.launched.get(key).copied().unwrap_or_default();
        if back_off.allows(self.room.now) > launched { Ok(Some(back_off)) } else { Err(back_off.waits(launched, self.room.now)) }
    }

    /// The zone with the fewest machines of the pool; the first of equals.
    fn zone(&self, pool: &Pool, provider: &Provider) -> Option<String> {
        let machines = |zone: &String| self.zones.get(&(pool.name.clone(), zone.into())).copied().unwrap_or_default();
        provider.availability_zones.iter().min_by_key(|zone| machines(zone)).cloned()
    }

    fn take(&mut self, pool: &Pool, create: &CreateServer) {
        self.room.take(create);
        let from = pool.image.snapshot().map(|_| create.image.clone());
        *self.launched.entry((create.purpose.clone(), create.provider.clone(), from)).or_default() += 1;
        self.newest.insert(pool.name.clone(), self.room.now);
        if let Some(zone) = &create.availability_zone {
            *self.zones.entry((pool.name.clone(), zone.into())).or_default() += 1;
        }
    }
}

fn key(pool: &Pool, provider: &Provider, from: Option<&Image>) -> Key {
    (Purpose::Pool(pool.name.clone()), provider.name.clone(), from.map(|image| image.id.clone()))
}
