//! The host's local APICs, in x2APIC mode where there is one: a core's own, which it may lend to a guest, and the messages between
//! cores.
// UNSAFETY: MSR and MMIO accesses to the local APIC.
#![allow(unsafe_code)]

mod lent;
mod send;

pub use lent::{VectorSet, vectors};
pub use send::{send_fixed, send_init, send_nmi, send_start_up};

use crate::{cpuid, msr, tsc};
use core::arch::asm;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use spec::apic::{FIRST_VECTOR, Lvt, Svr, register};
use spec::cpuid::Leaf1Ecx;
use spec::msr::{APIC_BASE, ApicBase, TSC_DEADLINE, X2APIC_FIRST};
use spec::{Hpa, Msr, Ticks, Vector};

/// Divide configuration 1011b: the timer counts every cycle of its clock.
const DIVIDE_BY_1: u32 = 0b1011;

/// Vector of spurious interrupts, which need no EOI: one that no other interrupt can have (SDM vol. 3, "Valid Interrupt Vectors")
/// and no exception has, or an interrupt that a guest sends to this core would be taken for a spurious one and never be ended.
pub const SPURIOUS: Vector = Vector(0x0f);
const _: () = assert!(SPURIOUS.0 < FIRST_VECTOR);
const HOST_SVR: u32 = Svr::ENABLE.bits() | SPURIOUS.0 as u32;

/// xAPIC ids have eight bits, and 255 means everyone.
const XAPIC_LAST_ID: u32 = 254;

#[derive(Clone, Copy, Debug)]
enum Access {
    X2apic,
    Xapic(NonNull<u32>),
}

/// [`ACCESS`] before the first core has chosen.
const UNDECIDED: usize = 0;
/// [`ACCESS`] in x2APIC mode; any other value is the address of the mapped page.
const X2APIC: usize = 1;

/// How all cores reach their local APICs, as the first of them has found it.
static ACCESS: AtomicUsize = AtomicUsize::new(UNDECIDED);
/// Where the first core's registers lie in physical memory.
static FIRST_BASE: AtomicU64 = AtomicU64::new(0);

fn access() -> Option<Access> {
    match ACCESS.load(Ordering::Relaxed) {
        UNDECIDED => None,
        X2APIC => Some(Access::X2apic),
        page => NonNull::new(page as *mut u32).map(Access::Xapic),
    }
}

#[derive(Clone, Copy, Debug)]
enum Timer {
    /// The deadline is a TSC value.
    Deadline,
    /// A count-down; a TSC tick is `counts / 2^32` counts.
    OneShot { counts: u64 },
}

/// This core's local APIC.
#[derive(Debug)]
pub struct LocalApic {
    access: Access,
    timer: Timer,
    timer_vector: Vector,
}

/// Physical address of the xAPIC registers.
#[must_use]
pub fn mmio_base() -> Hpa {
    // SAFETY: the MSR exists on every processor with a local APIC, which VT-x has.
    Hpa(unsafe { msr::read(APIC_BASE) } & 0x000f_ffff_ffff_f000)
}

impl LocalApic {
    /// Takes over the local APIC of this core: enabled, all local sources masked, timer stopped. All cores use theirs in the same
    /// mode, x2APIC if the first has it; `None` if this core cannot: it has no x2APIC, or an id beyond 254 without one, or its
    /// registers lie elsewhere.
    ///
    /// # Safety
    /// Called once per core, interrupts off, on the first alone at first; `mmio` is the page of the first core's [`mmio_base`],
    /// mapped uncached for good.
    pub unsafe fn take(mmio: NonNull<u8>, timer_vector: Vector) -> Option<Self> {
        // SAFETY: as in `mmio_base`.
        let base = unsafe { msr::read(APIC_BASE) };
        let has_x2apic = cpuid::features().contains(Leaf1Ecx::X2APIC);
        let access = match access() {
            Some(access) => access,
            None => {
                FIRST_BASE.store(mmio_base().0, Ordering::Relaxed);
                let chosen = if has_x2apic {
                    X2APIC
                } else {
                    mmio.as_ptr() as usize
                };
                ACCESS.store(chosen, Ordering::Relaxed);
                self::access()?
            }
        };
        let on = match access {
            Access::X2apic if has_x2apic => ApicBase::EN | ApicBase::EXTD,
            // There is no way back from x2APIC mode but by disabling (SDM vol. 3, "x2APIC States").
            Access::Xapic(_)
                if base & ApicBase::EXTD.bits() == 0
                    && mmio_base().0 == FIRST_BASE.load(Ordering::Relaxed)
                    && cpuid::apic_id() <= XAPIC_LAST_ID =>
            {
                ApicBase::EN
            }
            _ => return None,
        };
        // SAFETY: the transition from xAPIC to x2APIC is legal at any time.
        unsafe { msr::write(APIC_BASE, base | on.bits()) };
        let mut apic = Self {
            access,
            timer: Timer::Deadline,
            timer_vector,
        };
        apic.write(register::SVR, HOST_SVR);
        apic.write(register::TPR, 0);
        // Bits 23:16 of the version register number the last entry there is.
        let last = apic.read(register::VERSION) >> 16 & 0xff;
        for (entry, r) in [
            (1, register::LVT_LINT0),
            (2, register::LVT_LINT1),
            (3, register::LVT_ERROR),
            (4, register::LVT_PERFORMANCE),
            (5, register::LVT_THERMAL),
            (6, register::LVT_CMCI),
        ] {
            if entry <= last {
                apic.write(r, Lvt::MASKED.bits());
            }
        }
        if cpuid::features().contains(Leaf1Ecx::TSC_DEADLINE) {
            apic.write(register::LVT_TIMER, apic.deadline_mode());
            // In xAPIC mode that was a store, which the first WRMSR of a deadline must not overtake (SDM vol. 3, "TSC-Deadline
            // Mode").
            // SAFETY: a fence changes nothing but the order of accesses.
            unsafe { asm!("mfence", options(nostack, preserves_flags)) };
        } else {
            apic.timer = apic.calibrate();
            apic.write(register::LVT_TIMER, u32::from(timer_vector.0));
        }
        Some(apic)
    }

    /// "x2APIC" or "xAPIC", and the kind of timer, for the boot log.
    #[must_use]
    pub fn describe(&self) -> (&'static str, &'static str) {
        (
            match self.access {
                Access::X2apic => "x2apic",
                Access::Xapic(_) => "xapic",
            },
            match self.timer {
                Timer::Deadline => "tsc-deadline",
                Timer::OneShot { .. } => "one-shot",
            },
        )
    }

    /// This core's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        match self.access {
            Access::X2apic => self.read(register::ID),
            Access::Xapic(_) => self.read(register::ID) >> 24,
        }
    }

    /// The vector that the timer raises.
    #[must_use]
    pub fn timer_vector(&self) -> Vector {
        self.timer_vector
    }

    /// Ends the interrupt in service.
    pub fn eoi(&mut self) {
        self.write(register::EOI, 0);
    }

    /// Raises the timer's vector at `deadline`, at once if that has passed; `None` stops it.
    pub fn set_timer(&mut self, deadline: Option<Ticks>, now: Ticks) {
        match self.timer {
            Timer::Deadline => {
                // Zero disarms; a deadline of zero is long past, and one tick later as well.
                let value = deadline.map_or(0, |d| d.0.max(1));
                // SAFETY: CPUID shows TSC-deadline mode; the handler of its vector only notes it.
                unsafe { msr::write(TSC_DEADLINE, value) };
            }
            Timer::OneShot { counts } => {
                let count = deadline.map_or(0, |d| {
                    let ticks = d.since(now).0;
                    let n = (u128::from(ticks) * u128::from(counts)) >> 32;
                    // Rounded up, or the sleeper would be woken early and sleep again; a distance beyond the
                    // counter wakes early once, which is harmless.
                    u32::try_from(n + 1).unwrap_or(u32::MAX)
                });
                self.write(register::TIMER_INITIAL, count);
            }
        }
    }

    /// The host's LVT timer, where it is in TSC-deadline mode.
    fn deadline_mode(&self) -> u32 {
        Lvt::TSC_DEADLINE.bits() | u32::from(self.timer_vector.0)
    }

    /// Counts of the timer's clock for each TSC tick, measured over a million ticks.
    fn calibrate(&mut self) -> Timer {
        const SPAN: u64 = 1_000_000;
        self.write(register::TIMER_DIVIDE, DIVIDE_BY_1);
        self.write(register::LVT_TIMER, Lvt::MASKED.bits());
        self.write(register::TIMER_INITIAL, u32::MAX);
        let start = tsc::now();
        tsc::spin(Ticks(SPAN));
        let counted = u64::from(u32::MAX - self.read(register::TIMER_CURRENT));
        let took = tsc::now().since(start).0.max(1);
        self.write(register::TIMER_INITIAL, 0);
        Timer::OneShot {
            counts: ((counted << 32) / took).max(1),
        }
    }

    fn read(&self, r: u8) -> u32 {
        self.access.read(r)
    }

    fn write(&mut self, r: u8, value: u32) {
        self.access.write(r, value);
    }
}

impl Access {
    fn read(self, r: u8) -> u32 {
        match self {
            // SAFETY: in x2APIC mode each register named in this file exists, but for ICR_HIGH, which is not read.
            Access::X2apic => unsafe { msr::read(Msr(X2APIC_FIRST.0 + u32::from(r))) as u32 },
            // SAFETY: `take`'s caller mapped the page; registers are 16 bytes apart.
            Access::Xapic(p) => unsafe { p.add(4 * usize::from(r)).read_volatile() },
        }
    }

    fn write(self, r: u8, value: u32) {
        match self {
            // SAFETY: values written in this file are valid for their registers and open no unhandled interrupt.
            Access::X2apic => unsafe {
                msr::write(Msr(X2APIC_FIRST.0 + u32::from(r)), u64::from(value))
            },
            // SAFETY: as above, on the mapped page.
            Access::Xapic(p) => unsafe { p.add(4 * usize::from(r)).write_volatile(value) },
        }
    }
}
