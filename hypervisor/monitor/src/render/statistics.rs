//! Exit statistics as tables.

use super::table::{Side, Table};
use super::units;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Reverse;
use proto::{Breach, ExitRow, VcpuStatistics, VmStatistics};
use spec::Hz;

/// Kinds of breaches that are shown: more than a machine has.
const SHOWN: usize = 32;

/// A table for each vCPU.
pub(super) fn render(statistics: &VmStatistics) -> String {
    let name = units::printable(&statistics.vm);
    let mut text = String::new();
    for vcpu in &statistics.vcpus {
        text.push_str(&format!(
            "{name}, vCPU {} on core {}:\n",
            vcpu.vcpu, vcpu.core
        ));
        text.push_str(&carried(vcpu, statistics.tsc));
        if vcpu.rows.is_empty() {
            text.push_str("no exits\n");
        } else {
            text.push_str(&table(vcpu));
        }
    }
    if statistics.vcpus.is_empty() {
        text = format!("{name} has not run.\n");
    } else {
        text.push_str(&format!(
            "Ticks of {} MHz. The histogram goes from 2^a to 2^b ticks, as a..b says; each mark is a power of two,\n\
             `.` for few exits and `#` for the most.\n",
            statistics.tsc.0 / 1_000_000
        ));
    }
    text
}

/// Who carries its local APIC, how long it has made no exit, and how its promise to make none stands.
fn carried(vcpu: &VcpuStatistics, tsc: Hz) -> String {
    let mut text = format!(
        "local APIC {}, exits: 0 since {}\n",
        units::word(&vcpu.carrier),
        units::duration(tsc, vcpu.last_exit)
    );
    if let Some(promise) = &vcpu.promise {
        text.push_str("promise: ");
        match promise.holds_for {
            Some(time) => text.push_str(&format!("holds for {}", units::duration(tsc, time))),
            None => text.push_str("booting"),
        }
        text.push_str(&breaches(&promise.breaches));
        text.push('\n');
    }
    text
}

/// Breaches by cause, the most frequent first; from a comma on.
fn breaches(all: &[Breach]) -> String {
    let mut all: Vec<&Breach> = all.iter().collect();
    all.sort_by_key(|breach| Reverse(breach.count));
    let told = all.iter().take(SHOWN);
    let told = told.map(|breach| format!("{} {}", breach.count, units::word(&breach.kind)));
    let told: Vec<String> = told.collect();
    let more = match all.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(", and {more} more kinds"),
    };
    if told.is_empty() {
        String::new()
    } else {
        format!(", breaches: {}{more}", told.join(", "))
    }
}

fn table(vcpu: &VcpuStatistics) -> String {
    use Side::{Left, Right};
    let mut table = Table::new(&[
        ("EXIT", Left),
        ("COUNT", Right),
        ("TICKS", Right),
        ("SHARE", Right),
        ("MEAN", Right),
        ("WORST", Right),
        ("HISTOGRAM", Left),
    ]);
    let ticks = |row: &ExitRow| u128::from(row.ticks.0);
    let whole: u128 = vcpu.rows.iter().map(ticks).sum();
    for row in &vcpu.rows {
        table.row([
            units::printable(&row.kind),
            row.count.to_string(),
            row.ticks.0.to_string(),
            units::share(row.ticks, whole),
            row.ticks.0.checked_div(row.count).unwrap_or(0).to_string(),
            row.worst.0.to_string(),
            histogram(&row.histogram),
        ]);
    }
    table.text()
}

/// Marks for what lies between the shortest and the longest exit, between these as powers of two.
fn histogram(buckets: &[u64]) -> String {
    let is_used = |count: &u64| *count != 0;
    let (Some(first), Some(last)) = (
        buckets.iter().position(is_used),
        buckets.iter().rposition(is_used),
    ) else {
        return "-".to_owned();
    };
    let used = buckets.get(first..=last).unwrap_or_default();
    let most = used.iter().copied().max().unwrap_or(0);
    let marks: String = used.iter().map(|count| mark(*count, most)).collect();
    // Bucket n is of durations from 2^(n-1) up to 2^n, bucket 0 of none.
    format!("{}..{last} {marks}", first.saturating_sub(1))
}

/// A mark for a count, by the power of two by which it is below the most: a few exits that took very long shall be seen.
fn mark(count: u64, most: u64) -> char {
    const MARKS: [char; 6] = ['#', '*', '+', '=', ':', '.'];
    match count {
        0 => ' ',
        _ => {
            let below = most.checked_div(count).and_then(u64::checked_ilog2);
            let mark = MARKS.get(below.unwrap_or(0) as usize / 2);
            *mark.unwrap_or(&'.')
        }
    }
}
