//! Power-off and reset as hardware-reduced ACPI has them (ACPI 6.5, sections 4.8.3.6 and 4.8.3.7): three byte
//! registers side by side.

use spec::acpi_pm::{RESET_VALUE, SLP_TYP_S5, SleepControl, offset};

/// What a write asks of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Effect {
    /// Nothing
    None,
    /// Power-off: the guest entered S5.
    PowerOff,
    /// Reset
    Reset,
}

/// The registers. S5 is the only sleep there is, so nothing ever wakes and SLEEP_STATUS stays zero.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AcpiPm {
    /// What SLEEP_CONTROL reads as: the sleep type written last
    control: u8,
}

impl AcpiPm {
    /// The block just after reset.
    #[must_use]
    pub const fn new() -> Self {
        Self { control: 0 }
    }

    /// Back to the state at creation.
    pub const fn reset(&mut self) {
        *self = Self::new();
    }

    /// Reads the register at `offset`: all ones beyond the block.
    #[must_use]
    pub const fn read(&self, offset: u8) -> u8 {
        match offset {
            offset::SLEEP_CONTROL => self.control,
            offset::SLEEP_STATUS | offset::RESET => 0,
            _ => u8::MAX,
        }
    }

    /// Writes the register at `offset`. Sleep types that the DSDT does not name and other reset values do nothing.
    pub const fn write(&mut self, offset: u8, value: u8) -> Effect {
        match offset {
            offset::SLEEP_CONTROL => {
                let control = SleepControl::from_bits_truncate(value);
                self.control = control.intersection(SleepControl::SLP_TYP).bits();
                if control.contains(SleepControl::SLP_EN) && control.sleep_type() == SLP_TYP_S5 {
                    Effect::PowerOff
                } else {
                    Effect::None
                }
            }
            offset::RESET if value == RESET_VALUE => Effect::Reset,
            _ => Effect::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What Linux writes in `acpi_hw_extended_sleep` with `\_S5 = Package () {5, 0, 0, 0}`.
    #[test]
    fn sleep_enable_with_s5_powers_off() {
        let mut pm = AcpiPm::new();
        assert_eq!(pm.write(offset::SLEEP_STATUS, 0x80), Effect::None);
        assert_eq!(
            pm.write(offset::SLEEP_CONTROL, 5 << 2 | 0x20),
            Effect::PowerOff
        );
        assert_eq!(
            pm.read(offset::SLEEP_CONTROL),
            5 << 2,
            "SLP_EN reads as zero"
        );
    }

    #[test]
    fn the_reset_value_resets_and_no_other_does() {
        for value in 0..=u8::MAX {
            let expected = if value == 0x42 {
                Effect::Reset
            } else {
                Effect::None
            };
            assert_eq!(AcpiPm::new().write(offset::RESET, value), expected);
        }
    }

    #[test]
    fn exactly_the_values_with_s5_and_enable_power_off() {
        for value in 0..=u8::MAX {
            let s5 = value & 0b11_1100 == 0b11_0100;
            let effect = AcpiPm::new().write(offset::SLEEP_CONTROL, value);
            assert_eq!(effect == Effect::PowerOff, s5, "{value:#x}");
        }
    }

    proptest! {
        #[test]
        fn any_sequence_leaves_it_resettable(writes in prop::collection::vec((0..8u8, any::<u8>()), 0..50)) {
            let mut pm = AcpiPm::new();
            for (at, value) in writes {
                let _ = pm.write(at, value);
                prop_assert_eq!(pm.read(offset::SLEEP_STATUS), 0);
                prop_assert_eq!(pm.read(at.max(3)), 0xff);
                prop_assert_eq!(pm.read(offset::SLEEP_CONTROL) & !0x1c, 0);
            }
            pm.reset();
            prop_assert_eq!(pm, AcpiPm::new());
        }
    }
}
