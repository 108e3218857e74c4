//! Windows held against the VMs that they name.

use crate::claims::Claim;
use crate::cyclic::Read;
use crate::excerpt::quoted;
use crate::model::{Cyclic, Window};
use crate::nearest::nearest;
use crate::refusal::{Finding, Findings};
use crate::units::{counted, list};
use crate::windows;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

/// Which VMs run in windows, and the tables as far as they are right.
pub(crate) struct Seats {
    pub(crate) cyclic: Vec<Cyclic>,
    /// By the VM's index, its first window's place
    pub(crate) vms: BTreeMap<usize, Range<usize>>,
}

/// Finds the VM and the vCPU of each window. Where a VM could not be read, what is said of it is taken to be right.
pub(crate) fn judge(tables: &[Read], claims: &[Claim], findings: &mut Findings) -> Seats {
    let mut seats = Seats {
        cyclic: Vec::new(),
        vms: BTreeMap::new(),
    };
    // For each vCPU, by its VM's index, the table and the place of its first window.
    let mut first: BTreeMap<(usize, u32), (usize, &Range<usize>)> = BTreeMap::new();
    // Those of which a window was refused: what they lack is not known.
    let mut unclear = Vec::new();
    for (number, table) in tables.iter().enumerate() {
        let mut found = Vec::new();
        for window in &table.windows {
            let Some((vm, claim)) = vm(window, claims, findings) else {
                continue;
            };
            seats.vms.entry(vm).or_insert_with(|| window.place.clone());
            let Some(vcpu) = vcpu(window, claim, findings) else {
                unclear.push(vm);
                continue;
            };
            match first.entry((vm, vcpu)) {
                Entry::Vacant(entry) => {
                    entry.insert((number, &window.place));
                }
                Entry::Occupied(entry) if entry.get().0 != number => {
                    two_tables(window, vcpu, entry.get().1, findings);
                }
                Entry::Occupied(_) => {}
            }
            found.push(Window {
                vm: vm as u32,
                vcpu,
                at: window.at,
                length: window.length,
            });
        }
        seats.cyclic.push(Cyclic {
            core: *table.core.get_ref(),
            frame: table.frame,
            spare: table.spare,
            windows: found,
        });
    }
    for (vm, window) in &seats.vms {
        let Some(claim) = claims.get(*vm) else {
            continue;
        };
        beside(claim, window, findings);
        if let Some(wish) = claim.wish.as_ref().filter(|_| !unclear.contains(vm)) {
            let without: Vec<u32> = (0..wish.vcpus)
                .filter(|vcpu| !first.contains_key(&(*vm, *vcpu)))
                .collect();
            if !without.is_empty() {
                no_window(claim, wish.at.clone(), &without, window, findings);
            }
        }
    }
    seats
}

/// The window's VM, with its index.
fn vm<'c>(
    window: &windows::Window,
    claims: &'c [Claim],
    findings: &mut Findings,
) -> Option<(usize, &'c Claim)> {
    let name = window.vm.get_ref();
    let mut all = claims.iter().enumerate();
    let found = all.find(|(_, claim)| claim.name() == Some(name));
    if found.is_none() && claims.iter().all(|claim| claim.name.is_some()) {
        let names: Vec<&str> = claims.iter().filter_map(Claim::name).collect();
        findings.add(
            Finding::new(
                format!("there is no VM \"{}\"", quoted(name)),
                window.vm.span(),
            )
            .label("no `[[vm]]` has this name")
            .mend(match nearest(name, &names) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("the VMs are: {}", names.join(", ")),
            }),
        );
    }
    found
}

/// The window's vCPU.
fn vcpu(window: &windows::Window, claim: &Claim, findings: &mut Findings) -> Option<u32> {
    let vcpus = claim.wish.as_ref()?.vcpus;
    let name = window.vm.get_ref();
    let last = vcpus.saturating_sub(1);
    match &window.vcpu {
        Some(vcpu) if *vcpu.get_ref() < vcpus => Some(*vcpu.get_ref()),
        Some(vcpu) => {
            findings.add(
                Finding::new(
                    format!("\"{name}\" has no vCPU {}", vcpu.get_ref()),
                    vcpu.span(),
                )
                .label(match last {
                    0 => "0 is the only number".into(),
                    _ => format!("the numbers are 0 to {last}"),
                })
                .mend(match last {
                    0 => "write 0, or leave `vcpu` out".into(),
                    _ => format!("use a number from 0 to {last}"),
                }),
            );
            None
        }
        None if vcpus == 1 => Some(0),
        None => {
            findings.add(
                Finding::new("a window is for one vCPU", window.place.clone())
                    .label(format!("\"{name}\" has {vcpus}"))
                    .mend(format!("say which, from 0 to {last}, such as `vcpu = 0`")),
            );
            None
        }
    }
}

fn two_tables(window: &windows::Window, vcpu: u32, first: &Range<usize>, findings: &mut Findings) {
    findings.add(
        Finding::new(
            format!(
                "vCPU {vcpu} of \"{}\" has windows on two cores",
                window.vm.get_ref()
            ),
            window.place.clone(),
        )
        .label("here again, in another table")
        .related(first.clone(), "first here")
        .mend("a vCPU stays on one core: put all of its windows into one table"),
    );
}

/// Keys that a VM with windows cannot have.
fn beside(claim: &Claim, window: &Range<usize>, findings: &mut Findings) {
    let Some(wish) = &claim.wish else { return };
    let keys = match (&wish.cores, &wish.share) {
        (Some(_), _) => Some(("cores", wish.cores_at.clone(), "`cores`")),
        (None, Some(share)) => Some((share.key.0, share.key.1.clone(), share.keys())),
        (None, None) => None,
    };
    if let Some((key, at, all)) = keys {
        findings.add(
            Finding::new(format!("`{key}` has no meaning for a VM with windows"), at)
                .label("a VM with windows runs in these alone")
                .related(window.clone(), "its window")
                .mend(format!("leave {all} out, or its windows")),
        );
    }
}

fn no_window(
    claim: &Claim,
    at: Range<usize>,
    without: &[u32],
    window: &Range<usize>,
    findings: &mut Findings,
) {
    let name = claim.name().unwrap_or_default();
    findings.add(
        Finding::new(
            format!(
                "{} of \"{name}\" without a window",
                counted(without.len() as u64, "vCPU")
            ),
            at,
        )
        .label(format!("has no window for: {}", list(without)))
        .related(window.clone(), "has a window here")
        .mend("give each vCPU a window, or the VM fewer `vcpus`"),
    );
}
