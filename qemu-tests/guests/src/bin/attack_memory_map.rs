//! Attacker: all of guest-physical memory. What the map calls RAM is RAM, devices answer as they are documented, all else reads as ones
//! and swallows writes, up to the last address that the processor has; and nothing of the hypervisor lies in any of it.
#![no_std]
#![no_main]
// UNSAFETY: reads and writes all of memory, and where there is none.
#![allow(unsafe_code)]

use core::arch::asm;
use core::ops::Range;
use guests::paging::{PRESENT, WRITE, map};
use guests::random::Random;
use guests::trap::raised;
use guests::verdict::{Verdict, figure};
use guests::{attempt, claim, cpu, guest, lapic, same};
use spec::PAGE_SIZE;
use spec::cpu::vector;
use spec::cpuid::leaf;

guest!(
    low_memory_is_ram_but_for_its_hole,
    every_sixteenth_page_beyond_ram_is_nothing,
    the_room_of_pci_functions_is_nothing,
    configuration_space_has_one_function,
    the_page_of_the_io_apic_has_three_registers,
    the_page_of_the_local_apic_has_registers_every_16_bytes,
    there_is_no_firmware_below_4_gib,
    there_is_nothing_up_to_the_last_address,
    addresses_that_the_processor_has_not_are_reserved_bits,
    a_local_apic_in_x2apic_mode_leaves_no_page,
    what_was_written_nowhere_is_not_in_ram,
    nothing_of_the_hypervisor_is_in_ram,
);

/// The guest's RAM: 16 MiB without the hole of a PC.
const END: u64 = 16 << 20;
const HOLE: Range<u64> = 0xa_0000..0xe_0000;
/// No byte of it is what nothing reads as.
const PROBE: u64 = 0x3a5c_96e1_0f78_b42d;

/// What is 8 bytes at a linear address.
fn read(at: u64) -> u64 {
    let value;
    // SAFETY: reads.
    unsafe { asm!("mov {}, [{}]", out(reg) value, in(reg) at, options(nostack, readonly)) };
    value
}

fn write(at: u64, value: u64) {
    // SAFETY: the callers write where nothing is, or put back what was there.
    unsafe { asm!("mov [{}], {}", in(reg) at, in(reg) value, options(nostack)) };
}

/// Maps a guest-physical page in the window, and says where it is there.
fn window(page: u64) -> u64 {
    map(0, page | PRESENT | WRITE)
}

/// Nothing answers at a page: ones, and ones again behind a write.
#[track_caller]
fn is_nothing(page: u64, random: &mut Random) -> Verdict {
    let at = window(page) + 8 * random.below(PAGE_SIZE / 8);
    same!(read(at), u64::MAX, "{page:#x}");
    write(at, PROBE);
    same!(read(at), u64::MAX, "{page:#x} after a write");
    Ok(())
}

fn low_memory_is_ram_but_for_its_hole() -> Verdict {
    let mut random = Random::new(1);
    for page in (0..1 << 20).step_by(PAGE_SIZE as usize) {
        if HOLE.contains(&page) {
            is_nothing(page, &mut random)?;
            continue;
        }
        let at = window(page) + 0xff8;
        let before = read(at);
        write(at, PROBE);
        same!((read(at), read(page + 0xff8)), (PROBE, PROBE), "{page:#x}");
        write(at, before);
    }
    Ok(())
}

fn every_sixteenth_page_beyond_ram_is_nothing() -> Verdict {
    // The machine's own memory lies there, our RAM and the hypervisor in it.
    let mut random = Random::new(2);
    for page in (END..512 << 20).step_by(16 * PAGE_SIZE as usize) {
        is_nothing(page, &mut random)?;
    }
    for _ in 0..512 {
        is_nothing(
            (512 << 20) + random.below(2560 << 8) * PAGE_SIZE,
            &mut random,
        )?;
    }
    is_nothing(END, &mut random)?;
    is_nothing(0xbfff_f000, &mut random)
}

fn the_room_of_pci_functions_is_nothing() -> Verdict {
    let mut random = Random::new(3);
    for _ in 0..512 {
        is_nothing(
            0xc000_0000 + random.below(512 << 8) * PAGE_SIZE,
            &mut random,
        )?;
    }
    // Behind the one bus, up to the I/O APIC, and between the two kinds of APICs.
    for _ in 0..512 {
        is_nothing(
            0xe010_0000 + random.below(0x1_eb00) * PAGE_SIZE,
            &mut random,
        )?;
    }
    for page in (0xfec0_1000..0xfee0_0000).step_by(PAGE_SIZE as usize) {
        is_nothing(page, &mut random)?;
    }
    for page in (0xfee0_1000..0xff00_0000).step_by(4 * PAGE_SIZE as usize) {
        is_nothing(page, &mut random)?;
    }
    Ok(())
}

/// Configuration space of PCI bus 0.
const ECAM: u64 = 0xe000_0000;

fn read32(at: u64) -> u32 {
    let value;
    // SAFETY: reads.
    unsafe { asm!("mov {:e}, [{}]", out(reg) value, in(reg) at, options(nostack, readonly)) };
    value
}

fn write32(at: u64, value: u32) {
    // SAFETY: writes where nothing is.
    unsafe { asm!("mov [{}], {:e}", in(reg) at, in(reg) value, options(nostack)) };
}

fn configuration_space_has_one_function() -> Verdict {
    let mut random = Random::new(4);
    for function in 1..256 {
        let page = window(ECAM + function * PAGE_SIZE);
        same!(read32(page), u32::MAX, "function {function}");
        let at = page + 4 * random.below(1024);
        write32(at, 0);
        same!(read32(at), u32::MAX, "{at:#x} of function {function}");
    }
    // The bridge: a device, no capability, and nothing that a write of ones makes an address of.
    let page = window(ECAM);
    claim!(
        read32(page) != u32::MAX && read32(page) != 0,
        "there is no bridge"
    );
    same!(read32(page + 0x34) & 0xff, 0, "capabilities");
    for bar in (0x10..0x28).step_by(4) {
        write32(page + bar, u32::MAX);
        same!(read32(page + bar), 0, "base address at {bar:#x}");
    }
    for register in (0x100..0x1000).step_by(64) {
        write32(page + register, PROBE as u32);
        same!(read32(page + register), 0, "{register:#x}");
    }
    // Wider than a double word is no access that the bus has.
    same!(read(page), u64::MAX);
    Ok(())
}

fn the_page_of_the_io_apic_has_three_registers() -> Verdict {
    let page = window(guests::ioapic::BASE);
    for register in (0..PAGE_SIZE).step_by(4) {
        if !matches!(register, 0 | 0x10 | 0x40) {
            write32(page + register, PROBE as u32);
            same!(read32(page + register), u32::MAX, "{register:#x}");
        }
    }
    // Every index there is: version and 24 pins, all masked as at the start, and zero, or nothing, beyond.
    for index in 0..=u8::MAX {
        let value = guests::ioapic::read(index);
        match index {
            1 => {
                same!(value, 0x17_0020, "version");
            }
            0x10..0x40 => {
                same!(value, u32::from(index % 2 == 0) << 16, "{index:#x}");
            }
            0 | 2 => {
                same!(value & !0x0f00_0000, 0, "{index:#x}");
            }
            _ => {
                claim!(
                    value == 0 || value == u32::MAX,
                    "{index:#x} holds {value:#x}"
                );
            }
        }
    }
    Ok(())
}

fn the_page_of_the_local_apic_has_registers_every_16_bytes() -> Verdict {
    let page = window(lapic::BASE);
    for register in (0..PAGE_SIZE).step_by(16) {
        // SDM vol. 3, "Local APIC Register Address Map": what is between is no register.
        for between in [4, 8, 12] {
            same!(
                read32(page + register + between),
                u32::MAX,
                "{register:#x} + {between}"
            );
        }
        // Reserved ones have no state, and nothing of a host's page is in them.
        if register > 0x3f0 || matches!(register, 0 | 0x10 | 0x40..=0x70 | 0x290..=0x2e0) {
            let value = read32(page + register);
            claim!(
                value == 0 || value == u32::MAX,
                "{register:#x} holds {value:#x}"
            );
        }
    }
    // Interrupts that nobody sent are not there.
    for register in (0x100..0x280).step_by(16) {
        same!(read32(page + register), 0, "{register:#x}");
    }
    Ok(())
}

fn there_is_no_firmware_below_4_gib() -> Verdict {
    let mut random = Random::new(5);
    for page in (0xff00_0000..0x1_0000_0000).step_by(PAGE_SIZE as usize) {
        is_nothing(page, &mut random)?;
    }
    // The reset vector of a PC.
    same!(read(window(0xffff_f000) + 0xff0), u64::MAX);
    Ok(())
}

/// Bits of a physical address.
fn width() -> u64 {
    u64::from(cpu::cpuid(leaf::ADDRESS_SIZES, 0)[0] & 0xff)
}

fn there_is_nothing_up_to_the_last_address() -> Verdict {
    let mut random = Random::new(6);
    let width = width();
    figure("physical_bits", width);
    claim!((36..=52).contains(&width), "{width} bits");
    for bit in 32..width {
        for page in [1 << bit, (1 << bit) + END, (2 << bit) - PAGE_SIZE] {
            is_nothing(page, &mut random)?;
        }
    }
    for _ in 0..1024 {
        let page = random.below(1 << 31) << 12 | random.below(1 << 20) << 32;
        is_nothing((1 << 32 | page) & ((1 << width) - PAGE_SIZE), &mut random)?;
    }
    Ok(())
}

fn addresses_that_the_processor_has_not_are_reserved_bits() -> Verdict {
    const RESERVED_BIT: u64 = 1 << 3 | 1;
    for bit in width()..52 {
        let at = map(0, 1 << bit | PRESENT | WRITE);
        // SAFETY: faults.
        let by = unsafe { attempt!("mov {at}, [{at}]", at = inout(reg) at => _) };
        same!(raised(by), Some((vector::PF.0, RESERVED_BIT)), "bit {bit}");
    }
    Ok(())
}

fn a_local_apic_in_x2apic_mode_leaves_no_page() -> Verdict {
    lapic::enable()?;
    lapic::enter_x2apic()?;
    let page = window(lapic::BASE);
    for register in (0..PAGE_SIZE).step_by(16) {
        same!(read32(page + register), u32::MAX, "{register:#x}");
        write32(page + register, 0);
        same!(
            read32(page + register),
            u32::MAX,
            "{register:#x} after a write"
        );
    }
    // What was written there has changed nothing of the one behind the MSRs: it is still on.
    same!(lapic::read(spec::apic::register::SVR), 0x1ff);
    lapic::leave_x2apic()?;
    Ok(())
}

/// All of RAM, 8 bytes at a time: (address, value).
fn ram() -> impl Iterator<Item = (u64, u64)> {
    let parts = [0..HOLE.start, HOLE.end..END];
    parts
        .into_iter()
        .flat_map(|part| part.step_by(8))
        .map(|at| (at, read(at)))
}

fn what_was_written_nowhere_is_not_in_ram() -> Verdict {
    // In registers, stack and code it is a number that comes of two.
    let half = core::hint::black_box(0x77u64);
    let mark = PROBE.rotate_left(17) ^ half.wrapping_mul(0x0101_0101_0101_0101);
    let page = window(0xd000_0000);
    for at in (page..page + PAGE_SIZE).step_by(8) {
        write(at, mark);
    }
    write(window(END) + 8, mark);
    write(window(HOLE.start), mark);
    let found = ram().find(|(_, value)| *value == mark);
    // The search itself may have left it on the stack.
    let stack = guests::start::STACK.address();
    let stack = stack..stack + guests::start::STACK_SIZE as u64;
    claim!(
        found.is_none_or(|(at, _)| stack.contains(&at)),
        "{found:x?}"
    );
    Ok(())
}

/// What the hypervisor's image holds and no guest's: ends of the machine, and a line of its log. Each byte is one higher here.
const SAYINGS: [&[u8; 8]; 3] = [b"mbtu.hvf", b"nbdijof;", b"ifbq`czu"];

fn nothing_of_the_hypervisor_is_in_ram() -> Verdict {
    let needle =
        |text: &[u8; 8]| u64::from_le_bytes(text.map(|byte| core::hint::black_box(byte) - 1));
    let [a, b, c] = [0, 1, 2].map(|n| needle(SAYINGS[n]));
    // The head of a 64-bit little-endian ELF file, which this guest was not loaded with.
    let elf = u64::from_le_bytes([0x7f, b'E', b'L', core::hint::black_box(b'F'), 2, 1, 1, 0]);
    let mut before = 0;
    let stack = guests::start::STACK.address();
    let stack = stack..stack + guests::start::STACK_SIZE as u64;
    for (at, value) in ram() {
        // At each byte between the word before and this one.
        let both = u128::from(value) << 64 | u128::from(before);
        before = value;
        if both as u64 == 0 && value == 0 {
            continue;
        }
        for byte in 1..=8 {
            let word = (both >> (8 * byte)) as u64;
            if (word == a || word == b || word == c || word == elf) && !stack.contains(&at) {
                claim!(false, "{word:#x} at {:#x}", at + byte - 8);
            }
        }
    }
    Ok(())
}
