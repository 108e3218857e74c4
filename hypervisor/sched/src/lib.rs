//! Which vCPU runs on a core, and until when.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod admission;
mod decision;
mod scheduler;
mod share;
mod table;
mod times;

pub use decision::{Band, Decision};
pub use scheduler::{Luggage, Scheduler};
pub use share::{Id, Reservation, Share, Weight};
pub use table::{Table, TableError, Window};
pub use times::{CoreTimes, Times};
