//! A bug of ours that is met at work for one vCPU ends that VM, not the machine, if nothing that others share can have been harmed.
//!
//! What may have been left half done is what the work may change: the vCPU, which begins anew before it runs again, and the chips of its VM,
//! which are made anew then. Their locks are taken from us by force, so that the cores of the VM's other vCPUs go on. Who holds a lock of the
//! machine's own has harmed all: that is the machine's end, with a report.
// UNSAFETY: leaves stack frames behind; takes the locks of a VM's chips by force.
#![allow(unsafe_code)]

use crate::callers::Callers;
use crate::guest::Guest;
use crate::log::{self, Level};
use crate::seat::{self, Seat};
use crate::{console, machine, memory};
use core::fmt;
use exits::Stop;
use hw::core_local::CoreLocal;
use spec::Ticks;

/// How long somebody else may hold a lock.
const PATIENCE: Ticks = Ticks(1 << 20);

/// What becomes of a VM whose vCPU's work was given up.
pub(crate) const GIVEN_UP: Stop = Stop::Bug("a panic at work for it");

/// Does `work` for a vCPU of a guest; `None` if a panic ended it, which has been told.
pub(crate) fn attempt<T>(seat: &Seat, work: impl FnOnce() -> T) -> Option<T> {
    seat.anchor.attempt(work)
}

/// Gives up what this core does for a vCPU, if a panic there can be contained. Returns if it cannot. What was on the stack from `stack` on is told.
pub(crate) fn contain(panic: &dyn fmt::Display, stack: u64) {
    hw::control::mask_interrupts();
    let core = CoreLocal::current().map(|core| core.index);
    let Some(seat) = core.and_then(seat::at).filter(|seat| seat.anchor.holds()) else {
        return;
    };
    let served = seat.served();
    let find = |id| machine::get()?.vcpus().find(|(g, i)| g.id(*i).0 == id);
    let Some((guest, vcpu)) = served.and_then(find) else {
        return;
    };
    let free = || memory::is_heap_free() && console::is_log_free() && guest.line.is_free();
    if !in_time(free) {
        return;
    }
    // SAFETY: this core is at work for a vCPU of this VM, which ends: nobody on this core goes on with what it held.
    unsafe { release(guest) };
    let say = |text: fmt::Arguments<'_>| log::line(Level::Error, &guest.vm.name, text);
    say(format_args!("vm: vcpu={vcpu} panic {panic}"));
    let base = memory::image().0;
    say(format_args!("vm: image={base:#x} stack={stack:#x}"));
    say(format_args!("vm: callers{}", Callers { from: stack }));
    // SAFETY: the panic handler runs on the stack of who panicked; locks were looked at, and all else is the vCPU's.
    unsafe { seat.anchor.give_up() };
}

/// Frees the locks of a VM's chips that stay taken: whoever else has one is through with it soon.
///
/// # Safety
/// This core does not go on with what it does under them.
unsafe fn release(guest: &Guest) {
    let chips = &guest.vm.chips;
    macro_rules! free {
        ($($lock:expr),*) => {$(
            if !in_time(|| $lock.try_lock().is_some()) {
                // SAFETY: the caller's word; others have had their time.
                unsafe { $lock.force_unlock() };
            }
        )*};
    }
    free!(
        chips.serial,
        chips.ioapic,
        chips.cmos,
        chips.power,
        chips.pci
    );
    if let Some(watchdog) = &chips.watchdog {
        free!(watchdog);
    }
}

/// Whether something becomes true before [`PATIENCE`] is over.
fn in_time(is_so: impl Fn() -> bool) -> bool {
    let begun = hw::tsc::now();
    loop {
        if is_so() {
            return true;
        }
        if hw::tsc::now().since(begun) > PATIENCE {
            return false;
        }
        core::hint::spin_loop();
    }
}
