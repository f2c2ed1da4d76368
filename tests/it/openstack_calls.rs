//! The OpenStack client's logins and changes: what is sent, what is kept, and what a no means.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use poolkeeper::names::ServerId;
use poolkeeper::observed::{Headroom, Mark};
use poolkeeper::world::{ActErrorKind, Done};
use serde_json::json;

use crate::http_server::Reply;
use crate::openstack::{LIFE, cloud, cloud_at, cloud_of, fault, fixture, lists, play, play_with, played, wanted};
use crate::trace::{alone, traced};

const SERVERS: &str = "GET /compute/v2.1/servers/detail";
const IMAGES: &str = "GET /image/v2/images";
const LOGIN: &str = "POST /identity/v3/auth/tokens";

#[test]
fn an_idle_look_with_a_kept_token_is_three_calls() {
    let server = play(&[]);
    let dir = tempfile::tempdir().expect("a directory");
    let cache = dir.path().join("not/yet/there");
    let first = cloud_at(&server, Some(&cache), "2026-11-22T07:30:00Z");
    assert!(server.lines().is_empty(), "nothing is asked before the first call");
    lists(&first).expect("lists");
    assert_eq!(first.calls(), 5, "a login and Nova's version beside them");
    let file = std::fs::read_dir(&cache).expect("the directory").next().expect("one file").expect("a file");
    assert_eq!(file.metadata().expect("a mode").permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(file.path()).expect("text").contains("\"hunter2\""), "no password in it");

    let again = cloud_at(&server, Some(&cache), "2026-11-22T07:31:00Z");
    server.forget();
    lists(&again).expect("lists");
    let mut lines = server.lines();
    lines.sort();
    assert_eq!(lines, [SERVERS, IMAGES, IMAGES]);
    assert_eq!(again.calls(), 3);

    let changed = cloud_of(&server, "correct horse", Some(&cache), "2026-11-22T07:31:00Z", None);
    server.forget();
    lists(&changed).expect("lists");
    assert!(server.lines().contains(&LOGIN.to_owned()), "a changed password is tried at once");
    let text = std::fs::read_to_string(file.path()).expect("text");
    assert!(!text.contains("correct"), "no password in it");

    // The token is good until 08:10:23.
    let late = cloud_at(&server, Some(&cache), "2026-11-22T08:06:00Z");
    server.forget();
    lists(&late).expect("lists");
    assert!(server.lines().contains(&LOGIN.to_owned()), "a token near its end is not used");

    std::fs::write(file.path(), "{").expect("broken");
    server.forget();
    lists(&cloud_at(&server, Some(&cache), "2026-11-22T07:32:00Z")).expect("a broken cache is no harm");
    std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o644)).expect("a mode");
    server.forget();
    lists(&cloud_at(&server, Some(&cache), "2026-11-22T07:32:00Z")).expect("lists");
    assert!(server.lines().contains(&LOGIN.to_owned()), "a file that others can read is not trusted");
}

#[test]
fn a_401_brings_one_login_and_one_repetition() {
    let limits = "GET /compute/v2.1/limits";
    let server = play(&[(limits, &[fault("neutron-bad-token"), played("limits.json")])]);
    let cloud = cloud(&server);
    let quota = cloud.limits().expect("limits");
    assert_eq!(quota.instances, Headroom { used: 0, limit: Some(400) });
    let version = "GET /compute/v2.1/";
    assert_eq!(server.lines(), [LOGIN, version, limits, LOGIN, limits]);
    let tokens: Vec<String> = server.seen().iter().map(|seen| seen.header("x-auth-token").to_owned()).collect();
    assert_eq!((tokens[2].as_str(), tokens[4].as_str()), ("hunter2-0", "hunter2-1"));
}

#[test]
fn threads_with_the_same_old_token_share_one_login() {
    let old = |seen: &crate::http_server::Seen| seen.header("x-auth-token") == "hunter2-0";
    let limits = |seen: &crate::http_server::Seen| seen.path.ends_with("/limits");
    let server = play_with(&[], move |seen| (limits(seen) && old(seen)).then(|| fault("neutron-bad-token")));
    let cloud = cloud(&server);
    cloud.flavors().expect_err("no route, but a login");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| cloud.limits().expect_err("no route either"));
        }
    });
    assert_eq!(server.lines().iter().filter(|line| *line == LOGIN).count(), 2);
}

#[test]
fn a_microversion_that_nova_lost_is_asked_for_again() {
    let limits = "GET /compute/v2.1/limits";
    let server = play(&[(limits, &[fault("nova-bad-microversion"), played("limits.json")])]);
    let cloud = cloud(&server);
    let gap = cloud.limits().expect_err("not spoken");
    assert!(gap.answered.starts_with("Version 2.999 is not supported by the API."), "{gap}");
    cloud.limits().expect("limits");
    let version = "GET /compute/v2.1/";
    assert_eq!(server.lines(), [LOGIN, version, limits, version, limits]);
}

#[test]
fn a_second_401_is_believed() {
    let server = play(&[(IMAGES, &[fault("glance-bad-token")])]);
    let said = lists(&cloud(&server)).expect_err("a gap");
    let expected = "lab was not seen: This server could not verify that you are authorized to access the document you \
                    requested. Either you supplied the wrong credentials (e.g., bad password), or your browser does not \
                    understand how to supply the credentials required. (HTTP 401) (GET \
                    /images?poolkeeper_controller=contint&limit=1000)";
    assert_eq!(said, expected);
    assert_eq!(server.lines().iter().filter(|line| *line == IMAGES).count(), 2);
    assert_eq!(server.lines().iter().filter(|line| *line == LOGIN).count(), 2);
}

#[test]
fn a_refused_password_is_tried_once() {
    let server = play(&[(LOGIN, &[fault("token-issue-bad-password")])]);
    let cloud = cloud(&server);
    let said = lists(&cloud).expect_err("a gap");
    let words = "lab was not seen: The request you have made requires authentication. (HTTP 401, \
                 req-f6eeefa2-cebf-4a69-a7e1-b99fc9aa6410) (POST ";
    assert!(said.starts_with(words), "{said}");
    assert!(cloud.limits().is_err() && cloud.flavors().is_err());
    assert_eq!(server.lines(), [LOGIN], "more tries could lock the account");
}

#[test]
fn what_the_catalog_lacks_is_named() {
    let body = |text: &str| Reply::json(201, text.to_owned()).header("X-Subject-Token", "t");
    let elsewhere = fixture("token.json").replace("RegionOne", "Elsewhere");
    let server = play(&[(LOGIN, &[body(&elsewhere)])]);
    let gap = cloud(&server).networks().expect_err("no such region");
    assert_eq!(gap.answered, "the service `network` has no region `RegionOne` (it has: Elsewhere)");
    let unnetworked = fixture("token.json").replace("\"network\"", "\"telemetry\"");
    let server = play(&[(LOGIN, &[body(&unnetworked)])]);
    let gap = cloud(&server).networks().expect_err("no such service");
    assert_eq!(gap.answered, "the catalog has no service `network` (it has: compute, image, telemetry)");
}

#[test]
fn a_create_call_carries_everything() {
    let server = play(&[("POST /compute/v2.1/servers", &[Reply::json(202, fixture("server-created.json"))])]);
    let done = cloud(&server).create_server(&wanted());
    assert_eq!(done, Ok(Done::Accepted(LIFE.into())));
    let seen = server.seen();
    let create = seen.last().expect("a request");
    assert_eq!(
        create.json()["server"],
        json!({
            "name": "ci-1", "imageRef": "image-id", "flavorRef": "ci.tiny", "networks": "auto", "config_drive": true,
            "security_groups": [{"name": "default"}], "availability_zone": "nova",
            "user_data": "IyEvYmluL3NoCiMgaHVudGVyMg==", "metadata": {"poolkeeper_controller": "contint"},
        })
    );
    assert_eq!(create.header("openstack-api-version"), "compute 2.90");
    let mut placed = wanted();
    placed.networks = vec!["net-1".into(), "net-2".into()];
    cloud(&server).create_server(&placed).expect("accepted");
    let seen = server.seen();
    let networks = &seen.last().expect("a request").json()["server"]["networks"];
    assert_eq!(*networks, json!([{"uuid": "net-1"}, {"uuid": "net-2"}]));
}

#[test]
fn what_a_no_to_a_create_means() {
    let neutron_quota =
        r#"{"NeutronError": {"type": "OverQuota", "message": "Quota exceeded for resources: ['port'].", "detail": ""}}"#;
    let leak = r#"{"badRequest": {"code": 400, "message": "Invalid input for field/attribute user_data. Value: hunter2. 'hunter2' is not a 'base64'"}}"#;
    let cases = [
        (
            fault("create-quota-instances"),
            ActErrorKind::Quota,
            "Quota exceeded for instances: Requested 1, but already used 1 of 1 instances (HTTP 403, \
             req-46c1abc4-50a8-4636-8b25-7ae52d90e5e3)",
        ),
        (Reply::json(409, neutron_quota), ActErrorKind::Quota, "Quota exceeded for resources: ['port']. (HTTP 409)"),
        (
            fault("forbidden-admin-call"),
            ActErrorKind::Refused,
            "Policy doesn't allow os_compute_api:os-services:list to be performed. (HTTP 403, \
             req-168b7b78-a007-42ae-8f38-7fad93e1e0fb)",
        ),
        (
            fault("create-bad-schema"),
            ActErrorKind::Refused,
            "Invalid input for field/attribute server. Additional properties are not allowed ('bogus' was unexpected) (HTTP \
             400, req-456114f1-ad40-43ee-a0e9-fa5662ef0274)",
        ),
        (
            Reply::json(400, leak),
            ActErrorKind::Refused,
            "Invalid input for field/attribute user_data. (its value is not shown) (HTTP 400)",
        ),
        (Reply::json(429, r#"{"overLimit": {"message": "slow down"}}"#), ActErrorKind::NotNow, "slow down (HTTP 429)"),
        (
            Reply::html(502, "<html><head><title>502 Bad Gateway</title></head></html>"),
            ActErrorKind::Unanswered,
            "502 Bad Gateway (HTTP 502)",
        ),
        (
            Reply::html(200, "<html><title>Sign in</title></html>"),
            ActErrorKind::Unanswered,
            "HTML instead of JSON: Sign in (HTTP 200)",
        ),
        (Reply::new(503, ""), ActErrorKind::Unanswered, "no reason given (HTTP 503)"),
    ];
    for (reply, kind, said) in cases {
        let server = play(&[("POST /compute/v2.1/servers", &[reply])]);
        let error = cloud(&server).create_server(&wanted()).expect_err("a no");
        assert_eq!((error.kind, error.said.as_str()), (kind, said));
        assert_eq!(error.tried, "POST /servers in lab");
        let creates = server.lines().into_iter().filter(|line| line == "POST /compute/v2.1/servers").count();
        assert_eq!(creates, 1, "a create is never sent again: {said}");
    }
}

#[test]
fn a_create_without_an_answer_may_have_been_done() {
    let server = play(&[("POST /compute/v2.1/servers", &[Reply::hang_up()])]);
    let error = cloud(&server).create_server(&wanted()).expect_err("no answer");
    assert_eq!(error.kind, ActErrorKind::Unanswered);
    let truncated = Reply::json(202, fixture("server-created.json")).cut_at(30);
    let server = play(&[("POST /compute/v2.1/servers", &[truncated])]);
    let error = cloud(&server).create_server(&wanted()).expect_err("half an answer");
    assert_eq!(error.kind, ActErrorKind::Unanswered);
    assert_eq!(error.said, "HTTP 202, but its body ended after 30 bytes, before it was whole");
    let cloud = cloud(&server);
    lists(&cloud).expect("logged in");
    drop(server);
    let error = cloud.create_server(&wanted()).expect_err("nobody there");
    assert_eq!(error.kind, ActErrorKind::NotNow, "nothing was sent: {error}");
}

#[test]
fn marks_are_set_at_once_and_read_back() {
    let metadata = format!("POST /compute/v2.1/servers/{LIFE}/metadata");
    let saved = r#"{"metadata": {"nodepool": "x", "poolkeeper_used": "t build", "poolkeeper_busy": "t s"}}"#;
    let lost = r#"{"metadata": {"nodepool": "x", "poolkeeper_used": "t build"}}"#;
    let replies = [Reply::json(200, saved), Reply::json(200, lost), fault("createimage-while-building-409")];
    let server = play(&[(metadata.as_str(), &replies)]);
    let cloud = cloud(&server);
    let marks = BTreeMap::from([(Mark::Used, "t build".to_owned()), (Mark::Busy, "t s".to_owned())]);
    let set = || cloud.set_marks(&ServerId::from(LIFE), &marks);
    assert_eq!(set(), Ok(Done::Done));
    let sent = server.seen().last().expect("a request").json();
    assert_eq!(sent, json!({"metadata": {"poolkeeper_used": "t build", "poolkeeper_busy": "t s"}}));
    let error = set().expect_err("one mark is lost");
    assert_eq!(
        (error.kind, error.said.as_str()),
        (ActErrorKind::Unanswered, "poolkeeper_busy is not in what Nova saved (HTTP 200)")
    );
    assert_eq!(set().map_err(|error| error.kind), Err(ActErrorKind::NotNow));
}

#[test]
fn what_is_gone_already_is_already_done() {
    let delete = format!("DELETE /compute/v2.1/servers/{LIFE}");
    let mark = format!("DELETE /compute/v2.1/servers/{LIFE}/metadata/poolkeeper_lost");
    let no_key = r#"{"itemNotFound": {"code": 404, "message": "Metadata item was not found"}}"#;
    let server = play(&[
        (delete.as_str(), &[Reply::new(503, ""), Reply::new(204, ""), fault("server-gone-404"), Reply::new(404, "nginx")]),
        (mark.as_str(), &[Reply::new(204, ""), Reply::json(404, no_key)]),
    ]);
    let cloud = cloud(&server);
    let id = ServerId::from(LIFE);
    let delete = || cloud.delete_server(&id).map_err(|error| error.kind);
    assert_eq!(delete(), Ok(Done::Done), "a deletion may be sent again");
    assert_eq!(delete(), Ok(Done::Already));
    assert_eq!(delete(), Err(ActErrorKind::Refused), "a proxy's 404 is no deletion");
    assert_eq!(cloud.clear_mark(&id, Mark::Lost), Ok(Done::Done));
    assert_eq!(cloud.clear_mark(&id, Mark::Lost), Ok(Done::Already));
}

#[test]
fn consoles_flavors_and_networks() {
    let action = format!("POST /compute/v2.1/servers/{LIFE}/action");
    let console = Reply::json(200, r#"{"output": "one\ntwo"}"#);
    let unlimited = fixture("limits.json").replace("\"maxTotalInstances\": 400", "\"maxTotalInstances\": -1");
    let server = play(&[
        (action.as_str(), &[console, fault("createimage-while-building-409")]),
        ("GET /compute/v2.1/flavors/detail", &[played("flavors.json")]),
        ("GET /network/v2.0/networks", &[played("networks.json")]),
        ("GET /compute/v2.1/limits", &[Reply::json(200, unlimited)]),
    ]);
    let cloud = cloud(&server);
    let id = ServerId::from(LIFE);
    assert_eq!(cloud.console(&id), Ok("one\ntwo".to_owned()));
    assert_eq!(cloud.console(&id), Ok(String::new()), "none yet");
    let flavors = cloud.flavors().expect("flavors");
    assert_eq!((flavors[1].id.as_str(), flavors[1].ram, flavors[1].vcpus), ("ci.nano", 192, 1));
    let networks = cloud.networks().expect("networks");
    assert_eq!(networks[0].name, "ci-net");
    assert_eq!(cloud.limits().expect("limits").instances.limit, None);
}

#[test]
fn a_list_that_is_not_whole_is_a_gap() {
    let unseen = json!({"servers": [{"id": LIFE, "status": "UNKNOWN", "created": "2026-11-22T07:10:25Z"}]}).to_string();
    let html = Reply::html(200, "<html><title>Maintenance</title></html>");
    let cases = [
        (Reply::json(200, unseen), "1 servers are in a cell that is down: Nova shows neither their names nor their marks"),
        (html, "HTML instead of JSON: Maintenance"),
        (Reply::json(200, fixture("servers.json")).cut_at(700), "HTTP 200, but its body ended after 700 bytes"),
        (Reply::json(200, "{}"), "not the expected JSON: missing field `servers`"),
        (Reply::json(500, r#"{"computeFault": {"message": "Unexpected API Error."}}"#), "Unexpected API Error. (HTTP 500)"),
    ];
    for (reply, said) in cases {
        let server = play(&[(SERVERS, &[reply])]);
        let gap = lists(&cloud(&server)).expect_err("a gap");
        assert!(gap.starts_with(&format!("lab was not seen: {said}")), "{gap}");
        assert!(gap.ends_with("(GET /servers/detail?limit=1000)"), "{gap}");
    }
}

#[test]
fn a_list_without_an_end_is_a_gap() {
    let images = Reply::json(200, r#"{"images": [], "next": "/v2/images?marker=a"}"#);
    for (route, reply, tried) in [
        (SERVERS, played("servers-first-page.json"), format!("GET /servers/detail?limit=1000&marker={LIFE}")),
        (IMAGES, images, "GET /images?marker=a".to_owned()),
    ] {
        let server = play(&[(route, &[reply])]);
        let gap = lists(&cloud(&server)).expect_err("a gap");
        assert!(gap.contains("the list turns in a circle") && gap.ends_with(&format!("({tried})")), "{gap}");
        assert_eq!(server.lines().iter().filter(|line| *line == route).count(), 2);
    }
}

#[test]
fn no_secret_is_traced_or_shown() {
    alone("openstack_calls::no_secret_is_traced_or_shown", look_for_secrets);
}

fn look_for_secrets() {
    let server = play(&[("POST /compute/v2.1/servers", &[Reply::json(202, fixture("server-created.json"))])]);
    let cloud = cloud(&server);
    let trace = traced(|| drop(cloud.create_server(&wanted())));
    let user_data = "IyEvYmluL3NoCiMgaHVudGVyMg==";
    let admin_pass = "TwCXYQgMu79f";
    assert!(
        server.seen().iter().any(|seen| seen.body.contains(user_data)) && fixture("server-created.json").contains(admin_pass)
    );
    for secret in ["hunter2", user_data, admin_pass] {
        assert!(!trace.contains(secret) && !format!("{cloud:?}").contains(secret), "{trace}");
    }
    assert!(trace.contains("poolkeeper_controller"), "{trace}");
}
