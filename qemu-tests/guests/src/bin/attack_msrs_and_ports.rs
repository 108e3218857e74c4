//! Attacker: every MSR number there may be, by strata, and every port in every width, also by strings. An MSR is one that the
//! platform has or #GP; a port is a device's or nothing.
#![no_std]
#![no_main]
// UNSAFETY: string instructions on memory of this guest's own, and RDMSR with all of RCX.
#![allow(unsafe_code)]

use core::arch::asm;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU64, Ordering};
use guests::paging::{PRESENT, USER, WINDOW, WRITE, map};
use guests::random::Random;
use guests::start::Pages;
use guests::trap::{GP0, raised};
use guests::verdict::{Verdict, figure};
use guests::{attempt, claim, cpu, guest, interrupt, lapic, msr, port, power, same, uart};
use spec::apic::Lvt;
use spec::cpu::vector;
use spec::cpuid::{ECX, EDX, Extended1Edx, Leaf7Edx, LeafDSub1Eax, leaf};
use spec::{Msr, PAGE_SIZE, uart::offset};

guest!(
    absent_registers_fault_in_all_strata,
    numbers_drawn_at_random_fault,
    present_registers_refuse_what_they_do_not_take,
    the_upper_half_of_rcx_does_not_count,
    absent_ports_read_ones_in_all_widths_and_swallow_writes,
    x2apic_numbers_are_registers_or_fault,
    strings_run_down_with_the_direction_flag,
    a_32_bit_index_wraps_over_zero,
    a_count_without_end_stops_at_the_first_missing_page,
    a_string_from_no_address_faults_before_it_moves,
    a_long_string_lets_interrupts_in,
    a_string_into_the_sleep_register_does_no_more_than_bytes,
);

/// Documented ranges that are tried wholly: those that the MSR bitmap covers, and those of hypervisors, of AMD and of microcode.
const STRATA: [RangeInclusive<u32>; 5] = [
    0..=0x1fff,
    0xc000_0000..=0xc000_1fff,
    0x4000_0000..=0x4000_01ff,
    0x4b56_4d00..=0x4b56_4dff,
    0xc001_0000..=0xc001_02ff,
];
/// Numbers around which others are tried: where a bitmap's ranges end, and where 32 bits do.
const EDGES: [u32; 8] = [
    0x2000,
    0x4000_0000,
    0x8000_0000,
    0xbfff_ffff,
    0xc000_2000,
    0xc001_1000,
    0xdfff_ffff,
    0xffff_ffff,
];
const X2APIC: RangeInclusive<u32> = 0x800..=0x8ff;

/// The registers that the platform has, but for the x2APIC's; those that CPUID has to show by whether it does.
fn is_present(number: u32) -> bool {
    let shows_7 = |bits: Leaf7Edx| cpu::cpuid(leaf::EXTENDED_FEATURES, 0)[EDX] & bits.bits() != 0;
    match Msr(number) {
        spec::msr::TSC_AUX => {
            cpu::cpuid(leaf::EXTENDED_1, 0)[EDX] & Extended1Edx::RDTSCP.bits() != 0
        }
        spec::msr::XSS => cpu::cpuid(leaf::XSTATE, 1)[0] & LeafDSub1Eax::XSAVES.bits() != 0,
        spec::msr::SPEC_CTRL => shows_7(Leaf7Edx::IBRS | Leaf7Edx::STIBP | Leaf7Edx::SSBD),
        spec::msr::PRED_CMD => shows_7(Leaf7Edx::IBRS),
        other => PRESENT_ALWAYS.contains(&other),
    }
}

const PRESENT_ALWAYS: [Msr; 22] = [
    spec::msr::TSC,
    spec::msr::PLATFORM_ID,
    spec::msr::APIC_BASE,
    spec::msr::TSC_ADJUST,
    spec::msr::BIOS_SIGN_ID,
    spec::msr::SYSENTER_CS,
    spec::msr::SYSENTER_ESP,
    spec::msr::SYSENTER_EIP,
    spec::msr::MCG_CAP,
    spec::msr::MCG_STATUS,
    spec::msr::MISC_ENABLE,
    spec::msr::DEBUGCTL,
    spec::msr::PAT,
    spec::msr::TSC_DEADLINE,
    spec::msr::EFER,
    spec::msr::STAR,
    spec::msr::LSTAR,
    spec::msr::CSTAR,
    spec::msr::FMASK,
    spec::msr::FS_BASE,
    spec::msr::GS_BASE,
    spec::msr::KERNEL_GS_BASE,
];

/// Neither way into an absent register.
fn faults(number: u32) -> Verdict {
    let which = Msr(number);
    same!(raised(msr::read(which)), GP0, "RDMSR of {number:#x}");
    for value in [0, u64::MAX] {
        same!(
            raised(msr::write(which, value)),
            GP0,
            "WRMSR of {value:#x} to {number:#x}"
        );
    }
    Ok(())
}

fn absent_registers_fault_in_all_strata() -> Verdict {
    let mut tried = 0;
    let edges = EDGES
        .iter()
        .flat_map(|edge| (0..16).map(move |n| edge.wrapping_add(n).wrapping_sub(8)));
    for number in STRATA.iter().cloned().flatten().chain(edges) {
        if is_listed(number) {
            // One that can only be written says so by its fault.
            let read = msr::read(Msr(number));
            let write_only = Msr(number) == spec::msr::PRED_CMD;
            same!(
                raised(read),
                if write_only { GP0 } else { None },
                "RDMSR of {number:#x}"
            );
        } else {
            faults(number)?;
        }
        tried += 1;
    }
    figure("msrs", tried);
    Ok(())
}

/// CPUID exits: only those that it is about ask it.
fn is_listed(number: u32) -> bool {
    let named = [
        spec::msr::TSC_AUX,
        spec::msr::XSS,
        spec::msr::SPEC_CTRL,
        spec::msr::PRED_CMD,
    ];
    (named.contains(&Msr(number)) || PRESENT_ALWAYS.contains(&Msr(number))) && is_present(number)
}

fn numbers_drawn_at_random_fault() -> Verdict {
    let mut random = Random::new(12);
    for _ in 0..4096 {
        let number = random.below(1 << 31) as u32 | (random.below(2) as u32) << 31;
        if !is_listed(number) {
            faults(number)?;
        }
    }
    Ok(())
}

/// Registers of which not every bit may be written, and a value that the manual forbids.
const FORBIDDEN: [(Msr, u64); 16] = [
    (spec::msr::APIC_BASE, u64::MAX),
    (spec::msr::MCG_STATUS, u64::MAX),
    (spec::msr::MISC_ENABLE, u64::MAX),
    (spec::msr::DEBUGCTL, u64::MAX),
    (spec::msr::PAT, u64::MAX),
    (spec::msr::EFER, u64::MAX),
    (spec::msr::LSTAR, 1 << 47),
    (spec::msr::CSTAR, 1 << 63),
    (spec::msr::FS_BASE, 0x7fff << 48),
    (spec::msr::GS_BASE, 1 << 48),
    (spec::msr::KERNEL_GS_BASE, !(1 << 47)),
    (spec::msr::SYSENTER_ESP, 1 << 47),
    (spec::msr::SYSENTER_EIP, 1 << 62),
    (spec::msr::BIOS_UPDT_TRIG, 0x10_0000),
    (spec::msr::PLATFORM_ID, 7 << 50),
    (spec::msr::MCG_CAP, 10),
];

fn present_registers_refuse_what_they_do_not_take() -> Verdict {
    for (which, value) in FORBIDDEN {
        let before = raised(msr::read(which))
            .is_none()
            .then(|| msr::read_plain(which));
        same!(
            raised(msr::write(which, value)),
            GP0,
            "{value:#x} to {which:?}"
        );
        if let Some(before) = before {
            same!(
                msr::read(which)?,
                before,
                "{which:?} after a write that faulted"
            );
        }
    }
    Ok(())
}

fn the_upper_half_of_rcx_does_not_count() -> Verdict {
    // SDM vol. 2, "RDMSR": the high-order 32 bits of RCX are ignored, and those of RAX and RDX cleared.
    for (rcx, which) in [
        (0xdead_beef_0000_0277u64, spec::msr::PAT),
        (0xffff_ffff_c000_0080, spec::msr::EFER),
        (0x8000_0000_0000_01a0, spec::msr::MISC_ENABLE),
    ] {
        let (low, high): (u64, u64);
        // SAFETY: reads a register that is there.
        unsafe {
            asm!("rdmsr", in("rcx") rcx, inout("rax") u64::MAX => low, inout("rdx") u64::MAX => high, options(nostack))
        };
        same!(high << 32 | low, msr::read(which)?, "{rcx:#x}");
    }
    Ok(())
}

/// Ports of devices: UART, CMOS clock, power and reset, PCI configuration. The first three are left out of the writes by name: they are
/// this guest's voice, the time that it was born with, and its end.
const UART: RangeInclusive<u16> = uart::BASE..=uart::BASE + 7;
const CMOS: RangeInclusive<u16> = 0x70..=0x71;
const POWER: RangeInclusive<u16> = power::BASE..=power::BASE + 2;
const PCI: RangeInclusive<u16> = 0xcf8..=0xcff;

/// The bytes of an access that no device answers, as ones.
fn absent(first: u16, width: u16) -> u32 {
    let is_device = |port: u16| {
        [UART, CMOS, POWER, PCI]
            .iter()
            .any(|ports| ports.contains(&port))
    };
    (0..width)
        .filter(|n| !is_device(first.wrapping_add(*n)))
        .fold(0, |mask, n| mask | 0xff << (8 * n))
}

fn absent_ports_read_ones_in_all_widths_and_swallow_writes() -> Verdict {
    const FULL: [u32; 3] = [0xff, 0xffff, 0xffff_ffff];
    for first in 0..=u16::MAX {
        for (width, full) in [1u16, 2, 4].into_iter().zip(FULL) {
            let mask = absent(first, width);
            if mask == full {
                match width {
                    1 => port::out8(first, 0x5a),
                    2 => port::out16(first, 0x5a5a),
                    _ => port::out32(first, 0x5a5a_5a5a),
                }
            }
            let read = match width {
                1 => port::in8(first).into(),
                2 => port::in16(first).into(),
                _ => port::in32(first),
            };
            same!(read & mask, mask, "{width} bytes of port {first:#x}");
        }
    }
    Ok(())
}

/// Which of the x2APIC's registers can be read, and which take a zero (SDM vol. 3, "x2APIC Register Address Space").
fn reads(number: u32) -> bool {
    matches!(number, 0x802 | 0x803 | 0x808 | 0x80a | 0x80d | 0x80f | 0x810..=0x828 | 0x830 | 0x832..=0x839 | 0x83e)
}

fn takes(number: u32) -> bool {
    matches!(
        number,
        0x808 | 0x80b | 0x80f | 0x828 | 0x830 | 0x832..=0x838 | 0x83e | 0x83f
    )
}

fn x2apic_numbers_are_registers_or_fault() -> Verdict {
    // No register is there in xAPIC mode; the strata have been through them.
    lapic::enable()?;
    lapic::enter_x2apic()?;
    for number in X2APIC {
        let read = raised(msr::read(Msr(number)));
        same!(
            read,
            if reads(number) { None } else { GP0 },
            "RDMSR of {number:#x}"
        );
        if !takes(number) {
            for value in [0, 1, u64::MAX] {
                same!(
                    raised(msr::write(Msr(number), value)),
                    GP0,
                    "WRMSR of {value:#x} to {number:#x}"
                );
            }
        } else if number != 0x83f && number != 0x830 {
            // All have reserved bits in the upper half; the command register has its destination there.
            same!(
                raised(msr::write(Msr(number), 1 << 32)),
                GP0,
                "upper half of {number:#x}"
            );
        }
    }
    Ok(())
}

static BUFFER: Pages<{ 2 * 4096 }> = Pages::new();
/// A port that nothing is at.
const NOTHING: u16 = 0x80;
const SCRATCH: u16 = uart::BASE + offset::SCR as u16;

fn byte(at: u64) -> u8 {
    // SAFETY: of the buffer, or of low memory.
    unsafe { (at as *const u8).read_volatile() }
}

fn set(at: u64, value: u8) {
    // SAFETY: as above.
    unsafe { (at as *mut u8).write_volatile(value) };
}

fn strings_run_down_with_the_direction_flag() -> Verdict {
    let at = BUFFER.address() + PAGE_SIZE + 2;
    (0..16).for_each(|n| set(at - n, n as u8));
    let (mut rsi, mut rcx) = (at, 7u64);
    // SAFETY: reads the buffer, down over the border of its pages; the flag is clear again behind it.
    unsafe {
        attempt!("std" "rep outsb" "cld", inout("rsi") rsi, inout("rcx") rcx, in("dx") SCRATCH)?
    };
    same!((at - rsi, rcx, uart::read(offset::SCR)), (7, 0, 6));
    let (mut rdi, mut rcx) = (at - 1, 3u64);
    // SAFETY: writes the buffer, as above; the second element lies in both pages.
    unsafe {
        attempt!("std" "rep insd" "cld", inout("rdi") rdi, inout("rcx") rcx, in("dx") NOTHING)?
    };
    same!((at - 1 - rdi, rcx), (12, 0));
    for n in 0..16 {
        let written = (-2..10).contains(&(n as i64));
        let at = at - n;
        same!(byte(at) == 0xff, written, "byte {at:#x}");
    }
    Ok(())
}

fn a_32_bit_index_wraps_over_zero() -> Verdict {
    // The top of 4 GiB is nobody's, and low memory is RAM: the first four bytes are lost, the others are not.
    let before: [u8; 8] = core::array::from_fn(|n| byte(n as u64));
    (0..8).for_each(|n| set(n, 0));
    let (mut rdi, mut rcx) = (0xffff_fffcu64 | 3 << 32, 8u64 | 1 << 40);
    // SAFETY: low memory, of which nothing is used but by `before`; the prefix makes the registers EDI and ECX.
    unsafe {
        attempt!("rep insb byte ptr es:[edi], dx", inout("rdi") rdi, inout("rcx") rcx, in("dx") NOTHING)?
    };
    same!((rdi, rcx), (4, 0));
    let written: [u8; 8] = core::array::from_fn(|n| byte(n as u64));
    same!(written, [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    // And down again.
    let (mut rdi, mut rcx) = (2u64, 5u64);
    // SAFETY: as above.
    unsafe {
        attempt!("std" "rep insb byte ptr es:[edi], dx" "cld", inout("rdi") rdi, inout("rcx") rcx, in("dx") NOTHING)?
    };
    same!((rdi, rcx), (0xffff_fffd, 0));
    (0..8).zip(before).for_each(|(n, value)| set(n, value));
    Ok(())
}

fn a_count_without_end_stops_at_the_first_missing_page() -> Verdict {
    const ENDLESS: [u64; 3] = [u64::MAX, 1 << 63, 0x1_0000_0001];
    for count in ENDLESS {
        let from = map(20, BUFFER.address() | PRESENT | WRITE | USER);
        let _ = map(21, 0);
        let _ = map(19, 0);
        let (mut rsi, mut rcx) = (from + 100, count);
        // SAFETY: reads the page, and faults behind it.
        let by =
            unsafe { attempt!("rep outsb", inout("rsi") rsi, inout("rcx") rcx, in("dx") NOTHING) };
        same!(raised(by), Some((vector::PF.0, 0)));
        claim!(
            by.is_err_and(|trap| trap.cr2 == from + PAGE_SIZE),
            "{by:x?}"
        );
        same!((rsi, count - rcx), (from + PAGE_SIZE, PAGE_SIZE - 100));
        let (mut rdi, mut rcx) = (from + 101, count);
        // SAFETY: writes the page, and faults before it.
        let by = unsafe {
            attempt!("std" "rep insw" "cld", inout("rdi") rdi, inout("rcx") rcx, in("dx") NOTHING)
        };
        same!(raised(by), Some((vector::PF.0, 2)), "down");
        claim!(by.is_err_and(|trap| trap.cr2 == from - 1), "down: {by:x?}");
        same!((rdi, count - rcx), (from - 1, 51), "down");
        // SAFETY: the fault left the flag set.
        unsafe { asm!("cld") };
    }
    Ok(())
}

fn a_string_from_no_address_faults_before_it_moves() -> Verdict {
    for nowhere in [1u64 << 47, 0x7fff_ffff_ffff, 1 << 63, 0xffff_7fff_ffff_ffff] {
        // The second begins below the border and lies on both sides of it.
        let (mut rsi, mut rcx) = (nowhere, u64::MAX);
        // SAFETY: faults.
        let by =
            unsafe { attempt!("rep outsd", inout("rsi") rsi, inout("rcx") rcx, in("dx") NOTHING) };
        same!(raised(by), GP0, "{nowhere:#x}");
        same!((rsi, rcx), (nowhere, u64::MAX), "{nowhere:#x}");
        // With a count of zero there is no address.
        rcx = 0;
        // SAFETY: does nothing.
        unsafe { attempt!("rep outsd", inout("rsi") rsi, inout("rcx") rcx, in("dx") NOTHING)? };
        same!((rsi, rcx), (nowhere, 0), "{nowhere:#x}");
    }
    Ok(())
}

const TIMER: u8 = 0x61;
static END: AtomicU64 = AtomicU64::new(0);

fn a_long_string_lets_interrupts_in() -> Verdict {
    const PAGES: u64 = 16;
    (0..PAGES as usize).for_each(|n| {
        let _ = map(32 + n, BUFFER.address() | PRESENT | WRITE | USER);
    });
    let _ = map(32 + PAGES as usize, 0);
    interrupt::forget();
    lapic::set_timer(Lvt::TSC_DEADLINE, TIMER)?;
    let from = WINDOW + 32 * PAGE_SIZE;
    let (mut rsi, mut rcx) = (from, u64::MAX);
    let begun = lapic::arm(100_000)?;
    // SAFETY: reads the pages, and faults behind them.
    let by = unsafe {
        attempt!("sti" "rep outsb" "cli", inout("rsi") rsi, inout("rcx") rcx, in("dx") NOTHING)
    };
    END.store(cpu::tsc(), Ordering::Relaxed);
    cpu::cli();
    claim!(
        by.is_err_and(|trap| trap.cr2 == from + PAGES * PAGE_SIZE),
        "{by:x?}"
    );
    same!(u64::MAX - rcx, PAGES * PAGE_SIZE, "elements");
    let instruction = by.err().map(|trap| trap.rip);
    let came = interrupt::arrival(0);
    same!(came.map(|came| came.vector), Some(TIMER));
    same!(came.map(|came| came.rip), instruction, "where it came");
    let when = came.map_or(0, |came| came.tsc);
    let end = END.load(Ordering::Relaxed);
    claim!(
        when > begun && when + 100_000 < end,
        "armed for {begun}, came at {when}, of a string until {end}"
    );
    Ok(())
}

fn a_string_into_the_sleep_register_does_no_more_than_bytes() -> Verdict {
    // Values without the enable bit, to a width that reaches status and reset as well, none with the value that resets.
    (0..8).for_each(|n| {
        set(
            BUFFER.address() + n,
            [4, 0x80, 0x41, 0xff, 8, 0, 0x43, 0][n as usize],
        )
    });
    let (mut rsi, mut rcx) = (BUFFER.address(), 2u64);
    // SAFETY: reads the buffer.
    unsafe { attempt!("rep outsd", inout("rsi") rsi, inout("rcx") rcx, in("dx") power::BASE)? };
    same!(
        (
            rcx,
            port::in8(power::BASE),
            port::in8(power::BASE + 1),
            port::in8(power::BASE + 2)
        ),
        (0, 8, 0, 0)
    );
    same!(cpu::cpuid(1, 0)[ECX] >> 31, 1, "we are still here");
    Ok(())
}
