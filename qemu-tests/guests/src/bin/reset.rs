//! A reset leaves nothing of the run before. The guest does as it is told by a character: `r` to leave marks and reset, any
//! other to power off.
#![no_std]
#![no_main]
// UNSAFETY: marks in memory.
#![allow(unsafe_code)]

use guests::verdict::Verdict;
use guests::{guest, ioapic, lapic, msr, port, power, same, say, uart};
use spec::apic::register;
use spec::ioapic::Redirection;
use spec::uart::{Lsr, offset};

guest!(
    memory_is_zero,
    chips_are_as_after_reset,
    registers_are_as_after_reset,
    the_guest_does_as_told
);

/// All of RAM that is not in use: from 2 MiB on.
const FREE: core::ops::Range<u64> = 0x20_0000..0x100_0000;
const MARK: u64 = 0x6d61_726b_6d61_726b;

fn memory_is_zero() -> Verdict {
    for at in FREE.step_by(8) {
        // SAFETY: RAM that holds nothing.
        same!(unsafe { (at as *const u64).read_volatile() }, 0, "{at:#x}");
    }
    Ok(())
}

fn chips_are_as_after_reset() -> Verdict {
    same!(uart::read(offset::SCR), 0);
    same!(port::in8(power::BASE), 0);
    same!(ioapic::entry(7), Redirection::MASKED.bits());
    same!(lapic::read(register::SVR), 0xff);
    same!(lapic::read(register::TPR), 0);
    Ok(())
}

fn registers_are_as_after_reset() -> Verdict {
    for msr in [
        spec::msr::LSTAR,
        spec::msr::FS_BASE,
        spec::msr::KERNEL_GS_BASE,
        spec::msr::SYSENTER_EIP,
        spec::msr::TSC_AUX,
        spec::msr::TSC_ADJUST,
    ] {
        same!(msr::read(msr)?, 0, "{msr:?}");
    }
    same!(msr::read(spec::msr::PAT)?, 0x0007_0406_0007_0406);
    let (dr0, dr7): (u64, u64);
    // SAFETY: reads registers.
    unsafe { core::arch::asm!("mov {}, dr0", "mov {}, dr7", out(reg) dr0, out(reg) dr7) };
    same!((dr0, dr7), (0, 0x400));
    Ok(())
}

fn the_guest_does_as_told() -> Verdict {
    say!("guest: what now?");
    while uart::read(offset::LSR) & Lsr::DATA.bits() == 0 {}
    if uart::read(offset::DATA) != b'r' {
        return Ok(());
    }
    for at in FREE.step_by(8) {
        // SAFETY: RAM that holds nothing.
        unsafe { (at as *mut u64).write_volatile(MARK) };
    }
    uart::write(offset::SCR, 0x77);
    port::out8(power::BASE, 3 << 2);
    ioapic::route(7, Redirection::from_bits_retain(0x77));
    lapic::enable()?;
    lapic::write(register::TPR, 0x70)?;
    for msr in [
        spec::msr::LSTAR,
        spec::msr::FS_BASE,
        spec::msr::KERNEL_GS_BASE,
        spec::msr::SYSENTER_EIP,
        spec::msr::TSC_AUX,
    ] {
        msr::write(msr, 0x7777_0000)?;
    }
    msr::write(spec::msr::PAT, 0x0606_0606_0606_0606)?;
    msr::write(spec::msr::TSC_ADJUST, 1 << 40)?;
    // SAFETY: a breakpoint at an address that nothing executes.
    unsafe {
        core::arch::asm!("mov dr0, {}", "mov dr7, {}", in(reg) 0x7777_0000u64, in(reg) 0x401u64)
    };
    power::reset()
}
