//! Attacks with numbers out of range: of x2APIC and I/O APIC registers, of the timer's divider, of those that messages are for.
#![no_std]
#![no_main]

use guests::lapic::{self, msr_of};
use guests::trap::{GP0, raised};
use guests::verdict::Verdict;
use guests::{claim, cpu, guest, interrupt, ioapic, mmio, msr, same};
use spec::Msr;
use spec::apic::register;
use spec::ioapic::{PINS, Redirection, offset};

guest!(
    every_ioapic_index_but_the_registers_is_reserved,
    the_ioapic_index_has_eight_bits,
    every_offset_of_the_ioapic_but_three_is_absent,
    an_ioapic_entry_keeps_no_reserved_bit,
    ends_of_interrupts_that_nobody_has_change_nothing,
    offsets_between_xapic_registers_change_nothing,
    reserved_divider_bits_are_dropped_in_xapic_mode,
    the_x2apic_is_entered,
    every_x2apic_register_is_there_or_faults,
    every_x2apic_bit_is_taken_or_faults,
    every_divider_divides,
    numbers_around_the_x2apic_fault,
    messages_for_nobody_arrive_nowhere,
    cmos_indices_fault_nowhere,
);

/// Registers of the I/O APIC by their index.
fn ioapic_registers() -> impl Iterator<Item = u8> {
    (0..3).chain(0x10..0x10 + 2 * PINS)
}

/// What all of them hold, but for the places that change by themselves.
fn ioapic_state() -> [u32; 51] {
    let mut all = ioapic_registers().map(ioapic::read);
    core::array::from_fn(|_| all.next().unwrap_or(0))
}

fn every_ioapic_index_but_the_registers_is_reserved() -> Verdict {
    let before = ioapic_state();
    for index in 0..=u8::MAX {
        if !ioapic_registers().any(|known| known == index) {
            ioapic::write(index, u32::MAX);
            same!(ioapic::read(index), 0, "index {index:#x}");
        }
    }
    same!(ioapic_state(), before);
    Ok(())
}

fn the_ioapic_index_has_eight_bits() -> Verdict {
    let select = ioapic::BASE + u64::from(offset::SELECT);
    let version = ioapic::read(1);
    for bit in 8..32 {
        mmio::write32(select, 1 << bit | 1);
        same!(mmio::read32(select), 1, "bit {bit}");
        let found = mmio::read32(ioapic::BASE + u64::from(offset::WINDOW));
        same!(found, version, "bit {bit}");
    }
    Ok(())
}

fn every_offset_of_the_ioapic_but_three_is_absent() -> Verdict {
    let before = ioapic_state();
    for at in (0..0x1000).step_by(4) {
        if ![offset::SELECT, offset::WINDOW, offset::EOI].contains(&at) {
            let at = ioapic::BASE + u64::from(at);
            mmio::write32(at, u32::MAX);
            same!(mmio::read32(at), u32::MAX, "{at:#x}");
        }
    }
    same!(ioapic_state(), before);
    Ok(())
}

fn an_ioapic_entry_keeps_no_reserved_bit() -> Verdict {
    let writable = Redirection::WRITABLE.bits();
    for pin in 0..PINS {
        for bit in 0..64 {
            // All else masked, so that nothing is sent.
            let value = 1 << bit | Redirection::MASKED.bits();
            ioapic::route(pin, Redirection::from_bits_retain(value));
            same!(ioapic::entry(pin), value & writable, "pin {pin}, bit {bit}");
        }
        ioapic::route(pin, Redirection::MASKED);
    }
    Ok(())
}

fn ends_of_interrupts_that_nobody_has_change_nothing() -> Verdict {
    let before = ioapic_state();
    for value in (0..=0xff).chain([0x100, 0xffff_ff00, u32::MAX]) {
        mmio::write32(ioapic::BASE + u64::from(offset::EOI), value);
    }
    same!(ioapic_state(), before);
    Ok(())
}

/// The registers of the local APIC that hold what is written to them, and those that say what is pending.
fn lapic_state() -> [u32; 37] {
    let all = [
        register::ID,
        register::TPR,
        register::PPR,
        register::LDR,
        register::SVR,
        register::TIMER_INITIAL,
        register::TIMER_DIVIDE,
    ];
    let sets = register::ISR..register::ESR;
    let table = register::LVT_TIMER..=register::LVT_ERROR;
    let mut all = all.into_iter().chain(sets).chain(table).map(lapic::read);
    core::array::from_fn(|_| all.next().unwrap_or(0))
}

fn offsets_between_xapic_registers_change_nothing() -> Verdict {
    lapic::enable()?;
    let before = lapic_state();
    for at in (0..0x1000).step_by(4).filter(|at| at % 16 != 0) {
        let at = lapic::BASE + at;
        mmio::write32(at, 0x0101_0101);
        let _ = mmio::read32(at);
    }
    same!(lapic_state(), before);
    Ok(())
}

/// Bits 0, 1 and 3 (SDM vol. 3, "Divide Configuration Register").
const DIVIDER: u32 = 0b1011;

fn reserved_divider_bits_are_dropped_in_xapic_mode() -> Verdict {
    for bit in 0..32 {
        lapic::write(register::TIMER_DIVIDE, 1 << bit)?;
        same!(
            lapic::read(register::TIMER_DIVIDE),
            1 << bit & DIVIDER,
            "bit {bit}"
        );
    }
    lapic::write(register::TIMER_DIVIDE, 0)?;
    Ok(())
}

fn the_x2apic_is_entered() -> Verdict {
    lapic::enter_x2apic()?;
    interrupt::forget();
    Ok(())
}

/// Whether a register can be read (SDM vol. 3, "Local APIC Register Address Map Supported by x2APIC"); none is there of corrected
/// machine checks, by the number of the last entry that the version tells.
const fn is_readable(number: u8) -> bool {
    matches!(number, 0x02 | 0x03 | 0x08 | 0x0a | 0x0d | 0x0f..=0x28 | 0x30 | 0x32..=0x39 | 0x3e)
}

/// The bits that a write may have, if the register can be written ("x2APIC Register Address Space" and the registers' own figures).
const fn writable(number: u8) -> Option<u64> {
    Some(match number {
        // TPR, SELF_IPI
        0x08 | 0x3f => 0xff,
        // EOI, ESR
        0x0b | 0x28 => 0,
        // SVR without suppression of broadcast ends
        0x0f => 0x3ff,
        // ICR: all but bits 31:20, 17:16 and 13
        0x30 => 0xffff_ffff_000c_dfff,
        // LVT: delivery status may be set and is not taken
        0x32 => 0x7_10ff,
        0x33 | 0x34 => 0x1_17ff,
        0x35 | 0x36 => 0x1_f7ff,
        0x37 => 0x1_10ff,
        0x38 => 0xffff_ffff,
        0x3e => DIVIDER as u64,
        _ => return None,
    })
}

fn every_x2apic_register_is_there_or_faults() -> Verdict {
    same!(lapic::read(register::VERSION) >> 16 & 0xff, 5, "last entry");
    for number in 0..=u8::MAX {
        let expected = if is_readable(number) { None } else { GP0 };
        same!(
            raised(msr::read(msr_of(number))),
            expected,
            "RDMSR of register {number:#x}"
        );
        let expected = if writable(number).is_some() {
            None
        } else {
            GP0
        };
        let written = msr::write(msr_of(number), 0);
        same!(raised(written), expected, "WRMSR of register {number:#x}");
    }
    lapic::enable()?;
    Ok(())
}

fn every_x2apic_bit_is_taken_or_faults() -> Verdict {
    for number in 0..=u8::MAX {
        let takes = writable(number).unwrap_or(0);
        for bit in 0..64 {
            // Bit 18 would be the timer's TSC deadline, which not every platform has; here all have.
            let expected = if takes >> bit & 1 == 0 { GP0 } else { None };
            let written = msr::write(msr_of(number), 1 << bit);
            same!(raised(written), expected, "register {number:#x}, bit {bit}");
        }
    }
    for number in register::LVT_TIMER..=register::LVT_ERROR {
        lapic::write(number, 1 << 16)?;
    }
    lapic::write(register::TIMER_INITIAL, 0)?;
    lapic::write(register::TIMER_DIVIDE, 0)?;
    lapic::enable()?;
    // What was sent on the way is taken now; the handler's ends of interrupts show that no more than that was in service.
    let _ = interrupt::spin(0, 1, 100_000);
    same!(lapic_state()[7..15].iter().sum::<u32>(), 0, "in service");
    Ok(())
}

fn every_divider_divides() -> Verdict {
    lapic::write(register::LVT_TIMER, 1 << 16)?;
    lapic::write(register::TIMER_INITIAL, u32::MAX)?;
    let mut last = u32::MAX;
    for value in [0, 1, 2, 3, 8, 9, 10, 11, 0, 11, 8, 3] {
        lapic::write(register::TIMER_DIVIDE, value)?;
        same!(lapic::read(register::TIMER_DIVIDE), value);
        let from = cpu::tsc();
        let first = lapic::read(register::TIMER_CURRENT);
        cpu::spin_until(from + 20_000);
        let second = lapic::read(register::TIMER_CURRENT);
        let ticks = cpu::tsc() - from;
        // Two, four, eight ... 128, one (SDM vol. 3, "Divide Configuration Register"), of the TSC or a clock slower than it.
        let log2 = ((value & 3 | value >> 1 & 4) + 1) & 7;
        claim!(first <= last, "it runs up: {first:#x} after {last:#x}");
        claim!(
            u64::from(first - second) <= (ticks >> log2) + 1,
            "divider {value:#b}: {} counts in {ticks} ticks",
            first - second
        );
        last = second;
    }
    lapic::write(register::TIMER_INITIAL, 0)?;
    lapic::write(register::TIMER_DIVIDE, 0)?;
    Ok(())
}

fn numbers_around_the_x2apic_fault() -> Verdict {
    // What looks like a register of the x2APIC to whoever takes some of the number's bits alone.
    let far = (9..32)
        .map(|bit| 0x800u32 ^ 1 << bit)
        .chain([0x7ff, 0x900, 0xbff, 0xc00, 0xfff]);
    for first in far {
        for number in 0..=0xff {
            let number = first & !0xff | number;
            if number & !0xff != 0x800 {
                let by = (
                    raised(msr::read(Msr(number))),
                    raised(msr::write(Msr(number), 0)),
                );
                // Some of these are registers of others: they answer for themselves, and no fault is another than #GP.
                let known = has_own(number);
                claim!(known || by == (GP0, GP0), "MSR {number:#x}: {by:x?}");
            }
        }
    }
    Ok(())
}

/// Whether the number is outside what this guest knows to be empty.
const fn has_own(number: u32) -> bool {
    number < 0x600
}

fn messages_for_nobody_arrive_nowhere() -> Verdict {
    interrupt::forget();
    lapic::enable()?;
    let logical = 1 << 11;
    let ids = [
        1,
        2,
        7,
        8,
        31,
        32,
        63,
        64,
        254,
        255,
        256,
        0xffff,
        0x1_0000,
        0x7fff_ffff,
        0xffff_fffe,
    ];
    for id in ids {
        // Fixed, lowest priority, SMI, NMI, INIT, start-up, and the two reserved modes.
        for mode in 0..8 {
            msr::write(msr_of(register::ICR), id << 32 | 1 << 14 | mode << 8 | 0x60)?;
        }
    }
    // Clusters that nobody is in, and members that nobody is; SMI and reserved modes are nothing to anyone.
    for id in [2, 0x8000, 0x1_0001, 0xffff_0001, 0x8000_8000, 0x1_ffff] {
        for mode in 0..8 {
            msr::write(
                msr_of(register::ICR),
                id << 32 | logical | 1 << 14 | mode << 8 | 0x61,
            )?;
        }
    }
    claim!(
        !interrupt::spin(0x60, 1, 100_000),
        "by physical destination"
    );
    same!(interrupt::total(), 0);
    Ok(())
}

fn cmos_indices_fault_nowhere() -> Verdict {
    for index in 0..=u8::MAX {
        for bank in [0x70, 0x72] {
            guests::port::out8(bank, index);
            let first = guests::port::in8(bank + 1);
            guests::port::out8(bank, index);
            let again = guests::port::in8(bank + 1);
            // Beyond the clock's own fourteen registers nothing moves by itself.
            claim!(
                index & 0x7f < 14 || first == again,
                "index {index:#x} of {bank:#x}"
            );
        }
    }
    Ok(())
}
