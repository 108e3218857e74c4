//! How the machine ends: by the firmware when all is well, parked with a report when it is not.
// UNSAFETY: leaves VMX operation, and calls the firmware.
#![allow(unsafe_code)]

use crate::{console, machine};
use core::sync::atomic::{AtomicBool, Ordering};
use hw::core_local::CoreLocal;
use hw::firmware::{Firmware, Reset};
use spin::Once;

/// How power is switched off, once it is known.
static FIRMWARE: Once<Firmware> = Once::new();

/// Says how the firmware is called from now on.
pub(crate) fn set_firmware(firmware: Firmware) {
    FIRMWARE.call_once(|| firmware);
}

/// Why the machine is to go off, once it is to: the first core, which the firmware knows best, does it.
static REQUEST: Once<&'static str> = Once::new();
/// A core met what harms all.
static DYING: AtomicBool = AtomicBool::new(false);

/// Has the first core end the machine when it next looks at its orders.
pub(crate) fn request(reason: &'static str) {
    REQUEST.call_once(|| reason);
}

/// What a core does about the end of the machine when it is kicked.
pub(crate) fn obey() {
    if DYING.load(Ordering::SeqCst) {
        hw::core_local::park();
    }
    if let Some(reason) = REQUEST.get()
        && CoreLocal::current().is_some_and(|core| core.index == 0)
    {
        power_off(reason);
    }
}

/// Ends the machine in good order: sends what the log holds, then powers off.
fn power_off(reason: &str) -> ! {
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
    console::flush();
    if let Some(f) = FIRMWARE.get() {
        // Firmware relies on the FPU state that UEFI promises it (UEFI 2.10, section 2.3.4), not on a guest's.
        hw::control::reset_extended_state();
        // SAFETY: no guest runs any more on any core; the value was made from what the loader handed over, with tables
        // of our own making.
        unsafe {
            hw::vmx_ops::vmxoff();
            f.reset(Reset::Shutdown);
        }
        crate::error!("machine: the firmware's ResetSystem came back");
        console::flush();
    }
    hw::core_local::park()
}

/// Prints a report past all locks and stops the machine. A second fault while the first is reported only parks.
pub(crate) fn die(report: &dyn core::fmt::Display) -> ! {
    if DYING.swap(true, Ordering::SeqCst) {
        hw::core_local::park();
    }
    for number in 0..machine::seats().len() as u32 {
        machine::kick(number);
    }
    let now = hw::tsc::now().0;
    console::last_words(format_args!(
        "{now:>12} - - error bulkhead: machine: panic {report}\n{now:>12} - - error bulkhead: machine: stopped"
    ));
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
