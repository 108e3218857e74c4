//! PCI functions lose the right to access memory on their own before the hypervisor owns it.

use crate::screen::Screen;
use alloc::vec::Vec;
use uefi::boot;
use uefi::proto::pci::PciIoAddress;
use uefi::proto::pci::root_bridge::PciRootBridgeIo;

/// Configuration-space registers and bits (PCI Local Bus 3.0, section 6.2).
mod header {
    /// Vendor id; device id in the upper half of the double word
    pub(super) const ID: u8 = 0x00;
    /// Command
    pub(super) const COMMAND: u8 = 0x04;
    /// Revision; class code in the upper three bytes of the double word
    pub(super) const REVISION: u8 = 0x08;
    /// Command: the function may be a bus master
    pub(super) const BUS_MASTER: u16 = 1 << 2;
    /// Base class of bridges
    pub(super) const CLASS_BRIDGE: u32 = 0x06;
}

/// Clears Bus Master Enable on every function that is not a bridge, and names each on which it was set.
///
/// Disks and network cards are dead to the firmware afterwards, so nothing may be read any more. Bridges keep it:
/// without it, what lies behind them is unreachable from memory even where a driver means it to be reachable.
pub fn stop_bus_masters(screen: &mut Screen) {
    let bridges = boot::find_handles::<PciRootBridgeIo>().unwrap_or_default();
    for handle in bridges {
        let Ok(mut root) = crate::protocol::get::<PciRootBridgeIo>(handle) else {
            continue;
        };
        let segment = root.segment_nr();
        let functions: Vec<PciIoAddress> = match root.enumerate() {
            Ok(tree) => tree.into_iter().collect(),
            Err(e) => {
                screen.line(format_args!(
                    "pci {segment:04x}: cannot be listed: {}",
                    e.status()
                ));
                continue;
            }
        };
        for at in functions {
            if let Err(e) = stop(&mut root, at, segment, screen) {
                screen.line(format_args!("pci {}: {}", Name(segment, at), e.status()));
            }
        }
    }
}

fn stop(
    root: &mut PciRootBridgeIo,
    at: PciIoAddress,
    segment: u32,
    screen: &mut Screen,
) -> uefi::Result {
    let class: u32 = root.pci().read_one(at.with_register(header::REVISION))?;
    let command: u16 = root.pci().read_one(at.with_register(header::COMMAND))?;
    if class >> 24 == header::CLASS_BRIDGE || command & header::BUS_MASTER == 0 {
        return Ok(());
    }
    let id: u32 = root.pci().read_one(at.with_register(header::ID))?;
    root.pci().write_one(
        at.with_register(header::COMMAND),
        command & !header::BUS_MASTER,
    )?;
    let after: u16 = root.pci().read_one(at.with_register(header::COMMAND))?;
    screen.line(format_args!(
        "pci {} {:04x}:{:04x} class {:06x}: bus mastering {}",
        Name(segment, at),
        id & 0xffff,
        id >> 16,
        class >> 8,
        if after & header::BUS_MASTER == 0 {
            "off"
        } else {
            "stays on"
        },
    ));
    Ok(())
}

/// A function as `lspci` writes it.
struct Name(u32, PciIoAddress);

impl core::fmt::Display for Name {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self(segment, at) = self;
        write!(
            f,
            "{segment:04x}:{:02x}:{:02x}.{:x}",
            at.bus, at.dev, at.fun
        )
    }
}
