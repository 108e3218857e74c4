//! The CMOS clock: Motorola MC146818A data sheet, "Registers" and "Data Mode"; the ports are the PC's.

use bitflags::bitflags;

/// Port offsets from the base of the pair.
pub mod offset {
    /// Index (write): bits 6:0; bit 7 masks NMI on a PC
    pub const INDEX: u8 = 0;
    /// Data
    pub const DATA: u8 = 1;
}

/// Registers by index.
pub mod register {
    /// Seconds, 0 to 59
    pub const SECONDS: u8 = 0x00;
    /// Seconds alarm
    pub const SECONDS_ALARM: u8 = 0x01;
    /// Minutes, 0 to 59
    pub const MINUTES: u8 = 0x02;
    /// Minutes alarm
    pub const MINUTES_ALARM: u8 = 0x03;
    /// Hours, 0 to 23, or 1 to 12 with [`super::PM`]
    pub const HOURS: u8 = 0x04;
    /// Hours alarm
    pub const HOURS_ALARM: u8 = 0x05;
    /// Day of the week, 1 is Sunday
    pub const WEEKDAY: u8 = 0x06;
    /// Day of the month, from 1
    pub const DAY: u8 = 0x07;
    /// Month, from 1
    pub const MONTH: u8 = 0x08;
    /// Year of the century
    pub const YEAR: u8 = 0x09;
    /// Register A
    pub const A: u8 = 0x0a;
    /// Register B
    pub const B: u8 = 0x0b;
    /// Register C
    pub const C: u8 = 0x0c;
    /// Register D
    pub const D: u8 = 0x0d;
    /// Century: not the chip's, but where the FADT's CENTURY field points on every PC
    pub const CENTURY: u8 = 0x32;
}

/// Bit 7 of the hours in 12-hour mode: afternoon.
pub const PM: u8 = 0x80;

/// Bytes behind the index port.
pub const SIZE: usize = 128;

/// Update-in-progress rises this part of a second before the update: 1/4096, the data sheet's 244 microseconds.
pub const UPDATE_WARNING: u64 = 4096;

bitflags! {
    /// Register A.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct RegA: u8 {
        /// Rate selection, four bits
        const RATE = 0x0f;
        /// 1024 Hz
        const RATE_1024 = 0x06;
        /// Divider, three bits
        const DIVIDER = 0x70;
        /// Divider for the 32,768 Hz crystal: the clock runs
        const DIVIDER_32K = 0x20;
        /// Both upper divider bits: the divider chain is held in reset
        const DIVIDER_RESET = 0x60;
        /// Update in progress, read-only
        const UIP = 0x80;
    }

    /// Register B.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct RegB: u8 {
        /// Daylight saving
        const DSE = 1 << 0;
        /// 24-hour mode
        const HOURS_24 = 1 << 1;
        /// Binary instead of BCD
        const BINARY = 1 << 2;
        /// Square wave
        const SQWE = 1 << 3;
        /// Update-ended interrupt
        const UIE = 1 << 4;
        /// Alarm interrupt
        const AIE = 1 << 5;
        /// Periodic interrupt
        const PIE = 1 << 6;
        /// Set: the clock holds still to be written
        const SET = 1 << 7;
    }

    /// Register D.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct RegD: u8 {
        /// Valid RAM and time: the battery is good
        const VRT = 1 << 7;
    }
}
