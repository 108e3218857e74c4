//! Help, from the table of commands.

use super::forms::{FORMS, Form};
use alloc::format;
use alloc::string::String;

/// The list of commands, in lines.
#[must_use]
pub fn help() -> String {
    let width = FORMS.iter().map(|form| form.usage().len()).max();
    let width = width.unwrap_or(0);
    let mut text: String = FORMS
        .iter()
        .map(|form| format!("{:width$}  {}\n", form.usage(), form.does))
        .collect();
    text.push_str("The word `vm` may be left out.\n");
    text
}

/// What there is to know of one command, in lines.
pub(super) fn of(form: &Form) -> String {
    let mut text = format!("{}: {}.\n", form.usage(), form.does);
    if !form.more.is_empty() {
        text.push_str(form.more);
        text.push('\n');
    }
    text
}
