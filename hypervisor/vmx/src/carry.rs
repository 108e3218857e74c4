//! Who carries the vCPU's local APIC: the controls and fields of each [`Carrier`] (SDM vol. 3, chapter "APIC Virtualization and
//! Virtual Interrupts").

use crate::setup::write_all;
use crate::{Controls, Vcpu, Vmcs};
use spec::apic::Carrier;
use spec::qualification::DebugBits;
use spec::vmcs::{self, InterruptStatus};
use spec::vmx_controls::{ExitControls, PinControls, PrimaryControls, SecondaryControls};
use spec::vmx_event::activity;
use spec::{Hpa, Vector};

/// Who carries the local APIC, and with what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carried {
    /// The hypervisor
    Software {
        /// [`crate::MsrBitmap`]
        msr_bitmap: Hpa,
    },
    /// The processor, on the virtual-APIC page. Only where [`crate::Capabilities::has_accelerated_apic`] says so, for a guest in
    /// x2APIC mode.
    Accelerated {
        /// [`crate::MsrBitmap`], which may let through what this carrier grants
        msr_bitmap: Hpa,
        /// Virtual-APIC page
        page: Hpa,
        /// Posted interrupts, where [`crate::Capabilities::has_posted_interrupts`] says so
        posted: Option<Posted>,
        /// Requesting virtual interrupt (RVI)
        requesting: u8,
        /// Servicing virtual interrupt (SVI)
        in_service: u8,
        /// Vectors whose end is to exit, a bit for each
        eoi_exits: [u64; 4],
    },
    /// The processor's own local APIC. Only where [`crate::Capabilities::has_direct_apic`] says so, for a vCPU alone on its core,
    /// which has no TSC offset.
    Direct {
        /// [`crate::MsrBitmap`], which may let through what this carrier grants
        msr_bitmap: Hpa,
    },
}

/// How interrupts are posted to the running guest (SDM vol. 3, "Posted-Interrupt Processing").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Posted {
    /// Posted-interrupt descriptor, 64 bytes and aligned to that
    pub descriptor: Hpa,
    /// Notification vector
    pub vector: Vector,
}

impl Carried {
    /// Which carrier it is.
    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        match self {
            Self::Software { .. } => Carrier::Software,
            Self::Accelerated { .. } => Carrier::Accelerated,
            Self::Direct { .. } => Carrier::Direct,
        }
    }
}

/// The controls that hang on the carrier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CarrierControls {
    pin: PinControls,
    primary: PrimaryControls,
    secondary: SecondaryControls,
    exit: ExitControls,
}

/// Added to the primary controls for [`Carrier::Accelerated`].
const SHADOW: PrimaryControls = PrimaryControls::TPR_SHADOW;

/// Added to the secondary controls for [`Carrier::Accelerated`].
pub(crate) const VIRTUALIZE: SecondaryControls = SecondaryControls::VIRTUALIZE_X2APIC
    .union(SecondaryControls::APIC_REGISTER_VIRTUALIZATION)
    .union(SecondaryControls::VIRTUAL_INTERRUPT_DELIVERY);

/// The task priority is the carrier's unless that is the hypervisor.
pub(crate) const TASK_PRIORITY: PrimaryControls =
    PrimaryControls::CR8_LOAD_EXITING.union(PrimaryControls::CR8_STORE_EXITING);

/// Taken from the pin-based controls for [`Carrier::Direct`]: interrupts are the guest's, and nothing of ours interrupts it but NMIs.
pub(crate) const PIN_OF_HOST: PinControls =
    PinControls::EXTERNAL_INTERRUPT_EXITING.union(PinControls::PREEMPTION_TIMER);

impl CarrierControls {
    /// Those of a vCPU that is about to be set up: [`Carrier::Software`].
    pub(crate) const fn new(controls: &Controls) -> Self {
        Self {
            pin: controls.pin,
            primary: controls.primary,
            secondary: controls.secondary,
            exit: controls.exit,
        }
    }

    /// These, which are for [`Carrier::Software`], as `carried` wants them.
    const fn under(self, carried: &Carried) -> Self {
        match carried {
            Carried::Software { .. } => self,
            Carried::Accelerated { posted, .. } => Self {
                pin: if posted.is_some() {
                    self.pin.union(PinControls::POSTED_INTERRUPTS)
                } else {
                    self.pin
                },
                primary: self.primary.difference(TASK_PRIORITY).union(SHADOW),
                secondary: self.secondary.union(VIRTUALIZE),
                exit: self.exit,
            },
            Carried::Direct { .. } => Self {
                pin: self.pin.difference(PIN_OF_HOST),
                // A guest that sleeps in its own HLT wakes by its own interrupts.
                primary: self
                    .primary
                    .difference(TASK_PRIORITY.union(PrimaryControls::HLT_EXITING)),
                secondary: self.secondary,
                // What is not running is not saved (SDM vol. 3, "VM-Exit Control Fields" under "Checks on VMX Controls").
                exit: self.exit.difference(ExitControls::SAVE_PREEMPTION_TIMER),
            },
        }
    }
}

impl Vcpu {
    /// Who carries the local APIC at the next entry.
    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// Changes controls and fields for the next entry, from any carrier to any, also to the same with other values. A window for
    /// interrupts is no longer asked for then; one for NMIs stays.
    ///
    /// Returns whether the guest sleeps in a HLT of its own, which only [`Carrier::Direct`] lets it: the activity state becomes
    /// active, and the software half is to become [`spec::state::Activity::Halted`].
    #[must_use]
    pub fn carry(&mut self, vmcs: &mut impl Vmcs, carried: &Carried) -> bool {
        let left_direct = self.carrier == Carrier::Direct;
        self.carrier = carried.carrier();
        let asleep = left_direct && self.carrier != Carrier::Direct && self.wake(vmcs);

        let controls = self.software.under(carried);
        let window = self.primary & PrimaryControls::NMI_WINDOW_EXITING;
        self.primary = controls.primary | window;
        write_all(
            vmcs,
            [
                (vmcs::PIN_CONTROLS, u64::from(controls.pin.bits())),
                (vmcs::PRIMARY_CONTROLS, u64::from(self.primary.bits())),
                (
                    vmcs::SECONDARY_CONTROLS,
                    u64::from(controls.secondary.bits()),
                ),
                (vmcs::EXIT_CONTROLS, u64::from(controls.exit.bits())),
            ],
        );
        match *carried {
            Carried::Software { msr_bitmap } | Carried::Direct { msr_bitmap } => {
                self.set_msr_bitmap(vmcs, msr_bitmap);
            }
            Carried::Accelerated {
                msr_bitmap,
                page,
                posted,
                requesting,
                in_service,
                eoi_exits,
            } => {
                self.set_msr_bitmap(vmcs, msr_bitmap);
                self.set_eoi_exits(vmcs, eoi_exits);
                let status = InterruptStatus::new(requesting, in_service);
                write_all(
                    vmcs,
                    [
                        (vmcs::VIRTUAL_APIC_ADDRESS, page.0),
                        // Virtual-interrupt delivery has no use for it.
                        (vmcs::TPR_THRESHOLD, 0),
                        (vmcs::GUEST_INTERRUPT_STATUS, u64::from(status.0)),
                    ],
                );
                if let Some(Posted { descriptor, vector }) = posted {
                    vmcs.write(vmcs::POSTED_INTERRUPT_DESCRIPTOR, descriptor.0);
                    vmcs.write(vmcs::POSTED_INTERRUPT_VECTOR, u64::from(vector.0));
                }
            }
        }
        asleep
    }

    /// Asks for the delivery of `vector`, which stands in the virtual-APIC page's IRR: raises RVI to it. Under
    /// [`Carrier::Accelerated`] only.
    pub fn request(&self, vmcs: &mut impl Vmcs, vector: u8) {
        let status = InterruptStatus(vmcs.read(vmcs::GUEST_INTERRUPT_STATUS) as u16);
        if vector > status.requesting() {
            let raised = InterruptStatus::new(vector, status.in_service());
            vmcs.write(vmcs::GUEST_INTERRUPT_STATUS, u64::from(raised.0));
        }
    }

    /// Changes the EOI-exit bitmap: the vectors whose end exits. Under [`Carrier::Accelerated`] only.
    pub fn set_eoi_exits(&self, vmcs: &mut impl Vmcs, vectors: [u64; 4]) {
        let [first, second, third, fourth] = vectors;
        write_all(
            vmcs,
            [
                (vmcs::EOI_EXIT_BITMAP_0, first),
                (vmcs::EOI_EXIT_BITMAP_1, second),
                (vmcs::EOI_EXIT_BITMAP_2, third),
                (vmcs::EOI_EXIT_BITMAP_3, fourth),
            ],
        );
    }

    /// Changes which MSR accesses exit.
    pub fn set_msr_bitmap(&self, vmcs: &mut impl Vmcs, bitmap: Hpa) {
        vmcs.write(vmcs::MSR_BITMAPS, bitmap.0);
    }

    /// Makes the guest active. Whether it was asleep, with nothing that ends its sleep at the next entry.
    fn wake(&self, vmcs: &mut impl Vmcs) -> bool {
        if vmcs.read(vmcs::GUEST_ACTIVITY) != u64::from(activity::HLT) {
            return false;
        }
        vmcs.write(vmcs::GUEST_ACTIVITY, u64::from(activity::ACTIVE));
        // The entry delivers what is queued, or the trap of a HLT that was single-stepped (SDM vol. 3, "Delivery of Pending Debug
        // Exceptions after VM Entry").
        let traps = DebugBits::BS | DebugBits::ENABLED_BREAKPOINT;
        self.queued.is_none()
            && !DebugBits::from_bits_retain(vmcs.read(vmcs::GUEST_PENDING_DEBUG)).intersects(traps)
    }
}
