//! Whatever a guest does: no panic, and what the owner relies on holds.

use super::*;
use proptest::prelude::*;
use std::vec;

#[derive(Clone, Debug)]
enum Op {
    Base(u64),
    Msr(u32, u64),
    ReadMsr(u32),
    Memory(u16, Width, u64),
    ReadMemory(u16, Width),
    Deadline(u64),
    Offset(u64),
    Accept(u8, bool),
    Acknowledge(u8),
    Deliver,
    Pass(u64),
    Init,
}

fn base() -> impl Strategy<Value = u64> {
    prop_oneof![
        9 => prop::sample::select(&[0xfee0_0000u64, 0xfee0_0800, 0xfee0_0c00, 0xfee0_0d00][..]),
        1 => any::<u64>(),
    ]
}

/// Small values often, since most registers refuse others.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..0x400u64,
        0..0x8_0000u64,
        any::<u32>().prop_map(u64::from),
        Just(0x1ff)
    ]
}

fn width() -> impl Strategy<Value = Width> {
    prop::sample::select(
        &[
            Width::B4,
            Width::B4,
            Width::B4,
            Width::B1,
            Width::B2,
            Width::B8,
        ][..],
    )
}

fn offset() -> impl Strategy<Value = u16> {
    prop_oneof![4 => (0..0x40u16).prop_map(|n| n << 4), 1 => any::<u16>()]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => base().prop_map(Op::Base),
        8 => (0x800..0x840u32, value()).prop_map(|(m, v)| Op::Msr(m, v)),
        1 => (any::<u32>(), value()).prop_map(|(m, v)| Op::Msr(m, v)),
        2 => (0x7f0..0x910u32).prop_map(Op::ReadMsr),
        8 => (offset(), width(), value()).prop_map(|(o, w, v)| Op::Memory(o, w, v)),
        2 => (offset(), width()).prop_map(|(o, w)| Op::ReadMemory(o, w)),
        2 => any::<u64>().prop_map(Op::Deadline),
        1 => any::<u64>().prop_map(Op::Offset),
        3 => any::<(u8, bool)>().prop_map(|(v, l)| Op::Accept(v, l)),
        1 => any::<u8>().prop_map(Op::Acknowledge),
        3 => Just(Op::Deliver),
        3 => prop_oneof![0..100_000u64, any::<u64>()].prop_map(Op::Pass),
        1 => Just(Op::Init),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn the_owner_may_rely_on_it(x2: bool, shift: u8, ops in prop::collection::vec(op(), 0..200)) {
        let mut apic = Lapic::new(7, true, shift);
        if x2 {
            apic.set_base_msr(0xfee0_0d00).unwrap();
        }
        let mut now = Ticks(0);
        for op in ops {
            match op {
                Op::Base(value) => { let _ = apic.set_base_msr(value); }
                Op::Msr(number, value) => { let _ = apic.write_msr(Msr(number), value, now); }
                Op::ReadMsr(number) => { let _ = apic.read_msr(Msr(number), now); }
                Op::Memory(at, width, value) => { let _ = apic.write_mmio(at, width, value, now); }
                Op::ReadMemory(at, width) => if let Ok(value) = apic.read_mmio(at, width, now) {
                    prop_assert!(value <= width.ones());
                }
                Op::Deadline(value) => apic.set_tsc_deadline(value, now),
                Op::Offset(value) => apic.set_tsc_offset(value, now),
                Op::Accept(vector, level) => apic.accept(Vector(vector), level),
                Op::Acknowledge(vector) => apic.acknowledge(Vector(vector)),
                Op::Deliver => if let Some(vector) = apic.deliverable() {
                    apic.acknowledge(vector);
                    prop_assert!(apic.deliverable().is_none_or(|next| next.0 >> 4 > vector.0 >> 4));
                }
                Op::Pass(ticks) => {
                    now = now.after(Ticks(ticks));
                    apic.expire(now);
                }
                Op::Init => apic.init(),
            }
            if let Some(vector) = apic.deliverable() {
                prop_assert!(vector.0 >= 16 && vector.0 >> 4 > apic.priority() >> 4);
            }
            // Once let fire, the timer asks for a later time, so that an owner's loop ends. At the end of time
            // itself there is no later one.
            apic.expire(now);
            if now.0 < u64::MAX {
                prop_assert!(apic.next_deadline().is_none_or(|next| next > now));
            }
            prop_assert_eq!(apic.base_msr() & !0xd00, 0xfee0_0000);
        }
        apic.reset();
        prop_assert_eq!(apic, Lapic::new(7, true, shift));
    }
}
