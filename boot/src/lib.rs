//! The UEFI application that loads the hypervisor.
//!
//! It reads `\bulkhead` of the volume that it comes from, packs what the config names into a bundle, learns what
//! only the firmware knows, loads `\bulkhead\hypervisor.elf` with its rights page by page, leaves boot services and
//! jumps. It is the whole program: the binary only calls [`run`], so that everything that needs no firmware is
//! tested on the host.
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

pub mod clock;
pub mod config;
pub mod cpu;
pub mod elf;
pub mod failure;
pub mod framebuffer;
pub mod frames;
pub mod handover;
pub mod info;
pub mod jump;
pub mod madt;
pub mod memory_map;
pub mod pci;
pub mod physical;
pub mod processors;
pub mod protocol;
pub mod screen;
pub mod space;
pub mod tables;
pub mod topology;
pub mod tsc;
pub mod volume;
pub mod wishes;

use crate::screen::Screen;
use uefi::{Status, boot, system};

/// The program. It comes back only if the hypervisor cannot be started.
pub fn run() -> Status {
    let mut screen = Screen::open();
    screen.line(format_args!("Bulkhead {}", env!("CARGO_PKG_VERSION")));
    let Err(failure) = handover::start(&mut screen);
    screen.text(&alloc::format!(
        "{failure}\n\npress a key to return to the firmware\nboot: refused\n"
    ));
    wait_for_key();
    Status::ABORTED
}

/// Waits until a key is pressed; not at all where there is no keyboard to press one on.
fn wait_for_key() {
    // The firmware would reset the machine after five minutes (UEFI 2.10, section 3.1.2).
    let _ = boot::set_watchdog_timer(0, 0x1_0000, None);
    if !protocol::has_console_input() {
        return;
    }
    let key = system::with_stdin(|input| {
        // Keys that came before the question are no answer.
        let _ = input.reset(false);
        input.wait_for_key_event()
    });
    if let Ok(key) = key {
        let _ = boot::wait_for_event(&[key]);
    }
}
