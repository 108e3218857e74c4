//! The faults, each by a guest that shows it.

mod interrupts;

use crate::guest::{CODE, Exit, Guest, HANDLER, NOWHERE, Posted, Run, VMCALL};
use crate::machine::Machine;
use alloc::string::String;
use core::fmt;
use hw::vmx_ops::VmFail;
use spec::cpu::Rflags;
use spec::exit_reason as reason;
use spec::vmx_error::VmxError;
use spec::vmx_event::EventKind;
use spec::{Gpa, PAGE_SIZE, Vector};

/// What a guest has shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Finding {
    /// The processor does as the manual says
    Absent,
    /// It has the fault
    Present,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Finding::Absent => "absent",
            Finding::Present => "present",
        })
    }
}

/// How a fault is looked for; the error says what happened that neither the fault nor its absence explains.
type Look = fn(&mut Machine, &mut Guest) -> Result<Finding, String>;

/// The faults, called as their cures in `xtask/cures`.
pub(crate) const FAULTS: [(&str, Look); 15] = [
    ("1-masked-virtual-interrupt", masked),
    ("2-halt-sleeps-through-virtual-interrupt", halt),
    ("3-interrupt-mask-at-entry", mask_at_entry),
    ("4-posted-interrupt-descriptor", descriptor),
    ("5-vectoring-of-virtual-interrupt", vectoring),
    ("6-topology-shift", topology),
    ("7-exception-then-exit", exception),
    ("8-repeat-among-several", repeat),
    ("9-repeat-in-batches", batch),
    ("10-posted-interrupt-of-none", interrupts::notification),
    ("11-halted-at-nmi-exit", interrupts::asleep),
    ("12-end-of-spurious-vector", interrupts::end),
    ("13-priority-class", interrupts::class),
    ("14-deadline-after-expiry", interrupts::deadline),
    ("15-self-ipi-reserved", interrupts::self_ipi),
];

/// The physical interrupt.
const PHYSICAL: Vector = Vector(0x40);

/// The virtual interrupt.
const VIRTUAL: Vector = Vector(0x61);

/// `jmp $`
const SPIN: [u8; 2] = [0xeb, 0xfe];

/// With a virtual and a physical interrupt pending while RFLAGS.IF = 0 the physical one exits, and the virtual one waits
/// (SDM vol. 3, "Virtual-Interrupt Delivery"). STI holds interrupts back until CLI is done: the pair changes RFLAGS.IF
/// without a gap, so that this is seen whether or not fault 3 is there.
fn masked(machine: &mut Machine, guest: &mut Guest) -> Result<Finding, String> {
    let run = Run {
        pending: Some(VIRTUAL),
        physical: Some(PHYSICAL),
        // sti; cli; jmp $
        ..Run::of(&[0xfb, 0xfa, 0xeb, 0xfe])
    };
    let exit = exit(machine, guest, run)?;
    if exit.rip == HANDLER.into() && exit.pushed & Rflags::IF.bits() == 0 {
        // The physical interrupt exits after that, before the handler's first instruction.
        Ok(Finding::Present)
    } else if exit.rip != HANDLER.into() && exit.reason == reason::EXTERNAL_INTERRUPT {
        Ok(Finding::Absent)
    } else {
        unclear(exit)
    }
}

/// A virtual interrupt that is delivered ends HLT (SDM vol. 3, "Virtual-Interrupt Delivery").
fn halt(machine: &mut Machine, guest: &mut Guest) -> Result<Finding, String> {
    let run = Run {
        pending: Some(VIRTUAL),
        // sti; hlt; jmp $
        ..Run::of(&[0xfb, 0xf4, 0xeb, 0xfe])
    };
    let exit = exit(machine, guest, run)?;
    match exit.reason {
        reason::VMCALL if exit.rip == HANDLER.into() => Ok(Finding::Absent),
        reason::PREEMPTION_TIMER => Ok(Finding::Present),
        _ => unclear(exit),
    }
}

/// An interrupt exits whatever RFLAGS.IF is (SDM vol. 3, "External-interrupt exiting"), in a guest that was entered with
/// RFLAGS.IF = 0 as well.
fn mask_at_entry(machine: &mut Machine, guest: &mut Guest) -> Result<Finding, String> {
    let run = Run {
        physical: Some(PHYSICAL),
        ..Run::of(&SPIN)
    };
    let exit = exit(machine, guest, run)?;
    match exit.reason {
        reason::EXTERNAL_INTERRUPT => Ok(Finding::Absent),
        reason::PREEMPTION_TIMER => Ok(Finding::Present),
        _ => unclear(exit),
    }
}

/// The posted-interrupt descriptor is aligned on 64 bytes (SDM vol. 3, "VM-Execution Control Fields"). One that is aligned
/// on a page shows first that nothing else is wrong.
fn descriptor(machine: &mut Machine, guest: &mut Guest) -> Result<Finding, String> {
    let mut at = |offset| {
        let run = Run {
            posted: Some(Posted {
                offset,
                request: None,
            }),
            ..Run::of(&VMCALL)
        };
        guest.run(machine, run)
    };
    let fits = |exit: Exit| exit.reason == reason::VMCALL && exit.rip == CODE.0;
    match (at(0)?, at(64)?) {
        (Ok(page), Ok(line)) if fits(page) && fits(line) => Ok(Finding::Absent),
        (Ok(page), Err(VmFail::Valid(VmxError::INVALID_CONTROLS))) if fits(page) => {
            Ok(Finding::Present)
        }
        (page, line) => Err(alloc::format!(
            "aligned on a page {page:?}, on 64 bytes {line:?}"
        )),
    }
}

/// An exit while a virtual interrupt is delivered says which (SDM vol. 3, "Information for VM Exits During Event
/// Delivery"). Here the table of vectors is in memory that the guest does not have.
fn vectoring(machine: &mut Machine, guest: &mut Guest) -> Result<Finding, String> {
    // No other run has this vector, so what an earlier exit has left behind cannot pass for it.
    const OTHER: Vector = Vector(0x72);
    let run = Run {
        open: true,
        pending: Some(OTHER),
        vectors: NOWHERE,
        ..Run::of(&SPIN)
    };
    let exit = exit(machine, guest, run)?;
    let there = NOWHERE.0..NOWHERE.0 + PAGE_SIZE;
    let Gpa(at) = exit.gpa;
    if exit.reason != reason::EPT_VIOLATION || !there.contains(&at) {
        return unclear(exit);
    }
    let told = exit.vectoring;
    let right =
        told.is_valid() && told.kind() == EventKind::ExternalInterrupt && told.vector() == OTHER;
    Ok(if right {
        Finding::Absent
    } else {
        Finding::Present
    })
}

/// A core of one thread takes no bits of the x2APIC id for its threads (SDM vol. 2, "CPUID", "Extended Topology Enumeration
/// Leaf"). The processors of the machine that looks for faults are cores of one thread.
fn topology(_: &mut Machine, _: &mut Guest) -> Result<Finding, String> {
    const THREAD: u32 = 1;
    let [eax, ebx, ecx, _] = hw::cpuid::leaf(0xb, 0);
    let (shift, threads, level) = (eax & 0x1f, ebx & 0xffff, ecx >> 8 & 0xff);
    match (level, threads, shift) {
        (THREAD, 1, 0) => Ok(Finding::Absent),
        (THREAD, 1, 1) => Ok(Finding::Present),
        _ => Err(alloc::format!(
            "level {level}, {threads} threads, shift {shift}"
        )),
    }
}

/// An exit right after an exception says that the guest goes on at the handler (SDM vol. 3, "Saving RIP, RSP, RFLAGS, and SSP").
/// Interrupts are held back while the first instruction raises the exception, and no longer.
fn exception(machine: &mut Machine, guest: &mut Guest) -> Result<Finding, String> {
    let run = Run {
        physical: Some(PHYSICAL),
        held_back: true,
        // ud2
        ..Run::of(&[0x0f, 0x0b])
    };
    let exit = exit(machine, guest, run)?;
    let raised = exit.pushed != 0;
    match exit.reason {
        reason::EXTERNAL_INTERRUPT if raised && exit.rip == HANDLER.into() => Ok(Finding::Absent),
        reason::EXTERNAL_INTERRUPT if raised && exit.rip == CODE.0 => Ok(Finding::Present),
        _ => unclear(exit),
    }
}

/// A repeated string instruction can be interrupted after each iteration (SDM vol. 2, "REP/REPE/REPZ/REPNE/REPNZ"): a guest that reads
/// all its memory by one is left in the middle of it.
fn repeat(machine: &mut Machine, guest: &mut Guest) -> Result<Finding, String> {
    // mov cx, 2f00h; xor si, si; rep lodsb; jmp $
    let code = &[0xb9, 0x00, 0x2f, 0x31, 0xf6, 0xf3, 0xac, 0xeb, 0xfe];
    interrupted(machine, guest, code, 5)
}

/// Nor may time stand still for the other processor meanwhile: of the two that this machine has the other one sleeps, and two
/// processors have a tick for each two instructions, so that iterations are more than the ticks that they take.
fn batch(machine: &mut Machine, _: &mut Guest) -> Result<Finding, String> {
    const BYTES: u64 = 3840;
    match machine.ticks_to_fill(BYTES) {
        0 => Err("the TSC stands still".into()),
        ticks if ticks < BYTES => Ok(Finding::Absent),
        _ => Ok(Finding::Present),
    }
}

/// Whether the preemption timer ends a run in the instruction at `offset` of the code, or behind it.
fn interrupted(
    machine: &mut Machine,
    guest: &mut Guest,
    code: &'static [u8],
    offset: u64,
) -> Result<Finding, String> {
    let run = Run {
        patience: 20,
        ..Run::of(code)
    };
    let exit = exit(machine, guest, run)?;
    let within = CODE.0 + offset;
    match exit.reason {
        reason::PREEMPTION_TIMER if exit.rip == within => Ok(Finding::Absent),
        reason::PREEMPTION_TIMER if exit.rip > within => Ok(Finding::Present),
        _ => unclear(exit),
    }
}

/// Runs the guest, which must be entered.
fn exit(machine: &mut Machine, guest: &mut Guest, run: Run) -> Result<Exit, String> {
    guest
        .run(machine, run)?
        .map_err(|e| alloc::format!("VM entry failed: {e}"))
}

fn unclear(exit: Exit) -> Result<Finding, String> {
    let name = reason::name(exit.reason).unwrap_or("undefined");
    Err(alloc::format!("{name}, {exit:x?}"))
}
