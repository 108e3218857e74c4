//! Brings up the core that runs this: tables, interrupts, clock; then serves its interrupts and its sleep.
// UNSAFETY: installs the core's segment and interrupt tables and takes over its local APIC.
#![allow(unsafe_code)]

use crate::guest::Guest;
use crate::memory::AddressSpace;
use crate::{console, seat};
use core::ptr::NonNull;
use hw::apic::{LocalApic, vectors};
use hw::core_local::CoreLocal;
use hw::segments::{IstStacks, Segments};
use spec::apic::PhysicalApic;
use spec::{Hz, Ticks, Vector};

/// Vector of the local APIC's timer.
const TIMER: Vector = Vector(0x40);
/// Vector of the consoles' UARTs.
pub(crate) const UART: Vector = Vector(0x41);

/// Vector by which a core is told of interrupts that are posted to the vCPU that it runs. Where it does not run it any more, the interrupt
/// says nothing.
pub(crate) const POSTED: Vector = Vector(0x42);

/// Pages of an exception stack: room for a report.
const IST_PAGES: u64 = 4;

/// What belongs to one core.
pub(crate) struct Core {
    /// Its flags, which its interrupt handlers write
    pub(crate) local: &'static CoreLocal,
    /// Its descriptor tables
    pub(crate) segments: Segments,
    apic: LocalApic,
    armed: Option<Ticks>,
    /// How often the consoles are looked at, where they have no interrupt
    poll: Option<Ticks>,
    /// When they are looked at next
    look: Option<Ticks>,
    /// When the watchdogs are looked at next
    watch: Option<Ticks>,
    /// When the core must be back in the hypervisor for the one or the other
    back: Option<Ticks>,
    /// They have interrupted
    due: bool,
    /// The local APIC is lent to the guest: interrupts stay masked until it is back
    lent: bool,
    /// The vCPU that had it last, for interrupts that were still on their way when it came back
    borrower: Option<(&'static Guest, u32)>,
}

/// Makes the stacks on which a core takes exceptions that may strike anywhere.
///
/// # Errors
/// Frames ran out.
pub(crate) fn exception_stacks(
    space: &mut AddressSpace,
) -> Result<IstStacks, paging::Error<paging::Hva>> {
    Ok(IstStacks {
        nmi: space.stack(IST_PAGES)?,
        double_fault: space.stack(IST_PAGES)?,
        machine_check: space.stack(IST_PAGES)?,
    })
}

impl Core {
    /// Brings up this core, number `index` of the plan. `apic` is the page of local APIC registers; `None` if the core's local APIC
    /// cannot be used as the first core's is.
    ///
    /// # Safety
    /// Once per core, interrupts off; the stacks are this core's alone; `apic` is mapped uncached for local APICs alone.
    pub(crate) unsafe fn start(stacks: IstStacks, apic: NonNull<u8>, index: u32) -> Option<Self> {
        // SAFETY: per contract.
        let (segments, local, apic) = unsafe {
            let segments = hw::segments::install(stacks);
            let local = CoreLocal::install(hw::cpuid::apic_id(), index);
            (segments, local, LocalApic::take(apic, TIMER)?)
        };
        if hw::tsc::tsc_adjust() != Some(0)
            && let Some(seat) = seat::at(index)
        {
            seat.set_adjusted();
        }
        let (mode, timer) = apic.describe();
        crate::info!(
            "core: up apic_id={} apic={mode} timer={timer} idle={}",
            apic.id(),
            hw::idle::describe(local)
        );
        Some(Self {
            local,
            segments,
            apic,
            armed: None,
            poll: None,
            look: None,
            watch: None,
            back: None,
            due: false,
            lent: false,
            borrower: None,
        })
    }

    /// Has this core look at the consoles every millisecond of a TSC of `tsc`, since no interrupt of theirs reaches it.
    pub(crate) fn poll_consoles(&mut self, tsc: Hz) {
        self.poll = Some(tsc.ticks(1_000_000));
        self.look_at(Some(Ticks(0)), self.watch);
    }

    /// Serves a host interrupt that was acknowledged by a VM exit or noted by a handler.
    pub(crate) fn serve(&mut self, vector: Vector) {
        if vector == hw::apic::SPURIOUS {
            return;
        }
        self.heed(vector);
        self.apic.eoi();
    }

    fn heed(&mut self, vector: Vector) {
        match vector {
            // The loop does that, which a turn leaves for it.
            UART => {
                self.due = true;
                self.local.note_kick();
            }
            // It has ended a sleep or a guest's run: that was its purpose.
            TIMER => self.armed = None,
            POSTED => {}
            late => {
                if let Some((guest, vcpu)) = self.borrower {
                    guest.came_late(vcpu, late);
                }
            }
        }
    }

    /// Sleeps until an interrupt has been served or the core was kicked, at the latest until `deadline`.
    pub(crate) fn sleep(&mut self, deadline: Option<Ticks>) {
        debug_assert!(!self.lent, "a guest's interrupts would be taken");
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
        if self.lent {
            return;
        }
        hw::idle::breathe();
        self.serve_noted();
    }

    /// Whether the local APIC can be lent to a guest.
    pub(crate) fn can_lend(&self) -> bool {
        self.apic.can_lend() && !console::is_ours(self.local.index)
    }

    /// Whether the local APIC is lent to a guest.
    pub(crate) fn is_lent(&self) -> bool {
        self.lent
    }

    /// Lends the local APIC to the guest.
    ///
    /// # Safety
    /// [`Core::can_lend`]; one vCPU alone runs here until [`Core::take_back`], and with it its interrupts' handlers.
    pub(crate) unsafe fn lend(&mut self, state: &PhysicalApic, to: (&'static Guest, u32)) {
        self.armed = None;
        self.lent = true;
        self.borrower = Some(to);
        for vector in vectors(&self.apic.lend(self.local, state)) {
            self.heed(vector);
        }
    }

    /// Has the local APIC back, in which nothing is left of the guest's.
    pub(crate) fn take_back(&mut self) -> PhysicalApic {
        self.lent = false;
        self.apic.take_back(self.local)
    }

    /// Its last borrower begins anew, and is not to have what was meant for who it was.
    pub(crate) fn forget_borrower(&mut self) {
        self.borrower = None;
    }

    /// Raises a vector in the local APIC that is lent.
    pub(crate) fn self_ipi(&mut self, vector: Vector) {
        self.apic.self_ipi(vector);
    }

    /// Sets the timer's entry of the local vector table, and the spurious-interrupt vector register, of the local APIC that is lent.
    pub(crate) fn program(&mut self, lvt_timer: u32, svr: u32) {
        self.apic.program(lvt_timer, svr);
    }

    /// Ends the interrupt that is in service in the local APIC that is lent.
    pub(crate) fn end_in_service(&mut self) -> Option<Vector> {
        self.apic.end_in_service()
    }

    /// When this core must be back in the hypervisor, given when its guest wants it to be.
    #[inline]
    pub(crate) fn latest(&self, deadline: Option<Ticks>) -> Option<Ticks> {
        match self.back {
            None => deadline,
            Some(back) => Some(deadline.map_or(back, |d| d.min(back))),
        }
    }

    /// Whether the consoles, if they are this core's, are to be served.
    pub(crate) fn has_consoles_due(&self) -> bool {
        self.due || self.look.is_some_and(|look| look <= hw::tsc::now())
    }

    /// Serves the consoles, which are this core's. `tell` has it tell its times.
    pub(crate) fn serve_consoles(&mut self, tell: &mut dyn FnMut()) {
        let now = hw::tsc::now();
        self.due = false;
        let asked = console::serve(tell);
        let polled = self.poll.map(|period| now.after(period));
        let look = asked.into_iter().chain(polled).min();
        self.look_at(look, self.watch);
    }

    /// Whether the watchdogs are to be looked at, as far as was known when they last were.
    pub(crate) fn has_watchdogs_due(&self, now: Ticks) -> bool {
        self.watch.is_some_and(|watch| watch <= now)
    }

    /// The watchdogs, over which this core watches, are to be looked at again at `next`.
    pub(crate) fn watch_at(&mut self, next: Option<Ticks>) {
        self.look_at(self.look, next);
    }

    fn look_at(&mut self, consoles: Option<Ticks>, watchdogs: Option<Ticks>) {
        (self.look, self.watch) = (consoles, watchdogs);
        self.back = consoles.into_iter().chain(watchdogs).min();
    }

    fn serve_noted(&mut self) {
        while let Some(vector) = self.local.take() {
            self.serve(vector);
        }
        if self.back.is_some_and(|back| back <= hw::tsc::now()) {
            self.local.note_kick();
        }
    }
}
