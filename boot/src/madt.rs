//! ACPI's Multiple APIC Description Table (ACPI 6.5, section 5.2.12): processors and I/O APICs.

use crate::tables::{Broken, Signature, header, u32_at};
use alloc::vec::Vec;
use plan::bundle::{IoApic, IsaOverride};
use spec::Hpa;

/// Types of entries (ACPI 6.5, table 5.21).
mod kind {
    /// Processor Local APIC
    pub(super) const LOCAL_APIC: u8 = 0;
    /// I/O APIC
    pub(super) const IO_APIC: u8 = 1;
    /// Interrupt Source Override
    pub(super) const OVERRIDE: u8 = 2;
    /// Processor Local x2APIC
    pub(super) const LOCAL_X2APIC: u8 = 9;
}

/// Fields of entries (ACPI 6.5, sections 5.2.12.2, .3, .5 and .12). Numbers have 4 bytes unless said.
mod field {
    /// Processor Local APIC: its id, 1 byte
    pub(super) const APIC_ID: usize = 3;
    /// Processor Local APIC: flags
    pub(super) const APIC_FLAGS: usize = 4;
    /// Processor Local x2APIC: its id
    pub(super) const X2APIC_ID: usize = 4;
    /// Processor Local x2APIC: flags
    pub(super) const X2APIC_FLAGS: usize = 8;
    /// I/O APIC: address
    pub(super) const IO_ADDRESS: usize = 4;
    /// I/O APIC: first global system interrupt
    pub(super) const IO_GSI_BASE: usize = 8;
    /// Interrupt Source Override: bus, 1 byte
    pub(super) const BUS: usize = 2;
    /// Interrupt Source Override: interrupt of the bus, 1 byte
    pub(super) const IRQ: usize = 3;
    /// Interrupt Source Override: global system interrupt
    pub(super) const GSI: usize = 4;
    /// Interrupt Source Override: flags, 2 bytes
    pub(super) const FLAGS: usize = 8;
}

/// Flags of an override (ACPI 6.5, table 5.26): two bits of polarity, two of trigger mode. Other values stand for
/// the way of the bus, which is active high and edge-triggered, or are reserved.
mod flags {
    /// All bits of polarity, and the value of active low
    pub(super) const ACTIVE_LOW: u16 = 0b11;
    /// All bits of the trigger mode, and the value of level-triggered
    pub(super) const LEVEL: u16 = 0b11 << 2;
}

/// What the table is called.
pub const SIGNATURE: Signature = *b"APIC";
/// Where its entries begin: behind the header, the local APICs' address and the table's flags.
const ENTRIES: usize = header::SIZE + 8;

/// Flags of a processor (ACPI 6.5, section 5.2.12.2.1): it is ready for use.
const ENABLED: u32 = 1 << 0;
/// It is not there yet, but may come while an operating system runs.
const ONLINE_CAPABLE: u32 = 1 << 1;
/// The bus of overrides: ISA.
const ISA: u8 = 0;

/// What of the table counts for us.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Madt {
    /// The processors, each once, in the order of the table
    pub processors: Vec<Listed>,
    /// The I/O APICs
    pub io_apics: Vec<IoApic>,
    /// Where ISA interrupts are not wired one to one
    pub isa_overrides: Vec<IsaOverride>,
}

/// A processor of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its local APIC id
    pub apic_id: u32,
    /// Whether it is ready for use, rather than to come later
    pub enabled: bool,
}

impl Madt {
    /// Reads a table, of the right length and signature.
    ///
    /// # Errors
    /// [`Broken::Length`], [`Broken::Entry`].
    pub fn parse(table: &[u8]) -> Result<Self, Broken> {
        let mut madt = Self::default();
        let mut at = ENTRIES;
        let mut rest = table.get(at..).ok_or(Broken::Length("MADT"))?;
        while let [kind, len, ..] = *rest {
            let (entry, after) = rest
                .split_at_checked(usize::from(len))
                .filter(|_| len >= 2)
                .ok_or(Broken::Entry(at))?;
            madt.add(kind, entry).ok_or(Broken::Entry(at))?;
            at += entry.len();
            rest = after;
        }
        if rest.is_empty() {
            Ok(madt)
        } else {
            Err(Broken::Entry(at))
        }
    }

    /// Takes over an entry, or passes it by if it is of no interest; `None` if it is too short.
    fn add(&mut self, kind: u8, entry: &[u8]) -> Option<()> {
        let byte = |at: usize| entry.get(at).copied();
        match kind {
            kind::LOCAL_APIC => {
                let id = byte(field::APIC_ID)?;
                let flags = u32_at(entry, field::APIC_FLAGS)?;
                self.processor((id != u8::MAX).then_some(u32::from(id)), flags);
            }
            kind::LOCAL_X2APIC => {
                let id = u32_at(entry, field::X2APIC_ID)?;
                let flags = u32_at(entry, field::X2APIC_FLAGS)?;
                self.processor((id != u32::MAX).then_some(id), flags);
            }
            kind::IO_APIC => {
                let address = u32_at(entry, field::IO_ADDRESS)?;
                self.io_apics.push(IoApic {
                    address: Hpa(u64::from(address)),
                    gsi_base: u32_at(entry, field::IO_GSI_BASE)?,
                });
            }
            kind::OVERRIDE => {
                let bus = byte(field::BUS)?;
                let irq = byte(field::IRQ)?;
                let gsi = u32_at(entry, field::GSI)?;
                let flags = u16::from_le_bytes(*entry.get(field::FLAGS..)?.first_chunk()?);
                if bus == ISA {
                    self.isa_overrides.push(IsaOverride {
                        irq,
                        gsi,
                        active_low: flags & flags::ACTIVE_LOW == flags::ACTIVE_LOW,
                        level: flags & flags::LEVEL == flags::LEVEL,
                    });
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Adds a processor, unless it is none or is known: one may have entries of both kinds. An id of all ones means
    /// all processors to a local APIC, so no one has it; firmware fills entries with it that it does not use.
    fn processor(&mut self, apic_id: Option<u32>, flags: u32) {
        let Some(apic_id) = apic_id.filter(|_| flags & (ENABLED | ONLINE_CAPABLE) != 0) else {
            return;
        };
        if self.processors.iter().all(|known| known.apic_id != apic_id) {
            self.processors.push(Listed {
                apic_id,
                enabled: flags & ENABLED != 0,
            });
        }
    }
}

#[cfg(test)]
mod tests;
