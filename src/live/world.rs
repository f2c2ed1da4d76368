//! `Live`: each question and each request of the `World`, handed to the client that it is for.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;

use super::http::Patience;
use super::jenkins::Jenkins;
use super::machine;
use super::openstack::{self, Cloud, CloudError};
use crate::desired::{Desired, Target, TargetSecret};
use crate::load::CREDENTIALS;
use crate::names::{ProviderName, TargetName};
use crate::observed::{Answer, Ask, Fresh, Gap, Lists, Object, Source};
use crate::plan::Act;
use crate::world::{ActError, ActErrorKind, Done, World};

/// Of one call to a controller. A list of a thousand agents takes an old one about a second; a controller in the middle of a
/// garbage collection answers within half a minute or not at all.
const JENKINS_TIMEOUT: Duration = Duration::from_secs(30);

/// What the real world needs of its surroundings.
#[derive(Debug)]
pub struct Surroundings {
    pub openstack: openstack::Surroundings,
    /// `NODEPOOL_*` of our own environment: passed to scripts.
    pub nodepool: BTreeMap<String, SecretString>,
}

/// OpenStack, Jenkins and machines as they are.
#[derive(Debug)]
pub struct Live {
    /// A client, or why there is none: said as a gap at every use, so that the rest is still seen.
    clouds: BTreeMap<ProviderName, Result<Cloud, Unusable>>,
    targets: BTreeMap<TargetName, Result<Jenkins, Unusable>>,
    patience: Patience,
    nodepool: BTreeMap<String, SecretString>,
}

/// Why there is no client, and what a person can do.
#[derive(Debug, Clone)]
struct Unusable {
    said: String,
    hint: Option<String>,
}

impl Unusable {
    fn new(said: String, hint: &str) -> Self {
        Self { said, hint: Some(hint.to_owned()) }
    }

    fn gap(self, source: Source, tried: &str) -> Gap {
        Gap { source, tried: tried.to_owned(), answered: self.said, hint: self.hint }
    }
}

impl From<CloudError> for Unusable {
    fn from(error: CloudError) -> Self {
        Self { said: error.said, hint: error.hint }
    }
}

impl Live {
    /// Reads clouds.yaml and the targets' secrets. Makes no call.
    pub fn new(desired: &Desired, around: Surroundings) -> Self {
        let clouds = desired.controller.providers.values().map(|provider| {
            let cloud = Cloud::new(provider, &around.openstack).map_err(Unusable::from);
            (provider.name.clone(), cloud)
        });
        let patience = around.openstack.patience.clone();
        let targets = desired.controller.targets.values().map(|target| (target.name.clone(), jenkins(target, &patience)));
        Self { clouds: clouds.collect(), targets: targets.collect(), patience: patience.clone(), nodepool: around.nodepool }
    }

    /// HTTP requests sent so far.
    pub fn calls(&self) -> u64 {
        let clouds = self.clouds.values().flatten().map(Cloud::calls);
        let targets = self.targets.values().flatten().map(Jenkins::calls);
        clouds.chain(targets).sum()
    }

    pub fn cloud(&self, name: &ProviderName) -> Result<&Cloud, Gap> {
        let why = match self.clouds.get(name) {
            Some(Ok(cloud)) => return Ok(cloud),
            Some(Err(why)) => why.clone(),
            None => Unusable::new("it is not in the desired state".to_owned(), NOT_DESIRED),
        };
        Err(why.gap(Source::Provider(name.clone()), "reading its credentials"))
    }

    fn target(&self, name: &TargetName) -> Result<&Jenkins, Gap> {
        let why = match self.targets.get(name) {
            Some(Ok(jenkins)) => return Ok(jenkins),
            Some(Err(why)) => why.clone(),
            None => Unusable::new("it is not in the desired state".to_owned(), NOT_DESIRED),
        };
        Err(why.gap(Source::Target(name.clone()), "reading its secret"))
    }

    fn left(&self) -> Duration {
        (self.patience.left)()
    }
}

const NOT_DESIRED: &str = "nodes are there that were made with it: bring it back into controller.yaml until they are gone";

fn jenkins(target: &Target, patience: &Patience) -> Result<Jenkins, Unusable> {
    let (path, is_token) = match &target.secret {
        TargetSecret::TokenFile(path) => (path, true),
        TargetSecret::PasswordFile(path) => (path, false),
    };
    let secret = secret(path)?;
    Jenkins::new(target, secret, is_token, JENKINS_TIMEOUT, patience.clone())
        .map_err(|error| Unusable::new(error.to_string(), "check the target's `url` in controller.yaml"))
}

/// A secret's file, without the line's end that editors leave.
fn secret(path: &Path) -> Result<SecretString, Unusable> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| unreadable_secret(path, &error))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Unusable::new(format!("{shown} is empty"), "write the secret of the target's `user` into it"));
    }
    if text.contains(['\r', '\n']) {
        return Err(Unusable::new(
            format!("{shown} has several lines"),
            "the secret stands in it alone, without its user's name",
        ));
    }
    Ok(SecretString::from(text))
}

fn unreadable_secret(path: &Path, error: &std::io::Error) -> Unusable {
    let hint = if path.starts_with(CREDENTIALS) {
        "a name without a slash is a credential of the systemd unit (LoadCredential=); by hand, set CREDENTIALS_DIRECTORY to \
         the directory that has the file"
    } else {
        "make it, or correct `token-file` (`password-file`) of the target; the user that runs poolkeeper must be able to read it"
    };
    Unusable::new(format!("{} cannot be read: {error}", path.display()), hint)
}

/// A request that cannot even be sent.
fn unsendable(gap: Gap) -> ActError {
    ActError { kind: ActErrorKind::NotNow, said: gap.answered, tried: gap.tried, hint: gap.hint }
}

impl World for Live {
    fn lists(&self, desired: &Desired) -> Lists {
        let names = desired.glance_names();
        let controller = &desired.controller.id;
        std::thread::scope(|scope| {
            let providers: Vec<_> = desired
                .controller
                .providers
                .keys()
                .map(|name| (name, scope.spawn(|| self.cloud(name)?.lists(&names, controller))))
                .collect();
            let targets: Vec<_> =
                desired.controller.targets.keys().map(|name| (name, scope.spawn(|| self.target(name)?.list()))).collect();
            Lists {
                providers: providers.into_iter().map(|(name, list)| (name.clone(), joined_list(list))).collect(),
                targets: targets.into_iter().map(|(name, list)| (name.clone(), joined_list(list))).collect(),
            }
        })
    }

    fn answer(&self, ask: &Ask) -> Result<Answer, Gap> {
        match ask {
            Ask::Machine(ask) => machine::look(ask, &self.nodepool).map(Answer::Machine),
            Ask::ScriptLog(ask) => machine::log(ask, &self.nodepool).map(Answer::ScriptLog),
            Ask::Console(provider, server) => self.cloud(provider)?.console(server).map(Answer::Console),
            Ask::Limits(provider) => self.cloud(provider)?.limits().map(Answer::Limits),
            Ask::Flavors(provider) => self.cloud(provider)?.flavors().map(Answer::Flavors),
            Ask::AgentConfig(target, name) => self.target(target)?.config(name).map(Answer::AgentConfig),
            Ask::Queue(target) => self.target(target)?.queue().map(Answer::Queue),
            Ask::Networks(provider) => self.cloud(provider)?.networks().map(Answer::Networks),
            Ask::Image(provider, image) => self.cloud(provider)?.image(image).map(Answer::Image),
            Ask::Ports(provider, server) => self.cloud(provider)?.ports(server).map(Answer::Ports),
        }
    }

    fn read(&self, object: &Object) -> Result<Fresh, Gap> {
        let Object { server, agent, floating_ip, image } = object;
        let server = server.as_ref().map(|(provider, id)| self.cloud(provider)?.server(id)).transpose()?;
        let agent = agent.as_ref().map(|(target, name)| self.target(target)?.computer(name)).transpose()?;
        let floating_ip = floating_ip.as_ref().map(|(provider, id)| self.cloud(provider)?.floating_ip(id)).transpose()?;
        let image = image.as_ref().map(|(provider, id)| self.cloud(provider)?.image(id)).transpose()?;
        Ok(Fresh { server, agent, floating_ip, image })
    }

    fn act(&self, act: &Act) -> Result<Done, ActError> {
        let cloud = |name| self.cloud(name).map_err(unsendable);
        let target = |name| self.target(name).map_err(unsendable);
        match act {
            Act::CreateServer(create) => cloud(&create.provider)?.create_server(create),
            Act::SetMarks { provider, server, marks } => cloud(provider)?.set_marks(server, marks),
            Act::ClearMark { provider, server, mark } => cloud(provider)?.clear_mark(server, *mark),
            Act::Unlock { provider, server } => cloud(provider)?.unlock(server),
            Act::DeleteServer { provider, server } => cloud(provider)?.delete_server(server),
            Act::CreateFloatingIp(create) => cloud(&create.provider)?.create_floating_ip(create),
            Act::DeleteFloatingIp { provider, id } => cloud(provider)?.delete_floating_ip(id),
            Act::PushScripts(push) => machine::push(push, self.left()),
            Act::StartScript(start) => machine::start(start, &self.nodepool, self.left()),
            Act::CreateAgent(agent) => target(&agent.target)?.create_agent(agent),
            Act::MarkOffline { target: of, name, message } => target(of)?.mark_offline(name, message),
            Act::LiftMark { target: of, name } => target(of)?.lift_mark(name),
            Act::DeleteAgent { target: of, name } => target(of)?.delete_agent(name),
            Act::StartAgent(start) => {
                let program = target(&start.target)?.agent_program(start)?;
                machine::start_agent(start, &program, self.left())
            }
            Act::TurnOff(off) => machine::turn_off(off, self.left()),
            Act::CreateImage(create) => cloud(&create.provider)?.create_image(create),
            Act::MarkImage { provider, image, marks } => cloud(provider)?.mark_image(image, marks),
            Act::ProtectImage { provider, image, protected } => cloud(provider)?.protect_image(image, *protected),
            Act::RenameImage { provider, image, name } => cloud(provider)?.rename_image(image, name),
            Act::DeleteImage { provider, image } => cloud(provider)?.delete_image(image),
        }
    }
}

/// A panic in a list's thread is a fault of ours: it goes on in the caller.
fn joined_list<T>(list: std::thread::ScopedJoinHandle<'_, T>) -> T {
    list.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
