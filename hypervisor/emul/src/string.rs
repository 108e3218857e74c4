//! MOVS, CMPS, STOS, LODS and SCAS.

use crate::access::Bus;
use crate::alu;
use crate::error::Error;
use crate::execute::Machine;
use crate::operation::{Arithmetic, Operation, Repeat, StringKind};
use crate::registers::{get, low, set, step};
use crate::walk::Intent;
use seam::GuestMem;
use spec::cpu::{Gpr, Rflags};

/// Index of ES, the segment of every destination.
pub(crate) const ES: usize = 0;

/// Elements carried out before the guest is entered again, so that interrupts wait a bounded time.
const BATCH: u32 = 64;

/// How many elements are carried out at most: one while single-stepping, since a debug exception comes after each (SDM
/// vol. 3, "Single-Step Exception Condition").
pub(crate) fn batch(rflags: u64) -> u32 {
    if rflags & Rflags::TF.bits() != 0 {
        1
    } else {
        BATCH
    }
}

/// Carries out up to [`batch`] elements; says whether the instruction is finished.
///
/// A fault, or memory that is no longer emulated, at a later element than the first leaves the instruction
/// unfinished after the elements before: the processor meets it again.
pub(crate) fn string<M: GuestMem, B: Bus>(
    machine: &mut Machine<'_, M, B>,
    op: &Operation,
    kind: StringKind,
) -> Result<bool, Error> {
    if op.repeat == Repeat::Once {
        return element(machine, op, kind).map(|()| true);
    }
    let counter = low(Gpr::Rcx, op.memory.size);
    let compares = matches!(kind, StringKind::Cmps | StringKind::Scas);
    for n in 0..batch(machine.rflags) {
        let left = get(machine.gprs, counter);
        if left == 0 {
            return Ok(true);
        }
        match element(machine, op, kind) {
            Ok(()) => {}
            Err(error) if n == 0 => return Err(error),
            Err(_) => return Ok(false),
        }
        set(machine.gprs, counter, left.wrapping_sub(1));
        let is_equal = machine.rflags & Rflags::ZF.bits() != 0;
        if compares && is_equal != (op.repeat == Repeat::WhileEqual) {
            return Ok(true);
        }
    }
    Ok(get(machine.gprs, counter) == 0)
}

/// One element. Registers change only if it completes.
fn element<M: GuestMem, B: Bus>(
    machine: &mut Machine<'_, M, B>,
    op: &Operation,
    kind: StringKind,
) -> Result<(), Error> {
    let (size, width) = (op.memory.size, op.width);
    let [si, di] = [Gpr::Rsi, Gpr::Rdi].map(|gpr| low(gpr, size));
    let accumulator = low(Gpr::Rax, width);
    let from_si = matches!(kind, StringKind::Movs | StringKind::Cmps | StringKind::Lods);
    let uses_di = kind != StringKind::Lods;
    let writes = matches!(kind, StringKind::Movs | StringKind::Stos);

    let first = if from_si {
        let segment = usize::from(op.memory.segment);
        Some(machine.find(segment, get(machine.gprs, si), width, Intent::Read)?)
    } else {
        None
    };
    let second = if uses_di {
        let intent = if writes { Intent::Write } else { Intent::Read };
        Some(machine.find(ES, get(machine.gprs, di), width, intent)?)
    } else {
        None
    };
    if [first, second].iter().flatten().all(|place| place.is_ram()) {
        return Err(Error::Retry);
    }

    let value = match &first {
        Some(place) => machine.read(place)?,
        None => get(machine.gprs, accumulator),
    };
    match &second {
        Some(place) if writes => machine.write(place, value)?,
        Some(place) => {
            let other = machine.read(place)?;
            machine.rflags =
                alu::arithmetic(Arithmetic::Cmp, value, other, width, machine.rflags).1;
        }
        None => set(machine.gprs, accumulator, value),
    }
    let backward = machine.rflags & Rflags::DF.bits() != 0;
    if from_si {
        step(machine.gprs, si, width, backward);
    }
    if uses_di {
        step(machine.gprs, di, width, backward);
    }
    Ok(())
}
