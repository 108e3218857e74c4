//! The nearest right word for a misspelt one.

use alloc::vec::Vec;

/// Longer than any word of ours; bounds the work on what was typed.
const LONGEST: usize = 40;

/// The word that was probably meant: one that begins so, or differs in few letters.
pub(crate) fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    words
        .filter(|right| right.len() <= LONGEST)
        .map(|right| {
            let begins = word.len() >= 2 && right.starts_with(word);
            let distance = distance(word.as_bytes(), right.as_bytes());
            (if begins { 0 } else { distance }, right)
        })
        .filter(|(distance, right)| *distance <= (right.len() / 3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, right)| right)
}

/// Least number of letters put in, left out, replaced, or swapped with their neighbours, that turn `a` into `b`.
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "rows of one more than `b` has, one more than `a` has, for words of 40 letters at most"
)]
fn distance(a: &[u8], b: &[u8]) -> usize {
    // For each beginning of `a`, how far it is from each beginning of `b`.
    let mut rows: Vec<Vec<usize>> = Vec::with_capacity(a.len() + 1);
    rows.push((0..=b.len()).collect());
    for (i, x) in a.iter().enumerate() {
        let last = &rows[i];
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            let least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            let swapped = i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y;
            row.push(if swapped {
                least.min(rows[i - 1][j - 1] + 1)
            } else {
                least
            });
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_mended_and_a_stranger_is_not() {
        let near = |word| {
            nearest(
                word,
                ["list", "start", "stop", "stats", "resume"].into_iter(),
            )
        };
        assert_eq!(near("lsit"), Some("list"));
        assert_eq!(near("strat"), Some("start"));
        assert_eq!(near("stat"), Some("stats"));
        assert_eq!(near("res"), Some("resume"));
        assert_eq!(near("format"), None);
        assert_eq!(near(""), None);
        assert_eq!(near("a-word-that-is-longer-than-any-name-can-be"), None);
    }

    #[test]
    fn distances_are_those_of_optimal_string_alignment() {
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"abc", b""), 3);
        assert_eq!(distance(b"ab", b"ba"), 1);
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"ca", b"abc"), 3);
    }
}
