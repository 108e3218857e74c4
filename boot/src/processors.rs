//! The logical processors, and what brings interrupts to them.
//!
//! The MADT lists them; where there is none that can be used, the firmware's MP services do (PI 1.8, volume 2,
//! section 13.4), which are also asked whether a processor is healthy.

use crate::madt::{self, Madt};
use crate::physical::Memory;
use crate::screen::Screen;
use crate::tables::{self, Broken};
use crate::topology::{self, Topology};
use crate::{cpu, protocol};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use plan::bundle::{Core, CoreSource, IoApic, IsaOverride, guest_cores};
use plan::{Cores, Smt};
use spec::Hpa;
use uefi::boot;
use uefi::proto::pi::mp::MpServices;

/// Processors that are shown one a line.
const SHOWN: usize = 16;

/// What is known of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Processors {
    /// All of them, the one that we run on first
    pub cores: Vec<Core>,
    /// Where they come from
    pub from: CoreSource,
    /// The I/O APICs
    pub io_apics: Vec<IoApic>,
    /// Where ISA interrupts are not wired one to one
    pub isa_overrides: Vec<IsaOverride>,
}

/// A processor, and whether it can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Known {
    apic_id: u32,
    usable: bool,
}

/// Learns which there are, and shows them. `memory` is where ACPI's tables may lie.
pub fn learn(memory: &Memory, screen: &mut Screen) -> Processors {
    let this = topology::own_id(cpu::cpuid);
    let madt = match protocol::rsdp().map(|rsdp| listed(rsdp, this, memory)) {
        Some(Ok(madt)) => madt,
        Some(Err(why)) => {
            screen.line(format_args!(
                "acpi: {why}; processors are asked for elsewhere"
            ));
            None
        }
        None => None,
    };
    let services = services().unwrap_or_default();
    let processors = Processors::new(this, Topology::read(cpu::cpuid), madt, &services);
    processors.show(screen);
    processors
}

/// The MADT, if there is one, and if it can be right.
fn listed(rsdp: Hpa, this: u32, memory: &Memory) -> Result<Option<Madt>, Broken> {
    let table = tables::find(rsdp, madt::SIGNATURE, |at, len| memory.copy(at, len))?;
    let Some(madt) = table.map(|table| Madt::parse(&table)).transpose()? else {
        return Ok(None);
    };
    if madt.processors.iter().any(|listed| listed.apic_id == this) {
        Ok(Some(madt))
    } else {
        Err(Broken::BootProcessor(this))
    }
}

/// What MP services know.
fn services() -> Option<Vec<Known>> {
    let handle = boot::get_handle_for_protocol::<MpServices>().ok()?;
    let services = protocol::get::<MpServices>(handle).ok()?;
    let total = services.get_number_of_processors().ok()?.total;
    let known = (0..total).filter_map(|number| {
        let info = services.get_processor_info(number).ok()?;
        Some(Known {
            // Wider ids do not exist: x2APIC ids have 32 bits (SDM vol. 3, "x2APIC Register Address Space").
            apic_id: u32::try_from(info.processor_id).ok()?,
            usable: info.is_enabled() && info.is_healthy(),
        })
    });
    Some(known.collect())
}

impl Processors {
    /// Puts together what is known, on processor `this`.
    fn new(this: u32, topology: Topology, madt: Option<Madt>, services: &[Known]) -> Self {
        let healthy = |apic_id| {
            let mut known = services.iter().filter(|known| known.apic_id == apic_id);
            known.all(|known| known.usable)
        };
        let listed = madt.as_ref().map(|madt| {
            let listed = madt.processors.iter().map(|listed| Known {
                apic_id: listed.apic_id,
                usable: listed.enabled && healthy(listed.apic_id),
            });
            listed.collect::<Vec<_>>()
        });
        let (known, from) = match &listed {
            Some(listed) => (listed.as_slice(), CoreSource::Madt),
            None if services.is_empty() => (services, CoreSource::BootProcessor),
            None => (services, CoreSource::MpServices),
        };
        // Whatever is said of it, the one that we run on does run.
        let first = Known {
            apic_id: this,
            usable: true,
        };
        let mut seen = BTreeSet::new();
        let cores = core::iter::once(&first)
            .chain(known)
            .filter(|known| seen.insert(known.apic_id))
            .map(|known| {
                let place = topology.locate(known.apic_id);
                Core {
                    apic_id: known.apic_id,
                    package: place.package,
                    core: place.core,
                    thread: place.thread,
                    usable: known.usable,
                }
            })
            .collect();
        let madt = madt.unwrap_or_default();
        Self {
            cores,
            from,
            io_apics: madt.io_apics,
            isa_overrides: madt.isa_overrides,
        }
    }

    /// How many a plan can name.
    #[must_use]
    pub fn count(&self) -> Cores {
        let count = |smt| guest_cores(&self.cores, smt).len() as u32;
        Cores {
            physical: count(Smt::Off),
            threads: count(Smt::Share),
        }
    }

    fn show(&self, screen: &mut Screen) {
        let Cores { physical, threads } = self.count();
        let total = self.cores.len();
        let from = match self.from {
            CoreSource::Madt => "the MADT",
            CoreSource::MpServices => "the firmware's MP services",
            CoreSource::BootProcessor => "CPUID alone, so there may be more",
        };
        screen.line(format_args!(
            "{total} cpus by {from}, usable: {threads} on {physical} cores"
        ));
        if total <= SHOWN {
            for core in &self.cores {
                screen.line(format_args!(
                    "cpu {}: package {} core {} thread {}{}",
                    core.apic_id,
                    core.package,
                    core.core,
                    core.thread,
                    if core.usable { "" } else { ", not usable" }
                ));
            }
        } else {
            let packages: BTreeSet<u32> = self.cores.iter().map(|core| core.package).collect();
            let ids = || self.cores.iter().map(|core| core.apic_id);
            screen.line(format_args!(
                "{} packages, local APIC ids {} to {}",
                packages.len(),
                ids().min().unwrap_or(0),
                ids().max().unwrap_or(0),
            ));
        }
        for io_apic in &self.io_apics {
            screen.line(format_args!(
                "io apic at {:#x}, interrupts from {}",
                io_apic.address.0, io_apic.gsi_base
            ));
        }
    }
}

#[cfg(test)]
mod tests;
