//! Images over HTTP, against recorded answers: made of a server, read, changed, deleted.

use serde_json::{Value, json};

use super::served::{Answer, Served, served};
use super::{openstack, same_shape};
use crate::sandbox::Generation;

const PATCH: &str = "application/openstack-images-v2.1-json-patch";

fn patch(served: &Served, id: &str, kind: &str, changes: &Value) -> Answer {
    let headers = [("X-Auth-Token", served.token.clone()), ("Content-Type", kind.to_owned())];
    served.send("PATCH", &format!("/os/cloud-1/image/v2/images/{id}"), &headers, &changes.to_string()).expect("an answer")
}

fn create_image(served: &Served, server: &str, version: &str, metadata: &Value) -> Answer {
    let body = json!({ "createImage": { "name": "snap", "metadata": metadata } });
    served.os("POST", &format!("compute/v2.1/servers/{server}/action"), version, &body)
}

#[test]
fn a_server_becomes_an_image_as_recorded() {
    let (served, recorded) = (served(Generation::J2_462), openstack());
    let check = |name: &str, status: u16, answer: &Answer| {
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        same_shape(name, &recorded[name], &answer.json());
        answer.json()
    };
    let server = served.created();
    check("create-image-fault", 409, &create_image(&served, &server, "2.93", &json!({})));
    served.world.tick(5);
    let long = "x".repeat(256);
    assert_eq!(create_image(&served, &server, "2.93", &json!({ "k": long })).status, 400);
    let created = check("create-image", 202, &create_image(&served, &server, "2.93", &json!({ "k": "v" })));
    let id = created["image_id"].as_str().expect("an id").to_owned();
    let image = || served.get(&format!("image/v2/images/{id}"));
    assert_eq!(check("image-queued", 200, &image())["status"], "queued");
    let saving = check("server-saving", 200, &served.get(&format!("compute/v2.1/servers/{server}")));
    assert_eq!(saving["server"]["OS-EXT-STS:task_state"], "image_snapshot_pending");
    served.world.tick(6);
    assert_eq!(check("image-active", 200, &image())["status"], "active");

    let old = create_image(&served, &server, "2.1", &json!({}));
    assert_eq!((old.status, old.body.as_str()), (202, ""));
    let location = old.header("location").expect("a location").to_owned();
    let id = location.rsplit('/').next().expect("an id");
    assert_eq!(served.get(&format!("image/v2/images/{id}")).json()["status"], "queued");
}

#[test]
fn images_are_changed_and_deleted_as_recorded() {
    let (served, recorded) = (served(Generation::J2_462), openstack());
    let check = |name: &str, status: u16, answer: &Answer| {
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        same_shape(name, &recorded[name], &answer.json());
        answer.json()
    };
    let id = served.world.with(|state| state.clouds["cloud-1"].images[0].seen.id.to_string());
    let change = |op: &str, key: &str, value: &Value| {
        patch(&served, &id, PATCH, &json!([{ "op": op, "path": format!("/{key}"), "value": value }]))
    };
    let named = check("image-patched", 200, &change("replace", "name", &json!("new")));
    assert_eq!(named["name"], "new");
    check("glance-fault", 409, &change("replace", "poolkeeper_self", &json!("x")));
    for value in ["one", "two"] {
        assert_eq!(change("add", "poolkeeper_self", &json!(value)).json()["poolkeeper_self"], value, "there or not");
    }
    check("glance-fault", 403, &change("replace", "status", &json!("active")));
    check("glance-fault", 415, &patch(&served, &id, "application/json", &json!([])));
    check("glance-fault", 404, &patch(&served, "nowhere", PATCH, &json!([])));

    let delete = |id: &str| served.os("DELETE", &format!("image/v2/images/{id}"), "2.93", &Value::Null);
    assert_eq!(change("replace", "protected", &json!(true)).json()["protected"], true);
    let said = check("glance-fault", 403, &delete(&id))["message"].as_str().expect("a message").to_owned();
    assert_eq!(said, format!("Image {id} is protected and cannot be deleted.<br /><br />\n\n\n"));
    assert_eq!(change("replace", "protected", &json!(false)).status, 200);
    assert_eq!(delete(&id).status, 204);
    let said = check("glance-fault", 404, &delete(&id))["message"].as_str().expect("a message").to_owned();
    assert_eq!(said, format!("Failed to find image {id} to delete<br /><br />\n\n\n"));
}
