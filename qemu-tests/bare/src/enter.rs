//! From our address space into the kernel's.
// UNSAFETY: loads tables and control registers, and leaves for good.
#![allow(unsafe_code)]

use crate::console::say;
use alloc::string::String;
use core::arch::{asm, x86_64::_rdtsc};
use core::convert::Infallible;
use spec::PAGE_SIZE;
use spec::cpu::{Cr4, Gpr};
use spec::state::{CpuState, StartState};

/// What LGDT and LIDT take.
#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Entries of the upper half of the address space in a PML4: ours.
const UPPER_HALF: core::ops::Range<usize> = 256..512;

/// Enters the kernel in the state in which a VM's first vCPU would start. The upper half of the address space stays as
/// it is, which the kernel does not look at before it has tables of its own.
///
/// # Errors
/// It does not start in 64-bit mode, or the machine is in a mode that this is not made for.
///
/// # Safety
/// `to` is the loader's, its tables and code lie in memory that is nobody else's, all of which is mapped at `window`.
pub(crate) unsafe fn enter(to: &StartState, window: *mut u8) -> Result<Infallible, String> {
    if to.segments[CpuState::CS].rights & spec::cpu::Segment::LONG == 0 {
        return Err("it does not start in 64-bit mode".into());
    }
    if hw::control::cr4() & Cr4::LA57.bits() != 0 {
        return Err("the firmware runs with five-level paging".into());
    }
    let table = |root: u64| {
        let root = root & !(PAGE_SIZE - 1);
        window.wrapping_add(root as usize).cast::<u64>()
    };
    let (ours, kernels) = (table(hw::control::cr3()), table(to.cr3));
    for entry in UPPER_HALF {
        // SAFETY: both are tables of 512 entries, mapped per contract.
        unsafe {
            let upper = ours.add(entry).read_volatile();
            kernels.add(entry).write_volatile(upper);
        }
    }
    let gdt = Pointer {
        limit: to.gdtr.limit,
        base: to.gdtr.base,
    };
    let idt = Pointer {
        limit: to.idtr.limit,
        base: to.idtr.base,
    };
    // SAFETY: reads a counter.
    let tsc = unsafe { _rdtsc() };
    say(format_args!("start rip={:#x} tsc={tsc}", to.rip));
    // SAFETY: code, stack and pointers are in the upper half, which the new tables share; what the kernel finds is the
    // loader's, per contract.
    unsafe {
        asm!(
            "cli",
            "mov cr4, {cr4}",
            "mov cr3, {cr3}",
            "mov cr0, {cr0}",
            "lgdt [{gdt}]",
            "lidt [{idt}]",
            "mov ds, {data:e}",
            "mov es, {data:e}",
            "mov fs, {data:e}",
            "mov gs, {data:e}",
            "mov ss, {data:e}",
            "push {code}",
            "push {rip}",
            "retfq",
            cr0 = in(reg) to.cr0,
            cr3 = in(reg) to.cr3,
            cr4 = in(reg) to.cr4,
            gdt = in(reg) &raw const gdt,
            idt = in(reg) &raw const idt,
            data = in(reg) u64::from(to.segments[CpuState::SS].selector),
            code = in(reg) u64::from(to.segments[CpuState::CS].selector),
            rip = in(reg) to.rip,
            in("rsi") to.gprs.get(Gpr::Rsi),
            options(noreturn)
        )
    }
}
