//! The instructions at a place, for a reader: what a report shows of the code of a VM that has stopped.

use crate::{Bitness, Code, fetch};
use alloc::string::String;
use core::fmt;
use iced_x86::{Decoder, DecoderOptions, FastFormatter};
use seam::GuestMem;
use spec::state::CpuState;

/// The `count` instructions from CS:RIP on, a line each: address, bytes, and what they are. It ends where memory or what the decoder
/// knows does.
pub fn listing<'a>(
    mem: &'a impl GuestMem,
    cpu: &CpuState,
    count: usize,
) -> impl Iterator<Item = Line> + 'a {
    let mut cpu = *cpu;
    let bitness = Bitness::of(&cpu);
    (0..count).map_while(move |_| {
        // More bytes than the instruction has may be there or not: what of them can be had is enough.
        let code = [false, true]
            .into_iter()
            .find_map(|short| fetch(mem, &cpu, |_| short).ok())?;
        let line = Line::new(&code, cpu.rip, bitness);
        cpu.rip = cpu.rip.wrapping_add(line.code.bytes().len() as u64);
        (!line.code.bytes().is_empty()).then_some(line)
    })
}

/// An instruction.
pub struct Line {
    at: u64,
    code: Code,
    text: String,
}

impl Line {
    fn new(code: &Code, at: u64, bitness: Bitness) -> Self {
        let (len, text) = text(code.bytes(), at, bitness);
        Self {
            at,
            code: Code::new(code.bytes().get(..len).unwrap_or_default()),
            text,
        }
    }
}

/// How long the first instruction is, and what it is.
pub(crate) fn text(code: &[u8], at: u64, bitness: Bitness) -> (usize, String) {
    let mut decoder = Decoder::with_ip(bitness as u32, code, at, DecoderOptions::NONE);
    let instruction = decoder.decode();
    let mut text = String::new();
    FastFormatter::new().format(&instruction, &mut text);
    (instruction.len(), text)
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}:", self.at)?;
        for byte in self.code.bytes() {
            write!(f, " {byte:02x}")?;
        }
        write!(f, " = {}", self.text)
    }
}
