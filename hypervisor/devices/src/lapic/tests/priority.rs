//! "Task and Processor Priorities", "Interrupt Acceptance for Fixed Interrupts", against a slow model.

use super::machine::{CARRIERS, Machine};
use super::*;
use proptest::prelude::*;
use spec::apic::Carrier;
use std::collections::BTreeSet;

/// The manual's words on plain sets.
#[derive(Default)]
struct Model {
    requested: BTreeSet<u8>,
    serving: BTreeSet<u8>,
    level: BTreeSet<u8>,
    tpr: u8,
}

impl Model {
    fn ppr(&self) -> u8 {
        let serving = self.serving.last().copied().unwrap_or(0);
        if self.tpr & 0xf0 >= serving & 0xf0 {
            self.tpr
        } else {
            serving & 0xf0
        }
    }

    fn deliverable(&self) -> Option<u8> {
        let highest = *self.requested.last()?;
        (highest & 0xf0 > self.ppr() & 0xf0).then_some(highest)
    }
}

#[derive(Clone, Debug)]
enum Op {
    Accept(u8, bool),
    Deliver,
    Eoi,
    Tpr(u8),
    Cr8(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (16..=255u8, any::<bool>()).prop_map(|(v, level)| Op::Accept(v, level)),
        4 => Just(Op::Deliver),
        3 => Just(Op::Eoi),
        1 => any::<u8>().prop_map(Op::Tpr),
        1 => any::<u8>().prop_map(Op::Cr8),
    ]
}

proptest! {
    #[test]
    fn each_carrier_agrees_with_the_slow_model(ops in prop::collection::vec(op(), 0..200)) {
        for carrier in CARRIERS {
            agrees(Machine::ready(carrier), &ops)?;
        }
        agrees(Machine::new(xapic(0), Carrier::Direct), &ops)?;
    }
}

fn agrees(mut apic: Machine, ops: &[Op]) -> Result<(), TestCaseError> {
    let carrier = apic.apic.carrier();
    let mut model = Model::default();
    for op in ops {
        match *op {
            Op::Accept(vector, level) => {
                // The processor's own local APIC takes none; what becomes of them is told by itself.
                let level = level && carrier != Carrier::Direct;
                apic.outside(vector, level);
                model.requested.insert(vector);
                if level {
                    model.level.insert(vector);
                } else {
                    model.level.remove(&vector);
                }
            }
            Op::Deliver => {
                let next = model.deliverable();
                prop_assert_eq!(apic.take(), next.map(Vector));
                if let Some(vector) = next {
                    model.requested.remove(&vector);
                    model.serving.insert(vector);
                }
            }
            Op::Eoi => {
                let expected = match model.serving.pop_last() {
                    Some(v) if model.level.contains(&v) => Effect::Eoi(Vector(v)),
                    _ => Effect::None,
                };
                prop_assert_eq!(apic.eoi(), expected);
            }
            Op::Tpr(value) => {
                apic.put(register::TPR, value.into());
                model.tpr = value;
            }
            Op::Cr8(value) => {
                apic.set_cr8(value);
                model.tpr = value << 4;
            }
        }
        prop_assert_eq!(apic.get(register::PPR), model.ppr().into());
        prop_assert_eq!(apic.get(register::TPR), model.tpr.into());
        if carrier != Carrier::Direct {
            prop_assert_eq!(apic.apic.deliverable(), model.deliverable().map(Vector));
            prop_assert_eq!(apic.apic.priority(), model.ppr());
            prop_assert_eq!(apic.apic.cr8(), model.tpr >> 4);
        }
    }
    for (first, set) in [
        (register::ISR, &model.serving),
        (register::IRR, &model.requested),
        (register::TMR, &model.level),
    ] {
        for word in 0..8u8 {
            let bits = (0..32)
                .filter(|bit| set.contains(&(32 * word + bit)))
                .fold(0, |bits, bit| bits | 1 << bit);
            prop_assert_eq!(apic.get(first + word), bits);
        }
    }
    prop_assert_eq!(apic.apic.carrier(), carrier);
    Ok(())
}

#[test]
fn a_higher_class_interrupts_and_the_same_class_waits() {
    let mut apic = x2apic(0);
    apic.accept(Vector(0x41), false);
    apic.acknowledge(Vector(0x41));
    apic.accept(Vector(0x4f), false);
    assert_eq!(apic.deliverable(), None);
    apic.accept(Vector(0x50), false);
    assert_eq!(apic.deliverable(), Some(Vector(0x50)));
}

#[test]
fn acknowledging_what_was_not_requested_changes_nothing() {
    let mut apic = x2apic(0);
    let before = apic.clone();
    apic.acknowledge(Vector(0x40));
    apic.acknowledge(Vector(0));
    assert_eq!(apic, before);
}
