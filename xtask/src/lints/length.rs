//! One noun a file: a file that has grown beyond this has more than one.

use super::sources::Source;

/// The most lines of a file; 300 is the aim.
const MOST: usize = 500;

pub(super) fn finding(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > MOST).then(|| format!("{}: {lines} lines; {MOST} is the most", source.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_named() {
        let source = |lines| Source {
            path: "a.rs".to_owned(),
            text: "x\n".repeat(lines),
        };
        assert!(finding(&source(MOST)).is_none());
        assert!(
            finding(&source(MOST + 1))
                .unwrap()
                .starts_with("a.rs: 501 lines")
        );
    }
}
