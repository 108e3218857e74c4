//! What a guest, a file or firmware can reach does not panic: its crates deny the ways to do so, where clippy knows them.

use super::sources::Source;

/// The crates that deny them: their roots.
const ROOTS: &[&str] = &[
    "boot/src/lib.rs",
    "guest-loader/src/lib.rs",
    "hypervisor/bulkhead/src/main.rs",
    "hypervisor/devices/src/lib.rs",
    "hypervisor/emul/src/lib.rs",
    "hypervisor/exits/src/lib.rs",
    "hypervisor/hw/src/lib.rs",
    "hypervisor/monitor/src/lib.rs",
    "hypervisor/paging/src/lib.rs",
    "hypervisor/plan/src/lib.rs",
    "hypervisor/platform/src/lib.rs",
    "hypervisor/processor/src/lib.rs",
    "hypervisor/proto/src/lib.rs",
    "hypervisor/ram/src/lib.rs",
    "hypervisor/sched/src/lib.rs",
    "hypervisor/seam/src/lib.rs",
    "hypervisor/spec/src/lib.rs",
    "hypervisor/survey/src/lib.rs",
    "hypervisor/vm/src/lib.rs",
    "hypervisor/vmx/src/lib.rs",
];
/// Clippy's lints, in the order in which each root has them.
const LINTS: &[&str] = &[
    "expect_used",
    "get_unwrap",
    "indexing_slicing",
    "panic",
    "string_slice",
    "todo",
    "unimplemented",
    "unreachable",
    "unwrap_used",
];
/// Where sums that do not fit are left to the check that they are compiled with: the machine's own addresses, registers and times.
const CHECKED_WHILE_RUNNING: &[&str] = &[
    "boot/",
    "hypervisor/bulkhead/",
    "hypervisor/hw/",
    "hypervisor/sched/",
];

pub(super) fn finding(source: &Source) -> Option<String> {
    let path = source.path.as_str();
    if !path.starts_with("hypervisor/") && !ROOTS.contains(&path) {
        return None;
    }
    let is_root = path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
    if !is_root {
        return None;
    }
    if !ROOTS.contains(&path) {
        return Some(format!(
            "{path}: a crate of the hypervisor that may panic; put it into the lint's list"
        ));
    }
    let sums = !CHECKED_WHILE_RUNNING.iter().any(|of| path.starts_with(of));
    let sums = sums.then_some("arithmetic_side_effects");
    let lints = sums
        .iter()
        .chain(LINTS)
        .map(|lint| format!("clippy::{lint}"));
    let wanted = format!(
        "#![cfg_attr(not(test),deny({}))]",
        lints.collect::<Vec<_>>().join(",")
    );
    let text: String = source.text.split_whitespace().collect();
    (!text.contains(&wanted)).then(|| format!("{path}: does not have {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    fn denied(lints: &[&str]) -> String {
        let lints: String = lints
            .iter()
            .map(|lint| format!("        clippy::{lint},\n"))
            .collect();
        let lints = lints.trim_end().trim_end_matches(',');
        format!("#![no_std]\n#![cfg_attr(\n    not(test),\n    deny(\n{lints}\n    )\n)]\n")
    }

    #[test]
    fn a_crate_denies_all_ways_to_panic() {
        let all = [&["arithmetic_side_effects"], LINTS].concat();
        let path = "hypervisor/devices/src/lib.rs";
        assert_eq!(finding(&source(path, &denied(&all))), None);
        for left_out in 0..all.len() {
            let mut fewer = all.clone();
            fewer.remove(left_out);
            assert!(
                finding(&source(path, &denied(&fewer))).is_some(),
                "{left_out}"
            );
        }
        assert_eq!(
            finding(&source("hypervisor/hw/src/lib.rs", &denied(LINTS))),
            None
        );
    }

    #[test]
    fn a_new_crate_of_the_hypervisor_is_found() {
        assert!(finding(&source("hypervisor/svm/src/lib.rs", "")).is_some());
        assert_eq!(finding(&source("hypervisor/vm/src/chips.rs", "")), None);
        assert_eq!(finding(&source("xtask/src/lib.rs", "")), None);
    }
}
