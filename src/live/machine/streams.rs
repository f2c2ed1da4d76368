//! What is sent to a remote command's stdin: tar streams of files, and an environment. Nothing here is ever in a log.

use std::collections::BTreeMap;
use std::io;

use secrecy::{ExposeSecret as _, SecretString};

use super::remote_command::COMPLETE;
use crate::plan::{NodeFiles, PushScripts};

/// For `RemoteCommand::Push`.
pub fn push(push: &PushScripts) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in &push.scripts.files {
        append(&mut archive, &format!("opt/nodepool-scripts/{name}"), content, 0o755)?;
    }
    for (name, content) in node_files(&push.node) {
        append(&mut archive, &format!("etc/nodepool/{name}"), content.as_bytes(), 0o644)?;
    }
    complete(archive)
}

/// For `RemoteCommand::StartAgent`: names and contents.
pub fn agent(files: &BTreeMap<&str, &[u8]>) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        append(&mut archive, name, content, 0o600)?;
    }
    complete(archive)
}

/// For `RemoteCommand::Start`. The error names a variable that cannot be sent, never its value.
pub fn environment(variables: &BTreeMap<String, SecretString>) -> Result<Vec<u8>, String> {
    let mut stream = Vec::new();
    for (name, value) in variables {
        let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if !starts || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(format!("`{name}` is no name of an environment variable"));
        }
        let value = value.expose_secret();
        // The character 1 stands for a newline on its way: see `remote_command`.
        if value.contains(['\0', '\u{1}']) {
            return Err(format!("the environment variable {name} has a character that cannot be sent"));
        }
        stream.extend_from_slice(name.as_bytes());
        stream.push(b'=');
        stream.extend_from_slice(value.as_bytes());
        stream.push(0);
    }
    stream.extend_from_slice(COMPLETE.as_bytes());
    stream.push(0);
    Ok(stream)
}

/// What nodepool 0.1 to 0.3 wrote for a node set of one node; its key pair is made on the machine itself.
fn node_files(node: &NodeFiles) -> Vec<(&'static str, String)> {
    let NodeFiles { hostname: _, address, private_address, provider, region, availability_zone, cloud, uuid } = node;
    let region = region.as_deref().unwrap_or_default();
    let zone = availability_zone.as_deref().unwrap_or_default();
    vec![
        ("node", format!("{address}\n")),
        ("node_private", format!("{private_address}\n")),
        ("primary_node", format!("{address}\n")),
        ("primary_node_private", format!("{private_address}\n")),
        (
            "provider",
            format!("NODEPOOL_PROVIDER={provider}\nNODEPOOL_REGION={region}\nNODEPOOL_AZ={zone}\nNODEPOOL_CLOUD={cloud}\n"),
        ),
        ("role", "primary\n".to_owned()),
        ("sub_nodes", String::new()),
        ("sub_nodes_private", String::new()),
        ("uuid", format!("{uuid}\n")),
    ]
}

fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8], mode: u32) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    archive.append_data(&mut header, name, content)
}

fn complete(mut archive: tar::Builder<Vec<u8>>) -> io::Result<Vec<u8>> {
    append(&mut archive, COMPLETE, b"", 0o600)?;
    archive.into_inner()
}
