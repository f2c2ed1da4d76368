//! Text from outside (consoles, scripts, people's messages) made safe for a terminal: no character of it is a command.

/// One line without control characters: terminals' colours are left out, everything else that is not printed is replaced.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' && chars.next_if_eq(&'[').is_some() {
            // A control sequence (ECMA-48): parameters, and one letter that ends it.
            while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
            let _end = chars.next_if(|c| ('@'..='~').contains(c));
        } else if c.is_whitespace() {
            out.push(' ');
        } else if c.is_control() || is_invisible(c) {
            out.push('?');
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that change how their neighbours are shown: directions, joins, the byte order mark.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A line of a log is cut here: a screen of text, and more than any message needs.
const MAX_CHARACTERS: usize = 400;

/// The last lines that say something. Of a line that was printed over itself (progress) only what was left standing.
pub fn last_lines(text: &str, count: usize) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .rev()
        .map(|line| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default())
        .map(|line| printable(line).trim_end().chars().take(MAX_CHARACTERS).collect::<String>())
        .filter(|line| !line.is_empty())
        .take(count)
        .collect();
    lines.reverse();
    lines
}

/// A console without the host keys that cloud-init prints last of all, fingerprints and whole: they push out what matters.
pub fn without_host_keys(console: &str) -> String {
    let mut inside = false;
    let lines = console.lines().filter(|line| {
        let begins = line.contains("-----BEGIN SSH HOST KEY ");
        let ends = line.contains("-----END SSH HOST KEY ");
        inside = (inside || begins) && !ends;
        !(inside || ends)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_commands_the_terminal() {
        assert_eq!(printable("\u{1b}[0;32m  OK  \u{1b}[0m Started ssh"), "  OK   Started ssh");
        assert_eq!(printable("a\u{7}b\u{1b}]0;title\tc\u{202e}d\u{9b}e"), "a?b?]0;title c?d?e");
        assert_eq!(printable("\u{1b}["), "");
    }

    #[test]
    fn keys_push_nothing_out() {
        let console = "a\nci: -----BEGIN SSH HOST KEY KEYS-----\nssh-rsa AAAA\nci: -----END SSH HOST KEY KEYS-----\nb";
        assert_eq!(without_host_keys(console), "a\nb");
        assert_eq!(without_host_keys("a\n-----BEGIN SSH HOST KEY FINGERPRINTS-----\n256 SHA256:x"), "a");
    }

    #[test]
    fn last_lines_say_something() {
        assert_eq!(last_lines("one\n\ntwo\r\n10%\r20%\rdone\n  \n", 2), ["two", "done"]);
        assert_eq!(last_lines(&"x".repeat(1000), 8), ["x".repeat(MAX_CHARACTERS)]);
    }
}
