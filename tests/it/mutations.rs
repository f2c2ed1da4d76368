//! The list of mutations cannot rot: each text that `make mutants` replaces stands once in its file, and each test is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const LIST: &str = include_str!("../mutations/list.txt");

/// Rule, file, test, what goes, what comes.
struct Mutation {
    rule: &'static str,
    file: &'static str,
    test: &'static str,
    old: String,
    new: String,
}

/// As `tools/mutants` reads it: blocks between blank lines; `#` begins a comment.
fn mutations() -> Vec<Mutation> {
    let blocks = LIST.split("\n\n").map(str::trim).filter(|block| !block.is_empty() && !block.starts_with('#'));
    let read = |block: &'static str| {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        let side = |sign: char| {
            let lines: Vec<&str> = block.lines().filter_map(|line| line.strip_prefix(sign)).collect();
            lines.join("\n")
        };
        Mutation { rule: field("rule:"), file: field("file:"), test: field("test:"), old: side('-'), new: side('+') }
    };
    blocks.map(read).collect()
}

#[test]
fn each_mutation_still_has_its_text_and_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mutations = mutations();
    assert!(mutations.len() >= 24, "{} mutations", mutations.len());
    let mut rules = BTreeSet::new();
    for Mutation { rule, file, test, old, new } in &mutations {
        assert!(!rule.is_empty() && rules.insert(*rule), "`{rule}`: named once");
        let text = fs::read_to_string(root.join(file)).unwrap_or_else(|why| panic!("{rule}: {file}: {why}"));
        assert_eq!(text.matches(old.as_str()).count(), 1, "{rule}: `{old}` in {file}");
        assert!(!old.is_empty() && old != new, "{rule}: nothing changes");
        let (module, name) = test.split_once("::").unwrap_or_else(|| panic!("{rule}: `{test}` is no test of tests/it"));
        let source = fs::read_to_string(root.join(format!("tests/it/{module}.rs"))).expect("the test's file");
        assert!(source.contains(&format!("fn {name}(")), "{rule}: there is no test {test}");
    }
}
