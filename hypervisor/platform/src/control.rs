//! Which writes to control registers are carried out, and what they leave behind.
//!
//! SDM vol. 2, "MOV—Move to/from Control Registers" and "XSETBV"; vol. 3, "Control Registers". Reserved bits that
//! the hardware of the host has and the guest does not are refused here, by what CPUID shows the guest. Not
//! judged: the page-directory-pointer entries that a write loads in PAE paging, which are in guest memory.

use spec::cpu::{Cr0, Cr4, Efer};
use spec::cpuid::Xcr0;
use spec::state::ControlState;

/// The write is refused: #GP(0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GeneralProtection;

/// Goes on only if `rule` holds.
fn ensure(rule: bool) -> Result<(), GeneralProtection> {
    if rule { Ok(()) } else { Err(GeneralProtection) }
}

/// What CR0 holds after a write of `new`: reserved bits below 32 are ignored, ET is always one.
///
/// # Errors
/// [`GeneralProtection`]
pub fn check_cr0(old: &ControlState, new: u64) -> Result<u64, GeneralProtection> {
    ensure(new >> 32 == 0)?;
    let value = Cr0::from_bits_truncate(new) | Cr0::ET;
    ensure(value.contains(Cr0::PE) || !value.contains(Cr0::PG))?;
    ensure(value.contains(Cr0::CD) || !value.contains(Cr0::NW))?;
    let cr4 = Cr4::from_bits_retain(old.cr4);
    let was_paging = old.cr0 & Cr0::PG.bits() != 0;
    if value.contains(Cr0::PG) && !was_paging && old.efer & Efer::LME.bits() != 0 {
        ensure(cr4.contains(Cr4::PAE) && !old.bars_ia32e)?;
    }
    if !value.contains(Cr0::PG) && was_paging {
        ensure(!cr4.contains(Cr4::PCIDE))?;
        ensure(old.efer & Efer::LMA.bits() == 0 || !old.cs_long)?;
    }
    ensure(value.contains(Cr0::WP) || !cr4.contains(Cr4::CET))?;
    Ok(value.bits())
}

/// What IA32_EFER holds once CR0 is `cr0`: LMA is set while paging is on and LME is set (SDM vol. 3,
/// "IA-32e Mode Operation").
#[must_use]
pub const fn efer_with_cr0(efer: u64, cr0: u64) -> u64 {
    let active = efer & Efer::LME.bits() != 0 && cr0 & Cr0::PG.bits() != 0;
    if active {
        efer | Efer::LMA.bits()
    } else {
        efer & !Efer::LMA.bits()
    }
}

/// What CR4 holds after a write of `new`, of whose bits `allowed` are there.
///
/// # Errors
/// [`GeneralProtection`]
pub fn check_cr4(old: &ControlState, new: u64, allowed: Cr4) -> Result<u64, GeneralProtection> {
    ensure(new & !allowed.bits() == 0)?;
    let value = Cr4::from_bits_retain(new);
    let changed = Cr4::from_bits_retain(new ^ old.cr4);
    let long = old.efer & Efer::LMA.bits() != 0;
    if long {
        ensure(value.contains(Cr4::PAE) && !changed.contains(Cr4::LA57))?;
    }
    if changed.contains(Cr4::PCIDE) && value.contains(Cr4::PCIDE) {
        ensure(long && old.cr3 & 0xfff == 0)?;
    }
    ensure(!value.contains(Cr4::CET) || old.cr0 & Cr0::WP.bits() != 0)?;
    Ok(new)
}

/// What IA32_EFER holds after a write of `new`, of whose bits `allowed` are there; LMA is the processor's own and
/// keeps its value.
///
/// # Errors
/// [`GeneralProtection`]
pub fn check_efer(old: &ControlState, new: u64, allowed: Efer) -> Result<u64, GeneralProtection> {
    let lma = Efer::LMA.bits();
    ensure(new & !(allowed.bits() | lma) == 0)?;
    let paging = old.cr0 & Cr0::PG.bits() != 0;
    ensure(!paging || (new ^ old.efer) & Efer::LME.bits() == 0)?;
    Ok((new & !lma) | (old.efer & lma))
}

/// Whether XCR0 may be set to `new`, of whose bits `allowed` are there.
///
/// # Errors
/// [`GeneralProtection`]
pub fn check_xcr0(new: u64, allowed: Xcr0) -> Result<u64, GeneralProtection> {
    ensure(new & !allowed.bits() == 0)?;
    let value = Xcr0::from_bits_retain(new);
    ensure(value.contains(Xcr0::X87))?;
    ensure(value.contains(Xcr0::SSE) || !value.contains(Xcr0::AVX))?;
    if value.intersects(Xcr0::AVX512) {
        ensure(value.contains(Xcr0::AVX512 | Xcr0::AVX))?;
    }
    Ok(new)
}

#[cfg(test)]
mod tests;
