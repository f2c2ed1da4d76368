//! New servers: who gets scarce room, where, and everything that the create call says.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::backoff::{self, BackOff};
use super::floating;
use super::need::{Counts, Load};
use super::spec::Inputs;
use super::{Act, Action, Because, Chain, CreateServer, Expects, Subject, Verb, WaitsFor};
use crate::desired::units::since;
use crate::desired::{Desired, FlavorChoice, Pool, PoolImage, Provider, near};
use crate::names::{NetworkId, NodeName, PoolName, ProviderName, Purpose};
use crate::node::{Joined, name};
use crate::observed::image::newest;
use crate::observed::{Answer, Ask, Flavor, Image, Mark, Network, Observed, Quota, Refused};

/// What a pass launches, and why pools get no more.
#[derive(Debug, Default)]
pub struct Launches {
    pub chains: Vec<Chain>,
    pub waits: BTreeMap<PoolName, WaitsFor>,
}

/// Slots go one by one to the pool with the lowest (ready + coming) / min-ready; ties to the pool whose newest machine is the
/// oldest (none: first), then by name: a function of what is seen, so that no pool starves without a history.
pub fn launches(room: &mut Room<'_>, counts: &BTreeMap<PoolName, Counts>) -> Launches {
    let mut have: BTreeMap<&PoolName, Counts> = counts.iter().map(|(pool, counts)| (pool, *counts)).collect();
    let mut result = Launches::default();
    let mut open: BTreeSet<&PoolName> = have.iter().filter(|(_, counts)| counts.need() > 0).map(|(pool, _)| *pool).collect();
    while let Some(name) = open.iter().copied().min_by(|a, b| room.before(a, b, &have)) {
        let Some((pool, counts)) = room.desired.pools.get(name).zip(have.get_mut(name)) else { break };
        match room.slot(pool, counts) {
            Ok(create) => {
                let because = Because::Short { have: counts.have(), want: counts.want };
                room.take(&create);
                counts.coming += 1;
                result.chains.push(chain(create, because));
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

fn chain(create: CreateServer, because: Because) -> Chain {
    let subject =
        Subject { pool: create.purpose.pool().cloned(), image: create.purpose.image().cloned(), name: create.name.clone() };
    let act = Act::CreateServer(Box::new(create));
    Chain { subject, verb: Verb::Create, because, times: None, actions: vec![Action { act, expects: Expects::default() }] }
}

/// What is left to give in this pass.
#[derive(Debug)]
pub struct Room<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    now: Timestamp,
    loads: BTreeMap<ProviderName, Load>,
    quotas: BTreeMap<ProviderName, Quota>,
    back_offs: &'a BTreeMap<(PoolName, ProviderName), BackOff>,
    launched_from: BTreeMap<(PoolName, ProviderName), u32>,
    /// Of `max-launches-per-run`.
    per_run: u32,
    newest: BTreeMap<PoolName, Timestamp>,
    zones: BTreeMap<(PoolName, String), u32>,
    /// Taken ones; gathered for the first new one, which most passes do not have.
    names: OnceCell<BTreeSet<NodeName>>,
}

impl<'a> Room<'a> {
    pub fn new(
        desired: &'a Desired,
        observed: &'a Observed,
        joined: &Joined<'_>,
        loads: BTreeMap<ProviderName, Load>,
        back_offs: &'a BTreeMap<(PoolName, ProviderName), BackOff>,
        now: Timestamp,
    ) -> Self {
        let mut newest: BTreeMap<PoolName, Timestamp> = BTreeMap::new();
        let mut zones: BTreeMap<(PoolName, String), u32> = BTreeMap::new();
        for node in &joined.nodes {
            let Some(pool) = node.pool_name() else { continue };
            let at = newest.entry(pool.clone()).or_insert(node.server.created);
            *at = (*at).max(node.server.created);
            if let Some(zone) = &node.server.availability_zone {
                *zones.entry((pool.clone(), zone.clone())).or_default() += 1;
            }
        }
        let quotas =
            desired.controller.providers.keys().filter_map(|provider| match observed.answer(&Ask::Limits(provider.clone())) {
                Some(Answer::Limits(quota)) => Some((provider.clone(), *quota)),
                _ => None,
            });
        let launched = u32::try_from(observed.this_run.launched.len()).unwrap_or(u32::MAX);
        Self {
            desired,
            observed,
            now,
            loads,
            quotas: quotas.collect(),
            back_offs,
            launched_from: BTreeMap::new(),
            per_run: desired.controller.limits.max_launches_per_run.saturating_sub(launched),
            newest,
            zones,
            names: OnceCell::new(),
        }
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
    fn slot(&self, pool: &'a Pool, counts: &Counts) -> Result<CreateServer, WaitsFor> {
        if let Some(reason) = pool.paused.as_ref().or(self.desired.controller.paused.as_ref()) {
            return Err(WaitsFor::Paused(reason.clone()));
        }
        if let Some(gap) = pool.providers.iter().find(|name| !matches!(self.observed.lists.providers.get(*name), Some(Ok(_)))) {
            return Err(WaitsFor::Gap(gap.to_string()));
        }
        if counts.servers() >= counts.max {
            return Err(WaitsFor::PoolFull { max: counts.max });
        }
        if self.per_run == 0 {
            return Err(WaitsFor::LaunchesPerRun { max: self.desired.controller.limits.max_launches_per_run });
        }
        let mut waits = None;
        for name in &pool.providers {
            let Some(provider) = self.desired.provider(name) else { continue };
            match self.in_provider(pool, provider) {
                Ok(create) => return Ok(create),
                // The first provider is the preferred one: what it waits for is what a person wants to know.
                Err(why) => waits = waits.or(Some(why)),
            }
        }
        Err(waits.unwrap_or(WaitsFor::NextPass))
    }

    fn in_provider(&self, pool: &Pool, provider: &Provider) -> Result<CreateServer, WaitsFor> {
        let refused = Refused::Create(Purpose::Pool(pool.name.clone()), provider.name.clone());
        let this_run = &self.observed.this_run;
        let said = this_run.refused.get(&refused).or_else(|| floating::refused(this_run, &provider.name));
        if let Some(said) = said {
            return Err(WaitsFor::Refused(said.clone()));
        }
        let load = self.loads.get(&provider.name).copied().unwrap_or_default();
        if load.servers >= provider.max_servers {
            return Err(WaitsFor::ProviderFull { max: provider.max_servers });
        }
        if load.launching >= provider.max_concurrent_launches {
            return Err(WaitsFor::LaunchesAtATime { max: provider.max_concurrent_launches });
        }
        let key = (pool.name.clone(), provider.name.clone());
        let back_off = self.back_offs.get(&key);
        if let Some(back_off) = back_off {
            let launched = self.launched_from.get(&key).copied().unwrap_or_default();
            if back_off.allows(self.now) <= launched {
                return Err(back_off.waits(launched, self.now));
            }
        }
        let image = self.image(pool, provider)?;
        let flavor = self.flavor(&pool.flavor, provider)?;
        let networks = self.networks(provider)?;
        self.quota(flavor, provider)?;
        let attempt = backoff::next_attempt(back_off, &self.observed.this_run, &pool.name, &provider.name);
        self.create(pool, provider, image, flavor, networks, attempt)
    }

    /// Not asked yet, or not answered: only the first is for the next pass.
    fn unseen(&self, ask: &Ask, provider: &Provider) -> WaitsFor {
        if self.observed.is_gap(ask) { WaitsFor::Gap(provider.name.to_string()) } else { WaitsFor::NextPass }
    }

    fn image(&self, pool: &Pool, provider: &Provider) -> Result<&'a Image, WaitsFor> {
        let name = match &pool.image {
            PoolImage::Glance(name) => name.as_str(),
            PoolImage::Snapshot(name) => name.as_str(),
        };
        let images = match self.observed.lists.providers.get(&provider.name) {
            Some(Ok(list)) => list.images.as_slice(),
            Some(Err(_)) | None => &[],
        };
        newest(images, name).ok_or_else(|| WaitsFor::NoImage(name.to_owned()))
    }

    fn flavor(&self, choice: &FlavorChoice, provider: &Provider) -> Result<&'a Flavor, WaitsFor> {
        let ask = Ask::Flavors(provider.name.clone());
        let Some(Answer::Flavors(flavors)) = self.observed.answer(&ask) else {
            return Err(self.unseen(&ask, provider));
        };
        let found = match choice {
            FlavorChoice::Name(name) => flavors.iter().find(|flavor| flavor.name == *name),
            FlavorChoice::AtLeast { min_ram, name_contains } => flavors
                .iter()
                .filter(|flavor| flavor.ram >= u64::from(*min_ram) && flavor.name.contains(name_contains.as_str()))
                .min_by(|a, b| a.ram.cmp(&b.ram).then_with(|| a.name.cmp(&b.name))),
        };
        found.ok_or_else(|| {
            let name = choice.to_string();
            let near = near(&name, flavors.iter().map(|flavor| flavor.name.as_str())).map(str::to_owned);
            WaitsFor::NoFlavor { name, near }
        })
    }

    fn networks(&self, provider: &Provider) -> Result<Vec<NetworkId>, WaitsFor> {
        if provider.networks.is_empty() {
            return Ok(Vec::new());
        }
        let ask = Ask::Networks(provider.name.clone());
        let Some(Answer::Networks(seen)) = self.observed.answer(&ask) else {
            return Err(self.unseen(&ask, provider));
        };
        provider.networks.iter().map(|wanted| network(seen, wanted)).collect()
    }

    fn quota(&self, flavor: &Flavor, provider: &Provider) -> Result<(), WaitsFor> {
        let Some(quota) = self.quotas.get(&provider.name) else {
            return Err(self.unseen(&Ask::Limits(provider.name.clone()), provider));
        };
        let wanted =
            [("instances", quota.instances, 1), ("cores", quota.cores, flavor.vcpus), ("MiB of RAM", quota.ram, flavor.ram)];
        match wanted.into_iter().find(|(_, headroom, need)| headroom.left() < *need) {
            None => Ok(()),
            Some((what, headroom, need)) => {
                let limit = headroom.limit.unwrap_or_default();
                Err(WaitsFor::Quota(format!("{what}: {} of {limit} used, {need} more needed", headroom.used)))
            }
        }
    }

    fn create(
        &self,
        pool: &Pool,
        provider: &Provider,
        image: &Image,
        flavor: &Flavor,
        networks: Vec<NetworkId>,
        attempt: u32,
    ) -> Result<CreateServer, WaitsFor> {
        let taken = self.names.get_or_init(|| taken_names(self.observed));
        let name = name::next(&self.desired.controller.id, &pool.name, self.now, taken).ok_or(WaitsFor::NextPass)?;
        let marks = BTreeMap::from([
            (Mark::Controller, self.desired.controller.id.to_string()),
            (Mark::Role, "node".to_owned()),
            (Mark::Pool, pool.name.to_string()),
            (Mark::Target, pool.target.to_string()),
            (Mark::Base, image.id.to_string()),
            (Mark::Try, attempt.to_string()),
            (Mark::Spec, Inputs::of(pool, provider).spec),
        ]);
        Ok(CreateServer {
            provider: provider.name.clone(),
            purpose: Purpose::Pool(pool.name.clone()),
            name,
            image: image.id.clone(),
            image_name: image.name.clone(),
            image_age: since(image.created, self.now),
            flavor: flavor.id.clone(),
            flavor_name: flavor.name.clone(),
            networks,
            security_groups: provider.security_groups.clone(),
            availability_zone: self.zone(pool, provider),
            key_name: provider.key_name.clone(),
            config_drive: provider.config_drive,
            user_data: pool.user_data.clone(),
            marks,
        })
    }

    /// The zone with the fewest machines of the pool; the first of equals.
    fn zone(&self, pool: &Pool, provider: &Provider) -> Option<String> {
        let machines = |zone: &String| self.zones.get(&(pool.name.clone(), zone.clone())).copied().unwrap_or_default();
        provider.availability_zones.iter().min_by_key(|zone| machines(zone)).cloned()
    }

    fn take(&mut self, create: &CreateServer) {
        let load = self.loads.entry(create.provider.clone()).or_default();
        load.servers += 1;
        load.launching += 1;
        self.per_run = self.per_run.saturating_sub(1);
        if let Some(names) = self.names.get_mut() {
            names.insert(create.name.clone());
        }
        if let Purpose::Pool(pool) = &create.purpose {
            *self.launched_from.entry((pool.clone(), create.provider.clone())).or_default() += 1;
            self.newest.insert(pool.clone(), self.now);
            if let Some(zone) = &create.availability_zone {
                *self.zones.entry((pool.clone(), zone.clone())).or_default() += 1;
            }
        }
        let flavors = match self.observed.answer(&Ask::Flavors(create.provider.clone())) {
            Some(Answer::Flavors(flavors)) => flavors.as_slice(),
            _ => &[],
        };
        let flavor = flavors.iter().find(|flavor| flavor.id == create.flavor);
        if let (Some(quota), Some(flavor)) = (self.quotas.get_mut(&create.provider), flavor) {
            quota.instances.used += 1;
            quota.cores.used += flavor.vcpus;
            quota.ram.used += flavor.ram;
        }
    }
}

/// By id or name, as people write it.
pub fn network(seen: &[Network], wanted: &str) -> Result<NetworkId, WaitsFor> {
    let found = seen.iter().find(|network| network.id.as_str() == wanted || network.name == wanted);
    found.map(|network| network.id.clone()).ok_or_else(|| {
        let near = near(wanted, seen.iter().map(|network| network.name.as_str())).map(str::to_owned);
        WaitsFor::NoNetwork { name: wanted.to_owned(), near }
    })
}

/// Names that any list shows, servers' and agents', and those this run gave out.
fn taken_names(observed: &Observed) -> BTreeSet<NodeName> {
    let servers = observed.lists.providers.values().flatten().flat_map(|list| &list.servers).map(|server| server.name.as_str());
    let agents = observed.lists.targets.values().flatten().flat_map(|list| &list.computers).map(|agent| agent.name.as_str());
    servers.chain(agents).map(NodeName::from).chain(observed.this_run.names.iter().cloned()).collect()
}
