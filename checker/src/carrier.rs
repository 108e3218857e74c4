//! What carries the local APIC of a vCPU, and what the plan allows.

use plan::{Interrupts, Vm};

/// The core that serves the machine's consoles, whose interrupts arrive there.
const CONSOLE_CORE: u32 = 0;

/// What carries it, the least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Carrier {
    /// The hypervisor: each access exits
    Software,
    /// The processor, on a page in memory
    Accelerated,
    /// The processor's own, lent to the guest
    Direct,
}

impl Carrier {
    /// By the machine's word for it.
    pub(crate) fn named(word: &str) -> Option<Self> {
        match word {
            "software" => Some(Self::Software),
            "accelerated" => Some(Self::Accelerated),
            "direct" => Some(Self::Direct),
            _ => None,
        }
    }

    /// The most that the plan gives a vCPU: its core's own local APIC only where it alone runs there, and not where the consoles'
    /// interrupts arrive.
    pub(crate) fn most(vm: &Vm, vcpu: u32) -> Self {
        let own = own_core(vm, vcpu).filter(|core| *core != CONSOLE_CORE);
        match (vm.interrupts, own) {
            (Interrupts::Software, _) => Self::Software,
            (Interrupts::Auto | Interrupts::Direct, Some(_)) => Self::Direct,
            (Interrupts::Accelerated, _) | (_, None) => Self::Accelerated,
        }
    }
}

/// The core that a vCPU has for itself by the plan.
pub(crate) fn own_core(vm: &Vm, vcpu: u32) -> Option<u32> {
    let cores = vm.dedicated()?;
    cores.get(usize::try_from(vcpu).ok()?).copied()
}
