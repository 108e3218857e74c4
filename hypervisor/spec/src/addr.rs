//! Addresses and numbers that must not be mixed.

use core::fmt;
use serde::{Deserialize, Serialize};

/// Size of a small page, in bytes.
pub const PAGE_SIZE: u64 = 4096;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[repr(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The address `bytes` further on, or `None` past the end of the address space.
            #[inline]
            #[must_use]
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(v) => Some(Self(v)),
                    None => None,
                }
            }

            /// Bytes from `base` up to this address, or `None` if `base` is above it.
            #[inline]
            #[must_use]
            pub const fn offset_from(self, base: Self) -> Option<u64> {
                self.0.checked_sub(base.0)
            }

            /// Whether the address is a multiple of `align`, a power of two.
            #[inline]
            #[must_use]
            pub const fn is_aligned(self, align: u64) -> bool {
                self.0 & align.wrapping_sub(1) == 0
            }

            /// The start of the `align`-sized block that holds this address; `align` is a power of two.
            #[inline]
            #[must_use]
            pub const fn align_down(self, align: u64) -> Self {
                Self(self.0 & !align.wrapping_sub(1))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

address!(
    /// A host-physical address.
    Hpa
);
address!(
    /// A guest-physical address.
    Gpa
);
address!(
    /// A guest-linear address.
    Gva
);

/// An I/O port number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Port(pub u16);

/// A model-specific register number (the value of ECX for RDMSR and WRMSR).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Msr(pub u32);

impl fmt::Debug for Msr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Msr({:#x})", self.0)
    }
}

/// An interrupt or exception vector.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Vector(pub u8);

/// The width of one access.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Width {
    /// 1 byte
    B1 = 1,
    /// 2 bytes
    B2 = 2,
    /// 4 bytes
    B4 = 4,
    /// 8 bytes
    B8 = 8,
}

impl Width {
    /// The width of `bytes` bytes; `None` unless 1, 2, 4 or 8.
    #[inline]
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Option<Self> {
        Some(match bytes {
            1 => Self::B1,
            2 => Self::B2,
            4 => Self::B4,
            8 => Self::B8,
            _ => return None,
        })
    }

    /// In bytes.
    #[inline]
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self as u64
    }

    /// The value with all bits of this width set: what an absent register reads as.
    #[inline]
    #[must_use]
    #[expect(clippy::arithmetic_side_effects, reason = "1 to 8 bytes")]
    pub const fn ones(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_width_masks_exactly_its_bytes() {
        assert_eq!(Width::B1.ones(), 0xff);
        assert_eq!(Width::B2.ones(), 0xffff);
        assert_eq!(Width::B4.ones(), 0xffff_ffff);
        assert_eq!(Width::B8.ones(), u64::MAX);
        assert_eq!(Width::from_bytes(3), None);
    }

    /// All about the powers of two, and both ends.
    fn edges() -> impl Iterator<Item = u64> + Clone {
        (0..64u32).flat_map(|bit| {
            let power = 1u64 << bit;
            [
                power.wrapping_sub(1),
                power,
                power.wrapping_add(1),
                power.wrapping_neg(),
            ]
        })
    }

    #[test]
    fn at_the_edges_address_arithmetic_is_that_of_wider_numbers() {
        for (a, b) in edges().flat_map(|a| edges().map(move |b| (a, b))) {
            let sum = u128::from(a) + u128::from(b);
            let expected = u64::try_from(sum).ok().map(Gpa);
            assert_eq!(Gpa(a).checked_add(b), expected, "{a:#x} + {b:#x}");
            let difference = i128::from(a) - i128::from(b);
            let expected = u64::try_from(difference).ok();
            assert_eq!(Gpa(a).offset_from(Gpa(b)), expected, "{a:#x} - {b:#x}");
        }
        for (a, bit) in edges().flat_map(|a| (0..64).map(move |bit| (a, bit))) {
            let align = 1u64 << bit;
            assert_eq!(Gpa(a).is_aligned(align), a % align == 0);
            assert_eq!(Gpa(a).align_down(align), Gpa(a / align * align));
        }
    }

    #[test]
    fn addresses_do_not_wrap() {
        assert_eq!(Gpa(u64::MAX).checked_add(1), None);
        assert_eq!(Gpa(1).offset_from(Gpa(2)), None);
        assert_eq!(Hpa(0x1fff).align_down(PAGE_SIZE), Hpa(0x1000));
    }
}
