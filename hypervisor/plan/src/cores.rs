//! The keys that say what runs a VM, `vcpus` and `cores`, and what VMs may want of one machine's cores.

use crate::refusal::{Finding, Findings, Refused};
use crate::table::{self, Table, wrong_type};
use crate::{Cores, Smt};
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;
use toml::Spanned;
use toml::de::DeValue;

/// Most vCPUs of one VM.
pub const MAX_VCPUS: u32 = 64;

const VCPUS: &str = "vcpus = 2";
const CORES: &str = "cores = [1, 2]";

/// What one VM wants to be run by.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) vcpus: u32,
    /// The header of the VM
    at: Range<usize>,
    /// For each vCPU a core of its own
    cores: Option<Vec<Spanned<u32>>>,
}

impl Wish {
    /// The numbers of the dedicated cores, if there are to be any.
    pub(crate) fn dedicated(&self) -> Option<Vec<u32>> {
        let numbers = |cores: &Vec<Spanned<u32>>| cores.iter().map(|c| *c.get_ref()).collect();
        self.cores.as_ref().map(numbers)
    }
}

/// Reads the two keys. Without `vcpus` there are as many as `cores` names.
pub(crate) fn read(table: &Table<'_>, findings: &mut Findings) -> Result<Wish, Refused> {
    let vcpus = table
        .get("vcpus")
        .map(|value| vcpus(value, findings))
        .transpose();
    let cores = table
        .get("cores")
        .map(|value| cores(value, findings))
        .transpose();
    let (vcpus, cores) = (vcpus?, cores?);
    let named = cores.as_ref().map(|cores| cores.len() as u64);
    match (&vcpus, named) {
        (Some(vcpus), Some(named)) if u64::from(*vcpus.get_ref()) != named => {
            return Err(findings.add(
                Finding::new(
                    "`cores` must name one core for each vCPU",
                    table.value_place("cores"),
                )
                .label(counted(named, "core"))
                .related(vcpus.span(), counted(u64::from(*vcpus.get_ref()), "vCPU"))
                .mend(format!(
                    "name as many cores as there are vCPUs, write `vcpus = {named}`, or leave `cores` out \
                     to take turns with others"
                )),
            ));
        }
        _ => {}
    }
    Ok(Wish {
        vcpus: vcpus.map_or(named.unwrap_or(1) as u32, Spanned::into_inner),
        at: table.at.clone(),
        cores,
    })
}

fn vcpus(value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Result<Spanned<u32>, Refused> {
    let label = match table::integer(value, "vcpus", VCPUS, findings)? {
        Some(number @ 1..=MAX_VCPUS) => return Ok(Spanned::new(value.span(), number)),
        Some(0) => "a VM needs a vCPU",
        Some(_) => "this is too many",
        None => "this is out of range",
    };
    Err(findings.add(
        Finding::new("invalid number of vCPUs", value.span())
            .label(label)
            .mend(format!("use 1 to {MAX_VCPUS}, such as `{VCPUS}`")),
    ))
}

fn cores(
    value: &Spanned<DeValue<'_>>,
    findings: &mut Findings,
) -> Result<Vec<Spanned<u32>>, Refused> {
    let Some(numbers) = value.get_ref().as_array() else {
        return Err(wrong_type(
            value,
            "cores",
            "an array of integers",
            CORES,
            findings,
        ));
    };
    let label = match numbers.len() {
        0 => "this names none",
        count if count > MAX_VCPUS as usize => "this is too many",
        _ => {
            let numbers = numbers.iter().map(|number| core(number, findings));
            // All of them are looked at, so that all that is wrong is told at once.
            return numbers.collect::<Vec<_>>().into_iter().collect();
        }
    };
    Err(findings.add(
        Finding::new(format!("`cores` must name 1 to {MAX_VCPUS} cores"), value.span())
            .label(label)
            .mend(format!(
                "name one for each vCPU, such as `{CORES}`, or leave `cores` out to take turns with others"
            )),
    ))
}

fn core(number: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Result<Spanned<u32>, Refused> {
    let label = match number.get_ref() {
        DeValue::Integer(_) => match table::integer(number, "cores", CORES, findings)? {
            Some(core) => return Ok(Spanned::new(number.span(), core)),
            None => "this is out of range".to_string(),
        },
        _ => format!("this is {}", table::type_of(number)),
    };
    Err(findings.add(
        Finding::new("invalid core number", number.span())
            .label(label)
            .mend(format!("write whole numbers from 0 on, such as `{CORES}`")),
    ))
}

/// Holds what the VMs want against each other, and against the cores that there are.
pub(crate) fn judge(wishes: &[Wish], smt: Smt, there: Option<Cores>, findings: &mut Findings) {
    let named = there.map(|there| there.named(smt));
    let mut owners = BTreeMap::new();
    let mut twice = Vec::new();
    for (vm, wish) in wishes.iter().enumerate() {
        for core in wish.cores.iter().flatten() {
            if let Some(there) = there.filter(|there| *core.get_ref() >= there.named(smt)) {
                not_there(core, smt, there, findings);
                continue;
            }
            match owners.entry(*core.get_ref()) {
                Entry::Vacant(entry) => {
                    entry.insert((vm, core.span()));
                }
                Entry::Occupied(first) => twice.push((vm, core, first.get().clone())),
            }
        }
    }
    let free = named.map(|named| (0..named).filter(|core| !owners.contains_key(core)));
    let free: Option<Vec<u32>> = free.map(Iterator::collect);
    for (vm, core, (first_vm, first)) in twice {
        let again = if vm == first_vm {
            "here again, in the same VM"
        } else {
            "here again, in another VM"
        };
        findings.add(
            Finding::new(
                format!("core {} is dedicated twice", core.get_ref()),
                core.span(),
            )
            .label(again)
            .related(first, "first here")
            .mend(match free.as_deref() {
                None => "a dedicated core runs one vCPU: name another core".to_string(),
                Some([]) => {
                    "a dedicated core runs one vCPU, and all cores of this machine are named"
                        .to_string()
                }
                Some(free) => format!(
                    "a dedicated core runs one vCPU: name one that is free, such as {}",
                    list(free)
                ),
            }),
        );
    }
    if let (Some(named), Some([])) = (named, free.as_deref()) {
        for wish in wishes.iter().filter(|wish| wish.cores.is_none()) {
            findings.add(
                Finding::new("no core is left for this VM", wish.at.clone())
                    .label("names no `cores`, so it takes turns on those that are nobody's own")
                    .note(format!(
                        "{} - {named} dedicated = none left",
                        counted(u64::from(named), "core")
                    ))
                    .mend("leave `cores` out of another VM, or name fewer"),
            );
        }
    }
}

fn not_there(core: &Spanned<u32>, smt: Smt, there: Cores, findings: &mut Findings) {
    let number = *core.get_ref();
    let named = there.named(smt);
    let last = named.saturating_sub(1);
    let of = |what| counted(u64::from(named), what);
    let note = match smt {
        Smt::Off if there.threads > there.physical => format!(
            "this machine has {} with {} threads; with `smt = \"off\"` each core counts once",
            of("core"),
            there.threads
        ),
        Smt::Off => format!("this machine has {}", of("core")),
        Smt::Share => format!("this machine has {}", of("thread")),
    };
    let (label, mend) = match last {
        0 => ("0 is the only number".to_string(), "write 0".to_string()),
        _ => (
            format!("the numbers are 0 to {last}"),
            format!("use a number from 0 to {last}"),
        ),
    };
    let or_share = if smt == Smt::Off && number < there.threads {
        ", or `smt = \"share\"`, which counts threads"
    } else {
        ""
    };
    findings.add(
        Finding::new(format!("there is no core {number}"), core.span())
            .label(label)
            .note(note)
            .mend(format!("{mend}{or_share}")),
    );
}

/// So many of something.
fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// A few of the numbers.
fn list(numbers: &[u32]) -> String {
    let few: Vec<String> = numbers.iter().take(4).map(u32::to_string).collect();
    few.join(", ")
}
