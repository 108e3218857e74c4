//! What others have for a vCPU: the one way in which another core, or a chip, reaches it.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use devices::lapic::Address;
use devices::{Destination, Lapic};
use spec::Vector;

/// A bit for each vector.
type Vectors = [AtomicU64; 4];

/// Pending interrupts of one vCPU, until its core takes them into its local APIC.
#[derive(Debug)]
pub struct Mailbox {
    /// Something is here: the one word that the vCPU's core looks at before each entry
    any: AtomicBool,
    nmi: AtomicBool,
    /// One bit says both that there is a request and how it was triggered, so that no two words have to agree.
    edge: Vectors,
    level: Vectors,
    /// What the vCPU's local APIC answers to, packed; its core tells of each change
    address: AtomicU64,
}

impl Mailbox {
    /// The empty mailbox of the vCPU with this index, which is its APIC id, as its APIC is after reset.
    pub(crate) fn new(index: u32) -> Self {
        Self {
            any: AtomicBool::new(false),
            nmi: AtomicBool::new(false),
            edge: Vectors::default(),
            level: Vectors::default(),
            address: AtomicU64::new(Lapic::new(index, index == 0, 0).address().pack()),
        }
    }

    /// Leaves an interrupt here.
    // A swap, not a store: a store would end the release sequence of another's post, and whoever takes would see one of the
    // two alone.
    pub fn post(&self, vector: Vector, level: bool) {
        let vectors = if level { &self.level } else { &self.edge };
        vectors[usize::from(vector.0 >> 6)].fetch_or(1 << (vector.0 & 63), Ordering::Relaxed);
        self.any.swap(true, Ordering::Release);
    }

    /// Leaves an NMI here.
    pub fn post_nmi(&self) {
        self.nmi.store(true, Ordering::Relaxed);
        self.any.swap(true, Ordering::Release);
    }

    /// Whether there is nothing to take.
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Acquire)
    }

    /// Moves all interrupts into the vCPU's local APIC; says whether an NMI was here too.
    ///
    /// A vector that came both ways counts as level-triggered: then its end is told to the I/O APIC, to which one
    /// telling too many does nothing, and one too few would leave a pin dead.
    #[cold]
    #[inline(never)]
    pub(crate) fn take(&self, lapic: &mut Lapic) -> bool {
        // Cleared first: what is posted while we look sets it again. A swap, since only one that reads what a poster
        // stored is sure to see what that poster had left before.
        self.any.swap(false, Ordering::Acquire);
        for (vectors, level) in [(&self.edge, false), (&self.level, true)] {
            for (base, word) in (0..).step_by(64).zip(vectors) {
                let mut bits = word.swap(0, Ordering::Relaxed);
                while bits != 0 {
                    // Four words of 64 bits: the number fits.
                    lapic.accept(Vector((base + bits.trailing_zeros()) as u8), level);
                    bits &= bits - 1;
                }
            }
        }
        self.nmi.swap(false, Ordering::Relaxed)
    }

    /// Tells others what the vCPU's local APIC answers to from now on.
    pub(crate) fn publish(&self, address: Address) {
        self.address.store(address.pack(), Ordering::Release);
    }

    /// Whether a message to `destination` is for this vCPU.
    pub(crate) fn matches(&self, destination: Destination) -> bool {
        Address::unpack(self.address.load(Ordering::Acquire)).matches(destination)
    }
}
