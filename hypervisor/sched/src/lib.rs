//! Which vCPU runs on a core, and until when: events in, a decision out.
#![no_std]

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
