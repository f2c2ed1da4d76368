//! Nova's servers and what they are made of, with Nova's rules. Machines behind them are `machine`'s.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use secrecy::SecretString;

use super::disk::Disk;
use super::faults::{BuildFate, Fate};
use super::floating::CloudFloatingIp;
use super::images::CloudImage;
use super::refusal::Refusal;
use crate::desired::Family;
use crate::names::{FlavorId, FloatingIpId, NetworkId, ServerId};
use crate::observed::marks::MAX_VALUE;
use crate::observed::{Address, AddressKind, Flavor, Headroom, Metadata, Network, Quota, Server, ServerStatus};

#[derive(Debug, Clone)]
pub struct Cloud {
    pub project: String,
    pub project_id: String,
    pub user: String,
    pub user_id: String,
    pub servers: BTreeMap<ServerId, CloudServer>,
    pub images: Vec<CloudImage>,
    pub flavors: Vec<Flavor>,
    pub networks: Vec<Network>,
    /// Of the networks, those that floating IPs are of.
    pub external: BTreeSet<NetworkId>,
    pub floating_ips: BTreeMap<FloatingIpId, CloudFloatingIp>,
    pub limits: Limits,
    /// Servers a page has at most: Nova's `max_limit`.
    pub page: usize,
}

/// None: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    pub instances: Option<u64>,
    pub cores: Option<u64>,
    /// MiB.
    pub ram: Option<u64>,
    /// Neutron's.
    pub floating_ips: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct CloudServer {
    pub seen: Server,
    pub flavor: Flavor,
    /// The networks' names.
    pub networks: Vec<String>,
    pub security_groups: Vec<String>,
    pub key_name: Option<String>,
    pub config_drive: bool,
    pub user_data: Option<SecretString>,
    pub fate: Fate,
    /// When BUILD ends.
    pub built_at: Timestamp,
    /// When a server that is being deleted is gone.
    pub gone_at: Option<Timestamp>,
    /// When Nova sees that its machine is off.
    pub off_at: Option<Timestamp>,
    /// Of the image, when it was booted: what a snapshot of it inherits.
    pub image_properties: BTreeMap<String, String>,
    /// What its machine begins with.
    pub disk: Disk,
}

/// What a create call asks for, names and ids as given.
#[derive(Debug, Clone, Default)]
pub struct NewServer {
    pub name: String,
    pub image: String,
    pub flavor: String,
    /// Ids.
    pub networks: Vec<String>,
    pub security_groups: Vec<String>,
    pub availability_zone: Option<String>,
    pub key_name: Option<String>,
    pub config_drive: bool,
    pub user_data: Option<SecretString>,
    pub metadata: BTreeMap<String, String>,
}

/// Nova's default `metadata_items`.
const MAX_ITEMS: usize = 128;

impl Cloud {
    pub fn quota(&self) -> Quota {
        let (mut instances, mut cores, mut ram) = (0, 0, 0);
        for server in self.servers.values() {
            instances += 1;
            cores += server.flavor.vcpus;
            ram += server.flavor.ram;
        }
        Quota {
            instances: Headroom { used: instances, limit: self.limits.instances },
            cores: Headroom { used: cores, limit: self.limits.cores },
            ram: Headroom { used: ram, limit: self.limits.ram },
        }
    }

    /// The checks of `POST /servers`, in Nova's order; what it says yes to.
    pub fn check_create(&self, new: &NewServer) -> Result<(Flavor, Vec<String>), Refusal> {
        check_metadata(&new.metadata, 0)?;
        let image = self.image(&new.image).ok_or_else(|| Refusal::new(400, "Can not find requested image"))?;
        if image.seen.status != "active" {
            return Err(Refusal::new(400, format!("Image {} is not active.", image.seen.id)));
        }
        let flavor = self.flavors.iter().find(|flavor| flavor.id.as_str() == new.flavor);
        let flavor = flavor.ok_or_else(|| Refusal::new(400, format!("Flavor {} could not be found.", new.flavor)))?.clone();
        let mut networks = Vec::new();
        for id in &new.networks {
            let network = self.networks.iter().find(|network| network.id.as_str() == id);
            let network = network.ok_or_else(|| Refusal::new(400, format!("Network {id} could not be found.")))?;
            networks.push(network.name.clone());
        }
        if networks.is_empty() {
            networks.extend(self.networks.first().map(|network| network.name.clone()));
        }
        self.check_quota(&flavor)?;
        Ok((flavor, networks))
    }

    fn check_quota(&self, flavor: &Flavor) -> Result<(), Refusal> {
        let quota = self.quota();
        let wants = [("instances", quota.instances, 1), ("cores", quota.cores, flavor.vcpus), ("ram", quota.ram, flavor.ram)];
        for (what, headroom, wanted) in wants {
            if let Some(limit) = headroom.limit.filter(|_| headroom.left() < wanted) {
                let used = headroom.used;
                return Err(Refusal::new(
                    403,
                    format!("Quota exceeded for {what}: Requested {wanted}, but already used {used} of {limit} {what}"),
                ));
            }
        }
        Ok(())
    }

    pub fn server(&mut self, id: &ServerId) -> Result<&mut CloudServer, Refusal> {
        self.servers.get_mut(id).ok_or_else(|| gone(id))
    }

    /// `POST /servers/ID/metadata`: all of them or none.
    pub fn set_metadata(&mut self, id: &ServerId, items: &BTreeMap<String, String>, now: Timestamp) -> Result<Metadata, Refusal> {
        let server = self.server(id)?;
        server.check_metadata_state()?;
        let others = server.seen.metadata.all().keys().filter(|key| !items.contains_key(**key)).count();
        check_metadata(items, others)?;
        server.seen.metadata.extend(items);
        server.seen.updated = Some(now);
        Ok(server.seen.metadata.clone())
    }

    pub fn delete_metadata(&mut self, id: &ServerId, key: &str, now: Timestamp) -> Result<(), Refusal> {
        let server = self.server(id)?;
        if !server.seen.metadata.contains_key(key) {
            return Err(Refusal::new(404, "Metadata item was not found"));
        }
        server.check_metadata_state()?;
        server.seen.metadata.remove(key);
        server.seen.updated = Some(now);
        Ok(())
    }

    /// `DELETE /servers/ID`. False: it was being deleted already.
    pub fn delete(&mut self, id: &ServerId, now: Timestamp, gone_at: Timestamp) -> Result<bool, Refusal> {
        let server = self.server(id)?;
        server.check_unlocked()?;
        let first = server.gone_at.is_none();
        if first {
            server.seen.task = Some("deleting".to_owned());
            server.seen.updated = Some(now);
            server.gone_at = Some(gone_at);
        }
        Ok(first)
    }

    /// The ids of servers whose BUILD is over, and of those that are gone by now.
    pub fn due(&self, now: Timestamp) -> (Vec<ServerId>, Vec<ServerId>) {
        let of = |due: &dyn Fn(&CloudServer) -> bool| {
            self.servers.iter().filter(|(_, server)| due(server)).map(|(id, _)| id.clone()).collect()
        };
        let built = of(&|server| {
            server.seen.status == ServerStatus::Build
                && server.built_at <= now
                && server.gone_at.is_none()
                && server.fate.build != BuildFate::Stuck
        });
        (built, of(&|server| server.gone_at.is_some_and(|at| at <= now)))
    }
}

impl CloudServer {
    fn check_unlocked(&self) -> Result<(), Refusal> {
        if self.seen.locked == Some(true) {
            return Err(Refusal::new(409, format!("Instance {} is locked", self.seen.id)));
        }
        Ok(())
    }

    fn check_metadata_state(&self) -> Result<(), Refusal> {
        self.check_unlocked()?;
        let takes = self.seen.task.is_some() || self.seen.takes_metadata();
        self.check_state("update_instance_metadata", takes)
    }

    /// Nova saves a locked server, too.
    pub(super) fn check_create_image(&self) -> Result<(), Refusal> {
        use ServerStatus::{Active, Paused, Shutoff, Suspended};
        self.check_state("createImage", matches!(self.seen.status, Active | Paused | Shutoff | Suspended))
    }

    fn check_state(&self, what: &str, allowed: bool) -> Result<(), Refusal> {
        let in_the_way = match &self.seen.task {
            _ if !allowed => format!("vm_state {}", vm_state(&self.seen.status)),
            Some(task) => format!("task_state {task}"),
            None => return Ok(()),
        };
        Err(Refusal::new(409, format!("Cannot '{what}' instance {} while it is in {in_the_way}", self.seen.id)))
    }

    /// BUILD is over: ACTIVE with addresses, or ERROR.
    pub fn built(&mut self, address: Option<String>, now: Timestamp) {
        self.seen.task = None;
        self.seen.updated = Some(now);
        if let BuildFate::Error(fault) = &self.fate.build {
            self.seen.status = ServerStatus::Error;
            self.seen.fault = Some(fault.clone());
            return;
        }
        self.seen.status = ServerStatus::Active;
        self.seen.launched = Some(now);
        let network = self.networks.first().cloned().unwrap_or_default();
        self.seen.addresses = address
            .into_iter()
            .map(|address| Address {
                network: network.as_str().into(),
                address: address.into(),
                family: Family::V4,
                kind: AddressKind::Fixed,
            })
            .collect();
    }
}

/// Nova's `OS-EXT-STS:vm_state` of a status.
pub fn vm_state(status: &ServerStatus) -> &'static str {
    match status {
        ServerStatus::Active => "active",
        ServerStatus::Build => "building",
        ServerStatus::Deleted => "deleted",
        ServerStatus::Error => "error",
        ServerStatus::Paused => "paused",
        ServerStatus::Shutoff => "stopped",
        ServerStatus::SoftDeleted => "soft-delete",
        ServerStatus::Suspended => "suspended",
        ServerStatus::Other(_) => "shelved",
    }
}

pub fn gone(id: &ServerId) -> Refusal {
    Refusal::new(404, format!("Instance {id} could not be found."))
}

fn check_metadata(items: &BTreeMap<String, String>, others: usize) -> Result<(), Refusal> {
    if items.len() + others > MAX_ITEMS {
        return Err(Refusal::new(403, format!("Maximum number of metadata items exceeds {MAX_ITEMS}")));
    }
    for (key, value) in items {
        if key.is_empty() || key.chars().count() > MAX_VALUE || value.chars().count() > MAX_VALUE {
            return Err(Refusal::new(400, format!("Invalid input for field/attribute {key}. Value is too long")));
        }
    }
    Ok(())
}

pub fn flavor(name: &str, vcpus: u64, ram: u64) -> Flavor {
    Flavor { id: FlavorId::from(name), name: name.to_owned(), vcpus, ram }
}

pub fn network(id: String, name: &str) -> Network {
    Network { id: NetworkId::new(id), name: name.to_owned() }
}
