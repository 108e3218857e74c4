//! Faults of what VMs reach.

use super::{Fault, Picks, fault, frame_of};
use crate::common::{ACPI, FRAME, LOCAL_APIC, RUNTIME, mapping, range};
use checker::Whole;
use proto::certificate::{Cache, Mapping, Use};

pub(super) const FAULTS: &[Fault] = &[
    fault("a page of another VM", "disjoint", foreign),
    fault(
        "a page of another VM, to whom it belongs",
        "own-memory",
        foreign,
    ),
    fault("a page twice in one VM", "ram", twice),
    fault("a page of ours", "own-memory", ours),
    fault(
        "a page that was taken with the VM's RAM and is not it",
        "own-memory",
        reserved,
    ),
    fault("a free page", "own-memory", |whole, picks| {
        leads_to(whole, picks, |used| used == Use::Free)
    }),
    fault("the local APIC", "memory-only", |whole, picks| {
        page(whole, picks)?.frame = LOCAL_APIC;
        Some(())
    }),
    fault("code of the firmware", "memory-only", |whole, picks| {
        page(whole, picks)?.frame = RUNTIME.start;
        Some(())
    }),
    fault("tables of the firmware", "memory-only", |whole, picks| {
        page(whole, picks)?.frame = ACPI.start;
        Some(())
    }),
    fault("the bundle", "memory-only", |whole, picks| {
        leads_to(whole, picks, |used| used == Use::Bundle)
    }),
    fault(
        "an address with no memory",
        "memory-only",
        |whole, picks| {
            page(whole, picks)?.frame = 1 << 45;
            Some(())
        },
    ),
    fault("a page too many", "ram", too_many),
    fault("a page too few", "ram", too_few),
    fault("a VM's page that it does not reach", "frames", too_few),
    fault("a page that cannot be written", "rights", |whole, picks| {
        page(whole, picks)?.write = false;
        Some(())
    }),
    fault("a page that cannot be read", "rights", |whole, picks| {
        page(whole, picks)?.read = false;
        Some(())
    }),
    fault("a page that is not cached", "rights", |whole, picks| {
        page(whole, picks)?.cache = Cache::Uncacheable;
        Some(())
    }),
    fault(
        "a page that is written through",
        "rights",
        |whole, picks| {
            page(whole, picks)?.cache = Cache::WriteThrough;
            Some(())
        },
    ),
    fault(
        "a nested table in a VM's RAM",
        "structures",
        |whole, picks| {
            let frame = frame_of(whole, picks, |used| matches!(used, Use::Ram { .. }))?;
            picks
                .of(&mut whole.vms)?
                .nested_tables
                .push(range(frame, FRAME));
            Some(())
        },
    ),
    fault(
        "a nested table of another VM",
        "structures",
        |whole, picks| {
            let other = whole.vms.first()?.nested_tables.clone();
            let count = whole.vms.len();
            let vm = 1 + picks.below(count - 1);
            whole.vms.get_mut(vm)?.nested_tables.extend(other);
            Some(())
        },
    ),
    fault(
        "a nested table to which none leads",
        "structures",
        |whole, picks| {
            picks.of(&mut whole.vms)?.nested_tables.pop()?;
            Some(())
        },
    ),
    fault("a root that is no table", "structures", |whole, picks| {
        let frame = frame_of(whole, picks, |used| used == Use::Heap)?;
        picks.of(&mut whole.vms)?.nested_root = frame;
        Some(())
    }),
];

fn page<'a>(whole: &'a mut Whole, picks: &mut Picks) -> Option<&'a mut Mapping> {
    let vm = picks.of(&mut whole.vms)?;
    picks.page(&mut vm.nested, |_| true)
}

fn leads_to(whole: &mut Whole, picks: &mut Picks, is: impl Fn(Use) -> bool) -> Option<()> {
    let frame = frame_of(whole, picks, is)?;
    page(whole, picks)?.frame = frame;
    Some(())
}

fn ours(whole: &mut Whole, picks: &mut Picks) -> Option<()> {
    leads_to(whole, picks, |used| {
        !matches!(used, Use::Ram { .. } | Use::Free | Use::Reserved { .. })
    })
}

fn reserved(whole: &mut Whole, picks: &mut Picks) -> Option<()> {
    leads_to(whole, picks, |used| matches!(used, Use::Reserved { .. }))
}

fn foreign(whole: &mut Whole, picks: &mut Picks) -> Option<()> {
    let count = whole.vms.len();
    let vm = picks.below(count);
    let other = (vm + 1 + picks.below(count - 1)) % count;
    let frame = whole.vms.get(other)?.nested.first()?.frame;
    let vm = whole.vms.get_mut(vm)?;
    picks.page(&mut vm.nested, |_| true)?.frame = frame;
    Some(())
}

fn twice(whole: &mut Whole, picks: &mut Picks) -> Option<()> {
    let vm = picks.of(&mut whole.vms)?;
    let first = vm.nested.first()?.frame;
    picks
        .page(&mut vm.nested, |mapping| mapping.frame != first)?
        .frame = first;
    Some(())
}

fn too_many(whole: &mut Whole, picks: &mut Picks) -> Option<()> {
    let frame = frame_of(whole, picks, |used| used == Use::Free)?;
    // Where a PC has its VGA, and beyond all that there is.
    let at = *[0xb_8000, 0xfee0_0000, 1 << 40].get(picks.below(3))?;
    let vm = picks.of(&mut whole.vms)?;
    vm.nested
        .push(mapping(at, frame, FRAME, [true; 3], Cache::WriteBack));
    Some(())
}

fn too_few(whole: &mut Whole, picks: &mut Picks) -> Option<()> {
    let vm = picks.of(&mut whole.vms)?;
    let at = picks.page(&mut vm.nested, |_| true)?.at;
    vm.nested.retain(|mapping| mapping.at != at);
    Some(())
}
