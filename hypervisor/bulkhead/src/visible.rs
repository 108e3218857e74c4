//! What other cores may see of a vCPU: its core alone writes it.

use crate::guest::Guest;
use crate::log::{self, Level};
use core::sync::atomic::{AtomicU8, Ordering};
use plan::Exits;
use spec::Ticks;
use spec::apic::Carrier;
use vm::{Kind, Promise, Standing};

/// One vCPU, as the monitor shows it.
#[derive(Debug, Default)]
pub(crate) struct Visible {
    carrier: AtomicU8,
    promise: Promise,
}

impl Visible {
    /// Its VM is at rest.
    pub(crate) fn clear(&self) {
        self.set_carrier(Carrier::Software);
        self.promise.clear();
    }

    /// It begins to run from the beginning, as a vCPU of `guest`. One that its VM starts up again has booted before.
    pub(crate) fn begin(&self, now: Ticks, guest: &Guest) {
        if let Exits::None { boot } = guest.plan.exits
            && !self.promise.has_begun()
        {
            self.promise.restart(now, guest.tsc.ticks(boot));
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
    pub(crate) fn promise(&self, now: Ticks) -> Standing {
        self.promise.snapshot(now)
    }

    /// The vCPU `vcpu` of `guest` has made an exit, and is to make none once it has booted. IPIs to others are no breach: only the
    /// hypervisor can send them, and they are counted apart.
    #[cold]
    pub(crate) fn breach(&self, (guest, vcpu): (&Guest, u32), kind: Kind, now: Ticks) {
        if kind == Kind::Icr && guest.plan.vcpus > 1 {
            return;
        }
        // As many ticks are a second.
        let second = Ticks(guest.tsc.0);
        if let Some(report) = self.promise.exit(kind, now, second) {
            log::line(
                Level::Warn,
                &guest.vm.name,
                format_args!("vm: vcpu={vcpu} has exited although its plan says none: {report}"),
            );
        }
    }
}
