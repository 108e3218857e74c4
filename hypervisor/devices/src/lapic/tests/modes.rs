//! "x2APIC State Transitions", reset and INIT.

use super::*;

const BASE: u64 = 0xfee0_0000;
const DISABLED: u64 = BASE;
const INVALID: u64 = BASE | 1 << 10;
const XAPIC: u64 = BASE | 1 << 11;
const X2APIC: u64 = BASE | 3 << 10;

fn in_mode(path: &[u64]) -> Lapic {
    let mut apic = Lapic::new(0, false, 0);
    for &base in path {
        apic.set_base_msr(base).unwrap();
    }
    apic
}

#[test]
fn exactly_the_manuals_transitions_are_taken() {
    // From, how to get there, and where one may go: disabled, invalid, xAPIC, x2APIC
    let table = [
        (&[DISABLED][..], [true, false, true, false]),
        (&[XAPIC][..], [true, false, true, true]),
        (&[X2APIC][..], [true, false, false, true]),
    ];
    for (path, allowed) in table {
        for (to, allowed) in [DISABLED, INVALID, XAPIC, X2APIC].into_iter().zip(allowed) {
            let mut apic = in_mode(path);
            let before = apic.clone();
            let result = apic.set_base_msr(to);
            assert_eq!(result.is_ok(), allowed, "{path:x?} to {to:#x}");
            if allowed {
                assert_eq!(apic.base_msr(), to);
            } else {
                assert_eq!(result, Err(AccessError::Value));
                assert_eq!(apic, before, "a refused write changes nothing");
            }
        }
    }
}

#[test]
fn reserved_bits_and_another_base_are_refused() {
    for bit in (0..64).filter(|bit| ![8, 10, 11].contains(bit)) {
        let mut apic = Lapic::new(0, true, 0);
        assert_eq!(
            apic.set_base_msr(apic.base_msr() ^ (1 << bit)),
            Err(AccessError::Value),
            "bit {bit}"
        );
    }
}

#[test]
fn the_registers_answer_in_their_mode_alone() {
    let offset = u16::from(register::VERSION) << 4;
    for (path, msrs, memory) in [
        (&[DISABLED], false, false),
        (&[XAPIC], false, true),
        (&[X2APIC], true, false),
    ] {
        let mut apic = in_mode(path);
        assert_eq!(apic.read_msr(msr(register::VERSION), NOW).is_ok(), msrs);
        assert_eq!(apic.write_msr(msr(register::TPR), 0, NOW).is_ok(), msrs);
        assert_eq!(apic.read_mmio(offset, Width::B4, NOW).is_ok(), memory);
        assert_eq!(apic.write_mmio(0x80, Width::B4, 0, NOW).is_ok(), memory);
    }
}

#[test]
fn a_processor_is_born_in_xapic_mode_and_only_the_first_is_bootstrap() {
    assert_eq!(Lapic::new(0, true, 0).base_msr(), 0xfee0_0900);
    assert_eq!(Lapic::new(1, false, 0).base_msr(), 0xfee0_0800);
    let mut apic = Lapic::new(5, false, 0);
    let expected = [
        (register::ID, 5 << 24),
        (register::VERSION, 0x0005_0014),
        (register::TPR, 0),
        (register::PPR, 0),
        (register::LDR, 0),
        (register::DFR, u32::MAX),
        (register::SVR, 0xff),
        (register::ESR, 0),
        (register::ICR, 0),
        (register::ICR_HIGH, 0),
        (register::LVT_TIMER, 0x1_0000),
        (register::LVT_THERMAL, 0x1_0000),
        (register::LVT_PERFORMANCE, 0x1_0000),
        (register::LVT_LINT0, 0x1_0000),
        (register::LVT_LINT1, 0x1_0000),
        (register::LVT_ERROR, 0x1_0000),
        (register::TIMER_INITIAL, 0),
        (register::TIMER_CURRENT, 0),
        (register::TIMER_DIVIDE, 0),
    ];
    for (number, value) in expected {
        assert_eq!(get(&mut apic, number), value, "register {number:#x}");
    }
}

#[test]
fn an_x2apic_shows_the_whole_id_and_derives_its_logical_one() {
    for (id, logical) in [(0, 1), (15, 0x8000), (16, 0x1_0001), (0x123, 0x12_0008)] {
        let mut apic = x2apic(id);
        assert_eq!(get(&mut apic, register::ID), id);
        assert_eq!(get(&mut apic, register::LDR), logical);
    }
    assert_eq!(get(&mut xapic(0x123), register::ID), 0x23 << 24);
}

#[test]
fn disabling_loses_all_state_and_pending_interrupts() {
    let mut apic = in_mode(&[X2APIC]);
    put(&mut apic, register::SVR, ENABLED);
    apic.accept(Vector(0x40), true);
    assert_eq!(apic.deliverable(), Some(Vector(0x40)));
    apic.set_cr8(3);
    apic.set_base_msr(DISABLED).unwrap();
    assert_eq!(apic.deliverable(), None);
    apic.accept(Vector(0x41), false);
    assert_eq!(apic.deliverable(), None, "a disabled APIC takes nothing");
    apic.set_base_msr(XAPIC).unwrap();
    assert_eq!(apic, in_mode(&[XAPIC]));
}

#[test]
fn init_keeps_the_mode_and_reset_does_not() {
    let mut apic = x2apic(3);
    let born = in_mode(&[X2APIC]);
    apic.accept(Vector(0x40), false);
    put(&mut apic, register::LVT_TIMER, 0x4_0040);
    apic.set_tsc_deadline(5000, NOW);
    apic.init();
    assert_eq!(apic.mode(), Mode::X2Apic);
    assert_eq!(apic.base_msr(), born.base_msr());
    assert_eq!(get(&mut apic, register::ID), 3);
    assert_eq!(get(&mut apic, register::SVR), 0xff);
    assert_eq!((apic.deliverable(), apic.next_deadline()), (None, None));
    apic.reset();
    assert_eq!(apic, Lapic::new(3, false, 0));
}

#[test]
fn going_to_x2apic_mode_keeps_state_but_no_old_destination() {
    let mut apic = xapic(0);
    apic.accept(Vector(0x40), false);
    put(&mut apic, register::LVT_TIMER, 0x41);
    put(&mut apic, register::ICR_HIGH, 7 << 24);
    apic.set_base_msr(apic.base_msr() | 1 << 10).unwrap();
    assert_eq!(apic.deliverable(), Some(Vector(0x40)));
    assert_eq!(get(&mut apic, register::LVT_TIMER), 0x41);
    assert_eq!(apic.read_msr(msr(register::ICR), NOW), Ok(0));
}
