//! "Error Handling".

use super::*;

const SEND: u32 = 1 << 5;
const RECEIVE: u32 = 1 << 6;
const REGISTER: u32 = 1 << 7;

/// ESR shows what was logged when it was last written.
fn latched(apic: &mut Lapic) -> u32 {
    put(apic, register::ESR, 0);
    get(apic, register::ESR)
}

#[test]
fn a_write_latches_and_rearms() {
    let mut apic = x2apic(0);
    put(&mut apic, register::LVT_ERROR, 0xfe);
    put(&mut apic, register::SELF_IPI, 3);
    assert_eq!(get(&mut apic, register::ESR), 0, "not before a write");
    assert_eq!(apic.deliverable(), Some(Vector(0xfe)));
    apic.acknowledge(Vector(0xfe));
    assert_eq!(eoi(&mut apic), Effect::None);
    put(&mut apic, register::SELF_IPI, 3);
    assert_eq!(
        apic.deliverable(),
        None,
        "logged already, so no second interrupt"
    );
    assert_eq!(latched(&mut apic), SEND);
    assert_eq!(latched(&mut apic), 0);
    put(&mut apic, register::SELF_IPI, 3);
    assert_eq!(apic.deliverable(), Some(Vector(0xfe)), "armed again");
}

#[test]
fn illegal_vectors_are_logged_and_never_requested() {
    for vector in 0..16 {
        let mut apic = x2apic(0);
        apic.accept(Vector(vector), true);
        assert_eq!(latched(&mut apic), RECEIVE);
        assert_eq!(get(&mut apic, register::IRR), 0);
        put(&mut apic, register::ICR, vector.into());
        assert_eq!(latched(&mut apic), SEND);
        put(&mut apic, register::LVT_TIMER, vector.into());
        put(&mut apic, register::TIMER_INITIAL, 1);
        apic.expire(Ticks(u64::MAX));
        assert_eq!(latched(&mut apic), RECEIVE, "from the local vector table");
        assert_eq!(apic.deliverable(), None);
    }
}

#[test]
fn an_illegal_error_vector_ends_in_the_log() {
    let mut apic = x2apic(0);
    put(&mut apic, register::LVT_ERROR, 5);
    put(&mut apic, register::SELF_IPI, 3);
    assert_eq!(latched(&mut apic), SEND | RECEIVE);
    assert_eq!(apic.deliverable(), None);
}

#[test]
fn touching_a_reserved_register_in_memory_is_an_error() {
    for number in [
        0x00, 0x01, 0x04, 0x07, 0x29, 0x2e, 0x2f, 0x3a, 0x3f, 0x40, 0xff,
    ] {
        let mut apic = xapic(0);
        let offset = number << 4;
        assert_eq!(
            apic.read_mmio(offset, Width::B4, NOW),
            Err(AccessError::Absent)
        );
        assert_eq!(latched(&mut apic), REGISTER, "read {offset:#x}");
        assert_eq!(
            apic.write_mmio(offset, Width::B4, 0, NOW),
            Err(AccessError::Absent)
        );
        assert_eq!(latched(&mut apic), REGISTER, "write {offset:#x}");
    }
}
