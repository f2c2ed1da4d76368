//! The OpenStack client against recorded answers of a real OpenStack.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use poolkeeper::desired::{AddressChoice, Family, HostKeys, Provider};
use poolkeeper::live::http::{Patience, install_tls_provider};
use poolkeeper::live::openstack::{Cloud, CloudsEnv, Surroundings};
use poolkeeper::names::{ControllerId, ImageId, ProviderName, Purpose, ServerId};
use poolkeeper::observed::{AddressKind, Mark, ProviderLists, Server, ServerStatus, Source};
use poolkeeper::plan::CreateServer;
use serde_json::{Value, json};

use crate::http_server::{HttpServer, Reply, Seen};

pub(crate) const LIFE: &str = "4bd733f6-fead-4af9-819b-1ea9b22e973c";

pub(crate) fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/openstack").join(name);
    std::fs::read_to_string(&path).expect("a fixture")
}

pub(crate) fn played(name: &str) -> Reply {
    Reply::json(200, fixture(name))
}

/// A recorded error answer.
pub(crate) fn fault(name: &str) -> Reply {
    let all: Value = serde_json::from_str(&fixture("faults.json")).expect("JSON");
    let fault = all.get(name).expect("a recorded fault");
    let status = fault.get("status").and_then(Value::as_u64).expect("a status");
    let headers = fault.get("headers").and_then(Value::as_object).expect("headers").iter();
    let reply = Reply::new(u16::try_from(status).expect("a status"), fault.get("body").expect("a body").to_string());
    headers.fold(reply, |reply, (name, value)| reply.header(name, value.as_str().expect("text")))
}

fn token(seen: &Seen, number: usize) -> Reply {
    let body = fixture("token.json").replace("@BASE@", &format!("http://{}", seen.header("host")));
    Reply::json(201, body).header("X-Subject-Token", &format!("hunter2-{number}"))
}

/// A cloud whose Keystone and version document work, and whose other answers are the test's.
pub(crate) fn play(routes: &[(&str, &[Reply])]) -> HttpServer {
    play_with(routes, |_| None)
}

/// As `play`; what `first` answers comes before all.
pub(crate) fn play_with(
    routes: &[(&str, &[Reply])],
    first: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
) -> HttpServer {
    let owned = routes.iter().map(|(route, replies)| ((*route).to_owned(), replies.to_vec()));
    let routes: BTreeMap<String, Vec<Reply>> = owned.collect();
    HttpServer::start(move |seen, before| {
        let line = format!("{} {}", seen.method, seen.path);
        let scripted = || routes.get(&line).and_then(|replies| replies.get(before).or(replies.last()).cloned());
        first(seen).or_else(scripted).unwrap_or_else(|| match line.as_str() {
            "POST /identity/v3/auth/tokens" => token(seen, before),
            "GET /compute/v2.1/" => played("nova-version.json"),
            "GET /compute/v2.1/servers/detail" => Reply::json(200, r#"{"servers": []}"#),
            "GET /image/v2/images" => Reply::json(200, r#"{"images": []}"#),
            _ => Reply::new(404, format!("no route {line}")),
        })
    })
}

pub(crate) fn cloud_at(server: &HttpServer, cache: Option<&Path>, now: &str) -> Cloud {
    cloud_with(server, cache, now, None)
}

/// `floating`: the provider's `floating-ip-network`.
pub(crate) fn cloud_with(server: &HttpServer, cache: Option<&Path>, now: &str, floating: Option<&str>) -> Cloud {
    cloud_of(server, "hunter2", cache, now, floating)
}

pub(crate) fn cloud_of(server: &HttpServer, password: &str, cache: Option<&Path>, now: &str, floating: Option<&str>) -> Cloud {
    install_tls_provider();
    let now: Timestamp = now.parse().expect("a time");
    let vars = [
        ("OS_AUTH_URL", format!("{}/identity", server.url())),
        ("OS_USERNAME", "ci".to_owned()),
        ("OS_PASSWORD", password.to_owned()),
        ("OS_PROJECT_NAME", "ci".to_owned()),
        ("OS_REGION_NAME", "RegionOne".to_owned()),
    ];
    let env =
        CloudsEnv { vars: vars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(), ..CloudsEnv::default() };
    let around =
        Surroundings { env, cache_dir: cache.map(Path::to_owned), patience: Patience::endless(), clock: Arc::new(move || now) };
    let minute = SignedDuration::from_mins(1);
    let provider = Provider {
        name: ProviderName::from("lab"),
        cloud: "envvars".to_owned(),
        region: None,
        max_servers: 1,
        max_concurrent_launches: 1,
        networks: Vec::new(),
        address: AddressChoice::default(),
        security_groups: Vec::new(),
        availability_zones: Vec::new(),
        floating_ip_network: floating.map(str::to_owned),
        key_name: None,
        config_drive: true,
        host_keys: HostKeys::FirstUse,
        api_timeout: minute,
        launch_timeout: minute,
        boot_timeout: minute,
    };
    Cloud::new(&provider, &around).expect("a cloud")
}

pub(crate) fn cloud(server: &HttpServer) -> Cloud {
    cloud_at(server, None, "2026-11-22T07:30:00Z")
}

pub(crate) fn lists(cloud: &Cloud) -> Result<ProviderLists, String> {
    cloud.lists(&["ci-base"], &ControllerId::from("contint")).map_err(|gap| gap.to_string())
}

pub(crate) fn wanted() -> CreateServer {
    CreateServer {
        provider: "lab".into(),
        purpose: Purpose::Pool("ci".into()),
        name: "ci-1".into(),
        image: "image-id".into(),
        image_name: "ci-base".into(),
        image_age: jiff::SignedDuration::ZERO,
        flavor: "ci.tiny".into(),
        flavor_name: "ci.tiny".into(),
        networks: Vec::new(),
        security_groups: vec!["default".to_owned()],
        availability_zone: Some("nova".to_owned()),
        key_name: None,
        config_drive: true,
        user_data: Some(poolkeeper::desired::UserData::new("#!/bin/sh\n# hunter2")),
        marks: BTreeMap::from([(Mark::Controller, "contint".to_owned())]),
    }
}

/// What Nova's list leaves out of a server that failed in another cell than the one it reads.
#[test]
fn a_fault_that_the_list_does_not_show_is_read_from_the_server() {
    let mut whole: Value = serde_json::from_str(&fixture("server-error.json")).expect("JSON");
    whole["server"]["metadata"]["poolkeeper_controller"] = "contint".into();
    let mut silent = whole["server"].clone();
    silent.as_object_mut().expect("fields").remove("fault");
    let mut foreign = silent.clone();
    foreign["id"] = "another".into();
    foreign["metadata"]["poolkeeper_controller"] = "other".into();
    let list = Reply::json(200, serde_json::json!({"servers": [silent, foreign]}).to_string());
    let one = format!("GET /compute/v2.1/servers/{}", whole["server"]["id"].as_str().expect("an id"));
    let answers = [Reply::json(200, whole.to_string()), Reply::new(404, "nginx")];
    let server = play(&[("GET /compute/v2.1/servers/detail", &[list]), (&one, &answers)]);
    let cloud = cloud(&server);

    let seen = lists(&cloud).expect("lists").servers;
    let said = seen[0].fault.as_deref().expect("a fault");
    assert!(said.starts_with("Exceeded maximum number of retries."), "{said}");
    assert_eq!(seen[1].fault, None, "a stranger's is not asked for");

    let seen = lists(&cloud).expect("a fault that cannot be read hides no list").servers;
    assert_eq!((seen.len(), seen[0].fault.as_deref()), (2, None));
}

#[test]
fn servers_as_nova_shows_them() {
    let server = play(&[("GET /compute/v2.1/servers/detail", &[played("servers.json")])]);
    let lists = lists(&cloud(&server)).expect("lists");
    assert_eq!((lists.account.project.as_str(), lists.account.user.as_str()), ("contintcloud", "nodepoolmanager"));
    assert_eq!((lists.account.file.as_str(), lists.account.cloud.as_str()), ("OS_* variables", "envvars"));
    let building = &lists.servers[0];
    assert_eq!((building.id.as_str(), building.name.as_str()), (LIFE, "life"));
    assert_eq!((&building.status, building.task.as_deref()), (&ServerStatus::Build, Some("scheduling")));
    assert_eq!((building.launched, building.availability_zone.as_deref()), (None, None));
    assert_eq!(building.metadata.get("nodepool"), Some(&"x".into()));
    let active = &lists.servers[1];
    assert_eq!((&active.status, active.flavor.as_str()), (&ServerStatus::Active, "fake.tiny"));
    assert_eq!((active.created.to_string().as_str(), active.locked), ("2026-11-22T07:10:25Z", Some(false)));
    assert_eq!(active.launched.map(|at| at.to_string()).as_deref(), Some("2026-11-22T07:10:29Z"));
    assert_eq!(active.image.as_ref().map(ImageId::as_str), Some("20a86b39-fb6f-4429-9d79-e8a0ff8af973"));
    let address = &active.addresses[0];
    assert_eq!((address.network.as_str(), address.address.as_str()), ("ci-net", "10.77.3.154"));
    assert_eq!((address.family, address.kind), (Family::V4, AddressKind::Fixed));
}

#[test]
fn one_server_gone_or_failed_or_being_deleted() {
    let path = format!("GET /compute/v2.1/servers/{LIFE}");
    let replies = [
        played("server-error.json"),
        played("server-deleting.json"),
        fault("server-gone-404"),
        Reply::html(404, "<html><title>Not Found</title></html>"),
        Reply::json(404, r#"{"message": "The resource could not be found.<br /><br />\n", "code": "404 Not Found"}"#),
        Reply::json(200, format!(r#"{{"server": {{"id": "{LIFE}", "status": "UNKNOWN", "created": "2026-11-22T07:10:25Z"}}}}"#)),
    ];
    let server = play(&[(path.as_str(), &replies)]);
    let cloud = cloud(&server);
    let read = || cloud.server(&ServerId::from(LIFE));
    let failed: Server = read().expect("an answer").expect("a server");
    let fault = "Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for instance \
                 4bdecaaf-806b-440e-9c3c-4d0429710e2c.";
    assert_eq!((failed.status, failed.fault.as_deref()), (ServerStatus::Error, Some(fault)));
    assert!(read().expect("an answer").is_some_and(|server| server.is_deleting()));
    assert_eq!(read(), Ok(None));
    let gap = read().expect_err("a proxy's 404 says nothing of a server");
    assert_eq!(gap.source, Source::Server("lab".into(), LIFE.into()));
    assert_eq!((gap.answered.as_str(), gap.tried.as_str()), ("Not Found (HTTP 404)", path.replace("/compute/v2.1", "").as_str()));
    let gap = read().expect_err("nor does a URL that Nova does not know");
    assert_eq!(gap.answered, "The resource could not be found. (HTTP 404)");
    let gap = read().expect_err("nor one in a cell that is down");
    assert_eq!(gap.answered, "it is in a cell that is down: Nova does not show its marks (HTTP 200)");
}

#[test]
fn nova_2_1_works_without_locked() {
    let old = Reply::json(200, r#"{"version": {"id": "v2.1", "version": "2.1", "min_version": "2.1"}}"#);
    let created = Reply::json(202, fixture("server-created.json"));
    let server = play(&[
        ("GET /compute/v2.1/", &[old]),
        ("GET /compute/v2.1/servers/detail", &[played("servers-microversion-2.1.json")]),
        ("POST /compute/v2.1/servers", &[created]),
    ]);
    let cloud = cloud(&server);
    let lists = lists(&cloud).expect("lists");
    assert_eq!((lists.servers[0].locked, lists.servers[0].flavor.as_str()), (None, "fake.tiny"));
    cloud.create_server(&wanted()).expect("accepted");
    let seen = server.seen();
    let create = seen.last().expect("a request");
    assert_eq!(create.json()["server"].get("networks"), None, "2.36 and older take no word for Nova's own choice");
    assert_eq!(create.header("openstack-api-version"), "compute 2.1");
}

#[test]
fn pages_follow_the_marker() {
    let images = [played("images-first-page.json"), played("images.json")];
    let servers = [played("servers-first-page.json"), played("servers.json")];
    let server = play(&[("GET /compute/v2.1/servers/detail", &servers), ("GET /image/v2/images", &images)]);
    let lists = lists(&cloud(&server)).expect("lists");
    let names: Vec<&str> = lists.servers.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["life", "amb"], "a server that two pages show is one");
    let images: Vec<&str> = lists.images.iter().map(|image| image.name.as_str()).collect();
    assert_eq!(images, ["ci-base", "snap", "mine-2"], "each once, by id");
    let asked = |path: &str| -> Vec<String> {
        server.seen().into_iter().filter(|seen| seen.path == path).map(|seen| seen.query).collect()
    };
    assert_eq!(asked("/compute/v2.1/servers/detail"), ["limit=1000".to_owned(), format!("limit=1000&marker={LIFE}")]);
    assert_eq!(
        asked("/image/v2/images"),
        [
            "poolkeeper_controller=contint&limit=1000",
            "limit=1&sort=created_at%3Adesc&marker=a8194704-2f1e-4ecc-ae75-c16e6a3ed1bd",
            "name=in:%22ci%2Dbase%22&limit=1000"
        ]
    );
}

#[test]
fn only_our_properties_of_an_image_are_kept() {
    let ours = json!({"images": [{
        "id": "i1", "name": "snap", "status": "active", "created_at": "2026-11-22T07:10:39Z", "protected": true, "size": null,
        "poolkeeper_controller": "contint", "poolkeeper_self": "i1", "hw_disk_bus": "virtio", "owner": "p1"
    }]});
    let server = play(&[("GET /image/v2/images", &[Reply::json(200, ours.to_string())])]);
    let images = lists(&cloud(&server)).expect("lists").images;
    assert_eq!(images.len(), 1, "found by mark and by name");
    let kept: Vec<&str> = images[0].properties.keys().map(String::as_str).collect();
    assert_eq!(kept, ["poolkeeper_controller", "poolkeeper_self"]);
    assert_eq!((images[0].protected, images[0].size, images[0].owner.as_deref()), (true, None, Some("p1")));
}
