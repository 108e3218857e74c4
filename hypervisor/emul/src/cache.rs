//! Decoded instructions, kept by their bytes.

use crate::decode::{Bitness, DecodeError, decode};
use crate::error::Error;
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
    /// Copies and decodes the instruction at CS:RIP.
    ///
    /// # Errors
    /// As for [`fetch`].
    pub fn fetch(&mut self, cpu: &CpuState, mem: &impl GuestMem) -> Result<Operation, Error> {
        let bitness = Bitness::of(cpu);
        // Fibonacci hashing: the top bits of the product depend on all bits of RIP.
        let index = (cpu.rip.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize;
        let line = &mut self.lines[index % LINES];
        fetch(mem, cpu, |code| look_up(line, code, bitness))
    }
}

/// What `line` or, failing that, the decoder says.
fn look_up(
    line: &mut Option<Line>,
    code: &Code,
    bitness: Bitness,
) -> Result<Operation, DecodeError> {
    if let Some(known) = line
        && known.bitness == bitness
        && known.bytes == code.number() & known.mask
        // What follows the bytes that may be fetched is not the instruction's.
        && usize::from(known.operation.length) <= code.bytes().len()
    {
        return Ok(known.operation);
    }
    let operation = decode(code.bytes(), bitness)?;
    let mask = (1 << (8 * u32::from(operation.length))) - 1;
    *line = Some(Line {
        bytes: code.number() & mask,
        mask,
        bitness,
        operation,
    });
    Ok(operation)
}
