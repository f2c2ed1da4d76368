//! The form that makes an agent: what `computer/doCreateItem` takes, the same for every generation.

use serde_json::{Map, Value, json};

use crate::desired::AgentMode;
use crate::observed::HostKey;
use crate::plan::{AgentLauncher, CreateAgent};

/// Found by its class name; Hudson does not find it by its id.
pub const TYPE: &str = "hudson.slaves.DumbSlave$DescriptorImpl";

/// How the SSH launcher tries: the plugin's own defaults, which its versions before 1.32 take only from the form.
const LAUNCH_TIMEOUT_SECONDS: &str = "60";
const MAX_NUM_RETRIES: &str = "10";
const RETRY_WAIT_SECONDS: &str = "15";

/// The form's `json`. Nothing is left out that a generation answers with 500.
pub fn form(agent: &CreateAgent) -> Value {
    json!({
        "name": agent.name.as_str(),
        "nodeDescription": agent.description,
        "numExecutors": agent.executors.to_string(),
        "remoteFS": agent.remote_fs,
        "labelString": agent.labels.join(" "),
        "mode": match agent.mode {
            AgentMode::Exclusive => "EXCLUSIVE",
            AgentMode::Normal => "NORMAL",
        },
        "retentionStrategy": of_class("hudson.slaves.RetentionStrategy$Always"),
        "nodeProperties": {"stapler-class-bag": "true"},
        "launcher": launcher(&agent.launcher),
    })
}

fn launcher(launcher: &AgentLauncher) -> Map<String, Value> {
    let AgentLauncher::Ssh { host, port, credentials_id, java_path, jvm_options, host_key } = launcher else {
        return of_class("hudson.slaves.JNLPLauncher");
    };
    let mut fields = vec![
        ("host", host.clone()),
        ("port", port.to_string()),
        ("credentialsId", credentials_id.clone()),
        ("launchTimeoutSeconds", LAUNCH_TIMEOUT_SECONDS.to_owned()),
        ("maxNumRetries", MAX_NUM_RETRIES.to_owned()),
        ("retryWaitTime", RETRY_WAIT_SECONDS.to_owned()),
    ];
    fields.extend(java_path.clone().map(|path| ("javaPath", path)));
    fields.extend(jvm_options.clone().map(|options| ("jvmOptions", options)));
    let mut launcher = of_class("hudson.plugins.sshslaves.SSHLauncher");
    launcher.extend(fields.into_iter().map(|(name, text)| (name.to_owned(), text.into())));
    if let Some(key) = host_key {
        launcher.insert("sshHostKeyVerificationStrategy".to_owned(), pinned(key).into());
    }
    launcher
}

/// Jenkins connects to this key alone.
fn pinned(key: &HostKey) -> Map<String, Value> {
    let mut strategy = of_class("hudson.plugins.sshslaves.verifiers.ManuallyProvidedKeyVerificationStrategy");
    strategy.insert("key".to_owned(), key.as_str().into());
    strategy
}

/// Both of Stapler's names for a class: Hudson knows the first alone, the newest calls it deprecated.
fn of_class(class: &str) -> Map<String, Value> {
    ["stapler-class", "$class"].into_iter().map(|name| (name.to_owned(), class.into())).collect()
}
