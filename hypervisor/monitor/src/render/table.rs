//! Columns of text.

use alloc::string::String;
use alloc::vec::Vec;

/// The side of its column on which a text stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Left,
    Right,
}

/// Rows of `N` columns under their headings.
pub(super) struct Table<const N: usize> {
    sides: [Side; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(columns: &[(&str, Side); N]) -> Self {
        let mut table = Self {
            sides: columns.map(|(_, side)| side),
            rows: Vec::new(),
        };
        table.row(columns.map(|(heading, _)| heading.into()));
        table
    }

    pub(super) fn row(&mut self, row: [String; N]) {
        self.rows.push(row);
    }

    /// In lines, with two spaces between columns and none at the end.
    pub(super) fn text(&self) -> String {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let start = text.len();
            for ((cell, width), side) in row.iter().zip(widths).zip(self.sides) {
                let gap = if text.len() == start { "" } else { "  " };
                text.push_str(gap);
                let fill = width.saturating_sub(cell.chars().count());
                let fill = core::iter::repeat_n(' ', fill);
                match side {
                    Side::Left => {
                        text.push_str(cell);
                        text.extend(fill);
                    }
                    Side::Right => {
                        text.extend(fill);
                        text.push_str(cell);
                    }
                }
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }
}
