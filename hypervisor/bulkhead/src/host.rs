//! Brings up the core that runs this: tables, interrupts, clock.
// UNSAFETY: installs the core's segment and interrupt tables and takes over its interrupt controllers.
#![allow(unsafe_code)]

use crate::console::{COM1_PIN, CONSOLE};
use crate::memory::AddressSpace;
use hw::apic::LocalApic;
use hw::core_local::CoreLocal;
use hw::ioapic::{DEFAULT_BASE, HostIoApic};
use hw::segments::{IstStacks, Segments};
use spec::{Hz, Ticks, Vector};

/// Vector of the local APIC's timer.
const TIMER: Vector = Vector(0x40);
/// Vector of the console's UART.
const UART: Vector = Vector(0x41);

/// Pages of an exception stack: room for a report.
const IST_PAGES: u64 = 4;

/// What belongs to one core.
#[derive(Debug)]
pub(crate) struct Core {
    /// Its mailbox
    pub(crate) local: &'static CoreLocal,
    /// Its descriptor tables
    pub(crate) segments: Segments,
    apic: LocalApic,
    armed: Option<Ticks>,
    /// When the UART is looked at next, where it has no interrupt
    poll: Option<Poll>,
}

/// A clock for what has no interrupt.
#[derive(Clone, Copy, Debug)]
struct Poll {
    period: Ticks,
    next: Ticks,
}

impl Core {
    /// Brings up this core: the first, which also serves the console. `tsc` is the frequency of the TSC.
    ///
    /// # Errors
    /// What could not be mapped.
    pub(crate) fn start(
        space: &mut AddressSpace,
        tsc: Hz,
    ) -> Result<Self, paging::Error<paging::Hva>> {
        let stacks = IstStacks {
            nmi: space.stack(IST_PAGES)?,
            double_fault: space.stack(IST_PAGES)?,
            machine_check: space.stack(IST_PAGES)?,
        };
        hw::trap::on_fatal(crate::stop::on_exception);
        // SAFETY: once per core, interrupts off since the loader; the stacks are made for this alone.
        let (segments, local) = unsafe {
            let segments = hw::segments::install(stacks);
            (segments, CoreLocal::install(hw::cpuid::apic_id()))
        };
        hw::pic::mask();
        let page = space.map_device(hw::apic::mmio_base())?;
        // SAFETY: the page was just mapped for this alone.
        let apic = unsafe { LocalApic::take(page, TIMER) };
        let (mode, timer) = apic.describe();
        crate::info!("core: up apic_id={} apic={mode} timer={timer}", apic.id());

        let page = space.map_device(DEFAULT_BASE)?;
        // SAFETY: as above.
        let routed = unsafe { HostIoApic::take(page) }
            .is_some_and(|mut chip| chip.route_edge(COM1_PIN, UART, apic.id()));
        if routed {
            crate::info!("console: uart=com1 baud=115200 core={}", apic.id());
            CONSOLE.lock().listen();
        } else {
            crate::warning!(
                "console: no I/O APIC at {DEFAULT_BASE:#x} that reaches core {}, so the UART is polled every millisecond",
                apic.id()
            );
        }
        Ok(Self {
            local,
            segments,
            apic,
            armed: None,
            poll: (!routed).then(|| Poll {
                period: tsc.ticks(1_000_000),
                next: Ticks(0),
            }),
        })
    }

    /// Serves a host interrupt that was acknowledged by a VM exit or noted by a handler.
    pub(crate) fn serve(&mut self, vector: Vector) {
        match vector {
            UART => CONSOLE.lock().serve(),
            // It has ended a sleep or a guest's run: that was its purpose.
            TIMER => self.armed = None,
            hw::apic::SPURIOUS => return,
            _ => {}
        }
        self.apic.eoi();
    }

    /// Sleeps until an interrupt has been served, at the latest until `deadline`.
    pub(crate) fn sleep(&mut self, deadline: Option<Ticks>) {
        let deadline = self.latest(deadline);
        if self.armed != deadline {
            self.apic.set_timer(deadline, hw::tsc::now());
            self.armed = deadline;
        }
        hw::idle::wait(self.local);
        self.serve_noted();
    }

    /// Takes what interrupts are pending: for a guest whose own timer ends each of its stays before they would.
    pub(crate) fn breathe(&mut self) {
        hw::idle::breathe();
        self.serve_noted();
    }

    /// When this core must be back in the hypervisor, given when its guest wants it to be.
    #[inline]
    pub(crate) fn latest(&self, deadline: Option<Ticks>) -> Option<Ticks> {
        match self.poll {
            None => deadline,
            Some(Poll { next, .. }) => Some(deadline.map_or(next, |d| d.min(next))),
        }
    }

    fn serve_noted(&mut self) {
        while let Some(vector) = self.local.take() {
            self.serve(vector);
        }
        if let Some(poll) = self.poll.as_mut() {
            poll.next = hw::tsc::now().after(poll.period);
            CONSOLE.lock().serve();
        }
    }
}
