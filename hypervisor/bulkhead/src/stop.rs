//! How the machine ends: by the firmware when all is well, parked with a report when it is not.
// UNSAFETY: takes the console's lock by force, and calls the firmware.
#![allow(unsafe_code)]

use crate::console::CONSOLE;
use core::sync::atomic::{AtomicBool, Ordering};
use hw::firmware::{Firmware, Reset};
use spin::Once;

/// How power is switched off, once it is known.
static FIRMWARE: Once<Firmware> = Once::new();

/// Says how the firmware is called from now on.
pub(crate) fn set_firmware(firmware: Firmware) {
    FIRMWARE.call_once(|| firmware);
}

/// Ends the machine in good order: sends what the log holds, then powers off.
pub(crate) fn power_off(reason: &str) -> ! {
    crate::info!("machine: off reason={reason}");
    end()
}

/// Ends the machine because it cannot do what it is for; the reason has been logged.
pub(crate) fn refuse(reason: core::fmt::Arguments<'_>) -> ! {
    crate::error!("refused: {reason}");
    crate::info!("machine: off reason=refused");
    end()
}

fn end() -> ! {
    CONSOLE.lock().flush();
    if let Some(f) = FIRMWARE.get() {
        // Firmware relies on the FPU state that UEFI promises it (UEFI 2.10, section 2.3.4), not on a guest's.
        hw::control::reset_extended_state();
        // SAFETY: no guest runs any more, and each VMCS was cleared; the value was made from what the loader handed over,
        // with tables of our own making.
        unsafe {
            hw::vmx_ops::vmxoff();
            f.reset(Reset::Shutdown);
        }
        crate::error!("machine: the firmware's ResetSystem came back");
        CONSOLE.lock().flush();
    }
    hw::core_local::park()
}

/// Prints a report past all locks and stops the machine. A second fault while the first is reported only parks.
pub(crate) fn die(report: &dyn core::fmt::Display) -> ! {
    static DYING: AtomicBool = AtomicBool::new(false);
    if DYING.swap(true, Ordering::SeqCst) {
        hw::core_local::park();
    }
    // SAFETY: this core runs nothing else any more; if the lock was held when the fault struck, its holder is
    // the code that will never run again.
    unsafe { CONSOLE.force_unlock() };
    let mut console = CONSOLE.lock();
    console.line(|out| {
        let _ = write!(
            out,
            "{:>12} - - error bulkhead: machine: panic {report}",
            hw::tsc::now().0
        );
    });
    console.line(|out| {
        let _ = write!(
            out,
            "{:>12} - - error bulkhead: machine: stopped",
            hw::tsc::now().0
        );
    });
    console.flush();
    hw::core_local::park()
}

/// Reports a host exception and stops the machine.
pub(crate) fn on_exception(frame: &hw::trap::Frame) -> ! {
    die(frame)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    die(info)
}
