//! The registers of the watchdog: four of 32 bits, which are of our own making. A guest learns of them from the WDAT.

use bitflags::bitflags;

/// Where each register lies in the block.
pub mod offset {
    /// CONTROL: whether it runs
    pub const CONTROL: u8 = 0;
    /// STATUS: what it has done
    pub const STATUS: u8 = 4;
    /// COUNTDOWN: the periods that it counts from
    pub const COUNTDOWN: u8 = 8;
    /// LEFT: the periods that are left, none while it stands still; writing whatever value begins the countdown anew
    pub const LEFT: u8 = 12;
}

/// Bytes in the block.
pub const BLOCK_SIZE: u8 = 16;

/// Milliseconds of a period.
pub const PERIOD_MS: u32 = 1;

bitflags! {
    /// CONTROL.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Control: u32 {
        /// It counts down.
        const RUNNING = 1 << 0;
    }

    /// STATUS.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Status: u32 {
        /// It has ended the machine's last run; writing one clears it
        const EXPIRED = 1 << 0;
    }
}
