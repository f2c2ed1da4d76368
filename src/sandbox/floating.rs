//! Neutron's floating IPs and ports, with Neutron's rules. A floating IP is a second door to a machine, and the only one: the
//! fixed address is not answered from outside any more. Nova's list never shows it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Sandbox;
use super::cloud::{Cloud, CloudServer};
use super::refusal::Refusal;
use super::state::State;
use crate::names::{FloatingIpId, NetworkId, PortId, ProviderName, ServerId};
use crate::observed::{Answer, FloatingIp, Fresh, Gap, Object, Port, Source};
use crate::plan::CreateFloatingIp;
use crate::world::Done;

#[derive(Debug, Clone)]
pub struct CloudFloatingIp {
    pub seen: FloatingIp,
    pub network: NetworkId,
    pub created: Timestamp,
}

/// What a create call asks for.
#[derive(Debug, Clone, Default)]
pub struct NewFloatingIp {
    pub network: String,
    pub port: Option<String>,
    pub description: String,
}

/// One of each server. A server's id and its port's never meet in one list.
fn port_id(server: &ServerId) -> PortId {
    PortId::new(format!("90{}", server.as_str().get(2..).unwrap_or_default()))
}

impl Cloud {
    /// Of a server that was placed; Neutron says nothing of one that it does not know.
    pub fn ports(&self, server: &str) -> Vec<Port> {
        let placed = self.servers.get(server).filter(|server| server.seen.launched.is_some());
        placed.map(|server| self.port(server)).into_iter().collect()
    }

    fn port(&self, server: &CloudServer) -> Port {
        let network = self.networks.iter().find(|network| server.networks.first() == Some(&network.name));
        Port {
            id: port_id(&server.seen.id),
            network: network.map_or_else(|| NetworkId::from(""), |network| network.id.clone()),
            fixed: server.seen.addresses.iter().map(|address| address.address.to_string()).collect(),
        }
    }

    fn server_of_port(&self, port: &str) -> Option<&CloudServer> {
        self.servers.values().find(|server| port_id(&server.seen.id).as_str() == port)
    }

    /// The checks of `POST /floatingips`, in Neutron's order; the server whose port it is for.
    fn check_floating_ip(&self, new: &NewFloatingIp) -> Result<Option<ServerId>, Refusal> {
        let used = u64::try_from(self.floating_ips.len()).unwrap_or(u64::MAX);
        if self.limits.floating_ips.is_some_and(|limit| used >= limit) {
            return Err(Refusal::new(409, "Quota exceeded for resources: ['floatingip']."));
        }
        let Some(network) = self.networks.iter().find(|network| network.id.as_str() == new.network) else {
            return Err(Refusal::new(404, format!("Network {} could not be found.", new.network)));
        };
        if !self.external.contains(&network.id) {
            let said = format!("Bad floatingip request: Network {} is not a valid external network.", network.id);
            return Err(Refusal::new(400, said));
        }
        let Some(port) = &new.port else { return Ok(None) };
        let server = self.server_of_port(port);
        let server = server.ok_or_else(|| Refusal::new(404, format!("Port {port} could not be found.")))?;
        if self.floating_ips.values().any(|ip| ip.seen.port.as_ref().is_some_and(|on| on.as_str() == port)) {
            let said = format!("Cannot associate floating IP with port {port}, as it already has one on that network.");
            return Err(Refusal::new(409, said));
        }
        if server.seen.addresses.is_empty() {
            let said = format!("Bad floatingip request: Cannot add floating IP to port {port} that has no fixed IPv4 addresses.");
            return Err(Refusal::new(400, said));
        }
        Ok(Some(server.seen.id.clone()))
    }
}

fn gone(id: &FloatingIpId) -> Refusal {
    Refusal::new(404, format!("Floating IP {id} could not be found"))
}

impl State {
    /// `POST /floatingips`: made, and put on its port, at one time.
    pub fn create_floating_ip(&mut self, provider: &ProviderName, new: NewFloatingIp) -> Result<CloudFloatingIp, Refusal> {
        let server = self.cloud(provider)?.check_floating_ip(&new)?;
        let (address, id, created) = (self.next_address(), FloatingIpId::new(self.ids.uuid()), self.clock.now());
        let cloud = self.cloud(provider)?;
        let of = server.as_ref().and_then(|id| cloud.servers.get(id));
        let name = of.map_or_else(|| address.clone(), |server| server.seen.name.to_string());
        let fixed = of.and_then(|server| Some(server.seen.addresses.first()?.address.to_string()));
        let port = new.port.map(PortId::new);
        let seen = FloatingIp { id: id.clone(), address: address.clone(), fixed, port, description: new.description };
        let made = CloudFloatingIp { seen, network: NetworkId::new(new.network), created };
        cloud.floating_ips.insert(id, made.clone());
        if let Some(machine) = server.and_then(|server| self.machines.get_mut(&server)) {
            machine.address.clone_from(&address);
        }
        self.log("create-floating-ip", name, address);
        Ok(made)
    }

    /// `DELETE /floatingips/ID`: the machine answers at its fixed address again.
    pub fn delete_floating_ip(&mut self, provider: &ProviderName, id: &FloatingIpId) -> Result<(), Refusal> {
        let ip = self.cloud(provider)?.floating_ips.remove(id).ok_or_else(|| gone(id))?.seen;
        let of = self.machines.values_mut().find(|machine| machine.address == ip.address);
        if let (Some(machine), Some(fixed)) = (of, ip.fixed) {
            machine.address = fixed;
        }
        self.drop_dead_channels("");
        self.log("delete-floating-ip", ip.address, id.as_str());
        Ok(())
    }

    /// Neutron deletes the port of a server that is gone; the floating IP stays, on nothing.
    pub(super) fn drop_ports(&mut self, provider: &ProviderName, gone: &[ServerId]) {
        let ports: BTreeSet<PortId> = gone.iter().map(port_id).collect();
        let ips = self.clouds.get_mut(provider).map(|cloud| cloud.floating_ips.values_mut());
        for ip in ips.into_iter().flatten().filter(|ip| ip.seen.port.as_ref().is_some_and(|port| ports.contains(port))) {
            ip.seen.port = None;
            ip.seen.fixed = None;
        }
    }

    /// Of a provider whose nodes have them.
    pub(super) fn list_floating_ips(&self, provider: &ProviderName, wanted: bool) -> Vec<FloatingIp> {
        let cloud = self.clouds.get(provider).filter(|_| wanted);
        cloud.into_iter().flat_map(|cloud| cloud.floating_ips.values()).map(|ip| ip.seen.clone()).collect()
    }

    pub(super) fn answer_ports(&mut self, provider: &ProviderName, server: &ServerId) -> Result<Answer, Gap> {
        self.seen(Source::Provider(provider.clone()), "GET /ports")?;
        Ok(Answer::Ports(self.clouds.get(provider).map(|cloud| cloud.ports(server.as_str())).unwrap_or_default()))
    }

    pub(super) fn read_floating_ip(&mut self, object: &Object, fresh: &mut Fresh) -> Result<(), Gap> {
        let Some((provider, id)) = &object.floating_ip else { return Ok(()) };
        self.seen(Source::Provider(provider.clone()), "GET /floatingips/ID")?;
        let ip = self.clouds.get(provider).and_then(|cloud| cloud.floating_ips.get(id));
        fresh.floating_ip = Some(ip.map(|ip| ip.seen.clone()));
        Ok(())
    }

    pub(super) fn perform_floating_ip(&mut self, create: &CreateFloatingIp) -> Result<Done, Refusal> {
        let CreateFloatingIp { provider, server: _, network, port, description } = create;
        let (network, port) = (network.as_str().to_owned(), Some(port.as_str().to_owned()));
        let new = NewFloatingIp { network, port, description: description.clone() };
        self.create_floating_ip(provider, new).map(|_| Done::Done)
    }
}

/// What people do.
impl Sandbox {
    /// A network that floating IPs are of.
    pub fn add_external_network(&self, provider: &ProviderName, name: &str) -> Option<NetworkId> {
        let id = self.add_network(provider, name)?;
        self.with(|state| state.clouds.get_mut(provider)?.external.replace(id.clone()));
        Some(id)
    }

    /// One that somebody made for something else, on no port.
    pub fn add_floating_ip(&self, provider: &ProviderName, description: &str) -> Option<FloatingIpId> {
        self.with(|state| {
            let network = state.clouds.get(provider)?.external.first()?.as_str().to_owned();
            let new = NewFloatingIp { network, port: None, description: description.to_owned() };
            state.create_floating_ip(provider, new).ok().map(|made| made.seen.id)
        })
    }

    pub fn floating_ips(&self, provider: &ProviderName) -> Vec<FloatingIp> {
        self.with(|state| state.list_floating_ips(provider, true))
    }

    /// Room for so many in the project; none: no limit.
    pub fn limit_floating_ips(&self, provider: &ProviderName, limit: Option<u64>) {
        self.with(|state| {
            if let Some(cloud) = state.clouds.get_mut(provider) {
                cloud.limits.floating_ips = limit;
            }
        });
    }
}
