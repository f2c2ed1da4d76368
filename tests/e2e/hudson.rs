//! The CI server's remote API over curl, as far as the scenarios look, build and clean up.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::lab::{Answer, curl};

const URL: &str = "http://10.77.0.1:8080";
const LOGIN: [&str; 2] = ["-u", "nodepool:labpw"];
/// What a computer's answer is cut down to.
const TREE: &str = "computer[displayName,offline,temporarilyOffline,idle,offlineCause[message]]";

#[derive(Debug)]
pub(crate) struct Computer {
    pub(crate) name: String,
    pub(crate) offline: bool,
    pub(crate) temporarily_offline: bool,
    pub(crate) idle: bool,
}

/// A build that is over.
#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) result: String,
    pub(crate) built_on: String,
}

fn get(path: &str) -> Result<Answer> {
    curl("GET", &format!("{URL}{path}"), &LOGIN)
}

fn post(path: &str) -> Result<Answer> {
    let crumb = get("/crumbIssuer/api/json")?.json()?;
    let field = crumb["crumbRequestField"].as_str().context("a crumb's field")?;
    let header = format!("{field}: {}", crumb["crumb"].as_str().context("a crumb")?);
    let mut arguments = LOGIN.to_vec();
    arguments.extend(["-H", &header, "-d", ""]);
    curl("POST", &format!("{URL}{path}"), &arguments)
}

/// Every agent, without the server's own node.
pub(crate) fn computers() -> Result<Vec<Computer>> {
    let list = get(&format!("/computer/api/json?tree={TREE}"))?.json()?;
    let list = list["computer"].as_array().with_context(|| format!("no list of computers: {list}"))?;
    let read = |value: &Value| Computer {
        name: value["displayName"].as_str().unwrap_or_default().to_owned(),
        offline: value["offline"] == true,
        temporarily_offline: value["temporarilyOffline"] == true,
        idle: value["idle"] == true,
    };
    Ok(list.iter().map(read).filter(|computer| computer.name != "master").collect())
}

pub(crate) fn computer(name: &str) -> Result<Option<Computer>> {
    Ok(computers()?.into_iter().find(|computer| computer.name == name))
}

/// The agent of that name, while it runs something.
pub(crate) fn busy(name: &str) -> Result<Option<Computer>> {
    Ok(computer(name)?.filter(|computer| !computer.idle))
}

pub(crate) fn delete(name: &str) -> Result<()> {
    match post(&format!("/computer/{name}/doDelete"))? {
        Answer { status: 302 | 404, .. } => Ok(()),
        Answer { status, body, .. } => bail!("doDelete of {name}: {status} {body}"),
    }
}

/// What the button "Mark this node temporarily offline" does, as the user that is logged in.
pub(crate) fn toggle_offline(name: &str, message: &str) -> Result<()> {
    let message = message.replace(' ', "%20").replace(',', "%2C");
    match post(&format!("/computer/{name}/toggleOffline?offlineMessage={message}"))? {
        Answer { status: 302, .. } => Ok(()),
        Answer { status, body, .. } => bail!("toggleOffline of {name}: {status} {body}"),
    }
}

/// Starts a build of the job `waiter` and returns its number. It runs until it is told to end.
pub(crate) fn build() -> Result<u64> {
    let job = get("/job/waiter/api/json?tree=nextBuildNumber")?.json()?;
    let number = job["nextBuildNumber"].as_u64().context("nextBuildNumber")?;
    match post("/job/waiter/build")? {
        Answer { status: 200..=302, .. } => Ok(number),
        Answer { status, body, .. } => bail!("a build of `waiter`: {status} {body}"),
    }
}

/// None while it waits or runs.
pub(crate) fn result(number: u64) -> Result<Option<Build>> {
    let answer = get(&format!("/job/waiter/{number}/api/json?tree=result,builtOn,building"))?;
    if answer.status == 404 {
        return Ok(None);
    }
    let build = answer.json()?;
    Ok(build["result"]
        .as_str()
        .map(|result| Build { result: result.to_owned(), built_on: build["builtOn"].as_str().unwrap_or_default().to_owned() }))
}
