//! The emulator's word on MSRs that the CPU does not have.
//!
//! The machine is set to let them pass (its firmware reads one) and to log each. What is logged after the hypervisor
//! took over is a fault of ours: on a real machine it is a #GP in the host.

use regex::Regex;
use std::sync::LazyLock;

/// IA32_MCG_STATUS, which tells a machine check from an interrupt of its vector: CPUID says that it is there, and Bochs has none.
const NOT_OURS: &str = "RDMSR: Unknown register 0x17a";

/// Bochs: `00480151034e[CPU0  ] RDMSR: Unknown register 0x17`.
static ACCESS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?m)^(\d+)e\[CPU\d+ *\] (?:RD|WR)MSR: Unknown register.*$").ok());
/// The hypervisor's log says when it was entered: `   660123456 0 - info bulkhead: machine: up ... entered=660000000`;
/// of one that did not come so far the first line counts.
static ENTRY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?m)^ *\d+ \d+ - info bulkhead: machine: up .*entered=(\d+)").ok()
});
static FIRST_LINE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?m)^ *(\d+) \d+ \S+ \w+ bulkhead: ").ok());

/// The accesses since the hypervisor's first line; its TSC and the emulator's log count the same ticks.
pub(crate) fn after_entry(serial: &str, log: &str) -> Vec<String> {
    let ticks = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let first = |regex: &Option<Regex>| Some(ticks(&regex.as_ref()?.captures(serial)?[1]));
    let (Some(access), Some(entry)) = (&*ACCESS, first(&ENTRY).or_else(|| first(&FIRST_LINE)))
    else {
        return Vec::new();
    };
    access
        .captures_iter(log)
        .filter(|found| ticks(&found[1]) >= entry && !found[0].ends_with(NOT_OURS))
        .map(|found| found[0].to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIAL: &str = "boot: Bulkhead 0.1.0\n   660123456 0 - info bulkhead: core: up\n";

    #[test]
    fn the_firmwares_accesses_are_its_own() {
        let log = "00480151034e[CPU0  ] RDMSR: Unknown register 0x17\n";
        assert!(after_entry(SERIAL, log).is_empty());
    }

    #[test]
    fn ours_are_named() {
        let log = "00480151034e[CPU0  ] RDMSR: Unknown register 0x17\n\
                   00660180000e[CPU1  ] RDMSR: Unknown register 0x17a\n\
                   00660200000e[CPU1  ] WRMSR: Unknown register 0x4e\n";
        assert_eq!(after_entry(SERIAL, log), [log.lines().last().unwrap()]);
    }

    #[test]
    fn the_entry_is_before_the_first_line() {
        let up = "   660300000 0 - info bulkhead: machine: up version=0.1.0 entered=660100000\n";
        let log = "00660110000e[CPU0  ] RDMSR: Unknown register 0x17\n";
        assert_eq!(after_entry(&format!("{SERIAL}{up}"), log).len(), 1);
        assert!(after_entry(SERIAL, log).is_empty());
    }

    #[test]
    fn where_the_hypervisor_never_ran_there_are_none() {
        let log = "00480151034e[CPU0  ] RDMSR: Unknown register 0x17\n";
        assert!(after_entry("boot: refused\n", log).is_empty());
    }
}
