//! Nova's answers as Nova writes them, and our values from them. Asks nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::desired::Family;
use crate::live::http::{Raw, read_json};
use crate::names::{ImageId, ServerId, Text};
use crate::observed::{Address, AddressKind, Headroom, Quota, Server, ServerStatus};

#[derive(Deserialize)]
pub(super) struct Link {
    pub rel: String,
}

#[derive(Deserialize)]
pub(super) struct ServerAnswer<'a> {
    #[serde(borrow)]
    pub server: ServerBody<'a>,
}

/// A page of `servers/detail`.
#[derive(Deserialize)]
pub(super) struct ServersAnswer<'a> {
    #[serde(borrow)]
    servers: Vec<ServerBody<'a>>,
    #[serde(default)]
    servers_links: Vec<Link>,
}

impl ServersAnswer<'_> {
    /// Its servers, and whether there is a next page.
    pub(super) fn read(self) -> Result<(Vec<Server>, bool), String> {
        let unseen = self.servers.iter().filter(|server| server.is_unseen()).count();
        if unseen > 0 {
            return Err(format!("{unseen} servers are in a cell that is down: Nova shows neither their names nor their marks"));
        }
        let servers: Result<_, String> = self.servers.into_iter().map(ServerBody::into_server).collect();
        Ok((servers?, has_next(&self.servers_links)))
    }
}

pub(super) fn has_next(links: &[Link]) -> bool {
    links.iter().any(|link| link.rel == "next")
}

/// The servers of one page, as the client reads it: for measurements.
pub fn servers_of_page(json: &[u8]) -> Result<Vec<Server>, String> {
    let answer: ServersAnswer<'_> = read_json(json).map_err(|error| error.to_string())?;
    Ok(answer.read()?.0)
}

/// Of `servers/detail` and `servers/{id}`, microversions 2.1 to 2.90. From 2.69 on a server in a cell that is down has
/// little more than its id.
#[derive(Deserialize)]
pub(super) struct ServerBody<'a> {
    id: Text,
    name: Option<Text>,
    #[serde(borrow)]
    status: Raw<'a>,
    metadata: Option<BTreeMap<Text, Text>>,
    created: Option<Raw<'a>>,
    updated: Option<Raw<'a>>,
    #[serde(default)]
    addresses: BTreeMap<Text, Vec<AddressBody<'a>>>,
    image: Option<ImageRef>,
    flavor: Option<FlavorRef>,
    /// Since 2.9.
    locked: Option<bool>,
    fault: Option<FaultBody>,
    #[serde(rename = "OS-EXT-STS:task_state")]
    task: Option<String>,
    #[serde(rename = "OS-SRV-USG:launched_at")]
    launched: Option<Raw<'a>>,
    #[serde(rename = "OS-EXT-AZ:availability_zone")]
    zone: Option<Text>,
}

/// A map with an id, or an empty text (none) for a server that was booted from a volume.
struct ImageRef(Option<Text>);

impl<'de> Deserialize<'de> for ImageRef {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(ImageVisitor)
    }
}

struct ImageVisitor;

impl<'de> Visitor<'de> for ImageVisitor {
    type Value = ImageRef;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a map with an id, or an empty text")
    }

    fn visit_str<E>(self, _nothing: &str) -> Result<ImageRef, E> {
        Ok(ImageRef(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ImageRef, A::Error> {
        let mut id = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == "id" {
                id = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(ImageRef(id))
    }
}

/// Since 2.47 without its id.
#[derive(Deserialize)]
struct FlavorRef {
    original_name: Option<Text>,
    id: Option<Text>,
}

#[derive(Deserialize)]
struct AddressBody<'a> {
    addr: Text,
    version: u8,
    #[serde(rename = "OS-EXT-IPS:type", borrow)]
    kind: Option<Raw<'a>>,
}

#[derive(Deserialize)]
struct FaultBody {
    #[serde(default)]
    message: String,
}

impl ServerBody<'_> {
    /// Nova shows that it is there and nothing of it.
    pub(super) fn is_unseen(&self) -> bool {
        self.name.is_none() || self.metadata.is_none()
    }

    pub(super) fn into_server(self) -> Result<Server, String> {
        let created = self.created.as_deref().ok_or_else(|| format!("server {} without `created`", self.id))?;
        let flavor = self.flavor.and_then(|flavor| flavor.original_name.or(flavor.id));
        let addresses = self.addresses.into_iter().flat_map(|(network, list)| {
            list.into_iter().map(move |body| Address {
                network: network.clone(),
                address: body.addr,
                family: if body.version == 6 { Family::V6 } else { Family::V4 },
                kind: if body.kind.as_deref() == Some("floating") { AddressKind::Floating } else { AddressKind::Fixed },
            })
        });
        Ok(Server {
            created: time(created)?,
            updated: self.updated.as_deref().map(time).transpose()?,
            launched: self.launched.as_deref().map(time).transpose()?,
            name: self.name.unwrap_or_default(),
            status: ServerStatus::parse(&self.status),
            task: self.task,
            image: self.image.and_then(|image| image.0).map(ImageId::new),
            flavor: flavor.unwrap_or_default(),
            addresses: addresses.collect(),
            availability_zone: self.zone.filter(|zone| !zone.is_empty()),
            locked: self.locked,
            metadata: self.metadata.unwrap_or_default(),
            fault: self.fault.map(|fault| fault.message).filter(|message| !message.is_empty()),
            id: ServerId::new(self.id),
        })
    }
}

/// Nova writes some times with a zone and some without: those are UTC.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let without_zone = || {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        jiff::tz::Offset::UTC.to_timestamp(civil).ok()
    };
    text.parse().ok().or_else(without_zone).ok_or_else(|| format!("`{text}` is no time"))
}

#[derive(Deserialize)]
pub(super) struct FlavorBody {
    pub id: String,
    pub name: String,
    pub vcpus: u64,
    pub ram: u64,
}

#[derive(Deserialize)]
pub(super) struct LimitsAnswer {
    pub limits: LimitsBody,
}

#[derive(Deserialize)]
pub(super) struct LimitsBody {
    pub absolute: Absolute,
}

/// A limit of -1 is none.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Absolute {
    max_total_instances: i64,
    max_total_cores: i64,
    #[serde(rename = "maxTotalRAMSize")]
    max_total_ram: i64,
    total_instances_used: i64,
    total_cores_used: i64,
    #[serde(rename = "totalRAMUsed")]
    total_ram_used: i64,
}

pub(super) fn absolute(limits: &Absolute) -> Quota {
    let room =
        |used: i64, limit: i64| Headroom { used: u64::try_from(used).unwrap_or_default(), limit: u64::try_from(limit).ok() };
    Quota {
        instances: room(limits.total_instances_used, limits.max_total_instances),
        cores: room(limits.total_cores_used, limits.max_total_cores),
        ram: room(limits.total_ram_used, limits.max_total_ram),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_and_without_a_zone() {
        assert_eq!(time("2026-11-22T07:10:37.000000"), time("2026-11-22T07:10:37Z"));
        assert!(time("yesterday").is_err());
    }
}
