//! The virtual-APIC page (SDM vol. 3, "Virtual APIC State").
#![expect(
    clippy::arithmetic_side_effects,
    reason = "numbers of registers, 0x3f at most, and of vectors"
)]

use super::vectors::VectorSet;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use spec::apic::register;

/// The registers of a local APIC, 32 bits each and 16 bytes apart, which processor and hypervisor share.
///
/// The processor touches it only while the guest runs, on the core that otherwise does: relaxed accesses are enough. A guest's RDMSR
/// reads 64 bits of it, so what lies between the registers stays zero.
#[repr(C, align(4096))]
pub struct VirtualApicPage([AtomicU32; 1024]);

const _: () = assert!(size_of::<VirtualApicPage>() == 4096);

impl VirtualApicPage {
    /// A page of zeros.
    #[must_use]
    pub const fn new() -> Self {
        Self([const { AtomicU32::new(0) }; 1024])
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "256 registers, and four words for each"
    )]
    fn register(&self, number: u8) -> &AtomicU32 {
        &self.0[usize::from(number) * 4]
    }

    pub(super) fn get(&self, number: u8) -> u32 {
        self.register(number).load(Relaxed)
    }

    pub(super) fn put(&self, number: u8, value: u32) {
        self.register(number).store(value, Relaxed);
    }

    pub(super) fn tpr(&self) -> u8 {
        self.get(register::TPR) as u8
    }

    /// Sets the task priority and what follows from it. The processor reckons anew at the next VM entry ("PPR Virtualization").
    pub(super) fn set_tpr(&self, tpr: u8) {
        self.put(register::TPR, tpr.into());
        self.put(register::PPR, self.ppr().into());
    }

    /// The processor priority that VTPR and VISR make.
    pub(super) fn ppr(&self) -> u8 {
        super::priority::of_processor(self.tpr(), self.highest(register::ISR))
    }

    /// The highest of VISR, VTMR or VIRR, by its first register; 0 if there is none.
    pub(super) fn highest(&self, first: u8) -> u8 {
        let word = |i: u8| (i, self.get(first + i));
        match (0..8).rev().map(word).find(|(_, bits)| *bits != 0) {
            // Eight words of 32 bits: the number fits.
            Some((i, bits)) => i * 32 + bits.ilog2() as u8,
            None => 0,
        }
    }

    /// VISR, VTMR or VIRR, by its first register.
    pub(super) fn vectors(&self, first: u8) -> VectorSet {
        VectorSet::from_registers(core::array::from_fn(|i| self.get(first + i as u8)))
    }

    /// Adds requests to VIRR, and gives VTMR their trigger mode; whether VTMR changed.
    pub(super) fn request(&self, requests: &VectorSet, level: &VectorSet) -> bool {
        let [a, b, c, d] = requests.words();
        let [e, f, g, h] = level.words();
        // Mostly there is one request, and this is on the way of each timer's interrupt.
        let pair = |i, new: u64, level: u64| {
            new != 0
                && self.request_some(i, new as u32, level as u32)
                    | self.request_some(i + 1, (new >> 32) as u32, (level >> 32) as u32)
        };
        pair(6, d, h) | pair(4, c, g) | pair(2, b, f) | pair(0, a, e)
    }

    /// The same for one of the eight registers.
    #[inline]
    fn request_some(&self, i: u8, new: u32, level: u32) -> bool {
        if new == 0 {
            return false;
        }
        // The processor does not run the guest: nothing comes between load and store.
        self.put(register::IRR + i, self.get(register::IRR + i) | new);
        let old = self.get(register::TMR + i);
        let mode = old & !new | level & new;
        self.put(register::TMR + i, mode);
        mode != old
    }
}

impl Default for VirtualApicPage {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for VirtualApicPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualApicPage")
            .field("tpr", &self.tpr())
            .field("irr", &self.vectors(register::IRR))
            .field("isr", &self.vectors(register::ISR))
            .field("tmr", &self.vectors(register::TMR))
            .finish()
    }
}
