//! House rules that the compiler does not keep: on the tree as it is, and each on a violation made for it.

mod rules;

use std::fs;
use std::path::Path;

use poolkeeper::observed::Mark;
use rules::{Files, faults};

/// Where tracked text lies. Data recorded from services, and what a build leaves, is nobody's prose.
const ROOTS: &[&str] = &["desired-state", "src", "tests", "benches", "docs", "systemd-timers", "tools", ".ci"];
const SKIPPED: &[&str] = &["fixtures", "__pycache__", "target"];

fn read(root: &Path, folder: &Path, files: &mut Files) {
    for entry in fs::read_dir(folder).expect("a folder of the tree").map(|entry| entry.expect("an entry")) {
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            if folder != root && !SKIPPED.iter().any(|skipped| name == *skipped) {
                read(root, &path, files);
            }
        } else if name != ".git"
            && let Ok(text) = fs::read_to_string(&path)
        {
            let relative = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            files.insert(relative, text);
        }
    }
}

fn tree() -> Files {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Files::new();
    read(root, root, &mut files);
    files.remove("Cargo.lock");
    for folder in ROOTS {
        read(root, &root.join(folder), &mut files);
    }
    files
}

#[test]
fn the_tree_keeps_the_house_rules() {
    let files = tree();
    assert!(files.contains_key("src/lib.rs") && files.contains_key("README.md"), "the tree was not read");
    let faults = faults(&files);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_mark_stands_in_the_table_of_marks() {
    let page = include_str!("../../docs/architecture.md");
    let missing: Vec<_> = Mark::ALL.iter().filter(|mark| !page.contains(&format!("`{mark}`"))).collect();
    assert!(missing.is_empty(), "docs/architecture.md: {missing:?}");
}

/// The crates that have a door.
const CRATES: &[&str] = &[
    "annotate-snippets",
    "clap",
    "comfy-table",
    "fs2",
    "indicatif",
    "regex-lite",
    "reqwest",
    "russh",
    "rustix",
    "rustls",
    "serde_yaml",
    "similar",
    "ssh2",
    "tar",
    "terminal_size",
    "tokio",
    "unicode-width",
];

/// A tree without a fault, a file for each rule to look at.
fn sound() -> Files {
    let manifest: Vec<String> = CRATES.iter().map(|name| format!("{name} = \"1\"")).collect();
    let page: Vec<String> = CRATES.iter().map(|name| format!("| `{name}` | why |")).collect();
    let mut files: Files = [
        ("src/lib.rs", "//! The map.\npub mod desired;\npub mod plan;\npub mod live;\n"),
        ("src/desired/mod.rs", "//! Values.\npub mod pool;\n"),
        ("src/desired/pool.rs", "//! A pool.\nuse crate::names::PoolName;\n"),
        ("src/plan/mod.rs", "//! A plan.\nuse crate::observed::Lists;\n"),
        ("src/live/mod.rs", "//! The real world.\npub mod http;\nuse crate::plan::Act;\n"),
        ("src/live/http.rs", "//! HTTP.\nuse reqwest::blocking::Client;\n"),
        ("docs/decisions/README.md", "[dependencies](dependencies.md)\n"),
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .collect();
    files.insert("Cargo.toml".into(), format!("[dependencies]\n{}\n", manifest.join("\n")));
    files.insert("docs/decisions/dependencies.md".into(), page.join("\n"));
    files
}

#[test]
fn a_sound_tree_has_no_fault() {
    assert_eq!(faults(&sound()), Vec::<String>::new());
}

/// The faults of the sound tree with one file changed to this text.
#[track_caller]
fn planted(path: &str, text: &str, expected: &str) {
    let mut files = sound();
    files.insert(path.to_owned(), text.to_owned());
    let faults = faults(&files);
    assert!(faults.len() == 1 && faults.iter().all(|fault| fault.contains(expected)), "expected `{expected}`: {faults:?}");
}

#[test]
fn a_later_stage_in_an_earlier_one_is_a_fault() {
    planted("src/desired/pool.rs", "//! A pool.\nuse crate::observed::Server;\n", "pool.rs:2: uses `observed`");
    planted("src/desired/pool.rs", "//! A pool.\nuse crate::{names::{A, B}, live};\n", "pool.rs:2: uses `live`");
    planted("src/plan/mod.rs", "//! A plan.\nfn f() { crate::report::text() }\n", "mod.rs:2: uses `report`");
    planted("src/live/http.rs", "//! HTTP.\nuse crate::sandbox::Cloud;\n", "http.rs:2: uses `sandbox`");
}

#[test]
fn input_and_output_in_a_pure_stage_are_a_fault() {
    planted("src/plan/mod.rs", "//! A plan.\nuse std::fs::read;\n", "`std::fs::` in a pure stage");
    planted("src/plan/mod.rs", "//! A plan.\nlet now = Timestamp::now();\n", "`Timestamp::now` in a pure stage");
}

#[test]
fn a_crate_past_its_door_is_a_fault() {
    planted("src/live/mod.rs", "//! World.\npub mod http;\nfn f() -> reqwest::Error {}\n", "`reqwest` goes through");
    planted("src/live/mod.rs", "//! World.\npub mod http;\nuse ssh2::Session;\n", "`ssh2` goes through");
}

#[test]
fn a_door_without_its_crate_is_a_fault() {
    let manifest = sound().remove("Cargo.toml").unwrap_or_default();
    let manifest = manifest.lines().filter(|line| !line.starts_with("fs2 =")).collect::<Vec<_>>().join("\n");
    planted("Cargo.toml", &manifest, "`fs2` has a door");
}

#[test]
fn a_long_file_is_a_fault() {
    planted("src/desired/pool.rs", &format!("//! A pool.\n{}", "\n".repeat(400)), "401 lines");
}

#[test]
fn a_file_that_does_not_say_what_it_is_is_a_fault() {
    planted("src/desired/pool.rs", "use crate::names::PoolName;\n", "its first line");
}

#[test]
fn a_forgotten_file_is_a_fault() {
    planted("src/desired/units.rs", "//! Units.\n", "no `mod units;`");
    planted("src/report/mod.rs", "//! Reports.\n", "no `mod report;`");
}

#[test]
fn words_of_a_workplace_are_a_fault() {
    planted("docs/a.md", concat!("see /wo", "rk/here\n"), "a path of one machine");
    planted("docs/a.md", concat!("fixed by #", "123.\n"), "a tracker's number");
    planted("docs/a.md", concat!("TO", "DO later\n"), "a.md:1");
}

#[test]
fn what_only_looks_like_them_is_none() {
    let mut files = sound();
    files
        .insert("docs/a.md".into(), concat!("~/wo", "rk/x, &#39;, #10a0ff, #!/bin/sh, https://x.org/wo", "rk/ and # 1\n").into());
    assert_eq!(faults(&files), Vec::<String>::new());
}

#[test]
fn a_dead_link_and_an_unlinked_decision_are_faults() {
    planted("docs/a.md", "[x](b.md)\n", "a link to `docs/b.md`");
    planted("docs/decisions/new.md", "why\n", "no link in docs/decisions/README.md");
}

#[test]
fn a_dependency_without_a_reason_is_a_fault() {
    let manifest = sound().remove("Cargo.toml").unwrap_or_default();
    planted("Cargo.toml", &manifest.replace("[dependencies]", "[dependencies]\nnew-crate = \"1\""), "no line for `new-crate`");
}
