//! Tables of listings: aligned columns, no borders. The only door to comfy-table.

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

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
    for at in 0..columns.len() {
        if let Some(column) = table.column_mut(at) {
            column.set_padding((0, 1));
            if at + 1 < columns.len() {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}
