//! `image list`, `update`, `pin`, `unpin`, `delete` and `log`: the real binary on the served world.

use std::process::Output;

use poolkeeper::names::ImageName;
use poolkeeper::observed::ServerStatus;
use poolkeeper::sandbox::{Fate, HttpFault, HttpFaultAnswer, ScriptFate};

use crate::served::{Served, Shape};

const UPDATE: [&str; 4] = ["image", "update", "snapshot", "--wait"];

fn served() -> Served {
    Served::new(Shape { providers: 1, targets: 1, pools: 1, min_ready: 1 }).with_snapshot()
}

/// Exit code and all that was said.
fn said(served: &Served, arguments: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } = served.poolkeeper(arguments).output().expect("the binary");
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code().expect("no signal"), text)
}

/// Name and state of each snapshot, newest first.
fn listed(served: &Served) -> Vec<(String, String)> {
    let list: serde_json::Value =
        serde_json::from_str(&served.done(&["image", "list", "--format", "json"], "a list")).expect("JSON");
    let text = |row: &serde_json::Value, key: &str| row.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let rows = list.get("snapshots").and_then(|rows| rows.as_array()).expect("a list");
    rows.iter().map(|row| (text(row, "snapshot"), text(row, "state"))).collect()
}

fn states(served: &Served) -> Vec<String> {
    listed(served).into_iter().map(|(_, state)| state).collect()
}

#[test]
fn a_snapshot_is_built_pinned_called_bad_and_gone_back_from() {
    let served = served();
    assert!(served.done(&["image", "list"], "nothing yet").starts_with("no snapshots\n"));
    let answer = HttpFaultAnswer::Say { status: 503, headers: Vec::new(), body: "busy".to_owned() };
    let fault = HttpFault { of: "POST /os/cloud-0/compute/v2.1/servers".to_owned(), answer, times: 1 };
    served.world.with(|state| state.faults.http.push(fault));
    let (code, text) = said(&served, &["image", "update", "snapshot"]);
    assert_eq!((code, served.servers("cloud-0").len()), (5, 0), "nothing was begun: {text}");
    let (code, text) = said(&served, &["image", "update", "snapshot", "--provider", "cloud-1"]);
    assert_eq!(code, 2, "{text}");
    let built = served.done(&UPDATE, "the first");
    assert!(built.contains("nodes boot from it now"), "{built}");
    assert_eq!(states(&served), ["current"]);
    assert_eq!(served.servers("cloud-0").len(), 0, "an update makes no node, and leaves no builder");
    served.done(&["image-update", "cloud-0", "snapshot"], "nodepool's words");
    assert_eq!(states(&served), ["current", "previous"]);
    let names: Vec<String> = listed(&served).into_iter().map(|(name, _)| name).collect();

    let pinned = served.done(&["image", "pin", &names[0]], "pin");
    assert!(pinned.contains("pinned: nothing deletes it until it is unpinned"), "{pinned}");
    assert!(served.done(&["image", "pin", &names[0]], "again").contains("it is pinned already"));
    assert!(served.done(&["image-list"], "nodepool's words").contains("current, pinned"));
    let (code, text) = said(&served, &["image", "delete", &names[0]]);
    assert!(code == 5 && text.contains("is pinned") && text.contains("unpin"), "{code}: {text}");
    served.done(&["image", "unpin", &names[0]], "unpin");

    let path = served.desired_state().join("../file");
    std::fs::write(&path, "a disk").expect("a file");
    let (code, text) = said(&served, &["image", "publish", &path.to_string_lossy(), &names[1]]);
    assert!(code == 5 && text.contains("is a snapshot that nodes boot from"), "{code}: {text}");

    let as_before = served.done(&["image", "delete", &names[1]], "the one before");
    assert!(as_before.ends_with(&format!("\nnodes boot from {}, as before\n", names[0])), "{as_before}");
    assert_eq!(states(&served), ["current", "bad"]);
    let as_before = served.done(&["image", "delete", "--now", &names[1]], "the one before, at once");
    assert!(as_before.ends_with(&format!("\nnodes boot from {}, as before\n", names[0])), "{as_before}");
    served.done(&["image-update", "cloud-0", "snapshot"], "another");
    let names: Vec<String> = listed(&served).into_iter().map(|(name, _)| name).collect();
    assert_eq!(states(&served), ["current", "previous"]);

    let bad = served.done(&["image", "delete", &names[0]], "delete");
    assert!(bad.contains(&format!("nodes boot from {} now", names[1])), "{bad}");
    assert_eq!(states(&served), ["bad", "current"]);
    let begins = names[0].trim_end_matches(|c: char| c.is_ascii_alphanumeric());
    for (wanted, said_of) in [("", "an empty name"), (begins, "by its whole name or id")] {
        let (code, text) = said(&served, &["image", "delete", "--now", wanted]);
        assert!(code == 2 && text.contains(said_of), "`{wanted}`: {code}: {text}");
    }
    let gone = served.done(&["image", "delete", "--now", &names[0]], "at once");
    assert!(gone.contains("the next run builds them again"), "{gone}");
    assert!(gone.contains("called bad by a person"), "{gone}");
    assert_eq!(listed(&served), [(names[1].clone(), "current".to_owned())]);
    let (code, text) = said(&served, &["image", "delete", "no-such"]);
    assert!(code == 2 && text.contains("`no-such` is no snapshot of ours"), "{code}: {text}");
}

#[test]
fn a_build_that_fails_says_the_end_of_its_log_and_image_log_says_all_of_it() {
    let served = served();
    let lines: Vec<String> = (1..=60).map(|line| format!("line {line}")).collect();
    let output = lines.join("\n") + "\n";
    let fate = Fate { script: ScriptFate::Exits { status: 100, output }, ..Fate::default() };
    served.world.image_fate(&ImageName::from("snapshot"), fate);
    let (code, text) = said(&served, &UPDATE);
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("no new snapshot of snapshot in cloud-0\n  line 11\n"), "the last 50 lines: {text}");
    assert!(text.ends_with("  line 60\n"), "{text}");
    let log = served.done(&["image", "log", "snapshot"], "the whole log");
    assert!(log.starts_with("line 1\nline 2\n") && log.ends_with("line 60\n"), "{log}");
    assert_eq!(states(&served), [""; 0], "nothing is left in Glance");
    let (code, text) = said(&served, &["image", "log", "snapshots"]);
    assert!(code == 2 && text.contains("`snapshots` is no image of the desired state (there are: snapshot)"), "{code}: {text}");
}

#[test]
fn without_wait_a_build_is_begun_and_the_timers_runs_go_on_with_it() {
    let served = served();
    let begun = served.done(&UPDATE[..3], "begun");
    assert!(begun.contains("1 created") && begun.contains("the next run goes on"), "{begun}");
    assert_eq!(served.servers("cloud-0").len(), 1, "the builder");
    assert_eq!(states(&served), [""; 0]);
    served.done(&["apply", "--yes", "--until-converged"], "the timer");
    assert_eq!((states(&served), served.servers("cloud-0").len()), (vec!["current".to_owned()], 1), "its snapshot, and a node");

    let (code, text) = said(&served, &["image", "log", "snapshot"]);
    let words = ["no builder of snapshot is there; that of its newest good snapshot (snapshot-", "hint: it is kept nowhere"];
    assert!(code == 5 && words.iter().all(|words| text.contains(words)), "{code}: {text}");

    // What cannot begin is no success.
    served.world.with(|state| state.clouds.values_mut().for_each(|cloud| cloud.limits.instances = Some(1)));
    let (code, text) = said(&served, &UPDATE[..3]);
    assert!(code == 5 && text.contains("room in the quota"), "{code}: {text}");
}

/// The one that was there before is what nodes boot from, once the newer is called bad: no new one, and no success.
#[test]
fn an_update_beside_a_delete_of_the_same_image_is_judged_by_what_it_built() {
    let served = served();
    served.done(&UPDATE, "the first");
    served.done(&UPDATE, "the second");
    let names: Vec<String> = listed(&served).into_iter().map(|(name, _)| name).collect();
    served.world.image_fate(&ImageName::from("snapshot"), Fate { script: ScriptFate::Hangs, ..Fate::default() });
    let mut update = served.poolkeeper(&UPDATE).spawn().expect("the binary");
    while served.servers("cloud-0").is_empty() {
        assert!(update.try_wait().expect("a child").is_none(), "it ended without a builder");
        std::thread::yield_now();
    }
    served.done(&["image", "delete", "--lock-timeout", "30s", &names[0]], "beside it");
    let builder = served.world.servers(&"cloud-0".into())[0].id.clone();
    served.world.change_server(&builder, |server| server.status = ServerStatus::Error);
    let Output { status, stdout, stderr } = update.wait_with_output().expect("its end");
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert_eq!(states(&served), ["bad", "current"], "{text}");
    assert!(status.code() == Some(5) && text.contains("no new snapshot of snapshot in cloud-0\n"), "{status}: {text}");
}
