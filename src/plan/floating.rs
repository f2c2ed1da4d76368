//! Floating IPs: one put on each machine that comes up, released with it, and those whose server is gone. Pure.

use std::collections::BTreeSet;

use super::prepare::still_up;
use super::retire::{Sight, Step};
use super::room;
use super::{Act, Action, Because, Chain, CreateFloatingIp, Expects, FloatingIpExpects, Step as Up, Subject, Verb, WaitsFor};
use crate::desired::{Desired, Family, Provider};
use crate::names::{NetworkId, NodeName, ProviderName, ServerId};
use crate::node::{Node, State};
use crate::observed::{Answer, Ask, FloatingIp, FloatingIpMark, Observed, Port, Refused, ThisRun};

/// What a create call is made of. Nothing once the quota is known to be full.
pub fn asks(node: &Node<'_>, this_run: &ThisRun) -> BTreeSet<Ask> {
    let wanted = node.state == State::WithoutFloatingIp && refused(this_run, &node.provider).is_none();
    let ports = || Ask::Ports(node.provider.clone(), node.server.id.clone());
    if wanted { BTreeSet::from([ports(), Ask::Networks(node.provider.clone())]) } else { BTreeSet::new() }
}

/// Neutron's words when it had none left in this run: the next node would hear the same.
pub fn refused<'r>(this_run: &'r ThisRun, provider: &ProviderName) -> Option<&'r String> {
    this_run.refused.get(&Refused::FloatingIps(provider.clone()))
}

/// The next step up of a machine that has none.
pub fn create(sight: Sight<'_>, node: &Node<'_>) -> Step {
    let unseen = || WaitsFor::Gap(node.provider.to_string());
    let provider = sight.desired.provider(&node.provider).ok_or_else(unseen)?;
    if let Some(said) = refused(&sight.observed.this_run, &node.provider) {
        return Err(WaitsFor::Refused(said.clone()));
    }
    let network = network(sight.observed, provider)?;
    let Some(Answer::Ports(ports)) = sight.observed.answer(&Ask::Ports(node.provider.clone(), node.server.id.clone())) else {
        return Err(unseen());
    };
    let port = port(node, provider, ports).ok_or(WaitsFor::Port)?;
    let controller = &sight.desired.controller.id;
    let mark = FloatingIpMark { controller: controller.clone(), server: node.server.id.clone() };
    let create = CreateFloatingIp {
        provider: node.provider.clone(),
        server: node.server.id.clone(),
        network,
        port: port.id.clone(),
        description: mark.to_string(),
    };
    let expects = Expects { server: Some(still_up(controller, node, &[])), ..Expects::default() };
    Ok(Chain {
        subject: Subject::of(node),
        verb: Verb::Boot,
        because: Because::Next(Up::FloatingIp),
        times: Some(node.times()),
        actions: vec![Action { act: Act::CreateFloatingIp(create), expects }],
    })
}

fn network(observed: &Observed, provider: &Provider) -> Result<NetworkId, WaitsFor> {
    let unseen = || WaitsFor::Gap(provider.name.to_string());
    let wanted = provider.floating_ip_network.as_ref().ok_or_else(unseen)?;
    let Some(Answer::Networks(seen)) = observed.answer(&Ask::Networks(provider.name.clone())) else { return Err(unseen()) };
    room::network(seen, wanted)
}

/// The port of the IPv4 address that would be used without a floating one. Nova's list may lag: then any with an IPv4 address,
/// unless the provider says which network it must be.
fn port<'p>(node: &Node<'_>, provider: &Provider, ports: &'p [Port]) -> Option<&'p Port> {
    let wanted = provider.address.network.as_ref();
    let mut addresses = node.server.addresses.iter();
    let shown = addresses
        .find(|address| address.family == Family::V4 && wanted.is_none_or(|network| *network == address.network))
        .and_then(|shown| ports.iter().find(|port| port.fixed.iter().any(|fixed| *fixed == shown.address)));
    let any = || {
        let fits = |port: &&Port| port.fixed.iter().any(|address| !address.contains(':'));
        ports.iter().filter(|_| wanted.is_none()).filter(fits).min_by(|a, b| a.id.cmp(&b.id))
    };
    shown.or_else(any)
}

/// Its deletion, when `expects` holds and it still says whose it is.
pub fn release(provider: &ProviderName, ip: &FloatingIp, expects: Expects) -> Action {
    released(provider, ip, None, expects)
}

fn released(provider: &ProviderName, ip: &FloatingIp, gone: Option<ServerId>, expects: Expects) -> Action {
    let act = Act::DeleteFloatingIp { provider: provider.clone(), id: ip.id.clone() };
    let (id, description) = (ip.id.clone(), ip.description.clone());
    let floating_ip = Some(FloatingIpExpects { provider: provider.clone(), id, description, gone });
    Action { act, expects: Expects { floating_ip, ..expects } }
}

/// Ours, of a server that no list shows: somebody else deleted it, or a run died in between.
pub fn lone(desired: &Desired, observed: &Observed) -> Vec<Chain> {
    let mut chains = Vec::new();
    for (provider, list) in observed.lists.providers.iter().filter_map(|(name, list)| Some((name, list.as_ref().ok()?))) {
        let there: BTreeSet<&ServerId> = list.servers.iter().map(|server| &server.id).collect();
        for ip in &list.floating_ips {
            let Some(server) = ip.server_of(&desired.controller.id).filter(|server| !there.contains(server)) else { continue };
            // It has no other name.
            let subject = Subject { pool: None, image: None, name: NodeName::new(ip.address.as_str()) };
            let action = released(provider, ip, Some(server.clone()), Expects::default());
            if observed.this_run.refusal(action.act.kind(), &subject.name).is_none() {
                let because = Because::LoneFloatingIp(server);
                chains.push(Chain { subject, verb: Verb::Delete, because, times: None, actions: vec![action] });
            }
        }
    }
    chains
}
