//! The WDAT: which accesses of which registers carry out the actions of a watchdog (Microsoft, "Hardware Watchdog Timers Design
//! Specification", version 1.01, "Watchdog Action Table").
//!
//! Linux's `wdat_wdt` does all of them that are here, and Windows wants most. There is none to set what follows when it expires, nor
//! to have it expire at once: that is in the plan, and not for the guest to say.

use super::{OEM_ID, OEM_REVISION, OEM_TABLE_ID};
use crate::layout::WATCHDOG;
use acpi_tables::Aml;
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::sdt::Sdt;
use alloc::vec::Vec;
use spec::watchdog::{Control, PERIOD_MS, Status, offset};

/// What is to be done.
#[derive(Clone, Copy)]
enum Action {
    /// Begins the countdown anew
    Reset = 0x01,
    /// Gives what is left of it
    QueryCurrentCountdownPeriod = 0x04,
    /// Gives what it counts from
    QueryCountdownPeriod = 0x05,
    /// Sets that
    SetCountdownPeriod = 0x06,
    /// Says whether it runs
    QueryRunningState = 0x08,
    /// Has it run
    SetRunningState = 0x09,
    /// Says whether it stands still
    QueryStoppedState = 0x0a,
    /// Has it stand still
    SetStoppedState = 0x0b,
    /// Says whether it has ended the last run
    QueryStatus = 0x20,
    /// Forgets that
    SetStatus = 0x21,
}

/// How.
#[derive(Clone, Copy)]
enum Instruction {
    /// The register, masked, is compared with the value.
    ReadValue = 0x00,
    /// The register, masked, is what was asked for.
    ReadCountdown = 0x01,
    /// The value is written.
    WriteValue = 0x02,
    /// What was asked for is written.
    WriteCountdown = 0x03,
}

/// A mask of all of a register.
const ALL: u32 = u32::MAX;
const RUNNING: u32 = Control::RUNNING.bits();
const EXPIRED: u32 = Status::EXPIRED.bits();

/// Each with its register, the value, and the mask.
const ENTRIES: [(Action, Instruction, u8, u32, u32); 10] = {
    use Action::{
        QueryCountdownPeriod, QueryCurrentCountdownPeriod, QueryRunningState, QueryStatus,
        QueryStoppedState, Reset, SetCountdownPeriod, SetRunningState, SetStatus, SetStoppedState,
    };
    use Instruction::{ReadCountdown, ReadValue, WriteCountdown, WriteValue};
    use offset::{CONTROL, COUNTDOWN, LEFT, STATUS};
    [
        (Reset, WriteValue, LEFT, 0, ALL),
        (QueryCurrentCountdownPeriod, ReadCountdown, LEFT, 0, ALL),
        (QueryCountdownPeriod, ReadCountdown, COUNTDOWN, 0, ALL),
        (SetCountdownPeriod, WriteCountdown, COUNTDOWN, 0, ALL),
        (QueryRunningState, ReadValue, CONTROL, RUNNING, RUNNING),
        (SetRunningState, WriteValue, CONTROL, RUNNING, RUNNING),
        (QueryStoppedState, ReadValue, CONTROL, 0, RUNNING),
        (SetStoppedState, WriteValue, CONTROL, 0, RUNNING),
        (QueryStatus, ReadValue, STATUS, EXPIRED, EXPIRED),
        (SetStatus, WriteValue, STATUS, EXPIRED, EXPIRED),
    ]
};

/// Bytes between the header that all tables have and the entries.
const HEADER: u32 = 32;
/// A watchdog of no PCI function.
const NO_PCI: [u8; 5] = [0xff, 0, 0xff, 0xff, 0xff];
/// Watchdog flags: it is there for the guest to use. It never stops by itself, as there is no sleep.
const ENABLED: u8 = 1 << 0;

/// The table of a watchdog that can be set to 1 to `longest` periods.
pub(super) fn wdat(longest: u32) -> Sdt {
    let mut body = Vec::new();
    body.extend(HEADER.to_le_bytes());
    // PCI segment, of two bytes; bus, device, function; three that are reserved.
    body.extend(NO_PCI);
    body.extend([0; 3]);
    for number in [PERIOD_MS, longest, 1] {
        body.extend(number.to_le_bytes());
    }
    body.extend([ENABLED, 0, 0, 0]);
    body.extend((ENTRIES.len() as u32).to_le_bytes());
    for (action, instruction, register, value, mask) in ENTRIES {
        body.extend([action as u8, instruction as u8, 0, 0]);
        region(register).to_aml_bytes(&mut body);
        body.extend(value.to_le_bytes());
        body.extend(mask.to_le_bytes());
    }
    let mut table = Sdt::new(*b"WDAT", 36, 1, OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    table.append_slice(&body);
    table
}

fn region(register: u8) -> GAS {
    let port = WATCHDOG.0 + u16::from(register);
    GAS::new(
        AddressSpace::SystemIo,
        32,
        0,
        AccessSize::DwordAccess,
        port.into(),
    )
}
