//! What Nova is asked for and what its servers do by time: creates, marks, deletions, the machine behind each.

use std::collections::BTreeMap;

use super::cloud::{CloudServer, NewServer};
use super::faults::Fate;
use super::machine::{KeySeed, Machine};
use super::refusal::Refusal;
use super::state::State;
use crate::names::{ImageId, ProviderName, ServerId};
use crate::observed::{Flavor, Mark, Server, ServerStatus, WorkspaceSight};

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
        let fate = self.faults.fate(new.metadata.get(Mark::Pool.key()).map(String::as_str));
        let now = self.clock.now();
        let seen = Server {
            id: id.clone(),
            name: new.name,
            status: ServerStatus::Build,
            task: Some("scheduling".to_owned()),
            created: now,
            launched: None,
            image: (!new.image.is_empty()).then(|| ImageId::new(new.image)),
            flavor: flavor.name.clone(),
            addresses: Vec::new(),
            availability_zone: new.availability_zone.or_else(|| Some("nova".to_owned())),
            locked: Some(false),
            metadata: new.metadata,
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
            updated: now,
            fate,
            built_at: self.clock.after(self.delays.build),
            gone_at: None,
        };
        self.cloud(provider)?.servers.insert(id.clone(), server);
        Ok(id)
    }

    /// `DELETE /servers/ID`.
    pub fn delete_server(&mut self, provider: &ProviderName, id: &ServerId) -> Result<(), Refusal> {
        let gone_at = self.clock.after(self.delays.delete);
        let cloud = self.cloud(provider)?;
        if !cloud.delete(id, gone_at)? {
            return Ok(());
        }
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
    ) -> Result<BTreeMap<String, String>, Refusal> {
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
        server.map(|server| server.seen.name.clone()).unwrap_or_default()
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

    pub(super) fn add_machine(&mut self, id: &ServerId, address: String, fate: Fate) {
        let key_seed = KeySeed(self.ids.bytes());
        let machine = Machine {
            address,
            key_seed,
            host_key: (self.host_key_of)(&key_seed),
            on: true,
            ssh_at: self.clock.after(self.delays.ssh),
            fate,
            scripts: None,
            runs: BTreeMap::new(),
            agent: None,
            workspace: WorkspaceSight::Empty,
        };
        self.machines.insert(id.clone(), machine);
    }
}
