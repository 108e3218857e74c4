//! Imports run one way: layouts at the bottom, pure logic above, hardware beside it, one binary joins them.

use anyhow::Result;
use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Which crates of the workspace each may import. What is not here may import none, and must be put here.
const ALLOWED: &[(&str, &[&str])] = &[
    ("spec", &[]),
    ("seam", &["spec"]),
    ("sched", &["spec"]),
    ("plan", &["spec", "seam", "sched"]),
    ("paging", &["spec", "seam"]),
    ("exits", &["spec", "seam"]),
    ("emul", &["spec", "seam"]),
    ("devices", &["spec", "seam"]),
    ("platform", &["spec", "seam"]),
    ("processor", &["spec"]),
    ("proto", &["spec"]),
    // It shares no code with what it checks.
    ("checker", &["plan", "proto"]),
    ("monitor", &["spec", "proto"]),
    // Not what builds the structures that it reads, nor the numbers that they are built with.
    ("survey", &["proto"]),
    ("guest-loader", &["spec", "seam"]),
    ("ram", &["spec", "seam"]),
    ("vmx", &["spec", "seam", "exits"]),
    (
        "vm",
        &[
            "spec",
            "seam",
            "exits",
            "devices",
            "platform",
            "emul",
            "guest-loader",
        ],
    ),
    ("hw", &["spec", "seam", "exits", "vmx", "ram", "processor"]),
    (
        "bulkhead",
        &[
            "spec",
            "seam",
            "sched",
            "plan",
            "paging",
            "exits",
            "emul",
            "devices",
            "platform",
            "processor",
            "proto",
            "monitor",
            "survey",
            "guest-loader",
            "ram",
            "vmx",
            "vm",
            "hw",
        ],
    ),
    (
        "fuzz",
        &[
            "spec",
            "seam",
            "plan",
            "exits",
            "emul",
            "devices",
            "platform",
            "proto",
            "guest-loader",
            "vmx",
            "vm",
        ],
    ),
    ("boot", &["spec", "seam", "plan", "paging"]),
    ("xtask", &["spec", "plan", "proto", "monitor", "checker"]),
    (
        "qemu-tests",
        &["spec", "plan", "proto", "monitor", "xtask", "checker"],
    ),
    ("guests", &["spec", "sched"]),
    ("shim", &["spec"]),
    ("faults", &["spec", "seam", "paging", "ram", "vmx", "hw"]),
    (
        "bare",
        &["spec", "seam", "plan", "guest-loader", "ram", "hw"],
    ),
];

/// The crates of the workspace that each of them imports, but for its tests.
pub(super) type Imports = BTreeMap<String, BTreeSet<String>>;

pub(super) fn imports(root: &Path) -> Result<Imports> {
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec()?;
    let packages = metadata.workspace_packages();
    let ours: BTreeSet<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    Ok(packages
        .iter()
        .map(|package| {
            let imports = package
                .dependencies
                .iter()
                .filter(|it| {
                    it.kind != DependencyKind::Development && ours.contains(it.name.as_str())
                })
                .map(|it| it.name.clone());
            (package.name.to_string(), imports.collect())
        })
        .collect())
}

pub(super) fn findings(imports: &Imports) -> Vec<String> {
    let mut findings = Vec::new();
    for (importer, imported) in imports {
        let allowed = ALLOWED.iter().find(|(name, _)| name == importer);
        let Some((_, allowed)) = allowed else {
            findings.push(format!(
                "{importer}: the directions of imports do not know this crate"
            ));
            continue;
        };
        for name in imported
            .iter()
            .filter(|name| !allowed.contains(&name.as_str()))
        {
            findings.push(format!("{importer}: may not import {name}"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(importer: &str, imported: &str) -> Imports {
        [(importer.to_owned(), BTreeSet::from([imported.to_owned()]))].into()
    }

    #[test]
    fn the_wrong_direction_is_found() {
        assert_eq!(
            findings(&imports("devices", "vm")),
            ["devices: may not import vm"]
        );
        assert_eq!(findings(&imports("vmx", "vm")), ["vmx: may not import vm"]);
        assert!(findings(&imports("vm", "devices")).is_empty());
    }

    #[test]
    fn a_new_crate_must_be_placed() {
        assert_eq!(findings(&imports("new", "spec")).len(), 1);
    }

    #[test]
    fn the_table_itself_runs_one_way() {
        for (at, (importer, allowed)) in ALLOWED.iter().enumerate() {
            for name in *allowed {
                let below = ALLOWED[..at].iter().any(|(lower, _)| lower == name);
                assert!(below, "{importer} may import {name}, which is not below it");
            }
        }
    }
}
