//! The Neutron client against recorded answers of a real OpenStack: floating IPs and ports.

use poolkeeper::live::openstack::Cloud;
use poolkeeper::observed::FloatingIp;
use poolkeeper::plan::CreateFloatingIp;
use poolkeeper::world::{ActError, ActErrorKind, Done};
use serde_json::{Value, json};

use crate::http_server::{HttpServer, Reply};
use crate::openstack::{LIFE, cloud, cloud_with, fault, fixture, lists, play, played};

const LIST: &str = "GET /network/v2.0/floatingips";
const CREATE: &str = "POST /network/v2.0/floatingips";
const ID: &str = "7e37c13a-2347-41fe-9d86-7cdd4ec18bb6";

fn floating(server: &HttpServer) -> Cloud {
    cloud_with(server, None, "2026-11-22T07:30:00Z", Some("public"))
}

fn wanted() -> CreateFloatingIp {
    CreateFloatingIp {
        provider: "lab".into(),
        server: LIFE.into(),
        network: "f224ab67-475b-4c62-8e24-3b4184444e7d".into(),
        port: "c6fc9698-1873-4fae-a657-97c6f0fc70fe".into(),
        description: format!("poolkeeper controller=contint server={LIFE}"),
    }
}

/// As it was recorded, with these words.
fn described(description: &str) -> String {
    let recorded = fixture("floating-ip-created.json");
    assert!(recorded.contains("\"description\": \"\""));
    recorded.replace("\"description\": \"\"", &format!("\"description\": \"{description}\""))
}

#[test]
fn they_are_listed_for_the_tokens_project_and_only_where_nodes_have_them() {
    let server = play(&[(LIST, &[played("floating-ips.json")])]);
    let seen = lists(&floating(&server)).expect("lists").floating_ips;
    let expected =
        FloatingIp { id: ID.into(), address: "198.51.100.215".into(), fixed: None, port: None, description: String::new() };
    assert_eq!(seen, [expected]);
    let asked = server.seen().into_iter().find(|seen| seen.path.ends_with("/floatingips")).expect("asked");
    // An administrator's token would be shown those of all projects.
    assert!(asked.query.starts_with("project_id=def4084275e14cf5b7147053e93e5df4&fields=id&"), "{}", asked.query);

    server.forget();
    assert_eq!(lists(&cloud(&server)).expect("lists").floating_ips, []);
    assert!(server.lines().iter().all(|line| !line.contains("/network/")), "{:?}", server.lines());
}

#[test]
fn their_pages_follow_the_marker_and_half_a_list_is_a_gap() {
    let mut first: Value = serde_json::from_str(&fixture("floating-ips.json")).expect("JSON");
    first["floatingips_links"] = json!([{"rel": "next", "href": "http://elsewhere/v2.0/floatingips?marker=x"}]);
    let mut second: Value = serde_json::from_str(&fixture("floating-ips.json")).expect("JSON");
    second["floatingips"][0]["id"] = "another".into();
    second["floatingips_links"] = json!([{"rel": "previous", "href": "http://elsewhere/v2.0/floatingips"}]);
    let (first, second) = (Reply::json(200, first.to_string()), Reply::json(200, second.to_string()));
    let server = play(&[(LIST, &[first.clone(), second])]);
    let seen = lists(&floating(&server)).expect("lists").floating_ips;
    assert_eq!(seen.iter().map(|ip| ip.id.as_str()).collect::<Vec<_>>(), [ID, "another"]);
    let asked = server.seen().into_iter().rfind(|seen| seen.path.ends_with("/floatingips")).expect("asked");
    assert!(asked.query.ends_with(&format!("&marker={ID}")) && asked.query.starts_with("project_id="), "{}", asked.query);

    for (reply, said) in [
        (first, "the list turns in a circle"),
        (Reply::json(200, "{}"), "missing field `floatingips`"),
        (Reply::json(200, r#"{"floatingips": [{"id": "x"}]}"#), "missing field `floating_ip_address`"),
        (Reply::html(200, "<html><title>Maintenance</title></html>"), "HTML instead of JSON: Maintenance"),
    ] {
        let server = play(&[(LIST, &[reply])]);
        let gap = lists(&floating(&server)).expect_err("a gap of the whole provider");
        assert!(gap.starts_with("lab was not seen: ") && gap.contains(said), "{gap}");
    }
}

#[test]
fn ports_of_a_server() {
    let server = play(&[("GET /network/v2.0/ports", &[played("ports.json")])]);
    let ports = cloud(&server).ports(&LIFE.into()).expect("ports");
    let port = ports.first().expect("one");
    assert_eq!(
        (port.id.as_str(), port.network.as_str()),
        ("c6fc9698-1873-4fae-a657-97c6f0fc70fe", "253766c4-b85d-45b4-a461-95f149c1df9a")
    );
    assert_eq!(port.fixed, ["10.77.4.218"]);
    let asked = server.seen().pop().expect("asked");
    assert!(asked.query.starts_with(&format!("device_id={LIFE}&")), "{}", asked.query);
}

#[test]
fn one_is_made_in_one_call_that_says_whose_it_is() {
    let server = play(&[(CREATE, &[Reply::json(201, described(&wanted().description))])]);
    assert_eq!(cloud(&server).create_floating_ip(&wanted()), Ok(Done::Done));
    let sent = server.seen().pop().expect("sent").json();
    let expected = json!({"floatingip": {
        "floating_network_id": "f224ab67-475b-4c62-8e24-3b4184444e7d",
        "port_id": "c6fc9698-1873-4fae-a657-97c6f0fc70fe",
        "description": format!("poolkeeper controller=contint server={LIFE}"),
    }});
    assert_eq!(sent, expected);
}

#[test]
fn a_no_to_a_create_is_said_in_neutrons_own_words() {
    // As Neutron writes it (neutron_lib/exceptions, OverQuota).
    let over =
        r#"{"NeutronError": {"type": "OverQuota", "message": "Quota exceeded for resources: ['floatingip'].", "detail": ""}}"#;
    let over = Reply::json(409, over).header("X-Openstack-Request-Id", "req-1");
    let cases = [
        (over, ActErrorKind::Quota, "Quota exceeded for resources: ['floatingip']. (HTTP 409, req-1)", "quota"),
        (
            fault("floatingip-associate-unreachable"),
            ActErrorKind::Refused,
            "External network f224ab67-475b-4c62-8e24-3b4184444e7d is not reachable from subnet \
             62236cc5-951b-4570-85b2-8b80e871eb94. Therefore, cannot associate Port c6fc9698-1873-4fae-a657-97c6f0fc70fe with a \
             Floating IP. (HTTP 404, req-6b3a9920-eacc-483e-9c6a-cddd791e0f4b)",
            "a router must join",
        ),
        (
            Reply::json(201, fixture("floating-ip-created.json")),
            ActErrorKind::Unanswered,
            "the description is not in what Neutron saved (HTTP 201)",
            "",
        ),
    ];
    for (reply, kind, said, hint) in cases {
        let server = play(&[(CREATE, &[reply])]);
        let error: ActError = cloud(&server).create_floating_ip(&wanted()).expect_err("a no");
        assert_eq!((error.kind, error.said.as_str(), error.tried.as_str()), (kind, said, "POST /floatingips in lab"));
        assert!(error.hint.unwrap_or_default().contains(hint), "{said}");
        assert_eq!(server.lines().iter().filter(|line| *line == CREATE).count(), 1, "never sent again: {said}");
    }
    let server = play(&[(CREATE, &[Reply::hang_up()])]);
    let error = cloud(&server).create_floating_ip(&wanted()).expect_err("no answer");
    assert_eq!(error.kind, ActErrorKind::Unanswered);
    assert_eq!(server.lines().iter().filter(|line| *line == CREATE).count(), 1);
}

#[test]
fn one_that_is_gone_is_told_from_a_proxys_404() {
    let gone = json!({"NeutronError": {
        "type": "FloatingIPNotFound", "message": format!("Floating IP {ID} could not be found"), "detail": ""
    }});
    let gone = Reply::json(404, gone.to_string());
    let elsewhere =
        Reply::json(404, r#"{"NeutronError": {"type": "HTTPNotFound", "message": "The resource could not be found."}}"#);
    let (read, delete) = (format!("GET /network/v2.0/floatingips/{ID}"), format!("DELETE /network/v2.0/floatingips/{ID}"));
    let there = Reply::json(200, described("web frontend"));
    let server = play(&[
        (&read, &[there, gone.clone(), elsewhere.clone(), Reply::new(404, "nginx")]),
        (&delete, &[Reply::new(204, ""), gone, elsewhere, Reply::new(404, "nginx")]),
    ]);
    let cloud = cloud(&server);
    let read = || cloud.floating_ip(&ID.into());
    assert_eq!(read().expect("an answer").map(|ip| ip.description).as_deref(), Some("web frontend"));
    assert_eq!(read(), Ok(None));
    assert!(read().is_err() && read().is_err(), "a 404 of something else says nothing of it");
    let delete = || cloud.delete_floating_ip(&ID.into()).map_err(|error| error.kind);
    assert_eq!(delete(), Ok(Done::Done));
    assert_eq!(delete(), Ok(Done::Already));
    assert_eq!((delete(), delete()), (Err(ActErrorKind::Refused), Err(ActErrorKind::Refused)));
}
