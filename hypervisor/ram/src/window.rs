//! The window: all of RAM, mapped at one offset.
// UNSAFETY: turns host-physical addresses into pointers; every access to physical memory goes through here.
#![allow(unsafe_code)]
#![expect(
    clippy::arithmetic_side_effects,
    reason = "each access first finds that its bytes are in the window, which ends below 2^64"
)]

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use spec::{Hpa, PAGE_SIZE};

/// Where physical memory is mapped. A copy of it is a licence to touch memory by address, so it is handed only to
/// the owners of frames, all of them in this crate and in `hw`.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    base: *mut u8,
    len: u64,
}

// SAFETY: the window is plain memory, valid from every core; who may touch which part is decided by ownership of
// frames (see `new`), and all shared accesses are atomic.
unsafe impl Send for Window {}
// SAFETY: as above; the type has no state of its own.
unsafe impl Sync for Window {}

impl Window {
    /// The window over the `len` bytes of physical memory from address zero that are mapped at `base`.
    ///
    /// # Safety
    /// Each RAM address below `len` that is later given to a method is mapped at `base` plus its value, readable
    /// and writable, as long as the window is used, and lies in memory that belongs to whoever calls the method:
    /// no Rust reference to it exists elsewhere. `base` is 8-byte aligned.
    #[must_use]
    pub const unsafe fn new(base: *mut u8, len: u64) -> Self {
        Self { base, len }
    }

    /// The pointer behind an address, for `len` bytes; `None` outside the window.
    #[must_use]
    pub fn pointer(&self, at: Hpa, len: u64) -> Option<*mut u8> {
        if at.checked_add(len)?.0 > self.len {
            return None;
        }
        Some(self.base.wrapping_add(usize::try_from(at.0).ok()?))
    }

    fn word(&self, at: Hpa) -> Option<&AtomicU64> {
        if !at.is_aligned(8) {
            return None;
        }
        let p = self.pointer(at, 8)?;
        // SAFETY: mapped and owned per `new`, aligned as just checked; atomics may be shared with any writer.
        Some(unsafe { AtomicU64::from_ptr(p.cast()) })
    }

    /// `count` words from `at` on.
    ///
    /// # Safety
    /// The words lie in the window, and `at` is 8-byte aligned unless there are none.
    unsafe fn words(&self, at: Hpa, count: usize) -> Option<&[AtomicU64]> {
        if count == 0 {
            return Some(&[]);
        }
        let p = self.pointer(at, 8 * count as u64)?;
        // SAFETY: mapped and owned per `new`, aligned and inside per contract; atomics may be shared with any writer.
        Some(unsafe { core::slice::from_raw_parts(p.cast::<AtomicU64>(), count) })
    }

    fn byte(&self, at: Hpa) -> Option<&AtomicU8> {
        let p = self.pointer(at, 1)?;
        // SAFETY: mapped and owned per `new`; atomics may be shared with any writer.
        Some(unsafe { AtomicU8::from_ptr(p) })
    }

    /// Reads the aligned word at `at` once; `None` outside the window or if it is not aligned.
    #[must_use]
    pub(crate) fn load(&self, at: Hpa) -> Option<u64> {
        Some(self.word(at)?.load(Relaxed))
    }

    /// Writes the aligned word at `at` once; `None` outside the window or if it is not aligned.
    pub(crate) fn store(&self, at: Hpa, value: u64) -> Option<()> {
        self.word(at)?.store(value, Relaxed);
        Some(())
    }

    /// Replaces the aligned word at `at` if it is `old`; says whether it was.
    pub(crate) fn compare_exchange(&self, at: Hpa, old: u64, new: u64) -> Option<bool> {
        use core::sync::atomic::Ordering::SeqCst;
        Some(
            self.word(at)?
                .compare_exchange(old, new, SeqCst, SeqCst)
                .is_ok(),
        )
    }

    /// Copies memory out, each aligned word read once, and at once what lies in one; `None`, and nothing copied, outside the window.
    pub(crate) fn read(&self, at: Hpa, into: &mut [u8]) -> Option<()> {
        self.pointer(at, into.len() as u64)?;
        let skip = (at.0 & 7) as usize;
        if !into.is_empty() && skip + into.len() <= 8 {
            let word = self.word(at.align_down(8))?.load(Relaxed).to_le_bytes();
            into.copy_from_slice(word.get(skip..skip + into.len())?);
            return Some(());
        }
        let mut at = at;
        let (head, rest) = into.split_at_mut(into.len().min(head_len(at)));
        for b in head {
            *b = self.byte(at)?.load(Relaxed);
            at.0 += 1;
        }
        let (words, tail) = rest.as_chunks_mut::<8>();
        // SAFETY: `at` is aligned now or nothing is left, and the whole range was found in the window above: mapped and owned per `new`.
        let from = unsafe { self.words(at, words.len())? };
        for (to, from) in words.iter_mut().zip(from) {
            *to = from.load(Relaxed).to_le_bytes();
        }
        at.0 += 8 * words.len() as u64;
        for b in tail {
            *b = self.byte(at)?.load(Relaxed);
            at.0 += 1;
        }
        Some(())
    }

    /// Reads the frame at `at`, each word once; `None`, and nothing read, outside the window or if it is not aligned.
    pub(crate) fn read_frame(&self, at: Hpa, into: &mut [u64; 512]) -> Option<()> {
        if !at.is_aligned(PAGE_SIZE) {
            return None;
        }
        self.pointer(at, PAGE_SIZE)?;
        // SAFETY: a frame is aligned, and this one was just found in the window.
        let from = unsafe { self.words(at, into.len())? };
        for (to, from) in into.iter_mut().zip(from) {
            *to = from.load(Relaxed);
        }
        Some(())
    }

    /// Copies `from` into memory, each aligned word written once, and at once an aligned operand of two or four bytes, as processors
    /// do (SDM vol. 3, "Guaranteed Atomic Operations"); `None`, and nothing written, outside the window.
    pub(crate) fn write(&self, at: Hpa, from: &[u8]) -> Option<()> {
        let p = self.pointer(at, from.len() as u64)?;
        if let Ok(bytes) = <[u8; 4]>::try_from(from)
            && at.is_aligned(4)
        {
            // SAFETY: mapped and owned per `new`, aligned as just checked; atomics may be shared with any writer.
            unsafe { AtomicU32::from_ptr(p.cast()) }.store(u32::from_le_bytes(bytes), Relaxed);
            return Some(());
        }
        if let Ok(bytes) = <[u8; 2]>::try_from(from)
            && at.is_aligned(2)
        {
            // SAFETY: as above.
            unsafe { AtomicU16::from_ptr(p.cast()) }.store(u16::from_le_bytes(bytes), Relaxed);
            return Some(());
        }
        let mut at = at;
        let (head, rest) = from.split_at(from.len().min(head_len(at)));
        for b in head {
            self.byte(at)?.store(*b, Relaxed);
            at.0 += 1;
        }
        let (words, tail) = rest.as_chunks::<8>();
        // SAFETY: `at` is aligned now or nothing is left, and the whole range was found in the window above: mapped and owned per `new`.
        let to = unsafe { self.words(at, words.len())? };
        for (to, from) in to.iter().zip(words) {
            to.store(u64::from_le_bytes(*from), Relaxed);
        }
        at.0 += 8 * words.len() as u64;
        for b in tail {
            self.byte(at)?.store(*b, Relaxed);
            at.0 += 1;
        }
        Some(())
    }

    /// Zeroes memory that nobody else touches meanwhile (a frame just taken, the RAM of a VM that does not run);
    /// `None`, and nothing written, outside the window.
    pub(crate) fn scrub(&self, at: Hpa, len: u64) -> Option<()> {
        let p = self.pointer(at, len)?;
        let len = usize::try_from(len).ok()?;
        // SAFETY: mapped and owned per `new`, and the caller's alone per this method's contract.
        unsafe { p.write_bytes(0, len) };
        Some(())
    }

    /// The whole frame at `at` as words, to be filled by its owner before hardware sees it.
    pub(crate) fn scrub_frame(&self, at: Hpa) -> Option<()> {
        self.scrub(at, PAGE_SIZE)
    }
}

/// Bytes from `at` up to the next 8-byte boundary.
fn head_len(at: Hpa) -> usize {
    ((8 - (at.0 & 7)) & 7) as usize
}

#[cfg(test)]
pub(crate) mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::boxed::Box;
    use std::vec;

    /// A window over `words` words of the test's own.
    pub(crate) fn window(words: usize) -> Window {
        let memory: &'static mut [u64] = Box::leak(vec![0u64; words].into_boxed_slice());
        // SAFETY: the leaked words are mapped for ever, and no reference to them is kept.
        unsafe { Window::new(memory.as_mut_ptr().cast(), words as u64 * 8) }
    }

    /// A machine whose window reaches as far as an address can, over memory that is nowhere.
    #[test]
    fn what_ends_past_the_window_is_outside_of_it_however_far_it_reaches() {
        let near = |at: u64| (0..4).flat_map(move |n| [at.wrapping_add(n), at.wrapping_sub(n)]);
        for len in [0, 1, 8, 0x1000, 1 << 32, 1 << 52, u64::MAX - 1, u64::MAX] {
            // SAFETY: nothing is ever accessed, only addresses are compared.
            let w = unsafe { Window::new(core::ptr::null_mut(), len) };
            let starts = near(0).chain(near(len)).chain(near(1 << 32));
            for at in starts {
                for bytes in near(0).chain(near(len)).chain(near(len.wrapping_sub(at))) {
                    let fits = u128::from(at) + u128::from(bytes) <= u128::from(len);
                    let pointer = w.pointer(Hpa(at), bytes);
                    assert_eq!(pointer.is_some(), fits, "{at:#x}, {bytes:#x} of {len:#x}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 8 } else { 256 }, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn what_is_written_anywhere_is_read_back(at in 0u64..600, data in proptest::collection::vec(any::<u8>(), 0..100)) {
            let w = window(64);
            let fits = at + data.len() as u64 <= 512;
            prop_assert_eq!(w.write(Hpa(at), &data).is_some(), fits);
            let mut all = [0u8; 512];
            prop_assert!(w.read(Hpa(0), &mut all).is_some());
            let mut want = [0u8; 512];
            if fits {
                want[at as usize..at as usize + data.len()].copy_from_slice(&data);
            }
            prop_assert_eq!(all, want);
        }
    }

    #[test]
    #[cfg_attr(
        miri,
        ignore = "Rust has no rules for accesses of one place in several sizes at once, and processors have"
    )]
    fn an_operand_that_another_processor_changes_is_whole() {
        let rounds = if cfg!(miri) { 20 } else { 20_000 };
        for (at, len) in [(0, 2), (4, 2), (6, 2), (0, 4), (4, 4), (0, 8)] {
            let w = window(1);
            std::thread::scope(|threads| {
                for value in [0x00, 0xff] {
                    threads.spawn(move || {
                        for _ in 0..rounds {
                            w.write(Hpa(at), &[value; 8][..len]);
                        }
                    });
                }
                for _ in 0..rounds {
                    let mut found = [0; 8];
                    w.read(Hpa(at), &mut found[..len]);
                    let whole = found[..len].iter().all(|byte| *byte == found[0]);
                    assert!(whole, "{found:x?} of {len} bytes at {at}");
                }
            });
        }
    }

    #[test]
    fn a_frame_is_read_whole_or_not_at_all() {
        let w = window(1024);
        assert!(w.store(Hpa(0x1000), 5).is_some() && w.store(Hpa(0x1ff8), 7).is_some());
        let mut frame = [1; 512];
        for at in [Hpa(8), Hpa(0x1008), Hpa(0x2000), Hpa(!0xfff)] {
            assert_eq!(w.read_frame(at, &mut frame), None);
        }
        assert_eq!(frame, [1; 512]);
        assert_eq!(w.read_frame(Hpa(0x1000), &mut frame), Some(()));
        assert_eq!((frame[0], frame[1], frame[511]), (5, 0, 7));
    }

    #[test]
    fn nothing_is_reached_past_the_end() {
        let w = window(4);
        assert_eq!(w.load(Hpa(32)), None);
        assert_eq!(w.load(Hpa(25)), None);
        assert_eq!(w.load(Hpa(u64::MAX)), None);
        assert_eq!(w.scrub(Hpa(24), 9), None);
        assert_eq!(w.compare_exchange(Hpa(8), 1, 2), Some(false));
        assert_eq!(w.compare_exchange(Hpa(8), 0, 2), Some(true));
        assert_eq!(w.load(Hpa(8)), Some(2));
    }
}
