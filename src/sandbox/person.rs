//! What people and chance do to the world: images, servers and agents that were there before, marks by hand, builds,
//! restarts, losses. Tests and the demo call it.

use std::collections::BTreeMap;

use super::Sandbox;
use super::cloud::{NewServer, flavor, network};
use super::faults::{Delays, Drop, Fate, Stop};
use super::images::CloudImage;
use super::jenkins::{Channel, Kind, Node, NodeLauncher, Why};
use crate::names::{ImageId, ImageName, NetworkId, NodeName, PoolName, ProviderName, ServerId, TargetName};
use crate::observed::{Computer, Server, ServerStatus, Source};

impl Sandbox {
    pub fn set_delays(&self, delays: Delays) {
        self.with(|state| state.delays = delays);
    }

    /// Of the next server that is created.
    pub fn next_fate(&self, fate: Fate) {
        self.with(|state| state.faults.next_fates.push_back(fate));
    }

    /// Of all further servers of a pool.
    pub fn pool_fate(&self, pool: &PoolName, fate: Fate) {
        self.with(|state| state.faults.pool_fates.insert(pool.clone(), fate));
    }

    /// Of all further builders of an image.
    pub fn image_fate(&self, image: &ImageName, fate: Fate) {
        self.with(|state| state.faults.image_fates.insert(image.clone(), fate));
    }

    /// A service answers nothing until `end_outage`.
    pub fn begin_outage(&self, source: Source, answered: &str) {
        self.with(|state| state.faults.outages.insert(source, answered.to_owned()));
    }

    pub fn end_outage(&self, source: &Source) {
        self.with(|state| state.faults.outages.remove(source));
    }

    /// The `after + 1`th call from now, and all later ones, are dropped until `resume`.
    pub fn stop_after(&self, after: u64, drop: Drop) {
        self.with(|state| {
            let call = state.faults.calls() + after + 1;
            state.faults.stop_at(Stop::Number(call), drop);
        });
    }

    /// The stop came, and whatever came before it is done: nothing changes any more behind the back of who looks now.
    pub fn stopped(&self) -> bool {
        self.with(|state| state.faults.stopped() && state.faults.answering == 0)
    }

    /// The call that the stop came at, in words.
    pub fn stopped_at(&self) -> Option<String> {
        self.with(|state| state.faults.stopped_at().map(str::to_owned))
    }

    pub fn resume(&self) {
        self.with(|state| state.faults.resume());
    }

    /// A second one of the same name is a newer image.
    pub fn add_image(&self, provider: &ProviderName, name: &str) -> Option<ImageId> {
        self.with(|state| {
            let (id, now) = (state.ids.uuid(), state.clock.now());
            let cloud = state.clouds.get_mut(provider)?;
            let image = CloudImage::active(id, name, now, &cloud.project_id);
            let id = image.seen.id.clone();
            cloud.images.push(image);
            Some(id)
        })
    }

    /// Its id is its name.
    pub fn add_flavor(&self, provider: &ProviderName, name: &str, vcpus: u64, ram: u64) {
        self.with(|state| {
            if let Some(cloud) = state.clouds.get_mut(provider) {
                cloud.flavors.retain(|flavor| flavor.name != name);
                cloud.flavors.push(flavor(name, vcpus, ram));
            }
        });
    }

    pub fn add_network(&self, provider: &ProviderName, name: &str) -> Option<NetworkId> {
        self.with(|state| {
            let id = state.ids.uuid();
            let cloud = state.clouds.get_mut(provider)?;
            let network = network(id, name);
            cloud.networks.push(network.clone());
            Some(network.id)
        })
    }

    /// A server that was there before: ACTIVE, its machine up.
    pub fn add_server(&self, provider: &ProviderName, name: &str, metadata: &[(&str, &str)]) -> Option<ServerId> {
        let metadata: BTreeMap<String, String> =
            metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.with(|state| {
            let new = NewServer { name: name.to_owned(), metadata, ..NewServer::default() };
            let id = state.plant_server(provider, new)?;
            let address = state.next_address();
            let now = state.clock.now();
            let server = state.clouds.get_mut(provider)?.servers.get_mut(&id)?;
            server.built(Some(address.clone()), now);
            let fate = server.fate.clone();
            state.add_machine(&id, address, fate);
            state.machines.get_mut(&id)?.ssh_at = now;
            Some(id)
        })
    }

    /// An agent that was there before, online, on no machine of the sandbox.
    pub fn add_agent(&self, target: &TargetName, name: &str, description: &str) {
        self.with(|state| {
            if let Some(jenkins) = state.jenkins.get_mut(target) {
                let mut node = Node::new(NodeName::from(name), NodeLauncher::Elsewhere);
                description.clone_into(&mut node.description);
                node.channel = Channel::Up;
                jenkins.nodes.insert(node.name.clone(), node);
            }
        });
    }

    /// So many more nodes like this one, each a server and its agent, all on no machine: for lists as long as they get.
    pub fn multiply(&self, provider: &ProviderName, target: &TargetName, name: &str, copies: u32) {
        self.with(|state| {
            let server = state.clouds.get(provider).and_then(|cloud| cloud.servers.values().find(|one| one.seen.name == name));
            let node = state.jenkins.get(target).and_then(|jenkins| jenkins.nodes.get(name));
            let Some((server, node)) = server.cloned().zip(node.cloned()) else { return };
            for copy in 0..copies {
                let (mut server, mut node) = (server.clone(), node.clone());
                server.seen.id = ServerId::new(state.ids.uuid());
                server.seen.name = format!("{name}-{copy:05}").into();
                node.name = NodeName::new(server.seen.name.as_str());
                node.launcher = NodeLauncher::Elsewhere;
                if let Some(cloud) = state.clouds.get_mut(provider) {
                    cloud.servers.insert(server.seen.id.clone(), server);
                }
                if let Some(jenkins) = state.jenkins.get_mut(target) {
                    jenkins.nodes.insert(node.name.clone(), node);
                }
            }
        });
    }

    pub fn servers(&self, provider: &ProviderName) -> Vec<Server> {
        self.with(|state| {
            let servers = state.clouds.get(provider).map(|cloud| cloud.servers.values());
            servers.into_iter().flatten().map(|server| server.seen.clone()).collect()
        })
    }

    pub fn server(&self, provider: &ProviderName, id: &ServerId) -> Option<Server> {
        self.with(|state| Some(state.clouds.get(provider)?.servers.get(id)?.seen.clone()))
    }

    /// The first one of that name in any provider.
    pub fn server_named(&self, name: &str) -> Option<Server> {
        self.with(|state| {
            let mut servers = state.clouds.values().flat_map(|cloud| cloud.servers.values());
            servers.find(|server| server.seen.name == name).map(|server| server.seen.clone())
        })
    }

    /// Locks, renames, breaks: whatever Nova would show. False: there is no such server.
    pub fn change_server(&self, id: &ServerId, change: impl FnOnce(&mut Server)) -> bool {
        self.with(|state| {
            let mut servers = state.clouds.values_mut().flat_map(|cloud| cloud.servers.values_mut());
            servers.find(|server| server.seen.id == *id).map(|server| change(&mut server.seen)).is_some()
        })
    }

    /// SHUTOFF, or ACTIVE again: processes on the machine end, files stay.
    pub fn power(&self, id: &ServerId, on: bool) {
        let status = if on { ServerStatus::Active } else { ServerStatus::Shutoff };
        if !self.change_server(id, |server| server.status = status) {
            return;
        }
        self.with(|state| {
            let (now, ssh_at) = (state.clock.now(), state.clock.after(state.delays.ssh));
            if let Some(machine) = state.machines.get_mut(id) {
                machine.power(on, now, ssh_at);
            }
            state.drop_dead_channels("");
        });
    }

    pub fn agents(&self, target: &TargetName) -> Vec<Computer> {
        self.with(|state| state.jenkins.get(target).map(|jenkins| jenkins.list().computers).unwrap_or_default())
    }

    pub fn agent(&self, target: &TargetName, name: &str) -> Option<Computer> {
        self.agents(target).into_iter().find(|computer| computer.name == name)
    }

    /// None: the node is offline, full or not there. Else the build's URL below the controller's.
    pub fn start_build(&self, target: &TargetName, name: &str, seconds: u32) -> Option<String> {
        self.begin_build(target, name, seconds, Kind::Plain)
    }

    /// A build that the Gearman plugin marks the node for when it is over.
    pub fn start_gearman_build(&self, target: &TargetName, name: &str, seconds: u32) -> Option<String> {
        self.begin_build(target, name, seconds, Kind::Gearman)
    }

    /// A Pipeline's: after a restart of the controller it waits for this very node, to go on on it.
    pub fn start_pipeline(&self, target: &TargetName, name: &str, seconds: u32) -> Option<String> {
        self.begin_build(target, name, seconds, Kind::Pipeline)
    }

    fn begin_build(&self, target: &TargetName, name: &str, seconds: u32, kind: Kind) -> Option<String> {
        self.with(|state| {
            let ends = state.clock.after(seconds);
            let build = state.jenkins.get_mut(target)?.start_build(name, ends, kind)?;
            state.leave_in_workspace(name);
            Some(build)
        })
    }

    /// Between two looks nobody sees it.
    pub fn run_short_build(&self, name: &str) {
        self.with(|state| state.leave_in_workspace(name));
    }

    /// The Gearman plugin's mark, now.
    pub fn mark_gearman(&self, target: &TargetName, name: &str) {
        self.change_node(target, name, Node::mark_gearman);
    }

    /// A person marks a node offline by hand.
    pub fn mark_by_person(&self, target: &TargetName, name: &str, user: &str, message: &str) {
        let why = Why::User { user: user.to_owned(), message: message.to_owned() };
        self.change_node(target, name, |node, now| node.set_mark(now, why));
    }

    /// A node monitor takes a node offline.
    pub fn mark_by_monitor(&self, target: &TargetName, name: &str) {
        let class = "hudson.node_monitors.DiskSpaceMonitorDescriptor$DiskSpace".to_owned();
        self.change_node(target, name, |node, now| node.set_mark(now, Why::Monitor(class)));
    }

    pub fn unmark(&self, target: &TargetName, name: &str) {
        self.change_node(target, name, |node, _| node.unmark());
    }

    /// The channel breaks; an agent that still runs comes back by itself. A build on it dies, and nobody is blamed.
    pub fn lose_channel(&self, target: &TargetName, name: &str) {
        self.change_node(target, name, |node, now| {
            node.builds.clear();
            node.lose_channel(now);
        });
    }

    fn change_node(&self, target: &TargetName, name: &str, change: impl FnOnce(&mut Node, jiff::Timestamp)) {
        self.with(|state| {
            let now = state.clock.now();
            if let Some(node) = state.jenkins.get_mut(target).and_then(|jenkins| jenkins.nodes.get_mut(name)) {
                change(node, now);
            }
        });
    }

    /// Nothing is answered for `delays.restart` seconds, and each agent comes back after `delays.agent` more.
    pub fn restart_controller(&self, target: &TargetName) {
        self.with(|state| {
            let (until, session) = (state.clock.after(state.delays.restart), state.ids.hex(8));
            if let Some(jenkins) = state.jenkins.get_mut(target) {
                jenkins.restart(until, session);
            }
        });
    }
}
