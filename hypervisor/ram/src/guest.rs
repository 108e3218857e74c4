//! A guest's memory: its guest-physical ranges and the host frames behind them.

use crate::{Extent, Window};
use seam::{AccessError, GuestMem};
use spec::{Gpa, Hpa, PAGE_SIZE};

/// One range of guest-physical memory that lies in one range of host memory: whole pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    /// First guest-physical address
    pub gpa: Gpa,
    /// The host memory behind it
    pub host: Extent,
}

/// How far [`GuestRam::scrub`] is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Scrub {
    slots: usize,
    /// Of the slot behind those
    bytes: u64,
}

/// How many slots one guest may have: three ranges of guest RAM, over host memory in few pieces.
pub const MAX_SLOTS: usize = 32;

/// The RAM of one guest. It owns its frames: nobody else reads or writes them while this value lives.
#[derive(Debug)]
pub struct GuestRam {
    window: Window,
    slots: [Slot; MAX_SLOTS],
    count: usize,
}

impl GuestRam {
    /// A guest without memory.
    #[must_use]
    pub const fn new(window: Window) -> Self {
        let none = Slot {
            gpa: Gpa(0),
            host: Extent {
                start: Hpa(0),
                len: 0,
            },
        };
        Self {
            window,
            slots: [none; MAX_SLOTS],
            count: 0,
        }
    }

    /// Adds a slot. `false`, and nothing added, if it overlaps another in guest or host memory, wraps, is empty
    /// or not of whole pages, or there are too many.
    #[must_use]
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "slots end below 2^64, as this finds; there is room for one more"
    )]
    pub fn add(&mut self, slot: Slot) -> bool {
        let (Some(g_end), Some(h_end)) = (
            slot.gpa.checked_add(slot.host.len),
            slot.host.start.checked_add(slot.host.len),
        ) else {
            return false;
        };
        let clash = self.slots().iter().any(|s| {
            let g = slot.gpa.0 < s.gpa.0 + s.host.len && s.gpa.0 < g_end.0;
            let h = slot.host.start.0 < s.host.start.0 + s.host.len && s.host.start.0 < h_end.0;
            g || h
        });
        let is_paged = [slot.gpa.0, slot.host.start.0, slot.host.len]
            .iter()
            .all(|n| n.is_multiple_of(PAGE_SIZE));
        if clash || slot.host.len == 0 || !is_paged || self.count == MAX_SLOTS {
            return false;
        }
        // The largest first: most searches end there.
        let before = self.slots().iter().filter(|s| s.host.len >= slot.host.len);
        let at = before.count();
        self.slots.copy_within(at..self.count, at + 1);
        self.slots[at] = slot;
        self.count += 1;
        true
    }

    /// The slots, the largest first.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        self.slots.get(..self.count).unwrap_or(&[])
    }

    /// Zeroes the next `len` bytes, or less at the end of a range; `false` once all is zeroed. The guest must not run meanwhile.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "what is done lies in a slot, which ends below 2^64"
    )]
    pub fn scrub(&self, done: &mut Scrub, len: u64) -> bool {
        while let Some(slot) = self.slots().get(done.slots) {
            let left = slot.host.len.saturating_sub(done.bytes);
            if left == 0 {
                *done = Scrub {
                    slots: done.slots + 1,
                    bytes: 0,
                };
                continue;
            }
            let len = len.min(left);
            // Slots lie in the window, or reads and writes would have failed as well.
            let _ = self.window.scrub(Hpa(slot.host.start.0 + done.bytes), len);
            done.bytes += len;
            return true;
        }
        false
    }

    /// Host address of `gpa`, and the bytes from there to the end of its slot.
    #[inline]
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "the offset is less than the slot's length, and slots end below 2^64"
    )]
    fn host(&self, gpa: Gpa) -> Option<(Hpa, u64)> {
        self.slots().iter().find_map(|s| {
            // One comparison: below the slot, the difference wraps to more than any length.
            let offset = gpa.0.wrapping_sub(s.gpa.0);
            (offset < s.host.len).then(|| (Hpa(s.host.start.0 + offset), s.host.len - offset))
        })
    }

    /// Calls `f` with each piece of host memory behind `len` bytes at `gpa` and its offset in the range, after
    /// checking that there is memory behind all of it.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "the range ends below 2^64, as is looked at first, and no piece is longer than what is left"
    )]
    fn pieces(
        &self,
        gpa: Gpa,
        len: u64,
        mut f: impl FnMut(Hpa, u64, u64) -> Option<()>,
    ) -> Result<(), AccessError> {
        if len == 0 {
            return Ok(());
        }
        let (host, room) = self.host(gpa).ok_or(AccessError::Absent)?;
        if len <= room {
            return f(host, 0, len).ok_or(AccessError::Absent);
        }
        gpa.checked_add(len).ok_or(AccessError::Absent)?;
        for carry_out in [false, true] {
            let mut done = 0;
            while done < len {
                let (host, room) = self.host(Gpa(gpa.0 + done)).ok_or(AccessError::Absent)?;
                let n = room.min(len - done);
                if carry_out {
                    f(host, done, n).ok_or(AccessError::Absent)?;
                }
                done += n;
            }
        }
        Ok(())
    }

    #[inline]
    fn aligned_word(&self, gpa: Gpa) -> Result<Hpa, AccessError> {
        if !gpa.is_aligned(8) {
            return Err(AccessError::Width);
        }
        // Slots are whole pages: the word ends in the slot where it starts.
        self.host(gpa)
            .map(|(host, _)| host)
            .ok_or(AccessError::Absent)
    }
}

impl GuestMem for GuestRam {
    fn read_into(&self, gpa: Gpa, into: &mut [u8]) -> Result<(), AccessError> {
        let len = into.len() as u64;
        self.pieces(gpa, len, |host, at, n| {
            let part = into.get_mut(at as usize..at.checked_add(n)? as usize)?;
            self.window.read(host, part)
        })
    }

    fn write_from(&self, gpa: Gpa, from: &[u8]) -> Result<(), AccessError> {
        self.pieces(gpa, from.len() as u64, |host, at, n| {
            self.window
                .write(host, from.get(at as usize..at.checked_add(n)? as usize)?)
        })
    }

    fn zero(&self, gpa: Gpa, len: u64) -> Result<(), AccessError> {
        const ZEROES: [u8; 512] = [0; 512];
        self.pieces(gpa, len, |host, _, n| {
            let (mut host, mut left) = (host, n);
            while left > 0 {
                let part = ZEROES.get(..left.min(512) as usize)?;
                self.window.write(host, part)?;
                host = host.checked_add(part.len() as u64)?;
                left = left.saturating_sub(part.len() as u64);
            }
            Some(())
        })
    }

    fn read_u64(&self, gpa: Gpa) -> Result<u64, AccessError> {
        let host = self.aligned_word(gpa)?;
        self.window.load(host).ok_or(AccessError::Absent)
    }

    fn compare_exchange_u64(&self, gpa: Gpa, old: u64, new: u64) -> Result<bool, AccessError> {
        let host = self.aligned_word(gpa)?;
        self.window
            .compare_exchange(host, old, new)
            .ok_or(AccessError::Absent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::tests::window;

    fn slot(gpa: u64, host: u64, len: u64) -> Slot {
        Slot {
            gpa: Gpa(gpa),
            host: Extent {
                start: Hpa(host),
                len,
            },
        }
    }

    fn two_slots() -> GuestRam {
        let mut ram = GuestRam::new(window(0x4000 / 8));
        assert!(ram.add(slot(0x1000, 0x2000, 0x1000)));
        assert!(ram.add(slot(0x2000, 0x0, 0x1000)));
        ram
    }

    #[test]
    fn neighbours_in_guest_memory_are_one_range_wherever_their_frames_lie() {
        let ram = two_slots();
        assert_eq!(ram.write_from(Gpa(0x1ffe), &[1, 2, 3, 4]), Ok(()));
        let mut back = [0; 4];
        assert_eq!(ram.read_into(Gpa(0x1ffe), &mut back), Ok(()));
        assert_eq!(back, [1, 2, 3, 4]);
        assert_eq!(ram.window.load(Hpa(0)), Some(0x0403));
        assert_eq!(ram.window.load(Hpa(0x2ff8)), Some(0x0201_0000_0000_0000));
    }

    #[test]
    fn an_access_that_leaves_memory_does_nothing() {
        let ram = two_slots();
        assert_eq!(
            ram.write_from(Gpa(0x2ffe), &[1, 2, 3, 4]),
            Err(AccessError::Absent)
        );
        assert_eq!(ram.read_u64(Gpa(0x2ff8)), Ok(0));
        assert_eq!(ram.read_u64(Gpa(0x3000)), Err(AccessError::Absent));
        assert_eq!(ram.read_u64(Gpa(0x1001)), Err(AccessError::Width));
        let mut b = [0; 2];
        assert_eq!(
            ram.read_into(Gpa(u64::MAX), &mut b),
            Err(AccessError::Absent)
        );
        assert_eq!(ram.read_into(Gpa(0xfff), &mut b), Err(AccessError::Absent));
        assert_eq!(ram.zero(Gpa(0x2000), 0x1001), Err(AccessError::Absent));
    }

    #[test]
    fn a_frame_never_lies_behind_two_addresses() {
        let mut ram = two_slots();
        assert!(!ram.add(slot(0x8000, 0x2800, 0x1000)), "host overlap");
        assert!(!ram.add(slot(0x1800, 0x3000, 0x1000)), "guest overlap");
        assert!(!ram.add(slot(u64::MAX, 0x3000, 0x1000)), "wraps");
        assert!(!ram.add(slot(0x8000, 0x3000, 0)), "empty");
        for (gpa, host, len) in [
            (0x8008, 0x3000, 0x1000),
            (0x8000, 0x3008, 0x1000),
            (0x8000, 0x3000, 0xff8),
        ] {
            assert!(!ram.add(slot(gpa, host, len)), "no whole pages");
        }
        assert!(ram.add(slot(0x8000, 0x3000, 0x1000)));
    }

    #[test]
    fn the_largest_slot_is_searched_first_and_none_is_lost() {
        let mut ram = GuestRam::new(window(0x2_0000 / 8));
        let added = [
            slot(0x5000, 0x2000, 0x1000),
            slot(0x10_0000, 0x4000, 0x4000),
            slot(0x0, 0x0, 0x2000),
            slot(0x20_0000, 0x8000, 0x4000),
        ];
        for s in added {
            assert!(ram.add(s));
        }
        assert_eq!(ram.slots(), [added[1], added[3], added[2], added[0]]);
        for s in added {
            let last = Gpa(s.gpa.0 + s.host.len - 8);
            assert_eq!(ram.compare_exchange_u64(last, 0, s.gpa.0 + 1), Ok(true));
            let there = Hpa(s.host.start.0 + s.host.len - 8);
            assert_eq!(ram.window.load(there), Some(s.gpa.0 + 1));
            assert_eq!(ram.read_u64(Gpa(last.0 + 8)), Err(AccessError::Absent));
        }
    }

    /// The last page that an address can name, which ends at 2^64.
    #[test]
    #[cfg_attr(
        miri,
        ignore = "Miri stops over atomic accesses of one place in several sizes"
    )]
    fn at_the_end_of_the_address_space_no_range_wraps_to_its_beginning() {
        const LAST: u64 = u64::MAX - 0xfff;
        let mut ram = two_slots();
        assert!(!ram.add(slot(LAST, 0x1000, 0x1000)), "ends at 2^64");
        assert!(!ram.add(slot(0x8000, LAST, 0x1000)), "ends at 2^64");
        assert!(ram.add(slot(LAST - 0x1000, 0x1000, 0x1000)));
        let mut bytes = [0; 0x30];
        for at in (LAST - 0x20..LAST)
            .chain(LAST..=LAST + 0x20)
            .chain(u64::MAX - 0x40..=u64::MAX)
        {
            for len in 0..bytes.len() {
                let end = u128::from(at) + len as u128;
                let fits = len == 0 || at < LAST && end <= u128::from(LAST);
                let read = ram.read_into(Gpa(at), &mut bytes[..len]);
                assert_eq!(read.is_ok(), fits, "{len:#x} at {at:#x}");
                assert_eq!(ram.write_from(Gpa(at), &bytes[..len]).is_ok(), fits);
                assert_eq!(ram.zero(Gpa(at), len as u64).is_ok(), fits);
            }
            for len in [u64::MAX, u64::MAX - at, u64::MAX - at + 1, 1 << 63] {
                let fits = len == 0 || u128::from(at) + u128::from(len) <= u128::from(LAST);
                assert_eq!(ram.zero(Gpa(at), len).is_ok(), fits, "{len:#x} at {at:#x}");
            }
        }
    }

    #[test]
    fn there_is_an_end_to_slots() {
        let mut ram = GuestRam::new(window(0));
        for n in 0..=MAX_SLOTS as u64 {
            let fits = ram.add(slot(0x2000 * n, 0x2000 * n, 0x1000));
            assert_eq!(fits, n < MAX_SLOTS as u64);
        }
        assert_eq!(ram.slots().len(), MAX_SLOTS);
    }

    #[test]
    fn scrubbing_leaves_nothing() {
        let ram = two_slots();
        assert_eq!(ram.write_from(Gpa(0x1000), &[0xff; 0x2000]), Ok(()));
        let (mut done, mut calls) = (Scrub::default(), 0);
        while ram.scrub(&mut done, 0xc00) {
            calls += 1;
        }
        assert_eq!(calls, 4, "twice for each slot of 4 KiB");
        assert!(!ram.scrub(&mut done, 0xc00), "there is no more");
        let mut all = [1; 0x2000];
        assert_eq!(ram.read_into(Gpa(0x1000), &mut all), Ok(()));
        assert!(all.iter().all(|&b| b == 0));
        assert_eq!(ram.write_from(Gpa(0x1000), &[0xff; 0x2000]), Ok(()));
        assert_eq!(ram.zero(Gpa(0x1001), 0x1ffe), Ok(()));
        assert_eq!(ram.read_into(Gpa(0x1000), &mut all), Ok(()));
        assert_eq!(all.iter().map(|&b| u64::from(b)).sum::<u64>(), 2 * 0xff);
    }
}
