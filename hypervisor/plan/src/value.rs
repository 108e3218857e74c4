//! The values that stand for themselves: name, command line, memory.

use crate::excerpt::quoted;
use crate::refusal::{Finding, Findings, Refused};
use crate::table::{self, wrong_type};
use crate::units::{self, Bytes, Wrong};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use toml::Spanned;
use toml::de::DeValue;

/// Longest name, in characters.
const MAX_NAME: usize = 31;
/// Longest command line, in bytes without the NUL: COMMAND_LINE_SIZE of x86 Linux is 2048.
const MAX_CMDLINE: usize = 2047;
/// Step and least amount of memory: the pages with which nested tables map it.
pub(crate) const MEMORY_STEP: u64 = 2 << 20;
/// Most memory of one VM: beyond it is a typing error rather than a wish.
const MAX_MEMORY: u64 = 1 << 40;

const NAME: &str = r#"name = "debian""#;
const CMDLINE: &str = r#"cmdline = "console=ttyS0""#;
const MEMORY: &str = r#"memory = "256 MiB""#;

/// The name of a VM.
pub(crate) fn name(
    value: &Spanned<DeValue<'_>>,
    findings: &mut Findings,
) -> Result<Spanned<String>, Refused> {
    let name = table::string(value, "name", NAME, findings)?;
    let bad = name
        .chars()
        .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-'));
    let label = match bad {
        Some(bad) => format!("`{}` is not allowed in a name", bad.escape_default()),
        None if name.is_empty() => "this is empty".to_owned(),
        None if name.len() > MAX_NAME => format!("this has {} characters", name.len()),
        None => return Ok(Spanned::new(value.span(), name.to_owned())),
    };
    Err(findings.add(
        Finding::new(
            format!("invalid VM name \"{}\"", quoted(name)),
            value.span(),
        )
        .label(label)
        .mend(format!(
            "use 1 to {MAX_NAME} characters out of a-z, 0-9 and `-`, such as \"debian-1\""
        )),
    ))
}

/// The kernel's command line.
pub(crate) fn cmdline(
    value: &Spanned<DeValue<'_>>,
    findings: &mut Findings,
) -> Result<String, Refused> {
    let text = table::string(value, "cmdline", CMDLINE, findings)?;
    let finding = match text.chars().find(|c| !matches!(c, ' '..='~')) {
        None if text.len() <= MAX_CMDLINE => return Ok(text.to_owned()),
        None => Finding::new("the command line is too long", value.span())
            .label(format!("this has {} bytes", text.len()))
            .mend(format!(
                "a Linux kernel takes {MAX_CMDLINE} bytes at most: shorten it"
            )),
        Some(bad) => Finding::new("a command line is printable ASCII", value.span())
            .label(format!("this contains `{}`", bad.escape_default()))
            .mend("leave it out; separate parameters with spaces"),
    };
    Err(findings.add(finding))
}

/// The RAM of a VM, in bytes.
pub(crate) fn memory(
    value: &Spanned<DeValue<'_>>,
    findings: &mut Findings,
) -> Result<Spanned<u64>, Refused> {
    let wrong = match value.get_ref() {
        DeValue::String(text) => match units::amount(text) {
            Ok(bytes) => match refusable(bytes) {
                None => return Ok(Spanned::new(value.span(), bytes)),
                Some(wrong) => wrong,
            },
            Err(wrong) => wrong,
        },
        DeValue::Integer(number) => match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Wrong {
                what: "the unit is missing",
                mend: Some(units::meant(number)),
            },
            Err(_) => Wrong {
                what: "this is out of range",
                mend: None,
            },
        },
        _ => {
            return Err(wrong_type(
                value,
                "memory",
                "an amount of memory",
                MEMORY,
                findings,
            ));
        }
    };
    // Mends are guesses from the text: only one that would be taken is worth showing.
    let right = |mend: &String| units::amount(mend).is_ok_and(|bytes| refusable(bytes).is_none());
    let finding = Finding::new("invalid memory size", value.span()).label(wrong.what);
    Err(findings.add(match wrong.mend.filter(right) {
        Some(mend) => finding.mend(format!("write `memory = \"{mend}\"`")),
        None => finding.mend(format!(
            "use a multiple of {}, at most {}, such as `{MEMORY}`",
            Bytes(MEMORY_STEP),
            Bytes(MAX_MEMORY)
        )),
    }))
}

/// Why a VM cannot have this much memory, if it cannot.
fn refusable(bytes: u64) -> Option<Wrong> {
    let what = match bytes {
        0 => "a VM needs memory",
        _ if bytes > MAX_MEMORY => "this is too much",
        _ if !bytes.is_multiple_of(MEMORY_STEP) => "this is not a multiple of 2 MiB",
        _ => return None,
    };
    Some(Wrong {
        what,
        mend: bytes
            .checked_next_multiple_of(MEMORY_STEP)
            .map(|n| format!("{}", Bytes(n))),
    })
}
