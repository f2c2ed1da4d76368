//! What is read: the list, one agent, and answers that are none.

use poolkeeper::observed::{Computer, OfflineCause};
use serde_json::Value;

use super::controller::{Controller, answer, recorded};
use super::{VERSIONS, node};

/// What the rules look at, in one line.
fn shown(computer: &Computer) -> String {
    let mut words = vec![computer.name.as_str(), if computer.online() { "online" } else { "offline" }];
    if computer.temporarily_offline {
        words.push("marked");
    }
    words.push(if computer.busy { "busy" } else { "idle" });
    if computer.cause.as_deref().is_some_and(OfflineCause::is_gearman) {
        words.push("by-gearman");
    }
    if computer.channel_lost() {
        words.push("lost");
    }
    words.join(" ")
}

#[test]
fn every_generation_shows_the_same_agents() {
    let old = [
        "never offline idle lost",
        "idle online idle",
        "busy online busy",
        "marked-busy offline marked busy",
        "marked offline marked idle",
        "gearman offline marked idle by-gearman",
        "lost offline idle lost",
        "gearman-lost offline marked idle lost",
        "gearman-restarted offline idle lost",
    ];
    for version in VERSIONS {
        let controller = Controller::of(version, |_| None);
        let list = controller.client(true).list().expect("a list");
        let mut expected: Vec<&str> = old.to_vec();
        match version {
            "2.462.3" => expected.push("ghost offline busy lost"),
            // Since 2.482 a mark stays with its node.
            "2.568.2" => {
                expected[7] = "gearman-lost offline marked idle by-gearman";
                expected[8] = "gearman-restarted offline marked idle by-gearman";
            }
            _ => {}
        }
        // By name, whatever the controller's order is: the join relies on it.
        expected.sort_unstable();
        let seen: Vec<String> = list.computers.iter().map(shown).collect();
        assert_eq!(seen, expected, "{version}");
        assert_eq!(list.version.as_deref(), (!version.starts_with("hudson")).then_some(version));
        assert_eq!(list.session.is_some(), !version.starts_with("hudson"));
        assert_eq!(controller.calls(), ["GET /computer/api/json"]);
        assert!(controller.asked()[0].query.contains("computer%5B_class,displayName"), "no bare brackets");
        let find = |name: &str| list.computers.iter().find(|computer| computer.name == name).expect("an agent");
        assert_eq!(find("busy").builds.len(), 1, "{version}");
        let text = find("marked").cause.as_ref().and_then(|cause| cause.text()).expect("a text");
        assert!(text.contains("draining:age"), "{version}: {text}");
        assert!(find("lost").cause.as_ref().is_none_or(|cause| cause.text().is_none_or(|text| !text.contains('\n'))));
    }
}

#[test]
fn a_controller_that_starts_or_is_none_is_a_gap() {
    let whole = String::from_utf8(recorded("2.568.2", "list").body).expect("text");
    let cases = [
        (recorded("2.568.2", "booting"), "HTTP 503"),
        (recorded("hudson-3.3.2", "booting"), "HTTP 503"),
        (recorded("2.568.2", "wrong-password"), "HTTP 401"),
        (recorded("hudson-3.3.2", "wrong-password"), "HTTP 403"),
        (answer(200, "<html><head><title>Sign in</title></head></html>"), "Sign in"),
        (answer(200, "{\"computer\": []}"), "missing field"),
        (answer(200, &whole[..whole.len() / 2]), "EOF"),
        (answer(302, ""), "HTTP 302"),
        (answer(404, "nothing here"), "HTTP 404"),
    ];
    for (case, said) in cases {
        let controller = Controller::new(move |_| case.clone());
        let gap = controller.client(true).list().expect_err("a gap");
        assert!(gap.answered.contains(said), "{said}: {gap}");
        assert!(gap.tried.ends_with("/ci/computer/api/json"), "{gap}");
        assert!(controller.client(true).computer(&node("idle")).is_err(), "{said}: and no verdict on one agent");
    }
}

#[test]
fn a_404_is_believed_only_when_the_list_agrees() {
    let controller = Controller::of("2.568.2", |_| None);
    let client = controller.client(true);
    assert_eq!(client.computer(&node("nope")), Ok(None));
    let found = client.computer(&node("busy")).expect("no gap").expect("the list shows it");
    assert_eq!(shown(&found), "busy online busy");
    let mut calls = controller.calls();
    calls.dedup();
    let one = |name: &str| format!("GET /computer/{name}/api/json");
    assert_eq!(calls, [one("nope"), "GET /computer/api/json".into(), one("busy"), "GET /computer/api/json".into()]);
}

#[test]
fn one_agent_reads_like_the_list() {
    for version in VERSIONS {
        let list: Value = serde_json::from_slice(&recorded(version, "list").body).expect("JSON");
        let raw = list["computer"][4].to_string();
        let controller = Controller::new(move |_| answer(200, &raw));
        let found = controller.client(true).computer(&node("marked-busy")).expect("no gap").expect("an agent");
        assert_eq!(shown(&found), "marked-busy offline marked busy");
    }
}

#[test]
fn the_queue_tells_which_node_a_pipeline_waits_for() {
    let said = |version| {
        let queue =
            move |asked: &super::controller::Asked| (asked.call == "GET /queue/api/json").then(|| recorded(version, "queue"));
        let controller = Controller::of(version, queue);
        let said = controller.client(true).queue().expect("a queue");
        assert_eq!(controller.asked()[0].query, "tree=items%5Bwhy,task%5B_class%5D%5D");
        said
    };
    assert_eq!(said("2.462.3")[0], "\u{2018}demo-1\u{2019} is offline");
    assert_eq!(said("2.568.2"), Vec::<String>::new(), "another job waits for a label, and for no node");
    assert_eq!(said("1.651.2")[0], "demo-1 is offline", "it does not tell a Pipeline from another job");
}
