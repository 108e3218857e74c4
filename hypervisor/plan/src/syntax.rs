//! What the TOML parser could not read, in words.

use crate::refusal::Finding;
use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;
use toml::de::{DeTable, Error};

/// The parser's errors as findings.
pub(crate) fn findings(text: &str, root: &DeTable<'_>, errors: &[Error]) -> Vec<Finding> {
    errors
        .iter()
        .map(|error| finding(text, root, error))
        .collect()
}

fn finding(text: &str, root: &DeTable<'_>, error: &Error) -> Finding {
    let at = error.span().unwrap_or(0..0);
    if error.message() == "duplicate key" {
        let finding = Finding::new("a key is given twice", at.clone())
            .label("here again")
            .mend("keep one of the two lines");
        return match first(root, &at, text) {
            Some(first) => finding.related(first, "first here"),
            None => finding,
        };
    }
    let (what, wanted) = error
        .message()
        .split_once(", expected ")
        .unwrap_or((error.message(), ""));
    let finding = Finding::new(what, at).label("here");
    finding.mend(match wanted {
        "" => "see https://toml.io for how a config is written".into(),
        wanted => format!("expected {wanted}"),
    })
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
