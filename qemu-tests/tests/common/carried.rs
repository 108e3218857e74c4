//! Who carries the local APICs of a VM, and what it still exits for, by the answers to `vm stats`.
#![allow(dead_code, reason = "not every target uses all of it")]

use anyhow::{Context, Result, ensure};
use proto::VmStatistics;
use qemu_tests::{Answer, Outcome};
use std::collections::BTreeMap;

/// A CPU model with posted interrupts too.
pub(crate) const WITH_POSTING: &str = "corei7_skylake_x";

/// The carriers, as the config has them.
pub(crate) const SOFTWARE: &str = "software";
pub(crate) const ACCELERATED: &str = "accelerated";
pub(crate) const DIRECT: &str = "direct";

/// The answers to `vm stats NAME`, in their order.
pub(crate) fn statistics<'a>(outcome: &'a Outcome, vm: &str) -> Vec<&'a VmStatistics> {
    let answers = outcome.answers.iter();
    answers
        .filter_map(|answer| match answer {
            Answer::Statistics(found) if found.vm == vm => Some(found),
            _ => None,
        })
        .collect()
}

/// Whether all vCPUs of a VM were carried so at the last answer.
pub(crate) fn carried_by(outcome: &Outcome, vm: &str, carrier: &str) -> Result<()> {
    let all = statistics(outcome, vm);
    let last = all
        .last()
        .with_context(|| format!("no statistics of {vm}: {:?}", outcome.answers))?;
    for vcpu in &last.vcpus {
        ensure!(
            vcpu.carrier == carrier,
            "vCPU {} of {vm} is carried by {}, not {carrier}\n{:?}\n{}",
            vcpu.vcpu,
            vcpu.carrier,
            counts(last),
            outcome.tail()
        );
    }
    Ok(())
}

/// How many exits of each kind the vCPUs of a VM have had: by vCPU and kind.
pub(crate) fn counts(statistics: &VmStatistics) -> BTreeMap<(u32, String), u64> {
    let vcpus = statistics.vcpus.iter();
    vcpus
        .flat_map(|vcpu| {
            vcpu.rows
                .iter()
                .map(|row| ((vcpu.vcpu, row.kind.clone()), row.count))
        })
        .collect()
}

/// What was added between two answers, where something was.
pub(crate) fn added(before: &VmStatistics, after: &VmStatistics) -> BTreeMap<(u32, String), u64> {
    let before = counts(before);
    let after = counts(after).into_iter();
    after
        .map(|(kind, count)| {
            let had = before.get(&kind).copied().unwrap_or(0);
            (kind, count - had)
        })
        .filter(|(_, more)| *more > 0)
        .collect()
}

/// Whether a guest has tried all its claims and all hold, by its console.
pub(crate) fn holds_on_console(outcome: &Outcome, vm: usize) -> Result<()> {
    let console = outcome.consoles.get(&vm).map_or("", String::as_str);
    let failed: Vec<&str> = console
        .lines()
        .filter(|line| line.starts_with("guest: fail") || line.starts_with("guest: done early"))
        .collect();
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    let count = outcome.expect_console(vm, r"^guest: claims (\d+)$")?;
    let done = outcome.expect_console(vm, r"^guest: done passed=(\d+) failed=0$")?;
    ensure!(
        count[1] == done[1],
        "{} of {} claims were tried",
        &done[1],
        &count[1]
    );
    Ok(())
}
