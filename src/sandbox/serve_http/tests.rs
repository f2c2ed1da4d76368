//! The served world against recorded answers of the real services: the same fields, the same refusals. And kill points.

mod images;
mod served;

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::names::{ProviderName, TargetName};
use crate::sandbox::{BuildFate, Drop, Fate, Generation, HttpFault, HttpFaultAnswer};
use served::{Answer, served};

const TREE: &str = "tree=computer[_class,displayName,description,offline,temporarilyOffline,idle,numExecutors,offlineCauseReason,\
                    offlineCause[_class,description,message,timestamp],executors[idle,currentExecutable[url]],\
                    oneOffExecutors[idle,currentExecutable[url]],assignedLabels[name]]";

fn recorded(file: &str) -> Value {
    serde_json::from_str(file).expect("a fixture")
}

fn openstack() -> Value {
    recorded(include_str!("../../../tests/fixtures/sandbox/openstack.json"))
}

/// Objects have the same fields at every level, lists elements of the same shape. What a value is does not count, but for
/// null: a field that is null there may hold anything.
fn same_shape(at: &str, recorded: &Value, ours: &Value) {
    match (recorded, ours) {
        (Value::Object(recorded), Value::Object(ours)) => {
            // Names of networks.
            let free = at.ends_with("addresses");
            let keys = |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<std::collections::BTreeSet<_>>();
            assert!(free || keys(recorded) == keys(ours), "{at}: {:?} and {:?}", keys(recorded), keys(ours));
            let pairs = recorded.iter().zip(if free { ours.values().collect::<Vec<_>>() } else { Vec::new() });
            for ((key, value), ours) in pairs {
                same_shape(&format!("{at}.{key}"), value, ours);
            }
            for (key, value) in recorded.iter().filter(|_| !free) {
                same_shape(&format!("{at}.{key}"), value, &ours[key]);
            }
        }
        (Value::Array(recorded), Value::Array(ours)) => {
            if let (Some(recorded), Some(ours)) = (recorded.first(), ours.first()) {
                same_shape(&format!("{at}[]"), recorded, ours);
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        _ => assert_eq!(std::mem::discriminant(recorded), std::mem::discriminant(ours), "{at}"),
    }
}

#[test]
fn openstack_answers_have_the_recorded_shape() {
    let served = served(Generation::J2_462);
    let (recorded, none) = (openstack(), Value::Null);
    let check = |name: &str, answer: &Answer| same_shape(name, &recorded[name], &answer.json());
    let created = served.create();
    check("server-create", &created);
    let id = created.json()["server"]["id"].as_str().expect("an id").to_owned();
    let server = format!("compute/v2.1/servers/{id}");
    check("server-building", &served.get(&server));
    served.world.tick(5);
    check("server", &served.get(&server));
    check("servers", &served.get("compute/v2.1/servers/detail?limit=1"));
    check("servers-2.1", &served.os("GET", "compute/v2.1/servers/detail", "2.1", &none));
    check("flavors", &served.get("compute/v2.1/flavors/detail"));
    check("limits", &served.get("compute/v2.1/limits"));
    check("limits-2.1", &served.os("GET", "compute/v2.1/limits", "2.1", &none));
    check("networks", &served.get("network/v2.0/networks"));
    served.world.add_image(&ProviderName::from("cloud-1"), "jessie");
    check("images", &served.get("image/v2/images?name=in:%22jessie%22&limit=1"));
    served.world.next_fate(Fate { build: BuildFate::Error("No valid host was found.".into()), ..Fate::default() });
    let broken = served.created();
    served.world.tick(5);
    check("server-error", &served.get(&format!("compute/v2.1/servers/{broken}")));
    let password = served.world.with(|state| state.password.expose_secret().to_owned());
    check("token", &served.authenticate(&password));
}

#[test]
fn openstack_refusals_have_the_recorded_shape() {
    let served = served(Generation::J2_462);
    let (recorded, none) = (openstack(), Value::Null);
    let check = |name: &str, status: u16, answer: &Answer| {
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        same_shape(name, &recorded[name], &answer.json());
    };
    let id = served.created();
    let mark = json!({ "metadata": { "poolkeeper_busy": "x" } });
    let conflict = served.os("POST", &format!("compute/v2.1/servers/{id}/metadata"), "2.93", &mark);
    check("conflict", 409, &conflict);
    assert!(conflict.header("x-openstack-request-id").is_some_and(|id| id.starts_with("req-")));
    check("server-gone", 404, &served.get("compute/v2.1/servers/4bd733f6-fead-4af9-819b-1ea9b22e973c"));
    check("bad-microversion", 406, &served.os("GET", "compute/v2.1/servers/detail", "2.999", &none));
    check("bad-password", 401, &served.authenticate("wrong"));
    served.world.with(|state| state.clouds.get_mut("cloud-1").expect("a cloud").limits.instances = Some(1));
    check("quota", 403, &served.create());
    served.world.with(super::super::state::State::revoke_tokens);
    check("nova-unauthorized", 401, &served.get("compute/v2.1/limits"));
    check("glance-unauthorized", 401, &served.get("image/v2/images"));
}

#[test]
fn servers_come_page_by_page() {
    let served = served(Generation::J2_462);
    let ids = [served.created(), served.created(), served.created()];
    served.world.with(|state| state.clouds.get_mut("cloud-1").expect("a cloud").page = 2);
    let (mut path, mut seen) = ("compute/v2.1/servers/detail".to_owned(), Vec::new());
    loop {
        let page = served.get(&path).json();
        let servers = page["servers"].as_array().expect("a list");
        assert!(servers.len() <= 2);
        seen.extend(servers.iter().map(|server| server["id"].as_str().unwrap_or_default().to_owned()));
        let Some(next) = page["servers_links"][0]["href"].as_str() else { break };
        path = next.split_once("/os/cloud-1/").expect("our URL").1.to_owned();
    }
    seen.sort_unstable();
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    assert_eq!(seen, ids);
}

#[test]
fn marks_locks_and_consoles_go_over_the_wire() {
    let served = served(Generation::J2_462);
    let id = served.created();
    let server = format!("compute/v2.1/servers/{id}");
    served.world.tick(20);
    let post = |path: &str, body: Value| served.os("POST", &format!("{server}/{path}"), "2.93", &body);
    assert_eq!(post("metadata", json!({ "metadata": { "a": "1", "b": "2" } })).json()["metadata"]["b"], "2");
    assert_eq!(served.os("DELETE", &format!("{server}/metadata/a"), "2.93", &Value::Null).status, 204);
    let console = post("action", json!({ "os-getConsoleOutput": {} })).json();
    assert!(console["output"].as_str().is_some_and(|log| log.contains("-----BEGIN SSH HOST KEY KEYS-----")));
    assert_eq!(post("action", json!({ "lock": null })).status, 202);
    assert_eq!(served.os("DELETE", &server, "2.93", &Value::Null).status, 409);
    assert_eq!(post("action", json!({ "unlock": null })).status, 202);
    assert_eq!(served.os("DELETE", &server, "2.93", &Value::Null).status, 204);
    assert_eq!(served.get(&server).json()["server"]["OS-EXT-STS:task_state"], "deleting");
    served.world.tick(1);
    assert_eq!(served.get(&server).status, 404);
}

#[test]
fn agents_look_as_recorded_in_every_generation() {
    let recorded = recorded(include_str!("../../../tests/fixtures/sandbox/jenkins.json"));
    for generation in Generation::ALL {
        let served = served(generation);
        let target = TargetName::from("ci");
        let states = &recorded[generation.version().unwrap_or("hudson-3.3.2")];
        let check = |state: &str| {
            let answer = served.jenkins_as(&served.password(), "GET", &format!("computer/api/json?{TREE}"), &[], "");
            let body = answer.json();
            let agent = body["computer"].as_array().and_then(|list| list.iter().find(|agent| agent["displayName"] == "demo-1"));
            let (agent, recorded) = (agent.expect("the agent"), &states[state]);
            let at = format!("{generation:?} {state}");
            same_shape(&at, recorded, agent);
            for field in ["offline", "temporarilyOffline", "idle", "numExecutors"] {
                assert_eq!(agent[field], recorded[field], "{at}.{field}");
            }
            for field in ["_class", "message"] {
                assert_eq!(agent["offlineCause"][field], recorded["offlineCause"][field], "{at}.offlineCause.{field}");
            }
            assert_eq!(agent["offlineCause"].is_null(), recorded["offlineCause"].is_null(), "{at}");
            assert_eq!(answer.header("x-jenkins"), generation.version());
        };
        served.world.add_agent(&target, "demo-1", "pool=demo");
        served.world.with(|state| {
            let node = state.jenkins.get_mut("ci").and_then(|jenkins| jenkins.nodes.get_mut("demo-1")).expect("a node");
            node.labels = vec!["demo".into()];
            node.channel = crate::sandbox::jenkins::Channel::Never;
        });
        check("never");
        served.world.tick(10);
        served.world.start_build(&target, "demo-1", 5).expect("a build");
        check("busy");
        served.world.mark_by_person(&target, "demo-1", "nodepool", "demo:draining:age");
        check("marked-busy");
        served.world.tick(5);
        served.world.mark_gearman(&target, "demo-1");
        check("gearman");
        served.world.lose_channel(&target, "demo-1");
        check("gearman-lost");
        served.world.unmark(&target, "demo-1");
        served.world.lose_channel(&target, "demo-1");
        check("lost");
        served.world.mark_gearman(&target, "demo-1");
        served.world.with(|state| state.delays.restart = 0);
        served.world.restart_controller(&target);
        check("restarted");
    }
}

fn form(name: &str, executors: &str) -> String {
    let json = json!({
        "name": name, "nodeDescription": "of a test", "numExecutors": executors, "remoteFS": "/srv", "labelString": "a b",
        "mode": "EXCLUSIVE", "nodeProperties": { "stapler-class-bag": "true" },
        "launcher": { "stapler-class": "hudson.slaves.JNLPLauncher", "$class": "hudson.slaves.JNLPLauncher" },
    });
    let encoded = percent_encoding::utf8_percent_encode(&json.to_string(), percent_encoding::NON_ALPHANUMERIC).to_string();
    format!("name={name}&type=hudson.slaves.DumbSlave%24DescriptorImpl&json={encoded}")
}

#[test]
fn an_agent_is_created_marked_and_deleted_with_a_token() {
    let served = served(Generation::J2_462);
    let post = |path: &str, body: &str| served.jenkins("POST", path, &[], body);
    let created = post("computer/doCreateItem", &form("n1", "1"));
    assert_eq!((created.status, created.header("location").is_some_and(|to| to.ends_with("/computer/"))), (302, true));
    let again = post("computer/doCreateItem", &form("n1", "1"));
    assert_eq!((again.status, again.header("x-error")), (400, Some("Agent called  n1  already exists")));
    let jnlp = served.jenkins("GET", "computer/n1/jenkins-agent.jnlp", &[], "");
    assert!(jnlp.body.contains("<argument>n1</argument>"), "{}", jnlp.body);
    assert_eq!(post("computer/n1/changeOfflineCause?offlineMessage=one%20two", "").status, 302);
    let cause = served.jenkins("GET", "computer/n1/api/json", &[], "").json()["offlineCause"].clone();
    assert_eq!(cause["description"], "Disconnected by nodepool : one two");
    assert_eq!(served.jenkins("GET", "computer/n1/doDelete", &[], "").status, 405);
    assert_eq!(post("computer/n1/doDelete", "").status, 302);
    assert_eq!(post("computer/n1/doDelete", "").status, 404);
    assert_eq!(post("computer/doCreateItem", &form("n0", "0")).status, 302, "swallowed");
    assert_eq!(served.jenkins("GET", "computer/n0/api/json", &[], "").status, 404);
    assert_eq!(post("computer/doCreateItem", &form("n0", "1")).status, 400, "invisible, and there");
}

#[test]
fn crumbs_are_as_each_generation_wants_them() {
    for generation in Generation::ALL {
        let served = served(generation);
        let password = served.password();
        let wanted =
            |headers: &[(&str, String)]| served.jenkins_as(&password, "POST", "computer/nope/doDelete", headers, "").status;
        assert_eq!(wanted(&[]), 403, "{generation:?}");
        let issued = served.jenkins_as(&password, "GET", "crumbIssuer/api/json", &[], "");
        let field = issued.json()["crumbRequestField"].as_str().expect("a field").to_owned();
        let crumb = issued.json()["crumb"].as_str().expect("a crumb").to_owned();
        assert_eq!(field, generation.crumb_field());
        let cookie = issued.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a session").to_owned();
        let without = if generation.crumb_needs_session() { 403 } else { 404 };
        assert_eq!(wanted(&[(generation.crumb_field(), crumb.clone())]), without, "{generation:?}");
        assert_eq!(wanted(&[(generation.crumb_field(), crumb), ("Cookie", cookie)]), 404, "{generation:?}");
        let by_token = served.jenkins("POST", "computer/nope/doDelete", &[], "").status;
        let expected = if generation.token_needs_no_crumb() { 404 } else { 403 };
        assert_eq!(by_token, expected, "{generation:?}");
        let wrong = if generation == Generation::Hudson332 { 403 } else { 401 };
        assert_eq!(served.jenkins_as("wrong", "GET", "computer/api/json", &[], "").status, wrong, "{generation:?}");
    }
}

#[test]
fn hudson_only_toggles() {
    let served = served(Generation::Hudson332);
    served.world.add_agent(&TargetName::from("ci"), "n1", "");
    let password = served.password();
    let crumb = served.jenkins_as(&password, "GET", "crumbIssuer/api/json", &[], "").json()["crumb"].clone();
    let crumb = [(".crumb", crumb.as_str().expect("a crumb").to_owned())];
    let post = |path: &str| served.jenkins_as(&password, "POST", path, &crumb, "").status;
    assert_eq!(post("computer/n1/changeOfflineCause?offlineMessage=x"), 404);
    let marked = || served.world.agent(&TargetName::from("ci"), "n1").is_some_and(|agent| agent.temporarily_offline);
    assert_eq!((post("computer/n1/toggleOffline?offlineMessage=x"), marked()), (302, true));
    assert_eq!((post("computer/n1/toggleOffline?offlineMessage=x"), marked()), (302, false));
    let range = served.jenkins_as(&password, "GET", "computer/api/json?tree=computer[displayName]{0,1}", &[], "");
    assert_eq!(range.status, 500);
}

#[test]
fn a_stop_closes_connections_before_or_after_the_effect() {
    for (drop, servers) in [(Drop::BeforeEffect, 0), (Drop::AfterEffect, 1)] {
        let served = served(Generation::J2_462);
        served.world.stop_after(1, drop);
        assert_eq!(served.get("compute/v2.1/servers/detail").status, 200);
        let image = served.world.with(|state| state.clouds["cloud-1"].images[0].seen.id.clone());
        let body = json!({ "server": { "name": "n1", "imageRef": image, "flavorRef": "m1.small" } }).to_string();
        let headers = [("X-Auth-Token", served.token.clone())];
        let send = || served.send("POST", "/os/cloud-1/compute/v2.1/servers", &headers, &body).is_some();
        assert!(!send() && !send(), "{drop:?}");
        assert_eq!(served.world.servers(&ProviderName::from("cloud-1")).len(), servers, "{drop:?}");
        served.world.resume();
        assert!(send());
    }
}

#[test]
fn faults_by_rule() {
    let served = served(Generation::J2_462);
    let fault = |answer: HttpFaultAnswer| {
        served.world.with(|state| state.faults.http.push(HttpFault { of: "GET /os/cloud-1/compute".into(), answer, times: 1 }));
    };
    fault(HttpFaultAnswer::Say { status: 429, headers: vec![("Retry-After".into(), "1".into())], body: "{}".into() });
    let answer = served.get("compute/v2.1/servers/detail");
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")));
    fault(HttpFaultAnswer::Half);
    let half = served.get("compute/v2.1/servers/detail");
    let length: usize = half.header("content-length").and_then(|text| text.parse().ok()).expect("a length");
    assert!(half.body.len() < length);
    assert_eq!(served.get("compute/v2.1/servers/detail").status, 200);
}

#[test]
fn floating_ips_and_ports_have_the_recorded_shape() {
    let served = served(Generation::J2_462);
    let (recorded, none, cloud) = (openstack(), Value::Null, ProviderName::from("cloud-1"));
    let network = served.world.add_external_network(&cloud, "public").expect("a network");
    let check = |name: &str, status: u16, answer: &Answer| {
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        same_shape(name, &recorded[name], &answer.json());
        answer.json()
    };
    let create = |network: &str, port: &Value| {
        let body = json!({ "floatingip": { "floating_network_id": network, "port_id": port, "description": "x" } });
        served.os("POST", "network/v2.0/floatingips", "2.93", &body)
    };
    let id = served.created();
    let ports = || served.get(&format!("network/v2.0/ports?device_id={id}"));
    assert_eq!(ports().json()["ports"], json!([]), "none before it was placed");
    served.world.tick(5);
    let port = check("ports", 200, &ports())["ports"][0]["id"].clone();
    let fixed = served.world.with(|state| state.machines[id.as_str()].address.clone());

    let ip = check("floatingip", 201, &create(network.as_str(), &port))["floatingip"].clone();
    let one = format!("network/v2.0/floatingips/{}", ip["id"].as_str().expect("an id"));
    assert_eq!(check("floatingip", 200, &served.get(&one))["floatingip"], ip);
    assert_eq!((&ip["port_id"], ip["fixed_ip_address"].as_str()), (&port, Some(fixed.as_str())));
    let address = || served.world.with(|state| state.machines.get(id.as_str()).map(|machine| machine.address.clone()));
    assert_eq!(address().as_deref(), ip["floating_ip_address"].as_str(), "its door is there now");
    check("floatingips", 200, &served.get("network/v2.0/floatingips"));
    assert_eq!(served.get("network/v2.0/floatingips?project_id=another").json()["floatingips"], json!([]));

    check("neutron-fault", 409, &create(network.as_str(), &port));
    check("neutron-fault", 404, &create("nowhere", &port));
    check("neutron-fault", 404, &create(network.as_str(), &json!("nothing")));
    let inner = served.world.with(|state| state.clouds["cloud-1"].networks[0].id.clone());
    check("neutron-fault", 400, &create(inner.as_str(), &port));
    served.world.limit_floating_ips(&cloud, Some(1));
    let over = check("neutron-fault", 409, &create(network.as_str(), &none));
    assert_eq!(over["NeutronError"]["type"], "OverQuota");

    assert_eq!(served.os("DELETE", &one, "2.93", &none).status, 204);
    assert_eq!(address(), Some(fixed), "and back");
    let gone = check("neutron-fault", 404, &served.os("DELETE", &one, "2.93", &none));
    assert_eq!(gone["NeutronError"]["type"], "FloatingIPNotFound");
}
