//! What each act of a plan does to the state.

use std::collections::BTreeMap;

use super::cloud::NewServer;
use super::images::ImageChange;
use super::jenkins::{Node, NodeLauncher, Why};
use super::machine::Process;
use super::refusal::Refusal;
use super::state::State;
use crate::desired::Digest;
use crate::names::{ImageId, NodeName, ProviderName, TargetName};
use crate::observed::MachineSight;
use crate::plan::{
    Act, AgentLauncher, CreateAgent, CreateImage, CreateServer, Machine, PushScripts, StartAgent, StartScript, TurnOff,
};
use crate::world::Done;

/// A machine's answer to something that it does not answer.
fn no_ssh() -> Refusal {
    Refusal::new(503, "connection refused")
}

impl State {
    pub(super) fn perform(&mut self, act: &Act) -> Result<Done, Refusal> {
        match act {
            Act::CreateServer(create) => self.create_server(&create.provider, new_server(create)).map(Done::Accepted),
            Act::SetMarks { provider, server, marks } => {
                let items = marks.iter().map(|(mark, value)| (mark.key().to_owned(), value.clone())).collect();
                self.set_marks(provider, server, &items).map(|_| Done::Done)
            }
            Act::ClearMark { provider, server, mark } => match self.clear_mark(provider, server, mark.key()) {
                Err(refusal) if refusal.status == 404 && refusal.said.starts_with("Metadata") => Ok(Done::Already),
                other => other.map(|()| Done::Done),
            },
            Act::Unlock { provider, server } => self.set_lock(provider, server, false).map(|()| Done::Done),
            Act::DeleteServer { provider, server } => already_when_gone(self.delete_server(provider, server)),
            Act::CreateFloatingIp(create) => self.perform_floating_ip(create),
            Act::DeleteFloatingIp { provider, id } => already_when_gone(self.delete_floating_ip(provider, id)),
            Act::PushScripts(push) => self.push_scripts(push),
            Act::StartScript(start) => self.start_script(start),
            Act::CreateAgent(create) => self.create_agent(&create.target, new_node(create)).map(|()| Done::Done),
            Act::MarkOffline { target, name, message } => self.mark_offline(target, name, message),
            Act::LiftMark { target, name } => self.lift_mark(target, name),
            Act::DeleteAgent { target, name } => already_when_gone(self.delete_agent(target, name)),
            Act::StartAgent(start) => self.start_agent(start),
            Act::TurnOff(off) => self.act_turn_off(off),
            Act::CreateImage(create) => self.act_create_image(create),
            Act::MarkImage { provider, image, marks } => {
                let changes = marks.iter().map(|(mark, value)| ImageChange::Property(mark.key().to_owned(), value.clone()));
                self.act_change_image(provider, image, &changes.collect::<Vec<_>>())
            }
            Act::ProtectImage { provider, image, protected } => {
                self.act_change_image(provider, image, &[ImageChange::Protected(*protected)])
            }
            Act::RenameImage { provider, image, name } => {
                self.act_change_image(provider, image, &[ImageChange::Name(name.clone())])
            }
            Act::DeleteImage { provider, image } => already_when_gone(self.delete_image(provider, image)),
        }
    }

    /// The machine of an action, reached with its pinned key.
    fn reach(&mut self, on: &Machine) -> Result<&mut super::machine::Machine, Refusal> {
        let now = self.clock.now();
        let machine = self.machines.get_mut(&on.server).filter(|machine| machine.address == on.login.host);
        let machine = machine.ok_or_else(no_ssh)?;
        match machine.sight(Some(&on.pinned), (&on.server, &Digest::of::<&[u8]>(&[])), false, now) {
            MachineSight::Up { .. } => Ok(machine),
            MachineSight::NoSsh { why } => Err(Refusal::new(503, why)),
            MachineSight::OtherKey { key } => Err(Refusal::new(495, format!("another host key answered: {key}"))),
            MachineSight::LoginRefused { why, .. } => Err(Refusal::new(495, why)),
        }
    }

    fn push_scripts(&mut self, push: &PushScripts) -> Result<Done, Refusal> {
        let machine = self.reach(&push.machine)?;
        machine.disk.scripts = Some(push.scripts.clone());
        self.log("push-scripts", push.node.hostname.as_str(), push.scripts.digest().as_str());
        Ok(Done::Done)
    }

    fn start_script(&mut self, start: &StartScript) -> Result<Done, Refusal> {
        let (now, ends) = (self.clock.now(), self.clock.after(self.delays.script));
        let machine = self.reach(&start.machine)?;
        if !machine.start_script(&start.digest, start.script.as_deref(), now, ends) {
            return Ok(Done::Already);
        }
        self.log("start-script", start.hostname.as_str(), start.digest.as_str());
        Ok(Done::Done)
    }

    fn start_agent(&mut self, start: &StartAgent) -> Result<Done, Refusal> {
        // Its secret is read first.
        self.target(&start.target)?.node(start.name.as_str())?;
        let process = Process { target: start.target.clone(), name: start.name.clone() };
        if !self.reach(&start.machine)?.start_agent(process) {
            return Ok(Done::Already);
        }
        self.log("start-agent", start.name.as_str(), "");
        Ok(Done::Done)
    }

    fn act_turn_off(&mut self, off: &TurnOff) -> Result<Done, Refusal> {
        self.reach(&off.machine)?;
        self.turn_off(&off.machine.server, &off.clean).map(|()| Done::Done)
    }

    fn act_create_image(&mut self, create: &CreateImage) -> Result<Done, Refusal> {
        let marks = create.marks.iter().map(|(mark, value)| (mark.key().to_owned(), value.clone()));
        let metadata: BTreeMap<String, String> = create.properties.clone().into_iter().chain(marks).collect();
        self.create_image(&create.provider, &create.server, create.name.as_str(), &metadata).map(|_| Done::Done)
    }

    fn act_change_image(&mut self, provider: &ProviderName, id: &ImageId, changes: &[ImageChange]) -> Result<Done, Refusal> {
        self.change_image(provider, id, changes).map(|_| Done::Done)
    }

    fn mark_offline(&mut self, target: &TargetName, name: &NodeName, message: &str) -> Result<Done, Refusal> {
        let now = self.clock.now();
        let jenkins = self.target(target)?;
        let user = jenkins.user.clone();
        let node = jenkins.node(name.as_str())?;
        if node.marked {
            return Ok(Done::Already);
        }
        node.set_mark(now, Why::User { user, message: message.to_owned() });
        self.log("mark-offline", name.as_str(), message);
        Ok(Done::Done)
    }
}

impl State {
    fn lift_mark(&mut self, target: &TargetName, name: &NodeName) -> Result<Done, Refusal> {
        let node = self.target(target)?.node(name.as_str())?;
        if !node.marked {
            return Ok(Done::Already);
        }
        node.unmark();
        self.log("lift-mark", name.as_str(), "");
        Ok(Done::Done)
    }
}

fn already_when_gone(result: Result<(), Refusal>) -> Result<Done, Refusal> {
    match result {
        Ok(()) => Ok(Done::Done),
        Err(refusal) if refusal.status == 404 => Ok(Done::Already),
        Err(refusal) => Err(refusal),
    }
}

fn new_server(create: &CreateServer) -> NewServer {
    NewServer {
        name: create.name.as_str().to_owned(),
        image: create.image.as_str().to_owned(),
        flavor: create.flavor.as_str().to_owned(),
        networks: create.networks.iter().map(|network| network.as_str().to_owned()).collect(),
        security_groups: create.security_groups.clone(),
        availability_zone: create.availability_zone.clone(),
        key_name: create.key_name.clone(),
        config_drive: create.config_drive,
        user_data: create.user_data.as_ref().map(|data| data.expose().into()),
        metadata: create.marks.iter().map(|(mark, value)| (mark.key().to_owned(), value.clone())).collect(),
    }
}

fn new_node(create: &CreateAgent) -> Node {
    let launcher = match &create.launcher {
        AgentLauncher::Ssh { host, .. } => NodeLauncher::Ssh { host: host.clone() },
        AgentLauncher::Inbound => NodeLauncher::Inbound,
    };
    let mut node = Node::new(create.name.clone(), launcher);
    node.description.clone_from(&create.description);
    node.executors = create.executors;
    node.remote_fs.clone_from(&create.remote_fs);
    node.labels.clone_from(&create.labels);
    node.mode = create.mode;
    node
}
