//! Jenkins' remote API, as far as nodes need it, in each generation's manner. The state is `sandbox::jenkins`'.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::message::{Request, Response};
use super::tree;
use crate::desired::AgentMode;
use crate::names::{NodeName, TargetName};
use crate::observed::Source;
use crate::sandbox::generation::Generation;
use crate::sandbox::jenkins::{Jenkins, Node, NodeLauncher, Why};
use crate::sandbox::refusal::Refusal;
use crate::sandbox::state::State;

/// What a jar is in the sandbox: nothing runs it.
const JAR: &[u8] = b"PK\x03\x04 a jar of the sandbox";

/// Who asks, and how they prove it.
struct Caller {
    by_token: bool,
    session: Option<String>,
}

/// `url` is the controller's, with a slash at its end. None: the connection is closed, as in an outage.
pub(super) fn answer(state: &mut State, target: &TargetName, request: &Request, path: &[&str], url: &str) -> Option<Response> {
    let now = state.clock.now();
    if state.faults.outages.contains_key(&Source::Target(target.clone())) {
        return None;
    }
    let session = state.ids.hex(20);
    let Some(jenkins) = state.jenkins.get(target) else { return Some(Response::text(404, "text/plain", "404")) };
    let generation = jenkins.generation;
    if jenkins.is_down(now) {
        let text = "Please wait while Jenkins is getting ready to work . . .";
        return Some(page(generation, 503, text));
    }
    if matches!(path, [] | ["login"]) {
        return Some(front_page(generation));
    }
    let caller = match caller(jenkins, request) {
        Ok(caller) => caller,
        Err(response) => return Some(response),
    };
    if path == ["crumbIssuer", "api", "json"] {
        return Some(crumb(jenkins, &caller, session));
    }
    if request.method == "POST" && !crumb_fits(jenkins, request, &caller) {
        return Some(page(generation, 403, "No valid crumb was included in the request"));
    }
    let answered = match (request.method.as_str(), path) {
        ("GET" | "HEAD", _) if !is_change(path) => read(jenkins, request, path, url),
        ("GET", _) if generation.refuses_get() => {
            let status = if path.last() == Some(&"doCreateItem") { 404 } else { 405 };
            Err(Refusal::new(status, "This URL requires POST"))
        }
        ("GET" | "POST", _) => change(state, target, request, path, url),
        _ => Err(Refusal::new(405, "Method Not Allowed")),
    };
    Some(answered.unwrap_or_else(|refusal| error_page(generation, &refusal)))
}

fn is_change(path: &[&str]) -> bool {
    matches!(path.last(), Some(&("doCreateItem" | "doDelete" | "toggleOffline" | "changeOfflineCause")))
}

fn front_page(generation: Generation) -> Response {
    let response = Response::text(200, "text/html;charset=UTF-8", "<html><head><title>Welcome</title></head></html>");
    match generation.version() {
        Some(version) => response.with("X-Hudson", "1.395").with("X-Jenkins", version),
        None => response.with("X-Hudson", "3.3.2"),
    }
}

fn page(generation: Generation, status: u16, text: &str) -> Response {
    let body = format!(
        "<html><head><title>Error {status} {text}</title></head><body><h2>HTTP ERROR {status}</h2><p>{text}</p></body></html>"
    );
    let response = Response::text(status, "text/html;charset=iso-8859-1", body);
    if generation == Generation::Hudson332 { response } else { response.with("X-Content-Type-Options", "nosniff") }
}

/// Newer ones say it in a header too.
fn error_page(generation: Generation, refusal: &Refusal) -> Response {
    let response = page(generation, refusal.status, &refusal.said);
    match generation.version().filter(|_| refusal.status == 400) {
        // As recorded: quotes of the text are no Latin-1, and come as spaces.
        Some(version) => response
            .with("X-Error", refusal.said.replace(['\u{2018}', '\u{2019}'], " "))
            .with("X-Hudson", "1.395")
            .with("X-Jenkins", version),
        None => response,
    }
}

fn caller(jenkins: &Jenkins, request: &Request) -> Result<Caller, Response> {
    let generation = jenkins.generation;
    let session = request.cookie("JSESSIONID").map(str::to_owned);
    let is = |secret: &SecretString, given: &SecretString| secret.expose_secret() == given.expose_secret();
    match request.basic() {
        Some((user, secret)) if user == jenkins.user && is(&jenkins.password, &secret) => Ok(Caller { by_token: false, session }),
        Some((user, secret)) if user == jenkins.user && is(&jenkins.token, &secret) && generation != Generation::Hudson332 => {
            Ok(Caller { by_token: true, session })
        }
        Some(_) if generation != Generation::Hudson332 => {
            Err(page(generation, 401, "Unauthorized").with("WWW-Authenticate", "Basic realm=\"Jenkins\""))
        }
        Some(_) | None => Err(page(generation, 403, "Authentication required")),
    }
}

fn crumb_of(jenkins: &Jenkins, session: &str) -> String {
    let bound = if jenkins.generation.crumb_needs_session() { session } else { "" };
    let hash = Sha256::digest(format!("{} {} {bound}", jenkins.user, jenkins.password.expose_secret()));
    hash.iter().take(16).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn crumb(jenkins: &Jenkins, caller: &Caller, new_session: String) -> Response {
    let session = caller.session.clone().unwrap_or(new_session);
    let mut body = json!({ "crumb": crumb_of(jenkins, &session), "crumbRequestField": jenkins.generation.crumb_field() });
    if let (true, Some(fields)) = (jenkins.generation.tells_class(), body.as_object_mut()) {
        fields.insert("_class".to_owned(), "hudson.security.csrf.DefaultCrumbIssuer".into());
    }
    api(jenkins, &body).with("Set-Cookie", format!("JSESSIONID={session}; Path=/; HttpOnly"))
}

fn crumb_fits(jenkins: &Jenkins, request: &Request, caller: &Caller) -> bool {
    if caller.by_token && jenkins.generation.token_needs_no_crumb() {
        return true;
    }
    let field = jenkins.generation.crumb_field();
    let given = request.header(&field.to_ascii_lowercase()).map(str::to_owned).or_else(|| request.parameter(field));
    let session = caller.session.as_deref().unwrap_or_default();
    let bound = !jenkins.generation.crumb_needs_session() || caller.session.is_some();
    bound && given.as_deref() == Some(&crumb_of(jenkins, session))
}

/// An answer of the API: its content type and version headers.
fn api(jenkins: &Jenkins, body: &Value) -> Response {
    match jenkins.generation.version() {
        Some(version) => Response::text(200, "application/json;charset=utf-8", body.to_string())
            .with("X-Content-Type-Options", "nosniff")
            .with("X-Jenkins", version)
            .with("X-Jenkins-Session", jenkins.session.clone()),
        None => Response::text(200, "application/javascript;charset=UTF-8", body.to_string()),
    }
}

fn read(jenkins: &Jenkins, request: &Request, path: &[&str], url: &str) -> Result<Response, Refusal> {
    let generation = jenkins.generation;
    let not_found = || Refusal::new(404, "Not Found");
    let find = |name: &str| jenkins.visible().find(|node| node.name.as_str() == name).ok_or_else(not_found);
    match path {
        ["api", "json"] => {
            let mut root = json!({ "mode": "NORMAL", "numExecutors": 2, "nodeDescription": "the controller" });
            if let (true, Some(fields)) = (generation.tells_reason(), root.as_object_mut()) {
                fields.insert("quietingDown".to_owned(), false.into());
                if generation.tells_class() {
                    fields.insert("_class".to_owned(), "hudson.model.Hudson".into());
                }
            }
            picked(jenkins, request, &root)
        }
        ["computer", "api", "json"] => picked(jenkins, request, &list_json(jenkins, url)),
        ["computer", name, "api", "json"] => picked(jenkins, request, &find(name)?.json(generation, url)),
        ["queue", "api", "json"] => picked(jenkins, request, &queue_json(jenkins)),
        ["computer", name, "slave-agent.jnlp"] => Ok(jnlp(jenkins, find(name)?, url)),
        ["computer", name, "jenkins-agent.jnlp"] if generation.new_jnlp_name() => Ok(jnlp(jenkins, find(name)?, url)),
        ["computer", name, "config.xml"] if generation != Generation::Hudson332 => {
            let node = find(name)?;
            if node.ghost {
                return Ok(Response::text(404, "application/xml", String::new()));
            }
            let xml = format!(
                "<?xml version=\"1.1\" encoding=\"UTF-8\"?>\n<slave>\n  <name>{}</name>\n  <description>{}</description>\n  <remoteFS>{}</remoteFS>\n  <label>{}</label>\n</slave>",
                node.name,
                escaped(&node.description),
                escaped(&node.remote_fs),
                escaped(&node.labels.join(" ")),
            );
            Ok(Response::text(200, "application/xml", xml))
        }
        // Newer installations have no port for inbound agents.
        ["tcpSlaveAgentListener"] if generation <= Generation::J2_46 => {
            let header = if generation == Generation::Hudson332 { "X-Hudson-JNLP-Port" } else { "X-Jenkins-JNLP-Port" };
            Ok(Response::text(200, "text/plain;charset=UTF-8", "Jenkins").with(header, "50000"))
        }
        ["jnlpJars", "slave.jar" | "remoting.jar"] => Ok(Response::text(200, "application/java-archive", JAR)),
        ["jnlpJars", "agent.jar"] if generation >= Generation::J2_462 => Ok(Response::text(200, "application/java-archive", JAR)),
        ["jnlpJars", _] if generation == Generation::Hudson332 => Err(Refusal::new(500, "Status Code: 500")),
        _ => Err(not_found()),
    }
}

fn queue_json(jenkins: &Jenkins) -> Value {
    const PIPELINE: &str = "org.jenkinsci.plugins.workflow.support.steps.ExecutorStepExecution$PlaceholderTask";
    let tells = jenkins.generation.tells_class();
    let item = |why: String| {
        let task = if tells { json!({ "_class": PIPELINE }) } else { json!({}) };
        json!({ "why": why, "buildable": true, "blocked": false, "stuck": true, "task": task })
    };
    let items: Vec<Value> = jenkins.waiting().into_iter().map(item).collect();
    if tells { json!({ "_class": "hudson.model.Queue", "items": items }) } else { json!({ "items": items }) }
}

fn picked(jenkins: &Jenkins, request: &Request, body: &Value) -> Result<Response, Refusal> {
    let Some(text) = request.query_value("tree") else { return Ok(api(jenkins, body)) };
    let tree = tree::parse(&text).ok_or_else(|| Refusal::new(500, format!("Status Code: 500 Illegal tree: {text}")))?;
    Ok(api(jenkins, &tree.pick(body)))
}

fn list_json(jenkins: &Jenkins, url: &str) -> Value {
    let generation = jenkins.generation;
    let mut own = Node::new(NodeName::from(generation.own_node()), NodeLauncher::Elsewhere);
    own.executors = 2;
    own.connect();
    "the Jenkins controller's built-in node".clone_into(&mut own.description);
    let mut own = own.json(generation, url);
    if let (true, Some(fields)) = (generation.tells_class(), own.as_object_mut()) {
        fields.insert("_class".to_owned(), "hudson.model.Hudson$MasterComputer".into());
    }
    let online = || jenkins.visible().filter(|node| !node.offline());
    let busy: usize = online().map(|node| node.builds.len()).sum();
    let total: u32 = online().map(|node| node.executors).sum();
    let computers: Vec<Value> = std::iter::once(own).chain(jenkins.visible().map(|node| node.json(generation, url))).collect();
    let mut body = json!({
        "busyExecutors": busy, "computer": computers, "displayName": "nodes", "totalExecutors": total + 2,
    });
    if let (true, Some(fields)) = (generation.tells_class(), body.as_object_mut()) {
        fields.insert("_class".to_owned(), "hudson.model.ComputerSet".into());
    }
    body
}

fn escaped(text: &str) -> String {
    crate::sandbox::jenkins_view::escape(text)
}

fn jnlp(jenkins: &Jenkins, node: &Node, url: &str) -> Response {
    let (name, secret) = (&node.name, jenkins.agent_secret(&node.name));
    let body = if jenkins.generation.new_jnlp_name() {
        format!(
            "<jnlp><application-desc><argument>{secret}</argument><argument>{name}</argument><argument>-workDir</argument><argument>{}</argument><argument>-internalDir</argument><argument>remoting</argument><argument>-url</argument><argument>{url}</argument></application-desc></jnlp>",
            escaped(&node.remote_fs)
        )
    } else {
        format!(
            "<jnlp codebase=\"{url}computer/{name}/\" spec=\"1.0+\"><information><title>Slave Agent for {name}</title><vendor>Jenkins project</vendor></information><security><all-permissions/></security><resources><j2se version=\"1.7+\"/><jar href=\"{url}jnlpJars/remoting.jar\"/></resources><application-desc main-class=\"hudson.remoting.jnlp.Main\"><argument>{secret}</argument><argument>{name}</argument><argument>-url</argument><argument>{url}</argument></application-desc></jnlp>"
        )
    };
    Response::text(200, "application/x-java-jnlp-file", body)
}

fn change(state: &mut State, target: &TargetName, request: &Request, path: &[&str], url: &str) -> Result<Response, Refusal> {
    let found = |to: String| Response::empty(302).with("Location", to);
    let node_url = |name: &str| format!("{url}computer/{}/", utf8_percent_encode(name, NON_ALPHANUMERIC));
    match path {
        ["computer", "doCreateItem"] => {
            let generation = state.target(target)?.generation;
            state.create_agent(target, new_node(generation, request)?)?;
            Ok(found(format!("{url}computer/")))
        }
        ["computer", "(master)" | "(built-in)", _] => Err(Refusal::new(400, "Bad Request")),
        ["computer", name, "doDelete"] => {
            state.delete_agent(target, &NodeName::from(*name))?;
            Ok(found(format!("{url}computer/")))
        }
        ["computer", name, verb @ ("changeOfflineCause" | "toggleOffline")] => {
            let generation = state.target(target)?.generation;
            if *verb == "changeOfflineCause" && !generation.changes_offline_cause() {
                return Err(Refusal::new(404, "Not Found"));
            }
            let message = request.parameter("offlineMessage").unwrap_or_default();
            let now = state.clock.now();
            let jenkins = state.target(target)?;
            let user = jenkins.user.clone();
            let node = jenkins.node(name)?;
            if *verb == "toggleOffline" && node.marked {
                node.unmark();
                state.log("mark-online", *name, "");
            } else {
                node.set_mark(now, Why::User { user, message: message.clone() });
                state.log("mark-offline", *name, message);
            }
            Ok(found(node_url(name)))
        }
        _ => Err(Refusal::new(404, "Not Found")),
    }
}

/// The form of `doCreateItem`, with what each generation does to an incomplete one.
fn new_node(generation: Generation, request: &Request) -> Result<Node, Refusal> {
    let broken = |what: &str| Refusal::new(500, format!("Status Code: 500 Exception: {what}"));
    let form_name = request.parameter("name").unwrap_or_default();
    let kind = request.parameter("type").unwrap_or_default();
    let oldest = generation == Generation::Hudson332;
    let by_class = kind == "hudson.slaves.DumbSlave$DescriptorImpl";
    if !by_class && (oldest || kind != "hudson.slaves.DumbSlave") {
        return Err(broken("No such type"));
    }
    let text = request.parameter("json").ok_or_else(|| broken("No json form submission data"))?;
    let json: Value = serde_json::from_str(&text).map_err(|_| broken("net.sf.json.JSONException"))?;
    let field = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    if generation == Generation::J1_651 && json.get("nodeProperties").is_none() {
        return Err(broken("java.lang.NullPointerException: nodeProperties"));
    }
    let executors = match json.get("numExecutors") {
        None => 1,
        Some(Value::String(text)) => text.trim().parse().unwrap_or_default(),
        Some(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or_default(),
    };
    let name = if oldest && !field("name").is_empty() { field("name") } else { form_name };
    let mut node = Node::new(NodeName::new(name), launcher(oldest, &json).ok_or_else(|| broken("unknown launcher"))?);
    node.description = field("nodeDescription");
    node.executors = executors;
    node.remote_fs = field("remoteFS");
    node.labels = field("labelString").split_whitespace().map(str::to_owned).collect();
    node.mode = if field("mode") == "EXCLUSIVE" { AgentMode::Exclusive } else { AgentMode::Normal };
    Ok(node)
}

fn launcher(oldest: bool, json: &Value) -> Option<NodeLauncher> {
    let launcher = json.get("launcher")?;
    let class = |key: &str| launcher.get(key).and_then(Value::as_str);
    let class = class("stapler-class").or_else(|| if oldest { None } else { class("$class") })?;
    match class {
        "hudson.slaves.JNLPLauncher" => Some(NodeLauncher::Inbound),
        "hudson.plugins.sshslaves.SSHLauncher" => {
            Some(NodeLauncher::Ssh { host: launcher.get("host").and_then(Value::as_str)?.to_owned() })
        }
        _ => None,
    }
}
