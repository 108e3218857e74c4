//! The four page-directory-pointer-table entries that the processor keeps in PAE paging (SDM vol. 3, "PDPTE Registers").

use crate::{Vcpu, Vm};
use exits::{Answer, Event, Stop};
use platform::control::efer_with_cr0;
use seam::GuestMem;
use spec::Gpa;
use spec::cpu::{Cr0, Cr4, Efer};
use spec::pte::Pte;
use spec::state::ControlState;

/// Bits of CR0 and of CR4 whose change loads the entries.
const CR0_LOADS: u64 = Cr0::CD.union(Cr0::NW).union(Cr0::PG).bits();
const CR4_LOADS: u64 = Cr4::PAE
    .union(Cr4::PGE)
    .union(Cr4::PSE)
    .union(Cr4::SMEP)
    .bits();

/// Bits 2:1 and 8:5, reserved in a present entry ("Format of a PAE Page-Directory-Pointer-Table Entry").
const RESERVED: u64 = 0x1e6;

/// Loads the entries into `vcpu` if a write that leaves these values of CR0 and CR4 does so: read once and judged here, since
/// another processor of the guest may change them right after, and a VM entry with what is reserved would fail.
///
/// # Errors
/// The answer, if the write is not carried out: #GP(0) for a reserved bit, or the end of a VM whose table is not in its RAM.
pub(crate) fn load<M: GuestMem, L>(
    vm: &Vm<M, L>,
    vcpu: &mut Vcpu,
    old: &ControlState,
    cr0: u64,
    cr4: u64,
) -> Result<(), Answer> {
    let changed = (old.cr0 ^ cr0) & CR0_LOADS != 0 || (old.cr4 ^ cr4) & CR4_LOADS != 0;
    let used = cr0 & Cr0::PG.bits() != 0
        && cr4 & Cr4::PAE.bits() != 0
        && efer_with_cr0(old.efer, cr0) & Efer::LMA.bits() == 0;
    if !(changed && used) {
        return Ok(());
    }
    let table = old.cr3 & 0xffff_ffe0;
    let width = vm.policy.cpuid.address_bits().clamp(32, 52);
    let reserved = RESERVED | u64::MAX << width;
    let mut entries = [0; 4];
    for (at, entry) in (table..).step_by(8).zip(&mut entries) {
        *entry = vm
            .memory
            .read_u64(Gpa(at))
            .map_err(|_| Answer::Stop(Stop::Unsupported("PAE page tables outside memory")))?;
        if *entry & Pte::PRESENT.bits() != 0 && *entry & reserved != 0 {
            return Err(Answer::Inject(Event::GP0));
        }
    }
    vcpu.pdptes = entries;
    Ok(())
}
