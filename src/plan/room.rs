//! What is left to give in a pass, by every limit there is, and what a create call says. Who gets it is `launch`'s, and for
//! builders `snapshot`'s.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::need::Load;
use super::unmet::few;
use super::{CreateServer, WaitsFor, floating};
use crate::desired::units::since;
use crate::desired::{Desired, FlavorChoice, Provider, UserData, near};
use crate::names::{ImageName, NetworkId, NodeName, ProviderName, Purpose};
use crate::node::name;
use crate::observed::{Answer, Ask, Flavor, Headroom, Image, Mark, Network, Observed, Quota, Refused};

#[derive(Debug)]
pub struct Room<'a> {
    pub desired: &'a Desired,
    pub observed: &'a Observed,
    pub now: Timestamp,
    loads: BTreeMap<ProviderName, Load>,
    quotas: BTreeMap<ProviderName, Quota>,
    /// Of `max-launches-per-run`.
    per_run: u32,
    /// The build that a slot is kept for.
    kept: BTreeMap<ProviderName, ImageName>,
    /// Taken ones; gathered for the first new one, which most passes do not have.
    names: OnceCell<BTreeSet<NodeName>>,
}

/// What a new server is made of, beside what its provider says.
#[derive(Debug)]
pub struct Made<'m> {
    pub purpose: Purpose,
    pub provider: &'m Provider,
    pub image: &'m Image,
    pub flavor: &'m Flavor,
    pub networks: Vec<NetworkId>,
    /// Those that only its purpose decides.
    pub marks: BTreeMap<Mark, String>,
    pub zone: Option<String>,
    pub user_data: Option<UserData>,
}

impl<'a> Room<'a> {
    pub fn new(desired: &'a Desired, observed: &'a Observed, loads: BTreeMap<ProviderName, Load>, now: Timestamp) -> Self {
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
            per_run: desired.controller.limits.max_launches_per_run.saturating_sub(launched),
            kept: BTreeMap::new(),
            names: OnceCell::new(),
        }
    }

    /// A slot of the provider is for this build alone, until it is there.
    pub fn keep_slot(&mut self, provider: &ProviderName, image: &ImageName) {
        self.kept.insert(provider.clone(), image.clone());
    }

    /// Whether anything may be launched at all. `paused`: the pool's own reason.
    pub fn may_launch(&self, paused: Option<&String>) -> Result<(), WaitsFor> {
        match paused.or(self.desired.controller.paused.as_ref()) {
            Some(reason) => Err(WaitsFor::Paused(reason.clone())),
            None => Ok(()),
        }
    }

    pub fn has_launches_left(&self) -> Result<(), WaitsFor> {
        let max = self.desired.controller.limits.max_launches_per_run;
        if self.per_run > 0 { Ok(()) } else { Err(WaitsFor::LaunchesPerRun { max }) }
    }

    /// A free slot of the provider.
    pub fn place(&self, purpose: &Purpose, provider: &Provider) -> Result<(), WaitsFor> {
        let this_run = &self.observed.this_run;
        let refused = Refused::Create(purpose.clone(), provider.name.clone());
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
        let last = load.servers + 1 >= provider.max_servers || load.launching + 1 >= provider.max_concurrent_launches;
        match self.kept.get(&provider.name).filter(|_| last) {
            Some(image) => Err(WaitsFor::KeptForBuild(image.clone())),
            None => Ok(()),
        }
    }

    /// What no room helps: asked before there is any, so that nothing is kept free or taken down for it.
    pub fn may_ever_fit(&self, choice: &FlavorChoice, provider: &Provider) -> Result<(), WaitsFor> {
        let (Ok(flavor), Some(quota)) = (self.flavor(choice, provider), self.quotas.get(&provider.name)) else { return Ok(()) };
        let mut beyond = needs(flavor, *quota).into_iter().filter_map(|(what, headroom, need)| {
            let limit = headroom.limit.filter(|limit| *limit < need)?;
            Some(WaitsFor::BeyondQuota { flavor: flavor.name.clone(), what, need, limit })
        });
        beyond.next().map_or(Ok(()), Err)
    }

    /// Flavor and networks, within the quota.
    pub fn parts(&self, choice: &FlavorChoice, provider: &Provider) -> Result<(&'a Flavor, Vec<NetworkId>), WaitsFor> {
        let flavor = self.flavor(choice, provider)?;
        let networks = self.networks(provider)?;
        self.quota(flavor, provider)?;
        Ok((flavor, networks))
    }

    /// Not asked yet, or not answered: only the first is for the next pass.
    fn unseen(&self, ask: &Ask, provider: &Provider) -> WaitsFor {
        if self.observed.is_gap(ask) { WaitsFor::Gap(provider.name.to_string()) } else { WaitsFor::NextPass }
    }

    /// What its provider's Glance shows; nothing behind a gap.
    pub fn images(&self, provider: &Provider) -> &'a [Image] {
        match self.observed.lists.providers.get(&provider.name) {
            Some(Ok(list)) => &list.images,
            Some(Err(_)) | None => &[],
        }
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
            let names = || flavors.iter().map(|flavor| flavor.name.as_str());
            WaitsFor::NoFlavor { near: near(&name, names()).map(str::to_owned), names: few(names()), name }
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
        match needs(flavor, *quota).into_iter().find(|(_, headroom, need)| headroom.left() < *need) {
            None => Ok(()),
            Some((what, headroom, need)) => {
                let limit = headroom.limit.unwrap_or_default();
                Err(WaitsFor::Quota(format!("{what}: {} of {limit} used, {need} more needed", headroom.used)))
            }
        }
    }

    /// The whole create call.
    pub fn made(&self, made: Made<'_>) -> Result<CreateServer, WaitsFor> {
        let Made { purpose, provider, image, flavor, networks, mut marks, zone, user_data } = made;
        let taken = self.names.get_or_init(|| taken_names(self.observed));
        let controller = &self.desired.controller.id;
        let name = name::next(controller, purpose.as_str(), self.now, taken).ok_or(WaitsFor::NextPass)?;
        marks.extend([(Mark::Controller, controller.to_string()), (Mark::Base, image.id.to_string())]);
        Ok(CreateServer {
            provider: provider.name.clone(),
            purpose,
            name,
            image: image.id.clone(),
            image_name: image.name.clone(),
            image_age: since(image.created, self.now),
            flavor: flavor.id.clone(),
            flavor_name: flavor.name.clone(),
            networks,
            security_groups: provider.security_groups.clone(),
            availability_zone: zone,
            key_name: provider.key_name.clone(),
            config_drive: provider.config_drive,
            user_data,
            marks,
        })
    }

    pub fn take(&mut self, create: &CreateServer) {
        let load = self.loads.entry(create.provider.clone()).or_default();
        load.servers += 1;
        load.launching += 1;
        self.per_run = self.per_run.saturating_sub(1);
        if let Some(names) = self.names.get_mut() {
            names.insert(create.name.clone());
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

fn needs(flavor: &Flavor, quota: Quota) -> [(&'static str, Headroom, u64); 3] {
    [("instances", quota.instances, 1), ("cores", quota.cores, flavor.vcpus), ("MiB of RAM", quota.ram, flavor.ram)]
}

/// By id or name, as people write it.
pub fn network(seen: &[Network], wanted: &str) -> Result<NetworkId, WaitsFor> {
    let found = seen.iter().find(|network| network.id.as_str() == wanted || network.name == wanted);
    found.map(|network| network.id.clone()).ok_or_else(|| {
        let names = || seen.iter().map(|network| network.name.as_str());
        WaitsFor::NoNetwork { name: wanted.to_owned(), near: near(wanted, names()).map(str::to_owned), names: few(names()) }
    })
}

/// Names that any list shows, servers' and agents', and those this run gave out.
fn taken_names(observed: &Observed) -> BTreeSet<NodeName> {
    let providers = || observed.lists.providers.values().flatten();
    let servers = providers().flat_map(|list| &list.servers).map(|server| server.name.as_str());
    // A snapshot has its builder's name, and outlives it.
    let images = providers().flat_map(|list| &list.images).map(|image| image.name.as_str());
    let agents = observed.lists.targets.values().flatten().flat_map(|list| &list.computers).map(|agent| agent.name.as_str());
    servers.chain(images).chain(agents).map(NodeName::from).chain(observed.this_run.names.iter().cloned()).collect()
}
