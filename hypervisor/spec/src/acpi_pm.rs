//! The sleep registers of hardware-reduced ACPI (ACPI 6.5, section 4.8.3.7, "Sleep Control and Status
//! Registers") and the reset register (section 4.8.3.6, "Reset Register").

use bitflags::bitflags;

/// Where in our block of three bytes each register lies; the FADT names each by its own address.
pub mod offset {
    /// SLEEP_CONTROL_REG
    pub const SLEEP_CONTROL: u8 = 0;
    /// SLEEP_STATUS_REG
    pub const SLEEP_STATUS: u8 = 1;
    /// RESET_REG
    pub const RESET: u8 = 2;
}

/// Bytes in the block.
pub const BLOCK_SIZE: u8 = 3;

/// RESET_VALUE of the FADT: what a guest writes to RESET_REG.
pub const RESET_VALUE: u8 = 0x42;

/// SLP_TYP of S5, as `\_S5` of the DSDT names it.
pub const SLP_TYP_S5: u8 = 5;

bitflags! {
    /// SLEEP_CONTROL_REG.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct SleepControl: u8 {
        /// SLP_TYPx, three bits
        const SLP_TYP = 7 << 2;
        /// SLP_EN, which acts once and reads as zero
        const SLP_EN = 1 << 5;
    }

    /// SLEEP_STATUS_REG.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct SleepStatus: u8 {
        /// WAK_STS: the machine woke from sleep; writing one clears it
        const WAK_STS = 1 << 7;
    }
}

impl SleepControl {
    /// The sleep type asked for.
    #[must_use]
    pub const fn sleep_type(self) -> u8 {
        self.intersection(Self::SLP_TYP).bits() >> 2
    }
}
