//! Tables of listings: aligned columns, no borders. The only door to comfy-table.

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::printable::printable;
use super::style::{Role, Style};

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

/// The last column takes what the others leave, but no less: lines that are too long are better than words a letter a line.
const NARROWEST: u16 = 16;

/// Those that a screen has room for.
fn fitting(columns: &[Column], rows: &[Vec<String>], style: Style) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|text| printable(text).chars().count());
        cells.chain(columns.get(at).map(|column| column.title.len())).max().unwrap_or_default()
    };
    let widths: Vec<usize> = kept.iter().map(|at| width(*at)).collect();
    let needed = |kept: &[usize]| -> usize {
        let last = kept.last().copied();
        let of = |at: &usize| {
            widths.get(*at).copied().map_or(0, |width| if Some(*at) == last { width.min(NARROWEST.into()) } else { width + 1 })
        };
        kept.iter().map(of).sum()
    };
    while style.fit && needed(&kept) > style.width {
        let drop = |at: &usize| columns.get(*at).map_or(0, |column| column.drop);
        let Some(least) = kept.iter().copied().max_by_key(drop).filter(|at| drop(at) > 0) else { break };
        kept.retain(|at| *at != least);
    }
    kept
}

/// Rows as text, with a line below them that names the columns for which there was no room.
pub fn table(columns: &[Column], rows: &[Vec<String>], style: Style) -> String {
    let kept = fitting(columns, rows, style);
    if kept.len() == columns.len() {
        return whole(columns, rows, style);
    }
    let dropped: Vec<&str> =
        columns.iter().enumerate().filter(|(at, _)| !kept.contains(at)).map(|(_, column)| column.title).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| kept.iter().filter_map(|at| row.get(*at).cloned()).collect()).collect();
    let columns: Vec<Column> = kept.iter().filter_map(|at| columns.get(*at).copied()).collect();
    let said = format!("no room for: {} (a wider terminal, or --format json)", dropped.join(", "));
    whole(&columns, &rows, style) + &style.paint(Role::Dim, &said) + "\n"
}

/// Rows as text, one line each where the width allows; without trailing blanks. Cells may hold text from outside.
fn whole(columns: &[Column], rows: &[Vec<String>], style: Style) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(style.width).unwrap_or(u16::MAX));
    let cell = |(text, column): (&str, &Column)| {
        Cell::new(printable(text)).set_alignment(if column.right { CellAlignment::Right } else { CellAlignment::Left })
    };
    table.set_header(columns.iter().map(|column| cell((column.title, column))));
    for row in rows {
        table.add_row(row.iter().map(String::as_str).zip(columns).map(cell));
    }
    let last = rows.iter().filter_map(|row| row.get(columns.len().checked_sub(1)?)).map(|text| text.chars().count());
    let widest = last.chain(columns.last().map(|column| column.title.len())).max().unwrap_or_default();
    let widest = u16::try_from(widest).unwrap_or(u16::MAX);
    for at in 0..columns.len() {
        if let Some(column) = table.column_mut(at) {
            column.set_padding((0, 1));
            column.set_constraint(if at + 1 < columns.len() {
                ColumnConstraint::ContentWidth
            } else {
                ColumnConstraint::LowerBoundary(Width::Fixed(widest.min(NARROWEST) + 1))
            });
        }
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_without_room_loses_the_least_telling_columns_and_says_so() {
        let columns = [left("node"), left("image").dropped(2), left("ip").dropped(1), left("jenkins")];
        let rows = [["n1", "snapshot-ci-jessie-1k2e", "10.68.16.2", "online, idle"].map(str::to_owned).to_vec()];
        let at = |width, fit| table(&columns, &rows, Style { colour: false, width, fit });
        let all = "node image                   ip         jenkins\nn1   snapshot-ci-jessie-1k2e 10.68.16.2 online, idle\n";
        assert_eq!(at(52, true), all);
        assert!(at(51, false).contains("image"), "whole where no screen is: {}", at(51, false));
        let said = |dropped| format!("no room for: {dropped} (a wider terminal, or --format json)\n");
        assert_eq!(at(51, true), "node ip         jenkins\nn1   10.68.16.2 online, idle\n".to_owned() + &said("image"));
        assert_eq!(at(20, true), "node jenkins\nn1   online, idle\n".to_owned() + &said("image, ip"));
    }

    #[test]
    fn the_last_column_is_never_squeezed_to_letters() {
        let rows = [vec!["a name of twenty-four ch".to_owned(), "its ready script, since a minute".to_owned()]];
        let text = table(&[left("node"), left("waits for")], &rows, Style { width: 20, ..Style::plain() });
        assert_eq!(
            text,
            "node                     waits for\na name of twenty-four ch its ready\n                         script, since a\n                         minute\n"
        );
    }
}
