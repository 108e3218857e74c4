//! "Task and Processor Priorities", "Interrupt Acceptance for Fixed Interrupts", against a slow model.

use super::*;
use proptest::prelude::*;
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
    fn it_agrees_with_the_slow_model(x2: bool, ops in prop::collection::vec(op(), 0..300)) {
        let mut apic = if x2 { x2apic(0) } else { xapic(0) };
        let mut model = Model::default();
        for op in ops {
            match op {
                Op::Accept(vector, level) => {
                    apic.accept(Vector(vector), level);
                    model.requested.insert(vector);
                    if level { model.level.insert(vector); } else { model.level.remove(&vector); }
                }
                Op::Deliver => if let Some(vector) = apic.deliverable() {
                    apic.acknowledge(vector);
                    model.requested.remove(&vector.0);
                    model.serving.insert(vector.0);
                },
                Op::Eoi => {
                    let expected = match model.serving.pop_last() {
                        Some(v) if model.level.contains(&v) => Effect::Eoi(Vector(v)),
                        _ => Effect::None,
                    };
                    prop_assert_eq!(eoi(&mut apic), expected);
                }
                Op::Tpr(value) => {
                    put(&mut apic, register::TPR, value.into());
                    model.tpr = value;
                }
                Op::Cr8(value) => {
                    apic.set_cr8(value);
                    model.tpr = value << 4;
                }
            }
            prop_assert_eq!(apic.deliverable(), model.deliverable().map(Vector));
            prop_assert_eq!(apic.priority(), model.ppr());
            prop_assert_eq!(get(&mut apic, register::PPR), model.ppr().into());
            prop_assert_eq!(get(&mut apic, register::TPR), model.tpr.into());
            prop_assert_eq!(apic.cr8(), model.tpr >> 4);
        }
        for (first, set) in [(register::ISR, &model.serving), (register::IRR, &model.requested), (register::TMR, &model.level)] {
            for word in 0..8u8 {
                let bits = (0..32).filter(|bit| set.contains(&(32 * word + bit))).fold(0, |bits, bit| bits | 1 << bit);
                prop_assert_eq!(get(&mut apic, first + word), bits);
            }
        }
    }
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
