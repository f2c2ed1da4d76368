//! The calls: what each asks, which answers count as done. How an answer is read is `computer`'s, what a refusal means `fault`'s.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;

use super::computer::{ComputerSet, RawComputer, list_path, one_path};
use super::config;
use super::crumb::{self, Crumb};
use super::inbound::{Jnlp, Style};
use super::{fault, launcher, queue};
use crate::desired::Target;
use crate::live::http::{Client, HttpError, Options, Patience, Request, Response, log};
use crate::live::machine::AgentProgram;
use crate::names::{NodeName, TargetName};
use crate::observed::{AgentConfig, Computer, Gap, TargetList};
use crate::plan::{CreateAgent, StartAgent};
use crate::world::{ActError, ActErrorKind, Done};

/// What stays as it is in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One controller. A crumb and the agent's jar are kept for the run.
#[derive(Debug)]
pub struct Jenkins {
    name: TargetName,
    url: String,
    user: String,
    secret: SecretString,
    /// A password needs a crumb at every generation; a token only where a POST is refused for want of one.
    needs_crumb: bool,
    client: Client,
    seen: Mutex<Seen>,
}

/// What the controller told in this run.
#[derive(Debug, Default)]
struct Seen {
    version: Option<String>,
    crumb: Option<Crumb>,
    jar: Option<Arc<Vec<u8>>>,
}

impl Jenkins {
    /// `timeout`: of one call. No call is made here.
    pub fn new(
        target: &Target,
        secret: SecretString,
        is_token: bool,
        timeout: Duration,
        patience: Patience,
    ) -> Result<Self, HttpError> {
        Ok(Self {
            name: target.name.clone(),
            url: target.url.clone(),
            user: target.user.clone(),
            secret,
            needs_crumb: !is_token,
            client: Client::new(&Options::new(&target.url, timeout, patience))?,
            seen: Mutex::default(),
        })
    }

    /// HTTP requests sent so far.
    pub fn calls(&self) -> u64 {
        self.client.calls()
    }

    /// Every agent, in one call.
    pub fn list(&self) -> Result<TargetList, Gap> {
        let (list, _) = self.listed().map_err(|error| fault::gap(&self.name, error))?;
        Ok(list)
    }

    /// One agent as it is now; none when there is no such agent.
    pub fn computer(&self, name: &NodeName) -> Result<Option<Computer>, Gap> {
        self.find(name).map_err(|error| fault::gap(&self.name, error))
    }

    /// An agent's own description, and whether it has a configuration at all.
    pub fn config(&self, name: &NodeName) -> Result<AgentConfig, Gap> {
        let path = format!("{}/config.xml", computer_path(name));
        let response = self.get(&path).map_err(|error| fault::gap(&self.name, error))?;
        match response.status {
            200 => Ok(AgentConfig::Description(config::description(&response.text()))),
            404 => Ok(AgentConfig::Absent),
            _ => Err(fault::gap(&self.name, fault::unexpected(format!("GET {}{path}", self.url), &response))),
        }
    }

    /// Why Pipelines wait that may go on on a node.
    pub fn queue(&self) -> Result<Vec<String>, Gap> {
        let gap = |error| fault::gap(&self.name, error);
        let response = self.get(queue::PATH).map_err(gap)?;
        let tried = format!("GET {}queue/api/json", self.url);
        if response.status != 200 {
            return Err(gap(fault::unexpected(tried, &response)));
        }
        let queue: queue::Queue = response.json().map_err(|said| gap(not_whole(said, &tried)))?;
        Ok(queue.pipelines())
    }

    /// `Already`: an agent of that name and description was there before.
    pub fn create_agent(&self, agent: &CreateAgent) -> Result<Done, ActError> {
        let path = "computer/doCreateItem";
        let tried = format!("POST {}{path} of {}", self.url, agent.name);
        if agent.executors == 0 {
            let said = "no executors: Jenkins says yes to that and makes no agent".to_owned();
            let hint = Some("set `executors` of the pool to 1".to_owned());
            return Err(ActError { kind: ActErrorKind::Refused, said, tried, hint });
        }
        let json = launcher::form(agent).to_string();
        let response = self.post(path, &[("name", agent.name.as_str()), ("type", launcher::TYPE), ("json", &json)])?;
        match response.status {
            302 | 303 if !is_detour(path, &response) => Ok(Done::Done),
            400 => match self.find(&agent.name)? {
                // A create of ours that was not answered: its name is unique for ever.
                Some(found) if found.description.as_ref().is_none_or(|text| *text == agent.description) => Ok(Done::Already),
                Some(_) => {
                    let said = "an agent of that name is there, with another description".to_owned();
                    let hint = Some("look at it in Jenkins; poolkeeper does not touch it".to_owned());
                    Err(ActError { kind: ActErrorKind::Refused, said, tried, hint })
                }
                None => Err(fault::unexpected(tried, &response)),
            },
            _ => Err(fault::unexpected(tried, &response)),
        }
    }

    /// Marks an agent temporarily offline. An agent that is marked already, by whomever, is left as it is where the controller
    /// has nothing but a toggle; elsewhere the caller has looked directly before.
    pub fn mark_offline(&self, name: &NodeName, message: &str) -> Result<Done, ActError> {
        let path = format!("{}/changeOfflineCause", computer_path(name));
        let response = self.post(&path, &[("offlineMessage", message)])?;
        match response.status {
            302 | 303 if !is_detour(&path, &response) => Ok(Done::Done),
            // No such agent, or no such call (Hudson).
            404 => self.toggle_offline(name, message),
            _ => Err(fault::unexpected(format!("POST {}{path}", self.url), &response)),
        }
    }

    /// A toggle of two makes nothing: it is sent only to an agent that was seen unmarked right before, and looked at right
    /// after.
    fn toggle_offline(&self, name: &NodeName, message: &str) -> Result<Done, ActError> {
        let path = format!("{}/toggleOffline", computer_path(name));
        let tried = format!("POST {}{path}", self.url);
        let not_now =
            |said: &str| ActError { kind: ActErrorKind::NotNow, said: said.to_owned(), tried: tried.clone(), hint: None };
        match self.find(name)? {
            None => return Err(not_now("there is no such agent any more")),
            Some(computer) if computer.temporarily_offline => return Ok(Done::Already),
            Some(_) => {}
        }
        let response = self.post(&path, &[("offlineMessage", message)])?;
        if !matches!(response.status, 302 | 303) || is_detour(&path, &response) {
            return Err(fault::unexpected(tried, &response));
        }
        match self.find(name)? {
            Some(computer) if computer.temporarily_offline => Ok(Done::Done),
            Some(_) => Err(not_now("somebody else toggled its mark at the same moment")),
            None => Err(not_now("it went away at the same moment")),
        }
    }

    /// Takes our own offline mark off. There is only a toggle: it is sent to an agent that was seen with our mark right before.
    pub fn lift_mark(&self, name: &NodeName) -> Result<Done, ActError> {
        let path = format!("{}/toggleOffline", computer_path(name));
        let tried = format!("POST {}{path}", self.url);
        let marked = self.find(name)?.is_some_and(|agent| agent.marked_by_us());
        if !marked {
            return Ok(Done::Already);
        }
        let response = self.post(&path, &[])?;
        if !matches!(response.status, 302 | 303) || is_detour(&path, &response) {
            return Err(fault::unexpected(tried, &response));
        }
        Ok(Done::Done)
    }

    /// `Already`: it was gone before. Its channel is closed: a build that runs on it dies.
    pub fn delete_agent(&self, name: &NodeName) -> Result<Done, ActError> {
        let path = format!("{}/doDelete", computer_path(name));
        let response = self.post(&path, &[])?;
        match response.status {
            302 | 303 if !is_detour(&path, &response) => Ok(Done::Done),
            404 => Ok(Done::Already),
            _ => Err(fault::unexpected(format!("POST {}{path}", self.url), &response)),
        }
    }

    /// What an inbound agent is started with: the jar, the secret and the command, by what the controller serves.
    pub fn agent_program(&self, start: &StartAgent) -> Result<AgentProgram, ActError> {
        let style = match &start.start {
            Some(command) => Style::of_command(command),
            None => Style::of(self.version()?.as_deref(), self.has_agent_port()?),
        };
        let secret = self.agent_file(&start.name)?.file(style);
        let command = start.start.clone().unwrap_or_else(|| style.command().to_owned());
        Ok(AgentProgram { jar: self.agent_jar()?, secret, start: command, url: self.url.clone() })
    }

    /// `jenkins-agent.jnlp` since 2.264, `slave-agent.jnlp` before.
    fn agent_file(&self, name: &NodeName) -> Result<Jnlp, ActError> {
        let mut path = format!("{}/jenkins-agent.jnlp", computer_path(name));
        let mut response = self.get(&path)?;
        if response.status == 404 {
            path = format!("{}/slave-agent.jnlp", computer_path(name));
            response = self.get(&path)?;
        }
        let tried = format!("GET {}{path}", self.url);
        if response.status != 200 {
            return Err(fault::unexpected(tried, &response));
        }
        Jnlp::read(response.text()).ok_or_else(|| ActError {
            kind: ActErrorKind::NotNow,
            said: "no secret in the answer".to_owned(),
            tried,
            hint: Some("the agent must have been made with launcher `inbound`".to_owned()),
        })
    }

    /// `agent.jar`, of old `slave.jar`; asked for once a run.
    fn agent_jar(&self) -> Result<Arc<Vec<u8>>, ActError> {
        if let Some(jar) = self.seen(|seen| seen.jar.clone()) {
            return Ok(jar);
        }
        let mut path = "jnlpJars/agent.jar";
        let mut response = self.get(path)?;
        // Hudson answers 500 to a jar that it does not know.
        if matches!(response.status, 404 | 500) {
            path = "jnlpJars/slave.jar";
            response = self.get(path)?;
        }
        let tried = format!("GET {}{path}", self.url);
        if response.status != 200 {
            return Err(fault::unexpected(tried, &response));
        }
        // Every jar is a zip file.
        if !response.body.starts_with(b"PK") {
            let said = format!("no jar: {}", fault::words(&response));
            return Err(ActError { kind: ActErrorKind::NotNow, said, tried, hint: None });
        }
        let jar = Arc::new(response.body);
        self.seen(|seen| seen.jar = Some(Arc::clone(&jar)));
        Ok(jar)
    }

    /// `X-Jenkins`, of the list if this run has asked for it.
    fn version(&self) -> Result<Option<String>, ActError> {
        match self.seen(|seen| seen.version.clone()) {
            Some(version) => Ok(Some(version)),
            None => Ok(self.listed()?.0.version),
        }
    }

    /// Whether inbound agents have a TCP port: off in new installations since 2.0.
    fn has_agent_port(&self) -> Result<bool, ActError> {
        let response = self.get("tcpSlaveAgentListener/")?;
        match response.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(fault::unexpected(format!("GET {}tcpSlaveAgentListener/", self.url), &response)),
        }
    }

    /// The list, and what was asked.
    fn listed(&self) -> Result<(TargetList, String), ActError> {
        let path = list_path();
        let response = self.get(&path)?;
        let tried = format!("GET {}computer/api/json", self.url);
        if response.status != 200 {
            return Err(fault::unexpected(tried, &response));
        }
        let set: ComputerSet = response.json().map_err(|said| not_whole(said, &tried))?;
        let version = response.header("x-jenkins").map(str::to_owned);
        self.seen(|seen| seen.version.clone_from(&version));
        let session = response.header("x-jenkins-session").map(str::to_owned);
        Ok((TargetList { version, session, computers: set.agents() }, tried))
    }

    /// One agent. A 404 is believed only when the list agrees: a proxy says it too.
    fn find(&self, name: &NodeName) -> Result<Option<Computer>, ActError> {
        let response = self.get(&one_path(&encode(name)))?;
        let tried = format!("GET {}{}/api/json", self.url, computer_path(name));
        match response.status {
            200 => {
                let computer: RawComputer<'_> = response.json().map_err(|said| not_whole(said, &tried))?;
                Ok(Some(computer.read()))
            }
            404 => {
                let (list, _) = self.listed()?;
                Ok(list.computers.into_iter().find(|computer| computer.name == name.as_str()))
            }
            _ => Err(fault::unexpected(tried, &response)),
        }
    }

    fn get(&self, path: &str) -> Result<Response, ActError> {
        self.send(Request::get(format!("{}{path}", self.url)))
    }

    /// Not retried but for want of a crumb, which proves that nothing was done.
    fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<Response, ActError> {
        let request = || Request::post(format!("{}{path}", self.url)).form(form);
        let kept = match self.seen(|seen| seen.crumb.clone()) {
            None if self.needs_crumb => self.issue_crumb()?,
            kept => kept,
        };
        let response = self.send(signed(request(), kept.as_ref()))?;
        if !crumb::is_wanted(&response) {
            return Ok(response);
        }
        let fresh = self.issue_crumb()?;
        self.send(signed(request(), fresh.as_ref()))
    }

    /// None where the protection is off.
    fn issue_crumb(&self) -> Result<Option<Crumb>, ActError> {
        let response = self.get(crumb::PATH)?;
        let tried = format!("GET {}{}", self.url, crumb::PATH);
        let issued = match response.status {
            200 => Some(Crumb::read(&response).map_err(|said| not_whole(said, &tried))?),
            404 => None,
            _ => return Err(fault::unexpected(tried, &response)),
        };
        self.seen(|seen| seen.crumb.clone_from(&issued));
        Ok(issued)
    }

    /// Preemptive: a controller that lets nobody in without a login page answers 403, not 401.
    fn send(&self, request: Request) -> Result<Response, ActError> {
        let request = request.basic_auth(&self.user, &self.secret);
        // The list's query is four lines long, and says nothing to a person.
        let tried = || format!("{} {}", request.method.as_str(), log::address(&request.url));
        self.client.send(&request).map_err(|error| fault::no_answer(tried(), &error))
    }

    fn seen<T>(&self, with: impl FnOnce(&mut Seen) -> T) -> T {
        with(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn signed(request: Request, crumb: Option<&Crumb>) -> Request {
    match crumb {
        Some(crumb) => crumb.sign(request),
        None => request,
    }
}

fn encode(name: &NodeName) -> String {
    utf8_percent_encode(name.as_str(), PATH).to_string()
}

fn computer_path(name: &NodeName) -> String {
    format!("computer/{}", encode(name))
}

/// A redirect that is no success: back to the same call elsewhere (a proxy that wants https), or to a login page. A page is
/// a whole segment of the path: hosts, folders and agents may have `login` in their names.
fn is_detour(path: &str, response: &Response) -> bool {
    let location = response.header("location").unwrap_or_default().to_ascii_lowercase();
    let location = location.split('?').next().unwrap_or_default();
    let call = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let behind_host = location.split_once("://").map_or(location, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    location.ends_with(&call) || behind_host.split('/').any(|segment| matches!(segment, "login" | "commencelogin" | "signin"))
}

/// A success that is none of Jenkins' answers.
fn not_whole(said: String, tried: &str) -> ActError {
    ActError { kind: ActErrorKind::NotNow, said, tried: tried.to_owned(), hint: Some(fault::FOREIGN.to_owned()) }
}
