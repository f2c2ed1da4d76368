//! What an action relies on, and the look directly before it that decides whether it still holds. Pure.

use std::collections::BTreeMap;
use std::fmt;

use crate::names::{ControllerId, FloatingIpId, ImageId, NodeName, ProviderName, ServerId, TargetName};
use crate::observed::{Computer, Fresh, Image, ImageMark, Mark, Object, Server, ServerStatus};

/// Default: nothing, as for a create.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Expects {
    pub server: Option<ServerExpects>,
    pub agent: Option<AgentExpects>,
    pub floating_ip: Option<FloatingIpExpects>,
    pub image: Option<ImageExpects>,
}

/// An image, by what it said when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ImageExpects {
    pub provider: ProviderName,
    pub id: ImageId,
    /// It is ours by this mark. None: not ours, and nothing but its name is relied on (published images).
    pub controller: Option<ControllerId>,
    pub name: Option<String>,
    pub status: Option<String>,
    pub protected: Option<bool>,
    pub marks: BTreeMap<ImageMark, MarkExpects>,
}

/// Still there, and still with these words: it is ours by nothing else.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FloatingIpExpects {
    pub provider: ProviderName,
    pub id: FloatingIpId,
    pub description: String,
    /// The server that must be gone: Nova itself says so.
    pub gone: Option<ServerId>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ServerExpects {
    pub provider: ProviderName,
    pub id: ServerId,
    pub controller: ControllerId,
    /// Only while Nova shows this status.
    pub status: Option<ServerStatus>,
    pub marks: BTreeMap<Mark, MarkExpects>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MarkExpects {
    Present,
    Absent,
    /// Present with this very value. Of a hold: it is over, or leaves this action free, and so does the lock that came with it.
    Is(String),
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AgentExpects {
    pub target: TargetName,
    pub name: NodeName,
    pub is: AgentIs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentIs {
    /// No agent of that name.
    Absent,
    /// Absent, or idle and not online: nothing runs on it and nothing can start.
    Removable,
    /// The same, of an agent whose channel is lost for longer than the grace: what its executors show is no build any more.
    GivenUp,
    /// What is left of a deleted agent: offline, without executors.
    Ghost,
    /// There, and not marked offline by anybody.
    Unmarked,
    /// There, and taken offline by us.
    MarkedByUs,
    /// There, in whatever state.
    Present,
}

/// Why an action is skipped: what it relied on is not so any more. The next pass decides anew.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stale {
    ServerGone,
    NotOurs,
    Held,
    Locked,
    Status(ServerStatus),
    Deleting,
    MarkAppeared(Mark),
    MarkGone(Mark),
    MarkChanged(Mark),
    AgentAppeared,
    AgentGone,
    AgentBusy,
    AgentOnline,
    AgentMarked,
    AgentNotMarked,
    FloatingIpGone,
    FloatingIpChanged,
    ServerThere,
    ImageGone,
    ImageNotOurs,
    ImageProtected,
    ImageUnprotected,
    /// Its name or status, as it is now.
    ImageIs(String),
    ImageMark(ImageMark),
}

impl fmt::Display for Stale {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerGone => out.write_str("the server is gone"),
            Self::NotOurs => out.write_str("the server does not carry our mark"),
            Self::Held => out.write_str("it is held now"),
            Self::Locked => out.write_str("it is locked now"),
            Self::Status(status) => write!(out, "the server is {} now", status.as_str()),
            Self::Deleting => out.write_str("the server is being deleted already"),
            Self::MarkAppeared(mark) => write!(out, "it carries {mark} now"),
            Self::MarkGone(mark) => write!(out, "it does not carry {mark} any more"),
            Self::MarkChanged(mark) => write!(out, "its {mark} says something else now"),
            Self::AgentAppeared => out.write_str("an agent of that name is there now"),
            Self::AgentGone => out.write_str("the agent is gone"),
            Self::AgentBusy => out.write_str("a build runs on it now"),
            Self::AgentOnline => out.write_str("the agent is online now"),
            Self::AgentMarked => out.write_str("the agent is marked offline already"),
            Self::AgentNotMarked => out.write_str("the agent does not have our offline mark any more"),
            Self::FloatingIpGone => out.write_str("the floating IP is gone"),
            Self::FloatingIpChanged => out.write_str("the floating IP's description says something else now"),
            Self::ServerThere => out.write_str("its server is there"),
            Self::ImageGone => out.write_str("the image is gone"),
            Self::ImageNotOurs => out.write_str("the image does not carry our mark"),
            Self::ImageProtected => out.write_str("the image is protected now"),
            Self::ImageUnprotected => out.write_str("the image is not protected any more"),
            Self::ImageIs(now) => write!(out, "the image is `{now}` now"),
            Self::ImageMark(mark) => write!(out, "the image's {mark} says something else now"),
        }
    }
}

impl Expects {
    /// What has to be read for it; none: nothing.
    pub fn object(&self) -> Option<Object> {
        let server = self.server.as_ref().map(|server| (server.provider.clone(), server.id.clone()));
        let agent = self.agent.as_ref().map(|agent| (agent.target.clone(), agent.name.clone()));
        let ip = self.floating_ip.as_ref();
        let gone = ip.and_then(|ip| Some((ip.provider.clone(), ip.gone.clone()?)));
        let floating_ip = ip.map(|ip| (ip.provider.clone(), ip.id.clone()));
        let image = self.image.as_ref().map(|image| (image.provider.clone(), image.id.clone()));
        let object = Object { server: server.or(gone), agent, floating_ip, image };
        (object != Object::default()).then_some(object)
    }
}

/// Whether an action may be done to the object as it is now. What is expected and was not read does not hold.
pub fn still_holds(expects: &Expects, fresh: &Fresh) -> Result<(), Stale> {
    if let Some(expected) = &expects.server {
        match fresh.server.as_ref().and_then(Option::as_ref) {
            Some(server) => server_holds(expected, server)?,
            None => return Err(Stale::ServerGone),
        }
    }
    if let Some(expected) = &expects.agent {
        agent_holds(expected.is, fresh.agent.as_ref().and_then(Option::as_ref))?;
    }
    if let Some(expected) = &expects.floating_ip {
        floating_ip_holds(expected, fresh)?;
    }
    match &expects.image {
        Some(expected) => image_holds(expected, fresh.image.as_ref().and_then(Option::as_ref).ok_or(Stale::ImageGone)?),
        None => Ok(()),
    }
}

fn image_holds(expected: &ImageExpects, image: &Image) -> Result<(), Stale> {
    let mark = |mark: ImageMark| image.properties.get(mark.key()).map(String::as_str).filter(|text| !text.is_empty());
    let controller = expected.controller.as_ref();
    if image.id != expected.id || controller.is_some_and(|controller| mark(ImageMark::Controller) != Some(controller.as_str())) {
        return Err(Stale::ImageNotOurs);
    }
    match (expected.protected, image.protected) {
        (Some(false), true) => return Err(Stale::ImageProtected),
        (Some(true), false) => return Err(Stale::ImageUnprotected),
        (None, _) | (Some(true), true) | (Some(false), false) => {}
    }
    for (wanted, now) in [(&expected.status, &image.status), (&expected.name, &image.name)] {
        if wanted.as_ref().is_some_and(|wanted| wanted != now) {
            return Err(Stale::ImageIs(now.clone()));
        }
    }
    for (key, wanted) in &expected.marks {
        let holds = match (wanted, mark(*key)) {
            (MarkExpects::Absent, now) => now.is_none(),
            (MarkExpects::Present, now) => now.is_some(),
            (MarkExpects::Is(seen), now) => now == Some(seen),
        };
        if !holds {
            return Err(Stale::ImageMark(*key));
        }
    }
    Ok(())
}

fn floating_ip_holds(expected: &FloatingIpExpects, fresh: &Fresh) -> Result<(), Stale> {
    let ip = fresh.floating_ip.as_ref().and_then(Option::as_ref).ok_or(Stale::FloatingIpGone)?;
    if ip.id != expected.id || ip.description != expected.description {
        return Err(Stale::FloatingIpChanged);
    }
    match (&expected.gone, &fresh.server) {
        // One that was not read may be there.
        (Some(_), None | Some(Some(_))) => Err(Stale::ServerThere),
        (Some(_), Some(None)) | (None, _) => Ok(()),
    }
}

fn server_holds(expected: &ServerExpects, server: &Server) -> Result<(), Stale> {
    if server.id != expected.id || server.mark(Mark::Controller) != Some(expected.controller.as_str()) {
        return Err(Stale::NotOurs);
    }
    if server.is_deleting() {
        return Err(Stale::Deleting);
    }
    match (expected.marks.get(&Mark::Hold), server.mark(Mark::Hold)) {
        (Some(MarkExpects::Is(seen)), Some(now)) if seen == now => {}
        (_, Some(_)) => return Err(Stale::Held),
        (_, None) if server.locked == Some(true) => return Err(Stale::Locked),
        (_, None) => {}
    }
    if expected.status.as_ref().is_some_and(|status| *status != server.status) {
        return Err(Stale::Status(server.status.clone()));
    }
    for (key, expects) in &expected.marks {
        match (expects, server.mark(*key)) {
            (MarkExpects::Absent, Some(_)) => return Err(Stale::MarkAppeared(*key)),
            (MarkExpects::Present | MarkExpects::Is(_), None) => return Err(Stale::MarkGone(*key)),
            (MarkExpects::Is(seen), Some(now)) if seen != now => return Err(Stale::MarkChanged(*key)),
            (MarkExpects::Absent, None) | (MarkExpects::Present | MarkExpects::Is(_), Some(_)) => {}
        }
    }
    Ok(())
}

fn agent_holds(is: AgentIs, agent: Option<&Computer>) -> Result<(), Stale> {
    match (is, agent) {
        (AgentIs::Absent, Some(_)) => Err(Stale::AgentAppeared),
        (AgentIs::Unmarked | AgentIs::MarkedByUs | AgentIs::Present | AgentIs::Ghost, None) => Err(Stale::AgentGone),
        (AgentIs::Ghost, Some(agent)) if !agent.may_be_ghost() => Err(Stale::AgentAppeared),
        (AgentIs::Unmarked, Some(agent)) if agent.temporarily_offline => Err(Stale::AgentMarked),
        (AgentIs::MarkedByUs, Some(agent)) if !agent.marked_by_us() => Err(Stale::AgentNotMarked),
        (AgentIs::Removable, Some(agent)) if agent.busy => Err(Stale::AgentBusy),
        (AgentIs::GivenUp, Some(agent)) if agent.busy && !agent.channel_surely_lost() => Err(Stale::AgentBusy),
        (AgentIs::Removable | AgentIs::GivenUp, Some(agent)) if agent.online() => Err(Stale::AgentOnline),
        (AgentIs::Absent | AgentIs::Removable | AgentIs::GivenUp, None)
        | (
            AgentIs::Removable | AgentIs::GivenUp | AgentIs::Unmarked | AgentIs::MarkedByUs | AgentIs::Present | AgentIs::Ghost,
            Some(_),
        ) => Ok(()),
    }
}
