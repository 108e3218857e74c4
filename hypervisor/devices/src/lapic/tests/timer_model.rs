//! The timer beside one that counts tick by tick, whatever the order of accesses and however late it is asked.

use super::*;
use proptest::prelude::*;

const VECTOR: u8 = 0x40;
const MASKED: u32 = 0x1_0000;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    OneShot,
    Periodic,
    Deadline,
}

impl Kind {
    const fn bits(self) -> u32 {
        match self {
            Self::OneShot => 0,
            Self::Periodic => 0x2_0000,
            Self::Deadline => 0x4_0000,
        }
    }
}

/// "APIC Timer" and "TSC-Deadline Mode", a tick of the TSC at a time.
#[derive(Clone, Debug)]
struct Slow {
    now: u64,
    kind: Kind,
    masked: bool,
    /// Ticks of the timer's clock, and of the TSC for one of them
    divider: u64,
    clock: u64,
    initial: u64,
    /// What is left of the count, and ticks into the present step
    left: u64,
    into: u64,
    /// In the guest's time
    deadline: u64,
    offset: u64,
    /// In IRR
    pending: bool,
}

impl Slow {
    fn fire(&mut self) {
        self.pending |= !self.masked;
    }

    fn look_at_deadline(&mut self) {
        if self.deadline != 0 && self.now.wrapping_add(self.offset) >= self.deadline {
            self.deadline = 0;
            self.fire();
        }
    }

    fn tick(&mut self) {
        self.now += 1;
        self.look_at_deadline();
        if self.left == 0 {
            return;
        }
        self.into += 1;
        if self.into < self.divider * self.clock {
            return;
        }
        self.into = 0;
        self.left -= 1;
        if self.left == 0 {
            self.fire();
            if self.kind == Kind::Periodic {
                self.left = self.initial;
            }
        }
    }

    /// When an interrupt comes next, if nobody does anything.
    fn next(&self) -> Option<u64> {
        let mut future = self.clone();
        if self.masked || self.pending || (self.left == 0 && self.deadline == 0) {
            return None;
        }
        while !future.pending {
            future.tick();
        }
        Some(future.now)
    }

    fn set_kind(&mut self, kind: Kind, masked: bool) {
        if (kind == Kind::Deadline) != (self.kind == Kind::Deadline) {
            (self.initial, self.left, self.deadline) = (0, 0, 0);
        }
        (self.kind, self.masked) = (kind, masked);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Pass(u64),
    Late(u64),
    Lvt(Kind, bool),
    Initial(u32),
    Divide(u32),
    Deadline(u64),
    Offset(u64),
    Take,
    SwitchOff,
    Init,
}

fn op() -> impl Strategy<Value = Op> {
    let kind = prop::sample::select(&[Kind::OneShot, Kind::Periodic, Kind::Deadline][..]);
    prop_oneof![
        4 => (0..200u64).prop_map(Op::Pass),
        2 => (0..2000u64).prop_map(Op::Late),
        3 => (kind, prop::bool::weighted(0.2)).prop_map(|(kind, masked)| Op::Lvt(kind, masked)),
        3 => (0..40u32).prop_map(Op::Initial),
        2 => (0..4u32).prop_map(Op::Divide),
        3 => (0..5000u64).prop_map(Op::Deadline),
        1 => (0..1000u64).prop_map(|n| Op::Offset(n.wrapping_sub(500))),
        4 => Just(Op::Take),
        1 => Just(Op::SwitchOff),
        1 => Just(Op::Init),
    ]
}

/// The codes of [`Op::Divide`] and what they divide by.
const DIVIDERS: [(u32, u64); 4] = [(0b1011, 1), (0b0000, 2), (0b0001, 4), (0b0010, 8)];

/// As the guest's kernel starts it again.
fn switch_on(apic: &mut Lapic) {
    put(apic, register::SVR, ENABLED);
    put(apic, register::LVT_TIMER, u32::from(VECTOR) | MASKED);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]
    #[test]
    fn it_agrees_with_the_one_that_counts(x2: bool, shift in 0..3u8, ops in prop::collection::vec(op(), 0..80)) {
        let mut apic = Lapic::new(0, true, shift);
        if x2 {
            apic.set_base_msr(0xfee0_0d00).unwrap();
        }
        switch_on(&mut apic);
        let born = Slow {
            now: NOW.0, kind: Kind::OneShot, masked: true, divider: 2, clock: 1 << shift, initial: 0, left: 0,
            into: 0, deadline: 0, offset: 0, pending: false,
        };
        let mut slow = born.clone();
        for op in ops {
            // Whether the timer was let fire at this time: only then is its interrupt where it belongs.
            let mut let_fire = true;
            match op {
                Op::Pass(ticks) | Op::Late(ticks) => {
                    for _ in 0..ticks {
                        slow.tick();
                    }
                    let_fire = matches!(op, Op::Pass(_));
                }
                Op::Lvt(kind, masked) => {
                    let entry = u32::from(VECTOR) | kind.bits() | if masked { MASKED } else { 0 };
                    put_at(&mut apic, register::LVT_TIMER, entry, Ticks(slow.now));
                    slow.set_kind(kind, masked);
                }
                Op::Initial(count) => {
                    put_at(&mut apic, register::TIMER_INITIAL, count, Ticks(slow.now));
                    if slow.kind != Kind::Deadline {
                        (slow.initial, slow.left, slow.into) = (count.into(), count.into(), 0);
                    }
                }
                Op::Divide(n) => {
                    let (code, divider) = DIVIDERS[n as usize];
                    put_at(&mut apic, register::TIMER_DIVIDE, code, Ticks(slow.now));
                    (slow.divider, slow.into) = (divider, 0);
                }
                Op::Deadline(value) => {
                    apic.set_tsc_deadline(value, Ticks(slow.now));
                    if slow.kind == Kind::Deadline {
                        slow.deadline = value;
                        slow.look_at_deadline();
                    }
                }
                Op::Offset(offset) => {
                    apic.set_tsc_offset(offset, Ticks(slow.now));
                    slow.offset = offset;
                    slow.look_at_deadline();
                }
                Op::Take => {
                    apic.expire(Ticks(slow.now));
                    prop_assert_eq!(apic.deliverable(), slow.pending.then_some(Vector(VECTOR)));
                    if slow.pending {
                        apic.acknowledge(Vector(VECTOR));
                        prop_assert_eq!(eoi(&mut apic), Effect::None);
                        slow.pending = false;
                    }
                }
                // Software disable masks the entry for good; what is pending stays.
                Op::SwitchOff => {
                    put_at(&mut apic, register::SVR, 0xff, Ticks(slow.now));
                    put_at(&mut apic, register::SVR, ENABLED, Ticks(slow.now));
                    slow.masked = true;
                }
                Op::Init => {
                    apic.init();
                    switch_on(&mut apic);
                    slow = Slow { now: slow.now, offset: slow.offset, ..born.clone() };
                }
            }
            let now = Ticks(slow.now);
            prop_assert_eq!(u64::from(get_at(&mut apic, register::TIMER_CURRENT, now)), slow.left);
            prop_assert_eq!(u64::from(get_at(&mut apic, register::TIMER_INITIAL, now)), slow.initial);
            prop_assert_eq!(apic.tsc_deadline(now), slow.deadline);
            if let_fire {
                apic.expire(now);
                let requested = get_at(&mut apic, register::IRR + VECTOR / 32, now) & 1 << (VECTOR % 32);
                prop_assert_eq!(requested != 0, slow.pending);
                prop_assert_eq!(apic.next_deadline().map(|at| at.0), slow.next());
            }
        }
    }
}
