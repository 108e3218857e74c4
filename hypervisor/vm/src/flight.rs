//! A flight recorder: the last exits of a vCPU, for the report of a VM that has stopped.

use crate::Kind;
use core::fmt;
use exits::Exit;
use spec::Ticks;

/// How many exits are kept.
const KEPT: usize = 32;

/// An exit, as it is kept: two words, since every exit writes them.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    at: Ticks,
    /// The kind above [`KIND`], the mark [`IS_DETAIL`], and below that where the instruction is or what tells exits of its kind apart
    what: u64,
}

/// First bit of the kind.
const KIND: u32 = 58;
/// It says what tells it apart, not where its instruction is.
const IS_DETAIL: u64 = 1 << 57;
/// What is left for that: the addresses of five-level paging, sign-extended.
const WORD: u64 = IS_DETAIL - 1;

/// The last exits of a vCPU.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    records: [Record; KEPT],
    /// How many there were
    count: u32,
    /// How many there were after the last one that was [`Recorder::repeats`]'s, and how many of these there have been in a row
    last: u32,
    row: u32,
}

impl Recorder {
    /// Keeps an exit. `rip` is where its instruction is; zero if that is not known without a look into the vendor's control structure,
    /// and then what tells the exit apart is kept.
    #[inline]
    pub fn record(&mut self, at: Ticks, kind: Kind, exit: &Exit, rip: u64) {
        let word = match rip {
            0 => detail(exit) & WORD | IS_DETAIL,
            rip => rip & WORD,
        };
        let what = (kind as u64) << KIND | word;
        if let Some(record) = self.records.get_mut(self.count as usize % KEPT) {
            *record = Record { at, what };
        }
        self.count = self.count.wrapping_add(1);
    }

    /// Notes that the guest has completed no instruction by the exit that was kept last; gives how many such exits there have been
    /// in a row. Those that come at any time do not end a row, and do not count.
    #[cold]
    pub fn repeats(&mut self, kind: Kind) -> u32 {
        if self.last.wrapping_add(1) != self.count {
            self.row = 0;
        }
        self.last = self.count;
        if !kind.is_asynchronous() {
            self.row = self.row.saturating_add(1);
        }
        self.row
    }

    /// How many exits there have been in a row by which the guest has completed no instruction, the last one among them.
    #[must_use]
    pub fn row(&self) -> u32 {
        if self.last == self.count { self.row } else { 0 }
    }

    /// What was kept, the last first, each as it is shown.
    pub fn last_first(&self) -> impl Iterator<Item = impl fmt::Display> {
        let kept = self.count.min(KEPT as u32);
        (1..=kept).filter_map(|back| {
            let at = self.count.wrapping_sub(back) as usize % KEPT;
            self.records.get(at)
        })
    }
}

/// What tells exits of a kind apart, where that is known without a further look.
#[cold]
const fn detail(exit: &Exit) -> u64 {
    match exit {
        Exit::MsrRead(msr) | Exit::MsrWrite(msr) => msr.0 as u64,
        Exit::Port(access) => access.port.0 as u64,
        Exit::PortString(access) => access.access.port.0 as u64,
        Exit::GpaFault(fault) => fault.gpa.0,
        Exit::Exception { vector, .. } | Exit::HostInterrupt(vector) => vector.0 as u64,
        Exit::Cr0Write(write) | Exit::Cr4Write(write) | Exit::EferWrite(write) => write.value,
        Exit::EntryFailed(reason) | Exit::Unknown(reason) => *reason as u64,
        _ => 0,
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = (self.what >> KIND) as usize;
        let kind = Kind::ALL.get(kind).map_or("?", |kind| kind.name());
        write!(f, "at={} {kind}", self.at.0)?;
        match self.what & WORD {
            0 => Ok(()),
            word if self.what & IS_DETAIL != 0 => write!(f, " {word:#x}"),
            word => {
                // The highest bit of an address is that of all above it.
                let unused = WORD.leading_zeros();
                let rip = (word << unused).cast_signed() >> unused;
                write!(f, " rip={rip:#x}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use spec::Msr;

    fn shown(recorder: &Recorder) -> Vec<String> {
        recorder.last_first().map(|r| r.to_string()).collect()
    }

    #[test]
    fn the_last_exits_are_kept_and_the_last_one_comes_first() {
        let mut recorder = Recorder::default();
        assert_eq!(shown(&recorder), [""; 0]);
        for n in 0..100 {
            recorder.record(Ticks(n), Kind::Cpuid, &Exit::Cpuid, 0x1000 + n);
        }
        let shown = shown(&recorder);
        assert_eq!(shown.len(), KEPT);
        assert_eq!(shown[0], "at=99 cpuid rip=0x1063");
        assert_eq!(shown[KEPT - 1], "at=68 cpuid rip=0x1044");
    }

    #[test]
    fn where_it_was_is_shown_or_else_what_tells_it_apart() {
        let mut recorder = Recorder::default();
        let mut one = |exit: Exit, rip| {
            recorder.record(Ticks(7), Kind::of(&exit), &exit, rip);
            shown(&recorder).swap_remove(0)
        };
        let msr = || Exit::MsrRead(Msr(0x8ff));
        assert_eq!(one(Exit::Hlt, 0), "at=7 hlt");
        assert_eq!(one(msr(), 0), "at=7 rdmsr 0x8ff");
        assert_eq!(
            one(msr(), 0x7f00_0000_1000),
            "at=7 rdmsr rip=0x7f0000001000"
        );
        let rip = 0xffff_ffff_8100_0000;
        assert_eq!(one(msr(), rip), "at=7 rdmsr rip=0xffffffff81000000");
        assert_eq!(one(Exit::Unknown(0xffff), 0), "at=7 end 0xffff");
    }

    #[test]
    fn a_row_is_ended_by_an_instruction_and_not_by_what_comes_at_any_time() {
        let mut recorder = Recorder::default();
        let mut exit = |kind: Kind, repeats: bool| {
            recorder.record(Ticks(1), kind, &Exit::Hlt, 0);
            repeats.then(|| recorder.repeats(kind))
        };
        assert_eq!(exit(Kind::Exception, true), Some(1));
        assert_eq!(exit(Kind::Exception, true), Some(2));
        assert_eq!(exit(Kind::HostInterrupt, true), Some(2));
        assert_eq!(exit(Kind::GpaFault, true), Some(3));
        assert_eq!(exit(Kind::Cpuid, false), None);
        assert_eq!(exit(Kind::Exception, true), Some(1));
    }
}
