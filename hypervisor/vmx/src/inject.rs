//! Events for the guest (SDM vol. 3, "VM-Entry Controls for Event Injection" and "Event Injection").

use crate::double_fault::{Combined, combine};
use crate::{Effect, Vcpu, Vmcs};
use exits::Event;
use spec::Vector;
use spec::apic::Carrier;
use spec::cpu::{Cr0, Rflags, vector};
use spec::vmcs;
use spec::vmx_event::{EventKind, Interruptibility, InterruptionInfo, activity};

/// DR7.GD: any access to a debug register raises #DB.
const DR7_GD: u64 = 1 << 13;

/// Whether the processor pushes an error code for this exception in protected mode (SDM vol. 3, table "Protected-Mode
/// Exceptions and Interrupts").
const fn has_error_code(v: Vector) -> bool {
    matches!(v.0, 8 | 10..=14 | 17 | 21)
}

impl Vcpu {
    /// Whether the guest would take an external interrupt now.
    #[must_use]
    pub fn can_take_interrupt(&self, vmcs: &impl Vmcs) -> bool {
        self.queued.is_none()
            && vmcs.read(vmcs::GUEST_RFLAGS) & Rflags::IF.bits() != 0
            && !blocking(vmcs).intersects(Interruptibility::STI | Interruptibility::MOV_SS)
    }

    /// Whether the guest would take an NMI now.
    #[must_use]
    pub fn can_take_nmi(&self, vmcs: &impl Vmcs) -> bool {
        // Blocking by STI counts too: some processors refuse an NMI then (SDM vol. 3, "Checks on Guest Non-Register State").
        self.queued.is_none()
            && !blocking(vmcs).intersects(
                Interruptibility::STI | Interruptibility::MOV_SS | Interruptibility::NMI,
            )
    }

    /// Has the next entry deliver `event`.
    ///
    /// An interrupt or NMI may be given only while [`Vcpu::can_take_interrupt`] or [`Vcpu::can_take_nmi`] says so. An exception may
    /// be given whenever the guest's instruction raised it; if it did so during the delivery of an earlier event, the two
    /// combine as in the manual.
    pub fn inject(&mut self, vmcs: &mut impl Vmcs, event: Event) -> Effect {
        match event {
            Event::Interrupt(vector) => {
                self.queue(
                    vmcs,
                    InterruptionInfo::new(vector, EventKind::ExternalInterrupt, false),
                );
                Effect::None
            }
            Event::Nmi => {
                self.queue(
                    vmcs,
                    InterruptionInfo::new(vector::NMI, EventKind::Nmi, false),
                );
                Effect::None
            }
            Event::Exception { vector, error_code } => self.exception(vmcs, vector, error_code),
            Event::Debug { dr6 } => match self.exception(vmcs, vector::DB, None) {
                Effect::None => Effect::SetDr6(dr6),
                other => other,
            },
            Event::PageFault {
                address,
                error_code,
            } => match self.exception(vmcs, vector::PF, Some(error_code)) {
                Effect::None => Effect::SetCr2(address),
                other => other,
            },
        }
    }

    fn queue(&mut self, vmcs: &mut impl Vmcs, info: InterruptionInfo) {
        self.queued = Some(info);
        vmcs.write(vmcs::ENTRY_INTERRUPTION_INFO, u64::from(info.0));
    }

    fn exception(
        &mut self,
        vmcs: &mut impl Vmcs,
        vector: Vector,
        error_code: Option<u32>,
    ) -> Effect {
        let (vector, error_code) = match self.queued.map(|first| combine(first, vector)) {
            None | Some(Combined::Second) => (vector, error_code),
            Some(Combined::DoubleFault) => (vector::DF, Some(0)),
            Some(Combined::TripleFault) => return Effect::TripleFault,
        };
        // In real mode no exception pushes an error code, and an entry that asked for it would fail.
        let pushes = has_error_code(vector) && vmcs.read(vmcs::GUEST_CR0) & Cr0::PE.bits() != 0;
        if pushes {
            // Bits 31:16 are reserved; no error code uses them.
            vmcs.write(
                vmcs::ENTRY_ERROR_CODE,
                u64::from(error_code.unwrap_or(0) & 0xffff),
            );
        }
        let kind = if self.int1 && vector == vector::DB {
            // RIP is still at INT1; delivered with its length, the handler returns behind it.
            let length = vmcs.read(vmcs::EXIT_INSTRUCTION_LENGTH);
            vmcs.write(vmcs::ENTRY_INSTRUCTION_LENGTH, length);
            EventKind::PrivilegedSoftwareException
        } else {
            EventKind::HardwareException
        };
        self.queue(vmcs, InterruptionInfo::new(vector, kind, pushes));

        if self.carrier == Carrier::Direct {
            // Only a guest that carries on by itself can be in HLT here, which most exceptions are refused of (SDM vol. 3, "Checks on
            // Guest Non-Register State"). Delivery ends it as well.
            vmcs.write(vmcs::GUEST_ACTIVITY, u64::from(activity::ACTIVE));
        }
        // Delivery ends the shadow of STI and MOV SS. Left set beside RFLAGS.TF it would fail the entry for want of a pending
        // single-step trap, which an instruction that faults does not raise.
        let blocked = blocking(vmcs);
        let shadow = Interruptibility::STI | Interruptibility::MOV_SS;
        if blocked.intersects(shadow) {
            set_blocking(vmcs, blocked.difference(shadow));
        }
        if vector == vector::DB {
            // An injected #DB does not do what one raised by the processor does: report in DR6 and clear DR7.GD.
            let dr7 = vmcs.read(vmcs::GUEST_DR7);
            if dr7 & DR7_GD != 0 {
                vmcs.write(vmcs::GUEST_DR7, dr7 & !DR7_GD);
            }
            return Effect::None;
        }
        // A fault pushes flags with RF set, so that the handler's IRET gets past an instruction breakpoint. Injection
        // pushes them as they are. (For #DB the processor has saved RF as it would have pushed it.)
        let flags = vmcs.read(vmcs::GUEST_RFLAGS);
        if flags & Rflags::RF.bits() == 0 {
            vmcs.write(vmcs::GUEST_RFLAGS, flags | Rflags::RF.bits());
        }
        Effect::None
    }

    /// Puts back an event whose delivery the exit cut short, and blocking of NMIs that a faulting IRET had lifted.
    ///
    /// `nmi_unblocking` is what the exit's interruption information or qualification says of the latter. Call after
    /// those exits that can come during a delivery (SDM vol. 3, "Information for VM Exits That Occur During Event Delivery").
    pub(crate) fn resume_delivery(&mut self, vmcs: &mut impl Vmcs, nmi_unblocking: bool) {
        let interrupted = InterruptionInfo(vmcs.read(vmcs::IDT_VECTORING_INFO) as u32);
        if !interrupted.is_valid() {
            if nmi_unblocking {
                let blocked = blocking(vmcs);
                set_blocking(vmcs, blocked | Interruptibility::NMI);
            }
            return;
        }
        self.delivering = true;
        // Bit 12 is undefined in the one field and reserved in the other.
        let info = InterruptionInfo(interrupted.0 & InterruptionInfo::ENTRY_BITS);
        match info.kind() {
            EventKind::Nmi => {
                // Its delivery had begun, so NMIs count as blocked; an entry that injects one wants them unblocked.
                let blocked = blocking(vmcs);
                set_blocking(vmcs, blocked.difference(Interruptibility::NMI));
            }
            EventKind::SoftwareInterrupt
            | EventKind::PrivilegedSoftwareException
            | EventKind::SoftwareException => {
                let length = vmcs.read(vmcs::EXIT_INSTRUCTION_LENGTH);
                vmcs.write(vmcs::ENTRY_INSTRUCTION_LENGTH, length);
            }
            EventKind::ExternalInterrupt
            | EventKind::HardwareException
            | EventKind::Reserved
            | EventKind::Other => {}
        }
        if info.has_error_code() {
            let code = vmcs.read(vmcs::IDT_VECTORING_ERROR_CODE);
            vmcs.write(vmcs::ENTRY_ERROR_CODE, code);
        }
        self.queue(vmcs, info);
    }
}

fn blocking(vmcs: &impl Vmcs) -> Interruptibility {
    Interruptibility::from_bits_retain(vmcs.read(vmcs::GUEST_INTERRUPTIBILITY) as u32)
}

fn set_blocking(vmcs: &mut impl Vmcs, blocking: Interruptibility) {
    vmcs.write(vmcs::GUEST_INTERRUPTIBILITY, u64::from(blocking.bits()));
}
