//! Colour, where a terminal wants it, and widths. Every screen is complete without. The only door to unicode-width.

use unicode_width::UnicodeWidthStr as _;

/// Whether and how text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    pub colour: bool,
    /// Columns of the screen.
    pub width: usize,
    /// It is for a screen of that width: a table leaves out what it has no room for. Else it is whole, however wide.
    pub fit: bool,
    /// The command has all of it as JSON, too.
    pub json: bool,
}

/// What a text is, not how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Added,
    Removed,
    Changed,
    Dim,
    Warning,
    Error,
    Hint,
}

impl Style {
    /// The width that screens are made for.
    pub const WIDTH: usize = 80;
    /// Below this nothing is wrapped any more: a table of names and states needs as much.
    pub const NARROWEST: usize = 40;

    pub fn plain() -> Self {
        Self { colour: false, width: Self::WIDTH, fit: false, json: false }
    }

    /// Of a command with `--format json`.
    #[must_use]
    pub fn with_json(self) -> Self {
        Self { json: true, ..self }
    }

    pub fn paint(self, role: Role, text: &str) -> String {
        let code = match role {
            Role::Added => "32",
            Role::Removed | Role::Error => "31",
            Role::Changed | Role::Warning => "33",
            Role::Dim => "2",
            Role::Hint => "36",
        };
        if self.colour && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// How many columns of a terminal a text takes: letters of East Asia take two, marks above letters none.
pub fn cells(text: &str) -> usize {
    text.width()
}

/// Wraps at spaces to a width; the lines after the first are indented. A word longer than a line stays whole.
pub fn wrap(text: &str, width: usize, first: usize, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut room = width.saturating_sub(first);
    for word in text.split(' ') {
        let needed = cells(word) + usize::from(!line.is_empty());
        if !line.is_empty() && cells(&line) + needed > room {
            lines.push(std::mem::take(&mut line));
            room = width.saturating_sub(indent);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_spaces_and_keeps_long_words() {
        assert_eq!(wrap("one two three", 9, 2, 4), ["one two", "three"]);
        assert_eq!(wrap("https://integration.example.org/ci/ x", 10, 0, 2), ["https://integration.example.org/ci/", "x"]);
        assert_eq!(wrap("日本 語", 6, 0, 0), ["日本", "語"]);
    }

    #[test]
    fn no_colour_no_escape() {
        assert_eq!(Style::plain().paint(Role::Added, "+"), "+");
        assert!(Style { colour: true, ..Style::plain() }.paint(Role::Added, "+").contains("\u{1b}[32m"));
    }
}
