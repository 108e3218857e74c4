//! What a core holds of a vCPU besides its control structure's own: how that comes to a core and leaves it.
// UNSAFETY: makes a VMCS current, loads registers that guests own, invalidates cached translations.
#![allow(unsafe_code)]

use super::Vcpu;
use crate::host::Core;
use crate::vtx::VtX;
use alloc::string::{String, ToString};
use hw::control;
use hw::extended_state::ExtendedState;
use hw::guest_msrs::GuestRegisters;
use hw::vmx_ops;
use spec::PAGE_SIZE;
use spec::apic::Carrier;
use vmx::HostState;

/// Registers that no VM entry loads, while the core runs another vCPU.
pub(super) struct Away {
    pub(super) extended: ExtendedState,
    pub(super) registers: GuestRegisters,
}

impl Vcpu {
    /// Makes its control structure one that another core can have. This core does not hold its registers.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(crate) fn detach(&mut self) -> Result<(), String> {
        self.vmcs.clear().map_err(|e| e.to_string())
    }

    /// Makes it a vCPU of this core, after [`Vcpu::detach`] on another.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(crate) fn attach(&mut self, vtx: &VtX, core: &Core) -> Result<(), String> {
        self.make_current()?;
        self.host = host_state(core);
        vmx::setup::host(&mut self.vmcs, &self.host);
        self.registers.forget_core();
        if vtx.has_vpid() {
            // It may have been here before, with other translations. Those of nested tables are what they were: the tables never change.
            // SAFETY: in VMX root operation, and there is a VPID.
            unsafe { vmx_ops::invvpid_single(self.vpid()) };
        } else {
            vtx.forget_translations();
        }
        Ok(())
    }

    /// Takes out of the core what no VM exit saves, and has its local APIC back, if that is lent.
    pub(crate) fn put_away(&mut self, core: &mut Core) {
        if self.carrying.now == Carrier::Direct {
            self.retrieve(core, hw::tsc::now());
        }
        // SAFETY: the core holds this vCPU's registers, which nothing of ours has touched since.
        unsafe {
            self.away.registers.save();
            self.away.extended.save();
        }
    }

    /// Puts into the core what no VM entry loads, and makes the control structure current.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(crate) fn take_up(&mut self) -> Result<(), String> {
        // SAFETY: the values are this vCPU's own, as it had them or as reset leaves them; nothing of ours is in these registers.
        unsafe {
            self.away.extended.restore();
            self.away.registers.load();
        }
        self.make_current()
    }

    /// Makes the control structure this core's current one.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(crate) fn make_current(&mut self) -> Result<(), String> {
        // SAFETY: in VMX root operation; the structure is active on this core only, where the vCPU lives.
        unsafe { self.vmcs.make_current() }.map_err(|e| e.to_string())
    }
}

/// What VM exits on this core go on with.
pub(super) fn host_state(core: &Core) -> HostState {
    let s = &core.segments;
    HostState {
        cr0: control::cr0(),
        cr3: control::cr3() & !(PAGE_SIZE - 1),
        cr4: control::cr4(),
        cs: s.cs,
        ss: s.ss,
        ds: s.ss,
        es: s.ss,
        tr: s.tr,
        tr_base: s.tr_base,
        gdtr_base: s.gdtr_base,
        idtr_base: s.idtr_base,
        gs_base: core::ptr::from_ref(core.local) as u64,
        rip: hw::entry::exit_address(),
        efer: control::efer(),
        pat: control::PAT_RESET,
        ..HostState::default()
    }
}
