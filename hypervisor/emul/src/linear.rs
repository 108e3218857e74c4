//! From segment and offset to linear addresses, with the checks that come before paging.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "an access has one byte at least, and pages have 4096"
)]

use crate::error::Fault;
use crate::walk::Intent;
use spec::cpu::{Cr4, Segment};
use spec::state::CpuState;
use spec::{Gva, PAGE_SIZE};

/// Index of FS in [`CpuState::segments`]: it and GS, after it, keep their bases in 64-bit mode.
pub(crate) const FS: usize = 4;

/// Whether an address is canonical: all bits above the highest that paging uses equal it
/// (SDM vol. 1, "Canonical Addressing").
fn is_canonical(cpu: &CpuState, address: u64) -> bool {
    let unused = if cpu.cr4 & Cr4::LA57.bits() != 0 {
        7
    } else {
        16
    };
    ((address << unused) as i64 >> unused) as u64 == address
}

/// The linear address `bytes` after another, in the width that the mode gives linear addresses.
pub(crate) fn advance(cpu: &CpuState, linear: Gva, bytes: u64) -> Gva {
    let sum = linear.0.wrapping_add(bytes);
    Gva(if cpu.is_64_bit() {
        sum
    } else {
        sum & 0xffff_ffff
    })
}

/// The linear address of `len` bytes (not zero) at `offset` in a segment.
///
/// # Errors
/// #SS for the stack segment and #GP for the others: an address that is not canonical in 64-bit mode, else
/// (SDM vol. 3, "Limit Checking" and "Type Checking") an offset outside the limit or an access that the type
/// forbids.
pub(crate) fn linear(
    cpu: &CpuState,
    segment: usize,
    offset: u64,
    len: u64,
    intent: Intent,
) -> Result<Gva, Fault> {
    let fault = || {
        if segment == CpuState::SS {
            Fault::stack(cpu)
        } else {
            Fault::protection(cpu)
        }
    };
    let descriptor = cpu.segments.get(segment).ok_or_else(fault)?;
    if cpu.is_64_bit() {
        let base = if segment >= FS { descriptor.base } else { 0 };
        let first = base.wrapping_add(offset);
        let last = first.wrapping_add(len - 1);
        return if is_canonical(cpu, first) && is_canonical(cpu, last) {
            Ok(Gva(first))
        } else {
            Err(fault())
        };
    }
    if !is_allowed(cpu, descriptor, intent) || !is_inside(descriptor, offset, len) {
        return Err(fault());
    }
    Ok(Gva(descriptor.base.wrapping_add(offset) & 0xffff_ffff))
}

/// Whether the segment's type allows the access. Real-address and virtual-8086 mode do not ask.
fn is_allowed(cpu: &CpuState, descriptor: &Segment, intent: Intent) -> bool {
    if descriptor.rights & Segment::UNUSABLE != 0 {
        return false;
    }
    let is_code = descriptor.rights & 8 != 0;
    let read_or_write = descriptor.rights & 2 != 0;
    cpu.is_real()
        || cpu.is_virtual_8086()
        || match intent {
            Intent::Read => !is_code || read_or_write,
            Intent::Write => !is_code && read_or_write,
            Intent::Fetch => is_code,
        }
}

/// Whether all bytes lie within the limit; below it, for a segment that expands down.
fn is_inside(descriptor: &Segment, offset: u64, len: u64) -> bool {
    let Some(last) = offset.checked_add(len - 1) else {
        return false;
    };
    let limit = u64::from(descriptor.limit);
    let expands_down = descriptor.rights & 0xc == 4;
    if expands_down {
        let top = if descriptor.rights & Segment::DEFAULT_32 != 0 {
            0xffff_ffff
        } else {
            0xffff
        };
        offset > limit && last <= top
    } else {
        last <= limit
    }
}

/// Where the instruction at CS:RIP starts, and how many bytes from there on may be fetched: at most 15, fewer
/// before the limit of CS or before addresses that are not canonical.
///
/// # Errors
/// #GP if it is none.
pub(crate) fn code(cpu: &CpuState) -> Result<(Gva, u64), Fault> {
    const LONGEST: u64 = 15;
    let start = linear(cpu, CpuState::CS, cpu.rip, 1, Intent::Fetch)?;
    let left = if !cpu.is_64_bit() {
        u64::from(cpu.segments[CpuState::CS].limit)
            .saturating_sub(cpu.rip)
            .saturating_add(1)
    } else if is_canonical(cpu, start.0.wrapping_add(LONGEST - 1)) {
        LONGEST
    } else {
        PAGE_SIZE - start.0 % PAGE_SIZE
    };
    Ok((start, left.min(LONGEST)))
}

/// The bits of RSP that stack accesses use: all in 64-bit mode, else as the B flag of SS says.
pub(crate) fn stack_mask(cpu: &CpuState) -> u64 {
    if cpu.is_64_bit() {
        u64::MAX
    } else if cpu.segments[CpuState::SS].rights & Segment::DEFAULT_32 != 0 {
        0xffff_ffff
    } else {
        0xffff
    }
}
