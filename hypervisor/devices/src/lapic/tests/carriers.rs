//! Whoever carries the local APIC, and however often that changes: the guest sees the same.

use super::machine::{CARRIERS, Machine};
use super::*;
use proptest::prelude::*;
use spec::apic::Carrier;
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

#[derive(Clone, Debug)]
enum Op {
    Write(u8, u64),
    Eoi,
    Take,
    /// An interrupt from outside: edge-triggered, posted past the hypervisor, level-triggered
    Edge(u8),
    Post(u8),
    Level(u8),
    /// IA32_TSC_DEADLINE, so many ticks from now
    Deadline(u64),
    Disarm,
    Offset(u64),
    Pass(u64),
    Base(u64),
    Init,
    /// As the guest's kernel sets the APIC up
    SetUp,
    /// For the one whose carrier changes: what its owner would like, and whether there is a virtual-APIC page
    Carry(Carrier, bool),
}

/// Longer than the timer rests, so that no carrier is late.
const STEP: u64 = 1 << 14;

/// Level-triggered interrupts have odd vectors, and edge-triggered ones that only the processor sees have even ones: nothing but the
/// software changes a vector's bit of TMR.
fn odd() -> impl Strategy<Value = u8> {
    (8..16u8).prop_map(|n| 2 * n + 1)
}

fn even() -> impl Strategy<Value = u8> {
    prop_oneof![8..24u8, 8..128u8].prop_map(|n| 2 * n)
}

/// Any vector where the software sees each interrupt come; where the processor's own local APIC does not tell which of two with the
/// same vector has ended, only even ones.
fn edge(direct: bool) -> BoxedStrategy<u8> {
    if direct {
        even().boxed()
    } else {
        prop_oneof![even(), odd()].boxed()
    }
}

/// A vector for a register, sometimes one that is none. Direct writes of SELF_IPI log that where it is not seen.
fn vector(direct: bool) -> impl Strategy<Value = u64> {
    prop_oneof![8 => edge(direct), 1 => (0..8u8).prop_map(|n| 2 * n)].prop_map(u64::from)
}

fn self_ipi(direct: bool) -> BoxedStrategy<u64> {
    let legal = even().prop_map(u64::from);
    if direct {
        legal.boxed()
    } else {
        prop_oneof![8 => legal, 1 => 0..16u64].boxed()
    }
}

/// A register and what it gets.
fn write(direct: bool) -> impl Strategy<Value = Op> {
    let mode = prop::sample::select(&[0x4_0000, 0x4_0000, 0x4_0000, 0x2_0000, 0][..]);
    // While its vector is requested the software does not look at the timer, so a level-triggered one stays so for longer.
    let timer = (mode, vector(true), prop::bool::weighted(0.2))
        .prop_map(|(mode, vector, masked)| mode | vector | u64::from(masked) << 16);
    prop_oneof![
        6 => prop_oneof![0..0x60u64, 0..0x100u64].prop_map(|v| (register::TPR, v)),
        6 => self_ipi(direct).prop_map(|v| (register::SELF_IPI, v)),
        4 => vector(direct).prop_map(|v| (register::ICR, 0x4_4000 | v)),
        3 => timer.prop_map(|v| (register::LVT_TIMER, v)),
        1 => (0..4u64).prop_map(|v| (register::LVT_ERROR, 0x20 | v << 15)),
        2 => (0..8 * STEP).prop_map(|v| (register::TIMER_INITIAL, v)),
        1 => prop::sample::select(&[(register::TIMER_DIVIDE, 0u64), (register::TIMER_DIVIDE, 0xb)][..]),
        1 => prop::sample::select(&[(register::SVR, 0xffu64), (register::SVR, 0x3f0)][..]),
        2 => Just((register::SVR, 0x1ff)),
        1 => Just((register::ESR, 0)),
    ]
    .prop_map(|(number, value)| Op::Write(number, value))
}

/// `direct`: only what all three carriers show alike.
fn op(direct: bool) -> impl Strategy<Value = Op> {
    let carrier = prop::sample::select(&CARRIERS[..]);
    prop_oneof![
        20 => write(direct),
        9 => Just(Op::Eoi),
        10 => Just(Op::Take),
        3 => edge(direct).prop_map(Op::Edge),
        4 => even().prop_map(Op::Post),
        5 => odd().prop_map(Op::Level),
        4 => (0..6 * STEP).prop_map(Op::Deadline),
        1 => Just(Op::Disarm),
        1 => prop_oneof![3 => Just(0), 1 => (0..4 * STEP).prop_map(|n| n.wrapping_sub(2 * STEP))].prop_map(Op::Offset),
        6 => (1..4u64).prop_map(|n| Op::Pass(n * STEP)),
        1 => prop::sample::select(&[0xfee0_0100u64, 0xfee0_0900, 0xfee0_0d00][..]).prop_map(Op::Base),
        1 => Just(Op::Init),
        2 => Just(Op::SetUp),
        5 => (carrier, prop::bool::weighted(0.8)).prop_map(|(best, page)| Op::Carry(best, page)),
    ]
}

/// A guest with a pin of an I/O APIC for each vector.
struct Guest {
    machine: Machine,
    /// Pins with remote IRR set: they wait for the end of their interrupt.
    waiting: BTreeSet<u8>,
}

/// What a step showed to the guest, or did outside.
#[derive(PartialEq, Debug)]
enum Shown {
    Nothing,
    Taken(Option<Vector>),
    Written(Result<Effect, AccessError>),
    Accepted(bool),
}

impl Guest {
    fn new(best: Carrier) -> Self {
        Self {
            machine: Machine::ready(best),
            waiting: BTreeSet::new(),
        }
    }

    fn write(&mut self, number: u8, value: u64) -> Shown {
        let result = self.machine.write(number, value);
        if let Ok(Effect::Eoi(vector)) = result {
            self.waiting.remove(&vector.0);
        }
        Shown::Written(result)
    }

    fn step(&mut self, op: &Op) -> Shown {
        let m = &mut self.machine;
        match *op {
            Op::Write(number, value) => return self.write(number, value),
            Op::Eoi => return self.write(register::EOI, 0),
            Op::Take => return Shown::Taken(m.take()),
            Op::Edge(vector) => return Shown::Accepted(m.outside(vector, false)),
            Op::Level(vector) => {
                if !self.waiting.contains(&vector) && m.outside(vector, true) {
                    self.waiting.insert(vector);
                }
                return Shown::Accepted(self.waiting.contains(&vector));
            }
            Op::Post(vector) => m.post(vector),
            Op::Deadline(ticks) => m.set_deadline(m.now.0 + ticks),
            Op::Disarm => m.set_deadline(0),
            Op::Offset(offset) => m.set_offset(offset),
            Op::Pass(ticks) => m.pass(ticks),
            Op::Base(value) => {
                let taken = m.base(value);
                if m.apic.mode() == Mode::Disabled {
                    self.waiting.clear();
                }
                return Shown::Accepted(taken);
            }
            Op::Init => {
                m.init();
                self.waiting.clear();
            }
            Op::SetUp => {
                for base in [0xfee0_0900, 0xfee0_0d00] {
                    m.base(base);
                }
                for (number, value) in [(register::SVR, 0x1ff), (register::LVT_TIMER, 0x4_0030)] {
                    let _ = m.write(number, value);
                }
            }
            Op::Carry(..) => {}
        }
        Shown::Nothing
    }

    /// All that the guest can read; of TMR what of it means something.
    fn registers(&mut self) -> Vec<(u8, u64)> {
        let m = &mut self.machine;
        let mut all = vec![(0, m.deadline())];
        for number in [register::TPR, register::PPR, register::SVR, register::ICR]
            .into_iter()
            .chain(register::ISR..register::TMR)
            .chain(register::IRR..=register::ESR)
            .chain(register::LVT_TIMER..=register::TIMER_CURRENT)
        {
            all.push((number, m.read(number)));
        }
        for i in 0..8 {
            let means = m.read(register::ISR + i) | m.read(register::IRR + i);
            all.push((register::TMR + i, m.read(register::TMR + i) & means));
        }
        all
    }

    /// The whole of TMR, where all that carry it keep it.
    fn trigger_modes(&mut self) -> [u64; 8] {
        core::array::from_fn(|i| self.machine.read(register::TMR + i as u8))
    }
}

/// Each step on the software carrier, on the others, and on one that is carried now by this one, now by that.
fn agree(others: &[Carrier], ops: &[Op]) -> Result<(), TestCaseError> {
    let mut software = Guest::new(Carrier::Software);
    let mut others: Vec<_> = others
        .iter()
        .map(|&best| (Some(best), Guest::new(best)))
        .collect();
    let direct = others
        .iter()
        .any(|&(best, _)| best == Some(Carrier::Direct));
    others.push((None, Guest::new(Carrier::Software)));
    for op in ops {
        let shown = software.step(op);
        let registers = software.registers();
        for (best, guest) in &mut others {
            prop_assert_eq!(&guest.step(op), &shown, "{:?}", op);
            if let (None, &Op::Carry(to, accelerated)) = (best, op) {
                guest.machine.carry(
                    if direct {
                        to
                    } else {
                        to.min(Carrier::Accelerated)
                    },
                    accelerated,
                );
            }
            let carrier = guest.machine.apic.carrier();
            prop_assert_eq!(&guest.registers(), &registers, "{} after {:?}", carrier, op);
            prop_assert_eq!(&guest.waiting, &software.waiting);
            if !direct {
                prop_assert_eq!(guest.trigger_modes(), software.trigger_modes());
            }
            let [apic, expected] = [&guest.machine.apic, &software.machine.apic];
            if carrier == Carrier::Direct {
                prop_assert_eq!(apic.deliverable(), None);
            } else {
                prop_assert_eq!(apic.deliverable(), expected.deliverable());
                prop_assert_eq!(apic.interrupts(), apic.deliverable().is_some());
                prop_assert_eq!(
                    (apic.cr8(), apic.priority()),
                    (expected.cr8(), expected.priority())
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..Default::default() })]
    #[test]
    fn all_three_show_a_guest_the_same(ops in prop::collection::vec(op(true), 0..100)) {
        agree(&[Carrier::Accelerated, Carrier::Direct], &ops)?;
    }

    #[test]
    fn the_page_shows_a_guest_all_that_the_software_does(ops in prop::collection::vec(op(false), 0..100)) {
        agree(&[Carrier::Accelerated], &ops)?;
    }
}
