//! Who carries a vCPU's local APIC: changes that before an entry, and hands over what was requested meanwhile.
// UNSAFETY: lends the core's local APIC to a guest.
#![allow(unsafe_code)]

use crate::host::Core;
use crate::log::{self, Level};
use crate::memory;
use crate::vcpu::Vcpu;
use spec::apic::Carrier;
use spec::state::Activity;
use spec::{Ticks, Vector};
use vmx::{Carried, Posted};

/// What may carry a vCPU's local APIC, and what does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carrying {
    /// The most that its plan, its core and the processor allow
    pub(crate) best: Carrier,
    /// The processor can deliver virtual interrupts
    pub(crate) accelerates: bool,
    /// Interrupts can be posted to it while it runs
    pub(crate) posts: bool,
    /// What its control structure is set up for
    pub(crate) now: Carrier,
    /// Ends of interrupts exit, under [`Carrier::Direct`]
    ends_exit: bool,
    /// What has been told in the log, a bit for each carrier
    told: u8,
}

impl Carrying {
    /// For a vCPU that runs where no more than `best` is possible.
    pub(crate) const fn new(best: Carrier, accelerates: bool, posts: bool) -> Self {
        Self {
            best,
            accelerates,
            posts,
            now: Carrier::Software,
            ends_exit: false,
            told: 0,
        }
    }

    /// Its VM is started anew. What was told is not told again: a guest that resets itself without end could fill the log.
    pub(crate) const fn begin(&mut self) {
        self.now = Carrier::Software;
    }
}

impl Vcpu {
    /// Has the local APIC carried by what can carry it now. Its control structure is current, and the core holds its registers.
    #[cold]
    #[inline(never)]
    pub(crate) fn settle(&mut self, core: &mut Core, now: Ticks) {
        self.software.unsettled = false;
        if self.vmx.is_none() {
            return;
        }
        // Before the mailbox is looked into: the I/O APIC may answer the end of an interrupt with the next.
        if self.software.lapic.take_owed_end() {
            self.end(core);
        }
        // One that sleeps in our eyes is woken by us.
        let best = match self.software.activity {
            Activity::Active => self.carrying.best,
            _ => self.carrying.best.min(Carrier::Accelerated),
        };
        let accelerates = self.carrying.accelerates;
        let wanted = self.software.lapic.suits(best, accelerates);
        if wanted == self.carrying.now && wanted == self.software.lapic.carrier() {
            self.keep(core);
        } else {
            self.retrieve(core, now);
            // What came back may change it.
            let wanted = self.software.lapic.suits(best, accelerates);
            self.lend(core, wanted);
        }
        let carrying = self.carrying;
        if carrying.now < carrying.best {
            // An interrupt that is in service ends, and one that sleeps is woken, without our being asked.
            self.software.unsettled =
                self.software.lapic.is_serving() || self.software.activity != Activity::Active;
            self.tell();
        } else if carrying.best == Carrier::Direct {
            self.tell();
        }
    }

    /// The same carrier goes on: it may have to learn of a write that exited.
    fn keep(&mut self, core: &mut Core) {
        if self.carrying.now == Carrier::Direct {
            let programmed = self.software.lapic.programmed();
            core.program(programmed.lvt_timer, programmed.svr);
        }
    }

    /// Has the local APIC back in software. Does nothing where it is.
    pub(crate) fn retrieve(&mut self, core: &mut Core, now: Ticks) {
        if self.carrying.now == Carrier::Software {
            return;
        }
        // From here on nobody reaches the processor with an interrupt for this vCPU.
        self.mailbox().withdraw();
        // Or its interrupt would come back as one in service.
        if self.software.lapic.take_owed_end() {
            self.end(core);
        }
        let lapic = &mut self.software.lapic;
        match self.carrying.now {
            Carrier::Direct => {
                let state = core.take_back();
                // Else it has been reset, and nothing of that is left.
                if lapic.carrier() == Carrier::Direct {
                    lapic.take_from_processor(state, now);
                }
            }
            Carrier::Accelerated if lapic.carrier() == Carrier::Accelerated => {
                lapic.take_from_page();
            }
            Carrier::Accelerated | Carrier::Software => {}
        }
        self.carry(&Carried::Software {
            msr_bitmap: self.guest.structures.pointers.msr_bitmap,
        });
        self.software.unsettled = true;
    }

    /// Gives the local APIC, which is in software, to `to`.
    fn lend(&mut self, core: &mut Core, to: Carrier) {
        let structures = &self.guest.structures;
        match to {
            Carrier::Software => {}
            Carrier::Accelerated => {
                let page = structures.pages.get(self.software.index as usize);
                let (Some(page), Some(msr_bitmap)) = (page, structures.accelerated) else {
                    return;
                };
                let (status, eoi_exits) = self.software.lapic.lend_to_page(page);
                let posted = self.carrying.posts.then(|| Posted {
                    descriptor: memory::physical(self.mailbox()),
                    vector: crate::host::POSTED,
                });
                self.carry(&Carried::Accelerated {
                    msr_bitmap,
                    page: memory::physical(page),
                    posted,
                    requesting: status.requesting,
                    in_service: status.in_service,
                    eoi_exits,
                });
            }
            Carrier::Direct => {
                let state = self.software.lapic.lend_to_processor();
                // SAFETY: this vCPU alone runs on this core, whose interrupts are masked until `retrieve`.
                unsafe { core.lend(&state, (self.guest, self.software.index)) };
                self.mailbox().raise_at(core.local.apic_id);
                self.carrying.ends_exit = false;
                self.carry(&Carried::Direct {
                    msr_bitmap: structures.direct.usual,
                });
            }
        }
    }

    /// Whether interrupts can be posted to it while it runs.
    pub(crate) fn takes_posts(&self) -> bool {
        self.carrying.posts && self.carrying.now == Carrier::Accelerated
    }

    fn carry(&mut self, carried: &Carried) {
        let Some(vmx) = self.vmx.as_mut() else {
            return;
        };
        let sleeps = vmx.carry(&mut self.vmcs, carried);
        self.carrying.now = vmx.carrier();
        self.visible().set_carrier(self.carrying.now);
        self.forget_timer();
        // An INIT that has ended the sleep has come before this.
        if sleeps && self.software.activity == Activity::Active {
            self.fall_asleep();
        }
    }

    /// Whether [`Vcpu::hand_over`] has something to do.
    #[inline]
    pub(crate) fn has_to_hand_over(&self) -> bool {
        self.software.lapic.has_requests()
            || self.software.activity != Activity::Active
            // Its exits are few.
            || self.carrying.now == Carrier::Direct
    }

    /// Hands over what was requested since the last entry to whom carries the local APIC.
    #[inline(never)]
    pub(crate) fn hand_over(&mut self, core: &mut Core) {
        let Some(vmx) = self.vmx.as_mut() else {
            return;
        };
        let lapic = &mut self.software.lapic;
        match self.carrying.now {
            Carrier::Software => {}
            Carrier::Accelerated => {
                if lapic.has_requests() {
                    let handed = lapic.hand_over();
                    if let Some(bitmaps) = handed.eoi_exits {
                        vmx.set_eoi_exits(&mut self.vmcs, bitmaps);
                    }
                    vmx.request(&mut self.vmcs, handed.requesting);
                }
                self.wake_if_interrupted();
            }
            Carrier::Direct => {
                if lapic.has_requests() {
                    for (base, word) in (0..).step_by(64).zip(lapic.take_requests()) {
                        let mut bits = word;
                        while bits != 0 {
                            // Four words of 64 bits: the number fits.
                            core.self_ipi(Vector((base + bits.trailing_zeros()) as u8));
                            bits &= bits - 1;
                        }
                    }
                }
                self.watch_ends();
            }
        }
    }

    /// The guest has ended an interrupt, and that has exited.
    #[cold]
    fn end(&mut self, core: &mut Core) {
        if let Some(vector) = core.end_in_service() {
            self.guest.vm.end_direct(&mut self.software, vector);
        }
    }

    /// Has ends of interrupts exit while one of them is to be told to the I/O APIC.
    fn watch_ends(&mut self) {
        let watch = self.software.lapic.has_level_in_flight();
        if watch == self.carrying.ends_exit {
            return;
        }
        self.carrying.ends_exit = watch;
        let direct = self.guest.structures.direct;
        if let Some(vmx) = self.vmx.as_mut() {
            let bitmap = if watch {
                direct.ends_exit
            } else {
                direct.usual
            };
            vmx.set_msr_bitmap(&mut self.vmcs, bitmap);
        }
    }

    /// Says in the log what carries the local APIC, each carrier once, or a guest could fill the log.
    fn tell(&mut self) {
        let now = self.carrying.now;
        let bit = 1 << now as u8;
        if self.carrying.told & bit != 0 {
            return;
        }
        self.carrying.told |= bit;
        let why = match now {
            Carrier::Direct => None,
            _ => self.software.lapic.why_not_direct(),
        };
        log::line(
            Level::Info,
            &self.guest.vm.name,
            format_args!(
                "vm: vcpu={} apic={now}{}{}",
                self.software.index,
                if why.is_some() { ": " } else { "" },
                why.unwrap_or_default()
            ),
        );
    }
}
