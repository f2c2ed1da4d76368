//! Tables of listings: aligned columns, no borders. The only door to comfy-table.

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::printable::printable;
use super::style::{Role, Style, cells};

/// A column's title, and whether it holds numbers.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub title: &'static str,
    pub right: bool,
    /// Where a screen has no room for all, the one with the highest number goes first; those with 0 stay.
    pub drop: u8,
}

impl Column {
    #[must_use]
    pub const fn dropped(self, drop: u8) -> Self {
        Self { drop, ..self }
    }
}

pub const fn left(title: &'static str) -> Column {
    Column { title, right: false, drop: 0 }
}

pub const fn right(title: &'static str) -> Column {
    Column { title, right: true, drop: 0 }
}

/// The last column takes what the others leave, but no less: lines that are too long are better than words a letter a line. No
/// other column is folded to less, either.
const NARROWEST: usize = 16;

/// Rows as text. On a screen what has no room is left out, by `Column::drop`, and named below; where that is not enough the widest
/// columns are folded. Elsewhere it is whole, a line a row.
pub fn table(columns: &[Column], rows: &[Vec<String>], style: Style) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|text| printable(text)).collect()).collect();
    if !style.fit {
        return drawn(columns, &rows, None);
    }
    let mut widths: Vec<usize> = (0..columns.len()).map(|at| width(columns, &rows, at)).collect();
    let (kept, dropped) = fitting(columns, &widths, style.width);
    let of = |all: &[usize]| -> Vec<usize> { kept.iter().filter_map(|at| all.get(*at).copied()).collect() };
    widths = narrowed(of(&widths), style.width);
    let columns_kept: Vec<Column> = kept.iter().filter_map(|at| columns.get(*at).copied()).collect();
    let last = kept.len().saturating_sub(1);
    let cell = |row: &[String], (nth, at): (usize, &usize)| {
        let text = row.get(*at).map_or("", String::as_str);
        // The library folds the last one, at blanks.
        widths.get(nth).filter(|_| nth < last).map_or_else(|| text.to_owned(), |width| pieces(text, *width))
    };
    let rows: Vec<Vec<String>> = rows.iter().map(|row| kept.iter().enumerate().map(|at| cell(row, at)).collect()).collect();
    let text = drawn(&columns_kept, &rows, Some((style.width, widths.last().copied().unwrap_or_default())));
    if dropped.is_empty() {
        return text;
    }
    let where_else = if style.json { ", or --format json" } else { "" };
    let said = format!("no room for: {} (a wider terminal{where_else})", dropped.join(", "));
    text + &style.paint(Role::Dim, &said) + "\n"
}

/// Of a column as it is, in cells of a terminal.
fn width(columns: &[Column], rows: &[Vec<String>], at: usize) -> usize {
    let texts = rows.iter().filter_map(|row| row.get(at)).map(|text| cells(text));
    texts.chain(columns.get(at).map(|column| cells(column.title))).max().unwrap_or_default()
}

/// Those that a screen has room for, and the titles of the others.
fn fitting(columns: &[Column], widths: &[usize], screen: usize) -> (Vec<usize>, Vec<&'static str>) {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let needed = |kept: &[usize]| -> usize {
        let last = kept.last().copied();
        let of = |at: &usize| {
            widths.get(*at).copied().map_or(0, |width| if Some(*at) == last { width.min(NARROWEST) } else { width + 1 })
        };
        kept.iter().map(of).sum()
    };
    while needed(&kept) > screen {
        let drop = |at: &usize| columns.get(*at).map_or(0, |column| column.drop);
        let Some(least) = kept.iter().copied().max_by_key(drop).filter(|at| drop(at) > 0) else { break };
        kept.retain(|at| *at != least);
    }
    let dropped = columns.iter().enumerate().filter(|(at, _)| !kept.contains(at)).map(|(_, column)| column.title).collect();
    (kept, dropped)
}

/// The widest are made narrower, but for the last, until all have room.
fn narrowed(mut widths: Vec<usize>, screen: usize) -> Vec<usize> {
    let Some((last, others)) = widths.split_last_mut() else { return widths };
    let room = screen.saturating_sub((*last).min(NARROWEST) + others.len());
    while others.iter().sum::<usize>() > room {
        let Some(widest) = others.iter_mut().max_by_key(|width| **width).filter(|width| **width > NARROWEST) else { break };
        *widest -= 1;
    }
    widths
}

/// In lines of at most so many cells: behind a sign that parts a name where there is one, else anywhere. Put together they are the
/// whole.
fn pieces(text: &str, width: usize) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while cells(rest) > width {
        let (mut used, mut end, mut parted) = (0, 0, 0);
        for (at, c) in rest.char_indices() {
            used += cells(c.encode_utf8(&mut [0; 4]));
            if used > width && end > 0 {
                break;
            }
            end = at + c.len_utf8();
            if "-_./: ".contains(c) {
                parted = end;
            }
        }
        let (piece, more) = rest.split_at(if parted > 0 { parted } else { end });
        out += piece;
        if !more.is_empty() {
            out.push('\n');
        }
        rest = more;
    }
    out + rest
}

/// Aligned, without trailing blanks. `screen`: its width, and that of the last column's longest text, which is folded there.
fn drawn(columns: &[Column], rows: &[Vec<String>], screen: Option<(usize, usize)>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let narrow = |width: usize| u16::try_from(width).unwrap_or(u16::MAX);
    table.set_content_arrangement(match screen {
        Some(_) => ContentArrangement::Dynamic,
        None => ContentArrangement::Disabled,
    });
    if let Some((width, _)) = screen {
        table.set_width(narrow(width));
    }
    let cell = |(text, column): (&str, &Column)| {
        Cell::new(text).set_alignment(if column.right { CellAlignment::Right } else { CellAlignment::Left })
    };
    table.set_header(columns.iter().map(|column| cell((column.title, column))));
    for row in rows {
        table.add_row(row.iter().map(String::as_str).zip(columns).map(cell));
    }
    for at in 0..columns.len() {
        if let Some(column) = table.column_mut(at) {
            column.set_padding((0, 1));
            match screen {
                Some((_, widest)) if at + 1 == columns.len() => {
                    column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(narrow(widest.min(NARROWEST)) + 1)));
                }
                Some(_) => {
                    column.set_constraint(ColumnConstraint::ContentWidth);
                }
                None => {}
            }
        }
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(width: usize) -> Style {
        Style { width, fit: true, ..Style::plain() }
    }

    #[test]
    fn a_screen_without_room_loses_the_least_telling_columns_and_says_so() {
        let columns = [left("node"), left("image").dropped(2), left("ip").dropped(1), left("jenkins")];
        let rows = [["n1", "snapshot-ci-jessie-1k2e", "10.68.16.2", "online, idle"].map(str::to_owned).to_vec()];
        let at = |width| table(&columns, &rows, screen(width));
        let all = "node image                   ip         jenkins\nn1   snapshot-ci-jessie-1k2e 10.68.16.2 online, idle\n";
        assert_eq!(at(52), all);
        let said = |dropped| format!("no room for: {dropped} (a wider terminal)\n");
        assert_eq!(at(51), "node ip         jenkins\nn1   10.68.16.2 online, idle\n".to_owned() + &said("image"));
        assert_eq!(at(20), "node jenkins\nn1   online, idle\n".to_owned() + &said("image, ip"));
        let json = table(&columns, &rows, screen(20).with_json());
        assert!(json.ends_with("no room for: image, ip (a wider terminal, or --format json)\n"), "{json}");
    }

    #[test]
    fn where_no_screen_is_a_row_is_a_line() {
        let rows = [["n1", "a word and another, "].map(|text| text.repeat(5)).to_vec()];
        let text = table(&[left("node"), left("waits for")], &rows, Style { width: 20, ..Style::plain() });
        assert_eq!(text, format!("node       waits for\nn1n1n1n1n1 {}\n", "a word and another, ".repeat(5).trim_end()));
    }

    #[test]
    fn the_last_column_is_never_squeezed_to_letters() {
        let rows = [vec!["a name of twenty-four ch".to_owned(), "its ready script, since a minute".to_owned()]];
        let text = table(&[left("node"), left("waits for")], &rows, screen(41));
        assert_eq!(
            text,
            "node                     waits for\na name of twenty-four ch its ready\n                         script, since a\n                         minute\n"
        );
    }

    /// Two lines, and put together each is the whole name.
    #[test]
    fn the_widest_column_is_folded_where_leaving_out_is_not_enough() {
        let rows = [["ci-debian-12-amd64-with-docker-1k2f9a0-000", "3", "ready"], ["short", "12", "busy"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let text = table(&[left("node"), right("age"), left("state")], &rows, screen(40));
        assert_eq!(
            text,
            "node                     age state\nci-debian-12-amd64-with-   3 ready\ndocker-1k2f9a0-000\nshort                     12 busy\n"
        );
        assert_eq!(pieces("ci-debian-12", 5), "ci-\ndebia\nn-12");
        assert_eq!(pieces("日本語", 1), "日\n本\n語", "what is wider than a line ends all the same");
    }

    #[test]
    fn columns_stand_below_each_other_whatever_letters_are_wide() {
        let rows = [["日本語-ci", "x"], ["ci", "y"]].map(|row| row.map(str::to_owned).to_vec());
        let columns = [left("image"), left("s")];
        let expected = "image     s\n日本語-ci x\nci        y\n";
        assert_eq!(table(&columns, &rows, Style::plain()), expected);
        assert_eq!(table(&columns, &rows, screen(11)), expected);
    }
}
