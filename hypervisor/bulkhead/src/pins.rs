//! The wires of the consoles' UARTs to the first core.
// UNSAFETY: takes over the I/O APICs.
#![allow(unsafe_code)]

use crate::console;
use crate::host::{Core, UART};
use crate::memory::AddressSpace;
use crate::{info, warning};
use alloc::vec::Vec;
use hw::ioapic::{DEFAULT_BASE, HostIoApic};
use plan::bundle::{Handover, IoApic};

/// ISA interrupts of COM1 and COM2.
const IRQS: [u8; 2] = [4, 3];

/// Takes over all I/O APICs, masks them, and leads the UARTs' interrupts to this core; it polls where they do not get there.
///
/// # Errors
/// An I/O APIC cannot be mapped.
pub(crate) fn route(
    space: &mut AddressSpace,
    core: &mut Core,
    handover: &Handover,
) -> Result<(), paging::Error<paging::Hva>> {
    hw::pic::mask();
    let mut known = handover.io_apics.clone();
    if known.is_empty() {
        known.push(IoApic {
            address: DEFAULT_BASE,
            gsi_base: 0,
        });
    }
    let mut chips = Vec::new();
    for IoApic { address, gsi_base } in known {
        let page = space.map_device("I/O APIC", address)?;
        // SAFETY: the page was just mapped for this alone.
        chips.extend(unsafe { HostIoApic::take(page) }.map(|chip| (gsi_base, chip)));
    }
    let apic_id = core.local.apic_id;
    let all = IRQS.into_iter().all(|irq| {
        let wire = handover.isa_overrides.iter().find(|o| o.irq == irq);
        let gsi = wire.map_or(u32::from(irq), |o| o.gsi);
        let (low, level) = wire.map_or((false, false), |o| (o.active_low, o.level));
        chips.iter_mut().any(|(base, chip)| {
            gsi.checked_sub(*base)
                .and_then(|pin| u8::try_from(pin).ok())
                .is_some_and(|pin| chip.route(pin, UART, apic_id, low, level))
        })
    });
    if all {
        info!("console: uart=com1 baud=115200 core=0");
        console::listen();
    } else {
        warning!(
            "console: no I/O APIC leads the UARTs' interrupts to core 0, so they are polled every millisecond"
        );
        core.poll_consoles(handover.tsc);
    }
    Ok(())
}
