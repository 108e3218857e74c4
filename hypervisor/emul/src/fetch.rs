//! The one copy of the instruction.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "an instruction has 15 bytes at most, and lies in two pages"
)]
#![expect(
    clippy::indexing_slicing,
    reason = "lengths of 15 at most, and three words hold 16 bytes from any of the first eight on"
)]

use crate::error::Error;
use crate::linear::{advance, code};
use crate::walk::{Intent, walk};
use core::fmt;
use seam::GuestMem;
use spec::state::CpuState;
use spec::{Gpa, Gva, PAGE_SIZE};

/// The longest instruction (SDM vol. 2, "Instruction Format").
const LONGEST: usize = 15;

/// Bytes of an instruction, copied from guest memory.
#[derive(Clone, Copy)]
pub struct Code {
    /// From `len` on they are not the instruction's.
    bytes: [u8; 16],
    len: u8,
}

impl Code {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// A copy of at most 15 bytes; further ones are dropped.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut copy = [0; 16];
        let len = bytes.len().min(LONGEST);
        copy[..len].copy_from_slice(&bytes[..len]);
        Self {
            bytes: copy,
            len: len as u8,
        }
    }

    /// The bytes as one number, the first the lowest. What is above the last is not the instruction's.
    pub(crate) fn number(&self) -> u128 {
        u128::from_le_bytes(self.bytes)
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Code {}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({:02x?})", self.bytes())
    }
}

/// Copies the instruction at CS:RIP, as far as `is_whole` wants it: it is asked at a page's end, since a fault of the
/// next page must not count for an instruction that ends before it.
///
/// # Errors
/// [`Error::Inject`] with #PF or #GP (outside the limit of CS); [`Error::Outside`] if the code is not in RAM.
pub fn fetch(
    mem: &impl GuestMem,
    cpu: &CpuState,
    is_whole: impl Fn(&Code) -> bool,
) -> Result<Code, Error> {
    let (start, limit) = code(cpu)?;
    let first = (PAGE_SIZE - start.0 % PAGE_SIZE).min(limit);
    let copy = part(mem, cpu, start, first)?;
    if first == limit || is_whole(&copy) {
        return Ok(copy);
    }
    let rest = part(mem, cpu, advance(cpu, start, first), limit - first)?;
    let mut whole = Code::new(copy.bytes());
    whole.bytes[first as usize..limit as usize].copy_from_slice(rest.bytes());
    whole.len = limit as u8;
    Ok(whole)
}

/// Copies `len` bytes, at most 15, that lie in one page.
fn part(mem: &impl GuestMem, cpu: &CpuState, at: Gva, len: u64) -> Result<Code, Error> {
    let gpa = walk(mem, cpu, at, Intent::Fetch)?;
    // Whole words: a page is RAM, or is not.
    let skip = (gpa.0 % 8) as usize;
    let end = skip + len as usize;
    let mut words = [[0; 8]; 3];
    for (n, word) in words.iter_mut().enumerate() {
        if 8 * n < end {
            let at = Gpa(gpa.align_down(8).0 + 8 * n as u64);
            let value = mem.read_u64(at).map_err(|_| Error::Outside(gpa))?;
            *word = value.to_le_bytes();
        }
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&words.as_flattened()[skip..skip + 16]);
    Ok(Code {
        bytes,
        len: len as u8,
    })
}
