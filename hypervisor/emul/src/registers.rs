//! Parts of general-purpose registers, and addresses made of them.

use crate::operation::{Address, Register};
use spec::Width;
use spec::cpu::{Gpr, Gprs};
use spec::state::CpuState;

/// The value of a register or its part.
pub(crate) fn get(gprs: &Gprs, register: Register) -> u64 {
    let shift = if register.high { 8 } else { 0 };
    (gprs.get(register.gpr) >> shift) & register.width.ones()
}

/// Sets a register or its part: 32 bits clear the upper half, 8 and 16 bits leave the rest as it is
/// (SDM vol. 1, "General-Purpose Registers in 64-Bit Mode").
pub(crate) fn set(gprs: &mut Gprs, register: Register, value: u64) {
    let old = gprs.get(register.gpr);
    let mask = register.width.ones();
    let new = match register.width {
        Width::B4 | Width::B8 => value & mask,
        Width::B1 if register.high => (old & !0xff00) | ((value & mask) << 8),
        Width::B1 | Width::B2 => (old & !mask) | (value & mask),
    };
    gprs.set(register.gpr, new);
}

/// The low part of a register.
pub(crate) const fn low(gpr: Gpr, width: Width) -> Register {
    Register {
        gpr,
        width,
        high: false,
    }
}

/// The offset that an address denotes within its segment. RSP's slot of `gprs` counts here.
pub(crate) fn offset(address: &Address, cpu: &CpuState, gprs: &Gprs) -> u64 {
    let part = |gpr: Option<Gpr>| gpr.map_or(0, |gpr| gprs.get(gpr));
    // Sums modulo 2^64 agree with sums modulo 2^32 and 2^16 in their low bits.
    address
        .displacement
        .wrapping_add(part(address.base))
        .wrapping_add(part(address.index).wrapping_mul(u64::from(address.scale)))
        .wrapping_add(if address.relative { cpu.rip } else { 0 })
        & address.size.ones()
}

/// Moves an index register of a string instruction by one element, at the width of the address.
pub(crate) fn step(gprs: &mut Gprs, register: Register, element: Width, backward: bool) {
    let old = get(gprs, register);
    let bytes = element.bytes();
    let new = if backward {
        old.wrapping_sub(bytes)
    } else {
        old.wrapping_add(bytes)
    };
    set(gprs, register, new);
}
