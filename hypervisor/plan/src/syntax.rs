//! What the TOML parser could not read, in words.

use crate::excerpt::quoted;
use crate::refusal::Finding;
use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;
use toml::de::{DeTable, Error};

/// The parser's errors as findings, the first of each line: the rest follow from it.
pub(crate) fn findings(text: &str, root: &DeTable<'_>, errors: &[Error]) -> Vec<Finding> {
    let mut end_of_line = 0;
    let mut findings = Vec::new();
    for error in errors {
        let at = error.span().unwrap_or(0..0);
        if findings.is_empty() || at.start >= end_of_line {
            let rest = text.get(at.start..).unwrap_or("");
            let rest = rest.split_inclusive('\n').next().map_or(0, str::len);
            end_of_line = at.start.saturating_add(rest);
            findings.push(finding(text, root, error.message(), at));
        }
    }
    findings
}

fn finding(text: &str, root: &DeTable<'_>, message: &str, at: Range<usize>) -> Finding {
    let (what, wanted) = message.split_once(", expected ").unwrap_or((message, ""));
    let finding = Finding::new(what, at.clone());
    match (what, wanted) {
        ("duplicate key", _) => {
            let finding = finding.label("given again").mend("keep one of the two");
            match first(root, &at, text) {
                Some(first) => finding.related(first, "first given here"),
                None => finding,
            }
        }
        ("string values must be quoted", _) => {
            let value = text.get(at).unwrap_or("");
            finding
                .label("no quotes")
                .mend(format!("write \"{}\"", quoted(value)))
        }
        (_, "nothing") => finding.label("too much").mend("remove it"),
        (_, "") => finding
            .label("not TOML")
            .mend("see https://toml.io for the syntax of this file"),
        (_, wanted) => finding.label("not TOML").mend(format!("expected {wanted}")),
    }
}

/// The place where the key at `again` was given first: the last like it before, since a table's keys stand
/// together. A config has tables in the root and in the lists there, no deeper.
fn first(root: &DeTable<'_>, again: &Range<usize>, text: &str) -> Option<Range<usize>> {
    let key = text.get(again.clone())?.trim_matches(['"', '\'']);
    let lists = root
        .values()
        .filter_map(|value| value.get_ref().as_array())
        .flat_map(|list| list.iter());
    let tables = root
        .values()
        .chain(lists)
        .filter_map(|value| value.get_ref().as_table());
    core::iter::once(root)
        .chain(tables)
        .filter_map(|table| Some(table.get_key_value(key)?.0.span()))
        .filter(|first| first.start < again.start)
        .max_by_key(|first| first.start)
}
