//! The calls to Neutron: networks.

use serde::Deserialize;

use super::auth::Service;
use super::fault::{self, CallError};
use super::service::Session;
use crate::live::http::Request;
use crate::names::NetworkId;
use crate::observed::Network;

/// Without a limit Neutron gives all in one answer, unless it is set up to page (`pagination_max_limit`).
const MAX_PAGES: usize = 1000;

#[derive(Deserialize)]
struct NetworksAnswer {
    networks: Vec<NetworkBody>,
    #[serde(default)]
    networks_links: Vec<LinkBody>,
}

#[derive(Deserialize)]
struct NetworkBody {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct LinkBody {
    rel: String,
}

/// Every network that the project can see. Names are not unique.
pub(super) fn networks(session: &Session) -> Result<Vec<Network>, CallError> {
    let first = "/networks?fields=id&fields=name";
    let mut networks: Vec<Network> = Vec::new();
    let mut path = first.to_owned();
    for _ in 0..MAX_PAGES {
        let (tried, response) = session.call(Service::Network, &path, Request::get)?;
        if !response.is_success() {
            return Err(fault::refused(&tried, &response));
        }
        let answer: NetworksAnswer = response.json().map_err(|said| fault::foreign(&tried, &response, &said))?;
        let before = networks.last().map(|last| last.id.clone());
        let more = answer.networks_links.iter().any(|link| link.rel == "next");
        networks.extend(answer.networks.into_iter().map(|body| Network { id: NetworkId::new(body.id), name: body.name }));
        match networks.last() {
            Some(last) if more && before.as_ref() == Some(&last.id) => {
                return Err(fault::unreadable(&tried, &response, "the list turns in a circle"));
            }
            Some(last) if more => path = format!("{first}&marker={}", last.id),
            Some(_) | None => return Ok(networks),
        }
    }
    Err(fault::setup("GET /networks", format!("the list has no end: {MAX_PAGES} pages")))
}
