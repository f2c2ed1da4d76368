//! Runs written down one below the other, and held against the text in `fixtures/cli`: `POOLKEEPER_ACCEPT=1` accepts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::place::{Place, ROOT_PREFIX, ROOT_RANDOM, Said};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/cli");

/// Of one file.
pub(super) struct Transcript {
    name: &'static str,
    text: String,
    checked: bool,
}

impl Transcript {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, text: String::new(), checked: false }
    }

    /// Runs and writes down; the code is returned for tests that want it said in the test, too.
    pub(super) fn run(&mut self, what: &str, place: &Place, arguments: &[&str]) -> Said {
        let said = place.run(arguments);
        self.add(what, arguments, &said);
        said
    }

    /// What varies from run to run is replaced, width by width.
    pub(super) fn add(&mut self, what: &str, arguments: &[&str], said: &Said) {
        let code = said.code.map_or_else(|| "by a signal".to_owned(), |code| code.to_string());
        let text = format!("$ poolkeeper {}\n{}", arguments.join(" "), said.stdout);
        let mut text = if text.ends_with('\n') { text } else { text + "(no newline)\n" };
        for line in said.stderr.lines() {
            let _ = writeln!(text, "{}", format!("2> {line}").trim_end());
        }
        let separator = if self.text.is_empty() { "" } else { "\n" };
        let _ = write!(self.text, "{separator}# {what}\n{}(exit {code})\n", steady(&text));
    }

    pub(super) fn check(mut self) {
        self.checked = true;
        expect(&format!("{}.txt", self.name), &self.text);
    }
}

impl Drop for Transcript {
    fn drop(&mut self) {
        assert!(self.checked || std::thread::panicking(), "{} was never checked", self.name);
    }
}

/// Holds a text against a file of `fixtures/cli`.
pub(super) fn expect(file: &str, text: &str) {
    expect_at(&PathBuf::from(FIXTURES).join(file), text);
}

pub(super) fn expect_at(path: &std::path::Path, text: &str) {
    #[expect(clippy::disallowed_methods, reason = "a person accepts new words by this")]
    if std::env::var_os("POOLKEEPER_ACCEPT").is_some() {
        fs::write(path, text).expect("written");
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    let diff = similar::TextDiff::from_lines(expected.as_str(), text);
    let diff = diff.unified_diff().context_radius(3).header("expected", "came").to_string();
    assert!(text == expected, "{}; POOLKEEPER_ACCEPT=1 accepts what came:\n{diff}", path.display());
}

/// A text with everything replaced that is another in each run: directories, ports, ids, names, short times.
pub(super) fn steady(text: &str) -> String {
    let mut names = BTreeMap::new();
    let mut out = String::new();
    let mut before = String::new();
    for word in text.split_inclusive(|c: char| c.is_whitespace() || "()[],;`\"'".contains(c)) {
        let bare = word.trim_end_matches(|c: char| c.is_whitespace() || "()[],;`\"'".contains(c));
        let shown = steady_word(bare, &before, &mut names);
        out.push_str(&shown);
        out.push_str(word.strip_prefix(bare).unwrap_or_default());
        if !bare.is_empty() {
            bare.clone_into(&mut before);
        }
    }
    counts(&out)
}

fn steady_word(word: &str, before: &str, names: &mut BTreeMap<String, usize>) -> String {
    if word.strip_prefix("127.10.1.").is_some_and(is_count) {
        return "127.10.1.x".to_owned();
    }
    let mut word = directory(&port(word));
    let id = word.strip_prefix("req-").unwrap_or(&word);
    if is_hex(id, &[8]) || is_hex(id, &[8, 4, 4, 4, 12]) {
        let hidden: String = id.chars().map(|c| if c == '-' { '-' } else { 'x' }).collect();
        return word.replace(id, &hidden);
    }
    for node in node_names(&word) {
        let next = names.len() + 1;
        let number = *names.entry(node.clone()).or_insert(next);
        let (pool, suffix) = node.rsplit_once('-').unwrap_or_default();
        word = word.replace(&node, &format!("{pool}-{:0>width$}", format!("node{number}"), width = suffix.len()));
    }
    let number = word.strip_suffix(['s', 'm', 'h']).unwrap_or_default();
    let is_time = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    let varies = number.contains('.') || matches!(before, "after" | "idle" | "calls");
    if is_time && varies { "TIME".to_owned() } else { word }
}

/// Groups of hex digits of these lengths, with dashes between.
fn is_hex(word: &str, lengths: &[usize]) -> bool {
    let groups: Vec<&str> = word.split('-').collect();
    let hex = |group: &str| group.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    groups.iter().map(|group| group.len()).eq(lengths.iter().copied()) && groups.into_iter().all(hex)
}

/// Names of nodes of the pools that tests have: `ci-debian-` and eleven digits of base 32.
fn node_names(word: &str) -> Vec<String> {
    const POOL: &str = "ci-debian-";
    let starts = word.match_indices(POOL).map(|(at, _)| at);
    let names = starts.filter_map(|at| word.get(at..at + POOL.len() + 11));
    names.filter(|name| name.bytes().skip(POOL.len()).all(|c| c.is_ascii_alphanumeric())).map(str::to_owned).collect()
}

fn port(word: &str) -> String {
    let Some((at, _)) = word.match_indices("127.").next() else { return word.to_owned() };
    let (head, tail) = word.split_at(at);
    let Some((host, rest)) = tail.split_once(':') else { return word.to_owned() };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    // Machines of one moment get their addresses in any order.
    let host = if host.starts_with("127.10.1.") { "127.10.1.x" } else { host };
    format!("{head}{host}:{}{}", "P".repeat(digits), rest.get(digits..).unwrap_or_default())
}

fn directory(word: &str) -> String {
    let mut out = String::new();
    let mut rest = word;
    let start = format!("/tmp/{ROOT_PREFIX}");
    while let Some((head, tail)) = rest.split_once(&start) {
        out.push_str(head);
        out.push_str(&start);
        out.push_str(&"X".repeat(ROOT_RANDOM));
        rest = tail.get(ROOT_RANDOM..).unwrap_or_default();
    }
    out + rest
}

/// How many passes a run took, and how many calls, depends on how fast this machine is.
fn counts(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let parts: Vec<String> = line
            .split(", ")
            .map(|part| match part.split_once(' ') {
                // One or several: both are as good.
                Some((number, "pass" | "passes")) if is_count(number) => "N passes".to_owned(),
                Some((number, "call" | "calls")) if is_count(number) => "N calls".to_owned(),
                _ => part.to_owned(),
            })
            .collect();
        lines.push(parts.join(", "));
    }
    lines.join("\n") + "\n"
}

fn is_count(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|c| c.is_ascii_digit())
}
