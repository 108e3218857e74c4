//! Decoded instructions, kept by their bytes.

use crate::decode::{Bitness, DecodeError, decode};
use crate::error::{Error, Fault};
use crate::fetch::{Code, fetch};
use crate::operation::Operation;
use seam::GuestMem;
use spec::state::CpuState;

/// How many are kept. A kernel reaches its interrupt controllers from a few places.
const LINES: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Line {
    /// The instruction's bytes, as [`Code::number`] gives them
    bytes: u128,
    /// Ones in the places of these bytes
    mask: u128,
    bitness: Bitness,
    operation: Operation,
}

/// The instructions that one vCPU has met last. Bytes are copied from guest memory each time and compared, and what
/// an instruction means depends on nothing but them and the size of code: there is nothing to invalidate.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    lines: [Option<Line>; LINES],
}

impl Cache {
    /// Copies the instruction at CS:RIP, and decodes it if need be.
    ///
    /// # Errors
    /// As for [`fetch`]; #GP also for what runs past the limit of CS or is longer than an instruction may be, and
    /// [`Error::Unsupported`].
    #[expect(
        clippy::indexing_slicing,
        reason = "the remainder by the number of lines"
    )]
    pub fn fetch(&mut self, cpu: &CpuState, mem: &impl GuestMem) -> Result<Operation, Error> {
        let bitness = Bitness::of(cpu);
        // Fibonacci hashing: the top bits of the product depend on all bits of RIP.
        let index = (cpu.rip.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize;
        let line = &mut self.lines[index % LINES];
        let code = fetch(mem, cpu, |code| {
            line.is_some_and(|line| line.holds(code, bitness)) || is_whole(code, bitness)
        })?;
        match line {
            Some(line) if line.holds(&code, bitness) => Ok(line.operation),
            _ => {
                let operation = understand(&code, cpu)?;
                *line = Some(Line::new(&code, bitness, operation));
                Ok(operation)
            }
        }
    }
}

impl Line {
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "an instruction has 15 bytes at most"
    )]
    fn new(code: &Code, bitness: Bitness, operation: Operation) -> Self {
        let mask = (1 << (8 * u32::from(operation.length))) - 1;
        Self {
            bytes: code.number() & mask,
            mask,
            bitness,
            operation,
        }
    }

    fn holds(&self, code: &Code, bitness: Bitness) -> bool {
        self.bitness == bitness
            && self.bytes == code.number() & self.mask
            // What follows the bytes that may be fetched is not the instruction's.
            && usize::from(self.operation.length) <= code.bytes().len()
    }
}

/// Whether the instruction ends within the bytes.
fn is_whole(code: &Code, bitness: Bitness) -> bool {
    decode(code.bytes(), bitness) != Err(DecodeError::Short)
}

/// Decodes an instruction that was fetched.
///
/// # Errors
/// [`Error::Unsupported`], or #GP if it runs past the limit of CS or is longer than an instruction may be.
#[cold]
fn understand(code: &Code, cpu: &CpuState) -> Result<Operation, Error> {
    decode(code.bytes(), Bitness::of(cpu)).map_err(|error| match error {
        DecodeError::Short => Fault::protection(cpu).into(),
        DecodeError::Unsupported => Error::Unsupported(*code),
    })
}
