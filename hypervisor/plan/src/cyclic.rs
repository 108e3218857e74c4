//! The `[[cyclic]]` tables: each gives the time of one core away in windows.

use crate::duration;
use crate::model::Spare;
use crate::refusal::{Finding, Findings, Refused};
use crate::table::{self, Table, wrong_type};
use crate::windows::{self, Window};
use crate::{share, vm};
use alloc::vec::Vec;
use core::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The keys of `[[cyclic]]`, in the order in which they are documented.
const KEYS: &[&str] = &["core", "frame", "spare", "windows"];
/// Keys that are not among them because they belong below `[[vm]]`.
const OF_A_VM: (&[&str], &str) = (vm::KEYS, "write it below the `[[vm]]` that it is for");

const CORE: &str = "core = 1";
const FRAME: &str = r#"frame = "10 ms""#;
const WINDOWS: &str = r#"windows = [{ vm = "nav", at = "0 ms", length = "4 ms" }]"#;
const SPARE: &[(&str, Spare)] = &[("idle", Spare::Idle), ("pool", Spare::Pool)];

/// One table as it was read; its windows lie inside the frame, sorted, and do not overlap.
pub(crate) struct Read {
    pub(crate) core: Spanned<u32>,
    pub(crate) frame: u64,
    pub(crate) spare: Spare,
    pub(crate) windows: Vec<Window>,
}

/// Reads the one whose header is at `at`.
pub(crate) fn read(
    keys: &DeTable<'_>,
    at: Range<usize>,
    findings: &mut Findings,
) -> Result<Read, Refused> {
    let table = Table::new(keys, at, "[[cyclic]]", KEYS, OF_A_VM, findings);
    let core = match table.get("core") {
        Some(value) => core(value, findings),
        None => Err(table.missing_line("core", CORE, findings)),
    };
    let frame = match table.get("frame") {
        Some(value) => duration::read(value, "frame", share::PERIODS, FRAME, findings),
        None => Err(table.missing_line("frame", FRAME, findings)),
    };
    let spare = table
        .get("spare")
        .map(|value| table::choice(value, "spare", SPARE, findings))
        .transpose();
    let windows = match table.get("windows") {
        Some(value) => windows::read(value, WINDOWS, findings),
        None => Err(table.missing_line("windows", WINDOWS, findings)),
    };
    let (frame, mut windows) = (frame?, windows?);
    windows::fit(&mut windows, &frame, findings)?;
    Ok(Read {
        core: core?,
        frame: frame.into_inner(),
        spare: spare?.unwrap_or_default(),
        windows,
    })
}

fn core(value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Result<Spanned<u32>, Refused> {
    if value.get_ref().is_array() {
        return Err(wrong_type(
            value,
            "core",
            "an integer: a table is for one core",
            CORE,
            findings,
        ));
    }
    match table::integer(value, "core", CORE, findings)? {
        Some(core) => Ok(Spanned::new(value.span(), core)),
        None => Err(findings.add(
            Finding::new("invalid core number", value.span())
                .label("this is out of range")
                .mend(alloc::format!(
                    "write a whole number from 0 on, such as `{CORE}`"
                )),
        )),
    }
}
