//! Each exit's claim, on plain values.

mod control;
mod events;
mod fake;
mod ipi;
mod kick;
mod layout;
mod mailbox;
mod mmio;
mod msrs;
mod ports;
mod processors;
mod promise;
mod property;
mod routes;
mod start;
#[cfg(feature = "statistics")]
mod statistics;
mod time;
mod watchdog;
