//! Which registers there are, who may read and write them, and which bits they take.

use super::machine::{CARRIERS, Machine};
use super::*;

#[derive(Clone, Copy, PartialEq)]
enum Rights {
    Both,
    Read,
    Write,
    None,
}

/// "x2APIC Register Address Space", for an APIC without CMCI.
fn x2apic_rights(number: u8) -> Rights {
    match number {
        0x02 | 0x03 | 0x0a | 0x0d | 0x10..=0x27 | 0x39 => Rights::Read,
        0x08 | 0x0f | 0x28 | 0x30 | 0x32..=0x38 | 0x3e => Rights::Both,
        0x0b | 0x3f => Rights::Write,
        _ => Rights::None,
    }
}

#[test]
fn every_x2apic_msr_has_the_manuals_rights() {
    for number in 0..=u8::MAX {
        let rights = x2apic_rights(number);
        let mut apic = x2apic(0);
        // Zero is a value that every register takes.
        let written = apic.write_msr(msr(number), 0, NOW);
        let read = apic.read_msr(msr(number), NOW);
        let writable = matches!(rights, Rights::Both | Rights::Write);
        let readable = matches!(rights, Rights::Both | Rights::Read);
        assert_eq!(written.is_ok(), writable, "write {number:#x}");
        assert_eq!(read.is_ok(), readable, "read {number:#x}");
    }
    for outside in [0x7ff, 0x900, 0, u32::MAX] {
        assert_eq!(
            x2apic(0).read_msr(Msr(outside), NOW),
            Err(AccessError::Absent)
        );
    }
}

#[test]
fn every_x2apic_register_refuses_exactly_its_reserved_bits() {
    let lvt_pin = 0x1_f7ffu64;
    let bits = [
        (register::TPR, 0xff),
        (register::EOI, 0),
        (register::SVR, 0x3ff),
        (register::ESR, 0),
        (register::ICR, 0xffff_ffff_000c_dfff),
        (register::LVT_TIMER, 0x7_10ff),
        (register::LVT_THERMAL, 0x1_17ff),
        (register::LVT_PERFORMANCE, 0x1_17ff),
        (register::LVT_LINT0, lvt_pin),
        (register::LVT_LINT1, lvt_pin),
        (register::LVT_ERROR, 0x1_10ff),
        (register::TIMER_INITIAL, 0xffff_ffff),
        (register::TIMER_DIVIDE, 0xb),
        (register::SELF_IPI, 0xff),
    ];
    for (number, taken) in bits {
        for bit in 0..64 {
            let mut apic = x2apic(0);
            let before = apic.clone();
            let result = apic.write_msr(msr(number), 1u64 << bit, NOW);
            if taken >> bit & 1 == 1 {
                assert!(result.is_ok(), "register {number:#x} bit {bit}");
            } else {
                assert_eq!(
                    result,
                    Err(AccessError::Value),
                    "register {number:#x} bit {bit}"
                );
                assert_eq!(apic, before);
            }
        }
    }
}

#[test]
fn no_timer_has_two_modes() {
    assert_eq!(
        x2apic(0).write_msr(msr(register::LVT_TIMER), 0x6_0040, NOW),
        Err(AccessError::Value)
    );
    let mut apic = xapic(0);
    put(&mut apic, register::LVT_TIMER, 0x6_0040);
    assert_eq!(get(&mut apic, register::LVT_TIMER), 0x4_0040);
}

#[test]
fn memory_writes_drop_reserved_and_read_only_bits() {
    let kept = [
        (register::TPR, 0xff),
        (register::LDR, 0xff00_0000),
        (register::DFR, 0xffff_ffff),
        (register::SVR, 0x3ff),
        (register::ICR_HIGH, 0xff00_0000),
        (register::LVT_TIMER, 0x5_00ff),
        (register::LVT_THERMAL, 0x1_07ff),
        (register::LVT_PERFORMANCE, 0x1_07ff),
        (register::LVT_LINT0, 0x1_a7ff),
        (register::LVT_LINT1, 0x1_a7ff),
        (register::LVT_ERROR, 0x1_00ff),
        (register::TIMER_DIVIDE, 0xb),
    ];
    for (number, bits) in kept {
        let mut apic = xapic(0);
        put(&mut apic, number, u32::MAX);
        assert_eq!(get(&mut apic, number), bits, "register {number:#x}");
    }
    for number in [
        register::ID,
        register::VERSION,
        register::PPR,
        register::IRR,
        register::TIMER_CURRENT,
    ] {
        let mut apic = xapic(1);
        let before = get(&mut apic, number);
        put(&mut apic, number, !before);
        assert_eq!(get(&mut apic, number), before, "register {number:#x}");
    }
}

#[test]
fn memory_is_read_in_parts_of_a_register_and_written_whole() {
    let mut apic = xapic(0);
    let version = u16::from(register::VERSION) << 4;
    for (at, width, value) in [
        (0, Width::B4, 0x0005_0014),
        (0, Width::B1, 0x14),
        (2, Width::B1, 0x05),
        (2, Width::B2, 0x0005),
        (0, Width::B2, 0x0014),
    ] {
        assert_eq!(apic.read_mmio(version + at, width, NOW), Ok(value));
    }
    for (at, width) in [
        (0, Width::B8),
        (1, Width::B4),
        (3, Width::B2),
        (4, Width::B1),
        (12, Width::B4),
    ] {
        assert_eq!(
            apic.read_mmio(version + at, width, NOW),
            Err(AccessError::Width)
        );
    }
    for (at, width) in [
        (0x80, Width::B1),
        (0x80, Width::B2),
        (0x80, Width::B8),
        (0x84, Width::B4),
    ] {
        assert_eq!(apic.write_mmio(at, width, 0, NOW), Err(AccessError::Width));
    }
    assert_eq!(
        apic.read_mmio(0x1020, Width::B4, NOW),
        Err(AccessError::Absent)
    );
}

#[test]
fn isr_tmr_and_irr_show_each_vector_in_its_place() {
    for carrier in CARRIERS {
        let mut apic = Machine::ready(carrier);
        for vector in 16..=255u8 {
            let (word, bit) = (vector / 32, 1 << (vector % 32));
            apic.outside(vector, true);
            assert_eq!(apic.get(register::IRR + word), bit);
            assert_eq!(apic.get(register::TMR + word) & bit, bit);
            assert_eq!(apic.get(register::ISR + word), 0);
            assert_eq!(apic.take(), Some(Vector(vector)));
            assert_eq!(apic.get(register::IRR + word), 0);
            assert_eq!(apic.get(register::ISR + word), bit);
            assert_eq!(apic.eoi(), Effect::Eoi(Vector(vector)));
        }
    }
}

#[test]
fn switching_off_by_software_masks_the_table_until_it_is_written_again() {
    let mut apic = x2apic(0);
    put(&mut apic, register::LVT_TIMER, 0x40);
    put(&mut apic, register::SVR, 0xff);
    assert_eq!(get(&mut apic, register::LVT_TIMER), 0x1_0040);
    put(&mut apic, register::LVT_TIMER, 0x41);
    assert_eq!(
        get(&mut apic, register::LVT_TIMER),
        0x1_0041,
        "the mask cannot be cleared while off"
    );
    put(&mut apic, register::SVR, ENABLED);
    assert_eq!(get(&mut apic, register::LVT_TIMER), 0x1_0041);
    put(&mut apic, register::LVT_TIMER, 0x41);
    assert_eq!(get(&mut apic, register::LVT_TIMER), 0x41);
}

#[test]
fn switched_off_by_software_it_takes_nothing_but_keeps_what_it_has() {
    let mut apic = x2apic(0);
    apic.accept(Vector(0x40), false);
    put(&mut apic, register::SVR, 0xff);
    apic.accept(Vector(0x50), false);
    assert_eq!(apic.deliverable(), Some(Vector(0x40)));
}
