//! Messages between cores.
// UNSAFETY: MSR accesses to ICR, and the fences before them.
#![allow(unsafe_code)]

use super::{Access, XAPIC_LAST_ID, access};
use crate::msr;
use core::arch::asm;
use spec::apic::{FIRST_VECTOR, Icr, delivery, register};
use spec::msr::X2APIC_FIRST;
use spec::{Msr, Vector};

/// Looks at the delivery status before a message is sent all the same.
const PATIENCE: u32 = 100_000;

/// Sends an NMI to a core that runs our code, where it is a kick and no more. What this core wrote before is seen by then.
///
/// This and the other three may be called at any time in root operation with interrupts off. They do nothing before
/// [`super::LocalApic::take`], which another core must not have been started before.
pub fn send_nmi(apic_id: u32) {
    send(apic_id, command(delivery::NMI, 0));
}

/// Sends an interrupt to a core: to its guest, if its local APIC is lent, or to notify of posted interrupts. A vector that no
/// interrupt can have is not sent. What this core wrote before is seen by then.
#[inline]
pub fn send_fixed(apic_id: u32, vector: Vector) {
    if vector.0 >= FIRST_VECTOR {
        send(apic_id, command(delivery::FIXED, vector.0));
    }
}

/// Sends INIT: the core stops whatever it does, and waits for a start-up message.
///
/// # Safety
/// Nothing that the core ran is needed any more, and it holds no lock.
pub unsafe fn send_init(apic_id: u32) {
    send(apic_id, command(delivery::INIT, 0));
}

/// Sends a start-up message: a core that waits for it begins at the page `page`, in real mode.
///
/// # Safety
/// The code there is made for that.
pub unsafe fn send_start_up(apic_id: u32, page: u8) {
    send(apic_id, command(delivery::START_UP, page));
}

/// The low half of ICR: edge-triggered, to the one core in the destination field. The level is "assert" for all but the INIT
/// de-assert of old (SDM vol. 3, "Interrupt Command Register (ICR)").
fn command(mode: u8, vector: u8) -> u32 {
    u32::from(mode) << 8 | Icr::ASSERT.bits() | u32::from(vector)
}

fn send(apic_id: u32, command: u32) {
    match access() {
        None => {}
        Some(Access::X2apic) => {
            // The WRMSR does not wait for earlier stores, as one to an MMIO register would (SDM vol. 3, "MSR Access in x2APIC
            // Mode").
            // SAFETY: fences change nothing but the order of accesses; ICR exists in x2APIC mode, and takes what
            // `command` makes.
            unsafe {
                asm!("mfence", "lfence", options(nostack, preserves_flags));
                msr::write(
                    Msr(X2APIC_FIRST.0 + u32::from(register::ICR)),
                    u64::from(apic_id) << 32 | u64::from(command),
                );
            }
        }
        Some(access @ Access::Xapic(_)) => {
            if apic_id > XAPIC_LAST_ID {
                return;
            }
            let busy = || access.read(register::ICR) & Icr::STATUS.bits() != 0;
            let mut looks = 0;
            while busy() && looks < PATIENCE {
                looks += 1;
                core::hint::spin_loop();
            }
            access.write(register::ICR_HIGH, apic_id << 24);
            access.write(register::ICR, command);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_of_the_manual() {
        // SDM vol. 3, "Typical BSP Initialization Sequence" and "Interrupt Command Register (ICR)".
        assert_eq!(command(delivery::INIT, 0), 0x4500);
        assert_eq!(command(delivery::START_UP, 0x9a), 0x469a);
        assert_eq!(command(delivery::NMI, 0), 0x4400);
        assert_eq!(command(delivery::FIXED, 0x31), 0x4031);
    }

    #[test]
    fn nothing_is_sent_before_a_core_has_taken_its_apic() {
        // Anything else would be a privileged instruction, or an access to page zero.
        send_nmi(3);
        send_fixed(3, Vector(0x31));
    }
}
