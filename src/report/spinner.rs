//! What is under way, on the last line of a terminal, turning while an apply waits. Everything that is done scrolls up above it.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::printable::printable;
use super::style::cells;
use crate::plan::NodeWait;

/// How often it turns: often enough to look alive, and a wake-up a tenth of a second costs nothing that is seen.
const TURN: Duration = Duration::from_millis(120);

/// What stands around the message: the sign, the elapsed time, spaces and parentheses.
const AROUND: usize = 12;

/// Drawn on standard error; nothing where that is no terminal.
#[derive(Debug)]
pub struct Spinner {
    /// None while nothing is under way.
    bar: Option<ProgressBar>,
    /// Of the terminal.
    width: usize,
}

impl Spinner {
    pub fn new(width: usize) -> Self {
        Self { bar: None, width }
    }

    /// What the pass that was just planned leaves to time.
    pub fn show(&mut self, waits: &[NodeWait]) {
        let text = under_way(waits, self.width.saturating_sub(AROUND));
        if text.is_empty() {
            self.clear();
        } else {
            self.bar.get_or_insert_with(turning).set_message(text);
        }
    }

    /// Away with it while something else is written.
    pub fn suspend(&self, write: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Bytes that go up or down, on the last line of a terminal. Clones are the same line.
#[derive(Debug, Clone)]
pub struct Transfer {
    bar: Option<ProgressBar>,
}

impl Transfer {
    /// `what`: `uploading disk.qcow2`. Nothing is drawn unless `lively`.
    pub fn new(what: &str, length: u64, lively: bool) -> Self {
        let drawn = || {
            let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{msg} {bytes} of {total_bytes} ({bytes_per_sec}, {eta} left)");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(printable(what));
            bar
        };
        Self { bar: lively.then(drawn) }
    }

    /// So many bytes since the beginning.
    pub fn at(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        }
    }

    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn turning() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
    // Signs of ASCII: the console of a rescue system has no more.
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()).tick_chars("|/-\\ "));
    bar.enable_steady_tick(TURN);
    bar
}

/// `ci-1 waits for SSH`, of several `3 under way: 2 for SSH, 1 for its ready script`, cut to a width; empty:
/// nothing is.
fn under_way(waits: &[NodeWait], width: usize) -> String {
    let waits: Vec<&NodeWait> = waits.iter().filter(|wait| wait.waits_for.is_under_way()).collect();
    let text = match waits.as_slice() {
        [] => return String::new(),
        [one] => format!("{} waits for {}", one.subject.name, one.waits_for),
        several => {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for wait in several {
                *counts.entry(wait.waits_for.to_string()).or_default() += 1;
            }
            let parts: Vec<String> = counts.into_iter().map(|(what, count)| format!("{count} for {what}")).collect();
            format!("{} under way: {}", several.len(), parts.join(", "))
        }
    };
    let text = printable(&text);
    if cells(&text) <= width {
        return text;
    }
    let mut cut = String::new();
    for c in text.chars() {
        cut.push(c);
        if cells(&cut) + 3 > width {
            cut.pop();
            break;
        }
    }
    cut + "..."
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Subject, WaitsFor};

    fn waits(names: &[&str]) -> Vec<NodeWait> {
        let wait = |name: &&str| NodeWait {
            subject: Subject { pool: None, image: None, name: (*name).into() },
            provider: "eqiad".into(),
            state: "booting",
            waits_for: WaitsFor::Ssh,
        };
        let mut waits: Vec<NodeWait> = names.iter().map(wait).collect();
        let person = WaitsFor::Person("alice".to_owned());
        waits.push(NodeWait {
            subject: Subject { pool: None, image: None, name: "kept".into() },
            provider: "eqiad".into(),
            state: "held",
            waits_for: person,
        });
        waits
    }

    #[test]
    fn what_is_under_way_fits_a_line() {
        assert_eq!(under_way(&waits(&[]), 40), "", "a person's node is not under way");
        assert_eq!(under_way(&waits(&["a", "b"]), 60), "2 under way: 2 for SSH");
        assert_eq!(under_way(&waits(&["a"]), 60), "a waits for SSH");
        assert_eq!(under_way(&waits(&["a"]), 10), "a waits...");
        assert_eq!(under_way(&waits(&["日本語"]), 8), "日本...");
    }
}
