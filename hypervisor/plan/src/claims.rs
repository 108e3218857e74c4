//! What several VMs claim of one machine: names, memory, cores.

use crate::refusal::{Finding, Findings};
use crate::units::Bytes;
use crate::value::MEMORY_STEP;
use crate::{cores, interrupts, vm};
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;
use toml::Spanned;

/// How many amounts a sum shows one by one.
const SHOWN: usize = 4;

/// What the VMs so far claim.
#[derive(Default)]
pub(crate) struct Claims {
    names: BTreeMap<String, Range<usize>>,
    memory: Vec<Spanned<u64>>,
    /// One for each VM, in the order of the file
    vms: Vec<Claim>,
}

/// What one VM is called and wants to be run by, as far as that could be read.
pub(crate) struct Claim {
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) wish: Option<cores::Wish>,
    pub(crate) interrupts: Option<interrupts::Asked>,
}

impl Claim {
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_ref().map(|name| name.get_ref().as_str())
    }
}

impl Claims {
    /// Adds those of one VM.
    pub(crate) fn add(&mut self, read: &vm::Read, findings: &mut Findings) {
        if let Some(name) = &read.name {
            self.name(name, findings);
        }
        self.memory.extend(read.memory.clone());
        self.vms.push(Claim {
            name: read.name.clone(),
            wish: read.wish.clone(),
            interrupts: read.interrupts.clone(),
        });
    }

    /// Each VM's, in the order of the file.
    pub(crate) fn vms(&self) -> &[Claim] {
        &self.vms
    }

    fn name(&mut self, name: &Spanned<String>, findings: &mut Findings) {
        match self.names.entry(name.get_ref().clone()) {
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

    /// Holds what is asked of memory against what there is.
    pub(crate) fn judge_memory(&self, has: u64, findings: &mut Findings) {
        // Whole steps only: a VM can have no part of one.
        memory(
            &self.memory,
            has.saturating_sub(has % MEMORY_STEP),
            findings,
        );
    }
}

/// Finds the first VM for which memory does not suffice.
fn memory(asked: &[Spanned<u64>], has: u64, findings: &mut Findings) {
    let mut left = has;
    let short = asked
        .iter()
        .position(|asked| match left.checked_sub(*asked.get_ref()) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
    let Some(short) = short else { return };
    let (above, from) = asked.split_at(short);
    let Some((first, below)) = from.split_first() else {
        return;
    };
    let asks = Bytes(*first.get_ref());
    let finding = Finding::new("this machine does not have that much memory", first.span());
    let finding = match above {
        [] => finding.label(format!(
            "asks {asks}; this machine has {} for guests",
            Bytes(has)
        )),
        _ => finding
            .label(format!("asks {asks}; {} are left for it", Bytes(left)))
            .note(format!(
                "{} for guests - {} = {}",
                Bytes(has),
                sum(above),
                Bytes(left)
            )),
    };
    let more = "use a machine with more memory";
    findings.add(match (left, below) {
        (0, []) => finding.mend(format!("leave this VM out, or {more}")),
        (_, []) => finding.mend(format!("ask for {} or less, or {more}", Bytes(left))),
        _ => finding.mend(format!(
            "all VMs ask {}, which is {} too much: give some of them less, or {more}",
            Bytes(total(asked)),
            Bytes(total(asked).saturating_sub(has))
        )),
    });
}

fn total(asked: &[Spanned<u64>]) -> u64 {
    let amounts = asked.iter().map(|asked| *asked.get_ref());
    amounts.fold(0, u64::saturating_add)
}

/// What the VMs above ask for: one by one if they are few.
fn sum(asked: &[Spanned<u64>]) -> String {
    let amounts = asked
        .iter()
        .map(|asked| Bytes(*asked.get_ref()).to_string());
    match asked.len() {
        1 => format!("{} for the VMs above", amounts.collect::<String>()),
        2..=SHOWN => {
            let parts: Vec<_> = amounts.collect();
            format!("({}) for the VMs above", parts.join(" + "))
        }
        count => format!("{} for the {count} VMs above", Bytes(total(asked))),
    }
}
