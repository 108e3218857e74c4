//! The local APIC: one in software, with whatever values; or the same guest on all its carriers, which must show it the same.

use crate::each;
use arbitrary::Arbitrary;
use devices::Lapic;
use devices::interrupt::{Delivery, Destination};
use devices::lapic::model::{self, STEP, agree};
use devices::lapic::{Address, Effect, Ipi, MAX_CLOCK_SHIFT, Mode};
use spec::apic::{Carrier, register};
use spec::msr::X2APIC_FIRST;
use spec::{Msr, Ticks, Vector, Width};

/// Tries one sequence.
///
/// # Panics
/// If what the APIC's owner relies on does not hold, or a guest can tell its carriers apart.
pub fn one(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else {
        return;
    };
    match first & 3 {
        0 => agree(
            &[Carrier::Accelerated, Carrier::Direct],
            &operations(data, true),
        ),
        1 => agree(&[Carrier::Accelerated], &operations(data, false)),
        _ => alone(first >> 2, data),
    }
}

#[derive(Arbitrary, Debug)]
enum Carried {
    Write(u8, u16),
    Eoi,
    Take,
    Edge(u8),
    Post(u8),
    Level(u8),
    Deadline(u16),
    Disarm,
    Offset(u16),
    Pass(u8),
    Base(u8),
    Init,
    SetUp,
    Carry(u8, bool),
}

/// `direct`: only what all three carriers show alike.
fn operations(data: &[u8], direct: bool) -> Vec<model::Op> {
    // More would only be slow.
    each(data).take(100).map(|op| op_of(&op, direct)).collect()
}

fn op_of(op: &Carried, direct: bool) -> model::Op {
    use model::Op;
    let even = |vector: u8| (vector & 0xfe).max(0x10);
    let odd = |vector: u8| 0x11 + (vector & 0xe);
    let edge = |vector: u8| {
        if direct {
            even(vector)
        } else {
            vector.max(0x10)
        }
    };
    match *op {
        Carried::Write(number, value) => write(number, value, direct),
        Carried::Eoi => Op::Eoi,
        Carried::Take => Op::Take,
        Carried::Edge(vector) => Op::Edge(edge(vector)),
        Carried::Post(vector) => Op::Post(even(vector)),
        Carried::Level(vector) => Op::Level(odd(vector)),
        Carried::Deadline(ticks) => Op::Deadline(u64::from(ticks) * 2 % (6 * STEP)),
        Carried::Disarm => Op::Disarm,
        Carried::Offset(ticks) => {
            Op::Offset((u64::from(ticks) % (4 * STEP)).wrapping_sub(2 * STEP))
        }
        Carried::Pass(steps) => Op::Pass((1 + u64::from(steps) % 3) * STEP),
        Carried::Base(n) => Op::Base([0xfee0_0100, 0xfee0_0900, 0xfee0_0d00][usize::from(n % 3)]),
        Carried::Init => Op::Init,
        Carried::SetUp => Op::SetUp,
        Carried::Carry(n, page) => {
            let carriers = [Carrier::Software, Carrier::Accelerated, Carrier::Direct];
            Op::Carry(carriers[usize::from(n % 3)], page)
        }
    }
}

/// A register that software writes, and a value for it.
fn write(number: u8, value: u16, direct: bool) -> model::Op {
    let byte = u64::from(value & 0xff);
    // Of a register that takes a vector: an even one, or one that is none.
    let vector = if direct { byte & !1 } else { byte };
    let legal = (byte & !1).max(0x10);
    let mode = [0x4_0000, 0x2_0000, 0, 0x4_0000][usize::from(value >> 8 & 3)];
    let (number, value) = match number % 10 {
        0 => (register::TPR, byte),
        1 if direct || value & 0x700 != 0 => (register::SELF_IPI, legal),
        1 => (register::SELF_IPI, byte & 0xf),
        2 => (register::ICR, 0x4_4000 | vector),
        3 => (
            register::LVT_TIMER,
            mode | byte & !1 | u64::from(value >> 10 & 1) << 16,
        ),
        4 => (register::LVT_ERROR, 0x20 | (byte & 3) << 15),
        5 => (register::TIMER_INITIAL, u64::from(value) * 2 % (8 * STEP)),
        6 => (register::TIMER_DIVIDE, [0, 0xb][usize::from(value & 1)]),
        7 => (register::SVR, [0xff, 0x3f0][usize::from(value & 1)]),
        8 => (register::SVR, 0x1ff),
        _ => (register::ESR, 0),
    };
    model::Op::Write(number, value)
}

#[derive(Arbitrary, Debug)]
enum Op {
    Base(u8),
    AnyBase(u64),
    Msr(u8, u32),
    AnyMsr(u32, u64),
    ReadMsr(u16),
    Memory(u8, u32),
    AnyMemory(u16, u8, u64),
    ReadMemory(u16, u8),
    Deadline(u64),
    SoonDeadline(u16),
    Offset(u64),
    Accept(u8, bool),
    Acknowledge(u8),
    Deliver,
    Pass(u16),
    PassLong(u64),
    Init,
    Reset,
    Cr8(u8),
}

fn alone(start: u8, data: &[u8]) {
    let shift = start & 0x1f;
    let mut apic = Lapic::new(7, start & 0x20 == 0, shift.min(MAX_CLOCK_SHIFT));
    let mut now = Ticks(0);
    for op in each(data) {
        step(&mut apic, &mut now, op);
        sane(&apic, now);
        // Once let fire, the timer asks for a later time, so that an owner's loop ends. At the end of time itself there is none.
        apic.expire(now);
        if now.0 < u64::MAX {
            assert!(apic.next_deadline().is_none_or(|next| next > now));
        }
    }
}

fn step(apic: &mut Lapic, now: &mut Ticks, op: Op) {
    const WIDTHS: [Width; 4] = [Width::B1, Width::B2, Width::B4, Width::B8];
    let before = apic.clone();
    match op {
        Op::Base(n) => {
            let base = [0xfee0_0000, 0xfee0_0800, 0xfee0_0c00, 0xfee0_0d00];
            let _ = apic.set_base_msr(base[usize::from(n & 3)]);
        }
        Op::AnyBase(value) => {
            if apic.set_base_msr(value).is_err() {
                assert_eq!(*apic, before);
            }
        }
        Op::Msr(n, value) => {
            let msr = Msr(0x800 + u32::from(n & 0x3f));
            effect(&before, apic.write_msr(msr, value.into(), *now));
        }
        Op::AnyMsr(msr, value) => effect(&before, apic.write_msr(Msr(msr), value, *now)),
        Op::ReadMsr(n) => {
            let _ = apic.read_msr(Msr(0x7f0 + u32::from(n)), *now);
            assert_eq!(*apic, before);
        }
        Op::Memory(n, value) => {
            let at = u16::from(n & 0x3f) << 4;
            effect(&before, apic.write_mmio(at, Width::B4, value.into(), *now));
        }
        Op::AnyMemory(at, n, value) => {
            let width = WIDTHS[usize::from(n & 3)];
            effect(&before, apic.write_mmio(at, width, value, *now));
        }
        Op::ReadMemory(at, n) => {
            let width = WIDTHS[usize::from(n & 3)];
            if let Ok(value) = apic.read_mmio(at, width, *now) {
                assert!(value <= width.ones());
                assert_eq!(*apic, before);
            }
        }
        Op::Deadline(value) => apic.set_tsc_deadline(value, *now),
        Op::SoonDeadline(ticks) => {
            apic.set_tsc_deadline(now.0.wrapping_add(ticks.into()), *now);
        }
        Op::Offset(value) => apic.set_tsc_offset(value, *now),
        Op::Accept(vector, level) => {
            apic.accept(Vector(vector), level);
            if !before.is_enabled() {
                assert_eq!(*apic, before);
            }
        }
        Op::Acknowledge(vector) => apic.acknowledge(Vector(vector)),
        Op::Deliver => {
            if let Some(vector) = apic.deliverable() {
                apic.acknowledge(vector);
                let next = apic.deliverable();
                assert!(next.is_none_or(|next| next.0 >> 4 > vector.0 >> 4));
            }
        }
        Op::Pass(ticks) => *now = now.after(Ticks(ticks.into())),
        Op::PassLong(ticks) => *now = now.after(Ticks(ticks)),
        Op::Init => {
            apic.init();
            assert_eq!(apic.mode(), before.mode());
        }
        Op::Reset => apic.reset(),
        Op::Cr8(class) => {
            apic.set_cr8(class & 0xf);
            if apic.mode() != Mode::Disabled {
                assert_eq!(apic.cr8(), class & 0xf);
            }
        }
    }
}

/// The eight registers from this one on.
fn set(apic: &Lapic, first: u8) -> [u32; 8] {
    core::array::from_fn(|n| get(apic, first + n as u8))
}

fn get(apic: &Lapic, number: u8) -> u32 {
    // Reading may log an error; it is not to.
    let mut apic = apic.clone();
    let value = match apic.mode() {
        Mode::X2Apic => apic.read_msr(Msr(X2APIC_FIRST.0 + u32::from(number)), Ticks(0)),
        _ => apic.read_mmio(u16::from(number) << 4, Width::B4, Ticks(0)),
    };
    value.unwrap_or_else(|e| panic!("register {number:#x}: {e:?}")) as u32
}

fn highest(set: [u32; 8]) -> u8 {
    let word = set.iter().rposition(|&word| word != 0);
    word.map_or(0, |n| (32 * n) as u8 + 31 - set[n].leading_zeros() as u8)
}

/// What an access may ask of others.
fn effect<E>(before: &Lapic, effect: Result<Effect, E>) {
    match effect {
        Ok(Effect::Eoi(vector)) => {
            assert_eq!(highest(set(before, register::ISR)), vector.0);
            let tmr = set(before, register::TMR);
            assert_eq!(tmr[usize::from(vector.0 / 32)] >> (vector.0 % 32) & 1, 1);
        }
        Ok(Effect::Ipi(Ipi {
            delivery: Delivery::Fixed(vector) | Delivery::LowestPriority(vector),
            ..
        })) => assert!(vector.0 >= 16),
        _ => {}
    }
}

/// What holds at any time, by what a guest can see.
fn sane(apic: &Lapic, now: Ticks) {
    assert_eq!(apic.base_msr() & !0xd00, 0xfee0_0000);
    assert_eq!(Address::unpack(apic.address().pack()), apic.address());
    if apic.mode() == Mode::Disabled {
        assert!(!apic.is_enabled() && !apic.matches(Destination::All));
        assert!(apic.deliverable().is_none() && apic.next_deadline().is_none());
        return;
    }
    let [irr, isr, tmr] = [register::IRR, register::ISR, register::TMR].map(|n| set(apic, n));
    for set in [irr, isr, tmr] {
        assert_eq!(set[0] & 0xffff, 0, "an exception's vector");
    }
    let [tpr, ppr] = [register::TPR, register::PPR].map(|n| get(apic, n) as u8);
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
    let deliverable = (next >> 4 > ppr >> 4).then_some(Vector(next));
    assert_eq!(apic.deliverable(), deliverable);
    assert_eq!(get(apic, register::ESR) & !0xe0, 0);
    if get(apic, register::SVR) & 0x100 == 0 {
        assert!(!apic.is_enabled());
        for entry in register::LVT_TIMER..=register::LVT_ERROR {
            assert_ne!(get(apic, entry) & 0x1_0000, 0, "unmasked though off");
        }
    }
    let _ = apic.tsc_deadline(now);
}
