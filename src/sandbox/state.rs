//! The whole state, and what each second brings. What happens to servers is `servers`'.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use super::clock::{Clock, Ids};
use super::cloud::{Cloud, Limits, flavor};
use super::faults::{Delays, Drop, Faults};
use super::generation::Generation;
use super::jenkins::{Jenkins, Node};
use super::machine::{KeySeed, Machine, text_key};
use super::refusal::Refusal;
use super::serve_ssh::Doors;
use crate::names::{NodeName, ProviderName, ServerId, TargetName};
use crate::observed::{HostKey, Server, WorkspaceSight};

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
            self.step_power(&provider);
            self.step_images(&provider);
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

    /// What a build on the node of this name leaves on its machine.
    pub(super) fn leave_in_workspace(&mut self, name: &str) {
        let servers = self.clouds.values().flat_map(|cloud| cloud.servers.values());
        let ids: Vec<ServerId> = servers.filter(|server| server.seen.name == name).map(|server| server.seen.id.clone()).collect();
        for id in ids {
            if let Some(machine) = self.machines.get_mut(&id) {
                machine.disk.workspace = WorkspaceSight::Used;
            }
        }
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
