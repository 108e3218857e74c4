//! Results and flags (SDM vol. 2, "Flags Affected" of each instruction).
//!
//! Flags that the manual leaves undefined: AF is cleared by AND, OR, XOR and TEST, and BT leaves all but CF
//! alone, as processors do.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "widths are of one to eight bytes, and 128 bits hold a sum of two of 64"
)]

use crate::operation::{Arithmetic, BitAction, Unary};
use spec::Width;
use spec::cpu::Rflags;

/// The flags that arithmetic sets.
const STATUS: Rflags = Rflags::CF
    .union(Rflags::PF)
    .union(Rflags::AF)
    .union(Rflags::ZF)
    .union(Rflags::SF)
    .union(Rflags::OF);

/// The highest bit of a width.
const fn sign(width: Width) -> u64 {
    1 << (8 * width.bytes() - 1)
}

/// ZF, SF and PF of a result.
fn of_result(result: u64, width: Width) -> Rflags {
    let mut flags = Rflags::empty();
    flags.set(Rflags::ZF, result == 0);
    flags.set(Rflags::SF, result & sign(width) != 0);
    flags.set(Rflags::PF, (result as u8).count_ones().is_multiple_of(2));
    flags
}

fn add(a: u64, b: u64, carry: bool, width: Width) -> (u64, Rflags) {
    let wide = u128::from(a) + u128::from(b) + u128::from(carry);
    let result = wide as u64 & width.ones();
    let mut flags = of_result(result, width);
    flags.set(Rflags::CF, wide > u128::from(width.ones()));
    flags.set(Rflags::AF, (a ^ b ^ result) & 0x10 != 0);
    flags.set(Rflags::OF, (a ^ result) & (b ^ result) & sign(width) != 0);
    (result, flags)
}

fn sub(a: u64, b: u64, borrow: bool, width: Width) -> (u64, Rflags) {
    let result = a.wrapping_sub(b).wrapping_sub(u64::from(borrow)) & width.ones();
    let mut flags = of_result(result, width);
    flags.set(
        Rflags::CF,
        u128::from(a) < u128::from(b) + u128::from(borrow),
    );
    flags.set(Rflags::AF, (a ^ b ^ result) & 0x10 != 0);
    flags.set(Rflags::OF, (a ^ b) & (a ^ result) & sign(width) != 0);
    (result, flags)
}

/// `new` in the places of `which`, the rest of `rflags` as it is.
fn merge(rflags: u64, which: Rflags, new: Rflags) -> u64 {
    (rflags & !which.bits()) | (new & which).bits()
}

/// The result of `a` and `b`, both within the width, and RFLAGS afterwards.
pub(crate) fn arithmetic(
    kind: Arithmetic,
    a: u64,
    b: u64,
    width: Width,
    rflags: u64,
) -> (u64, u64) {
    let carry = rflags & Rflags::CF.bits() != 0;
    let logic = |result| (result, of_result(result, width));
    let (result, flags) = match kind {
        Arithmetic::Add => add(a, b, false, width),
        Arithmetic::Adc => add(a, b, carry, width),
        Arithmetic::Sub | Arithmetic::Cmp => sub(a, b, false, width),
        Arithmetic::Sbb => sub(a, b, carry, width),
        Arithmetic::And | Arithmetic::Test => logic(a & b),
        Arithmetic::Or => logic(a | b),
        Arithmetic::Xor => logic(a ^ b),
    };
    (result, merge(rflags, STATUS, flags))
}

/// The result of `a`, within the width, and RFLAGS afterwards.
pub(crate) fn unary(kind: Unary, a: u64, width: Width, rflags: u64) -> (u64, u64) {
    let but_carry = STATUS.difference(Rflags::CF);
    let ((result, flags), which) = match kind {
        Unary::Not => ((!a & width.ones(), Rflags::empty()), Rflags::empty()),
        Unary::Neg => (sub(0, a, false, width), STATUS),
        Unary::Inc => (add(a, 1, false, width), but_carry),
        Unary::Dec => (sub(a, 1, false, width), but_carry),
    };
    (result, merge(rflags, which, flags))
}

/// What becomes of `value` and RFLAGS when its bit `n`, less than the width, is copied to CF and changed.
pub(crate) fn bit(action: BitAction, value: u64, n: u64, rflags: u64) -> (u64, u64) {
    let mask = 1 << n;
    let carry = if value & mask != 0 {
        Rflags::CF
    } else {
        Rflags::empty()
    };
    let result = match action {
        BitAction::Keep => value,
        BitAction::Set => value | mask,
        BitAction::Reset => value & !mask,
        BitAction::Complement => value ^ mask,
    };
    (result, merge(rflags, Rflags::CF, carry))
}

/// `value` of a width, sign-extended to 64 bits.
pub(crate) fn sign_extend(value: u64, width: Width) -> u64 {
    let unused = 64 - 8 * width.bytes();
    ((value << unused) as i64 >> unused) as u64
}

/// The bytes of a value of a width in the opposite order.
pub(crate) fn reverse(value: u64, width: Width) -> u64 {
    value.swap_bytes() >> (64 - 8 * width.bytes())
}
