//! Which vCPU runs on a core, and until when: events in, a decision out.
//!
//! A [`Scheduler`] is one core's, and a pure structure: it is told what happens and what time it is, and holds no clock.
//! Who has the core, from the first that wants it:
//!
//! 1. The vCPU whose [`Window`] of the core's [`Table`] it is, until the window's end.
//! 2. Reservations, by their deadlines. Each period is counted from a release: a wake-up, or the end of the period before.
//!    If the sum fits ([`admission`]), who stays ready has its budget in each period, and nobody more than its budget.
//! 3. Those with a weight, by what they had of the left-over time; a spent budget does not stop one that has both. A turn
//!    is a slice, and ends early only for 1 and 2, after which it goes on: no wake-up cuts another's turn.
//!
//! There is no tick: [`Decision::until`] is when the clock alone may change the decision. A slice ends only if somebody
//! waits for it, and no sleeper's window wakes anybody. The one thing that may be looked at in vain is
//! the release or the timer of a reservation whose deadline turns out to be the later one: at most one a period and one a
//! sleep, which the sleeper pays for ([`Scheduler::set_wake_cost`]).
//!
//! **Cost.** Nothing is allocated after [`Scheduler::new`]. With 256 vCPUs a change in a heap moves at most 8 levels, so
//! [`Scheduler::decide`] moves at most 24 levels, and 24 for each timer or release that it finds due: all those of
//! reservations, and at most 8 timers of those with a weight alone. The rest of these wait for their turns in any case, and are
//! taken in when the next turns begin. Each other event moves at most 48, and `movable` looks at all that wait. With one
//! vCPU there is nothing to move, and while nothing happens the last answer is given again. On a core with a table,
//! [`Scheduler::decide`] also looks at the next windows up to the first whose vCPU is awake. At most once in 2³⁵ ticks of
//! left-over time, all virtual times are set back: two subtractions for each vCPU.
#![no_std]
#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod account;
pub mod admission;
mod decide;
mod decision;
mod fair;
mod heap;
mod queues;
mod scheduler;
mod server;
mod share;
mod table;
mod times;
mod vcpu;
mod view;

pub use decision::{Band, Decision};
pub use scheduler::Scheduler;
pub use share::{Id, Reservation, Share, Weight};
pub use table::{Table, TableError, Window};
pub use times::{CoreTimes, Times};
pub use vcpu::Luggage;
