//! Who fires the watchdogs: the first core, whatever the VMs' own cores do. It looks when one may have expired.

use crate::guest::Guest;
use crate::machine::Machine;
use crate::seat;
use devices::Watchdog;
use plan::CONSOLE_CORE;
use spec::{Hz, Nanos, Ticks};
use vm::life::{End, Refused};

/// Whether this core watches over the watchdogs: the one that serves the consoles, which is never lent to a guest.
pub(crate) fn is_ours(core: u32) -> bool {
    core == CONSOLE_CORE
}

/// The watchdog that a plan gives a VM, on a machine with this time-stamp counter; `expired` says whether it has ended the VM's last run.
pub(crate) fn chip(plan: &plan::Vm, tsc: Hz, expired: bool) -> Option<Watchdog> {
    let longest = plan.watchdog?;
    Some(Watchdog::new(Nanos(longest), tsc, expired))
}

/// Has that core look at the watchdogs soon.
pub(crate) fn kick() {
    if let Some(seat) = seat::at(CONSOLE_CORE) {
        seat.watch(CONSOLE_CORE);
    }
}

/// Ends the VMs whose watchdogs have expired; says when to look again.
pub(crate) fn look(machine: &'static Machine, now: Ticks) -> Option<Ticks> {
    let guests = machine.guests.iter();
    guests.filter_map(|guest| look_at(guest, now)).min()
}

fn look_at(guest: &'static Guest, now: Ticks) -> Option<Ticks> {
    guest.vm.look_at_watchdog(now, || {
        // One that comes to rest meanwhile has ended for another reason.
        if guest.life.end(End::Watchdog).is_ok() {
            guest.kick();
        }
    })
}

/// Holds the vCPUs of a VM, and its watchdog with them.
///
/// # Errors
/// It does not run.
pub(crate) fn pause(guest: &Guest) -> Result<(), Refused> {
    guest.life.pause()?;
    guest.vm.hold_watchdog(hw::tsc::now());
    Ok(())
}

/// Lets the vCPUs of a paused VM run on, and its watchdog count on.
///
/// # Errors
/// It is not paused.
pub(crate) fn resume(guest: &Guest) -> Result<(), Refused> {
    guest.life.resume()?;
    guest.vm.release_watchdog(hw::tsc::now());
    Ok(())
}
