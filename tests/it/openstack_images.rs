//! The OpenStack client's images: one read, one made of a server, changed, deleted, against recorded answers.

use std::collections::BTreeMap;

use poolkeeper::names::ImageId;
use poolkeeper::observed::ImageMark;
use poolkeeper::plan::CreateImage;
use poolkeeper::world::{ActErrorKind, Done};
use serde_json::{Value, json};

use crate::http_server::{HttpServer, Reply};
use crate::openstack::{LIFE, cloud, fault, fixture, play, played};

const SNAP: &str = "5dd2c038-3853-446d-8b16-d53a1e43738e";
const MINE: &str = "a8194704-2f1e-4ecc-ae75-c16e6a3ed1bd";

fn wanted() -> CreateImage {
    CreateImage {
        provider: "lab".into(),
        server: LIFE.into(),
        name: "ci-jessie-0001".into(),
        marks: BTreeMap::from([(ImageMark::Build, LIFE.to_owned()), (ImageMark::Itself, String::new())]),
        properties: BTreeMap::from([("hw_disk_bus".to_owned(), "virtio".to_owned())]),
    }
}

/// The image with these fields above the recorded ones.
fn snap(fields: &Value) -> Reply {
    let mut image: Value = serde_json::from_str(&fixture("image-snapshot-active.json")).expect("JSON");
    let image = image.as_object_mut().expect("fields");
    image.extend(fields.as_object().expect("fields").clone());
    Reply::json(200, Value::Object(image.clone()).to_string())
}

#[test]
fn one_image_there_or_gone_or_unseen() {
    let path = format!("GET /image/v2/images/{SNAP}");
    let gone =
        Reply::json(404, format!(r#"{{"message": "No image found with ID {SNAP}<br /><br />\n", "code": "404 Not Found"}}"#));
    // As Glance said it before Rocky.
    let old =
        format!("<html><head><title>404 Not Found</title></head><body><h1>404</h1>No image found with ID {SNAP}</body></html>");
    let replies = [
        played("image-queued.json"),
        snap(&json!({"poolkeeper_self": SNAP})),
        gone,
        Reply::html(404, &old),
        fault("image-bad-name-404"),
        Reply::html(404, "<html><title>Not Found</title></html>"),
    ];
    let server = play(&[(path.as_str(), &replies)]);
    let cloud = cloud(&server);
    let read = || cloud.image(&ImageId::from(SNAP));
    let queued = read().expect("an answer").expect("an image");
    assert_eq!((queued.status.as_str(), queued.size, queued.name.as_str()), ("queued", None, "snap"));
    assert!(queued.properties.is_empty(), "only ours are kept");
    let active = read().expect("an answer").expect("an image");
    assert_eq!((active.status.as_str(), active.size), ("active", Some(1081)));
    assert_eq!(active.properties.get("poolkeeper_self").map(String::as_str), Some(SNAP));
    assert_eq!((read(), read()), (Ok(None), Ok(None)));
    let said = read().expect_err("another image's 404").to_string();
    assert!(said.contains("No image found with ID 11111111-1111-4111-8111-111111111111 (HTTP 404"), "{said}");
    let said = read().expect_err("a proxy's 404 says nothing of an image").to_string();
    assert!(said.contains("Not Found (HTTP 404)"), "{said}");
}

#[test]
fn a_server_becomes_an_image_with_marks_above_all_properties() {
    let action = format!("POST /compute/v2.1/servers/{LIFE}/action");
    let accepted = Reply::json(202, json!({"image_id": SNAP}).to_string());
    let old = Reply::html(202, "").header("Location", &format!("http://127.0.0.1:9292/images/{SNAP}"));
    let server = play(&[(action.as_str(), &[accepted, old])]);
    let cloud = cloud(&server);
    assert_eq!(cloud.create_image(&wanted()), Ok(Done::Done));
    let sent = server.seen().last().expect("a request").json();
    let metadata = json!({"hw_disk_bus": "virtio", "poolkeeper_build": LIFE, "poolkeeper_self": ""});
    assert_eq!(sent, json!({"createImage": {"name": "ci-jessie-0001", "metadata": metadata}}));
    assert_eq!(cloud.create_image(&wanted()), Ok(Done::Done), "before 2.45 its id is in a header");
}

#[test]
fn what_a_no_to_a_new_image_means() {
    let action = format!("POST /compute/v2.1/servers/{LIFE}/action");
    let busy = "Cannot 'createImage' instance 4bd733f6-fead-4af9-819b-1ea9b22e973c while it is in task_state \
                image_pending_upload (HTTP 409, req-79eecc7c-6ac6-4e8d-beba-1adf97e24697)";
    let failed = "Cannot 'createImage' instance feb531e2-d38a-491a-8f07-a7982e0161e4 while it is in vm_state error (HTTP 409, \
                  req-95acdc73-bcb1-4549-8406-06b5fb14fe26)";
    let gone = "Instance 4bd733f6-fead-4af9-819b-1ea9b22e973c could not be found. (HTTP 404, \
                req-774f16c6-dd51-483a-a5e0-beb508a4dcf1)";
    let cases = [
        (fault("createimage-while-snapshotting-409"), ActErrorKind::NotNow, busy),
        (fault("createimage-of-error-server"), ActErrorKind::NotNow, failed),
        (fault("server-gone-404"), ActErrorKind::Refused, gone),
        (Reply::json(202, "{}"), ActErrorKind::Unanswered, "an answer without the image's id (HTTP 202)"),
        (Reply::new(503, ""), ActErrorKind::Unanswered, "no reason given (HTTP 503)"),
    ];
    for (reply, kind, said) in cases {
        let server = play(&[(action.as_str(), &[reply])]);
        let error = cloud(&server).create_image(&wanted()).expect_err("a no");
        assert_eq!((error.kind, error.said.as_str()), (kind, said));
        assert_eq!(error.tried, format!("POST /servers/{LIFE}/action in lab"));
        assert_eq!(asked(&server, &action), 1, "two calls make two images: {said}");
    }
}

fn asked(server: &HttpServer, line: &str) -> usize {
    server.lines().iter().filter(|asked| *asked == line).count()
}

#[test]
fn marks_of_an_image_are_written_at_once_and_read_back() {
    let path = format!("PATCH /image/v2/images/{SNAP}");
    let saved = snap(&json!({"poolkeeper_self": SNAP, "poolkeeper_bad": "t why"}));
    let lost = snap(&json!({"poolkeeper_self": SNAP, "poolkeeper_bad": ""}));
    let server = play(&[(path.as_str(), &[Reply::new(503, ""), saved, lost])]);
    let cloud = cloud(&server);
    let marks = BTreeMap::from([(ImageMark::Itself, SNAP.to_owned()), (ImageMark::Bad, "t why".to_owned())]);
    let mark = || cloud.mark_image(&ImageId::from(SNAP), &marks);
    assert_eq!(mark(), Ok(Done::Done), "it may be sent again");
    let seen = server.seen();
    let patch = seen.last().expect("a request");
    assert_eq!(patch.header("content-type"), "application/openstack-images-v2.1-json-patch");
    let add = |mark: &str, value: &str| json!({"op": "add", "path": format!("/{mark}"), "value": value});
    assert_eq!(patch.json(), json!([add("poolkeeper_self", SNAP), add("poolkeeper_bad", "t why")]));
    let error = mark().expect_err("one is lost");
    let said = "poolkeeper_bad is not in what Glance saved (HTTP 200)";
    assert_eq!((error.kind, error.said.as_str()), (ActErrorKind::Unanswered, said));
}

#[test]
fn names_and_protection_are_replaced() {
    let path = format!("PATCH /image/v2/images/{SNAP}");
    let refused = r#"{"message": "You are not authorized to complete modify_image action.", "code": "403 Forbidden"}"#;
    let server = play(&[(path.as_str(), &[snap(&json!({})), snap(&json!({})), Reply::json(403, refused)])]);
    let (cloud, id) = (cloud(&server), ImageId::from(SNAP));
    assert_eq!(cloud.protect_image(&id, true), Ok(Done::Done));
    assert_eq!(cloud.rename_image(&id, "ci, \"jessie\""), Ok(Done::Done));
    let error = cloud.rename_image(&id, "x").expect_err("a no");
    assert_eq!(error.kind, ActErrorKind::Refused);
    assert_eq!(error.said, "You are not authorized to complete modify_image action. (HTTP 403)");
    let sent: Vec<Value> =
        server.seen().iter().filter(|seen| seen.method == "PATCH").map(|seen| seen.json()[0].clone()).collect();
    assert_eq!(sent[0], json!({"op": "replace", "path": "/protected", "value": true}));
    assert_eq!(sent[1], json!({"op": "replace", "path": "/name", "value": "ci, \"jessie\""}));
}

#[test]
fn an_image_that_is_gone_already_is_deleted_already() {
    let path = format!("DELETE /image/v2/images/{MINE}");
    let replies = [
        Reply::new(204, ""),
        fault("image-delete-again-404"),
        fault("image-delete-protected-403"),
        Reply::json(
            409,
            format!(r#"{{"message": "Image {MINE} could not be deleted because it is in use: x", "code": "409 Conflict"}}"#),
        ),
        Reply::html(404, "<html><title>Not Found</title></html>"),
    ];
    let server = play(&[(path.as_str(), &replies)]);
    let cloud = cloud(&server);
    let delete = || cloud.delete_image(&ImageId::from(MINE)).map_err(|error| (error.kind, error.said));
    assert_eq!(delete(), Ok(Done::Done));
    assert_eq!(delete(), Ok(Done::Already));
    let said = format!("Image {MINE} is protected and cannot be deleted. (HTTP 403, req-93d19f03-da3d-492c-b105-ac7793c69f62)");
    assert_eq!(delete(), Err((ActErrorKind::Refused, said)));
    assert!(matches!(delete(), Err((ActErrorKind::NotNow, _))), "a later pass tries again");
    let said = "Not Found (HTTP 404)".to_owned();
    assert_eq!(delete(), Err((ActErrorKind::Refused, said)), "a proxy's 404 is no deletion");
}
