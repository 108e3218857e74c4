//! A flight recorder: the last exits of a vCPU, for the report of a VM that has stopped.

use crate::Kind;
use core::fmt;
use exits::Exit;
use spec::Ticks;

/// How many exits are kept.
const KEPT: usize = 32;

/// An exit, as it is kept.
#[derive(Clone, Copy, Debug)]
struct Record {
    at: Ticks,
    kind: Kind,
    /// What tells exits of its kind apart: the number of a port, register or vector, or an address
    detail: u64,
    /// Where the instruction is, if it had to be looked up
    rip: u64,
}

/// The last exits of a vCPU.
#[derive(Clone, Debug)]
pub struct Recorder {
    records: [Record; KEPT],
    /// How many there were
    count: u32,
}

impl Default for Recorder {
    fn default() -> Self {
        let none = Record {
            at: Ticks(0),
            kind: Kind::End,
            detail: 0,
            rip: 0,
        };
        Self {
            records: [none; KEPT],
            count: 0,
        }
    }
}

impl Recorder {
    /// Keeps an exit. `rip` is where its instruction is, zero if that is not known without a look into the vendor's control
    /// structure.
    #[inline]
    pub fn record(&mut self, at: Ticks, kind: Kind, exit: &Exit, rip: u64) {
        if let Some(record) = self.records.get_mut(self.count as usize % KEPT) {
            *record = Record {
                at,
                kind,
                detail: detail(exit),
                rip,
            };
        }
        self.count = self.count.wrapping_add(1);
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
#[inline]
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
        let Self {
            at,
            kind,
            detail,
            rip,
        } = self;
        write!(f, "at={} {}", at.0, kind.name())?;
        if *detail != 0 {
            write!(f, " {detail:#x}")?;
        }
        if *rip != 0 {
            write!(f, " rip={rip:#x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use spec::Msr;

    #[test]
    fn the_last_exits_are_kept_and_the_last_one_comes_first() {
        let mut recorder = Recorder::default();
        assert_eq!(recorder.last_first().count(), 0);
        for n in 0..100 {
            let exit = Exit::MsrRead(Msr(n));
            recorder.record(
                Ticks(n.into()),
                Kind::of(&exit),
                &exit,
                0x1000 + u64::from(n),
            );
        }
        let shown: Vec<_> = recorder.last_first().map(|r| r.to_string()).collect();
        assert_eq!(shown.len(), KEPT);
        assert_eq!(shown[0], "at=99 rdmsr 0x63 rip=0x1063");
        assert_eq!(shown[KEPT - 1], "at=68 rdmsr 0x44 rip=0x1044");
    }

    #[test]
    fn what_is_not_known_is_not_shown() {
        let mut recorder = Recorder::default();
        recorder.record(Ticks(7), Kind::Hlt, &Exit::Hlt, 0);
        let shown: Vec<_> = recorder.last_first().map(|r| r.to_string()).collect();
        assert_eq!(shown, ["at=7 hlt"]);
    }
}
