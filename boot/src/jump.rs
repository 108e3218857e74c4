//! The last instructions of boot: into the hypervisor's address space and to its entry point.
// UNSAFETY: writes control registers, and leaves for good.
#![allow(unsafe_code)]

use core::arch::global_asm;
use spec::{Hpa, PAGE_SIZE};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};

// In: RDI boot info, RSI root of the page tables, RDX top of the stack, RCX entry point. The entry point is a
// function of the System V ABI: as if called, with a return address of zero.
global_asm!(
    ".global bulkhead_jump",
    "bulkhead_jump:",
    "mov cr3, rsi",
    "mov rsp, rdx",
    "xor ebp, ebp",
    "push rbp",
    "cld",
    "jmp rcx",
    ".global bulkhead_jump_end",
    "bulkhead_jump_end:",
);

unsafe extern "sysv64" {
    fn bulkhead_jump(info: u64, root: u64, stack: u64, entry: u64) -> !;
    static bulkhead_jump_end: u8;
}

/// Where to jump, in the hypervisor's address space.
pub struct Target {
    /// Boot info
    pub info: u64,
    /// Root of the page tables
    pub root: Hpa,
    /// Top of the stack, a multiple of 16
    pub stack: u64,
    /// Entry point
    pub entry: u64,
}

/// The pages that hold the jump, which the new tables must map one to one.
#[must_use]
pub fn pages() -> (Hpa, u64) {
    let start = bulkhead_jump as *const () as u64;
    let end = &raw const bulkhead_jump_end as u64;
    let first = start - start % PAGE_SIZE;
    (Hpa(first), end.next_multiple_of(PAGE_SIZE) - first)
}

/// Jumps, interrupts off.
///
/// # Safety
/// Boot services are left. `to` describes an address space as [`crate::space::build`] makes it, in which the
/// hypervisor is loaded and relocated, and [`crate::cpu::has_no_execute`] holds.
pub unsafe fn jump(to: &Target) -> ! {
    x86_64::instructions::interrupts::disable();
    // SAFETY: NXE makes bit 63 of the new entries mean what it says, and the firmware's own tables have it clear or
    // were made under NXE. WP takes only the right to write where the tables forbid it, and we write only to our own
    // stack from here on. What is cleared in CR4 would carry the firmware's translations (PGE, PCIDE) and its shadow
    // stack (CET) into an address space that has neither.
    unsafe {
        Efer::update(|f| f.insert(EferFlags::NO_EXECUTE_ENABLE));
        Cr4::update(|f| {
            f.remove(Cr4Flags::PAGE_GLOBAL | Cr4Flags::PCID | Cr4Flags::CONTROL_FLOW_ENFORCEMENT);
        });
        Cr0::update(|f| f.insert(Cr0Flags::WRITE_PROTECT));
    }
    // SAFETY: the caller's promise; the instructions themselves are mapped one to one in both address spaces, and
    // use no memory until the new stack is set.
    unsafe { bulkhead_jump(to.info, to.root.0, to.stack, to.entry) }
}
