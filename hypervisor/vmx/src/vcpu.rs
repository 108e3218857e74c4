//! The software half of a VMCS: what only we write, kept beside it so that it need not be read back.

use crate::carry::CarrierControls;
use crate::{Controls, Vmcs};
use spec::Ticks;
use spec::apic::Carrier;
use spec::cpu::{Cr0, Cr4};
use spec::vmcs;
use spec::vmx_controls::PrimaryControls;
use spec::vmx_event::InterruptionInfo;

/// How a guest's CR0 or CR4 is shared between guest and host.
///
/// Each bit is of one of three sorts: *owned*, which the guest changes without an exit; *watched*, whose change exits
/// and is then made; *pinned*, whose true value is ours and of which the guest sees the read shadow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SharedRegister {
    /// Guest/host mask: the bits that are not owned by the guest
    pub(crate) mask: u64,
    /// Bits that keep `pinned_value` whatever the guest writes
    pub(crate) pinned: u64,
    /// Their true values
    pub(crate) pinned_value: u64,
    /// Read shadow
    pub(crate) shadow: u64,
}

impl SharedRegister {
    /// The true value while the guest sees `value`.
    pub(crate) const fn hardware(&self, value: u64) -> u64 {
        value & !self.pinned | self.pinned_value
    }

    /// What the guest sees while the true value is `hardware`.
    pub(crate) const fn visible(&self, hardware: u64) -> u64 {
        hardware & !self.mask | self.shadow & self.mask
    }
}

/// One virtual processor, as far as VT-x carries it.
///
/// Belongs to exactly one VMCS, whose fields named here nobody else writes. The owner calls [`Vcpu::decode`] once
/// after each exit, and answers or injects before the next entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vcpu {
    pub(crate) primary: PrimaryControls,
    pub(crate) carrier: Carrier,
    /// The controls under [`Carrier::Software`], from which those of the others are made
    pub(crate) software: CarrierControls,
    pub(crate) cr0: SharedRegister,
    pub(crate) cr4: SharedRegister,
    /// The event that the next entry delivers
    pub(crate) queued: Option<InterruptionInfo>,
    /// The last exit was the #DB of INT1, which is delivered as a trap of that instruction
    pub(crate) int1: bool,
    pub(crate) timer_shift: u8,
    /// Bits of the guest's physical addresses
    pub(crate) physical_bits: u8,
    /// The last exit cut the delivery of an event short
    pub(crate) delivering: bool,
    /// See [`Vcpu::tries_again`]
    pub(crate) again: bool,
    /// See [`Vcpu::last_rip`]
    pub(crate) last_rip: u64,
}

impl Vcpu {
    /// `guest_cr4` are the CR4 bits that the guest changes without an exit.
    pub(crate) fn new(
        controls: &Controls,
        host_cr4: u64,
        guest_cr4: u64,
        physical_bits: u8,
    ) -> Self {
        // With unrestricted guest PE and PG are free (SDM vol. 3, "Restrictions on VMX Operation"), and the processor
        // keeps IA32_EFER.LMA and the "IA-32e mode guest" control in step with them.
        let cr0_fixed = controls.cr0.must_be_one & !(Cr0::PE | Cr0::PG).bits();
        // CD and NW would switch off the core's caches for all, so they never become true.
        let cr0_pinned = cr0_fixed | (Cr0::CD | Cr0::NW).bits() | !controls.cr0.may_be_one;
        let cr0_owned =
            (Cr0::PE | Cr0::MP | Cr0::EM | Cr0::TS | Cr0::ET | Cr0::WP | Cr0::AM | Cr0::PG).bits();
        // A machine check is the host's whatever the guest thinks.
        let cr4_pinned = controls.cr4.must_be_one
            | (Cr4::VMXE | Cr4::SMXE | Cr4::MCE).bits()
            | !controls.cr4.may_be_one;
        Self {
            primary: controls.primary,
            carrier: Carrier::Software,
            software: CarrierControls::new(controls),
            cr0: SharedRegister {
                mask: !cr0_owned | cr0_pinned,
                pinned: cr0_pinned,
                pinned_value: cr0_fixed,
                shadow: 0,
            },
            cr4: SharedRegister {
                mask: !guest_cr4 | cr4_pinned,
                pinned: cr4_pinned,
                pinned_value: controls.cr4.must_be_one | host_cr4 & Cr4::MCE.bits(),
                shadow: 0,
            },
            queued: None,
            int1: false,
            timer_shift: controls.timer_shift,
            physical_bits,
            delivering: false,
            again: false,
            last_rip: 0,
        }
    }

    /// Where the instruction of the last exit is, if answering it had to move RIP; zero otherwise. It costs no further look.
    #[inline]
    #[must_use]
    pub const fn last_rip(&self) -> u64 {
        self.last_rip
    }

    /// Whether the guest has completed no instruction by the last exit: it tries the same again, or an event is delivered in place of one whose
    /// delivery that exit cut short.
    #[inline]
    #[must_use]
    pub const fn tries_again(&self) -> bool {
        self.again
    }

    /// CR0 as the guest sees it.
    #[must_use]
    pub fn cr0(&self, vmcs: &impl Vmcs) -> u64 {
        self.cr0.visible(vmcs.read(vmcs::GUEST_CR0))
    }

    /// CR4 as the guest sees it.
    #[must_use]
    pub fn cr4(&self, vmcs: &impl Vmcs) -> u64 {
        self.cr4.visible(vmcs.read(vmcs::GUEST_CR4))
    }

    /// Makes the guest exit when it has run for `ticks` from its next entry on; at once for zero. Not under [`Carrier::Direct`], which
    /// has no timer of ours running.
    pub fn set_timer(&self, vmcs: &mut impl Vmcs, ticks: Ticks) {
        vmcs.write(
            vmcs::PREEMPTION_TIMER,
            u64::from(crate::timer::count(ticks, self.timer_shift)),
        );
    }

    /// Asks for an exit as soon as the guest can take an interrupt, or no longer. Only [`Carrier::Software`] has interrupts wait for
    /// us: under the others this has no effect.
    pub fn request_interrupt_window(&mut self, vmcs: &mut impl Vmcs, on: bool) {
        let on = on && self.carrier == Carrier::Software;
        self.set_primary(vmcs, PrimaryControls::INTERRUPT_WINDOW_EXITING, on);
    }

    /// Asks for an exit as soon as the guest can take an NMI, or no longer.
    pub fn request_nmi_window(&mut self, vmcs: &mut impl Vmcs, on: bool) {
        self.set_primary(vmcs, PrimaryControls::NMI_WINDOW_EXITING, on);
    }

    fn set_primary(&mut self, vmcs: &mut impl Vmcs, control: PrimaryControls, on: bool) {
        if self.primary.contains(control) != on {
            self.primary.set(control, on);
            vmcs.write(vmcs::PRIMARY_CONTROLS, u64::from(self.primary.bits()));
        }
    }
}
