//! `poolkeeper_spec`: a digest of each input that a node or a snapshot is made from, so that a plan can name what changed.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::desired::{
    AddressChoice, Agent, AgentMode, Digest, FlavorChoice, Launcher, Pool, PoolImage, Provider, SnapshotImage, UserData,
};
use crate::names::ImageId;

/// The version of the digests below. A spec of another version is never drift: its nodes age out.
const VERSION: &str = "v1";

/// What a node of a pool, or a snapshot, in a provider is made from now. Its digests are some work: once for all of a pool.
#[derive(Debug, Clone)]
pub struct Inputs {
    parts: Vec<(&'static str, Digest)>,
    /// Fixed order, at most 255 characters. Of a node `v1 flavor=1a2b3c4d image=... net=... data=... script=... fs=...
    /// labels=... target=... exec=...`: counts, timeouts and `paused` are not in it, changing them replaces no node. Of a
    /// snapshot `v1 base=... scripts=... env=... flavor=... props=... clean=...`: who logs in, timeouts, `keep` and
    /// `rebuild-after` are not.
    pub spec: String,
}

impl Inputs {
    pub fn of(pool: &Pool, provider: &Provider) -> Self {
        Self::from(parts(pool, provider).into())
    }

    /// Of a snapshot, from this base image.
    pub fn of_snapshot(image: &SnapshotImage, base: &ImageId) -> Self {
        let scripts = image.scripts.digest();
        let pairs = |table: &BTreeMap<String, String>| Digest::of(&table.iter().flat_map(|(k, v)| [k, v]).collect::<Vec<_>>());
        let clean: Vec<&str> = image.clean.iter().map(|what| what.word()).collect();
        Self::from(vec![
            ("base", Digest::of(&[base.as_str()])),
            ("scripts", Digest::of(&[scripts.as_str(), &image.setup_script])),
            ("env", pairs(&image.env)),
            ("flavor", flavor(&image.flavor)),
            ("props", pairs(&image.properties)),
            ("clean", Digest::of(&clean)),
        ])
    }

    fn from(parts: Vec<(&'static str, Digest)>) -> Self {
        let mut spec = VERSION.to_owned();
        for (name, digest) in &parts {
            let _ = write!(spec, " {name}={digest}");
        }
        Self { parts, spec }
    }

    /// The inputs that differ; empty when that spec is of another version or there is none.
    pub fn drifted(&self, node_spec: Option<&str>) -> Vec<&'static str> {
        if node_spec == Some(self.spec.as_str()) {
            return Vec::new();
        }
        let Some(rest) = node_spec.and_then(|spec| spec.strip_prefix(VERSION)) else { return Vec::new() };
        let have: BTreeMap<&str, &str> = rest.split_whitespace().filter_map(|pair| pair.split_once('=')).collect();
        let changed = self.parts.iter().filter(|(name, digest)| have.get(name).is_some_and(|old| *old != digest.as_str()));
        changed.map(|(name, _)| *name).collect()
    }
}

fn parts(pool: &Pool, provider: &Provider) -> [(&'static str, Digest); 9] {
    let image = match &pool.image {
        PoolImage::Snapshot(name) => Digest::of(&["snapshot", name.as_str()]),
        PoolImage::Glance(name) => Digest::of(&["glance", name]),
    };
    let data = Digest::of(&[
        pool.user_data.as_ref().map_or("", UserData::expose),
        provider.key_name.as_deref().unwrap_or_default(),
        if provider.config_drive { "config-drive" } else { "" },
    ]);
    let script = pool.ready_run();
    let fs = Digest::of(&[pool.agent.remote_fs.as_str(), pool.user_home.as_str()]);
    let target = Digest::of(&[pool.target.as_str()]);
    [
        ("flavor", flavor(&pool.flavor)),
        ("image", image),
        ("net", network(provider)),
        ("data", data),
        ("script", script),
        ("fs", fs),
        ("labels", Digest::of(&pool.labels)),
        ("target", target),
        ("exec", executors(pool.executors, &pool.agent)),
    ]
}

fn flavor(choice: &FlavorChoice) -> Digest {
    match choice {
        FlavorChoice::Name(name) => Digest::of(&["name", name]),
        FlavorChoice::AtLeast { min_ram, name_contains } => Digest::of(&["at-least", &min_ram.to_string(), name_contains]),
    }
}

fn network(provider: &Provider) -> Digest {
    let AddressChoice { network, family } = &provider.address;
    let mut parts: Vec<String> = provider.networks.iter().map(|network| format!("network {network}")).collect();
    parts.extend(provider.security_groups.iter().map(|group| format!("group {group}")));
    parts.push(format!("address {network:?} {family:?} {:?}", provider.floating_ip_network));
    Digest::of(&parts)
}

fn executors(executors: u32, agent: &Agent) -> Digest {
    let mode = match agent.mode {
        AgentMode::Exclusive => "exclusive",
        AgentMode::Normal => "normal",
    };
    let launcher = match &agent.launcher {
        Launcher::Ssh { port, java_path, jvm_options, host_key } => {
            format!("ssh {port} {java_path:?} {jvm_options:?} {host_key:?}")
        }
        Launcher::Inbound { start } => format!("inbound {start:?}"),
    };
    Digest::of(&[executors.to_string().as_str(), mode, &launcher])
}
