//! docs/cli.md: what is in it is the program's own help, its exit codes, its variables.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::help::{COMMANDS, INNER};
use super::place::Place;
use super::transcript::expect_at;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md");
const FENCE: &str = "```";

fn page() -> String {
    fs::read_to_string(PAGE).expect("docs/cli.md")
}

/// Each block that begins with a command has its output: `POOLKEEPER_ACCEPT=1` writes it anew.
#[test]
fn the_page_has_the_help_of_each_command() {
    let place = Place::empty();
    let mut shown = BTreeSet::new();
    let mut text = String::new();
    let whole = page();
    for (at, part) in whole.split(FENCE).enumerate() {
        let command = part.strip_prefix("text\n$ poolkeeper ").and_then(|block| block.lines().next());
        text += if at > 0 { FENCE } else { "" };
        match command {
            Some(command) => {
                let arguments: Vec<&str> = command.split(' ').collect();
                // As on a machine where it is not set: its value is shown.
                let output = place.command(&arguments).env_remove("POOLKEEPER_DESIRED_STATE").output().expect("it starts");
                let said = place.said(&output);
                assert_eq!(said.code, Some(0), "{command}");
                let _ = write!(text, "text\n$ poolkeeper {command}\n{}", said.stdout);
                shown.insert(command.to_owned());
            }
            None => text += part,
        }
    }
    let commands = COMMANDS.into_iter().chain(INNER).map(|command| format!("{command} --help"));
    assert_eq!(shown, commands.chain(["--help".to_owned()]).collect());
    expect_at(Path::new(PAGE), &text);
}

/// `(code, meaning)` of each constant of src/exit.rs: its documentation is the meaning.
fn codes() -> Vec<(String, String)> {
    let (mut codes, mut meaning) = (Vec::new(), Vec::new());
    for line in include_str!("../../../src/exit.rs").lines() {
        if let Some(words) = line.strip_prefix("/// ") {
            meaning.push(words);
        } else if let Some((_, value)) = line.strip_prefix("pub const ").and_then(|rest| rest.split_once(": u8 = ")) {
            codes.push((value.trim_end_matches(';').to_owned(), meaning.join(" ")));
        }
        if !line.starts_with("///") {
            meaning.clear();
        }
    }
    codes
}

/// The rows of the table below a heading: first and second column, without the backticks.
fn table(heading: &str) -> Vec<(String, String)> {
    let whole = page();
    let (_, below) = whole.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let section = below.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")).skip(1);
    let rows = rows.filter_map(|row| row.trim_end_matches(" |").split_once(" | "));
    rows.map(|(first, second)| (first.trim_matches('`').to_owned(), second.to_owned())).collect()
}

#[test]
fn the_page_has_each_exit_code() {
    assert_eq!(table("Exit codes"), codes());
    assert_eq!(codes().len(), 10);
}

/// Every literal of these files that looks like a variable's name, or its beginning with a `*` for the rest.
fn variables() -> BTreeSet<String> {
    // The command line has placeholders that look the same.
    let flags = include_str!("../../../src/cli.rs").split("env = ").skip(1).filter_map(|rest| rest.lines().next());
    let flags = flags.collect::<Vec<_>>().join("\n");
    let sources =
        [flags.as_str(), include_str!("../../../src/settings.rs"), include_str!("../../../src/live/openstack/clouds_yaml.rs")];
    let mut names = BTreeSet::new();
    for source in sources {
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        for literal in code.flat_map(|line| line.split('"').skip(1).step_by(2).collect::<Vec<_>>()) {
            let is_name =
                literal.len() > 2 && !literal.starts_with('_') && literal.bytes().all(|c| c.is_ascii_uppercase() || c == b'_');
            if is_name {
                names.insert(if literal.ends_with('_') { format!("{literal}*") } else { literal.to_owned() });
            }
        }
    }
    // Those that are only told apart from a cloud's.
    for other in ["OS_TEST", "OS_STD", "OS_LOG", "OS_CLIENT_VENDOR_FILE"] {
        names.remove(other);
    }
    names
}

/// Each word that `State::word` gives, once.
#[test]
fn the_page_has_each_state() {
    let source = include_str!("../../../src/node/words.rs");
    let words = source.lines().filter_map(|line| line.split_once(" => \"")?.1.strip_suffix("\","));
    let words: BTreeSet<&str> = words.collect();
    let rows = table("Node states");
    let written: BTreeSet<&str> = rows.iter().map(|(word, _)| word.as_str()).collect();
    assert_eq!((written, rows.len()), (words.clone(), words.len()));
    assert!(words.contains("not seen") && words.contains("turning off"), "{words:?}");
    let columns = ["ready", "not seen", "busy", "coming", "used", "held", "failed", "deleting", "-"];
    for (word, rest) in &rows {
        let cells: Vec<&str> = rest.split(" | ").collect();
        let counts = cells.last().copied().unwrap_or_default().split(';').next().unwrap_or_default();
        assert!(cells.len() == 3 && columns.contains(&counts), "{word}: {rest}");
    }
}

#[test]
fn the_page_has_each_variable() {
    let written: BTreeSet<String> = table("Environment variables").into_iter().map(|(name, _)| name).collect();
    assert_eq!(written, variables());
}

/// Each text of `fixtures/cli` is one that a test writes down.
#[test]
fn no_transcript_is_left_over() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let sources: Vec<String> = fs::read_dir(format!("{here}/it/cli"))
        .expect("this directory")
        .map(|file| fs::read_to_string(file.expect("a file").path()).expect("text"))
        .collect();
    for file in fs::read_dir(format!("{here}/fixtures/cli")).expect("the texts") {
        let path = file.expect("a file").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let used = if path.extension().is_some() { format!("Transcript::new(\"{name}\")") } else { format!("/{name}\"") };
        assert!(sources.iter().any(|source| source.contains(&used)), "nothing writes or reads {}", path.display());
    }
}
