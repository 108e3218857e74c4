//! A VM's watchdog, and what whoever watches over it knows of that.
//!
//! One core watches over the watchdogs of all VMs. It looks at one when that may have expired, as far as it knows, and learns then
//! whether it was fed meanwhile; so feeding costs it nothing. It is kicked only if a watchdog is to expire before it would look, as one
//! does that is switched on.

use crate::Vm;
use devices::Watchdog;
use seam::{AccessError, GuestMem, SerialLine};
use spec::{Ticks, Width};
use spin::Mutex;

/// A time that does not come.
const NEVER: Ticks = Ticks(u64::MAX);

/// A watchdog that is watched over.
#[derive(Debug)]
pub struct Watched {
    chip: Watchdog,
    /// When the watching core looks next
    looks: Ticks,
    /// It was told to look before that
    told: bool,
}

impl Watched {
    pub(crate) fn new(chip: Watchdog) -> Self {
        Self {
            chip,
            looks: NEVER,
            told: false,
        }
    }

    /// Something has changed; says whether the watching core is to be told.
    fn changed(&mut self) -> bool {
        let tells = !self.told && self.chip.expires().is_some_and(|at| at < self.looks);
        self.told |= tells;
        tells
    }

    /// The watching core has looked; says when it looks next.
    fn looked(&mut self, now: Ticks) -> Ticks {
        self.looks = self.chip.expires().unwrap_or(NEVER);
        if core::mem::take(&mut self.told) {
            // A guest that sets it to less and less, or switches it on and off, would otherwise have the core look as often as it
            // likes. No countdown that begins from now on ends before this.
            self.looks = self.looks.min(now.after(self.chip.period()));
        }
        self.looks
    }
}

impl<M: GuestMem, L: SerialLine> Vm<M, L> {
    pub(crate) fn read_watchdog(
        &self,
        offset: u8,
        width: Width,
        now: Ticks,
    ) -> Result<u64, AccessError> {
        let watched = self.watched().ok_or(AccessError::Absent)?;
        watched.lock().chip.read(offset, width, now)
    }

    pub(crate) fn write_watchdog(
        &self,
        offset: u8,
        width: Width,
        value: u64,
        now: Ticks,
    ) -> Result<(), AccessError> {
        let mut watched = self.watched().ok_or(AccessError::Absent)?.lock();
        watched.chip.write(offset, width, value, now)?;
        if watched.changed() {
            drop(watched);
            self.kick.watch();
        }
        Ok(())
    }

    /// Looks whether the watchdog has expired, and calls `expired` if so, before the chips can be set back for the VM's next start;
    /// says when to look again. Whoever calls this is who [`seam::Kick::watch`] tells.
    pub fn look_at_watchdog(&self, now: Ticks, expired: impl FnOnce()) -> Option<Ticks> {
        let mut watched = self.watched()?.lock();
        if watched.chip.expire(now) {
            expired();
        }
        Some(watched.looked(now)).filter(|at| *at != NEVER)
    }

    /// The VM is paused: its watchdog stands still.
    pub fn hold_watchdog(&self, now: Ticks) {
        if let Some(watched) = self.watched() {
            watched.lock().chip.hold(now);
        }
    }

    /// The VM goes on, and the countdown of its watchdog from what was left.
    pub fn release_watchdog(&self, now: Ticks) {
        if let Some(watched) = self.watched() {
            let mut watched = watched.lock();
            watched.chip.release(now);
            if watched.changed() {
                drop(watched);
                self.kick.watch();
            }
        }
    }

    fn watched(&self) -> Option<&Mutex<Watched>> {
        self.chips.watchdog.as_ref()
    }
}
