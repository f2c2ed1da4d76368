//! The text of `controller.yaml` to its values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::check;
use super::super::controller::{AddressChoice, Controller, Family, HostKeys, Limits, Provider, Target, TargetSecret};
use super::super::faults::{looks_like_a_secret, names_a_secret};
use super::super::keys::Keys;
use super::super::tables::{ADDRESS, CONTROLLER, LIMITS, PROVIDER, TARGET};
use super::super::value::Value;
use super::Parsed;
use crate::names::{ControllerId, ProviderName, TargetName};

/// `file` is how faults call it.
pub fn parse(file: &str, text: &str) -> Parsed<Controller> {
    super::file(file, text, &CONTROLLER, controller)
}

fn controller(keys: &Keys<'_>) -> Option<Controller> {
    let id = keys.at("controller").and_then(|value| id(&value));
    let providers = named(keys, "providers", |name, value| provider(name, value).map(|it| (ProviderName::new(name), it)));
    let targets = named(keys, "targets", |name, value| target(name, value).map(|it| (TargetName::new(name), it)));
    let limits = keys.keys("limits", &LIMITS).and_then(|keys| limits(&keys));
    let lost_grace = keys.duration("lost-grace");
    let lock_file = match keys.at("lock-file") {
        Some(value) => value.path(),
        None => id.as_ref().map(|id| PathBuf::from(format!("/var/lib/poolkeeper/lock/{id}"))),
    };
    let paused = keys.optional("paused", Value::text);
    Some(Controller {
        id: id?,
        providers: providers?,
        targets: targets?,
        limits: limits?,
        lost_grace: lost_grace?,
        lock_file: lock_file?,
        paused: paused?,
    })
}

fn id(value: &Value<'_>) -> Option<ControllerId> {
    let id = value.text()?;
    match check::controller_id(&id) {
        Ok(()) => Some(ControllerId::new(id)),
        Err(why) => value.refuse(value.fault(format!("`{id}` is no controller id")).label(why)),
    }
}

/// A map of things by names that a person chose; at least one.
fn named<K: Ord, T>(
    keys: &Keys<'_>,
    key: &str,
    mut read: impl FnMut(&str, Value<'_>) -> Option<(K, T)>,
) -> Option<BTreeMap<K, T>> {
    let map = keys.at(key)?;
    let entries = map.entries()?;
    if entries.is_empty() {
        return map.refuse(map.fault_at_key(format!("`{key}` has none")).hint("name at least one"));
    }
    let mut all = Some(BTreeMap::new());
    for (name, value) in entries {
        if let Err(why) = check::plain_name(&name) {
            value.out.add(value.fault_at_key(format!("`{name}` is no name for one of `{key}`")).label(why));
            all = None;
        }
        match (read(&name, value), &mut all) {
            (Some((name, thing)), Some(all)) => drop(all.insert(name, thing)),
            (None, _) => all = None,
            (Some(_), None) => {}
        }
    }
    all
}

fn provider(name: &str, value: Value<'_>) -> Option<Provider> {
    let keys = Keys::of(value, &PROVIDER)?;
    let cloud = keys.text("cloud");
    let region = keys.optional("region", Value::text);
    let max_servers = keys.count("max-servers", 0);
    let max_concurrent_launches = keys.count("max-concurrent-launches", 1);
    let networks = keys.at("networks").and_then(|value| value.texts());
    let address = keys.keys("address", &ADDRESS).and_then(|keys| address(&keys));
    let security_groups = keys.at("security-groups").and_then(|value| value.texts());
    let availability_zones = keys.at("availability-zones").and_then(|value| value.texts());
    let floating_ip_network = keys.optional("floating-ip-network", Value::text);
    let key_name = keys.optional("key-name", Value::text);
    let config_drive = keys.at("config-drive").and_then(|value| value.flag());
    let words = [("first-use", HostKeys::FirstUse), ("console", HostKeys::Console)];
    let host_keys = keys.at("host-keys").and_then(|value| value.one_of(&words));
    let api_timeout = keys.duration("api-timeout");
    let launch_timeout = keys.duration("launch-timeout");
    let boot_timeout = keys.duration("boot-timeout");
    Some(Provider {
        name: ProviderName::new(name),
        cloud: cloud?,
        region: region?,
        max_servers: max_servers?,
        max_concurrent_launches: max_concurrent_launches?,
        networks: networks?,
        address: address?,
        security_groups: security_groups?,
        availability_zones: availability_zones?,
        floating_ip_network: floating_ip_network?,
        key_name: key_name?,
        config_drive: config_drive?,
        host_keys: host_keys?,
        api_timeout: api_timeout?,
        launch_timeout: launch_timeout?,
        boot_timeout: boot_timeout?,
    })
}

fn address(keys: &Keys<'_>) -> Option<AddressChoice> {
    let network = keys.optional("network", Value::text);
    let family = keys.optional("family", |value| match value.count(0)? {
        4 => Some(Family::V4),
        6 => Some(Family::V6),
        _ => value.refuse(value.fault("`family` must be 4 or 6")),
    });
    Some(AddressChoice { network: network?, family: family? })
}

fn limits(keys: &Keys<'_>) -> Option<Limits> {
    let max_launches_per_run = keys.count("max-launches-per-run", 0);
    let max_deletes_per_run = keys.at("max-deletes-per-run").and_then(|value| value.share());
    let mass_offline = keys.at("mass-offline").and_then(|value| value.share());
    Some(Limits {
        max_launches_per_run: max_launches_per_run?,
        max_deletes_per_run: max_deletes_per_run?,
        mass_offline: mass_offline?,
        allow_deletes: None,
        allow_offline: None,
    })
}

fn target(name: &str, value: Value<'_>) -> Option<Target> {
    let keys = Keys::of(value, &TARGET)?;
    let url = keys.at("url").and_then(|value| url(&value));
    let user = keys.text("user");
    let secret = secret(&keys);
    let credentials_id = keys.optional("credentials-id", Value::text);
    Some(Target { name: TargetName::new(name), url: url?, user: user?, secret: secret?, credentials_id: credentials_id? })
}

/// With a slash at its end, so that paths can be put behind it.
fn url(value: &Value<'_>) -> Option<String> {
    let url = value.text()?;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split('/').next()).filter(|host| !host.is_empty());
    let Some(host) = host else {
        return value.refuse(value.fault("`url` must begin with `https://` or `http://` and name a host"));
    };
    if host.contains('@') {
        let fault = value.fault_at_key("`url` carries a user or a password");
        return value.refuse(fault.hint("`user` and `token-file` are the places for them"));
    }
    if url.contains(['?', '#', ' ']) {
        return value.refuse(value.fault("`url` must end where Jenkins' own paths begin").label("without `?`, `#` and blanks"));
    }
    Some(if url.ends_with('/') { url } else { format!("{url}/") })
}

fn secret(keys: &Keys<'_>) -> Option<TargetSecret> {
    let (token, password) = (keys.at("token-file"), keys.at("password-file"));
    match (token, password) {
        (Some(token), None) => secret_file(&token).map(TargetSecret::TokenFile),
        (None, Some(password)) => secret_file(&password).map(TargetSecret::PasswordFile),
        (Some(_), Some(_)) => {
            keys.out.add(keys.fault_at("password-file", "`token-file` and `password-file` are both given").hint("leave one out"));
            None
        }
        // An unknown key that is one by its name has a fault, with the same hint.
        (None, None) if keys.names().any(|name| name != "token-file" && name != "password-file" && names_a_secret(name)) => None,
        (None, None) => {
            let fault = keys.fault("`token-file` is missing");
            keys.out.add(fault.hint("an API token, or a password with `password-file`; both are paths of files"));
            None
        }
    }
}

fn secret_file(value: &Value<'_>) -> Option<PathBuf> {
    let path = value.text()?;
    if looks_like_a_secret(&path) {
        let fault = value.fault_at_key(format!("`{}` looks like a secret itself", value.name));
        return value
            .refuse(fault.hint("put it into a file, and the file's path here; then make a new token: this one is in git"));
    }
    Some(PathBuf::from(path))
}
