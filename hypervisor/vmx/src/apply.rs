//! Carries out an answer.

use crate::advance::advance_rip;
use crate::{Vcpu, Vmcs};
use exits::{Answer, Stop, SystemWrite};
use spec::cpu::{Cr0, Cr4, Efer};
use spec::vmcs;
use spec::vmx_controls::EntryControls;

/// What is left for the owner to do, since it lies outside the VMCS. All but [`Effect::Halt`], [`Effect::TripleFault`] and
/// [`Effect::Stop`] let the vCPU run on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
#[repr(u8)]
pub enum Effect {
    /// Nothing
    None,
    /// Load the guest's CR2 with this.
    SetCr2(u64),
    /// Merge these bits into the guest's DR6 with [`crate::merge_dr6`]: a #DB is about to be delivered.
    SetDr6(u64),
    /// Load the guest's XCR0 with this.
    SetXcr0(u64),
    /// CR0 or CR4 changed under the guest, or its tables under the processor: drop the linear mappings of this VPID, if there is one.
    FlushLinear {
        /// The guest uses PAE paging, and this write loads its four page-directory-pointer-table entries (SDM vol. 3, "PDPTE
        /// Registers"): read them at the guest's CR3 and give them to [`Vcpu::set_pdptes`].
        pdptes: bool,
    },
    /// The vCPU sleeps until an interrupt is pending: its software half becomes [`spec::state::Activity::Halted`].
    Halt,
    /// The exception could not be delivered: shut down.
    TripleFault,
    /// The VM ends.
    Stop(Stop),
}

/// DR6 after a #DB with the exit qualification `bits` was delivered (SDM vol. 3, "Debug Status Register (DR6)").
#[must_use]
pub const fn merge_dr6(dr6: u64, bits: u64) -> u64 {
    const BREAKPOINTS: u64 = 0xf;
    /// Bus lock (bit 11) and RTM (bit 16) report by being clear, and are set again by each other #DB.
    const REPORTED_AS_ZERO: u64 = 1 << 11 | 1 << 16;
    /// Bits that a #DB reports besides.
    const REPORTED: u64 = BREAKPOINTS | 1 << 13 | 1 << 14 | REPORTED_AS_ZERO;
    let bits = bits & REPORTED;
    ((dr6 & !BREAKPOINTS | REPORTED_AS_ZERO) | (bits & !REPORTED_AS_ZERO))
        & !(bits & REPORTED_AS_ZERO)
}

impl Vcpu {
    /// Turns `answer` into changes of the VMCS.
    pub fn apply(&mut self, vmcs: &mut impl Vmcs, answer: Answer) -> Effect {
        match answer {
            Answer::Retry => {
                self.again = true;
                Effect::None
            }
            Answer::RetryAfresh => {
                self.again = true;
                Effect::FlushLinear { pdptes: false }
            }
            Answer::Advance => {
                self.advance(vmcs);
                Effect::None
            }
            Answer::Write(write) => {
                // First, since the write may change the mode that the instruction ran in.
                self.advance(vmcs);
                self.write_system(vmcs, write)
            }
            Answer::Emulated {
                length,
                rflags,
                rsp,
            } => {
                if let Some(rsp) = rsp {
                    vmcs.write(vmcs::GUEST_RSP, rsp);
                }
                self.last_rip = advance_rip(vmcs, u64::from(length), Some(rflags)).rip;
                Effect::None
            }
            Answer::Inject(event) => {
                self.again = self.delivering;
                self.inject(vmcs, event)
            }
            // HLT ends at once if a trap of its own is pending.
            Answer::Halt => {
                if self.advance(vmcs) {
                    Effect::None
                } else {
                    Effect::Halt
                }
            }
            Answer::Stop(stop) => Effect::Stop(stop),
        }
    }

    /// Changes a register, without moving RIP.
    pub fn write_system(&mut self, vmcs: &mut impl Vmcs, write: SystemWrite) -> Effect {
        match write {
            SystemWrite::Rsp(value) => {
                vmcs.write(vmcs::GUEST_RSP, value);
                Effect::None
            }
            SystemWrite::Cr0(value) => {
                let old = self.cr0(vmcs);
                self.cr0.shadow = value;
                vmcs.write(vmcs::CR0_SHADOW, value);
                vmcs.write(vmcs::GUEST_CR0, self.cr0.hardware(value));
                let efer = vmcs.read(vmcs::GUEST_EFER);
                self.set_efer(vmcs, efer, value);
                let reloads = (Cr0::CD | Cr0::NW | Cr0::PG).bits();
                Effect::FlushLinear {
                    pdptes: (old ^ value) & reloads != 0 && self.uses_pdptes(vmcs),
                }
            }
            SystemWrite::Cr4(value) => {
                let old = self.cr4(vmcs);
                self.cr4.shadow = value;
                vmcs.write(vmcs::CR4_SHADOW, value);
                vmcs.write(vmcs::GUEST_CR4, self.cr4.hardware(value));
                let reloads = (Cr4::PAE | Cr4::PGE | Cr4::PSE | Cr4::SMEP).bits();
                Effect::FlushLinear {
                    pdptes: (old ^ value) & reloads != 0 && self.uses_pdptes(vmcs),
                }
            }
            SystemWrite::Efer(value) => {
                let cr0 = self.cr0(vmcs);
                self.set_efer(vmcs, value, cr0);
                Effect::None
            }
            SystemWrite::Pat(value) => {
                vmcs.write(vmcs::GUEST_PAT, value);
                Effect::None
            }
            SystemWrite::Xcr0(value) => Effect::SetXcr0(value),
            SystemWrite::TscOffset(value) => {
                vmcs.write(vmcs::TSC_OFFSET, value);
                Effect::None
            }
        }
    }

    /// Loads the four PDPTEs of a guest with PAE paging.
    pub fn set_pdptes(&self, vmcs: &mut impl Vmcs, entries: [u64; 4]) {
        vmcs.write(vmcs::GUEST_PDPTE0, entries[0]);
        vmcs.write(vmcs::GUEST_PDPTE1, entries[1]);
        vmcs.write(vmcs::GUEST_PDPTE2, entries[2]);
        vmcs.write(vmcs::GUEST_PDPTE3, entries[3]);
    }

    fn uses_pdptes(&self, vmcs: &impl Vmcs) -> bool {
        self.cr0(vmcs) & Cr0::PG.bits() != 0
            && self.cr4(vmcs) & Cr4::PAE.bits() != 0
            && vmcs.read(vmcs::GUEST_EFER) & Efer::LMA.bits() == 0
    }

    /// Writes IA32_EFER with the LMA that follows from LME and CR0.PG, and the VM-entry control that must agree with it.
    /// The processor keeps that control in step by itself when the guest changes CR0.PG (SDM vol. 3, "Recording VM-Exit Information
    /// and Updating VM-Entry Control Fields"), so it is read, not remembered.
    pub(crate) fn set_efer(&self, vmcs: &mut impl Vmcs, value: u64, cr0: u64) {
        let active = value & Efer::LME.bits() != 0 && cr0 & Cr0::PG.bits() != 0;
        let mut efer = Efer::from_bits_retain(value);
        efer.set(Efer::LMA, active);
        vmcs.write(vmcs::GUEST_EFER, efer.bits());
        let old = EntryControls::from_bits_retain(vmcs.read(vmcs::ENTRY_CONTROLS) as u32);
        let mut new = old;
        new.set(EntryControls::IA32E_GUEST, active);
        if new != old {
            vmcs.write(vmcs::ENTRY_CONTROLS, u64::from(new.bits()));
        }
    }

    /// Moves RIP past the instruction that exited; whether a single-step trap is now pending.
    fn advance(&mut self, vmcs: &mut impl Vmcs) -> bool {
        let length = vmcs.read(vmcs::EXIT_INSTRUCTION_LENGTH);
        let done = advance_rip(vmcs, length, None);
        self.last_rip = done.rip;
        done.stepping
    }
}
