//! The key `windows` of a cyclic table.

use crate::duration;
use crate::refusal::{Finding, Findings, Refused};
use crate::share::{LEAST, PERIODS};
use crate::table::{self, Table, wrong_type};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use spec::Nanos;
use toml::Spanned;
use toml::de::DeValue;

/// The keys of a window.
const KEYS: &[&str] = &["vm", "vcpu", "at", "length"];

const VM: &str = r#"vm = "nav""#;
const VCPU: &str = "vcpu = 0";
const AT: &str = r#"at = "0 ms""#;
const LENGTH: &str = r#"length = "4 ms""#;

/// One window as it was read.
pub(crate) struct Window {
    /// Its place in the file
    pub(crate) place: Range<usize>,
    /// The name of the VM
    pub(crate) vm: Spanned<String>,
    pub(crate) vcpu: Option<Spanned<u32>>,
    /// In nanoseconds
    pub(crate) at: u64,
    /// In nanoseconds
    pub(crate) length: u64,
}

impl Window {
    /// At most twice the longest duration that is taken.
    fn end(&self) -> u64 {
        self.at.saturating_add(self.length)
    }
}

/// Reads the key; `example` is a line that would be right.
pub(crate) fn read(
    value: &Spanned<DeValue<'_>>,
    example: &str,
    findings: &mut Findings,
) -> Result<Vec<Window>, Refused> {
    let Some(windows) = value.get_ref().as_array() else {
        return Err(wrong_type(
            value,
            "windows",
            "an array of tables",
            example,
            findings,
        ));
    };
    if windows.is_empty() {
        return Err(findings.add(
            Finding::new("a table needs a window", value.span())
                .label("this has none")
                .mend(format!("write `{example}`, or leave the whole table out")),
        ));
    }
    // All of them are looked at, so that all that is wrong is told at once.
    let windows = windows.iter().map(|value| window(value, example, findings));
    windows.collect::<Vec<_>>().into_iter().collect()
}

fn window(
    value: &Spanned<DeValue<'_>>,
    example: &str,
    findings: &mut Findings,
) -> Result<Window, Refused> {
    let DeValue::Table(keys) = value.get_ref() else {
        return Err(findings.add(
            Finding::new("each window must be a table", value.span())
                .label(format!("this is {}", table::type_of(value)))
                .mend(format!("write `{example}`")),
        ));
    };
    let elsewhere = (&[] as &[&str], "");
    let table = Table::new(keys, value.span(), "a window", KEYS, elsewhere, findings);
    let vm = match table.get("vm") {
        Some(value) => table::string(value, "vm", VM, findings)
            .map(|name| Spanned::new(value.span(), name.to_owned())),
        None => Err(missing(&table, "vm", VM, findings)),
    };
    let vcpu = table
        .get("vcpu")
        .map(|value| vcpu(value, findings))
        .transpose();
    let at = match table.get("at") {
        Some(value) => duration::read(value, "at", 0..=*PERIODS.end(), AT, findings),
        None => Err(missing(&table, "at", AT, findings)),
    };
    let length = match table.get("length") {
        Some(value) => duration::read(value, "length", LEAST..=*PERIODS.end(), LENGTH, findings),
        None => Err(missing(&table, "length", LENGTH, findings)),
    };
    Ok(Window {
        place: value.span(),
        vm: vm?,
        vcpu: vcpu?,
        at: at?.into_inner(),
        length: length?.into_inner(),
    })
}

fn missing(table: &Table<'_>, key: &str, example: &str, findings: &mut Findings) -> Refused {
    table.missing(key, findings, || {
        Finding::new(format!("`{key}` is missing in a window"), table.at.clone())
            .label(format!("this has no `{key}`"))
            .mend(format!("add `{example}`"))
    })
}

fn vcpu(value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Result<Spanned<u32>, Refused> {
    match table::integer(value, "vcpu", VCPU, findings)? {
        Some(vcpu) => Ok(Spanned::new(value.span(), vcpu)),
        None => Err(findings.add(
            Finding::new("invalid vCPU number", value.span())
                .label("this is out of range")
                .mend(format!("write a whole number from 0 on, such as `{VCPU}`")),
        )),
    }
}

/// Sorts the windows of one frame, and finds those that do not fit into it or beside each other.
pub(crate) fn fit(
    windows: &mut [Window],
    frame: &Spanned<u64>,
    findings: &mut Findings,
) -> Result<(), Refused> {
    windows.sort_by_key(|window| window.at);
    let mut refused = Ok(());
    let mut last: Option<&Window> = None;
    for window in windows.iter() {
        if window.end() > *frame.get_ref() {
            refused = Err(beyond(window, frame, findings));
        }
        if let Some(last) = last.filter(|last| last.end() > window.at) {
            refused = Err(overlap(last, window, findings));
        }
        if last.is_none_or(|last| last.end() < window.end()) {
            last = Some(window);
        }
    }
    refused
}

fn beyond(window: &Window, frame: &Spanned<u64>, findings: &mut Findings) -> Refused {
    let end = *frame.get_ref();
    let left = end.saturating_sub(window.at);
    findings.add(
        Finding::new("a window leaves its frame", window.place.clone())
            .label(sum(window))
            .related(frame.span(), "the frame")
            .mend(if left >= LEAST {
                format!("use a length of {} at most, or a longer frame", Nanos(left))
            } else {
                format!("begin before {}, or use a longer frame", Nanos(end))
            }),
    )
}

fn overlap(first: &Window, second: &Window, findings: &mut Findings) -> Refused {
    let (end, begin) = (Nanos(first.end()), Nanos(second.at));
    let room = second.at.saturating_sub(first.at);
    findings.add(
        Finding::new("two windows overlap", second.place.clone())
            .label(format!("begins at {begin}"))
            .related(first.place.clone(), format!("ends at {}", sum(first)))
            .mend(if room >= LEAST {
                format!(
                    "begin this one at {end} or later, or make the other {} long at most",
                    Nanos(room)
                )
            } else {
                format!("begin this one at {end} or later")
            }),
    )
}

/// Where a window ends.
fn sum(window: &Window) -> String {
    let (at, length, end) = (Nanos(window.at), Nanos(window.length), Nanos(window.end()));
    format!("{at} + {length} = {end}")
}
