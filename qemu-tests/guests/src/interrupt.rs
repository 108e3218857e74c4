//! Interrupts: each is counted, timed and ended.

use crate::slot::Slot;
use crate::trap::Frame;
use crate::{cpu, lapic, smp};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use spec::Vector;
use spec::cpu::vector;

/// By processor and vector
static COUNTS: [[AtomicU64; 256]; smp::MOST] =
    [const { [const { AtomicU64::new(0) }; 256] }; smp::MOST];

/// The most that the list of arrivals keeps.
const MOST: usize = 64;
static ARRIVED: AtomicUsize = AtomicUsize::new(0);
static ARRIVALS: [Slot<Arrival>; MOST] = [const {
    Slot::new(Arrival {
        vector: 0,
        tsc: 0,
        rip: 0,
    })
}; MOST];

/// What is done in the handler beside.
static ALSO: Slot<fn(u8)> = Slot::new(nothing);

/// An interrupt that came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Which
    pub vector: u8,
    /// When
    pub tsc: u64,
    /// Where it interrupted
    pub rip: u64,
}

fn nothing(_: u8) {}

pub(crate) fn on_interrupt(vector: Vector, frame: &Frame) {
    let tsc = cpu::tsc();
    if vector.0 == lapic::SPURIOUS && !lapic::is_in_service_here(vector.0) {
        // Whoever raises a priority late gets one, and is not to end it (SDM vol. 3, "Spurious Interrupt").
        return;
    }
    COUNTS[smp::here()][usize::from(vector.0)].fetch_add(1, Ordering::Release);
    let at = ARRIVED.fetch_add(1, Ordering::Relaxed);
    if let Some(slot) = ARRIVALS.get(at) {
        slot.set(Arrival {
            vector: vector.0,
            tsc,
            rip: frame.rip,
        });
    }
    ALSO.get()(vector.0);
    if vector != vector::NMI {
        lapic::end_of_interrupt();
    }
}

/// Forgets what came, and what handlers do beside.
pub fn forget() {
    ARRIVED.store(0, Ordering::Relaxed);
    for count in COUNTS.iter().flatten() {
        count.store(0, Ordering::Relaxed);
    }
    ALSO.set(nothing);
}

/// Has handlers call this before they end the interrupt.
pub fn also(call: fn(u8)) {
    ALSO.set(call);
}

/// How often a vector came, on the processor that asks.
#[must_use]
pub fn count(vector: u8) -> u64 {
    count_on(smp::here(), vector)
}

/// How often a vector came on a processor.
#[must_use]
pub fn count_on(processor: usize, vector: u8) -> u64 {
    COUNTS[processor][usize::from(vector)].load(Ordering::Acquire)
}

/// How many came at all.
#[must_use]
pub fn total() -> usize {
    ARRIVED.load(Ordering::Relaxed)
}

/// One that came, in their order.
#[must_use]
pub fn arrival(at: usize) -> Option<Arrival> {
    (at < total())
        .then(|| ARRIVALS.get(at).map(Slot::get))
        .flatten()
}

/// Spins with interrupts on until `vector` has come `times`, or `ticks` have passed; says whether it has.
pub fn spin(vector: u8, times: u64, ticks: u64) -> bool {
    let until = cpu::tsc() + ticks;
    cpu::sti();
    while count(vector) < times && cpu::tsc() < until {
        core::hint::spin_loop();
    }
    cpu::cli();
    count(vector) >= times
}
