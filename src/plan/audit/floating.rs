//! Floating IPs: made once, with the words that say whose they are; released with their server, or when it is gone.

use super::sight::{Sight, Sights};
use crate::names::{FloatingIpId, ServerId};
use crate::observed::FloatingIp;
use crate::plan::{Act, Action, Chain, CreateFloatingIp};

fn words(sights: &Sights<'_>, server: &ServerId) -> String {
    format!("poolkeeper controller={} server={server}", sights.desired.controller.id)
}

/// Those that say that they are this server's.
pub(super) fn of<'a>(sights: &Sights<'a>, sight: &Sight<'a>) -> impl Iterator<Item = &'a FloatingIp> {
    let words = words(sights, &sight.server.id);
    let list = sights.observed.lists.providers.get(sight.provider).and_then(|list| list.as_ref().ok());
    list.into_iter().flat_map(|list| &list.floating_ips).filter(move |ip| ip.description == words)
}

/// It will be known as this server's.
pub(super) fn is_described(sights: &Sights<'_>, create: &CreateFloatingIp) -> bool {
    create.description == words(sights, &create.server)
}

/// The one that is released is read again, and must be the one that was seen.
pub(super) fn expects_it(action: &Action, id: &FloatingIpId, words: &str) -> bool {
    action.expects.floating_ip.as_ref().is_some_and(|ip| ip.id == *id && ip.description == words)
}

/// That of a server that no list of its provider shows, which Nova must say once more.
pub(super) fn is_lone(sights: &Sights<'_>, chain: &Chain) -> bool {
    let [action @ Action { act: Act::DeleteFloatingIp { provider, id }, expects }] = chain.actions.as_slice() else {
        return false;
    };
    let list = sights.observed.lists.providers.get(provider).and_then(|list| list.as_ref().ok());
    let Some(ip) = list.and_then(|list| list.floating_ips.iter().find(|ip| ip.id == *id)) else { return false };
    let Some(gone) = expects.floating_ip.as_ref().and_then(|ip| ip.gone.as_ref()) else { return false };
    let listed = list.is_some_and(|list| list.servers.iter().any(|server| server.id == *gone));
    ip.description == words(sights, gone) && !listed && expects_it(action, id, &ip.description)
}
