//! What the addresses in a panic report mean: functions, files and lines.
//!
//! The report has the words of a stack that point into the code, as offsets from the image's start. Some of them were left over by
//! calls that are over, and some are pointers to functions: those do not come after a call, and are left out.

use addr2line::Loader;
use anyhow::{Context, Result, anyhow};
use elf::ElfBytes;
use elf::endian::LittleEndian;
use iced_x86::{Decoder, DecoderOptions, Mnemonic};
use regex::Regex;
use std::fmt::Write;
use std::ops::Range;
use std::path::Path;

/// A line of a report, on the machine or on one VM, without what the log puts before it.
const LINE: &str = r"(?m) error bulkhead: (?:machine|vm): ((?:vcpu=\d+ )?panic .*|serves .*|image=(0x[0-9a-f]+) .*|callers((?: 0x[0-9a-f]+)*))\r?$";
/// Where an exception struck.
const RIP: &str = r"\brip=0x([0-9a-f]+)";
/// The longest call has so many bytes, the shortest two.
const CALL: Range<usize> = 2..8;

/// A program and its line tables.
pub struct Program {
    lines: Loader,
    /// What is loaded: its first address and its bytes
    segments: Vec<(u64, Vec<u8>)>,
}

impl Program {
    /// Opens an ELF file.
    ///
    /// # Errors
    /// When it is none.
    pub fn open(path: &Path) -> Result<Program> {
        let shown = || path.display().to_string();
        let bytes = std::fs::read(path).with_context(shown)?;
        let file = ElfBytes::<LittleEndian>::minimal_parse(&bytes).with_context(shown)?;
        let mut segments = Vec::new();
        for header in file.segments().into_iter().flatten() {
            if header.p_type == elf::abi::PT_LOAD && header.p_flags & elf::abi::PF_X != 0 {
                let content = file.segment_data(&header).with_context(shown)?;
                segments.push((header.p_vaddr, content.to_vec()));
            }
        }
        let lines = Loader::new(path).map_err(|e| anyhow!("{}: {e}", shown()))?;
        Ok(Program { lines, segments })
    }

    /// Whether the code before an address ends with a call.
    fn follows_call(&self, address: u64) -> bool {
        let before = |len: usize| {
            let start = address.checked_sub(len as u64)?;
            self.segments.iter().find_map(|(first, bytes)| {
                let at = usize::try_from(start.checked_sub(*first)?).ok()?;
                bytes.get(at..at + len)
            })
        };
        CALL.filter_map(before).any(|bytes| {
            let instruction = Decoder::new(64, bytes, DecoderOptions::NONE).decode();
            instruction.mnemonic() == Mnemonic::Call && instruction.len() == bytes.len()
        })
    }

    /// The functions that an instruction is in, each that was inlined before the one that it was inlined into.
    fn functions(&self, address: u64) -> Result<Vec<String>> {
        let failed = |e| anyhow!("{address:#x}: {e}");
        let symbol = self.lines.find_symbol(address);
        let symbol = symbol.map(|name| addr2line::demangle_auto(name.into(), None));
        let mut found = Vec::new();
        let mut frames = self
            .lines
            .find_frames(address)
            .map_err(|e| anyhow!("{e}"))?;
        while let Some(frame) = frames.next().map_err(failed)? {
            let name = frame.function.as_ref().and_then(|f| f.demangle().ok());
            // Line tables alone name what was inlined, not what it was inlined into: that is the symbol.
            let name = name.or_else(|| symbol.clone());
            let name = plain(name.as_deref().unwrap_or("?")).to_owned();
            let place = frame.location.and_then(|l| Some((l.file?, l.line?)));
            found.push(match place {
                Some((file, line)) => format!("{name}  {}:{line}", ours(file)),
                None => name,
            });
        }
        if found.is_empty() {
            found.extend(symbol.map(|name| plain(&name).to_owned()));
        }
        Ok(found)
    }
}

/// A function's name without the hash that the compiler puts behind it.
fn plain(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((rest, hash)) if hash.len() == 16 => rest,
        _ => name,
    }
}

/// A path of ours from the workspace's root on.
fn ours(file: &str) -> &str {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../");
    let root = root.trim_end_matches("xtask/../");
    file.strip_prefix(root).unwrap_or(file)
}

/// What the panic reports in a log mean, by the program that made them; `None` if there is none.
///
/// # Errors
/// When the program is no ELF file, or its line tables are damaged.
pub fn resolve(log: &str, program: &Path) -> Result<Option<String>> {
    let (line, rip) = (Regex::new(LINE)?, Regex::new(RIP)?);
    let mut text = String::new();
    let (mut program_of_log, mut struck, mut image) = (None, None, 0);
    for found in line.captures_iter(log) {
        if let Some(base) = found.get(2) {
            image = number(base.as_str())?;
            continue;
        }
        let Some(callers) = found.get(3) else {
            let at = rip.captures(&found[1]).map(|rip| rip[1].to_owned());
            struck = at.or(struck);
            writeln!(text, "{}", found[1].trim_end())?;
            continue;
        };
        let opened = match program_of_log.take() {
            Some(opened) => opened,
            None => Program::open(program)?,
        };
        if let Some(rip) = struck.take() {
            let at = number(&rip)?.wrapping_sub(image);
            show(&mut text, &opened, at, at)?;
        }
        let words: Vec<u64> = callers
            .as_str()
            .split_whitespace()
            .map(number)
            .collect::<Result<_>>()?;
        let (calls, others): (Vec<u64>, Vec<u64>) =
            words.into_iter().partition(|at| opened.follows_call(*at));
        if calls.len() < others.len() {
            writeln!(
                text,
                "  most of these addresses fit no call: {} is of another build",
                program.display()
            )?;
        }
        for at in calls {
            // The call itself: what comes back to may be of another line, or of another function.
            show(&mut text, &opened, at, at.saturating_sub(1))?;
        }
        program_of_log = Some(opened);
    }
    Ok((!text.is_empty()).then_some(text))
}

fn show(text: &mut String, program: &Program, shown: u64, looked_up: u64) -> Result<()> {
    let functions = program.functions(looked_up)?;
    let mut lines = functions.iter();
    let first = lines.next().map_or("?", String::as_str);
    writeln!(text, "{shown:#10x}  {first}")?;
    for outer in lines {
        writeln!(text, "{:10}  in {outer}", "")?;
    }
    Ok(())
}

fn number(text: &str) -> Result<u64> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).with_context(|| text.to_owned())
}

#[cfg(test)]
mod tests;
