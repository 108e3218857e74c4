//! What a decision of the scheduler costs: the hypervisor's own code, on a core that nothing else uses.
//!
//! ```text
//! decide: vcpus=16 of=weights what=wake mean=312 worst=420 steps=5
//! ```
//!
//! So many vCPUs on one core, all with weights, all with reservations, or all with windows. `wake` is a wake-up and the
//! decision after it, `end` the decision when the clock shows what the last one said, `block` that one goes to sleep, and
//! the decision after it; `burst` is the decision when the timers of all go off at once. Mean and worst of many are ticks, less what an
//! empty measurement takes; `steps` are the most level moves in heaps in one.
#![no_std]
#![no_main]
// UNSAFETY: sets memory aside for the heap.
#![allow(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use guests::random::Random;
use guests::{cpu, heap, program, say};
use sched::{Decision, Id, Reservation, Scheduler, Share, Table, Weight, Window};
use spec::Ticks;

program!(main);

/// RAM that nothing else uses.
const HEAP: core::ops::Range<u64> = 0x80_0000..0x100_0000;
/// Ticks until the log has left the machine.
const QUIET: u64 = 20_000_000;
/// Repetitions of each.
const TIMES: u64 = 2000;
const BURSTS: u64 = 50;
/// A turn, and about how long one runs.
const SLICE: u64 = 250_000;
const STEP: u64 = 1_000;
/// The shortest period of a reservation, and the frame of a table.
const PERIOD: u64 = 5_000_000;

/// What all vCPUs of a core have.
#[derive(Clone, Copy)]
enum Of {
    Weights,
    Reservations,
    Windows,
}

impl Of {
    const ALL: [(Of, &str); 3] = [
        (Of::Weights, "weights"),
        (Of::Reservations, "reservations"),
        (Of::Windows, "windows"),
    ];

    fn share(self, n: u64, count: u64) -> Share {
        match self {
            Of::Weights => Share {
                weight: Weight::new(1 + (n * 37 % 1000) as u32),
                reservation: None,
            },
            // Nine tenths of the core, with periods that drift apart.
            Of::Reservations => {
                let period = PERIOD + n * 7_919;
                Share {
                    weight: None,
                    reservation: Some(Reservation {
                        budget: Ticks(period * 9 / 10 / count),
                        period: Ticks(period),
                    }),
                }
            }
            Of::Windows => Share::default(),
        }
    }
}

/// A scheduler, and the time that it is told.
struct Core {
    scheduler: Scheduler,
    now: u64,
    last: Decision,
    count: u64,
    /// For arbitrary numbers that are the same each time
    random: Random,
}

/// What came of many.
#[derive(Default)]
struct Cost {
    times: u64,
    sum: u64,
    worst: u64,
    steps: u64,
}

impl Cost {
    fn add(&mut self, ticks: u64, steps: u64) {
        self.times += 1;
        self.sum += ticks;
        self.worst = self.worst.max(ticks);
        self.steps = self.steps.max(steps);
    }
}

impl Core {
    /// A core whose vCPUs all want to run.
    fn new(of: Of, count: u64) -> Option<Core> {
        let mut scheduler = Scheduler::new(count as u16, Ticks(SLICE), Ticks(0));
        if matches!(of, Of::Windows) {
            let length = Ticks(PERIOD / count);
            let window = |n| Window {
                at: Ticks(n * length.0),
                length,
                id: Id(n as u16),
            };
            let windows: Vec<_> = (0..count).map(window).collect();
            let table = Table::new(Ticks(PERIOD), Ticks(0), windows).ok()?;
            scheduler.set_table(Some(table), Ticks(0));
        }
        for n in 0..count {
            let id = Id(n as u16);
            if !scheduler.add(id, of.share(n, count), Ticks(0)) {
                return None;
            }
            scheduler.wake(id, Ticks(0));
        }
        let last = scheduler.decide(Ticks(0));
        Some(Core {
            scheduler,
            now: 0,
            last,
            count,
            random: Random::new(1),
        })
    }

    fn any(&mut self) -> Id {
        Id(self.random.below(self.count) as u16)
    }

    /// Some time goes by, less than a decision lasts.
    fn pass(&mut self) {
        self.now = (self.now + STEP).min(self.last.until.0);
        if self.now == self.last.until.0 {
            self.last = self.scheduler.decide(Ticks(self.now));
        }
    }

    /// Does something and decides, and adds what both cost.
    #[inline(always)]
    fn measure(
        &mut self,
        cost: &mut Cost,
        nothing: u64,
        event: impl FnOnce(&mut Scheduler, Ticks),
    ) {
        let now = Ticks(self.now);
        let steps = self.scheduler.steps();
        let start = cpu::tsc();
        event(&mut self.scheduler, now);
        let last = self.scheduler.decide(now);
        let ticks = cpu::tsc() - start;
        self.last = last;
        cost.add(
            ticks.saturating_sub(nothing),
            self.scheduler.steps() - steps,
        );
    }

    /// One that sleeps wakes up.
    fn wakes(&mut self, cost: &mut Cost, nothing: u64) {
        for _ in 0..TIMES {
            let id = self.any();
            self.scheduler.block(id, None, Ticks(self.now));
            self.last = self.scheduler.decide(Ticks(self.now));
            self.pass();
            self.measure(cost, nothing, |scheduler, now| {
                scheduler.wake(id, now);
            });
            self.pass();
        }
    }

    /// The clock shows what the last decision said.
    fn ends(&mut self, cost: &mut Cost, nothing: u64) {
        for _ in 0..TIMES {
            if self.last.until.0 != u64::MAX {
                self.now = self.last.until.0;
            }
            self.measure(cost, nothing, |_, _| {});
        }
    }

    /// The one that runs goes to sleep for a while.
    fn blocks(&mut self, cost: &mut Cost, nothing: u64) {
        let mut done = 0;
        // Now and then none may run.
        for _ in 0..100 * TIMES {
            let Some((id, _)) = self.last.run else {
                self.now = self.last.until.0.min(self.now + SLICE);
                self.last = self.scheduler.decide(Ticks(self.now));
                continue;
            };
            let until = Ticks(self.now + SLICE);
            self.measure(cost, nothing, |scheduler, now| {
                scheduler.block(id, Some(until), now);
            });
            self.pass();
            self.scheduler.wake(id, Ticks(self.now));
            self.last = self.scheduler.decide(Ticks(self.now));
            self.pass();
            done += 1;
            if done == TIMES {
                break;
            }
        }
    }

    /// All sleep until the same time.
    fn bursts(&mut self, cost: &mut Cost, nothing: u64) {
        for _ in 0..BURSTS {
            let until = Ticks(self.now + STEP);
            for n in 0..self.count {
                self.scheduler
                    .block(Id(n as u16), Some(until), Ticks(self.now));
            }
            self.last = self.scheduler.decide(Ticks(self.now));
            self.now = until.0;
            self.measure(cost, nothing, |_, _| {});
            self.now += STEP;
        }
    }
}

/// What an empty measurement takes.
fn nothing() -> u64 {
    let once = |_| {
        let start = cpu::tsc();
        cpu::tsc() - start
    };
    (0..100).map(once).min().unwrap_or(0)
}

type Measure = fn(&mut Core, &mut Cost, u64);

fn main() {
    // SAFETY: the VM has 16 MiB, and the guest lies at 1 MiB.
    unsafe { heap::open(HEAP) };
    let whats: [(&str, Measure); 4] = [
        ("wake", Core::wakes),
        ("end", Core::ends),
        ("block", Core::blocks),
        ("burst", Core::bursts),
    ];
    // What the hypervisor has said is on its way still, by interrupts.
    cpu::spin_until(cpu::tsc() + QUIET);
    let nothing = nothing();
    let mut rows = Vec::new();
    for (of, name) in Of::ALL {
        for count in [1, 16, 256] {
            let Some(mut core) = Core::new(of, count) else {
                say!("decide: {count} vCPUs with {name} are refused");
                return;
            };
            for (what, measure) in whats {
                let mut cost = Cost::default();
                measure(&mut core, &mut cost, nothing);
                rows.push((count, name, what, cost));
            }
        }
    }
    // Only now: a word is an exit, and its bytes leave by interrupts.
    for (count, name, what, cost) in rows {
        say!(
            "decide: vcpus={count} of={name} what={what} mean={} worst={} steps={}",
            cost.sum / cost.times.max(1),
            cost.worst,
            cost.steps
        );
    }
    say!("decide: done");
}
