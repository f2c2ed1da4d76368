//! A floating IP as Neutron lists it, and whose it is: by the value of its description, written in its create call.

use std::fmt;

use crate::names::{ControllerId, FloatingIpId, NetworkId, PortId, ServerId};

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FloatingIp {
    pub id: FloatingIpId,
    /// `floating_ip_address`.
    pub address: String,
    /// `fixed_ip_address`: none while it is on no port.
    pub fixed: Option<String>,
    /// `port_id`.
    pub port: Option<PortId>,
    pub description: String,
}

/// A port of a server.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Port {
    pub id: PortId,
    pub network: NetworkId,
    /// `fixed_ips[].ip_address`, of both families.
    pub fixed: Vec<String>,
}

/// What the description of a floating IP of ours says: which deployment made it, for which server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloatingIpMark {
    pub controller: ControllerId,
    pub server: ServerId,
}

impl FloatingIpMark {
    /// None unless it is, letter by letter, what we write: all else is somebody else's.
    pub fn parse(description: &str) -> Option<Self> {
        let (controller, server) = description.strip_prefix("poolkeeper controller=")?.split_once(" server=")?;
        let word = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '=');
        (word(controller) && word(server)).then(|| Self { controller: controller.into(), server: server.into() })
    }
}

impl fmt::Display for FloatingIpMark {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "poolkeeper controller={} server={}", self.controller, self.server)
    }
}

impl FloatingIp {
    /// The server that it was made for; none: it is not this deployment's.
    pub fn server_of(&self, controller: &ControllerId) -> Option<ServerId> {
        FloatingIpMark::parse(&self.description).filter(|mark| mark.controller == *controller).map(|mark| mark.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mark = FloatingIpMark { controller: "contint".into(), server: "4bd733f6-fead-4af9-819b-1ea9b22e973c".into() };
        let text = mark.to_string();
        assert_eq!(text, "poolkeeper controller=contint server=4bd733f6-fead-4af9-819b-1ea9b22e973c");
        assert_eq!(FloatingIpMark::parse(&text), Some(mark));
    }

    #[test]
    fn all_else_is_foreign() {
        for text in [
            "",
            "web frontend",
            "poolkeeper controller=contint",
            "poolkeeper controller=contint server=",
            "poolkeeper controller= server=abc",
            "poolkeeper controller=contint server=abc ",
            "poolkeeper controller=contint server=abc (mine now)",
            "poolkeeper controller=contint  server=abc",
            " poolkeeper controller=contint server=abc",
            "Poolkeeper controller=contint server=abc",
            "poolkeeper controller=contint server=abc\n",
        ] {
            assert_eq!(FloatingIpMark::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn ownership_is_by_value() {
        let ip = |description: &str| FloatingIp {
            id: "f1".into(),
            address: "198.51.100.215".into(),
            fixed: None,
            port: None,
            description: description.into(),
        };
        let ours = ControllerId::from("contint");
        assert_eq!(ip("poolkeeper controller=contint server=abc").server_of(&ours), Some("abc".into()));
        assert_eq!(ip("poolkeeper controller=contint-2 server=abc").server_of(&ours), None);
    }
}
