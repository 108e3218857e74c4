//! A fault with no handler for it nor for the fault that this is: the processor shuts down.
#![no_std]
#![no_main]
// UNSAFETY: faults.
#![allow(unsafe_code)]

use guests::verdict::Verdict;
use guests::{claim, guest, trap};

guest!(the_processor_shuts_down);

fn the_processor_shuts_down() -> Verdict {
    trap::uninstall();
    // SAFETY: ends here.
    unsafe { core::arch::asm!("ud2") };
    claim!(false, "it went on");
    Ok(())
}
