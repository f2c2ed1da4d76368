//! What was not seen, as a person reads it: what was tried, what came, what that stops, what can be done.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::printable::printable;
use super::style::{Role, Style, wrap};
use crate::observed::{Gap, Source};

/// All of them. Machines of one provider with the same answer are one: the same broken key meets each of them.
pub fn gaps_text(gaps: &[Gap], style: Style) -> String {
    let mut kinds: Vec<(&Gap, usize)> = Vec::new();
    for gap in gaps {
        match kinds.iter_mut().find(|(other, _)| is_same(other, gap)) {
            Some((_, more)) => *more += 1,
            None => kinds.push((gap, 0)),
        }
    }
    kinds.into_iter().map(|(gap, more)| text(gap, more, style)).collect()
}

/// Below a listing, or in place of an empty one: whose part is missing. Nothing where all was seen.
pub fn unseen(what: &str, is_empty: bool, gaps: &[Gap]) -> Option<String> {
    let sources = gaps.iter().filter(|gap| matches!(gap.source, Source::Provider(_)));
    let names: BTreeSet<String> = sources.map(|gap| gap.source.to_string()).collect();
    if names.is_empty() {
        return None;
    }
    let seen = if is_empty { format!("no {what} seen") } else { format!("not all {what} are in this list") };
    Some(format!(
        "{seen}: {} {} not seen\n",
        names.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        if names.len() == 1 { "was" } else { "were" }
    ))
}

/// What a person was told of in a run: a gap that stays is said once.
#[derive(Debug, Default)]
pub struct Said(Vec<Gap>);

impl Said {
    /// Those that are new, noted as said.
    pub fn news(&mut self, gaps: &[Gap], style: Style) -> String {
        let new: Vec<Gap> = gaps.iter().filter(|gap| !self.0.iter().any(|said| is_same(said, gap))).cloned().collect();
        let text = gaps_text(&new, style);
        self.0.extend(new);
        text
    }
}

/// Whether a person who has read the one learns nothing from the other.
fn is_same(a: &Gap, b: &Gap) -> bool {
    let same_place = match (&a.source, &b.source) {
        (Source::Server(a, _), Source::Server(b, _)) => a == b,
        (a, b) => a == b,
    };
    // Each call has a request id of its own.
    let words = |text: &str| text.split(' ').filter(|word| !word.starts_with("req-")).map(str::to_owned).collect::<Vec<_>>();
    same_place && words(&a.answered) == words(&b.answered)
}

fn text(gap: &Gap, more: usize, style: Style) -> String {
    let Gap { source, tried, answered, hint } = gap;
    let stops = match source {
        Source::Provider(_) => "every launch of pools that use it, and every deletion there",
        Source::Target(_) => "every deletion of nodes registered there; launches go on, registration waits",
        Source::Server(..) => "this machine's next step",
    };
    let seen = match (source, more) {
        (Source::Server(..), 1..) => format!("{source} (and {more} more) was not seen: {answered}"),
        _ => format!("{source} was not seen: {answered}"),
    };
    let mut text = String::new();
    let mut add = |label: &str, role: Option<Role>, words: &str| {
        for (at, line) in wrap(&printable(words), style.width, LABEL, LABEL).into_iter().enumerate() {
            let lead = if at == 0 { format!("{label:<LABEL$}") } else { " ".repeat(LABEL) };
            let lead = role.filter(|_| at == 0).map_or(lead.clone(), |role| style.paint(role, &lead));
            let _ = writeln!(text, "{lead}{line}");
        }
    };
    add("gap:", Some(Role::Warning), &seen);
    add("  tried:", None, tried);
    add("  stops:", None, stops);
    if let Some(hint) = hint {
        add("  hint:", Some(Role::Hint), hint);
    }
    text
}

/// Columns before the words.
const LABEL: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(id: &str, answered: &str) -> Gap {
        let source = Source::Server("eqiad".into(), id.into());
        Gap { source, tried: "SSH to 10.68.16.2:22".to_owned(), answered: answered.to_owned(), hint: Some("look".to_owned()) }
    }

    #[test]
    fn a_request_id_makes_no_new_gap() {
        assert!(is_same(&gap("1", "HTTP 500, req-1)"), &gap("1", "HTTP 500, req-2)")));
        assert!(!is_same(&gap("1", "HTTP 500, req-1)"), &gap("1", "HTTP 503, req-1)")));
    }

    #[test]
    fn machines_with_one_reason_are_one_gap() {
        let gaps = [gap("0a1b2c3d-1", "no key"), gap("1a1b2c3d-2", "no key"), gap("2a1b2c3d-3", "timeout")];
        let expected = "\
gap:     server 0a1b2c3d in eqiad (and 1 more) was not seen: no key
  tried: SSH to 10.68.16.2:22
  stops: this machine's next step
  hint:  look
gap:     server 2a1b2c3d in eqiad was not seen: timeout
  tried: SSH to 10.68.16.2:22
  stops: this machine's next step
  hint:  look
";
        assert_eq!(gaps_text(&gaps, Style::plain()), expected);
    }
}
