//! What others have for a vCPU: the one way in which another core, or a chip, reaches it.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use devices::lapic::Address;
use devices::{Destination, Lapic};
use seam::Kick;
use spec::Vector;

/// A bit for each vector.
type Vectors = [AtomicU64; 4];

/// How an edge-triggered interrupt gets to a vCPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Route {
    /// It waits in the mailbox, and the vCPU's core is kicked.
    Kick,
    /// It waits in the descriptor, and this core's processor is notified.
    Post(u32),
    /// It is raised in this core's local APIC.
    Raise(u32),
}

impl Route {
    const fn pack(self) -> u64 {
        match self {
            Route::Kick => 0,
            Route::Post(core) => 1 << 32 | core as u64,
            Route::Raise(core) => 2 << 32 | core as u64,
        }
    }

    const fn unpack(word: u64) -> Self {
        match word >> 32 {
            1 => Route::Post(word as u32),
            2 => Route::Raise(word as u32),
            _ => Route::Kick,
        }
    }
}

/// Vectors below this one are not raised from elsewhere: one that came late would look like an exception to the hypervisor.
const FIRST_RAISED: Vector = Vector(32);

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
///
/// The first 64 bytes are a posted-interrupt descriptor: the processor takes edge-triggered interrupts out of there by itself while it
/// runs the vCPU (SDM vol. 3, "Posted-Interrupt Processing").
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Mailbox {
    /// One bit says both that there is a request and how it was triggered, so that no two words have to agree.
    edge: Vectors,
    /// Bit 0: the processor has been notified of what is in `edge`, or is about to be
    outstanding: AtomicU64,
    reserved: [u64; 3],
    /// Something is here: the one word that the vCPU's core looks at before each entry
    any: AtomicBool,
    /// As in [`signal`]
    signals: AtomicU32,
    level: Vectors,
    /// How an edge-triggered interrupt gets to the vCPU: [`Route`], packed
    route: AtomicU64,
    /// How many are about to send its core an interrupt
    senders: AtomicU32,
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
            edge: Vectors::default(),
            outstanding: AtomicU64::new(0),
            reserved: [0; 3],
            any: AtomicBool::new(false),
            signals: AtomicU32::new(0),
            level: Vectors::default(),
            route: AtomicU64::new(Route::Kick.pack()),
            senders: AtomicU32::new(0),
            address: AtomicU64::new(Lapic::new(index, index == 0, 0).address().pack()),
        }
    }

    /// Empties it while its vCPU is at rest; as after [`Mailbox::new`].
    pub(crate) fn reset(&self, index: u32) {
        self.withdraw();
        self.any.swap(false, Ordering::Acquire);
        self.outstanding.store(0, Ordering::Relaxed);
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
        word(vectors, vector).fetch_or(1 << (vector.0 & 63), Ordering::Relaxed);
        self.posted()
    }

    /// Gets an interrupt to the vCPU the way that its core has named. Says whether that core has to be kicked.
    #[must_use]
    pub(crate) fn send(&self, vector: Vector, level: bool, ways: &dyn Kick) -> bool {
        if level {
            return self.post(vector, level);
        }
        match self.route() {
            Route::Post(_) => self.notify(vector, ways),
            Route::Raise(_) if vector >= FIRST_RAISED && self.raise(vector, ways) => false,
            _ => self.post(vector, level),
        }
    }

    /// Leaves an edge-triggered interrupt where the processor finds it.
    fn notify(&self, vector: Vector, ways: &dyn Kick) -> bool {
        let word = word(&self.edge, vector);
        word.fetch_or(1 << (vector.0 & 63), Ordering::SeqCst);
        if self.outstanding.swap(1, Ordering::SeqCst) != 0 {
            // Whoever has set it tells, after having looked at the route as below.
            return false;
        }
        // The vCPU may have left its core meanwhile: either we see that, or its core sees the bit in `withdraw`. And that waits for us:
        // the core's local APIC may be about to be lent, and a guest is not to find a notification in it.
        self.senders.fetch_add(1, Ordering::SeqCst);
        let kicks = match self.route() {
            Route::Post(core) => {
                ways.notify(core);
                false
            }
            _ => self.posted(),
        };
        self.senders.fetch_sub(1, Ordering::SeqCst);
        kicks
    }

    /// Raises an interrupt in the local APIC that is lent to the vCPU, if it still is.
    fn raise(&self, vector: Vector, ways: &dyn Kick) -> bool {
        self.senders.fetch_add(1, Ordering::SeqCst);
        // Looked at again: from here on `withdraw` waits for us.
        let lent = if let Route::Raise(core) = self.route() {
            ways.raise(core, vector);
            true
        } else {
            false
        };
        self.senders.fetch_sub(1, Ordering::SeqCst);
        lent
    }

    /// From now on edge-triggered interrupts are posted to the processor of this core, by its local APIC id, which is about to enter the
    /// vCPU. Only its core calls this and the next two.
    pub fn post_at(&self, core: u32) {
        self.set_route(Route::Post(core));
    }

    /// From now on edge-triggered interrupts are raised in the local APIC of this core, by its id, which is lent to the vCPU.
    pub fn raise_at(&self, core: u32) {
        self.set_route(Route::Raise(core));
    }

    /// An interrupt that was raised in the local APIC that was lent to the vCPU has arrived after it was taken back. Says whether the
    /// vCPU's core has to look.
    #[must_use]
    pub fn late(&self, vector: Vector) -> bool {
        self.post(vector, false)
    }

    /// From now on interrupts wait here again, and the vCPU's core is kicked. Nobody sends that core one any more when this returns.
    pub fn withdraw(&self) {
        self.set_route(Route::Kick);
        while self.senders.load(Ordering::SeqCst) != 0 {
            // They are a few instructions from their end, in root operation, where nothing but an NMI's short handler delays them.
            spin_loop();
        }
    }

    fn set_route(&self, route: Route) {
        self.route.store(route.pack(), Ordering::SeqCst);
        // What was posted while another route was in force waits for nobody.
        if self.outstanding.load(Ordering::SeqCst) != 0 {
            self.any.swap(true, Ordering::AcqRel);
        }
    }

    fn route(&self) -> Route {
        Route::unpack(self.route.load(Ordering::SeqCst))
    }

    /// Leaves an NMI here.
    #[must_use]
    pub(crate) fn post_nmi(&self) -> bool {
        self.signals.fetch_or(signal::NMI, Ordering::Relaxed);
        self.posted()
    }

    /// Leaves an NMI here that the vCPU sends itself. Its INIT takes what it has sent before: also where that INIT is here already, for
    /// the vCPU would not have got to send it any more.
    #[must_use]
    pub(crate) fn post_own_nmi(&self) -> bool {
        let sent = self
            .signals
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
                (old & signal::INIT == 0).then_some(old | signal::NMI)
            });
        sent.is_ok() && self.posted()
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
        if self.outstanding.load(Ordering::Relaxed) != 0 {
            // Before the vectors, for the same reason: whoever leaves one from here on notifies again.
            self.outstanding.swap(0, Ordering::AcqRel);
        }
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
                    lapic.accept(Vector((base | bits.trailing_zeros()) as u8), level);
                    bits &= bits.wrapping_sub(1);
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

/// The word that holds a vector's bit.
#[expect(clippy::indexing_slicing, reason = "two bits index four words")]
fn word(vectors: &[AtomicU64; 4], vector: Vector) -> &AtomicU64 {
    &vectors[usize::from(vector.0 >> 6)]
}
