//! What is changed: making, marking, removing and starting an agent.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use poolkeeper::live::jenkins::launcher::form;
use poolkeeper::observed::{HostKey, Login};
use poolkeeper::plan::{AgentLauncher, CreateAgent, Machine, StartAgent};
use poolkeeper::world::{ActErrorKind, Done};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::controller::{Answer, Controller, answer, read_request, recorded};
use super::{VERSIONS, inbound, node};

#[test]
fn the_form_is_the_one_that_real_controllers_took() {
    let fixture = |path: &str| -> Value {
        let path = format!("{}/tests/fixtures/jenkins/{path}", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_slice(&std::fs::read(path).expect("a fixture")).expect("JSON")
    };
    assert_eq!(form(&inbound("demo-1")), fixture("2.568.2/create-inbound.json")["json"]);

    let mut expected = fixture("2.462.3/create-ssh-pinned-key.json")["json"].clone();
    // How often it tries is ours to choose.
    for (name, value) in [("launchTimeoutSeconds", "60"), ("maxNumRetries", "10"), ("retryWaitTime", "15")] {
        expected["launcher"][name] = json!(value);
    }
    let key = expected["launcher"]["sshHostKeyVerificationStrategy"]["key"].as_str().expect("a key").to_owned();
    let ssh = |host_key| CreateAgent {
        labels: vec!["sshdemo".into()],
        launcher: AgentLauncher::Ssh {
            host: "127.0.0.1".into(),
            port: 28022,
            credentials_id: "demo-ssh".into(),
            java_path: None,
            jvm_options: None,
            host_key,
        },
        ..inbound("ssh-pin")
    };
    assert_eq!(form(&ssh(HostKey::parse(&key))), expected);
    let strategy = &form(&ssh(None))["launcher"]["sshHostKeyVerificationStrategy"];
    assert_eq!(*strategy, Value::Null, "old versions of the plugin do not know it");
}

#[test]
fn an_agent_is_made_in_every_generation() {
    for version in VERSIONS {
        let controller = Controller::of(version, |_| None);
        assert_eq!(controller.client(true).create_agent(&inbound("demo-1")), Ok(Done::Done), "{version}");
        let post = &controller.asked()[0];
        assert!(post.body.starts_with("name=demo%2D1&type=hudson%2Eslaves%2EDumbSlave%24DescriptorImpl&json=%7B"));
        assert_eq!(post.headers["authorization"], "Basic bm9kZXBvb2w6aHVudGVyMg==");
    }
}

#[test]
fn a_token_gets_a_crumb_only_where_a_post_is_refused_for_want_of_one() {
    for (version, field) in [("1.651.2", ".crumb"), ("2.46.1", "jenkins-crumb")] {
        let controller = Controller::of(version, move |asked| {
            let without = asked.call.starts_with("POST") && !asked.headers.contains_key(field);
            without.then(|| recorded(version, "no-crumb"))
        });
        let client = controller.client(true);
        assert_eq!(client.create_agent(&inbound("demo-1")), Ok(Done::Done), "{version}");
        assert_eq!(client.delete_agent(&node("demo-1")), Ok(Done::Done));
        let create = "POST /computer/doCreateItem".to_owned();
        let calls = [create.clone(), "GET /crumbIssuer/api/json".into(), create, "POST /computer/demo-1/doDelete".into()];
        assert_eq!(controller.calls(), calls, "{version}: it is kept for the run");
    }
    let controller = Controller::of("2.568.2", |_| None);
    controller.client(true).delete_agent(&node("demo-1")).expect("no crumb");
    assert_eq!(controller.calls(), ["POST /computer/demo-1/doDelete"]);
}

#[test]
fn a_password_gets_a_crumb_at_once_with_its_session() {
    let controller = Controller::of("2.568.2", |_| None);
    controller.client(false).delete_agent(&node("demo-1")).expect("done");
    assert_eq!(controller.calls(), ["GET /crumbIssuer/api/json", "POST /computer/demo-1/doDelete"]);
    let post = &controller.asked()[1];
    assert_eq!(post.headers["jenkins-crumb"], "CRUMB");
    assert_eq!(post.headers["cookie"], "JSESSIONID=SESSION");

    let off = Controller::of("2.568.2", |asked| asked.call.contains("crumb").then(|| recorded("2.568.2", "missing")));
    assert_eq!(off.client(false).delete_agent(&node("demo-1")), Ok(Done::Done), "404: the protection is off");
}

#[test]
fn a_crumb_that_is_refused_twice_is_for_a_later_pass() {
    let controller = Controller::of("2.568.2", |asked| asked.call.starts_with("POST").then(|| recorded("2.568.2", "no-crumb")));
    let error = controller.client(true).delete_agent(&node("demo-1")).expect_err("refused");
    assert_eq!(error.kind, ActErrorKind::NotNow, "a controller that starts does it");
    assert_eq!(controller.calls().len(), 3);
}

#[test]
fn a_name_that_is_there_already_is_ours_by_its_description() {
    for version in VERSIONS {
        let make = |description: Value| {
            let list: Value = serde_json::from_slice(&recorded(version, "list").body).expect("JSON");
            let mut raw = list["computer"][2].clone();
            raw["description"] = description;
            let controller = Controller::of(version, move |asked| match asked.call.as_str() {
                "POST /computer/doCreateItem" => Some(recorded(version, "duplicate")),
                "GET /computer/demo-1/api/json" => Some(answer(200, &raw.to_string())),
                _ => None,
            });
            controller.client(true).create_agent(&inbound("demo-1"))
        };
        assert_eq!(make(json!("pool=demo")), Ok(Done::Already), "{version}");
        assert_eq!(make(Value::Null), Ok(Done::Already), "{version}: before 2.79 the name alone tells");
        let error = make(json!("somebody's")).expect_err("not ours");
        assert_eq!(error.kind, ActErrorKind::Refused);

        let controller = Controller::of(version, |asked| asked.call.starts_with("POST").then(|| recorded(version, "bad-name")));
        let error = controller.client(true).create_agent(&inbound("bad/name")).expect_err("refused");
        assert_eq!(error.kind, ActErrorKind::Refused);
        assert!(error.said.starts_with("HTTP 400: ") && error.said.contains("unsafe character"), "{version}: {}", error.said);
    }
}

#[test]
fn no_executors_are_refused_without_a_call() {
    let controller = Controller::of("2.568.2", |_| None);
    let error = controller.client(true).create_agent(&CreateAgent { executors: 0, ..inbound("demo-1") }).expect_err("refused");
    assert_eq!(error.kind, ActErrorKind::Refused);
    assert!(controller.calls().is_empty());
}

#[test]
fn jenkins_marks_in_one_call() {
    for version in &VERSIONS[1..] {
        let controller = Controller::of(version, |_| None);
        assert_eq!(controller.client(true).mark_offline(&node("idle"), "poolkeeper: a & b"), Ok(Done::Done));
        assert_eq!(controller.calls(), ["POST /computer/idle/changeOfflineCause"], "{version}");
        assert_eq!(controller.asked()[0].body, "offlineMessage=poolkeeper%3A%20a%20%26%20b");
    }
}

/// Hudson, whose agent's mark is what the sequence says, look by look.
fn hudson(marks: &'static [bool]) -> Controller {
    let looks = Mutex::new(marks.iter());
    Controller::of("hudson-3.3.2", move |asked| {
        let marked = (asked.call == "GET /computer/idle/api/json").then(|| looks.lock().expect("a lock").next())?;
        let list: Value = serde_json::from_slice(&recorded("hudson-3.3.2", "list").body).expect("JSON");
        let mut raw = list["computer"][2].clone();
        raw["temporarilyOffline"] = json!(marked.expect("one look more"));
        Some(answer(200, &raw.to_string()))
    })
}

#[test]
fn hudsons_toggle_never_lifts_a_mark() {
    let toggles = |controller: &Controller| controller.calls().iter().filter(|call| call.ends_with("toggleOffline")).count();
    let mark = |controller: &Controller| controller.client(true).mark_offline(&node("idle"), "poolkeeper: used");

    let unmarked = hudson(&[false, true]);
    assert_eq!(mark(&unmarked), Ok(Done::Done));
    assert_eq!(toggles(&unmarked), 1);

    let marked = hudson(&[true]);
    assert_eq!(mark(&marked), Ok(Done::Already));
    assert_eq!(toggles(&marked), 0);

    let raced = hudson(&[false, false]);
    assert_eq!(mark(&raced).expect_err("somebody else toggled").kind, ActErrorKind::NotNow);
    assert_eq!(toggles(&raced), 1);

    let gone = Controller::of("hudson-3.3.2", |_| None);
    let error = gone.client(true).mark_offline(&node("nope"), "poolkeeper: used").expect_err("no such agent");
    assert_eq!(error.kind, ActErrorKind::NotNow);
    assert_eq!(toggles(&gone), 0);
}

#[test]
fn only_our_own_mark_is_lifted() {
    let toggles = |controller: &Controller| controller.calls().iter().filter(|call| call.ends_with("toggleOffline")).count();
    for version in VERSIONS {
        let somebodys = Controller::of(version, |_| None);
        assert_eq!(somebodys.client(true).lift_mark(&node("marked")), Ok(Done::Already), "{version}");
        assert_eq!(somebodys.client(true).lift_mark(&node("idle")), Ok(Done::Already), "{version}");
        assert_eq!(toggles(&somebodys), 0, "{version}");

        let ours = Controller::of(version, move |asked| {
            let list: Value = serde_json::from_slice(&recorded(version, "list").body).expect("JSON");
            let agents = list["computer"].as_array().expect("agents");
            let mut raw = agents.iter().find(|agent| agent["displayName"] == "marked").expect("one").clone();
            raw["offlineCause"]["description"] = json!("Disconnected by nodepool : poolkeeper: seen busy");
            (asked.call == "GET /computer/marked/api/json").then(|| answer(200, &raw.to_string()))
        });
        assert_eq!(ours.client(true).lift_mark(&node("marked")), Ok(Done::Done), "{version}");
        assert_eq!(toggles(&ours), 1, "{version}");
    }
}

#[test]
fn a_deletion_says_what_came_of_it() {
    for version in VERSIONS {
        let controller = Controller::of(version, |asked| asked.call.contains("gone").then(|| recorded(version, "missing")));
        let client = controller.client(true);
        assert_eq!(client.delete_agent(&node("idle")), Ok(Done::Done), "{version}");
        assert_eq!(client.delete_agent(&node("gone")), Ok(Done::Already), "{version}");
    }
    let controller =
        Controller::of("2.462.3", |asked| asked.call.starts_with("POST").then(|| recorded("2.462.3", "no-permission")));
    let error = controller.client(true).delete_agent(&node("idle")).expect_err("no permission");
    assert_eq!(error.kind, ActErrorKind::Refused);
    assert_eq!(error.hint.as_deref(), Some("give the target's user the permission hudson.model.Computer.Delete"));
    assert_eq!(controller.calls().len(), 1, "no crumb is asked for");
}

#[test]
fn a_redirect_elsewhere_is_no_success() {
    for location in [
        "https://ci.example.org/ci/computer/idle/doDelete",
        "https://sso.example.org/login?from=x",
        "/ci/securityRealm/commenceLogin",
    ] {
        let controller =
            Controller::new(move |_| Answer { headers: vec![("Location".into(), location.into())], ..answer(302, "") });
        let error = controller.client(true).delete_agent(&node("idle")).expect_err(location);
        assert_eq!(error.kind, ActErrorKind::Refused);
        assert!(error.hint.is_some_and(|hint| hint.contains("redirects to")), "{location}");
        assert_eq!(controller.calls().len(), 1, "never followed");
    }
}

#[test]
fn a_name_is_one_part_of_a_path() {
    let controller = Controller::of("2.568.2", |_| None);
    controller.client(true).delete_agent(&node("a b/../c?d")).expect("done");
    assert_eq!(controller.calls(), ["POST /computer/a%20b%2F..%2Fc%3Fd/doDelete"]);
}

#[test]
fn an_answer_that_never_comes_may_have_been_done() {
    let controller = Controller::new(|_| answer(200, ""));
    let client = controller.client(true);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = Controller { url: format!("http://{}/ci/", listener.local_addr().expect("an address")), asked: Arc::default() };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Read whole and closed without a word.
            drop(read_request(&stream));
        }
    });
    assert_eq!(silent.client(true).create_agent(&inbound("demo-1")).expect_err("no answer").kind, ActErrorKind::Unanswered);
    assert_eq!(client.create_agent(&inbound("demo-1")).expect_err("no redirect").kind, ActErrorKind::Refused);

    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let nobody = Controller { url: format!("http://{port}/ci/"), asked: Arc::default() };
    assert_eq!(nobody.client(true).delete_agent(&node("idle")).expect_err("nobody").kind, ActErrorKind::NotNow);
}

fn start(name: &str, command: Option<&str>) -> StartAgent {
    StartAgent {
        machine: Machine {
            provider: "wmflabs-eqiad".into(),
            server: "0b7d4b0e".into(),
            login: Login { host: "10.0.0.1".into(), port: 22, usernames: Vec::new(), private_key: "/k".into() },
            pinned: HostKey::parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGE").expect("a key"),
        },
        target: "contint1001".into(),
        name: name.into(),
        remote_fs: "/srv".into(),
        start: command.map(str::to_owned),
    }
}

#[test]
fn an_inbound_agent_is_started_by_what_the_controller_serves() {
    for (version, jar, command) in [
        ("hudson-3.3.2", "slave.jar", "java -jar {jar} -jnlpUrl file:{secret-file}"),
        ("1.651.2", "slave.jar", "java -jar {jar} -jnlpUrl file:{secret-file}"),
        ("2.46.1", "agent.jar", "java -jar {jar} -jnlpUrl file:{secret-file}"),
        (
            "2.462.3",
            "agent.jar",
            "java -jar {jar} -url {url} -webSocket -secret @{secret-file} -name {name} -workDir {remote-fs}",
        ),
        ("2.568.2", "agent.jar", "java -jar {jar} -url {url} -secret @{secret-file} -name {name} -workDir {remote-fs}"),
    ] {
        let controller = Controller::of(version, move |asked| {
            let path = asked.call.strip_prefix("GET /jnlpJars/");
            match (asked.call.as_str(), path) {
                (_, Some(path)) if path == jar => Some(answer(200, "PK...")),
                // Hudson's answer to a jar that it does not know.
                (_, Some(_)) => Some(answer(500, "<html><title>Error 500 Server Error</title></html>")),
                ("GET /tcpSlaveAgentListener/", _) if version != "2.462.3" => Some(answer(200, "")),
                _ => None,
            }
        });
        let client = controller.client(true);
        let program = client.agent_program(&start("demo-1", None)).expect("a program");
        assert_eq!(program.start, command, "{version}");
        let secret = program.secret.expose_secret();
        if command.contains("-jnlpUrl") {
            assert!(secret.starts_with("<jnlp") && secret.contains("<argument>0123456789abcdef</argument>"), "{version}");
        } else {
            assert_eq!(secret, "0123456789abcdef", "{version}");
        }
        assert!(!format!("{program:?}").contains("0123456789abcdef"));
        client.agent_program(&start("demo-2", Some("java -jar {jar} -secret @{secret-file}"))).expect("a program");
        let jars = controller.calls().iter().filter(|call| call.ends_with(jar)).count();
        assert_eq!(jars, 1, "{version}: once a run");
    }
}

#[test]
fn no_secret_is_in_what_is_shown() {
    let controller = Controller::of("1.651.2", |asked| asked.call.starts_with("POST").then(|| recorded("1.651.2", "no-crumb")));
    let client = controller.client(false);
    let error = client.delete_agent(&node("idle")).expect_err("refused");
    for shown in [format!("{client:?}"), format!("{error:?}"), error.to_string()] {
        assert!(!shown.contains("hunter2") && !shown.contains("CRUMB"), "{shown}");
    }
}

#[test]
fn an_agent_or_a_host_with_login_in_its_name_is_no_login_page() {
    for location in ["http://127.0.0.1/computer/ci-login-1ng7j2g00wq/.", "https://login.example.org/ci/computer/", "../.."] {
        let controller =
            Controller::new(move |_| Answer { headers: vec![("Location".into(), location.into())], ..answer(302, "") });
        let client = controller.client(true);
        assert_eq!(client.delete_agent(&node("ci-login-1ng7j2g00wq")), Ok(Done::Done), "{location}");
        assert_eq!(client.mark_offline(&node("ci-login-1ng7j2g00wq"), "poolkeeper: busy"), Ok(Done::Done), "{location}");
    }
}
