//! How a case of `fixtures/desired/broken` is written; the README there says it in words. No tests here.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// A file of a case, and how it comes about.
pub(super) struct Section<'t> {
    file: &'t str,
    how: &'t str,
    lines: Vec<&'t str>,
}

/// The sections of a case, and where in its text the expected words begin.
pub(super) fn sections(case: &str) -> (Vec<Section<'_>>, usize) {
    let expect = case.find(">>> (").expect("a case has its expected words");
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in case.split_at(expect).0.lines() {
        if let Some(head) = line.strip_prefix(">>> ") {
            let (file, how) = head.split_once(" (").map_or((head, ""), |(file, how)| (file, how.trim_end_matches(')')));
            sections.push(Section { file, how, lines: Vec::new() });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(line);
        }
    }
    (sections, expect)
}

impl Section<'_> {
    pub(super) fn apply(&self, dir: &Path) {
        let path = dir.join(self.file);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        match self.how.split_once(' ').unwrap_or((self.how, "")) {
            ("absent", _) => fs::remove_file(&path).expect("a file to remove"),
            ("escaped", _) => fs::write(&path, unescaped(&self.lines.concat())).expect("written"),
            ("edit", _) => {
                let text = fs::read_to_string(&path).expect("a file to edit");
                fs::write(&path, edited(&text, &self.lines)).expect("written");
            }
            (how, mode) => {
                assert!(how.is_empty() || how == "mode", "`{how}` is no way to change a file");
                fs::write(&path, whole(&self.lines)).expect("written");
                let mode = if mode.is_empty() { "600" } else { mode };
                let mode = u32::from_str_radix(mode, 8).expect("a mode");
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
            }
        }
    }
}

fn whole(lines: &[&str]) -> String {
    lines.iter().fold(String::new(), |text, line| text + line + "\n")
}

fn edited(text: &str, lines: &[&str]) -> String {
    let begin_with = |lines: &[&str], mark| lines.iter().take_while(|line| line.starts_with(mark)).count();
    let bare = |lines: &[&str]| whole(&lines.iter().map(|line| line.split_at(1).1).collect::<Vec<_>>());
    let mut text = text.to_owned();
    let mut rest = lines;
    while !rest.is_empty() {
        let (old, after) = rest.split_at(begin_with(rest, '-'));
        let (new, after) = after.split_at(begin_with(after, '+'));
        assert!(after.len() < rest.len(), "an edit's lines begin with - or +: {rest:?}");
        if old.is_empty() {
            text.push_str(&bare(new));
        } else {
            assert_eq!(text.matches(&bare(old)).count(), 1, "an edit names lines that are there once: {old:?}");
            text = text.replace(&bare(old), &bare(new));
        }
        rest = after;
    }
    text
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut parts = text.split('\\');
    bytes.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        let (kind, mut rest) = part.split_at(1);
        match kind {
            "n" => bytes.push(b'\n'),
            "r" => bytes.push(b'\r'),
            "t" => bytes.push(b'\t'),
            "x" => {
                let (digits, after) = rest.split_at(2);
                bytes.push(u8::from_str_radix(digits, 16).expect("two hex digits"));
                rest = after;
            }
            other => {
                assert_eq!(other, "u", "an escape");
                let (digits, after) = rest.trim_start_matches('{').split_once('}').expect("a closing brace");
                let code = u32::from_str_radix(digits, 16).expect("hex digits");
                bytes.extend(char::from_u32(code).expect("a character").to_string().bytes());
                rest = after;
            }
        }
        bytes.extend(rest.bytes());
    }
    bytes
}
