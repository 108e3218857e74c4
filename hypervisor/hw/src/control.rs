//! Control registers, XCR0 and the FPU of this core.
// UNSAFETY: moves to and from control registers, XSETBV, FNINIT.
#![allow(unsafe_code)]

use crate::{cpuid, msr};
use core::arch::asm;
use spec::cpu::{Cr0, Cr4, Efer};
use spec::cpuid::{Leaf1Ecx, Leaf7Ebx, Leaf7Ecx};
use spec::msr::{EFER, PAT};
use x86_64::registers::control as x;

/// Takes no interrupts on this core from now on.
pub fn mask_interrupts() {
    // SAFETY: whoever wants them opens them.
    unsafe { asm!("cli", options(nomem, nostack)) };
}

/// PAT after reset (SDM vol. 3, "Programming the PAT"): entry 0 write-back, entry 3 uncacheable.
pub const PAT_RESET: u64 = 0x0007_0406_0007_0406;

/// CR0.
#[must_use]
pub fn cr0() -> u64 {
    x::Cr0::read_raw()
}

/// CR3.
#[must_use]
pub fn cr3() -> u64 {
    let (frame, flags) = x::Cr3::read_raw();
    frame.start_address().as_u64() | u64::from(flags)
}

/// CR4.
#[must_use]
pub fn cr4() -> u64 {
    x::Cr4::read_raw()
}

/// IA32_EFER.
#[must_use]
pub fn efer() -> u64 {
    // SAFETY: every 64-bit processor has it.
    unsafe { msr::read(EFER) }
}

/// IA32_PAT.
#[must_use]
pub fn pat() -> u64 {
    // SAFETY: every 64-bit processor has it.
    unsafe { msr::read(PAT) }
}

/// Sets CR4.
///
/// # Safety
/// The processor has every feature set in `value`, and no running code relies on one that is cleared.
pub unsafe fn set_cr4(value: u64) {
    // SAFETY: the caller vouches for the value.
    unsafe { x::Cr4::write_raw(value) };
}

/// Brings the control registers of this core to what the hypervisor runs with: write protection, no-execute,
/// SMEP, SMAP and UMIP where present, FPU usable without traps, global pages.
///
/// # Safety
/// Runs once per core, before guests; every mapping that running code uses obeys W^X.
pub unsafe fn harden() {
    let (ebx, ecx) = cpuid::extended_features();
    // Built from nothing: what else the firmware had switched on is not ours to keep. A machine check must come as an
    // exception, or it shuts the machine down without a word.
    let mut four = Cr4::PAE | Cr4::MCE | Cr4::PGE | Cr4::OSFXSR | Cr4::OSXMMEXCPT;
    four.set(Cr4::SMEP, ebx.contains(Leaf7Ebx::SMEP));
    four.set(Cr4::SMAP, ebx.contains(Leaf7Ebx::SMAP));
    four.set(Cr4::UMIP, ecx.contains(Leaf7Ecx::UMIP));
    four.set(Cr4::OSXSAVE, cpuid::features().contains(Leaf1Ecx::XSAVE));
    let zero = (Cr0::from_bits_retain(cr0()) | Cr0::WP | Cr0::NE | Cr0::MP)
        - Cr0::TS
        - Cr0::EM
        - Cr0::CD
        - Cr0::NW;
    // SAFETY: each feature set is one that CPUID shows; WP and NX only forbid what W^X code never does.
    unsafe {
        msr::write(EFER, efer() | Efer::NXE.bits());
        msr::write(PAT, PAT_RESET);
        x::Cr0::write_raw(zero.bits());
        set_cr4(four.bits());
    }
}

/// Loads page tables.
///
/// # Safety
/// `root` is a PML4 that maps all that running code uses, at the same addresses as before.
pub unsafe fn load_tables(root: spec::Hpa) {
    // SAFETY: the caller vouches for the tables.
    unsafe { asm!("mov cr3, {}", in(reg) root.0, options(nostack, preserves_flags)) };
}

/// The page-fault address register, which holds the guest's value while the guest's core runs the hypervisor.
#[must_use]
pub fn cr2() -> u64 {
    x::Cr2::read_raw()
}

/// Sets the page-fault address register, for a page fault that is about to be injected.
pub fn set_cr2(value: u64) {
    // SAFETY: CR2 is read by page-fault handlers only; the host's prints it and stops.
    unsafe { asm!("mov cr2, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
}

/// DR6, which holds the guest's value while the guest's core runs the hypervisor.
#[must_use]
pub fn dr6() -> u64 {
    let value;
    // SAFETY: reading a debug register has no effect; the host never sets DR7.GD.
    unsafe { asm!("mov {}, dr6", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Sets DR6, for a debug exception that is about to be injected.
pub fn set_dr6(value: u64) {
    // SAFETY: DR6 only reports; VM exits leave DR7 at 0x400, so the host takes no debug exceptions.
    unsafe { asm!("mov dr6, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
}

/// XCR0 of this core; 1 (x87 alone) where there is no XSAVE.
#[must_use]
pub fn xcr0() -> u64 {
    if cr4() & Cr4::OSXSAVE.bits() == 0 {
        return 1;
    }
    // SAFETY: OSXSAVE is set, so XGETBV exists.
    unsafe { core::arch::x86_64::_xgetbv(0) }
}

/// Sets XCR0 to a value that was judged against CPUID leaf 0x0D. Without XSAVE this does nothing.
pub fn set_xcr0(value: u64) {
    if cr4() & Cr4::OSXSAVE.bits() == 0 {
        return;
    }
    // SAFETY: the hypervisor itself never touches extended state, so any valid value will do; validity was judged
    // by `platform` against what this processor has.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    }
}

/// Bytes of an XSAVE area for every state component there is: at most a page and a half with AVX-512 and PKRU,
/// eleven with AMX. Cleared state needs only the header of 64 bytes behind the legacy region of 512.
#[repr(C, align(64))]
struct InitArea([u8; 576]);

/// Puts FPU, SSE, AVX and all further extended state into its initial configuration, so that a guest that
/// starts sees nothing of whoever used this core before. Leaves XCR0 at 1, as after reset.
pub fn reset_extended_state() {
    let supported = {
        let d = cpuid::leaf(0xd, 0);
        u64::from(d[0]) | u64::from(d[3]) << 32
    };
    // An XSAVE header with XSTATE_BV = 0 makes XRSTOR initialise each requested component (SDM vol. 1,
    // "Operation of XRSTOR"); FCW and MXCSR as after FNINIT and reset.
    let mut area = InitArea([0; 576]);
    area.0[0..2].copy_from_slice(&0x37f_u16.to_le_bytes());
    area.0[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
    if cr4() & Cr4::OSXSAVE.bits() != 0 {
        set_xcr0(supported);
        // SAFETY: the area is 64-byte aligned and large enough for a restore that reads no component beyond the
        // legacy region; the kernel target is soft-float, so no live Rust value is in these registers.
        unsafe {
            asm!("xrstor64 [{}]", in(reg) &raw const area, in("eax") u32::MAX, in("edx") u32::MAX,
                options(nostack, readonly));
        }
        set_xcr0(1);
    } else {
        // SAFETY: as above, for the legacy region.
        unsafe { asm!("fxrstor64 [{}]", in(reg) &raw const area, options(nostack, readonly)) };
    }
}
