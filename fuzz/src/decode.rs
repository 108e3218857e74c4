//! The whole way of an exit: what the processor may leave in a VMCS is decoded, `vm::step` answers, the answer is carried out, events are
//! delivered, and the VMCS must then pass every check of a VM entry that the manual lists.

mod processor;

use crate::each;
use crate::step::machine::Machine;
use arbitrary::Arbitrary;
use exits::{Answer, Event, Exit, Stop};
use processor::{Guest, Start};
use spec::cpu::{Gpr, Rflags};
use spec::exit_reason as reason;
use spec::state::Activity;
use spec::vmcs;
use spec::vmx_event::{EventKind, InterruptionInfo};
use spec::{Gpa, Ticks, Vector};
use vmx::Effect;

/// What the guest and the processor do before an exit.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Op {
    Register(u8, u64),
    SmallRegister(u8, u16),
    Rip(u64),
    Rsp(u64),
    Flags(u32),
    /// Blocking by STI, MOV SS and NMI
    Blocking(u8),
    Debug(u16, bool),
    User(bool),
    Code([u8; 4]),
    Pass(u16),
    Exit {
        reason: u8,
        qualification: u64,
        length: u8,
        information: u32,
        gpa: u32,
        linear: u32,
        /// The event whose delivery the exit cut short, if it can have
        vectoring: Option<Vectoring>,
    },
    /// As the fields stand, for any reason at all
    AnyReason(u32, u64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Vectoring {
    kind: u8,
    vector: u8,
    error_code: u16,
}

/// Tries one sequence.
///
/// # Panics
/// If an entry after an exit would fail for what we have written.
pub fn one(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else {
        return;
    };
    let start = [Start::Long, Start::Real, Start::Protected][usize::from(first % 3)];
    let mut guest = Guest::new(start, first & 0x80 != 0);
    let mut machine = if first & 0x40 == 0 {
        Machine::new(1)
    } else {
        Machine::x2apic(1)
    };
    for op in each(data) {
        if prepare(&mut guest, &mut machine, op) && !round(&mut guest, &mut machine) {
            return;
        }
    }
}

/// Whether an exit comes of it.
fn prepare(guest: &mut Guest, machine: &mut Machine, op: Op) -> bool {
    let fields = &mut guest.fields;
    match op {
        Op::Register(n, value) => machine.gprs.set(Gpr::from_number(n), value),
        Op::SmallRegister(n, value) => machine.gprs.set(Gpr::from_number(n), value.into()),
        Op::Rip(value) => fields.set(vmcs::GUEST_RIP, guest.start.address(value)),
        Op::Rsp(value) => fields.set(vmcs::GUEST_RSP, guest.start.address(value)),
        Op::Flags(value) => {
            // In the guests of this target there is no virtual-8086 mode.
            let may = Rflags::all().difference(Rflags::VM | Rflags::VIF | Rflags::VIP);
            let flags = Rflags::from_bits_truncate(value.into()) & may | Rflags::FIXED;
            fields.set(vmcs::GUEST_RFLAGS, flags.bits());
            settle(guest);
        }
        Op::Blocking(bits) => {
            let bits = [0, 1, 2, 8, 9, 10][usize::from(bits % 6)];
            fields.set(vmcs::GUEST_INTERRUPTIBILITY, bits);
            settle(guest);
        }
        Op::Debug(dr7, branches) => {
            fields.set(vmcs::GUEST_DR7, 0x400 | u64::from(dr7 & 0x2bff));
            fields.set(vmcs::GUEST_DEBUGCTL, u64::from(branches) << 1);
            settle(guest);
        }
        Op::User(user) => guest.privilege(user),
        Op::Code(bytes) => {
            let at = Gpa(super::step::machine::CODE);
            let _ = seam::GuestMem::write_from(&machine.vm.memory, at, &bytes);
        }
        Op::Pass(ticks) => machine.now = Ticks(machine.now.0 + u64::from(ticks)),
        Op::AnyReason(reason, qualification) => {
            fields.set(vmcs::EXIT_REASON, u64::from(reason & 0x8000_00ff));
            fields.set(vmcs::EXIT_QUALIFICATION, qualification);
            return true;
        }
        Op::Exit {
            reason,
            qualification,
            length,
            information,
            gpa,
            linear,
            vectoring,
        } => {
            let reason = u16::from(reason % 80);
            let interrupted = match reason {
                reason::EXCEPTION_OR_NMI | reason::EPT_VIOLATION | reason::TASK_SWITCH => vectoring,
                _ => None,
            };
            for (field, value) in [
                (vmcs::EXIT_REASON, reason.into()),
                (vmcs::EXIT_QUALIFICATION, qualification),
                (vmcs::EXIT_INSTRUCTION_LENGTH, u64::from(length % 15) + 1),
                (vmcs::EXIT_INSTRUCTION_INFO, information.into()),
                (vmcs::EXIT_INTERRUPTION_INFO, event(information).into()),
                (vmcs::EXIT_INTERRUPTION_ERROR_CODE, 0),
                (vmcs::GUEST_PHYSICAL_ADDRESS, gpa.into()),
                (vmcs::GUEST_LINEAR_ADDRESS, linear.into()),
            ] {
                fields.set(field, value);
            }
            deliver_was(guest, interrupted);
            return true;
        }
    }
    false
}

/// What of the state the processor keeps consistent by itself.
fn settle(guest: &mut Guest) {
    let fields = &mut guest.fields;
    let flags = Rflags::from_bits_retain(fields.get(vmcs::GUEST_RFLAGS));
    let mut blocking = fields.get(vmcs::GUEST_INTERRUPTIBILITY);
    if !flags.contains(Rflags::IF) {
        blocking &= !1;
    }
    fields.set(vmcs::GUEST_INTERRUPTIBILITY, blocking);
    let steps = flags.contains(Rflags::TF) && fields.get(vmcs::GUEST_DEBUGCTL) & 2 == 0;
    let pending = u64::from(steps && blocking & 3 != 0) << 14;
    fields.set(vmcs::GUEST_PENDING_DEBUG, pending);
}

/// The events that exit: an NMI, #DB, INT1, #AC, #MC.
fn event(choice: u32) -> u32 {
    let exception = |vector, kind, code| InterruptionInfo::new(Vector(vector), kind, code);
    let hardware = EventKind::HardwareException;
    match choice % 5 {
        0 => exception(2, EventKind::Nmi, false),
        1 => exception(1, hardware, false),
        2 => exception(1, EventKind::PrivilegedSoftwareException, false),
        3 => exception(17, hardware, true),
        _ => exception(18, hardware, false),
    }
    .0 | choice & 0x1000
}

/// An event whose delivery the exit cut short, as the processor reports it.
fn deliver_was(guest: &mut Guest, interrupted: Option<Vectoring>) {
    let fields = &mut guest.fields;
    let Some(Vectoring {
        kind,
        vector,
        error_code,
    }) = interrupted
    else {
        fields.set(vmcs::IDT_VECTORING_INFO, 0);
        return;
    };
    let protected = fields.get(vmcs::GUEST_CR0) & 1 != 0;
    let flags = fields.get(vmcs::GUEST_RFLAGS);
    let (kind, vector) = match kind % 6 {
        0 if flags & Rflags::IF.bits() != 0 => (EventKind::ExternalInterrupt, vector.max(16)),
        1 => (EventKind::SoftwareInterrupt, vector),
        2 => (EventKind::SoftwareException, 3 + (vector & 1)),
        3 => (EventKind::PrivilegedSoftwareException, 1),
        4 => (EventKind::HardwareException, vector % 20),
        _ => (EventKind::Nmi, 2),
    };
    // No hardware exception has these vectors.
    let vector = match (kind, vector) {
        (EventKind::HardwareException, 2..=4 | 9 | 15) => 13,
        (_, vector) => vector,
    };
    let pushes =
        matches!(vector, 8 | 10..=14 | 17) && kind == EventKind::HardwareException && protected;
    let info = InterruptionInfo::new(Vector(vector), kind, pushes);
    fields.set(vmcs::IDT_VECTORING_INFO, info.0.into());
    fields.set(vmcs::IDT_VECTORING_ERROR_CODE, error_code.into());
    // Its delivery had begun: nothing of the instruction before is left.
    let blocking = match kind {
        EventKind::Nmi => 8,
        _ => fields.get(vmcs::GUEST_INTERRUPTIBILITY) & 8,
    };
    fields.set(vmcs::GUEST_INTERRUPTIBILITY, blocking);
    fields.set(vmcs::GUEST_PENDING_DEBUG, 0);
}

/// Exits that the processor makes only after its own check of privilege.
const NOT_OF_USERS: [u16; 6] = [
    reason::CR_ACCESS,
    reason::RDMSR,
    reason::WRMSR,
    reason::HLT,
    reason::INVD,
    reason::WBINVD,
];

/// One exit and what follows, up to the next entry; whether there is one.
fn round(guest: &mut Guest, machine: &mut Machine) -> bool {
    let reason = guest.fields.get(vmcs::EXIT_REASON) as u16;
    if guest.is_user() && NOT_OF_USERS.contains(&reason) {
        return true;
    }
    // An exit takes the event with it that its entry has delivered.
    let entry = guest.fields.get(vmcs::ENTRY_INTERRUPTION_INFO) & !(1 << 31);
    guest.fields.set(vmcs::ENTRY_INTERRUPTION_INFO, entry);
    // What no processor would leave is nothing to go on from.
    let was_sound = guest.failures().is_empty();
    let Guest { vcpu, fields, .. } = guest;
    let exit = vcpu.decode(fields, &machine.gprs);
    // A triple fault, an unknown exit and so on end the VM; a report reads the VMCS, and no more.
    let answer = machine.step(exit);
    let effect = vcpu.apply(fields, answer);
    machine.vcpus[0].unemulated = None;
    match effect {
        Effect::Stop(_) | Effect::TripleFault => {
            if answer == Answer::Stop(Stop::Bug("VM entry refused the guest state")) {
                assert!(matches!(exit, Exit::EntryFailed(_)));
            }
            return false;
        }
        Effect::Halt => machine.vcpus[0].activity = Activity::Halted,
        Effect::FlushLinear { pdptes: true } => vcpu.set_pdptes(fields, machine.vcpus[0].pdptes),
        _ => {}
    }
    deliver(guest, machine);
    if was_sound {
        let failures = guest.failures();
        assert!(
            failures.is_empty(),
            "after {exit:?}, {answer:?}: {failures:#?}"
        );
    }
    // As if it had been woken.
    machine.vcpus[0].activity = Activity::Active;
    was_sound
}

/// As a core does before it enters a vCPU.
fn deliver(guest: &mut Guest, machine: &mut Machine) {
    let wants = machine.wants(0);
    let Guest { vcpu, fields, .. } = guest;
    let software = &mut machine.vcpus[0];
    if wants.nmi {
        if vcpu.can_take_nmi(fields) {
            assert_eq!(vcpu.inject(fields, Event::Nmi), Effect::None);
            software.nmi_taken();
        }
        vcpu.request_nmi_window(fields, software.nmi_waits());
    }
    let mut window = false;
    if let Some(vector) = wants.interrupt {
        window = true;
        if vcpu.can_take_interrupt(fields) {
            let effect = vcpu.inject(fields, Event::Interrupt(vector));
            assert_eq!(effect, Effect::None);
            software.taken(vector);
            window = software.lapic.deliverable().is_some();
        }
    }
    vcpu.request_interrupt_window(fields, window);
    if let Some(page) = wants.start_up {
        let state = machine.vm.start_up(page);
        let _ = vcpu.start_up(fields, &state);
        machine.vcpus[0].started_up();
    }
    vcpu.set_timer(fields, Ticks(1000));
}
