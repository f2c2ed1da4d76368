//! Nova's answers as JSON, field by field as recorded, by microversion. No rules.

use serde_json::{Map, Value, json};

use crate::desired::Family;
use crate::observed::{AddressKind, Flavor, Quota, ServerStatus};
use crate::sandbox::Refusal;
use crate::sandbox::cloud::{Cloud, CloudServer, vm_state};

/// The minor number of a microversion 2.x.
pub(super) type Minor = u32;

/// Nova's `maxServerMeta` as recorded.
const MAX_META: u32 = 128;

/// `{"itemNotFound": {...}}` and its sisters.
pub(super) fn fault(refusal: &Refusal) -> Value {
    let element = match refusal.status {
        400 => "badRequest",
        403 => "forbidden",
        404 => "itemNotFound",
        409 => "conflictingRequest",
        413 | 429 => "overLimit",
        _ => "computeFault",
    };
    json!({ element: { "code": refusal.status, "message": refusal.said } })
}

pub(super) fn version(base: &str, detailed: bool) -> Value {
    let mut links = vec![json!({ "rel": "self", "href": format!("{base}/v2.1/") })];
    let mut version = json!({
        "id": "v2.1", "status": "CURRENT", "version": "2.93", "min_version": "2.1", "updated": "2013-07-23T11:33:21Z",
    });
    if let Some(fields) = version.as_object_mut() {
        if detailed {
            links.push(json!({ "rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/" }));
            let kind = json!([{ "base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1" }]);
            fields.insert("media-types".to_owned(), kind);
        }
        fields.insert("links".to_owned(), links.into());
    }
    version
}

pub(super) fn links(base: &str, kind: &str, id: &str) -> Value {
    json!([{ "rel": "self", "href": format!("{base}/v2.1/{kind}/{id}") },
           { "rel": "bookmark", "href": format!("{base}/{kind}/{id}") }])
}

fn time(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// One server. `single`: of `GET /servers/ID`, which tells a little more than the list.
pub(super) fn server(cloud: &Cloud, server: &CloudServer, minor: Minor, base: &str, single: bool) -> Value {
    let seen = &server.seen;
    let (id, active) = (seen.id.as_str(), seen.status == ServerStatus::Active);
    let bookmark = |kind: &str, id: &str| json!([{ "rel": "bookmark", "href": format!("{base}/{kind}/{id}") }]);
    let image = match &seen.image {
        Some(image) => json!({ "id": image, "links": bookmark("images", image.as_str()) }),
        None => json!(""),
    };
    let launched = seen.launched.map(|at| at.strftime("%Y-%m-%dT%H:%M:%S.000000").to_string());
    let host = if launched.is_some() { "6f37bcdc2ee9bfbcfbdde1f6e8db1a64b2434164176adf09467dcb87" } else { "" };
    let zone = if launched.is_some() { seen.availability_zone.as_deref().unwrap_or_default() } else { "" };
    let mut fields = json!({
        "id": id, "name": seen.name, "status": seen.status.as_str(), "tenant_id": cloud.project_id, "user_id": cloud.user_id,
        "metadata": seen.metadata, "hostId": host, "image": image, "flavor": flavor_of(server, minor, base),
        "created": time(seen.created), "updated": time(seen.updated.unwrap_or(seen.created)), "addresses": addresses(server),
        "accessIPv4": "", "accessIPv6": "", "links": links(base, "servers", id), "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": zone, "config_drive": if server.config_drive { "True" } else { "" },
        "key_name": server.key_name, "OS-SRV-USG:launched_at": launched, "OS-SRV-USG:terminated_at": null,
        "OS-EXT-STS:task_state": seen.task, "OS-EXT-STS:vm_state": vm_state(&seen.status),
        "OS-EXT-STS:power_state": u8::from(active), "os-extended-volumes:volumes_attached": [],
    });
    if let Some(fields) = fields.as_object_mut() {
        if let Some(fault) = &seen.fault {
            let fault = json!({ "code": 500, "created": time(seen.updated.unwrap_or(seen.created)), "message": fault });
            fields.insert("fault".to_owned(), fault);
        } else {
            fields.insert("progress".to_owned(), 0.into());
        }
        // Nova asks Neutron for them: a server that was never placed has none.
        if seen.launched.is_some() {
            fields.insert("security_groups".to_owned(), security_groups(server));
        }
        let later = [
            (9, "locked", json!(seen.locked == Some(true))),
            (19, "description", Value::Null),
            (26, "tags", json!([])),
            (63, "trusted_image_certificates", Value::Null),
            (73, "locked_reason", Value::Null),
            (90, "OS-EXT-SRV-ATTR:hostname", json!(seen.name)),
        ];
        for (since, name, value) in later {
            if minor >= since {
                fields.insert(name.to_owned(), value);
            }
        }
        if single && minor >= 71 {
            fields.insert("server_groups".to_owned(), json!([]));
        }
    }
    fields
}

pub(super) fn security_groups(server: &CloudServer) -> Value {
    let default = vec!["default".to_owned()];
    let groups = if server.security_groups.is_empty() { &default } else { &server.security_groups };
    groups.iter().map(|name| json!({ "name": name })).collect()
}

fn flavor_of(server: &CloudServer, minor: Minor, base: &str) -> Value {
    let flavor = &server.flavor;
    if minor < 47 {
        let href = format!("{base}/flavors/{}", flavor.id);
        return json!({ "id": flavor.id, "links": [{ "rel": "bookmark", "href": href }] });
    }
    json!({ "vcpus": flavor.vcpus, "ram": flavor.ram, "disk": 10, "ephemeral": 0, "swap": 0,
            "original_name": flavor.name, "extra_specs": {} })
}

fn addresses(server: &CloudServer) -> Value {
    let mut networks = Map::new();
    for address in &server.seen.addresses {
        let kind = if address.kind == AddressKind::Fixed { "fixed" } else { "floating" };
        let one = json!({
            "version": if address.family == Family::V4 { 4 } else { 6 }, "addr": address.address,
            "OS-EXT-IPS:type": kind, "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:7c:d2:26",
        });
        if let Value::Array(list) = networks.entry(address.network.clone()).or_insert_with(|| json!([])) {
            list.push(one);
        }
    }
    Value::Object(networks)
}

pub(super) fn flavor(flavor: &Flavor, minor: Minor, base: &str) -> Value {
    let mut fields = json!({
        "id": flavor.id, "name": flavor.name, "ram": flavor.ram, "disk": 10, "swap": if minor < 75 { json!("") } else { json!(0) },
        "OS-FLV-EXT-DATA:ephemeral": 0, "OS-FLV-DISABLED:disabled": false, "vcpus": flavor.vcpus,
        "os-flavor-access:is_public": true, "rxtx_factor": 1.0, "links": links(base, "flavors", flavor.id.as_str()),
    });
    if let Some(fields) = fields.as_object_mut() {
        if minor >= 55 {
            fields.insert("description".to_owned(), Value::Null);
        }
        if minor >= 61 {
            fields.insert("extra_specs".to_owned(), json!({}));
        }
    }
    fields
}

pub(super) fn limits(quota: &Quota, minor: Minor) -> Value {
    let limit = |limit: Option<u64>| limit.map_or_else(|| json!(-1), Value::from);
    let mut absolute = json!({
        "maxTotalInstances": limit(quota.instances.limit), "maxTotalCores": limit(quota.cores.limit),
        "maxTotalRAMSize": limit(quota.ram.limit), "maxServerMeta": MAX_META, "maxTotalKeypairs": 100,
        "maxServerGroups": 10, "maxServerGroupMembers": 10, "totalRAMUsed": quota.ram.used,
        "totalCoresUsed": quota.cores.used, "totalInstancesUsed": quota.instances.used, "totalServerGroupsUsed": 0,
    });
    if let Some(fields) = absolute.as_object_mut().filter(|_| minor < 36) {
        let proxied = json!({
            "maxImageMeta": MAX_META, "maxPersonality": 5, "maxPersonalitySize": 10240, "maxTotalFloatingIps": -1,
            "maxSecurityGroups": -1, "maxSecurityGroupRules": -1, "totalFloatingIpsUsed": 0, "totalSecurityGroupsUsed": 0,
        });
        fields.extend(proxied.as_object().cloned().unwrap_or_default());
    }
    json!({ "limits": { "rate": [], "absolute": absolute } })
}
