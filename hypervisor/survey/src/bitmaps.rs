//! MSR and I/O bitmaps (SDM vol. 3, "I/O-Bitmap Addresses", "MSR-Bitmap Address"): a clear bit lets an access through.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "bitmaps lie in memory that is there, and numbers are of bits in them"
)]

use crate::walk::FRAME;
use crate::{Error, Memory};
use alloc::vec::Vec;
use proto::certificate::MsrGrant;

/// Bits of a word.
const WORD: u32 = 64;

/// Byte offset of the bitmaps for writes.
const WRITES: u64 = 2048;
/// The first MSR of each bitmap, and the byte offset of that for reads.
const BITMAPS: [(u32, u64); 2] = [(0, 0), (0xc000_0000, 1024)];
/// Words of each bitmap.
const WORDS: u32 = 1024 / 8;

/// The MSRs that the bitmap at `at` lets through, lowest first.
pub(crate) fn msrs(memory: &impl Memory, at: u64) -> Result<Vec<MsrGrant>, Error> {
    there(memory, at)?;
    let mut grants: Vec<MsrGrant> = Vec::new();
    for (first, offset) in BITMAPS {
        for word in 0..WORDS {
            let place = at + offset + 8 * u64::from(word);
            let reads = !memory.word(place);
            let writes = !memory.word(place + WRITES);
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
        there(memory, at)?;
        for word in 0..(FRAME / 8) as u32 {
            let open = !memory.word(at + 8 * u64::from(word));
            for bit in bits(open) {
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

fn there(memory: &impl Memory, at: u64) -> Result<(), Error> {
    if at.is_multiple_of(FRAME) && memory.has(at) {
        Ok(())
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
