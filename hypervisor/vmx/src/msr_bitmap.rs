//! MSR bitmaps (SDM vol. 3, "MSR-Bitmap Address").
#![expect(
    clippy::arithmetic_side_effects,
    reason = "bytes of a page, of which `place` gives those of its first half"
)]
#![expect(
    clippy::indexing_slicing,
    reason = "`place` gives bytes of the first half of the page"
)]

use spec::Msr;

/// The four bitmaps of one vCPU in the form that the processor reads: a set bit makes the access exit.
///
/// MSRs outside both ranges always exit.
#[derive(Clone, PartialEq, Eq, Debug)]
#[repr(C, align(4096))]
pub struct MsrBitmap([u8; 4096]);

const _: () = assert!(size_of::<MsrBitmap>() == 4096 && align_of::<MsrBitmap>() == 4096);

impl MsrBitmap {
    /// Byte offset of the write bitmaps from the read bitmaps
    const WRITE: usize = 2048;
    /// Byte offset of the bitmap for MSRs from 0xc000_0000 on
    const HIGH: usize = 1024;
    /// MSRs in each range
    const RANGE: u32 = 0x2000;

    /// Everything exits.
    #[must_use]
    pub const fn new() -> Self {
        Self([0xff; 4096])
    }

    /// The byte of a read, and its bit; `None` if the MSR has none.
    const fn place(msr: Msr) -> Option<(usize, u8)> {
        let (base, index) = match msr.0 {
            0..Self::RANGE => (0, msr.0),
            0xc000_0000..=0xc000_1fff => (Self::HIGH, msr.0 & (Self::RANGE - 1)),
            _ => return None,
        };
        Some((base + index as usize / 8, 1 << (index % 8)))
    }

    /// Lets the guest read, write or both without an exit. What is not named here stays as it was.
    ///
    /// Returns `false`, and does nothing, for an MSR outside the bitmaps' ranges.
    #[must_use]
    pub fn allow(&mut self, msr: Msr, read: bool, write: bool) -> bool {
        let Some((byte, bit)) = Self::place(msr) else {
            return false;
        };
        if read {
            self.0[byte] &= !bit;
        }
        if write {
            self.0[byte + Self::WRITE] &= !bit;
        }
        true
    }

    /// Has reads, writes or both exit again.
    pub fn deny(&mut self, msr: Msr, read: bool, write: bool) {
        let Some((byte, bit)) = Self::place(msr) else {
            return;
        };
        if read {
            self.0[byte] |= bit;
        }
        if write {
            self.0[byte + Self::WRITE] |= bit;
        }
    }

    /// Whether a read exits.
    #[must_use]
    pub fn read_exits(&self, msr: Msr) -> bool {
        Self::place(msr).is_none_or(|(byte, bit)| self.0[byte] & bit != 0)
    }

    /// Whether a write exits.
    #[must_use]
    pub fn write_exits(&self, msr: Msr) -> bool {
        Self::place(msr).is_none_or(|(byte, bit)| self.0[byte + Self::WRITE] & bit != 0)
    }

    /// The bytes that the processor reads.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 4096] {
        &self.0
    }
}

impl Default for MsrBitmap {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_exits_at_birth() {
        assert!(MsrBitmap::new().bytes().iter().all(|b| *b == 0xff));
    }

    #[test]
    fn each_edge_has_the_bit_that_the_manual_gives_it() {
        for (msr, byte, bit) in [
            (0x0, 0, 0),
            (0x1fff, 1023, 7),
            (0xc000_0000, 1024, 0),
            (0xc000_0080, 1024 + 16, 0),
            (0xc000_1fff, 2047, 7),
        ] {
            let mut bitmap = MsrBitmap::new();
            assert!(bitmap.allow(Msr(msr), true, false));
            let mut expected = [0xff; 4096];
            expected[byte] &= !(1 << bit);
            assert_eq!(bitmap.bytes(), &expected, "read of {msr:#x}");
            assert!(!bitmap.read_exits(Msr(msr)) && bitmap.write_exits(Msr(msr)));

            assert!(bitmap.allow(Msr(msr), false, true));
            expected[2048 + byte] &= !(1 << bit);
            assert_eq!(bitmap.bytes(), &expected, "write of {msr:#x}");

            bitmap.deny(Msr(msr), false, true);
            assert!(!bitmap.read_exits(Msr(msr)) && bitmap.write_exits(Msr(msr)));
            bitmap.deny(Msr(msr), true, false);
            assert_eq!(bitmap, MsrBitmap::new());
        }
    }

    /// SDM vol. 3, "MSR-Bitmap Address": the bit of a read and that of a write, of all 4096 * 8.
    fn by_the_manual(msr: u32) -> Option<[usize; 2]> {
        let low = (msr & 0x1fff) as usize;
        match msr {
            0..=0x1fff => Some([low, 2048 * 8 + low]),
            0xc000_0000..=0xc000_1fff => Some([1024 * 8 + low, 3072 * 8 + low]),
            _ => None,
        }
    }

    /// One after the other, so that a bit that two MSRs share shows as one that is already clear.
    #[test]
    fn all_16384_msrs_of_the_ranges_have_the_bits_that_the_manual_gives_them_and_share_none() {
        let mut bitmap = MsrBitmap::new();
        let mut expected = [0xff; 4096];
        for number in (0..=0x1fff).chain(0xc000_0000..=0xc000_1fff) {
            let msr = Msr(number);
            let [read, write] = by_the_manual(number).unwrap();
            for (bit, is_write) in [(read, false), (write, true)] {
                assert!(bitmap.write_exits(msr) && bitmap.read_exits(msr) != is_write);
                assert!(bitmap.allow(msr, !is_write, is_write));
                expected[bit / 8] &= !(1u8 << (bit % 8));
                assert_eq!(bitmap.bytes()[bit / 8], expected[bit / 8], "{msr:?}");
            }
            assert!(!bitmap.read_exits(msr) && !bitmap.write_exits(msr));
        }
        assert_eq!(bitmap.bytes(), &expected);
        assert_eq!(bitmap.bytes(), &[0; 4096]);
    }

    /// Of the others all have none: each block of 8192 by its edges, and its middle by every bit that could be looked at.
    #[test]
    fn all_other_msrs_exit_even_where_every_bit_is_clear() {
        let open = MsrBitmap([0; 4096]);
        for block in 0..=u32::MAX >> 13 {
            let first = block << 13;
            let within = (0..13).map(|bit| 1 << bit);
            for low in [0, 0x1ffe, 0x1fff].into_iter().chain(within) {
                let msr = Msr(first | low);
                let exits = by_the_manual(msr.0).is_none();
                assert_eq!(open.read_exits(msr), exits, "{msr:?}");
                assert_eq!(open.write_exits(msr), exits, "{msr:?}");
                assert_eq!(MsrBitmap::place(msr).is_none(), exits, "{msr:?}");
            }
        }
    }

    #[test]
    fn msrs_outside_the_ranges_cannot_be_allowed() {
        let mut bitmap = MsrBitmap::new();
        for msr in [0x2000, 0xbfff_ffff, 0xc000_2000, 0xffff_ffff] {
            assert!(!bitmap.allow(Msr(msr), true, true));
            assert!(bitmap.read_exits(Msr(msr)) && bitmap.write_exits(Msr(msr)));
        }
        assert_eq!(bitmap, MsrBitmap::new());
    }
}
