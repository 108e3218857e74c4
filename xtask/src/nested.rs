//! Whether this host's KVM gives guests VT-x.

use std::fs::{OpenOptions, read_to_string};

/// Says why not, if it does not. A `/dev/kvm` proves nothing: it may be there on a CPU without VT-x.
///
/// # Errors
/// What is missing, in words.
pub(crate) fn kvm() -> Result<(), &'static str> {
    let cpu = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpu.lines().find(|line| line.starts_with("flags"));
    if !flags.is_some_and(|line| line.split_whitespace().any(|flag| flag == "vmx")) {
        return Err("this CPU shows no VT-x");
    }
    let nested = read_to_string("/sys/module/kvm_intel/parameters/nested").unwrap_or_default();
    if !matches!(nested.trim(), "Y" | "1") {
        return Err("kvm_intel is not loaded with nested=1");
    }
    if OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_err()
    {
        return Err("/dev/kvm cannot be opened");
    }
    Ok(())
}
