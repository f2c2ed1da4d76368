//! The text of a file in `pools/` to its values. `load` puts the scripts and the user data in.

use super::super::check;
use super::super::faults::Fault;
use super::super::keys::Keys;
use super::super::pattern::Pattern;
use super::super::pool::{Agent, AgentMode, HostKeyPolicy, Launcher, Pool, PoolImage, UsedWhen};
use super::super::tables::{AGENT, MESSAGE, POOL, POOL_IMAGE};
use super::super::value::Value;
use super::super::yaml::Node;
use super::Parsed;
use crate::names::{ImageName, PoolName, ProviderName, TargetName};

/// `name` is the file's stem, `file` how faults call it.
pub fn parse(file: &str, name: &str, text: &str) -> Parsed<Pool> {
    let mut parsed = super::file(file, text, &POOL, |keys| pool(keys, name));
    if let Err(why) = check::dns_name(name) {
        parsed.value = None;
        parsed.faults.push(Fault::of_file(file, format!("`{name}` is no name for a pool")).hint(why));
    }
    parsed
}

fn pool(keys: &Keys<'_>, name: &str) -> Option<Pool> {
    let image = keys.at("image").and_then(image);
    let flavor = super::flavor(keys);
    let providers = keys.at("providers").and_then(|value| value.some_texts());
    let target = keys.text("target");
    let labels = labels(keys, name);
    let (min_ready, max_servers) = sizes(keys);
    // Read here for its kind alone: `load` takes it from the document.
    let script_dir = keys.at("script-dir").map(|value| value.text().is_some());
    let ready_script = keys.optional("ready-script", super::script_name);
    let ready_timeout = keys.duration("ready-timeout");
    let online_timeout = keys.duration("online-timeout");
    let username = super::usernames(keys);
    let user_home = keys.at("user-home").and_then(|value| value.path_there());
    let private_key = keys.at("private-key").and_then(|value| value.path());
    let ssh_port = keys.at("ssh-port").and_then(|value| value.port());
    let user_data = keys.optional("user-data", Value::path);
    let (executors, single_use) = use_of(keys);
    let used_when = keys.at("used-when").and_then(|value| used_when(&value));
    let agent = keys.keys("agent", &AGENT).and_then(|keys| agent(&keys, user_home.as_deref()));
    let check_interval = keys.duration("check-interval");
    let max_ready_age = keys.optional("max-ready-age", Value::duration);
    let paused = keys.optional("paused", Value::text);
    if script_dir == Some(false) || user_data.is_none() {
        return None;
    }
    Some(Pool {
        name: PoolName::new(name),
        image: image?,
        flavor: flavor?,
        providers: providers?.into_iter().map(ProviderName::new).collect(),
        target: TargetName::new(target?),
        labels: labels?,
        min_ready: min_ready?,
        max_servers: max_servers?,
        scripts: None,
        ready_script: ready_script?,
        ready_timeout: ready_timeout?,
        online_timeout: online_timeout?,
        username: username?,
        user_home: user_home?,
        private_key: private_key?,
        ssh_port: ssh_port?,
        user_data: None,
        executors: executors?,
        single_use: single_use?,
        used_when: used_when?,
        agent: agent?,
        check_interval: check_interval?,
        max_ready_age: max_ready_age?,
        paused: paused?,
    })
}

fn image(value: Value<'_>) -> Option<PoolImage> {
    if let Node::Map(_) = *value.node {
        return Keys::of(value, &POOL_IMAGE)?.text("glance").map(PoolImage::Glance);
    }
    value.text().map(|name| PoolImage::Snapshot(ImageName::new(name)))
}

fn labels(keys: &Keys<'_>, name: &str) -> Option<Vec<String>> {
    let Some(value) = keys.at("labels") else { return Some(vec![name.to_owned()]) };
    let labels = value.some_texts()?;
    let mut whole = true;
    for item in value.items()? {
        if let Some(Err(why)) = item.node.text().map(check::label) {
            item.out.add(item.fault("Jenkins would not take this label").label(why));
            whole = false;
        }
    }
    whole.then_some(labels)
}

fn sizes(keys: &Keys<'_>) -> (Option<u32>, Option<u32>) {
    let (min_ready, max_servers) = (keys.count("min-ready", 0), keys.count("max-servers", 0));
    if let (Some(min), Some(max), Some(value)) = (min_ready, max_servers, keys.at("min-ready"))
        && min > max
    {
        keys.out.add(value.fault(format!("`min-ready: {min}` is above `max-servers: {max}`")));
    }
    (min_ready, max_servers)
}

fn use_of(keys: &Keys<'_>) -> (Option<u32>, Option<bool>) {
    let executors = keys.count("executors", 1);
    let single_use = keys.at("single-use").and_then(|value| value.flag());
    if let (Some(executors @ 2..), Some(true)) = (executors, single_use) {
        let fault = keys.fault_at("executors", format!("`executors: {executors}` on a single-use node"));
        keys.out.add(fault.hint("a node that is used once runs one build; `single-use: false` keeps nodes"));
    }
    (executors, single_use)
}

fn used_when(value: &Value<'_>) -> Option<Vec<UsedWhen>> {
    let mut all = Vec::new();
    let mut whole = true;
    for item in value.items()? {
        match used_when_item(item.clone()) {
            Some(when) if all.contains(&when) => {
                item.out.add(item.fault("it stands twice in `used-when`"));
                whole = false;
            }
            Some(when) => all.push(when),
            None => whole = false,
        }
    }
    whole.then_some(all)
}

fn used_when_item(item: Value<'_>) -> Option<UsedWhen> {
    if let Node::Map(_) = *item.node {
        return message(&Keys::of(item, &MESSAGE)?.at("message")?).map(UsedWhen::Message);
    }
    item.one_of(&[("gearman", UsedWhen::Gearman), ("busy", UsedWhen::Busy), ("workspace", UsedWhen::Workspace)])
}

fn message(value: &Value<'_>) -> Option<Pattern> {
    match Pattern::parse(&value.text()?) {
        Ok(pattern) if pattern.is_everywhere() => {
            let fault = value.fault("`message` is found in every text: each node that a person takes offline would be deleted");
            value.refuse(fault.hint("give a part of the text that the job's side leaves"))
        }
        Ok(pattern) => Some(pattern),
        Err(why) => value.refuse(value.fault("`message` is no regular expression").label(why)),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Ssh,
    Inbound,
}

fn agent(keys: &Keys<'_>, user_home: Option<&str>) -> Option<Agent> {
    let way = keys.at("launcher").and_then(|value| value.one_of(&[("ssh", Way::Ssh), ("inbound", Way::Inbound)]));
    let port = keys.at("port").and_then(|value| value.port());
    let java_path = keys.optional("java-path", Value::text);
    let jvm_options = keys.optional("jvm-options", Value::text);
    let host_key = keys.at("host-key").and_then(|value| {
        // `none` is text and `null` is not, but people mean the same.
        let words = [("pinned", HostKeyPolicy::Pinned), ("none", HostKeyPolicy::None)];
        value.one_of(&words)
    });
    let start = keys.optional("start", start);
    let remote_fs = match keys.at("remote-fs") {
        Some(value) => value.path_there(),
        None => user_home.map(|home| format!("{}/workspace", home.trim_end_matches('/'))),
    };
    let mode =
        keys.at("mode").and_then(|value| value.one_of(&[("exclusive", AgentMode::Exclusive), ("normal", AgentMode::Normal)]));
    let foreign: &[&str] = match way? {
        Way::Ssh => &["start"],
        Way::Inbound => &["port", "java-path", "jvm-options", "host-key"],
    };
    let wanted = if way == Some(Way::Ssh) { "inbound" } else { "ssh" };
    let mut whole = true;
    for key in foreign.iter().filter(|key| keys.has(key)) {
        keys.out.add(keys.fault_at(key, format!("`{key}` means nothing here")).label(format!("only with `launcher: {wanted}`")));
        whole = false;
    }
    let launcher = match way? {
        Way::Ssh => Launcher::Ssh { port: port?, java_path: java_path?, jvm_options: jvm_options?, host_key: host_key? },
        Way::Inbound => Launcher::Inbound { start: start? },
    };
    let agent = Agent { launcher, remote_fs: remote_fs?, mode: mode? };
    whole.then_some(agent)
}

/// What poolkeeper puts in for `{...}` in `start`.
const PLACEHOLDERS: [&str; 5] = ["jar", "url", "secret-file", "name", "remote-fs"];

fn start(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    for part in text.split('{').skip(1) {
        let word = part.split_once('}').map_or("", |(word, _)| word);
        if !PLACEHOLDERS.contains(&word) {
            let known = PLACEHOLDERS.map(|word| format!("`{{{word}}}`")).join(", ");
            return value.refuse(value.fault(format!("`{{{word}}}` stands for nothing")).hint(format!("there are {known}")));
        }
    }
    Some(text)
}
