//! Tables of listings: aligned columns, no borders. The only door to comfy-table.

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::printable::printable;
use super::style::Style;

/// A column's title, and whether it holds numbers.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub title: &'static str,
    pub right: bool,
}

pub const fn left(title: &'static str) -> Column {
    Column { title, right: false }
}

pub const fn right(title: &'static str) -> Column {
    Column { title, right: true }
}

/// The last column takes what the others leave, but no less: lines that are too long are better than words a letter a line.
const NARROWEST: u16 = 16;

/// Rows as text, one line each where the width allows; without trailing blanks. Cells may hold text from outside.
pub fn table(columns: &[Column], rows: &[Vec<String>], style: Style) -> String {
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
    fn the_last_column_is_never_squeezed_to_letters() {
        let rows = [vec!["a name of twenty-four ch".to_owned(), "its ready script, since a minute".to_owned()]];
        let text = table(&[left("node"), left("waits for")], &rows, Style { colour: false, width: 20 });
        assert_eq!(
            text,
            "node                     waits for\na name of twenty-four ch its ready\n                         script, since a\n                         minute\n"
        );
    }
}
