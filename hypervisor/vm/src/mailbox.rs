//! What others have for a vCPU: the one way in which another core, or a chip, reaches it.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use devices::lapic::Address;
use devices::{Destination, Lapic};
use spec::Vector;

/// A bit for each vector.
type Vectors = [AtomicU64; 4];

/// What is not a vector, in one word, so that the order of these is kept: INIT forgets what came before it, an NMI and a
/// start-up stay beside an INIT that came before them.
mod signal {
    /// Vector of the start-up
    pub(super) const START_UP_VECTOR: u32 = 0xff;
    pub(super) const START_UP: u32 = 1 << 8;
    pub(super) const INIT: u32 = 1 << 9;
    pub(super) const NMI: u32 = 1 << 10;
}

/// Pending interrupts of one vCPU, until its core takes them into its local APIC. On cache lines of its own, for the core
/// looks at it before each entry.
#[derive(Debug)]
#[repr(align(64))]
pub struct Mailbox {
    /// Something is here: the one word that the vCPU's core looks at before each entry
    any: AtomicBool,
    /// As in [`signal`]
    signals: AtomicU32,
    /// One bit says both that there is a request and how it was triggered, so that no two words have to agree.
    edge: Vectors,
    level: Vectors,
    /// What the vCPU's local APIC answers to, packed; its core tells of each change
    address: AtomicU64,
}

/// What else was in a mailbox, in the order in which it takes effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Taken {
    /// An INIT
    pub(crate) init: bool,
    /// An NMI, after the INIT if there was one
    pub(crate) nmi: bool,
    /// The first start-up after the INIT if there was one
    pub(crate) start_up: Option<u8>,
}

impl Mailbox {
    /// The empty mailbox of the vCPU with this index, which is its APIC id, as its APIC is after reset.
    pub(crate) fn new(index: u32) -> Self {
        Self {
            any: AtomicBool::new(false),
            signals: AtomicU32::new(0),
            edge: Vectors::default(),
            level: Vectors::default(),
            address: AtomicU64::new(Lapic::new(index, index == 0, 0).address().pack()),
        }
    }

    /// Empties it while its vCPU is at rest; as after [`Mailbox::new`].
    pub(crate) fn reset(&self, index: u32) {
        self.any.swap(false, Ordering::Acquire);
        self.signals.store(0, Ordering::Relaxed);
        for word in self.edge.iter().chain(&self.level) {
            word.store(0, Ordering::Relaxed);
        }
        self.publish(Lapic::new(index, index == 0, 0).address());
    }

    /// Leaves an interrupt here. Says, as all of these do, whether the vCPU's core has to be told to look: it has been told
    /// already of what it has not seen yet.
    #[must_use]
    pub(crate) fn post(&self, vector: Vector, level: bool) -> bool {
        let vectors = if level { &self.level } else { &self.edge };
        vectors[usize::from(vector.0 >> 6)].fetch_or(1 << (vector.0 & 63), Ordering::Relaxed);
        self.posted()
    }

    /// Leaves an NMI here.
    #[must_use]
    pub(crate) fn post_nmi(&self) -> bool {
        self.signals.fetch_or(signal::NMI, Ordering::Relaxed);
        self.posted()
    }

    /// Leaves an INIT here, in place of all signals that have not been seen.
    #[must_use]
    pub(crate) fn post_init(&self) -> bool {
        self.signals.swap(signal::INIT, Ordering::Relaxed);
        self.posted()
    }

    /// Leaves a start-up here, unless another one waits: the vCPU would run by the time of this one, and ignore it.
    #[must_use]
    pub(crate) fn post_start_up(&self, vector: u8) -> bool {
        let new = signal::START_UP | u32::from(vector);
        // An error says that one waits already.
        let _ = self
            .signals
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
                (old & signal::START_UP == 0).then_some(old | new)
            });
        self.posted()
    }

    /// Tells that something is here, and whether nothing was.
    // A swap, not a store: a store would end the release sequence of another's post, and whoever takes would see one of the
    // two alone. Whoever finds that something was here already has come before the taking of it, which then sees both.
    fn posted(&self) -> bool {
        !self.any.swap(true, Ordering::AcqRel)
    }

    /// Whether there is nothing to take.
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Acquire)
    }

    /// Moves all interrupts into the vCPU's local APIC, after the INIT if there is one, and says what else was here.
    ///
    /// A vector that came both ways counts as level-triggered: then its end is told to the I/O APIC, to which one
    /// telling too many does nothing, and one too few would leave a pin dead.
    #[cold]
    #[inline(never)]
    pub(crate) fn take(&self, lapic: &mut Lapic) -> Taken {
        // Cleared first: what is posted while we look sets it again. A swap, since only one that reads what a poster
        // stored is sure to see what that poster had left before.
        self.any.swap(false, Ordering::AcqRel);
        // Swapped only if something is there, for that costs as much as all that follows.
        let signals = if self.signals.load(Ordering::Relaxed) == 0 {
            0
        } else {
            self.signals.swap(0, Ordering::Relaxed)
        };
        let init = signals & signal::INIT != 0;
        if init {
            // It leaves the APIC disabled by software, so that it drops what was posted before, as it should, and what
            // was posted since, as it would have.
            lapic.init();
            self.publish(lapic.address());
        }
        for (vectors, level) in [(&self.edge, false), (&self.level, true)] {
            for (base, word) in (0..).step_by(64).zip(vectors) {
                if word.load(Ordering::Relaxed) == 0 {
                    continue;
                }
                let mut bits = word.swap(0, Ordering::Relaxed);
                while bits != 0 {
                    // Four words of 64 bits: the number fits.
                    lapic.accept(Vector((base + bits.trailing_zeros()) as u8), level);
                    bits &= bits - 1;
                }
            }
        }
        Taken {
            init,
            nmi: signals & signal::NMI != 0,
            start_up: (signals & signal::START_UP != 0)
                .then_some((signals & signal::START_UP_VECTOR) as u8),
        }
    }

    /// Tells others what the vCPU's local APIC answers to from now on.
    pub(crate) fn publish(&self, address: Address) {
        self.address.store(address.pack(), Ordering::Release);
    }

    /// What the vCPU's local APIC answers to.
    pub(crate) fn address(&self) -> Address {
        Address::unpack(self.address.load(Ordering::Acquire))
    }

    /// Whether a message to `destination` is for this vCPU.
    pub(crate) fn matches(&self, destination: Destination) -> bool {
        self.address().matches(destination)
    }
}
