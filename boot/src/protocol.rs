//! Protocols of the firmware that we use beside their owners.
// UNSAFETY: opens protocols without taking them from the drivers that use them; reads the
// system table.
#![allow(unsafe_code)]

use spec::Hpa;
use uefi::Handle;
use uefi::boot::{self, OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol};
use uefi::proto::ProtocolPointer;
use uefi::system;
use uefi::table::cfg::ConfigTableEntry;

/// Opens a protocol that a driver may have open as well. An exclusive open would disconnect it: the console's from
/// the screen and the serial port.
///
/// # Errors
/// What the firmware says.
pub fn get<P: ProtocolPointer + ?Sized>(handle: Handle) -> uefi::Result<ScopedProtocol<P>> {
    let params = OpenProtocolParams {
        handle,
        agent: boot::image_handle(),
        controller: None,
    };
    // SAFETY: boot runs alone, at task priority level application, and removes no protocol; drivers that share this
    // one are entered only through firmware calls, never while a method of it runs.
    unsafe { boot::open_protocol::<P>(params, OpenProtocolAttributes::GetProtocol) }
}

/// Whether there is a console to read keys from.
#[must_use]
pub fn has_console_input() -> bool {
    uefi::table::system_table_raw().is_some_and(|table| {
        // SAFETY: the firmware's system table lives as long as boot services do, and nobody changes it meanwhile.
        let table = unsafe { table.as_ref() };
        !table.stdin.is_null()
    })
}

/// The address of the firmware's ResetSystem (UEFI 2.10, section 8.5.1).
#[must_use]
pub fn reset_system() -> Option<Hpa> {
    let table = uefi::table::system_table_raw()?;
    // SAFETY: as above; runtime services outlive boot services.
    let services = unsafe { table.as_ref().runtime_services.as_ref() }?;
    Some(Hpa(services.reset_system as usize as u64))
}

/// The address of ACPI's root pointer, revision 2 or later (ACPI 6.5, section 5.2.5.2).
#[must_use]
pub fn rsdp() -> Option<Hpa> {
    system::with_config_table(|entries| {
        entries
            .iter()
            .find(|e| e.guid == ConfigTableEntry::ACPI2_GUID)
            .map(|e| Hpa(e.address as u64))
    })
}
