//! What Nova is asked for and what its servers do by time: creates, marks, deletions, the machine behind each.

use std::collections::BTreeMap;

use super::cloud::{CloudServer, NewServer, gone};
use super::faults::Fate;
use super::machine::{KeySeed, Machine};
use super::refusal::Refusal;
use super::state::State;
use crate::desired::Clean;
use crate::names::{ImageId, ProviderName, ServerId};
use crate::observed::{Flavor, Metadata, Server, ServerStatus};

impl State {
    /// `POST /servers`.
    pub fn create_server(&mut self, provider: &ProviderName, new: NewServer) -> Result<ServerId, Refusal> {
        let (flavor, networks) = self.cloud(provider)?.check_create(&new)?;
        let name = new.name.clone();
        let id = self.insert_server(provider, new, flavor, networks)?;
        self.log("create-server", name, id.as_str());
        Ok(id)
    }

    /// A server that nobody asked the API for, of the first flavor and network.
    pub(super) fn plant_server(&mut self, provider: &ProviderName, new: NewServer) -> Option<ServerId> {
        let cloud = self.clouds.get(provider)?;
        let flavor = cloud.flavors.first()?.clone();
        let networks = cloud.networks.first().map(|network| network.name.clone()).into_iter().collect();
        self.insert_server(provider, new, flavor, networks).ok()
    }

    fn insert_server(
        &mut self,
        provider: &ProviderName,
        new: NewServer,
        flavor: Flavor,
        networks: Vec<String>,
    ) -> Result<ServerId, Refusal> {
        let id = ServerId::new(self.ids.uuid());
        let fate = self.faults.fate(&new.metadata);
        let image = self.cloud(provider)?.image(&new.image);
        let (image_properties, disk) = image.map(|image| (image.seen.properties.clone(), image.disk.clone())).unwrap_or_default();
        let now = self.clock.now();
        let seen = Server {
            id: id.clone(),
            name: new.name.into(),
            status: ServerStatus::Build,
            task: Some("scheduling".to_owned()),
            created: now,
            updated: Some(now),
            launched: None,
            image: (!new.image.is_empty()).then(|| ImageId::new(new.image)),
            flavor: flavor.name.as_str().into(),
            addresses: Vec::new(),
            availability_zone: Some(new.availability_zone.unwrap_or_else(|| "nova".to_owned()).into()),
            locked: Some(false),
            metadata: new.metadata.into_iter().collect(),
            fault: None,
        };
        let server = CloudServer {
            seen,
            flavor,
            networks,
            security_groups: new.security_groups,
            key_name: new.key_name,
            config_drive: new.config_drive,
            user_data: new.user_data,
            fate,
            built_at: self.clock.after(self.delays.build),
            gone_at: None,
            off_at: None,
            image_properties,
            disk,
        };
        self.cloud(provider)?.servers.insert(id.clone(), server);
        Ok(id)
    }

    /// `DELETE /servers/ID`.
    pub fn delete_server(&mut self, provider: &ProviderName, id: &ServerId) -> Result<(), Refusal> {
        let (now, gone_at) = (self.clock.now(), self.clock.after(self.delays.delete));
        let cloud = self.cloud(provider)?;
        if !cloud.delete(id, now, gone_at)? {
            return Ok(());
        }
        cloud.drop_unsaved(id);
        let seen = cloud.server(id)?.seen.clone();
        self.log("delete-server", seen.name.clone(), id.as_str());
        self.deleted_servers.push(seen);
        let _machine = self.machines.remove(id);
        self.drop_dead_channels("DELETE server");
        Ok(())
    }

    /// All of them or none, and what the server has then.
    pub fn set_marks(
        &mut self,
        provider: &ProviderName,
        id: &ServerId,
        items: &BTreeMap<String, String>,
    ) -> Result<Metadata, Refusal> {
        let now = self.clock.now();
        let all = self.cloud(provider)?.set_metadata(id, items, now)?;
        let detail: Vec<String> = items.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let name = self.server_name(provider, id);
        self.log("set-marks", name, detail.join(" "));
        Ok(all)
    }

    /// Nova takes it in any state, and answers the same when it was so already.
    pub fn set_lock(&mut self, provider: &ProviderName, id: &ServerId, locked: bool) -> Result<(), Refusal> {
        self.cloud(provider)?.server(id)?.seen.locked = Some(locked);
        let name = self.server_name(provider, id);
        self.log(if locked { "lock" } else { "unlock" }, name, id.as_str());
        Ok(())
    }

    pub fn clear_mark(&mut self, provider: &ProviderName, id: &ServerId, key: &str) -> Result<(), Refusal> {
        let now = self.clock.now();
        self.cloud(provider)?.delete_metadata(id, key, now)?;
        let name = self.server_name(provider, id);
        self.log("clear-mark", name, key);
        Ok(())
    }

    fn server_name(&self, provider: &ProviderName, id: &ServerId) -> String {
        let server = self.clouds.get(provider).and_then(|cloud| cloud.servers.get(id));
        server.map(|server| server.seen.name.to_string()).unwrap_or_default()
    }

    pub(super) fn finish_build(&mut self, provider: &ProviderName, id: &ServerId) {
        let now = self.clock.now();
        let Some(fate) = self.clouds.get(provider).and_then(|cloud| cloud.servers.get(id)).map(|server| server.fate.clone())
        else {
            return;
        };
        let address = self.next_address();
        let shown = (!fate.no_address).then(|| address.clone());
        if let Some(server) = self.clouds.get_mut(provider).and_then(|cloud| cloud.servers.get_mut(id)) {
            server.built(shown, now);
            if server.seen.status == ServerStatus::Active {
                self.add_machine(id, address, fate);
            }
        }
    }

    /// A machine was told to power off: it is off a second later, and Nova sees it after its own time.
    pub(super) fn turn_off(&mut self, id: &ServerId, clean: &[Clean]) -> Result<(), Refusal> {
        let (off_at, seen_at) = (self.clock.after(1), self.clock.after(self.delays.off));
        let machine = self.machines.get_mut(id).ok_or_else(|| gone(id))?;
        machine.turn_off(clean, off_at);
        let goes = machine.off_at.is_some();
        let name = self.name_of(id);
        let words: Vec<String> = clean.iter().map(|clean| format!("{clean:?}")).collect();
        self.log("turn-off", name, words.join(" "));
        let mut servers = self.clouds.values_mut().filter_map(|cloud| cloud.servers.get_mut(id));
        if let Some(server) = servers.next().filter(|_| goes) {
            server.off_at = Some(seen_at);
        }
        Ok(())
    }

    /// Machines that are off by now, and servers whose machine Nova sees off; not while Nova does something with them.
    pub(super) fn step_power(&mut self, provider: &ProviderName) {
        let now = self.clock.now();
        for machine in self.machines.values_mut().filter(|machine| machine.off_at.is_some_and(|at| at <= now)) {
            machine.power(false, now, now);
        }
        let servers = self.clouds.get_mut(provider).into_iter().flat_map(|cloud| cloud.servers.values_mut());
        for server in servers.filter(|server| server.off_at.is_some_and(|at| at <= now) && server.seen.task.is_none()) {
            server.off_at = None;
            if server.seen.status == ServerStatus::Active {
                server.seen.status = ServerStatus::Shutoff;
                server.seen.updated = Some(now);
            }
        }
    }

    pub(super) fn add_machine(&mut self, id: &ServerId, address: String, fate: Fate) {
        let key_seed = KeySeed(self.ids.bytes());
        let servers = self.clouds.values().filter_map(|cloud| cloud.servers.get(id));
        let disk = servers.map(|server| server.disk.clone()).next().unwrap_or_default();
        let machine = Machine {
            server: id.clone(),
            address,
            key_seed,
            host_key: (self.host_key_of)(&key_seed),
            on: true,
            ssh_at: self.clock.after(self.delays.ssh),
            fate,
            disk,
            agent: None,
            off_at: None,
        };
        self.machines.insert(id.clone(), machine);
    }
}
