//! The cores that the plan can name, and how each is told of work: kicks, and which of its vCPUs they are for.

use crate::desk::Desk;
use crate::moves::Parcel;
use crate::times::Report;
use crate::trace::Ring;
use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use hw::core_local::CoreLocal;
use hw::rescue::Anchor;
use spin::{Mutex, Once};

/// A core that the plan can name.
pub(crate) struct Seat {
    /// Local APIC id
    pub(crate) apic_id: u32,
    up: AtomicBool,
    /// A bit for each vCPU that has something new
    wakes: Box<[AtomicU64]>,
    /// A bit for each word of `wakes`
    summary: Box<[AtomicU64]>,
    /// A bit for each VM for whose vCPUs it is not to be interrupted: it will look by itself
    quiet: AtomicU64,
    /// A watchdog may expire before it would look
    watch: AtomicBool,
    /// It has nothing to run, and takes a vCPU of the pool
    pub(crate) idle: AtomicBool,
    /// One of its vCPUs waits and may go elsewhere
    pub(crate) crowded: AtomicBool,
    /// A vCPU on its way here
    pub(crate) inbox: Mutex<Option<Parcel>>,
    /// What its scheduler did last
    pub(crate) trace: Ring,
    /// Where its time went
    pub(crate) report: Report,
    /// What it is asked
    pub(crate) desk: Desk,
    /// Where it goes on if its work for a vCPU is given up
    pub(crate) anchor: Anchor,
    /// The vCPU that it is at work for, by its number and one more; zero if none
    serves: AtomicU32,
    /// Its TSC is not the first core's
    out_of_step: AtomicBool,
    /// It has no IA32_TSC_ADJUST, or firmware has adjusted its TSC, which a guest that reads the processor's would see
    adjusted: AtomicBool,
}

static SEATS: Once<Box<[Seat]>> = Once::new();

/// Says which cores there are, by their local APIC ids, and how many vCPUs the machine has.
pub(crate) fn set(apic_ids: impl Iterator<Item = u32>, vcpus: usize) {
    let words = vcpus.div_ceil(64);
    let zeroes = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
    let seat = |apic_id| Seat {
        apic_id,
        up: AtomicBool::new(false),
        wakes: zeroes(words),
        summary: zeroes(words.div_ceil(64)),
        quiet: AtomicU64::new(0),
        watch: AtomicBool::new(false),
        idle: AtomicBool::new(false),
        crowded: AtomicBool::new(false),
        inbox: Mutex::new(None),
        trace: Ring::new(),
        report: Report::default(),
        desk: Desk::default(),
        anchor: Anchor::default(),
        serves: AtomicU32::new(0),
        out_of_step: AtomicBool::new(false),
        adjusted: AtomicBool::new(false),
    };
    SEATS.call_once(|| apic_ids.map(seat).collect());
}

/// The cores by their numbers.
pub(crate) fn all() -> &'static [Seat] {
    SEATS.get().map_or(&[], |seats| seats)
}

/// A core by its number.
pub(crate) fn at(number: u32) -> Option<&'static Seat> {
    all().get(number as usize)
}

impl Seat {
    /// Whether it has been started and takes orders.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// It runs our code from now on.
    pub(crate) fn set_up(&self) {
        self.up.store(true, Ordering::Release);
    }

    /// Whether its TSC is the first core's, as far as could be seen.
    pub(crate) fn is_in_step(&self) -> bool {
        !self.out_of_step.load(Ordering::Relaxed)
    }

    /// Its TSC is another than the first core's.
    pub(crate) fn set_out_of_step(&self) {
        self.out_of_step.store(true, Ordering::Relaxed);
    }

    /// Whether its IA32_TSC_ADJUST is the one that a guest begins with.
    pub(crate) fn is_unadjusted(&self) -> bool {
        !self.adjusted.load(Ordering::Relaxed)
    }

    /// Its IA32_TSC_ADJUST is not zero.
    pub(crate) fn set_adjusted(&self) {
        self.adjusted.store(true, Ordering::Relaxed);
    }

    /// Says which vCPU it is at work for from now on, by its number.
    pub(crate) fn serve(&self, vcpu: Option<u16>) {
        let mark = vcpu.map_or(0, |vcpu| u32::from(vcpu).saturating_add(1));
        self.serves.store(mark, Ordering::Relaxed);
    }

    /// The vCPU that it is at work for.
    pub(crate) fn served(&self) -> Option<u16> {
        let before = self.serves.load(Ordering::Relaxed).checked_sub(1)?;
        u16::try_from(before).ok()
    }

    /// Tells it to look at a vCPU when it looks next.
    pub(crate) fn mark(&self, vcpu: u32) {
        if let Some(word) = self.wakes.get(vcpu as usize / 64)
            && let Some(summary) = self.summary.get(vcpu as usize / 4096)
        {
            word.fetch_or(1 << (vcpu & 63), Ordering::AcqRel);
            // Sequentially consistent, with the look at `quiet` that follows: a core that ends its quiet looks here afterwards.
            summary.fetch_or(1 << ((vcpu / 64) & 63), Ordering::SeqCst);
        }
    }

    /// The vCPUs of this core for which it was told to look, each of them once: who tells it again meanwhile kicks it again, or it is
    /// quiet. Otherwise guests could keep it at this for as long as they like.
    pub(crate) fn wakes(&self) -> impl Iterator<Item = u32> {
        let words = (0..).zip(&self.summary).flat_map(|(s, summary)| {
            // Cleared before its words: whoever sets a bit there sets this one after it.
            bits(summary.swap(0, Ordering::SeqCst)).map(move |w| s * 64 + w)
        });
        words.flat_map(|w| {
            let word = self.wakes.get(w as usize);
            let set = word.map_or(0, |word| word.swap(0, Ordering::AcqRel));
            bits(set).map(move |bit| w * 64 + bit)
        })
    }

    /// Has it look at the watchdogs soon.
    pub(crate) fn watch(&self, number: u32) {
        self.watch.store(true, Ordering::Release);
        if self.is_up() {
            kick_seat(self, number);
        }
    }

    /// Whether it was told to look at the watchdogs since the last call.
    pub(crate) fn is_to_watch(&self) -> bool {
        self.watch.swap(false, Ordering::AcqRel)
    }

    /// Says for which VMs this core is not to be kicked. It is to look at [`Seat::wakes`] after one has gone from them.
    pub(crate) fn set_quiet(&self, vms: u64) {
        self.quiet.store(vms, Ordering::SeqCst);
    }
}

/// The numbers of the bits that are set.
fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        // Nothing is left of a word without bits.
        word &= word.checked_sub(1)?;
        Some(bit)
    })
}

/// Has a core look at its orders and at the consoles.
pub(crate) fn kick(number: u32) {
    if let Some(seat) = at(number).filter(|seat| seat.is_up()) {
        kick_seat(seat, number);
    }
}

/// Has a core look at one of its vCPUs, for which somebody has left something: it is seen soon, but not at once while the core is quiet
/// for its VM.
pub(crate) fn wake(number: u32, vcpu: u32, vm: u32) {
    if let Some(seat) = at(number) {
        seat.mark(vcpu);
        if seat.is_up() && (seat.quiet.load(Ordering::SeqCst) >> (vm & 63)) & 1 == 0 {
            kick_seat(seat, number);
        }
    }
}

/// Has a core look at the orders for one of its vCPUs, at once.
pub(crate) fn order(number: u32, vcpu: u32) {
    if let Some(seat) = at(number) {
        seat.mark(vcpu);
        if seat.is_up() {
            kick_seat(seat, number);
        }
    }
}

fn kick_seat(seat: &Seat, number: u32) {
    match CoreLocal::current() {
        Some(local) if local.index == number => local.note_kick(),
        _ => hw::apic::send_nmi(seat.apic_id),
    }
}
