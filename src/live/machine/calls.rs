//! What is asked of machines and done on them: one connection each, and an answer in the words of `observed` and `world`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::private_key;
use super::remote_command::{LOG_BYTES, RemoteCommand, agent_dir, read_done, read_facts, read_log, readable};
use super::session::{NoSession, Peer, Session};
use super::streams;
use crate::names::short;
use crate::observed::{Gap, HostKey, Login, MachineAsk, MachineFacts, MachineSight, Source};
use crate::plan::{Machine, PushScripts, StartAgent, StartScript, TurnOff};
use crate::world::{ActError, ActErrorKind, Done};

/// Of one connection of a look, all of it. A machine that is up answers within a second; one that swaps or whose network
/// drops packets is looked at again by the next pass.
const LOOK: Duration = Duration::from_secs(3);

/// Of one connection of an act. The longest is a push to a slow machine: an RSA key takes several seconds there.
const ACT: Duration = Duration::from_secs(60);

/// Longest answer that is kept (bytes): answers are small, and a tail is cut on the machine.
const ANSWER: u64 = 64 * 1024;

/// Looks at a machine: each user of the list has a connection of its own, for OpenSSH's server ends one whose user changes.
///
/// `secrets`: what scripts were given; a script that prints one does not get it into a mark, a plan or a log.
pub fn look(ask: &MachineAsk, secrets: &BTreeMap<String, SecretString>) -> Result<MachineSight, Gap> {
    let gap = |answered, hint: &str| gap(ask, answered, hint);
    let private_key = private_key(&ask.login).map_err(|why| gap(why, PRIVATE_KEY_HINT))?;
    let command =
        RemoteCommand::Look { server: ask.server.clone(), digest: ask.script.clone(), workspace: ask.workspace.clone() };
    let mut refused = Refusals::default();
    for username in &ask.login.usernames {
        let session = match Session::open(peer(&ask.login, username, &private_key, ask.pinned.as_ref()), LOOK) {
            Ok(session) => session,
            Err(NoSession::LoginRefused(key, why)) => {
                refused.add(key, why);
                continue;
            }
            Err(NoSession::NoSsh(why)) => return Ok(MachineSight::NoSsh { why }),
            Err(NoSession::OtherKey(key)) => return Ok(MachineSight::OtherKey { key }),
            Err(NoSession::PrivateKey(why)) => return Err(gap(unusable(&ask.login, &why), PRIVATE_KEY_HINT)),
        };
        let key = session.key.clone();
        if ask.pinned.is_none() {
            return Ok(MachineSight::Up { key, facts: None });
        }
        match session.run(&command.render(), b"", ANSWER) {
            Ok(output) => {
                let Some(facts) = read_facts(&output.text).filter(|_| output.status == 0) else {
                    // Images for clouds let root in and only say `Please login as the user "debian"`.
                    let said = last_lines(&without(&output.text, secrets), output.status);
                    refused.add(key, format!("{username}: {said}"));
                    continue;
                };
                let script = facts.script.with_tail(|tail| without(&tail, secrets));
                return Ok(MachineSight::Up { key, facts: Some(MachineFacts { script, ..facts }) });
            }
            Err(why) => return Ok(MachineSight::NoSsh { why }),
        }
    }
    match refused.key {
        Some(key) => Ok(MachineSight::LoginRefused { key, why: refused.whys.join("; ") }),
        None => Err(gap("there is no user to log in as".to_owned(), "name one: `username` of the pool")),
    }
}

fn gap(ask: &MachineAsk, answered: String, hint: &str) -> Gap {
    Gap {
        source: Source::Server(ask.provider.clone(), ask.server.clone()),
        tried: format!("SSH to {}:{}", ask.login.host, ask.login.port),
        answered,
        hint: Some(hint.to_owned()),
    }
}

/// The whole output of a script, without what it was given as a secret. Empty: it was not started.
pub fn log(ask: &MachineAsk, secrets: &BTreeMap<String, SecretString>) -> Result<String, Gap> {
    let gap = |answered, hint: &str| gap(ask, answered, hint);
    let private_key = private_key(&ask.login).map_err(|why| gap(why, PRIVATE_KEY_HINT))?;
    let Some(pinned) = &ask.pinned else {
        return Err(gap(
            "its host key is not known yet".to_owned(),
            "nothing is run on it before the key is pinned: wait a pass",
        ));
    };
    let command = RemoteCommand::ScriptLog { server: ask.server.clone(), digest: ask.script.clone() };
    let mut whys = Vec::new();
    for username in &ask.login.usernames {
        let session = match Session::open(peer(&ask.login, username, &private_key, Some(pinned)), ACT) {
            Ok(session) => session,
            Err(NoSession::LoginRefused(_, why)) => {
                whys.push(why);
                continue;
            }
            Err(NoSession::NoSsh(why)) => return Err(gap(why, NO_SSH_HINT)),
            Err(NoSession::OtherKey(key)) => {
                let said = format!("another SSH host key than the pinned one answered: {key}; nothing was sent");
                return Err(gap(said, NO_SSH_HINT));
            }
            Err(NoSession::PrivateKey(why)) => return Err(gap(unusable(&ask.login, &why), PRIVATE_KEY_HINT)),
        };
        // What a login shell prints before it has room, too.
        let longest = u64::from(LOG_BYTES) + ANSWER;
        let output = session.run(&command.render(), b"", longest).map_err(|why| gap(why, NO_SSH_HINT))?;
        if let Some(log) = read_log(&output.text).filter(|_| output.status == 0) {
            return Ok(without(&log, secrets));
        }
        whys.push(format!("{username}: {}", last_lines(&without(&output.text, secrets), output.status)));
    }
    Err(gap(whys.join("; "), LOGIN_HINT))
}

/// Puts the scripts and nodepool's files in their places. `left`: until the run's deadline.
pub fn push(push: &PushScripts, left: Duration) -> Result<Done, ActError> {
    let stdin = streams::push(push).map_err(|error| {
        let tried = tried("push scripts", &push.machine);
        refused(tried, format!("the files cannot be packed: {error}"), "check the names of the files in script-dir")
    })?;
    let command = RemoteCommand::Push { server: push.machine.server.clone() };
    run("push scripts", &push.machine, &command, &stdin, left)
}

/// Starts a script that was never started before. `nodepool`: `NODEPOOL_*` of our own environment; the desired state's own
/// variables stand above them, as nodepool had it.
pub fn start(start: &StartScript, nodepool: &BTreeMap<String, SecretString>, left: Duration) -> Result<Done, ActError> {
    let stdin = streams::environment(&environment(start, nodepool)).map_err(|why| {
        refused(tried("start script", &start.machine), why, "check NODEPOOL_* in the environment, and `env` of the image")
    })?;
    let command = RemoteCommand::Start {
        server: start.machine.server.clone(),
        digest: start.digest.clone(),
        hostname: start.hostname.clone(),
        script: start.script.clone(),
    };
    run("start script", &start.machine, &command, &stdin, left)
}

fn environment(start: &StartScript, nodepool: &BTreeMap<String, SecretString>) -> BTreeMap<String, SecretString> {
    let own = start.env.iter().map(|(name, value)| (name.clone(), SecretString::from(value.clone())));
    nodepool.clone().into_iter().chain(own).collect()
}

/// Cleans a machine, and powers it off a moment after its answer.
pub fn turn_off(off: &TurnOff, left: Duration) -> Result<Done, ActError> {
    let command = RemoteCommand::TurnOff { server: off.machine.server.clone(), clean: off.clean.clone() };
    run("turn off", &off.machine, &command, b"", left)
}

/// What an inbound agent is started with: `jenkins` makes it, by what the controller serves.
pub struct AgentProgram {
    pub jar: Arc<Vec<u8>>,
    /// The whole content of the file that the template calls `{secret-file}`.
    pub secret: SecretString,
    /// The command, with `{jar}`, `{url}`, `{secret-file}`, `{name}` and `{remote-fs}` in it.
    pub start: String,
    pub url: String,
}

impl std::fmt::Debug for AgentProgram {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "AgentProgram({}, {} bytes of jar)", self.start, self.jar.len())
    }
}

/// Starts the inbound agent, unless it runs.
pub fn start_agent(start: &StartAgent, program: &AgentProgram, left: Duration) -> Result<Done, ActError> {
    let files = BTreeMap::from([("agent.jar", program.jar.as_slice()), ("secret", program.secret.expose_secret().as_bytes())]);
    let stdin = streams::agent(&files).map_err(|error| {
        refused(tried("start agent", &start.machine), format!("the files cannot be packed: {error}"), "try again")
    })?;
    let command = RemoteCommand::StartAgent {
        server: start.machine.server.clone(),
        name: start.name.clone(),
        words: words(start, program),
    };
    run("start agent", &start.machine, &command, &stdin, left)
}

/// The template's words, filled: a value with a space in it stays one word.
fn words(start: &StartAgent, program: &AgentProgram) -> Vec<String> {
    let directory = agent_dir(&start.machine.server);
    let fill = |word: &str| {
        word.replace("{jar}", &format!("{directory}/agent.jar"))
            .replace("{secret-file}", &format!("{directory}/secret"))
            .replace("{url}", &program.url)
            .replace("{remote-fs}", &start.remote_fs)
            .replace("{name}", start.name.as_str())
    };
    let template = start.start.as_deref().unwrap_or(&program.start);
    template.split_whitespace().map(fill).collect()
}

fn run(what: &str, machine: &Machine, command: &RemoteCommand, stdin: &[u8], left: Duration) -> Result<Done, ActError> {
    let tried = || tried(what, machine);
    let later = |kind, said| ActError { kind, said, tried: tried(), hint: None };
    let Login { usernames, .. } = &machine.login;
    let private_key = private_key(&machine.login).map_err(|why| refused(tried(), why, PRIVATE_KEY_HINT))?;
    let limit = ACT.min(left);
    if limit.is_zero() {
        return Err(later(ActErrorKind::NotNow, "no time left in this run".to_owned()));
    }
    let mut whys = Vec::new();
    let mut kind = ActErrorKind::NotNow;
    for username in usernames {
        let session = match Session::open(peer(&machine.login, username, &private_key, Some(&machine.pinned)), limit) {
            Ok(session) => session,
            Err(NoSession::LoginRefused(_, why)) => {
                whys.push(why);
                continue;
            }
            Err(NoSession::NoSsh(why)) => return Err(later(ActErrorKind::NotNow, why)),
            Err(NoSession::OtherKey(key)) => {
                let said = format!("another SSH host key than the pinned one answered: {key}; nothing was sent");
                return Err(refused(tried(), said, "the machine is not the one that was prepared: the next pass removes it"));
            }
            Err(NoSession::PrivateKey(why)) => {
                return Err(refused(tried(), unusable(&machine.login, &why), PRIVATE_KEY_HINT));
            }
        };
        let output = session.run(&command.render(), stdin, ANSWER).map_err(|why| later(ActErrorKind::Unanswered, why))?;
        if let Some(done) = read_done(&output.text).filter(|_| output.status == 0) {
            return Ok(done);
        }
        kind = ActErrorKind::Refused;
        whys.push(format!("{username}: {}", last_lines(&output.text, output.status)));
    }
    let hint = if kind == ActErrorKind::Refused { NEEDS_HINT } else { LOGIN_HINT };
    Err(ActError { kind, said: whys.join("; "), tried: tried(), hint: Some(hint.to_owned()) })
}

const NEEDS_HINT: &str = "the machine needs a POSIX sh, tar, setsid and ssh-keygen; the user needs to be root or to have sudo \
                          without a password";

const LOGIN_HINT: &str = "the machine must know the public key of `private-key`: by the provider's `key-name`, or in the image";

const NO_SSH_HINT: &str = "is it up? A machine that is off shows nothing any more";

const PRIVATE_KEY_HINT: &str = "`private-key` names an OpenSSH or PEM file without a passphrase that this user can read";

#[derive(Default)]
struct Refusals {
    key: Option<HostKey>,
    whys: Vec<String>,
}

impl Refusals {
    fn add(&mut self, key: HostKey, why: String) {
        self.key = Some(key);
        self.whys.push(why);
    }
}

/// Shorter values are words of any text: nothing that short is a secret.
const SECRET: usize = 4;

/// What a script printed, without these values, nor a line of one that has several, nor the end of one that a tail begins with.
/// Never what we printed ourselves: a value such as `none` or `running` is a word of it.
fn without(text: &str, secrets: &BTreeMap<String, SecretString>) -> String {
    let lines = secrets.values().flat_map(|secret| secret.expose_secret().lines().map(str::trim));
    let mut lines: Vec<&str> = lines.filter(|line| line.chars().count() >= SECRET).collect();
    // The longest first: one that another begins with would leave the rest of it.
    lines.sort_by_key(|line| std::cmp::Reverse(line.len()));
    let hidden = |text: String, secret: &&str| if text.contains(secret) { text.replace(secret, "***") } else { text };
    let cut = lines.iter().filter_map(|secret| end_that_begins(text, secret)).max_by_key(|end| end.len());
    let text = cut.and_then(|end| text.strip_prefix(end)).map_or_else(|| text.to_owned(), |rest| format!("***{rest}"));
    lines.iter().fold(text, hidden)
}

/// The longest end of a secret that a text begins with, of those that are no word of any text.
fn end_that_begins<'s>(text: &str, secret: &'s str) -> Option<&'s str> {
    let ends = secret.char_indices().skip(1).filter_map(|(at, _)| secret.get(at..));
    ends.take_while(|end| end.chars().count() >= SECRET).find(|end| text.starts_with(end))
}

fn private_key(login: &Login) -> Result<SecretString, String> {
    private_key::read(&login.private_key).map_err(|why| unusable(login, &why))
}

fn unusable(login: &Login, why: &str) -> String {
    format!("the private key {} cannot be used: {why}", login.private_key.display())
}

fn peer<'a>(login: &'a Login, username: &'a str, private_key: &'a SecretString, pinned: Option<&'a HostKey>) -> Peer<'a> {
    Peer { host: &login.host, port: login.port, username, private_key, pinned }
}

fn tried(what: &str, machine: &Machine) -> String {
    format!("{what} on {} (server {})", machine.login.host, short(machine.server.as_str()))
}

fn refused(tried: String, said: String, hint: &str) -> ActError {
    ActError { kind: ActErrorKind::Refused, said, tried, hint: Some(hint.to_owned()) }
}

/// The end of what a command said instead of an answer.
fn last_lines(output: &str, status: i32) -> String {
    let readable = readable(output);
    let lines: Vec<&str> = readable.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let shown = lines.get(lines.len().saturating_sub(2)..).unwrap_or_default().join(" / ");
    let shown: String = shown.chars().take(200).collect();
    if shown.is_empty() { format!("exit status {status} without a word") } else { format!("{shown} (exit status {status})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_secrets_that_begin_alike_nothing_is_left() {
        let secrets = [("NODEPOOL_A", "hunter2"), ("NODEPOOL_B", "hunter2-prod-key")];
        let secrets = secrets.map(|(name, value)| (name.to_owned(), SecretString::from(value))).into();
        assert_eq!(without("a hunter2-prod-key and hunter2", &secrets), "a *** and ***");
    }

    #[test]
    fn of_a_secret_that_a_tail_cut_through_nothing_is_left() {
        let secrets = [("NODEPOOL_A".to_owned(), SecretString::from("hunter2-prod-key"))].into();
        assert_eq!(without("r2-prod-key\nhunter2-prod-key", &secrets), "***\n***");
        assert_eq!(without("key found", &secrets), "key found", "three letters are a word");
        assert_eq!(without("", &secrets), "");
        let both = [("NODEPOOL_A", "hunter2-prod-key"), ("NODEPOOL_B", "prod")];
        let both = both.map(|(name, value)| (name.to_owned(), SecretString::from(value))).into();
        assert_eq!(without("r2-prod-key", &both), "***");
    }

    #[test]
    fn the_desired_states_variables_stand_above_our_own() {
        let pairs =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let login = Login { host: String::new(), port: 22, usernames: Vec::new(), private_key: "/k".into() };
        let pinned = HostKey::parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGE").expect("a key");
        let start = StartScript {
            machine: Machine { provider: "p".into(), server: "s".into(), login, pinned },
            digest: crate::desired::Digest::of(&["x"]),
            script: None,
            hostname: "n".into(),
            env: pairs(&[("NODEPOOL_B", "image"), ("RELEASE", "bookworm")]),
        };
        let ours: BTreeMap<String, String> = pairs(&[("NODEPOOL_A", "run"), ("NODEPOOL_B", "run")]);
        let nodepool = ours.into_iter().map(|(name, value)| (name, value.into())).collect();
        let given = environment(&start, &nodepool);
        let given: Vec<(&str, &str)> = given.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
        assert_eq!(given, [("NODEPOOL_A", "run"), ("NODEPOOL_B", "image"), ("RELEASE", "bookworm")]);
    }
}
