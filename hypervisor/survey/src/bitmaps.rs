//! MSR and I/O bitmaps (SDM vol. 3, "I/O-Bitmap Addresses", "MSR-Bitmap Address"): a clear bit lets an access through.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "bitmaps lie in memory that is there, and numbers are of bits in them"
)]

use crate::walk::FRAME;
use crate::{Error, Frame, Memory};
use alloc::vec::Vec;
use proto::certificate::MsrGrant;

/// Bits of a word.
const WORD: u32 = 64;

/// The first MSR of each bitmap, and which words of the frame are those for reads; those for writes are half a frame further.
const BITMAPS: [(u32, core::ops::Range<usize>); 2] = [(0, 0..128), (0xc000_0000, 128..256)];
const WRITES: usize = 256;

/// The MSRs that the bitmap at `at` lets through, lowest first.
pub(crate) fn msrs(memory: &impl Memory, at: u64) -> Result<Vec<MsrGrant>, Error> {
    let frame = read(memory, at)?;
    let mut grants: Vec<MsrGrant> = Vec::new();
    for (first, words) in BITMAPS {
        let reads = frame.iter().skip(words.start);
        let writes = frame.iter().skip(words.start + WRITES);
        for (word, (reads, writes)) in (0..).zip(reads.zip(writes)).take(words.len()) {
            let (reads, writes) = (!reads, !writes);
            for bit in bits(reads | writes) {
                let msr = first + word * WORD + bit;
                let (read, write) = (reads >> bit & 1 != 0, writes >> bit & 1 != 0);
                match grants.last_mut() {
                    Some(last)
                        if last.last + 1 == msr && (last.read, last.write) == (read, write) =>
                    {
                        last.last = msr;
                    }
                    _ => grants.push(MsrGrant {
                        first: msr,
                        last: msr,
                        read,
                        write,
                    }),
                }
            }
        }
    }
    Ok(grants)
}

/// The ports that the bitmaps at `a`, for those below 0x8000, and `b` let through: first and last of each range.
pub(crate) fn ports(memory: &impl Memory, a: u64, b: u64) -> Result<Vec<(u16, u16)>, Error> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for (first, at) in [(0, a), (0x8000, b)] {
        for (word, closed) in (0..).zip(read(memory, at)?) {
            for bit in bits(!closed) {
                // 512 words of 64 bits are half of the ports.
                let port = (first + word * WORD + bit) as u16;
                match ranges.last_mut() {
                    Some((_, last)) if last.checked_add(1) == Some(port) => *last = port,
                    _ => ranges.push((port, port)),
                }
            }
        }
    }
    Ok(ranges)
}

fn read(memory: &impl Memory, at: u64) -> Result<Frame, Error> {
    let mut frame = [0; 512];
    if at.is_multiple_of(FRAME) && memory.read(at, &mut frame) {
        Ok(frame)
    } else {
        Err(Error::Elsewhere { at })
    }
}

/// The numbers of the bits that are set.
fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        // Nothing is left of a word without bits.
        word &= word.checked_sub(1)?;
        Some(bit)
    })
}
