//! The faults of the local APIC, of posted interrupts, and of the NMI that finds a guest asleep.

use super::{Finding, SPIN, VIRTUAL, exit, unclear};
use crate::apic;
use crate::guest::{CODE, Exit, Guest, HANDLER, HLT, NOTIFICATION, Posted, Run};
use crate::machine::Machine;
use alloc::string::String;
use spec::apic::register;
use spec::exit_reason as reason;
use spec::{Ticks, Vector};

/// Vector of spurious interrupts, where a fault shows by it.
const SPURIOUS: Vector = Vector(0x51);

/// A notification for which nothing is posted leaves RVI as it is (SDM vol. 3, "Posted-Interrupt Processing"). One for which
/// something is shows first that nothing else is wrong.
pub(super) fn notification(machine: &mut Machine, guest: &mut Guest) -> Result<Finding, String> {
    let mut posted = |request| {
        let run = Run {
            open: true,
            physical: Some(NOTIFICATION),
            posted: Some(Posted { offset: 0, request }),
            ..Run::of(&SPIN)
        };
        exit(machine, guest, run)
    };
    let delivered = |exit: Exit| exit.reason == reason::VMCALL && exit.rip == HANDLER.into();
    let (some, none) = (posted(Some(VIRTUAL))?, posted(None)?);
    if delivered(some) && delivered(none) {
        Ok(Finding::Present)
    } else if delivered(some) && none.reason == reason::PREEMPTION_TIMER {
        Ok(Finding::Absent)
    } else {
        Err(alloc::format!("one posted {some:x?}, none {none:x?}"))
    }
}

/// An NMI that exits finds the guest in HLT, and leaves it there (SDM vol. 3, "Architectural State Before a VM Exit"). The guest's
/// own NMI exits first, and by that blocks the next one until the guest is entered.
pub(super) fn asleep(machine: &mut Machine, guest: &mut Guest) -> Result<Finding, String> {
    let run = Run {
        write: Some((apic::msr_of(register::ICR), apic::nmi_to_self())),
        // wrmsr; jmp $
        ..Run::of(&[0x0f, 0x30, 0xeb, 0xfe])
    };
    let blocking = exit(machine, guest, run)?;
    if blocking.reason != reason::EXCEPTION_OR_NMI {
        return unclear(blocking);
    }
    apic::send_nmi_to_self();
    let run = Run {
        open: true,
        asleep: true,
        ..Run::of(&SPIN)
    };
    let woken = exit(machine, guest, run);
    machine.settle_nmis();
    let woken = woken?;
    let at_start = woken.reason == reason::EXCEPTION_OR_NMI && woken.rip == CODE.0;
    match woken.activity {
        HLT if at_start => Ok(Finding::Absent),
        0 if at_start => Ok(Finding::Present),
        _ => unclear(woken),
    }
}

/// An EOI ends what is in service, whatever its vector (SDM vol. 3, "Signaling Interrupt Servicing Completion"), also that of
/// spurious interrupts.
pub(super) fn end(machine: &mut Machine, _: &mut Guest) -> Result<Finding, String> {
    let (began, ended) = apic::with_spurious(SPURIOUS, || {
        apic::interrupt_self(SPURIOUS);
        let began = machine.take_interrupt() == Some(SPURIOUS) && apic::is_in_service(SPURIOUS);
        apic::end();
        (began, !apic::is_in_service(SPURIOUS))
    });
    machine.settle();
    match (began, ended) {
        (true, true) => Ok(Finding::Absent),
        (true, false) => Ok(Finding::Present),
        (false, _) => Err("an interrupt to itself is not in service".into()),
    }
}

/// An interrupt waits for one of its own class that is in service (SDM vol. 3, "Task and Processor Priorities"), and nothing comes
/// in its place.
pub(super) fn class(machine: &mut Machine, _: &mut Guest) -> Result<Finding, String> {
    const LOWER: Vector = Vector(0x61);
    const HIGHER: Vector = Vector(0x65);
    let (first, second, waits) = apic::with_spurious(SPURIOUS, || {
        apic::interrupt_self(LOWER);
        let first = machine.take_interrupt();
        apic::interrupt_self(HIGHER);
        let second = machine.take_interrupt();
        (first, second, apic::is_requested(HIGHER))
    });
    machine.settle();
    match (first, second) {
        (Some(LOWER), None) if waits => Ok(Finding::Absent),
        (Some(LOWER), Some(SPURIOUS)) if waits => Ok(Finding::Present),
        _ => Err(alloc::format!("{first:x?}, then {second:x?}")),
    }
}

/// A deadline that has come reads as zero (SDM vol. 3, "TSC-Deadline Mode").
pub(super) fn deadline(_: &mut Machine, _: &mut Guest) -> Result<Finding, String> {
    const LATER: Ticks = Ticks(100_000);
    let at = hw::tsc::now().after(LATER);
    match apic::deadline(at)? {
        (before, 0) if before == at.0 => Ok(Finding::Absent),
        (before, after) if before == at.0 && after == at.0 => Ok(Finding::Present),
        (before, after) => Err(alloc::format!("{before:#x}, then {after:#x}")),
    }
}

/// SELF IPI has eight bits: the others raise an exception (SDM vol. 3, "SELF IPI Register"). Where they do not, the interrupt exits.
pub(super) fn self_ipi(machine: &mut Machine, guest: &mut Guest) -> Result<Finding, String> {
    let run = Run {
        write: Some((
            apic::msr_of(register::SELF_IPI),
            0x100 | u64::from(SPURIOUS.0),
        )),
        // wrmsr; jmp $
        ..Run::of(&[0x0f, 0x30, 0xeb, 0xfe])
    };
    let exit = exit(machine, guest, run)?;
    match exit.reason {
        reason::VMCALL if exit.rip == HANDLER.into() => Ok(Finding::Absent),
        reason::EXTERNAL_INTERRUPT => Ok(Finding::Present),
        _ => unclear(exit),
    }
}
