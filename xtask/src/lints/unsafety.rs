//! Where `unsafe` may be, and that the module says what for. That each block has its `SAFETY:` line is clippy's to see.

use super::sources::Source;

/// The crates whose modules may opt in.
const CRATES: &[&str] = &[
    "boot/",
    // It runs instructions on this host, to compare.
    "fuzz/",
    "hypervisor/bulkhead/",
    "hypervisor/hw/",
    "hypervisor/ram/",
    "qemu-tests/bare/",
    "qemu-tests/faults/",
    "qemu-tests/guests/",
    "qemu-tests/shim/",
];
/// In pieces, so that this file does not find itself.
const OPT_IN: &str = concat!("allow(", "unsafe_code");

pub(super) fn finding(source: &Source) -> Option<String> {
    let path = &source.path;
    let lines: Vec<&str> = source.text.lines().collect();
    let at = lines.iter().position(|line| line.contains(OPT_IN))?;
    // Tests may check their crate with real memory or real instructions.
    let is_test = path.contains("/tests/") || path.ends_with("tests.rs");
    if !is_test && !CRATES.iter().any(|crate_| path.starts_with(crate_)) {
        return Some(format!("{path}:{}: this crate has no unsafe code", at + 1));
    }
    let comment = lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.trim_start().starts_with("//"));
    let says = comment
        .into_iter()
        .any(|line| line.contains("// UNSAFETY: "));
    (!says).then(|| {
        format!(
            "{path}:{}: no `// UNSAFETY:` line says what it is for",
            at + 1
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: text.replace("OPT_IN", &format!("#![{OPT_IN})]")),
        }
    }

    #[test]
    fn a_module_that_opts_in_says_what_for() {
        let good = source(
            "hypervisor/hw/src/msr.rs",
            "//! MSRs\n// UNSAFETY: RDMSR.\nOPT_IN\n",
        );
        assert!(finding(&good).is_none());
        let bad = source("hypervisor/hw/src/msr.rs", "//! MSRs\nOPT_IN\n");
        assert!(
            finding(&bad)
                .unwrap()
                .contains("msr.rs:2: no `// UNSAFETY:`")
        );
    }

    #[test]
    fn other_crates_have_no_unsafe_code() {
        let bad = source(
            "hypervisor/devices/src/uart.rs",
            "// UNSAFETY: speed.\nOPT_IN\n",
        );
        assert!(finding(&bad).unwrap().contains("uart.rs:2: this crate"));
        assert!(finding(&source("hypervisor/devices/src/uart.rs", "//! UART\n")).is_none());
    }
}
