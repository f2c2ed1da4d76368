//! Names and ids as types of their own, so that a server's id is never taken for its name. No logic beyond that.

use std::borrow::Borrow;
use std::fmt;

/// A text that is kept by the thousand: up to 23 bytes in place, longer ones shared by all that clone it.
pub type Text = smol_str::SmolStr;

macro_rules! name_types {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(Text);

        impl $name {
            pub fn new(text: impl Into<Text>) -> Self {
                Self(text.into())
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.pad(&self.0)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
    )+};
}

name_types! {
    /// A deployment's id, put on all that it makes: `[a-z0-9-]`, at most 32 characters.
    ControllerId,
    /// A provider of `controller.yaml`: a cloud and region that nodes are launched in.
    ProviderName,
    /// A target of `controller.yaml`: a Jenkins controller.
    TargetName,
    /// A pool: the stem of its file in `pools/`.
    PoolName,
    /// A snapshot's name in the desired state: the stem of its file in `images/`.
    ImageName,
    /// A node: the name of its server and of its agent.
    NodeName,
    /// Nova's id of a server (a UUID).
    ServerId,
    /// Glance's id of an image (a UUID).
    ImageId,
    /// Nova's id of a flavor.
    FlavorId,
    /// Neutron's id of a network (a UUID).
    NetworkId,
    /// Neutron's id of a floating IP (a UUID).
    FloatingIpId,
    /// Neutron's id of a port (a UUID).
    PortId,
}

/// What a server is made for: a node of a pool, or the builder of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    Pool(PoolName),
    Image(ImageName),
}

impl Purpose {
    pub fn pool(&self) -> Option<&PoolName> {
        match self {
            Self::Pool(pool) => Some(pool),
            Self::Image(_) => None,
        }
    }

    pub fn image(&self) -> Option<&ImageName> {
        match self {
            Self::Pool(_) => None,
            Self::Image(image) => Some(image),
        }
    }

    /// Its name, as a file's stem in the desired state.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pool(pool) => pool.as_str(),
            Self::Image(image) => image.as_str(),
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// What OpenStack's ids look like.
pub fn is_uuid(text: &str) -> bool {
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// The first 8 characters of an id, as screens show it.
pub fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
