//! I/O bitmaps (SDM vol. 3, "I/O-Bitmap Addresses").
#![expect(
    clippy::indexing_slicing,
    reason = "2^16 ports are the bits of 8192 bytes"
)]

use spec::Port;

/// Bitmaps A (ports 0 to 0x7fff) and B (the rest), one after the other, as the processor reads them: a set bit
/// makes the access exit. An access that wraps around port 0xffff always exits.
#[derive(Clone, PartialEq, Eq, Debug)]
#[repr(C, align(4096))]
pub struct IoBitmaps([u8; 8192]);

const _: () = assert!(size_of::<IoBitmaps>() == 8192 && align_of::<IoBitmaps>() == 4096);

impl IoBitmaps {
    /// Byte offset of bitmap B
    pub const B: usize = 4096;

    /// Everything exits.
    #[must_use]
    pub const fn new() -> Self {
        Self([0xff; 8192])
    }

    /// Lets the guest access one byte-wide port without an exit; wider accesses need each of their ports allowed.
    pub fn allow_port(&mut self, port: Port) {
        self.0[usize::from(port.0) / 8] &= !(1 << (port.0 % 8));
    }

    /// Whether a one-byte access exits.
    #[must_use]
    pub fn exits(&self, port: Port) -> bool {
        self.0[usize::from(port.0) / 8] & (1 << (port.0 % 8)) != 0
    }

    /// The bytes that the processor reads.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 8192] {
        &self.0
    }
}

impl Default for IoBitmaps {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_has_its_own_bit() {
        assert!(IoBitmaps::new().bytes().iter().all(|b| *b == 0xff));
        for (port, byte, bit) in [
            (0, 0, 0),
            (0x3f9, 127, 1),
            (0x7fff, 4095, 7),
            (0x8000, 4096, 0),
            (0xffff, 8191, 7),
        ] {
            let mut bitmaps = IoBitmaps::new();
            bitmaps.allow_port(Port(port));
            let mut expected = [0xff; 8192];
            expected[byte] &= !(1 << bit);
            assert_eq!(bitmaps.bytes(), &expected, "{port:#x}");
            assert!(!bitmaps.exits(Port(port)));
        }
    }

    /// One after the other, so that a bit that two ports share shows as one that is already clear.
    #[test]
    fn all_65536_ports_have_the_bit_that_the_manual_gives_them_and_share_none() {
        let mut bitmaps = IoBitmaps::new();
        let mut expected = [0xff; 8192];
        for port in 0..=u16::MAX {
            assert!(bitmaps.exits(Port(port)), "{port:#x}");
            bitmaps.allow_port(Port(port));
            // Ports 0000H to 7FFFH in A, 8000H to FFFFH in B (SDM vol. 3, "I/O-Bitmap Addresses"), both by their low 15 bits.
            let (base, bit) = (usize::from(port >> 15) * 4096, usize::from(port & 0x7fff));
            expected[base + bit / 8] &= !(1u8 << (bit % 8));
            assert_eq!(bitmaps.bytes()[base + bit / 8], expected[base + bit / 8]);
            assert!(!bitmaps.exits(Port(port)), "{port:#x}");
        }
        assert_eq!(bitmaps.bytes(), &expected);
        assert_eq!(bitmaps.bytes(), &[0; 8192]);
    }
}
