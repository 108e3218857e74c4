//! Names the known faults of the emulator that it runs in, by one tiny guest for each. `boot` starts it in the
//! hypervisor's place.
//!
//! Each fault is called as its cure in `xtask/cures`, and each gets a line on COM1: `fault: NAME absent`,
//! `fault: NAME present`, or `fault: NAME unclear: WHY`. The last line is `fault: done`.
// UNSAFETY: the entry point, and the one moment at which the core is brought up.
#![allow(unsafe_code)]
#![no_std]
#![no_main]

extern crate alloc;

mod apic;
mod console;
mod faults;
mod guest;
mod machine;

use alloc::string::String;
use bootloader_api::{BootInfo, BootloaderConfig, config::Mapping, entry_point};
use console::say;
use faults::FAULTS;
use guest::Guest;
use machine::Machine;

static CONFIG: BootloaderConfig = {
    let mut config = BootloaderConfig::new_default();
    config.mappings.physical_memory = Some(Mapping::Dynamic);
    config.kernel_stack_size = 256 * 1024;
    config
};

entry_point!(start, config = &CONFIG);

fn start(info: &'static mut BootInfo) -> ! {
    match try_all(info) {
        Ok(()) => say(format_args!("done")),
        Err(why) => say(format_args!("cannot be looked for: {why}")),
    }
    console::power_off()
}

fn try_all(info: &'static BootInfo) -> Result<(), String> {
    // SAFETY: first and only time, on the only core, interrupts off since the loader.
    let mut machine = unsafe { Machine::enter(info) }?;
    let mut guest = Guest::new(&mut machine)?;
    for (name, look) in FAULTS {
        match look(&mut machine, &mut guest) {
            Ok(finding) => say(format_args!("{name} {finding}")),
            Err(why) => say(format_args!("{name} unclear: {why}")),
        }
    }
    Ok(())
}
