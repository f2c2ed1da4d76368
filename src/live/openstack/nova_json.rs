//! Nova's answers as Nova writes them, and our values from them. Asks nothing.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::desired::Family;
use crate::live::http::{Raw, read_json};
use crate::names::{ImageId, ServerId, Text};
use crate::observed::{Address, AddressKind, Headroom, Mark, Quota, Server, ServerStatus};

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
pub(super) struct ServersAnswer {
    #[serde(deserialize_with = "listed")]
    servers: Listed,
    #[serde(default)]
    servers_links: Vec<Link>,
}

/// Read one by one: what Nova says of them is several times what is kept.
#[derive(Default)]
struct Listed {
    servers: Vec<Server>,
    unseen: usize,
    /// Of the first one that cannot be read.
    fault: Option<String>,
}

fn listed<'de, D: Deserializer<'de>>(json: D) -> Result<Listed, D::Error> {
    json.deserialize_seq(ListVisitor)
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Listed;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list of servers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Listed, A::Error> {
        let (mut listed, mut texts) = (Listed::default(), Texts::default());
        while let Some(body) = list.next_element::<ServerBody<'de>>()? {
            if body.is_unseen() {
                listed.unseen += 1;
                continue;
            }
            match body.into_server(&mut texts) {
                Ok(server) => listed.servers.push(server),
                Err(said) => drop(listed.fault.get_or_insert(said)),
            }
        }
        Ok(listed)
    }
}

impl ServersAnswer {
    /// Its servers, and whether there is a next page.
    pub(super) fn read(self) -> Result<(Vec<Server>, bool), String> {
        let Listed { servers, unseen, fault } = self.servers;
        if unseen > 0 {
            return Err(format!("{unseen} servers are in a cell that is down: Nova shows neither their names nor their marks"));
        }
        match fault {
            Some(said) => Err(said),
            None => Ok((servers, has_next(&self.servers_links))),
        }
    }
}

pub(super) fn has_next(links: &[Link]) -> bool {
    links.iter().any(|link| link.rel == "next")
}

/// The servers of one page, as the client reads it: for measurements.
pub fn servers_of_page(json: &[u8]) -> Result<Vec<Server>, String> {
    let answer: ServersAnswer = read_json(json).map_err(|error| error.to_string())?;
    Ok(answer.read()?.0)
}

/// The longer texts that many servers have in common (spec, base, image) are in memory once.
#[derive(Default)]
pub(super) struct Texts(BTreeSet<Text>);

impl Texts {
    fn value(&mut self, key: &str, text: &str) -> Text {
        // A host key is one server's alone.
        if key == Mark::Hostkey.key() { Text::new(text) } else { self.shared(text) }
    }

    fn shared(&mut self, text: &str) -> Text {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let new = Text::new(text);
        if new.is_heap_allocated() {
            self.0.insert(new.clone());
        }
        new
    }
}

/// Of `servers/detail` and `servers/{id}`, microversions 2.1 to 2.90. From 2.69 on a server in a cell that is down has
/// little more than its id.
#[derive(Deserialize)]
pub(super) struct ServerBody<'a> {
    id: Text,
    name: Option<Text>,
    #[serde(borrow)]
    status: Raw<'a>,
    metadata: Option<Pairs<'a, Raw<'a>>>,
    created: Option<Raw<'a>>,
    updated: Option<Raw<'a>>,
    #[serde(default)]
    addresses: Pairs<'a, Vec<AddressBody<'a>>>,
    image: Option<ImageRef<'a>>,
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

/// A map's pairs in their order: it is read once, and nothing is looked for in it.
struct Pairs<'a, V>(Vec<(Raw<'a>, V)>);

impl<V> Default for Pairs<'_, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for Pairs<'a, V> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(PairsVisitor(PhantomData))
    }
}

struct PairsVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<V> {
    type Value = Pairs<'de, V>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}

/// A map with an id, or an empty text (none) for a server that was booted from a volume.
struct ImageRef<'a>(Option<Raw<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for ImageRef<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(ImageVisitor)
    }
}

struct ImageVisitor;

impl<'de> Visitor<'de> for ImageVisitor {
    type Value = ImageRef<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a map with an id, or an empty text")
    }

    fn visit_str<E>(self, _nothing: &str) -> Result<ImageRef<'de>, E> {
        Ok(ImageRef(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ImageRef<'de>, A::Error> {
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

    pub(super) fn into_server(self, texts: &mut Texts) -> Result<Server, String> {
        let created = self.created.as_deref().ok_or_else(|| format!("server {} without `created`", self.id))?;
        let flavor = self.flavor.and_then(|flavor| flavor.original_name.or(flavor.id));
        let metadata = self.metadata.unwrap_or_default();
        Ok(Server {
            created: time(created)?,
            updated: self.updated.as_deref().map(time).transpose()?,
            launched: self.launched.as_deref().map(time).transpose()?,
            name: self.name.unwrap_or_default(),
            status: ServerStatus::parse(&self.status),
            task: self.task,
            image: self.image.and_then(|image| image.0).map(|id| ImageId::new(texts.shared(&id))),
            flavor: flavor.unwrap_or_default(),
            addresses: addresses(self.addresses),
            availability_zone: self.zone.filter(|zone| !zone.is_empty()),
            locked: self.locked,
            metadata: metadata.0.iter().map(|(key, value)| (&**key, texts.value(key, value))).collect(),
            fault: self.fault.map(|fault| fault.message).filter(|message| !message.is_empty()),
            id: ServerId::new(self.id),
        })
    }
}

/// By network.
fn addresses(mut networks: Pairs<'_, Vec<AddressBody<'_>>>) -> Vec<Address> {
    networks.0.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut addresses = Vec::with_capacity(networks.0.iter().map(|(_, list)| list.len()).sum());
    for (network, list) in networks.0 {
        let network = Text::new(&*network);
        addresses.extend(list.into_iter().map(|body| Address {
            network: network.clone(),
            address: body.addr,
            family: if body.version == 6 { Family::V6 } else { Family::V4 },
            kind: if body.kind.as_deref() == Some("floating") { AddressKind::Floating } else { AddressKind::Fixed },
        }));
    }
    addresses
}

/// Nova writes some times with a zone and some without: those are UTC.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let without_zone = || {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        jiff::tz::Offset::UTC.to_timestamp(civil).ok()
    };
    let with_zone = || text.parse().ok();
    // A parse that fails costs as much as one that does not. jiff would pass over an offset where none is expected.
    let zoned = text.ends_with('Z') || text.get(10..).is_none_or(|time| time.contains(['+', '-']));
    let read = if zoned { with_zone() } else { without_zone().or_else(with_zone) };
    read.ok_or_else(|| format!("`{text}` is no time"))
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
        assert_eq!(time("2026-11-22T09:10:37.5+02:00"), time("2026-11-22T07:10:37.500000"));
        assert!(time("yesterday").is_err() && time("").is_err() && time("2026-11-22T").is_err());
    }
}
