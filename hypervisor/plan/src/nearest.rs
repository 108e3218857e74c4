//! The nearest right word for a misspelt one.

use alloc::vec;
use alloc::vec::Vec;

/// The word nearest to `word`, if one is near enough to have been meant.
pub(crate) fn nearest<'a>(word: &str, words: &[&'a str]) -> Option<&'a str> {
    // Longer than any word of ours by far; also bounds the work on a hostile text.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_ascii_lowercase();
    if let Some(whole) = words
        .iter()
        .find(|w| word.len() >= 3 && w.starts_with(&word))
    {
        return Some(whole);
    }
    words
        .iter()
        .map(|w| (distance(word.as_bytes(), w.as_bytes()), *w))
        .min()
        .filter(|(distance, w)| *distance <= (w.len() / 3).max(1))
        .map(|(_, w)| w)
}

/// Least number of insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`: the
/// optimal string alignment distance. (`strsim` has it too, but needs `std`.)
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "rows of one more than `b` has, for words of 64 letters at most"
)]
fn distance(a: &[u8], b: &[u8]) -> usize {
    // Rows of the table for the last two bytes of `a` and the present one.
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, y) in b.iter().enumerate() {
            row[j + 1] = (last[j] + usize::from(x != y))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = core::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_mended_and_a_stranger_is_not() {
        let words = [
            "name", "kernel", "format", "load", "start", "initrd", "cmdline", "memory",
        ];
        let near = |word| nearest(word, &words);
        assert_eq!(near("kernal"), Some("kernel"));
        assert_eq!(near("kernle"), Some("kernel"));
        assert_eq!(near("Memory"), Some("memory"));
        assert_eq!(near("mem"), Some("memory"));
        assert_eq!(near("initramfs"), None);
        assert_eq!(near("initrs"), Some("initrd"));
        assert_eq!(near("disk"), None);
        assert_eq!(near(""), None);
        assert_eq!(near(&"m".repeat(100)), None);
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
