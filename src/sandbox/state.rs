//! The whole state, and what happens in it: creates, deletions, and what each second brings.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use super::clock::{Clock, Ids};
use super::cloud::{Cloud, CloudServer, Limits, NewServer, flavor};
use super::faults::{Delays, Drop, Fate, Faults};
use super::generation::Generation;
use super::jenkins::{Jenkins, Node};
use super::machine::{KeySeed, Machine, text_key};
use super::refusal::Refusal;
use super::serve_ssh::Doors;
use crate::names::{ImageId, NodeName, ProviderName, ServerId, TargetName};
use crate::observed::{Flavor, HostKey, Mark, Server, ServerStatus, WorkspaceSight};

#[derive(Debug)]
pub struct State {
    pub clock: Clock,
    pub ids: Ids,
    pub clouds: BTreeMap<ProviderName, Cloud>,
    pub jenkins: BTreeMap<TargetName, Jenkins>,
    pub machines: BTreeMap<ServerId, Machine>,
    pub delays: Delays,
    pub faults: Faults,
    /// Every changing call that was carried out, in order.
    pub log: Vec<Change>,
    /// Builds that a deletion of their agent or server killed: always a fault of who deleted.
    pub killed_builds: Vec<KilledBuild>,
    /// Every server as it was when its deletion was accepted.
    pub deleted_servers: Vec<Server>,
    /// Makes the public host key from a machine's seed.
    pub host_key_of: fn(&KeySeed) -> HostKey,
    /// Keystone's, of every provider.
    pub password: SecretString,
    tokens: Vec<(SecretString, ProviderName, Timestamp)>,
    addresses: u32,
    /// None: nobody serves SSH.
    doors: Option<Doors>,
    /// Addresses whose door is open.
    open: BTreeSet<String>,
}

/// A changing call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub at: Timestamp,
    /// `Act::kind` where there is one, else the service's own word.
    pub kind: &'static str,
    /// The node's or server's name.
    pub name: String,
    /// The marks, the message or what else says which.
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KilledBuild {
    pub at: Timestamp,
    pub target: TargetName,
    pub node: NodeName,
    pub url: String,
    /// `doDelete`, `DELETE server`.
    pub by: &'static str,
}

impl State {
    pub(super) fn new(start: Timestamp, seed: u64) -> Self {
        let mut ids = Ids::new(seed);
        let password = ids.hex(16).into();
        Self {
            clock: Clock::new(start),
            ids,
            password,
            tokens: Vec::new(),
            clouds: BTreeMap::new(),
            jenkins: BTreeMap::new(),
            machines: BTreeMap::new(),
            delays: Delays::default(),
            faults: Faults::default(),
            log: Vec::new(),
            killed_builds: Vec::new(),
            deleted_servers: Vec::new(),
            host_key_of: text_key,
            addresses: 0,
            doors: None,
            open: BTreeSet::new(),
        }
    }

    pub(super) fn add_provider(&mut self, name: &ProviderName) {
        let cloud = Cloud {
            project: "sandbox".to_owned(),
            project_id: self.ids.hex(32),
            user: "poolkeeper".to_owned(),
            user_id: self.ids.hex(32),
            servers: BTreeMap::new(),
            images: Vec::new(),
            flavors: vec![flavor("m1.small", 1, 2048)],
            networks: Vec::new(),
            external: BTreeSet::new(),
            floating_ips: BTreeMap::new(),
            limits: Limits::default(),
            page: 1000,
        };
        self.clouds.entry(name.clone()).or_insert(cloud);
    }

    pub(super) fn add_target(&mut self, name: &TargetName, generation: Generation) {
        let (session, password) = (self.ids.hex(8), self.ids.hex(16).into());
        let token = format!("11{}", self.ids.hex(32)).into();
        let new = || Jenkins::new(generation, "nodepool", (password, token), session);
        self.jenkins.entry(name.clone()).or_insert_with(new);
    }

    pub fn cloud(&mut self, provider: &ProviderName) -> Result<&mut Cloud, Refusal> {
        self.clouds.get_mut(provider).ok_or_else(|| Refusal::new(404, format!("the sandbox has no provider {provider}")))
    }

    pub fn target(&mut self, target: &TargetName) -> Result<&mut Jenkins, Refusal> {
        self.jenkins.get_mut(target).ok_or_else(|| Refusal::new(404, format!("the sandbox has no target {target}")))
    }

    pub fn log(&mut self, kind: &'static str, name: impl Into<String>, detail: impl Into<String>) {
        self.log.push(Change { at: self.clock.now(), kind, name: name.into(), detail: detail.into() });
    }

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
            updated: Some(now),
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
            fate,
            built_at: self.clock.after(self.delays.build),
            gone_at: None,
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
        let seen = cloud.server(id)?.seen.clone();
        self.log("delete-server", seen.name.clone(), id.as_str());
        self.deleted_servers.push(seen);
        let _machine = self.machines.remove(id);
        self.drop_dead_channels("DELETE server");
        Ok(())
    }

    /// `doDelete`.
    pub fn delete_agent(&mut self, target: &TargetName, name: &NodeName) -> Result<(), Refusal> {
        let now = self.clock.now();
        let killed = self.target(target)?.delete(name.as_str(), now)?;
        let (target, node) = (target.clone(), name.clone());
        let killed = killed.into_iter().map(|url| KilledBuild {
            at: now,
            target: target.clone(),
            node: node.clone(),
            url,
            by: "doDelete",
        });
        self.killed_builds.extend(killed);
        self.log("delete-agent", name.as_str(), "");
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

    /// `doCreateItem`.
    pub fn create_agent(&mut self, target: &TargetName, node: Node) -> Result<(), Refusal> {
        let (name, description) = (node.name.clone(), node.description.clone());
        self.target(target)?.create(node)?;
        self.log("create-agent", name.as_str(), description);
        Ok(())
    }

    /// A new token of a provider, and when it ends.
    pub fn issue_token(&mut self, provider: &ProviderName) -> (SecretString, Timestamp) {
        /// An hour, Keystone's default.
        const LIFE: u32 = 3600;
        let token = SecretString::from(format!("gAAAAAB{}", self.ids.hex(64)));
        let expires = self.clock.after(LIFE);
        self.tokens.push((token.clone(), provider.clone(), expires));
        (token, expires)
    }

    pub fn knows_token(&self, provider: &ProviderName, token: Option<&str>) -> bool {
        let now = self.clock.now();
        let fits = |(known, of, expires): &(SecretString, ProviderName, Timestamp)| {
            Some(known.expose_secret()) == token && of == provider && *expires > now
        };
        self.tokens.iter().any(fits)
    }

    /// Every token is refused from now on, as after a change of the user's roles.
    pub fn revoke_tokens(&mut self) {
        self.tokens.clear();
    }

    pub(super) fn open_doors(&mut self, doors: Doors) {
        self.open.clear();
        self.doors = Some(doors);
    }

    pub(super) fn close_doors(&mut self) {
        self.doors = None;
    }

    /// Lets in to machines that came up, and not any more to those that went.
    pub(super) fn move_doors(&mut self) {
        let Some(doors) = &self.doors else { return };
        let now = self.clock.now();
        let reachable = self.machines.values().filter(|machine| machine.reachable(now));
        let wanted: BTreeSet<String> = reachable.map(|machine| machine.address.clone()).collect();
        for address in self.open.difference(&wanted) {
            doors.close(address);
        }
        self.open.retain(|address| wanted.contains(address));
        let opened = wanted.into_iter().filter(|address| !self.open.contains(address) && doors.open(address));
        let opened: Vec<String> = opened.collect();
        self.open.extend(opened);
    }

    /// Counts a call, and lets it take its time. Some: it is dropped.
    pub(super) fn admit(&mut self, call: &str) -> Option<Drop> {
        if !self.faults.stopped() {
            for _ in 0..self.delays.call {
                self.step();
            }
        }
        self.faults.admit(call)
    }

    /// One second.
    pub(super) fn step(&mut self) {
        self.clock.step();
        let now = self.clock.now();
        let providers: Vec<ProviderName> = self.clouds.keys().cloned().collect();
        for provider in providers {
            let Some((built, gone)) = self.clouds.get(&provider).map(|cloud| cloud.due(now)) else { continue };
            for id in built {
                self.finish_build(&provider, &id);
            }
            self.drop_ports(&provider, &gone);
            if let Some(cloud) = self.clouds.get_mut(&provider) {
                cloud.servers.retain(|id, _| !gone.contains(id));
            }
        }
        for jenkins in self.jenkins.values_mut() {
            jenkins.step(now);
        }
        self.drop_dead_channels("");
        self.connect_agents();
    }

    fn finish_build(&mut self, provider: &ProviderName, id: &ServerId) {
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

    /// What a build on the node of this name leaves on its machine.
    pub(super) fn leave_in_workspace(&mut self, name: &str) {
        let servers = self.clouds.values().flat_map(|cloud| cloud.servers.values());
        let ids: Vec<ServerId> = servers.filter(|server| server.seen.name == name).map(|server| server.seen.id.clone()).collect();
        for id in ids {
            if let Some(machine) = self.machines.get_mut(&id) {
                machine.workspace = WorkspaceSight::Used;
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

    /// A loopback address of its own for each machine, from 127.10.1.1 on.
    pub(super) fn next_address(&mut self) -> String {
        /// Host numbers a byte of an address has without 0 and 255.
        const HOSTS: u32 = 254;
        let at = self.addresses;
        self.addresses += 1;
        format!("127.{}.{}.{}", 10 + at / (HOSTS * HOSTS), 1 + at / HOSTS % HOSTS, 1 + at % HOSTS)
    }
}
