//! Whoever carries the local APIC, and however often that changes: the guest sees the same.

use super::*;
use crate::lapic::model::{CARRIERS, Op, STEP, agree};
use proptest::prelude::*;
use spec::apic::Carrier;
use std::vec;

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

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..Default::default() })]
    #[test]
    fn all_three_show_a_guest_the_same(ops in prop::collection::vec(op(true), 0..100)) {
        agree(&[Carrier::Accelerated, Carrier::Direct], &ops);
    }

    #[test]
    fn the_page_shows_a_guest_all_that_the_software_does(ops in prop::collection::vec(op(false), 0..100)) {
        agree(&[Carrier::Accelerated], &ops);
    }
}
