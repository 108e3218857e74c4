//! What other cores may see of a vCPU: its core alone writes it.

use crate::log::{self, Level};
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use spec::apic::Carrier;
use spec::{Hz, Ticks};
use vm::{Kind, Promise, Standing};

/// A vCPU that has made no exit for so long has booted, in nanoseconds. A kernel is silent for a second or two on slow machines.
const SILENCE: u64 = 10_000_000_000;

/// One vCPU, as the monitor shows it.
#[derive(Debug, Default)]
pub(crate) struct Visible {
    carrier: AtomicU8,
    /// When its last exit was; zero if it has not begun
    last_exit: AtomicU64,
    promise: Promise,
}

impl Visible {
    /// Its VM is at rest.
    pub(crate) fn clear(&self) {
        self.set_carrier(Carrier::Software);
        self.last_exit.store(0, Ordering::Relaxed);
        self.promise.clear();
    }

    /// It begins to run from the beginning.
    pub(crate) fn begin(&self, now: Ticks) {
        self.exited(now);
        self.promise.restart(now);
    }

    /// It has made an exit.
    #[inline]
    pub(crate) fn exited(&self, now: Ticks) {
        self.last_exit.store(now.0, Ordering::Relaxed);
    }

    /// How long ago its last exit was, or its beginning if it has made none.
    pub(crate) fn since_exit(&self, now: Ticks) -> Ticks {
        match self.last_exit.load(Ordering::Relaxed) {
            0 => Ticks(0),
            last => now.since(Ticks(last)),
        }
    }

    /// Who carries its local APIC.
    pub(crate) fn carrier(&self) -> Carrier {
        match self.carrier.load(Ordering::Relaxed) {
            2 => Carrier::Direct,
            1 => Carrier::Accelerated,
            _ => Carrier::Software,
        }
    }

    pub(crate) fn set_carrier(&self, carrier: Carrier) {
        let number = match carrier {
            Carrier::Software => 0,
            Carrier::Accelerated => 1,
            Carrier::Direct => 2,
        };
        self.carrier.store(number, Ordering::Relaxed);
    }

    /// How its promise to make no exit stands.
    pub(crate) fn promise(&self, now: Ticks, tsc: Hz) -> Standing {
        self.promise.snapshot(now, tsc.ticks(SILENCE))
    }

    /// It has made an exit although it is to make none. IPIs to others are no breach: only the hypervisor can send them, and they are
    /// counted apart.
    #[cold]
    pub(crate) fn breach(&self, (vm, vcpu): (&str, u32), kind: Kind, now: Ticks, tsc: Hz) {
        if kind == Kind::Icr {
            return;
        }
        if let Some(report) = self.promise.exit(kind, now, tsc.ticks(SILENCE)) {
            log::line(
                Level::Warn,
                vm,
                format_args!("vm: vcpu={vcpu} has exited although its plan says none: {report}"),
            );
        }
    }
}
