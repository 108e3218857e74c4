//! The config as a whole.

use crate::file::Look;
use crate::refusal::{Finding, Findings, Refusal, Refused};
use crate::table::{Table, type_of};
use crate::units::Bytes;
use crate::value::MEMORY_STEP;
use crate::{Facts, Plan, Vm, syntax, text, vm};
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::vec::Vec;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Virtual machines that this version runs.
pub const MAX_VMS: usize = 1;

/// A whole config that would be right but for its paths.
const EXAMPLE: &str = "the least that is needed is

    [[vm]]
    name = \"debian\"
    kernel = \"debian/vmlinuz\"
    memory = \"256 MiB\"";

/// Reads a config.
///
/// `file_name` is what the reader of a refusal calls the file; where it has folders, the files that the config
/// names are shown beside it. The text may start with a byte order mark.
///
/// # Errors
/// Everything that is wrong with the text or does not agree with `facts`, at once; syntax first.
pub fn parse(text: &str, file_name: &str, facts: &Facts<'_>) -> Result<Plan, Refusal> {
    if text.len() > text::MAX_TEXT {
        return Err(text::too_long(file_name));
    }
    let text = text::unmarked(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What the parser could save of a broken file is no ground for judging the rest.
        return Err(Refusal::new(
            file_name,
            text,
            syntax::findings(text, root.get_ref(), &errors),
        ));
    }
    let mut findings = Findings::default();
    let vms = vms(
        root.get_ref(),
        &Look {
            facts,
            config: file_name,
        },
        &mut findings,
    );
    match vms {
        Ok(vms) if findings.is_empty() => Ok(Plan {
            smt: crate::Smt::Off,
            statistics: false,
            vms,
        }),
        _ => Err(Refusal::new(file_name, text, findings.into_inner())),
    }
}

fn vms(root: &DeTable<'_>, look: &Look<'_>, findings: &mut Findings) -> Result<Vec<Vm>, Refused> {
    let root = Table::new(root, 0..0, "the file", &["vm"], findings);
    let Some(tables) = root.get("vm") else {
        return Err(root.missing("vm", findings, || {
            Finding::new("there is no virtual machine in this file", 0..0).mend(EXAMPLE)
        }));
    };
    let Some(tables) = tables.get_ref().as_array().map(|array| array.iter()) else {
        return Err(findings.add(
            Finding::new("`vm` must be an array of tables", root.place("vm"))
                .label(format!("this is {}", type_of(tables)))
                .mend("write the header with two brackets: `[[vm]]`"),
        ));
    };
    let mut vms = Vec::new();
    let mut names = BTreeMap::new();
    let mut memory = 0u64;
    for (index, table) in tables.enumerate() {
        let DeValue::Table(keys) = table.get_ref() else {
            return Err(findings.add(
                Finding::new("each `vm` must be a table", table.span())
                    .label(format!("this is {}", type_of(table)))
                    .mend("write `[[vm]]` and the keys of the VM below it"),
            ));
        };
        let read = vm::read(keys, table.span(), look, findings);
        if let Some(name) = read.name {
            match names.entry(name.get_ref().clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(name.span());
                }
                Entry::Occupied(first) => {
                    findings.add(
                        Finding::new(
                            format!("two VMs are called \"{}\"", name.get_ref()),
                            name.span(),
                        )
                        .label("here again")
                        .related(first.get().clone(), "first here")
                        .mend("give each VM a name of its own"),
                    );
                }
            }
        }
        if let Some(asked) = read.memory {
            memory_of_machine(&mut memory, &asked, look.facts.memory, findings);
        }
        if index == MAX_VMS {
            findings.add(
                Finding::new("this version runs one virtual machine", table.span())
                    .label("this is one too many")
                    .mend("keep one [[vm]]; put a # before the lines of the others"),
            );
        }
        vms.push(read.vm);
    }
    vms.into_iter().collect()
}

/// Adds what a VM asks for to `sum` and holds it against what the machine has.
fn memory_of_machine(
    sum: &mut u64,
    asked: &Spanned<u64>,
    has: Option<u64>,
    findings: &mut Findings,
) {
    let before = *sum;
    *sum = before.saturating_add(*asked.get_ref());
    let Some(has) = has.filter(|has| *sum > *has) else {
        return;
    };
    // Whole steps only: a VM can have no part of one.
    let has = has - has % MEMORY_STEP;
    let left = has.saturating_sub(before);
    let finding = Finding::new("this machine does not have that much memory", asked.span());
    let (asks, has, left_shown) = (Bytes(*asked.get_ref()), Bytes(has), Bytes(left));
    let finding = match before {
        0 => finding.label(format!("asks {asks}; this machine has {has} for guests")),
        _ => finding
            .label(format!("asks {asks}; {left_shown} are left for it"))
            .note(format!(
                "{has} for guests - {} for the VMs above = {left_shown}",
                Bytes(before)
            )),
    };
    findings.add(match left {
        0 => finding.mend("leave this VM out, or use a machine with more memory"),
        _ => finding.mend(format!(
            "ask for {} or less, or use a machine with more memory",
            Bytes(left)
        )),
    });
}
