//! The registers that a processor starts with: after reset, as a boot protocol wants them, or after a start-up IPI.

use crate::setup::write_all;
use crate::{Effect, Vcpu, Vmcs};
use spec::cpu::{Cr0, Gpr};
use spec::state::StartState;
use spec::vmcs;
use spec::vmx_event::activity;

impl Vcpu {
    /// Brings the processor to the state after INIT and a start-up IPI: `start` is that of [`StartState::start_up`]. May be called
    /// at any time between an exit and the next entry, and the first time on a processor that has never run.
    ///
    /// What INIT leaves alone stays (SDM vol. 3, table "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT"): of the
    /// VMCS these are the TSC offset, IA32_PAT, the SYSENTER MSRs, and CD and NW of CR0 as the guest sees them. Outside it these are
    /// x87, SSE and AVX state, XCR0, TSC_AUX, the SYSCALL MSRs and IA32_KERNEL_GS_BASE; general-purpose registers, CR2 and debug
    /// registers are the owner's to reset, with its own notion of what the preemption timer is set to.
    pub fn start_up(&mut self, vmcs: &mut impl Vmcs, start: &StartState) -> Effect {
        const KEPT: u64 = Cr0::CD.union(Cr0::NW).bits();
        let cr0 = start.cr0 & !KEPT | self.cr0.shadow & KEPT;
        self.queued = None;
        self.int1 = false;
        self.request_interrupt_window(vmcs, false);
        self.request_nmi_window(vmcs, false);
        vmcs.write(vmcs::ENTRY_INTERRUPTION_INFO, 0);
        self.load(vmcs, start, cr0);
        self.set_efer(vmcs, start.efer, cr0);
        // What was cached of the linear addresses before may be of other tables, or of none.
        Effect::FlushLinear { pdptes: false }
    }

    /// Writes what every start sets; IA32_EFER is for whoever knows the VM-entry control that goes with it.
    pub(crate) fn load(&mut self, vmcs: &mut impl Vmcs, start: &StartState, cr0: u64) {
        self.cr0.shadow = cr0;
        self.cr4.shadow = start.cr4;
        write_all(
            vmcs,
            [
                (vmcs::CR0_MASK, self.cr0.mask),
                (vmcs::CR0_SHADOW, cr0),
                (vmcs::GUEST_CR0, self.cr0.hardware(cr0)),
                (vmcs::CR4_MASK, self.cr4.mask),
                (vmcs::CR4_SHADOW, start.cr4),
                (vmcs::GUEST_CR4, self.cr4.hardware(start.cr4)),
                (vmcs::GUEST_CR3, start.cr3),
                (vmcs::GUEST_RIP, start.rip),
                (vmcs::GUEST_RSP, start.gprs.get(Gpr::Rsp)),
                (vmcs::GUEST_RFLAGS, start.rflags),
                (vmcs::GUEST_GDTR_BASE, start.gdtr.base),
                (vmcs::GUEST_GDTR_LIMIT, u64::from(start.gdtr.limit)),
                (vmcs::GUEST_IDTR_BASE, start.idtr.base),
                (vmcs::GUEST_IDTR_LIMIT, u64::from(start.idtr.limit)),
                // The values after reset and INIT, SDM vol. 3, "Processor State After Reset".
                (vmcs::GUEST_DR7, 0x400),
                (vmcs::GUEST_DEBUGCTL, 0),
                (vmcs::GUEST_INTERRUPTIBILITY, 0),
                (vmcs::GUEST_ACTIVITY, u64::from(activity::ACTIVE)),
                (vmcs::GUEST_PENDING_DEBUG, 0),
                (vmcs::GUEST_PDPTE0, 0),
                (vmcs::GUEST_PDPTE1, 0),
                (vmcs::GUEST_PDPTE2, 0),
                (vmcs::GUEST_PDPTE3, 0),
            ],
        );
        let segments = start.segments.iter().chain([&start.ldtr, &start.tr]);
        for (n, segment) in segments.enumerate() {
            let fields = vmcs::segment(n);
            vmcs.write(fields.selector, u64::from(segment.selector));
            vmcs.write(fields.base, segment.base);
            vmcs.write(fields.limit, u64::from(segment.limit));
            vmcs.write(fields.rights, u64::from(segment.rights));
        }
    }
}
