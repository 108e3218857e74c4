//! Which messages a local APIC takes for its own (SDM vol. 3, "Determining IPI Destination").

use super::{Lapic, Mode};
use crate::interrupt::Destination;

/// What a local APIC answers to: a value, so that its owner can publish it to other cores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    mode: Mode,
    id: u32,
    /// The logical address of xAPIC mode, bits 31:24 of LDR
    logical: u8,
    /// The cluster model of xAPIC mode, by DFR
    cluster: bool,
    /// Enabled, by software too
    enabled: bool,
}

impl Address {
    /// Whether a message to `destination` is for this APIC. To "all but the sender" every APIC answers yes: only
    /// the carrier knows who the sender is.
    #[must_use]
    pub fn matches(&self, destination: Destination) -> bool {
        match (self.mode, destination) {
            (Mode::Disabled, _) => false,
            (_, Destination::All | Destination::AllButSelf) => true,
            (Mode::X2Apic, Destination::Physical(id)) => id == self.id,
            (Mode::XApic, Destination::Physical(id)) => id == self.id & 0xff,
            (Mode::X2Apic, Destination::Logical(to)) => {
                let own = x2apic_logical(self.id);
                to >> 16 == own >> 16 && to & own & 0xffff != 0
            }
            (Mode::XApic, Destination::Logical(to)) => {
                u8::try_from(to).is_ok_and(|to| self.matches_xapic(to))
            }
        }
    }

    /// Whether a message that interrupts is taken: an APIC that is disabled by software answers to its address still, but
    /// only to NMI, INIT and start-up ("Local APIC State After It Has Been Software Disabled").
    #[must_use]
    pub const fn takes_interrupts(&self) -> bool {
        self.enabled
    }

    /// Flat: eight members, a bit each. Cluster: bits 7:4 name a cluster, all ones any, bits 3:0 its members.
    const fn matches_xapic(&self, to: u8) -> bool {
        let members = to & self.logical;
        if self.cluster {
            (to >> 4 == 0xf || to >> 4 == self.logical >> 4) && members & 0xf != 0
        } else {
            members != 0
        }
    }
}

/// Where [`Address::pack`] puts the fields; the id takes the low 32 bits.
mod shift {
    pub(super) const LOGICAL: u32 = 32;
    pub(super) const CLUSTER: u32 = 40;
    pub(super) const MODE: u32 = 41;
    pub(super) const ENABLED: u32 = 43;
}

impl Address {
    /// The address in one word, so that it can be published without a lock.
    #[must_use]
    pub const fn pack(self) -> u64 {
        let mode = match self.mode {
            Mode::Disabled => 0,
            Mode::XApic => 1,
            Mode::X2Apic => 2,
        };
        self.id as u64
            | (self.logical as u64) << shift::LOGICAL
            | (self.cluster as u64) << shift::CLUSTER
            | mode << shift::MODE
            | (self.enabled as u64) << shift::ENABLED
    }

    /// The address that [`Address::pack`] made a word of.
    #[must_use]
    pub const fn unpack(word: u64) -> Self {
        Self {
            mode: match word >> shift::MODE & 3 {
                1 => Mode::XApic,
                2 => Mode::X2Apic,
                _ => Mode::Disabled,
            },
            id: word as u32,
            logical: (word >> shift::LOGICAL) as u8,
            cluster: word >> shift::CLUSTER & 1 != 0,
            enabled: word >> shift::ENABLED & 1 != 0,
        }
    }
}

impl Lapic {
    /// What the APIC answers to now.
    #[must_use]
    pub const fn address(&self) -> Address {
        Address {
            mode: self.mode,
            id: self.id,
            logical: (self.ldr >> 24) as u8,
            cluster: self.dfr >> 28 == 0,
            enabled: self.is_enabled(),
        }
    }

    /// Whether a message to `destination` is for this APIC: as [`Address::matches`].
    #[must_use]
    pub fn matches(&self, destination: Destination) -> bool {
        self.address().matches(destination)
    }
}

/// The logical x2APIC id ("Deriving Logical x2APIC ID from the Local x2APIC ID").
pub(super) const fn x2apic_logical(id: u32) -> u32 {
    ((id >> 4) << 16) | (1 << (id & 0xf))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_holds_the_whole_address() {
        for mode in [Mode::Disabled, Mode::XApic, Mode::X2Apic] {
            for (id, logical, cluster) in [(0, 0, false), (u32::MAX, 0xff, true), (5, 0x80, false)]
            {
                let address = Address {
                    mode,
                    id,
                    logical,
                    cluster,
                    enabled: !cluster,
                };
                assert_eq!(Address::unpack(address.pack()), address);
            }
        }
    }
}
