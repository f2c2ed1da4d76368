//! The text of a file in `images/` to its values. `load` puts the scripts in.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::ScriptDir;
use super::super::check;
use super::super::faults::{Fault, names_a_secret};
use super::super::image::{Clean, DiskImage, SnapshotImage};
use super::super::keys::Keys;
use super::super::tables::{DISKIMAGE, IMAGE};
use super::super::value::Value;
use super::Parsed;
use crate::names::{ImageName, ProviderName};

/// `name` is the file's stem, `file` how faults call it.
pub fn parse(file: &str, name: &str, text: &str) -> Parsed<SnapshotImage> {
    let mut parsed = super::file(file, text, &IMAGE, |keys| image(keys, name));
    if let Err(why) = check::dns_name(name) {
        parsed.value = None;
        parsed.faults.push(Fault::of_file(file, format!("`{name}` is no name for an image")).hint(why));
    }
    parsed
}

fn image(keys: &Keys<'_>, name: &str) -> Option<SnapshotImage> {
    let providers = keys.at("providers").and_then(|value| value.some_texts());
    let base_image = keys.text("base-image");
    let base_image_owner = keys.optional("base-image-owner", Value::text);
    let flavor = super::flavor(keys);
    let setup_script = keys.at("setup-script").and_then(|value| super::script_name(&value));
    // Read here for its kind alone: `load` takes it from the document.
    let script_dir = keys.text("script-dir");
    let username = super::usernames(keys);
    let private_key = keys.at("private-key").and_then(|value| value.path());
    let ssh_port = keys.at("ssh-port").and_then(|value| value.port());
    let setup_timeout = keys.duration("setup-timeout");
    let rebuild_after = keys.duration("rebuild-after");
    let keep = keys.count("keep", 1);
    let clean = keys.at("clean").and_then(|value| clean(&value));
    let diskimage = keys.optional("diskimage", |value| diskimage(&Keys::of(value.clone(), &DISKIMAGE)?));
    let env = keys.at("env").and_then(|value| environment(&value));
    let properties = keys.at("properties").and_then(|value| properties(&value));
    script_dir?;
    Some(SnapshotImage {
        name: ImageName::new(name),
        providers: providers?.into_iter().map(ProviderName::new).collect(),
        base_image: base_image?,
        base_image_owner: base_image_owner?,
        flavor: flavor?,
        setup_script: setup_script?,
        scripts: Arc::new(ScriptDir::default()),
        username: username?,
        private_key: private_key?,
        ssh_port: ssh_port?,
        setup_timeout: setup_timeout?,
        rebuild_after: rebuild_after?,
        keep: keep?,
        clean: clean?,
        diskimage: diskimage?,
        env: env?,
        properties: properties?,
    })
}

/// Variables of the setup script. They stand in git and are hashed into the image's marks: no place for a secret.
fn environment(value: &Value<'_>) -> Option<BTreeMap<String, String>> {
    let mut whole = true;
    for (name, entry) in value.entries()? {
        let mut letters = name.chars();
        let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !first || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let fault = entry.fault_at_key(format!("`{name}` is no name of a variable"));
            value.out.add(fault.label("letters, digits and `_`"));
            whole = false;
        } else if names_a_secret(&name) {
            let fault = entry.fault_at_key(format!("`{name}` looks like a secret that stands in the desired state"));
            value.out.add(fault.warning().hint("let the setup script fetch it, or put it into the base image"));
        }
    }
    value.table().filter(|_| whole)
}

fn clean(value: &Value<'_>) -> Option<Vec<Clean>> {
    let words = [("machine-id", Clean::MachineId), ("dhcp-leases", Clean::DhcpLeases), ("host-keys", Clean::HostKeys)];
    let mut all = Vec::new();
    let mut whole = true;
    for item in value.items()? {
        match item.one_of(&words) {
            Some(word) if all.contains(&word) => {
                item.out.add(item.fault("it stands twice in `clean`"));
                whole = false;
            }
            Some(word) => all.push(word),
            None => whole = false,
        }
    }
    all.sort_unstable();
    whole.then_some(all)
}

fn diskimage(keys: &Keys<'_>) -> Option<DiskImage> {
    let elements = keys.at("elements").and_then(|value| elements(&value));
    let release = keys.optional("release", Value::text);
    let env = keys.at("env").and_then(|value| environment(&value));
    Some(DiskImage { elements: elements?, release: release?, env: env? })
}

/// They are arguments of a command: none may be taken for an option of it.
fn elements(value: &Value<'_>) -> Option<Vec<String>> {
    let elements = value.some_texts()?;
    match elements.iter().find(|name| name.starts_with('-') || name.contains(char::is_whitespace)) {
        Some(name) => value.refuse(value.fault(format!("`{name}` is no name of an element"))),
        None => Some(elements),
    }
}

/// Of the Glance image. Those of ours say whose it is.
fn properties(value: &Value<'_>) -> Option<BTreeMap<String, String>> {
    let mut whole = true;
    for (name, entry) in value.entries()? {
        if name.starts_with("poolkeeper_") {
            let fault = entry.fault_at_key(format!("`{name}` is a mark of poolkeeper's own"));
            value.out.add(fault.hint("name the property otherwise"));
            whole = false;
        }
    }
    value.table().filter(|_| whole)
}
