//! What others have for a vCPU: the one way in which another core, or a chip, reaches it.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use devices::lapic::Address;
use devices::{Destination, Lapic};
use spec::Vector;
use spin::Mutex;

/// Pending interrupts of one vCPU, until its core takes them into its local APIC.
#[derive(Debug)]
pub struct Mailbox {
    /// Something is here: the one word that the vCPU's core looks at before each entry
    any: AtomicBool,
    nmi: AtomicBool,
    /// A bit for each vector
    requested: [AtomicU64; 4],
    /// Whether the last request of that vector was level-triggered
    level: [AtomicU64; 4],
    /// What the vCPU's local APIC answers to; its core tells of each change
    address: Mutex<Address>,
}

impl Mailbox {
    /// The empty mailbox of the vCPU with this index, which is its APIC id, as its APIC is after reset.
    pub(crate) fn new(index: u32) -> Self {
        Self {
            any: AtomicBool::new(false),
            nmi: AtomicBool::new(false),
            requested: Default::default(),
            level: Default::default(),
            address: Mutex::new(Lapic::new(index, index == 0, 0).address()),
        }
    }

    /// Leaves an interrupt here.
    pub fn post(&self, vector: Vector, level: bool) {
        let (word, bit) = place(vector);
        if level {
            self.level[word].fetch_or(bit, Ordering::Relaxed);
        } else {
            self.level[word].fetch_and(!bit, Ordering::Relaxed);
        }
        self.requested[word].fetch_or(bit, Ordering::Relaxed);
        self.any.store(true, Ordering::Release);
    }

    /// Leaves an NMI here.
    pub fn post_nmi(&self) {
        self.nmi.store(true, Ordering::Relaxed);
        self.any.store(true, Ordering::Release);
    }

    /// Whether there may be something to take.
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Acquire)
    }

    /// Moves all interrupts into the vCPU's local APIC; says whether an NMI was here too.
    pub(crate) fn take(&self, lapic: &mut Lapic) -> bool {
        // Cleared first: what is posted while we look sets it again.
        self.any.store(false, Ordering::SeqCst);
        for (i, word) in self.requested.iter().enumerate() {
            let mut bits = word.swap(0, Ordering::AcqRel);
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                bits ^= bit;
                let level = self.level[i].load(Ordering::Relaxed) & bit != 0;
                // Four words of 64 bits: the number fits.
                lapic.accept(Vector((i as u32 * 64 + bit.trailing_zeros()) as u8), level);
            }
        }
        self.nmi.swap(false, Ordering::AcqRel)
    }

    /// Tells others what the vCPU's local APIC answers to from now on.
    pub(crate) fn publish(&self, address: Address) {
        *self.address.lock() = address;
    }

    /// Whether a message to `destination` is for this vCPU.
    pub(crate) fn matches(&self, destination: Destination) -> bool {
        self.address.lock().matches(destination)
    }
}

fn place(vector: Vector) -> (usize, u64) {
    (usize::from(vector.0 >> 6), 1 << (vector.0 & 63))
}
