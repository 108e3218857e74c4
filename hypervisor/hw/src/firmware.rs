//! The one runtime service that we use: ResetSystem (UEFI 2.10, section 8.5.1).
// UNSAFETY: calls firmware code at a physical address, on page tables made for it.
#![allow(unsafe_code)]

use crate::control;
use core::arch::asm;
use spec::Hpa;

/// What becomes of the machine.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Reset {
    /// Power cycle
    Cold = 0,
    /// Power off
    Shutdown = 2,
}

/// How the firmware is called.
#[derive(Clone, Copy, Debug)]
pub struct Firmware {
    /// Physical address of ResetSystem
    pub reset_system: Hpa,
    /// Page tables that map the firmware's runtime memory one to one, and the hypervisor as always
    pub tables: Hpa,
}

impl Firmware {
    /// Leaves the machine to the firmware. Returns only if the firmware does, which it should not.
    ///
    /// # Safety
    /// The fields are true; boot services have been left and SetVirtualAddressMap was not called; no other core runs
    /// anything that matters; VMX operation has been left.
    pub unsafe fn reset(&self, kind: Reset) {
        // The firmware's runtime memory may hold code and data in one page, and was built for firmware's
        // mappings: SMEP and SMAP concern user pages only and stay on.
        // SAFETY: the tables map all that runs, per this function's contract; the arguments are those of
        // EFI_RESET_SYSTEM: type, EFI_SUCCESS, no data.
        unsafe {
            asm!("cli", options(nomem, nostack));
            let before = control::cr3();
            control::load_tables(self.tables);
            let f: extern "efiapi" fn(u32, usize, usize, *const u8) =
                core::mem::transmute(self.reset_system.0 as *const ());
            f(kind as u32, 0, 0, core::ptr::null());
            control::load_tables(Hpa(before));
        }
    }
}
