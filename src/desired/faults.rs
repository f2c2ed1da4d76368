//! A fault of the desired state, and how faults look: where it is, the line itself with a caret, what to do. What is a fault is
//! decided elsewhere.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Columns that a fault may take: a terminal's usual width.
const WIDTH: usize = 80;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The desired state is refused.
    Error,
    /// It is taken, and said.
    Warning,
}

/// Where in a file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Spot {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub col: usize,
    /// In characters; at least 1, never beyond the line.
    pub len: usize,
    /// The line itself, with what looks like a secret blotted out.
    pub source: String,
}

impl Spot {
    /// `len` characters from this byte of the text on. A place behind the end is the end of the last line.
    pub fn new(text: &str, at: usize, len: usize) -> Self {
        let end = text.trim_end().len();
        let mut at = at.min(end);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let (before, after) = text.split_at(at);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let head = before.get(start..).unwrap_or_default();
        let tail = after.lines().next().unwrap_or_default();
        let col = head.chars().count() + 1;
        let left = tail.chars().count().max(1);
        let raw: String = head.chars().chain(tail.chars()).map(|c| if c == '\t' { c } else { visible(c) }).collect();
        let above = before.get(..start).unwrap_or_default().trim_end().lines().next_back().unwrap_or_default();
        let source = if opens_a_secret(above) { format!("{}***", blanks(&raw)) } else { without_secrets(&raw) };
        let left = if source == raw { left } else { left.min(source.chars().count().saturating_sub(col - 1)).max(1) };
        Self { line: before.matches('\n').count() + 1, col, len: len.clamp(1, left), source }
    }
}

/// One thing that is wrong, or worth a warning.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    pub severity: Severity,
    /// As a person would open it: the desired-state directory as it was given, and the file in it.
    pub file: String,
    /// The keys that lead there, such as `providers.wmflabs-eqiad.cloud`; empty for a whole file.
    pub path: String,
    pub spot: Option<Spot>,
    pub message: String,
    /// What stands beside the caret.
    pub label: Option<String>,
    /// What can be done now.
    pub hint: Option<String>,
}

impl Fault {
    /// Of a whole file.
    pub fn of_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.into(),
            path: String::new(),
            spot: None,
            message: message.into(),
            label: None,
            hint: None,
        }
    }

    #[must_use]
    pub fn label(self, label: impl Into<String>) -> Self {
        Self { label: Some(label.into()), ..self }
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    #[must_use]
    pub fn warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }
}

/// By file, then by place: the order in which a person goes through them.
pub fn sort(faults: &mut Vec<Fault>) {
    let key = |fault: &Fault| (fault.spot.as_ref().map(|spot| (spot.line, spot.col)), fault.severity);
    faults.sort_by(|a, b| a.file.cmp(&b.file).then_with(|| key(a).cmp(&key(b))));
    faults.dedup();
}

/// All of them under one head: `desired-state: 2 faults`.
pub fn render(dir: &str, faults: &[Fault], colour: bool) -> String {
    let warnings = faults.iter().filter(|fault| fault.severity == Severity::Warning).count();
    let errors = faults.len() - warnings;
    let counts = [(errors, "fault"), (warnings, "warning")].into_iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, what)| count_of(count, what)).collect();
    let mut out = format!("{}: {}\n", printable(dir), counts.join(", "));
    for fault in faults {
        out.push_str(&render_one(fault, colour));
    }
    out
}

/// `1 pool`, `2 pools`.
pub fn count_of(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn render_one(fault: &Fault, colour: bool) -> String {
    let level = match fault.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let name = match fault.severity {
        Severity::Error => "error: ",
        Severity::Warning => "warning: ",
    };
    // The renderer sets further lines in by the level's name.
    let title = wrap(&printable(&fault.message), WIDTH - name.len(), 0, 0);
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.term_width(WIDTH);
    // A hint stands beside the caret when nothing else does and it fits there, else on a line of its own.
    let (mut beside, mut below) = (fault.label.clone(), fault.hint.clone());
    let mut out = String::new();
    if let Some(spot) = &fault.spot {
        let room = WIDTH.saturating_sub(spot.line.to_string().len().max(2) + 3 + spot.col - 1 + spot.len + 1);
        if beside.is_none() && below.as_ref().is_some_and(|hint| hint.chars().count() <= room) {
            beside = below.take();
        }
        let from = byte_of(&spot.source, spot.col - 1);
        let to = byte_of(&spot.source, spot.col - 1 + spot.len);
        let mut annotation = AnnotationKind::Primary.span(from..to);
        let mut note = None;
        match beside.map(|label| printable(&label)) {
            Some(label) if label.chars().count() <= room => annotation = annotation.label(label),
            other => note = other,
        }
        let snippet =
            Snippet::source(spot.source.as_str()).line_start(spot.line).path(printable(&fault.file)).annotation(annotation);
        let report = &[level.primary_title(title).element(snippet)];
        // Numbers of one digit are set in as those of two are: faults of one screen stand in one column.
        let indent = if spot.line < 10 { " " } else { "" };
        for line in renderer.render(report).lines() {
            let snippet_line = line.trim_start().starts_with("-->") || line.contains(" |") || line.contains("\u{1b}[0m |");
            let _ = writeln!(out, "{}{}", if snippet_line { indent } else { "" }, line.trim_end());
        }
        if let Some(note) = note {
            let _ = writeln!(out, "  {}", wrap(&note, WIDTH, 2, 2));
        }
    } else {
        out = renderer.render(&[Group::with_title(level.primary_title(title))]);
        out = format!("{}\n  --> {}\n", out.trim_end(), printable(&fault.file));
        if let Some(label) = beside {
            let _ = writeln!(out, "  {}", wrap(&printable(&label), WIDTH, 2, 2));
        }
    }
    if let Some(hint) = below {
        let _ = writeln!(out, "  hint: {}", wrap(&printable(&hint), WIDTH, 8, 8));
    }
    out
}

/// The byte of the nth character, or the end.
fn byte_of(text: &str, nth: usize) -> usize {
    text.char_indices().nth(nth).map_or(text.len(), |(at, _)| at)
}

/// Control characters of names and values never reach a terminal.
fn printable(text: &str) -> String {
    text.chars().map(visible).collect()
}

fn visible(c: char) -> char {
    if c.is_control() { '\u{fffd}' } else { c }
}

/// Breaks text at blanks so that no line passes `width`. The first line begins at column `first`, the others at `rest`.
fn wrap(text: &str, width: usize, first: usize, rest: usize) -> String {
    let mut out = String::new();
    let mut at = first;
    for word in text.split(' ') {
        let len = word.chars().count();
        if !out.is_empty() && at + 1 + len > width {
            let _ = write!(out, "\n{:rest$}", "");
            at = rest;
        } else if !out.is_empty() {
            out.push(' ');
            at += 1;
        }
        out.push_str(word);
        at += len;
    }
    out
}

/// Words in a key that say that its value is a secret. Keys that end in `-file` name a file.
const SECRET_WORDS: [&str; 7] = ["password", "passwd", "passphrase", "secret", "token", "apikey", "api-key"];

/// Whether a key of this name has a secret for its value.
pub fn names_a_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('_', "-");
    !key.ends_with("-file") && SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// Whether a text looks like a token itself rather than like the name of a file that holds one: long, of letters and digits
/// alone, some of each.
pub fn looks_like_a_secret(text: &str) -> bool {
    text.len() >= 20
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Whether a line ends with a key whose value, a secret, begins on the next one.
fn opens_a_secret(line: &str) -> bool {
    let line = line.trim().trim_end_matches(['|', '>', '-', '+']).trim_end();
    let key = line.strip_suffix(':').and_then(|line| line.rsplit(['{', ',', ' ']).next());
    key.is_some_and(|key| names_a_secret(key.trim_matches(['"', '\''])))
}

/// The indentation of a line.
fn blanks(line: &str) -> &str {
    line.get(..line.len() - line.trim_start().len()).unwrap_or_default()
}

/// A line of a file as it may be shown.
fn without_secrets(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(':') {
        let (before, after) = rest.split_at(at);
        let (colon, after) = after.split_at(1);
        out.push_str(before);
        out.push_str(colon);
        let key = before.rsplit(['{', ',', ' ', '\t']).find(|word| !word.is_empty()).unwrap_or_default();
        let value_end = after.find([',', '}', '#']).unwrap_or(after.len());
        let value = after.get(..value_end).unwrap_or_default();
        let bare = value.trim().trim_matches(['"', '\'']);
        let hide = !bare.is_empty() && !matches!(bare, "|" | ">" | "|-" | ">-");
        if hide && (names_a_secret(key.trim_matches(['"', '\''])) || looks_like_a_secret(bare)) {
            out.push_str(" ***");
            // Up to the next key: a secret may hold `,` and `#` itself.
            rest = next_key(after);
        } else {
            rest = after;
        }
    }
    out.push_str(rest);
    without_user(&out)
}

/// What follows a hidden value: the next `, key:` of a map written in one line, or nothing.
fn next_key(after: &str) -> &str {
    let starts = after.match_indices(", ").map(|(at, _)| after.get(at..).unwrap_or_default());
    let is_key = |rest: &&str| {
        let word = rest.get(2..).and_then(|rest| rest.split_once(": ")).map_or("", |(word, _)| word);
        !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '_')
    };
    starts.into_iter().find(is_key).unwrap_or_default()
}

/// Hides `user:password` of a URL.
fn without_user(line: &str) -> String {
    let Some((head, tail)) = line.split_once("://") else { return line.to_owned() };
    let host = tail.split(['/', ' ', '"', '\'']).next().unwrap_or_default();
    match host.rsplit_once('@') {
        Some((user, _)) => format!("{head}://***{}", tail.get(user.len()..).unwrap_or_default()),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_blotted_out_of_lines() {
        let shown = [
            ("password: hunter2", "password: ***"),
            ("  api_token: 'a: b, c#d'", "  api_token: ***"),
            ("t: {password: hunter2, user: me}", "t: {password: ***, user: me}"),
            ("token-file: /etc/token", "token-file: /etc/token"),
            ("name: 11aa22bb33cc44dd55ee66ff", "name: ***"),
            ("url: https://me:hunter2@ci/", "url: https://***@ci/"),
            ("url: https://ci/a@b", "url: https://ci/a@b"),
            ("private_key_passphrase: |", "private_key_passphrase: |"),
            ("\"secret\": hunter2", "\"secret\": ***"),
        ];
        for (line, expected) in shown {
            assert_eq!(without_secrets(line), expected);
        }
    }

    #[test]
    fn a_secret_on_the_line_below_its_key_is_blotted_out_too() {
        for key in ["password:", "secret: |", "  - token: >-"] {
            let text = format!("{key}\n    hunter2");
            assert_eq!(Spot::new(&text, text.len(), 1).source, "    ***");
        }
    }

    #[test]
    fn spots_stay_in_their_line() {
        let spot = Spot::new("a: b\nc: d\n", 999, 50);
        assert_eq!((spot.line, spot.col, spot.len, spot.source.as_str()), (2, 5, 1, "c: d"));
        let spot = Spot::new("", 0, 1);
        assert_eq!((spot.line, spot.col, spot.len), (1, 1, 1));
    }

    #[test]
    fn text_is_wrapped_at_blanks() {
        assert_eq!(wrap("one two three", 9, 2, 2), "one two\n  three");
        assert_eq!(wrap("unbreakable", 5, 0, 0), "unbreakable");
    }
}
