//! The local vector table (SDM vol. 3, "Local Vector Table").

use spec::apic::{Lvt, register};

/// Timer, thermal sensor, performance counters, LINT0, LINT1, error, in the order of their registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Table([Lvt; ENTRIES as usize]);

/// Number of entries.
pub(super) const ENTRIES: u8 = register::LVT_ERROR - register::LVT_TIMER + 1;

/// What software may write in each entry, and what else may be set in what it writes.
const ACCESS: [(Lvt, Lvt); ENTRIES as usize] = [
    (TIMER, READ_ONLY),
    (SENSOR, READ_ONLY),
    (SENSOR, READ_ONLY),
    (PIN, PIN_READ_ONLY),
    (PIN, PIN_READ_ONLY),
    (ERROR, READ_ONLY),
];
const ERROR: Lvt = Lvt::VECTOR.union(Lvt::MASKED);
const TIMER: Lvt = ERROR.union(Lvt::PERIODIC).union(Lvt::TSC_DEADLINE);
const SENSOR: Lvt = ERROR.union(Lvt::DELIVERY);
const PIN: Lvt = SENSOR.union(Lvt::ACTIVE_LOW).union(Lvt::LEVEL);
/// Status bits, which a write does not change but may hold.
const READ_ONLY: Lvt = Lvt::STATUS;
const PIN_READ_ONLY: Lvt = READ_ONLY.union(Lvt::REMOTE_IRR);
/// Both together are no timer mode.
const TIMER_MODES: Lvt = Lvt::PERIODIC.union(Lvt::TSC_DEADLINE);

impl Table {
    /// All masked, all else zero.
    pub(super) const RESET: Table = Table([Lvt::MASKED; ENTRIES as usize]);

    #[inline]
    pub(super) const fn timer(&self) -> Lvt {
        let [timer, ..] = self.0;
        timer
    }

    #[inline]
    pub(super) const fn error(&self) -> Lvt {
        let [.., error] = self.0;
        error
    }

    /// The entry `index` by register order; none beyond the last.
    pub(super) fn get(&self, index: u8) -> Option<Lvt> {
        self.0.get(usize::from(index)).copied()
    }

    /// Whether an x2APIC takes this value ("Reserved Bit Checking").
    pub(super) fn takes(index: u8, value: u32) -> bool {
        let Some(&(writable, read_only)) = ACCESS.get(usize::from(index)) else {
            return false;
        };
        let value = Lvt::from_bits_retain(value);
        (writable | read_only).contains(value) && !(index == 0 && value.contains(TIMER_MODES))
    }

    /// Sets the writable bits of an entry; of both timer modes at once, TSC-deadline stays.
    pub(super) fn set(&mut self, index: u8, value: u32) {
        let i = usize::from(index);
        if let (Some(entry), Some(&(writable, _))) = (self.0.get_mut(i), ACCESS.get(i)) {
            *entry = Lvt::from_bits_retain(value) & writable;
            if entry.contains(TIMER_MODES) {
                entry.remove(Lvt::PERIODIC);
            }
        }
    }

    /// What switching the APIC off by software does.
    pub(super) fn mask_all(&mut self) {
        for entry in &mut self.0 {
            entry.insert(Lvt::MASKED);
        }
    }
}
