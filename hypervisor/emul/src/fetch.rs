//! The one copy of the instruction.

use crate::error::Error;
use crate::linear::{advance, code};
use crate::walk::{Intent, walk};
use core::fmt;
use seam::GuestMem;
use spec::state::CpuState;
use spec::{Gva, PAGE_SIZE};

/// The longest instruction (SDM vol. 2, "Instruction Format").
const LONGEST: usize = 15;

/// Bytes of an instruction, copied from guest memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code {
    bytes: [u8; LONGEST],
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
        let mut copy = [0; LONGEST];
        let len = bytes.len().min(LONGEST);
        copy[..len].copy_from_slice(&bytes[..len]);
        Self {
            bytes: copy,
            len: len as u8,
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({:02x?})", self.bytes())
    }
}

/// Copies the instruction at CS:RIP, as far as `enough` wants it: it is asked at a page's end, since a fault of
/// the next page must not count for an instruction that ends before it.
///
/// # Errors
/// [`Error::Inject`] with #PF or #GP (the limit of CS, or longer than 15 bytes, is #GP by the SDM);
/// [`Error::Outside`] if the code is not in RAM.
pub fn fetch(
    mem: &impl GuestMem,
    cpu: &CpuState,
    enough: impl Fn(&[u8]) -> bool,
) -> Result<Code, Error> {
    let (start, limit) = code(cpu)?;
    let first = (PAGE_SIZE - start.0 % PAGE_SIZE).min(limit);
    let mut copy = Code {
        bytes: [0; LONGEST],
        len: 0,
    };
    extend(mem, cpu, start, first as usize, &mut copy)?;
    if first < limit && !enough(copy.bytes()) {
        extend(
            mem,
            cpu,
            advance(cpu, start, first),
            (limit - first) as usize,
            &mut copy,
        )?;
    }
    Ok(copy)
}

/// Copies `count` bytes that lie in one page to the end of the copy.
fn extend(
    mem: &impl GuestMem,
    cpu: &CpuState,
    at: Gva,
    count: usize,
    copy: &mut Code,
) -> Result<(), Error> {
    let gpa = walk(mem, cpu, at, Intent::Fetch)?;
    let from = usize::from(copy.len);
    let into = copy
        .bytes
        .get_mut(from..from + count)
        .ok_or(Error::Outside(gpa))?;
    mem.read_into(gpa, into).map_err(|_| Error::Outside(gpa))?;
    copy.len += count as u8;
    Ok(())
}
