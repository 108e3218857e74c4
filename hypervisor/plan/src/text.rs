//! Bytes of the config file to text.

use crate::refusal::{Finding, Refusal};
use alloc::string::String;
use alloc::{format, vec};

/// Longest config that is read, in bytes: a few hundred VMs. It bounds what a hostile file costs, since the
/// parser keeps some hundred bytes for each byte that it cannot read.
pub const MAX_TEXT: usize = 64 << 10;

/// The text of a config file, without the byte order mark that some editors put first.
///
/// # Errors
/// More than [`MAX_TEXT`] bytes, or not UTF-8.
pub fn text<'a>(bytes: &'a [u8], file_name: &str) -> Result<&'a str, Refusal> {
    if bytes.len() > MAX_TEXT {
        return Err(too_long(file_name));
    }
    match core::str::from_utf8(bytes) {
        Ok(text) => Ok(unmarked(text)),
        Err(error) => {
            let at = error.valid_up_to();
            let bad = bytes.get(at).copied().unwrap_or(0);
            let finding = Finding::new("the file is not UTF-8 text", at..at.saturating_add(1))
                .label(format!("the byte {bad:#04x} does not belong here"))
                .mend("save the file as plain text in UTF-8");
            // The lossy text is the file up to the first bad byte, so `at` is the same place in both.
            Err(Refusal::new(
                file_name,
                &String::from_utf8_lossy(bytes),
                vec![finding],
            ))
        }
    }
}

/// The text without a byte order mark.
pub(crate) fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Says no length: a caller may have stopped reading.
pub(crate) fn too_long(file_name: &str) -> Refusal {
    let finding = Finding::new(format!("the file is longer than {MAX_TEXT} bytes"), 0..0)
        .mend("a config is a few lines of text: is this the right file?");
    Refusal::new(file_name, "", vec![finding])
}
