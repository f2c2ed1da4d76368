//! Every key of the desired state with its default: the one list that the parser, the documentation's test and the hints for
//! misspelt keys are held to. What a value may be is in `parse/`.

/// A key of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub name: &'static str,
    pub preset: Preset,
}

/// What stands for a key that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// It must be given.
    Required,
    /// This YAML, read as though it were written there. `null`: none.
    Is(&'static str),
    /// Something that other values decide, in words for the documentation.
    From(&'static str),
    /// Not supported yet: given, it must be this YAML, or null.
    NotYet(&'static str),
}

use Preset::{From, Is, NotYet, Required};

/// The keys of one kind of map.
#[derive(Debug)]
pub struct Table {
    /// For people: `a provider`.
    pub what: &'static str,
    pub keys: &'static [Key],
}

impl Table {
    pub fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

const fn key(name: &'static str, preset: Preset) -> Key {
    Key { name, preset }
}

pub const CONTROLLER: Table = Table {
    what: "controller.yaml",
    keys: &[
        key("controller", Required),
        key("providers", Required),
        key("targets", Required),
        key("limits", Is("{}")),
        key("lost-grace", Is("10m")),
        key("alien-age", NotYet("1h")),
        key("lock-file", From("/var/lib/poolkeeper/lock/<controller>")),
        key("metrics-file", NotYet("null")),
        key("check", NotYet("{}")),
        key("paused", Is("null")),
    ],
};

pub const PROVIDER: Table = Table {
    what: "a provider",
    keys: &[
        key("cloud", Required),
        key("region", Is("null")),
        key("max-servers", Required),
        key("max-concurrent-launches", Is("10")),
        key("networks", Is("[]")),
        key("address", Is("{}")),
        key("security-groups", Is("[default]")),
        key("availability-zones", Is("[]")),
        key("floating-ip-network", Is("null")),
        key("key-name", Is("null")),
        key("config-drive", Is("true")),
        key("host-keys", Is("first-use")),
        key("api-timeout", Is("30s")),
        key("launch-timeout", Is("15m")),
        key("boot-timeout", Is("5m")),
    ],
};

pub const ADDRESS: Table = Table { what: "an address", keys: &[key("network", Is("null")), key("family", Is("null"))] };

pub const TARGET: Table = Table {
    what: "a target",
    keys: &[
        key("url", Required),
        key("user", Required),
        key("token-file", From("none: then `password-file`")),
        key("password-file", From("none: then `token-file`")),
        key("credentials-id", Is("null")),
    ],
};

pub const LIMITS: Table = Table {
    what: "limits",
    keys: &[key("max-launches-per-run", Is("10")), key("max-deletes-per-run", Is("50%")), key("mass-offline", Is("50%"))],
};

pub const IMAGE: Table = Table {
    what: "an image",
    keys: &[
        key("providers", Required),
        key("base-image", Required),
        key("base-image-owner", Is("null")),
        key("flavor", Required),
        key("setup-script", Required),
        key("script-dir", Is("scripts")),
        key("username", Is("jenkins")),
        key("private-key", Is("/etc/poolkeeper/id_ed25519")),
        key("ssh-port", Is("22")),
        key("setup-timeout", Is("2h")),
        key("rebuild-after", Is("24h")),
        key("clean", Is("[machine-id, dhcp-leases]")),
        key("keep", Is("2")),
        key("diskimage", Is("null")),
        key("env", Is("{}")),
        key("properties", Is("{}")),
    ],
};

pub const DISKIMAGE: Table =
    Table { what: "a disk image", keys: &[key("elements", Required), key("release", Is("null")), key("env", Is("{}"))] };

pub const FLAVOR: Table = Table { what: "a flavor", keys: &[key("min-ram", Required), key("name-contains", Is("null"))] };

pub const POOL: Table = Table {
    what: "a pool",
    keys: &[
        key("image", Required),
        key("flavor", Required),
        key("providers", Required),
        key("target", Required),
        key("labels", From("the pool's name")),
        key("min-ready", Required),
        key("max-servers", Required),
        key("script-dir", From("none; of an image that we build: the image's")),
        key("ready-script", Is("null")),
        key("ready-timeout", Is("10m")),
        key("online-timeout", Is("5m")),
        key("username", Is("jenkins")),
        key("user-home", Is("/home/jenkins")),
        key("private-key", Is("/etc/poolkeeper/id_ed25519")),
        key("ssh-port", Is("22")),
        key("user-data", Is("null")),
        key("executors", Is("1")),
        key("single-use", Is("true")),
        key("used-when", Is("[gearman, busy]")),
        key("agent", Is("{}")),
        key("check-interval", Is("5m")),
        key("max-ready-age", Is("24h")),
        key("demand", NotYet("null")),
        key("max-hold", NotYet("null")),
        key("paused", Is("null")),
    ],
};

pub const POOL_IMAGE: Table = Table { what: "an image made elsewhere", keys: &[key("glance", Required)] };

pub const MESSAGE: Table = Table { what: "a text to look for", keys: &[key("message", Required)] };

pub const AGENT: Table = Table {
    what: "an agent",
    keys: &[
        key("launcher", Is("ssh")),
        key("port", Is("22")),
        key("java-path", Is("null")),
        key("jvm-options", Is("null")),
        key("host-key", Is("pinned")),
        key("remote-fs", From("<user-home>/workspace")),
        key("mode", Is("exclusive")),
        key("start", Is("null")),
        key("jar", NotYet("null")),
    ],
};

pub const ALL: [&Table; 12] =
    [&CONTROLLER, &PROVIDER, &ADDRESS, &TARGET, &LIMITS, &IMAGE, &DISKIMAGE, &FLAVOR, &POOL, &POOL_IMAGE, &MESSAGE, &AGENT];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_stands_twice_in_a_table() {
        for table in ALL {
            let mut names: Vec<&str> = table.keys.iter().map(|key| key.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), table.keys.len(), "{}", table.what);
        }
    }
}
