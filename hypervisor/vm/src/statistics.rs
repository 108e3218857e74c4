//! What a vCPU's exits were and what they cost: counted always, printed never on the way.

use core::fmt;
use exits::Exit;
use spec::Ticks;

macro_rules! kinds {
    ($($kind:ident $name:literal $($pattern:pat_param)|+,)*) => {
        /// Exits as the statistics tell them apart.
        #[derive(Clone, Copy)]
        #[repr(usize)]
        enum Kind { $($kind),* }

        const NAMES: &[&str] = &[$($name),*];

        impl Kind {
            #[inline]
            const fn of(exit: &Exit) -> Self {
                match exit { $($($pattern)|+ => Kind::$kind,)* }
            }
        }
    };
}

kinds! {
    Cpuid "cpuid" Exit::Cpuid,
    Port "port" Exit::Port(_) | Exit::PortString(_),
    GpaFault "gpa_fault" Exit::GpaFault(_),
    MsrRead "rdmsr" Exit::MsrRead(_),
    MsrWrite "wrmsr" Exit::MsrWrite(_),
    Control "control" Exit::Cr0Write(_) | Exit::Cr4Write(_) | Exit::EferWrite(_) | Exit::Cr8Read(_) | Exit::Cr8Write(_) | Exit::Xsetbv,
    Hlt "hlt" Exit::Hlt,
    Window "window" Exit::InterruptWindow | Exit::NmiWindow,
    Timer "timer" Exit::TimerExpired,
    Host "host_interrupt" Exit::HostInterrupt(_) | Exit::HostNmi,
    Exception "exception" Exit::Exception { .. },
    Other "other" Exit::Hypercall | Exit::CacheFlush | Exit::Undefined | Exit::Forbidden | Exit::TripleFault | Exit::TaskSwitch
        | Exit::EntryFailed(_) | Exit::Unknown(_),
}

/// Counters of one vCPU.
#[derive(Debug, Default)]
pub struct Statistics {
    counts: [u64; NAMES.len()],
    /// Ticks spent in root operation for this vCPU, from its exits to its entries
    pub root: u64,
}

impl Statistics {
    /// Counts an exit.
    #[inline]
    pub fn count(&mut self, exit: &Exit) {
        let count = &mut self.counts[Kind::of(exit) as usize];
        *count = count.wrapping_add(1);
    }

    /// Adds the time between an exit and the next entry. Sixty-four bits of ticks last for centuries.
    #[inline]
    pub fn spent(&mut self, from: Ticks, to: Ticks) {
        self.root = self.root.wrapping_add(to.0.wrapping_sub(from.0));
    }

    /// All exits.
    #[must_use]
    pub fn exits(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exits={} root_ticks={}", self.exits(), self.root)?;
        for (name, count) in NAMES.iter().zip(self.counts) {
            if count != 0 {
                write!(f, " {name}={count}")?;
            }
        }
        Ok(())
    }
}
