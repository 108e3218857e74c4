//! Whoever carries the local APIC, and however often that changes: all the guest sees, beside the software carrier.

use super::machine::Machine;
use super::*;
use spec::apic::Carrier;
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

/// What a guest, its owner or the outside does.
///
/// All three carriers show the same of it only if level-triggered interrupts have odd vectors and edge-triggered ones that only the
/// processor sees even ones, SELF_IPI gets no illegal vector, and of what is done to the timer each step is longer than it rests: [`STEP`].
#[derive(Clone, Debug)]
pub enum Op {
    /// A write of a register, by its number
    Write(u8, u64),
    /// The end of the interrupt in service
    Eoi,
    /// The guest takes the interrupt that is due
    Take,
    /// An edge-triggered interrupt from outside
    Edge(u8),
    /// One that is posted past the hypervisor
    Post(u8),
    /// A level-triggered one
    Level(u8),
    /// IA32_TSC_DEADLINE, so many ticks from now
    Deadline(u64),
    /// IA32_TSC_DEADLINE = 0
    Disarm,
    /// The TSC offset
    Offset(u64),
    /// So many ticks pass
    Pass(u64),
    /// A write of IA32_APIC_BASE
    Base(u64),
    /// INIT
    Init,
    /// As the guest's kernel sets the APIC up
    SetUp,
    /// For the one whose carrier changes: what its owner would like, and whether there is a virtual-APIC page
    Carry(Carrier, bool),
}

/// Longer than the timer rests, so that no carrier is late.
pub const STEP: u64 = 1 << 14;

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
///
/// # Panics
/// If a guest can tell them apart.
pub fn agree(others: &[Carrier], ops: &[Op]) {
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
            assert_eq!(&guest.step(op), &shown, "{:?}", op);
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
            assert_eq!(&guest.registers(), &registers, "{} after {:?}", carrier, op);
            assert_eq!(&guest.waiting, &software.waiting);
            if !direct {
                assert_eq!(guest.trigger_modes(), software.trigger_modes());
            }
            let [apic, expected] = [&guest.machine.apic, &software.machine.apic];
            if carrier == Carrier::Direct {
                assert_eq!(apic.deliverable(), None);
            } else {
                assert_eq!(apic.deliverable(), expected.deliverable());
                assert_eq!(apic.interrupts(), apic.deliverable().is_some());
                assert_eq!(
                    (apic.cr8(), apic.priority()),
                    (expected.cr8(), expected.priority())
                );
            }
        }
    }
}
