//! The table for a person.

use super::{Results, Row, row};
use comfy_table::{Cell, CellAlignment, Table, presets};

/// The table with its heading.
pub(super) fn of(results: &Results) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["", "in ticks", "CPUs", "Bulkhead", "bare", "ratio"]);
    for (row, (_, words)) in results.rows.iter().zip(row::KINDS) {
        let mut cells = vec![Cell::new(row.name), Cell::new(words)];
        let numbers = [
            number(row.cpus.map(u64::from)),
            number(row.bulkhead),
            number(row.bare),
            ratio(row),
        ];
        cells.extend(numbers.map(|text| Cell::new(text).set_alignment(CellAlignment::Right)));
        table.add_row(cells);
    }
    format!("CPU model {}\n{table}", results.cpu_model)
}

/// In groups of three digits; what was not measured is a dash.
fn number(ticks: Option<u64>) -> String {
    let Some(ticks) = ticks else {
        return "-".to_owned();
    };
    let digits = ticks.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// How many times what it costs on the bare machine; nothing where that is no time at all.
fn ratio(row: &Row) -> String {
    match (row.bulkhead, row.bare) {
        (Some(bulkhead), Some(bare)) if bare > 0 => format!("{:.2}", bulkhead as f64 / bare as f64),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_445_000_000, "1,445,000,000"),
        ];
        for (ticks, text) in cases {
            assert_eq!(number(Some(ticks)), text);
        }
        assert_eq!(number(None), "-");
    }

    #[test]
    fn there_is_no_ratio_to_nothing() {
        let row = |bulkhead, bare| Row {
            name: "eoi",
            cpus: None,
            bulkhead,
            bare,
        };
        assert_eq!(ratio(&row(Some(300), Some(200))), "1.50");
        assert_eq!(ratio(&row(Some(300), Some(0))), "-");
        assert_eq!(ratio(&row(None, Some(200))), "-");
    }
}
