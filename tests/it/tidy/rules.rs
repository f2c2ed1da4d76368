//! The house rules as functions: files in, faults out. Reading the tree is `tidy.rs`'.

use std::collections::BTreeMap;

/// Path from the repository's root -> text.
pub(super) type Files = BTreeMap<String, String>;

/// Most lines of a file. Beyond it, a second file would have a name of its own.
const MAX_LINES: usize = 400;
/// Files that are longer all the same, each with the reason.
const LONGER: &[(&str, &str)] = &[];

/// What the pure stages may use of the crate: themselves and what comes before them.
const PURE: &[(&str, &[&str])] = &[
    ("src/names.rs", &[]),
    ("src/desired/", &["desired", "names"]),
    ("src/observed/", &["observed", "desired", "names"]),
    ("src/node/", &["node", "observed", "desired", "names"]),
    ("src/plan/", &["plan", "node", "observed", "desired", "names"]),
];

/// What the two worlds never use: they decide nothing and print nothing.
const WORLDS: &[(&str, &[&str])] = &[
    ("src/live/", &["sandbox", "report", "commands", "execute", "run", "cli"]),
    ("src/sandbox/", &["report", "commands", "execute", "run", "cli"]),
];

/// A pure stage has no business with any of them.
const IMPURE: &[&str] = &[
    "std::env::",
    "std::fs::",
    "std::io::",
    "std::net::",
    "std::process::",
    "std::thread::",
    "std::time::Instant",
    "std::time::SystemTime",
    "Timestamp::now",
];

/// An outside crate -> the files below src/ that may name it.
const DOORS: &[(&str, &[&str])] = &[
    ("annotate_snippets", &["src/desired/faults.rs", "src/report/"]),
    ("clap", &["src/cli.rs", "src/settings.rs", "src/commands/"]),
    ("comfy_table", &["src/report/table.rs"]),
    ("fs2", &["src/lock.rs"]),
    ("indicatif", &["src/report/spinner.rs"]),
    ("regex_lite", &["src/desired/pattern.rs"]),
    ("reqwest", &["src/live/http.rs"]),
    ("russh", &["src/sandbox/serve_ssh.rs"]),
    ("rustix", &["src/commands/image/group.rs"]),
    ("rustls", &["src/main.rs", "src/live/http.rs"]),
    ("serde_yaml", &["src/desired/yaml.rs", "src/live/openstack/clouds_yaml.rs"]),
    ("similar", &["src/desired/near.rs", "src/report/"]),
    ("ssh2", &["src/live/machine/session.rs"]),
    ("tar", &["src/live/machine/", "src/sandbox/remote.rs"]),
    ("terminal_size", &["src/settings.rs"]),
    ("tokio", &["src/sandbox/serve_ssh.rs"]),
    ("unicode_width", &["src/report/style.rs"]),
];

/// Every fault of every rule.
pub(super) fn faults(files: &Files) -> Vec<String> {
    [layering, doors, sizes, first_lines, words, modules, links, decisions, dependencies]
        .into_iter()
        .flat_map(|rule| rule(files))
        .collect()
}

fn has_extension(path: &str, extension: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, found)| found == extension)
}

fn rust_files(files: &Files) -> impl Iterator<Item = (&str, &str)> {
    files.iter().filter(|(path, _)| has_extension(path, "rs")).map(|(path, text)| (path.as_str(), text.as_str()))
}

/// The lines that are not comments, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The modules of the crate's root that a line names after `crate::` or `poolkeeper::`, alone or in braces.
fn named_modules(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for rest in line.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => found.extend(word(rest)),
            Some(list) => {
                let mut depth = 0_usize;
                for part in list.split_inclusive([',', '{', '}']) {
                    if depth == 0 {
                        found.extend(word(part.trim_start()));
                    }
                    match part.chars().last() {
                        Some('{') => depth += 1,
                        Some('}') if depth == 0 => break,
                        Some('}') => depth -= 1,
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

/// The identifier that a text begins with.
fn word(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.get(..end).filter(|word| !word.is_empty())
}

fn layering(files: &Files) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in rust_files(files) {
        let allowed = PURE.iter().find(|(stage, _)| path.starts_with(stage)).map(|(_, modules)| *modules);
        let refused = WORLDS.iter().find(|(world, _)| path.starts_with(world)).map_or(&[][..], |(_, modules)| *modules);
        for (number, line) in code(text) {
            for module in named_modules(line) {
                if allowed.is_some_and(|allowed| !allowed.contains(&module)) || refused.contains(&module) {
                    faults.push(format!("{path}:{number}: uses `{module}`, which comes later or is none of its business"));
                }
            }
            if allowed.is_some() {
                let impure = IMPURE.iter().filter(|name| line.contains(**name));
                faults.extend(impure.map(|name| format!("{path}:{number}: `{name}` in a pure stage")));
            }
        }
    }
    faults
}

/// Whether a line names a crate: `name::` as a word of its own.
fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().last());
        let after = line.get(at + name.len()..).unwrap_or_default();
        let own_word = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':' && c != '.');
        own_word && (after.starts_with("::") || line.trim_start().starts_with(&format!("use {name};")))
    })
}

fn doors(files: &Files) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in rust_files(files).filter(|(path, _)| path.starts_with("src/")) {
        for (name, allowed) in DOORS.iter().filter(|(_, allowed)| !allowed.iter().any(|door| path.starts_with(door))) {
            let lines = code(text).filter(|(_, line)| names_crate(line, name));
            faults.extend(lines.map(|(number, _)| format!("{path}:{number}: `{name}` goes through {}", allowed.join(", "))));
        }
    }
    let manifest = files.get("Cargo.toml").map(String::as_str).unwrap_or_default();
    let known = dependency_names(manifest);
    let stale = DOORS.iter().filter(|(name, _)| !known.iter().any(|known| known.replace('-', "_") == *name));
    faults.extend(stale.map(|(name, _)| format!("Cargo.toml: `{name}` has a door but is no dependency")));
    faults
}

fn sizes(files: &Files) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in rust_files(files) {
        let lines = text.lines().count();
        match LONGER.iter().any(|(longer, _)| *longer == path) {
            false if lines > MAX_LINES => faults.push(format!("{path}: {lines} lines, {MAX_LINES} at most")),
            true if lines <= MAX_LINES => faults.push(format!("{path}: an exception for a size that it has not")),
            _ => {}
        }
    }
    faults
}

fn first_lines(files: &Files) -> Vec<String> {
    let silent = rust_files(files).filter(|(_, text)| !text.starts_with("//! "));
    silent.map(|(path, _)| format!("{path}: its first line does not say (`//!`) what is in it")).collect()
}

/// What a file of this project does not say: what is left undone, where it was made, numbers of somebody's tracker.
fn words(files: &Files) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in files {
        for (index, line) in text.lines().enumerate() {
            let at = format!("{path}:{}", index + 1);
            let undone = [concat!("TO", "DO"), concat!("FIX", "ME")].into_iter().filter(|word| line.contains(word));
            faults.extend(undone.map(|word| format!("{at}: `{word}`: do it, or write down why not")));
            if starts_a_path(line, concat!("/wo", "rk/")) {
                faults.push(format!("{at}: a path of one machine"));
            }
            if names_a_ticket(line) {
                faults.push(format!("{at}: a tracker's number says nothing to a reader"));
            }
        }
    }
    faults
}

/// Whether an absolute path begins with `root` somewhere: not a part of a longer path or of a URL.
fn starts_a_path(line: &str, root: &str) -> bool {
    line.match_indices(root).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().last());
        before.is_none_or(|c| !c.is_alphanumeric() && !"}_-.~".contains(c))
    })
}

/// `#` and one to five digits: six are a colour, and `&#39;` is a character of HTML.
fn names_a_ticket(line: &str) -> bool {
    line.match_indices('#').any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().last());
        let after = line.get(at + 1..).unwrap_or_default();
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let ends = after.get(digits..).and_then(|rest| rest.chars().next()).is_none_or(|c| !c.is_alphanumeric());
        (1..=5).contains(&digits) && ends && before.is_none_or(|c| !c.is_alphanumeric() && c != '&' && c != '$')
    })
}

/// The compiler never says that a file is no part of anything.
fn modules(files: &Files) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, _) in rust_files(files) {
        let Some((folder, file)) = path.rsplit_once('/') else { continue };
        let (name, parents) = match file.strip_suffix(".rs") {
            None | Some("main" | "lib") => continue,
            Some("mod") => {
                let Some((above, name)) = folder.rsplit_once('/') else { continue };
                (name, parents(above))
            }
            Some(name) => (name, parents(folder)),
        };
        let declares = |text: &String| text.lines().any(|line| line.trim().ends_with(&format!("mod {name};")));
        if !parents.iter().filter_map(|parent| files.get(parent)).any(declares) {
            faults.push(format!("{path}: no `mod {name};` in {}", parents.join(" or ")));
        }
    }
    faults
}

/// The files that may declare the modules of a folder.
fn parents(folder: &str) -> Vec<String> {
    let inside = ["mod.rs", "main.rs", "lib.rs"].map(|file| format!("{folder}/{file}"));
    inside.into_iter().chain([format!("{folder}.rs")]).collect()
}

/// The targets of a page's relative links, from the repository's root.
fn linked(path: &str, text: &str) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    let relative = targets.filter(|target| !target.is_empty() && !target.contains(':'));
    relative.map(|target| resolve(folder, target)).collect()
}

fn resolve(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

fn links(files: &Files) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| has_extension(path, "md")) {
        for target in linked(path, text) {
            if !files.keys().any(|known| *known == target || known.starts_with(&format!("{target}/"))) {
                faults.push(format!("{path}: a link to `{target}`, which is not there"));
            }
        }
    }
    faults
}

/// A page that nothing leads to is not read.
fn decisions(files: &Files) -> Vec<String> {
    let index = "docs/decisions/README.md";
    let known = files.get(index).map(|text| linked(index, text)).unwrap_or_default();
    let pages = files.keys().filter(|path| path.starts_with("docs/decisions/") && path.as_str() != index);
    pages.filter(|path| !known.contains(path)).map(|path| format!("{path}: no link in {index}")).collect()
}

/// The names in the manifest's sections of dependencies.
fn dependency_names(manifest: &str) -> Vec<&str> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.trim_end().ends_with("dependencies]");
        } else if inside && !line.starts_with('#') {
            names.extend(line.split_once(" =").map(|(name, _)| name));
        }
    }
    names
}

fn dependencies(files: &Files) -> Vec<String> {
    let page = "docs/decisions/dependencies.md";
    let text = files.get(page).map(String::as_str).unwrap_or_default();
    let manifest = files.get("Cargo.toml").map(String::as_str).unwrap_or_default();
    let silent = dependency_names(manifest).into_iter().filter(|name| !text.contains(&format!("| `{name}` |")));
    silent.map(|name| format!("{page}: no line for `{name}`")).collect()
}
