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

/// The eight words of IRR, ISR or TMR, by the registers that a guest reads.
fn set(apic: &mut Lapic, first: u8) -> [u32; 8] {
    core::array::from_fn(|word| get(apic, first + word as u8))
}

/// The highest member, 0 if there is none: the slow way.
fn highest(set: [u32; 8]) -> u8 {
    let member = |vector: &u8| set[usize::from(vector / 32)] >> (vector % 32) & 1 == 1;
    (0..=u8::MAX).rev().find(member).unwrap_or(0)
}

/// What holds at any time, by what a guest can see.
fn sane(apic: &Lapic) {
    // Reading may log an error; it is not to.
    let mut apic = apic.clone();
    assert_eq!(apic.base_msr() & !0xd00, 0xfee0_0000);
    if apic.mode() == Mode::Disabled {
        assert!(
            !apic.is_enabled() && apic.deliverable().is_none() && apic.next_deadline().is_none()
        );
        assert!(!apic.matches(Destination::All));
        return;
    }
    let [irr, isr, tmr] =
        [register::IRR, register::ISR, register::TMR].map(|first| set(&mut apic, first));
    for set in [irr, isr, tmr] {
        assert_eq!(set[0] & 0xffff, 0, "an exception's vector");
    }
    let (tpr, ppr) = (
        get(&mut apic, register::TPR) as u8,
        get(&mut apic, register::PPR) as u8,
    );
    let serving = highest(isr);
    let expected = if tpr >> 4 >= serving >> 4 {
        tpr
    } else {
        serving & 0xf0
    };
    assert_eq!(
        (ppr, apic.priority(), apic.cr8()),
        (expected, expected, tpr >> 4)
    );
    let next = highest(irr);
    assert_eq!(
        apic.deliverable(),
        (next >> 4 > ppr >> 4).then_some(Vector(next))
    );
    assert_eq!(
        get(&mut apic, register::ESR) & !0xe0,
        0,
        "errors that there are not"
    );
    if get(&mut apic, register::SVR) & 0x100 == 0 {
        assert!(!apic.is_enabled());
        for entry in register::LVT_TIMER..=register::LVT_ERROR {
            assert_ne!(get(&mut apic, entry) & 0x1_0000, 0, "unmasked though off");
        }
    }
    assert_eq!(Address::unpack(apic.address().pack()), apic.address());
}

/// What an access may ask of others.
fn effect_is_sane(before: &Lapic, effect: Effect) {
    match effect {
        Effect::None => {}
        Effect::Eoi(vector) => {
            let mut before = before.clone();
            assert_eq!(highest(set(&mut before, register::ISR)), vector.0);
            assert!(before.tmr.contains(vector.0));
        }
        Effect::Ipi(Ipi { delivery, .. }) => {
            if let Delivery::Fixed(vector) | Delivery::LowestPriority(vector) = delivery {
                assert!(vector.0 >= 16);
            }
        }
    }
}

/// A refused write of a register changes nothing, but that xAPIC mode logs it ("Error Handling").
fn refused(before: &Lapic, after: &Lapic) {
    let mut expected = before.clone();
    if before.mode() == Mode::XApic && before != after {
        expected.fail(Esr::ILLEGAL_REGISTER);
    }
    assert_eq!(*after, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]
    #[test]
    fn the_owner_may_rely_on_it(x2: bool, shift: u8, ops in prop::collection::vec(op(), 0..150)) {
        let mut apic = Lapic::new(7, true, shift);
        if x2 {
            apic.set_base_msr(0xfee0_0d00).unwrap();
        }
        let mut now = Ticks(0);
        for op in ops {
            let before = apic.clone();
            let latched = apic.esr;
            let mut may_latch = false;
            match op {
                Op::Base(value) => {
                    may_latch = true;
                    if apic.set_base_msr(value).is_err() {
                        prop_assert_eq!(&apic, &before);
                    }
                }
                Op::Msr(number, value) => {
                    may_latch = number == 0x828;
                    match apic.write_msr(Msr(number), value, now) {
                        Ok(effect) => effect_is_sane(&before, effect),
                        Err(_) => refused(&before, &apic),
                    }
                }
                Op::ReadMsr(number) => {
                    let _ = apic.read_msr(Msr(number), now);
                    prop_assert_eq!(&apic, &before);
                }
                Op::Memory(at, width, value) => {
                    may_latch = at == 0x280;
                    match apic.write_mmio(at, width, value, now) {
                        Ok(effect) => effect_is_sane(&before, effect),
                        Err(_) => refused(&before, &apic),
                    }
                }
                Op::ReadMemory(at, width) => match apic.read_mmio(at, width, now) {
                    Ok(value) => {
                        prop_assert!(value <= width.ones());
                        prop_assert_eq!(&apic, &before);
                    }
                    Err(_) => refused(&before, &apic),
                }
                Op::Deadline(value) => apic.set_tsc_deadline(value, now),
                Op::Offset(value) => apic.set_tsc_offset(value, now),
                Op::Accept(vector, level) => {
                    apic.accept(Vector(vector), level);
                    if !before.is_enabled() {
                        prop_assert_eq!(&apic, &before);
                    }
                }
                Op::Acknowledge(vector) => apic.acknowledge(Vector(vector)),
                Op::Deliver => if let Some(vector) = apic.deliverable() {
                    apic.acknowledge(vector);
                    prop_assert!(apic.deliverable().is_none_or(|next| next.0 >> 4 > vector.0 >> 4));
                }
                Op::Pass(ticks) => {
                    now = now.after(Ticks(ticks));
                    apic.expire(now);
                }
                Op::Init => {
                    may_latch = true;
                    apic.init();
                }
            }
            prop_assert!(may_latch || apic.esr == latched, "ESR changes when it is written");
            sane(&apic);
            // Once let fire, the timer asks for a later time, so that an owner's loop ends. At the end of time
            // itself there is no later one.
            apic.expire(now);
            if now.0 < u64::MAX {
                prop_assert!(apic.next_deadline().is_none_or(|next| next > now));
            }
        }
        apic.reset();
        prop_assert_eq!(apic, Lapic::new(7, true, shift));
    }
}
