//! The ways by which an interrupt gets to a vCPU that the processor interrupts by itself.

use super::fake::{Machine, Told};
use crate::Mailbox;
use devices::Lapic;
use exits::Answer;
use seam::Kick;
use spec::{Msr, Ticks, Vector};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const ICR: Msr = Msr(0x830);
const TO_1: u64 = 1 << 32;
const NMI: u64 = 4 << 8;

#[test]
fn a_vcpu_that_runs_is_notified_once_and_not_kicked() {
    let mut m = Machine::x2apic(2);
    m.vm.mailboxes[1].post_at(7);
    for vector in [0x51, 0x52, 0x12] {
        assert_eq!(m.wrmsr(0, ICR, TO_1 | vector), Answer::Advance);
    }
    assert_eq!(m.kicks.take_told(), [Told::Notified(7)]);
    assert_eq!(m.kicks.take(), [0, 0]);
    m.vm.mailboxes[1].withdraw();
    assert_eq!(
        m.drain(1),
        [0x52, 0x51, 0x12],
        "what the processor has not taken, we take"
    );
    // It has left its core: the old way.
    assert_eq!(m.wrmsr(0, ICR, TO_1 | 0x53), Answer::Advance);
    assert_eq!(m.kicks.take_told(), []);
    assert_eq!(m.kicks.take(), [0, 1]);
    assert_eq!(m.drain(1), [0x53]);
}

#[test]
fn a_lent_local_apic_is_interrupted_by_the_vector_itself() {
    let mut m = Machine::x2apic(2);
    m.vm.mailboxes[1].raise_at(3);
    for vector in [0x51, 0x51, 0x20] {
        assert_eq!(m.wrmsr(0, ICR, TO_1 | vector), Answer::Advance);
    }
    assert_eq!(
        m.kicks.take_told(),
        [0x51, 0x51, 0x20].map(|vector| Told::Raised(3, vector))
    );
    assert_eq!(m.kicks.take(), [0, 0]);
    assert_eq!(m.drain(1), []);
}

#[test]
fn what_a_processor_cannot_take_by_itself_comes_by_a_kick() {
    for lent in [false, true] {
        let mut m = Machine::x2apic(2);
        if lent {
            m.vm.mailboxes[1].raise_at(3);
        } else {
            m.vm.mailboxes[1].post_at(3);
        }
        assert_eq!(m.wrmsr(0, ICR, TO_1 | NMI), Answer::Advance);
        assert_eq!(m.kicks.take(), [0, 1]);
        assert!(m.wants(1).nmi);
        // Level-triggered, for its end is to be told
        m.redirect(4, TO_1 << 24 | 1 << 15 | 0x61);
        m.vm.set_pin(None, 4, true);
        assert_eq!(m.kicks.take(), [0, 1]);
        assert_eq!(m.kicks.take_told(), []);
        // Or its end would bring the next.
        m.vm.set_pin(None, 4, false);
        assert_eq!(m.drain(1), [0x61]);
    }
    // It would look like an exception if it came late.
    let mut m = Machine::x2apic(2);
    m.vm.mailboxes[1].raise_at(3);
    assert_eq!(m.wrmsr(0, ICR, TO_1 | 0x1f), Answer::Advance);
    assert_eq!(
        (m.kicks.take(), m.kicks.take_told()),
        ([0, 1].into(), [].into())
    );
    assert_eq!(m.drain(1), [0x1f]);
}

/// The core of the one vCPU, as far as others reach it.
#[derive(Default)]
struct Core {
    kicked: AtomicBool,
    notified: AtomicBool,
    raised: [AtomicU64; 4],
    /// Its local APIC is lent
    lent: AtomicBool,
    strays: AtomicUsize,
}

impl Kick for Core {
    fn kick(&self, _: u32) {
        self.kicked.store(true, Ordering::SeqCst);
    }

    fn notify(&self, _: u32) {
        self.notified.store(true, Ordering::SeqCst);
    }

    fn raise(&self, _: u32, vector: Vector) {
        if !self.lent.load(Ordering::SeqCst) {
            self.strays.fetch_add(1, Ordering::SeqCst);
        }
        self.raised[usize::from(vector.0 >> 6)].fetch_or(1 << (vector.0 & 63), Ordering::SeqCst);
    }

    fn watch(&self) {}
}

/// Each of two senders waits for its interrupt to arrive before it sends the next, so one that is lost shows; the owner goes through
/// all routes meanwhile, and looks only when and where hardware would.
#[test]
fn no_interrupt_is_lost_or_astray_while_the_route_changes() {
    const ROUNDS: usize = if cfg!(miri) { 30 } else { 3_000 };
    let (mailbox, core) = (Mailbox::new(0), Core::default());
    let arrived = [0; 2].map(|_| AtomicUsize::new(0));
    let lost = AtomicBool::new(false);
    thread::scope(|scope| {
        for (sender, arrived) in arrived.iter().enumerate() {
            let (mailbox, core, lost) = (&mailbox, &core, &lost);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    // Vectors of one sender are in one word, so that the owner can count them apart.
                    let vector = Vector((0x40 + 0x40 * sender + round % 60) as u8);
                    if mailbox.send(vector, false, core) {
                        core.kick(0);
                    }
                    while arrived.load(Ordering::Acquire) <= round {
                        if lost.load(Ordering::Relaxed) {
                            return;
                        }
                        thread::yield_now();
                    }
                }
            });
        }
        let mut lapic = Lapic::new(0, true, 0);
        assert_eq!(lapic.set_base_msr(0xfee0_0d00), Ok(()));
        let _ = lapic.write_msr(Msr(0x80f), 0x1ff, Ticks(0));
        let mut since = Instant::now();
        let mut turn = 0_usize;
        let count = |lapic: &mut Lapic| {
            let mut seen = 0;
            while let Some(vector) = lapic.deliverable() {
                lapic.acknowledge(vector);
                let _ = lapic.write_msr(Msr(0x80b), 0, Ticks(0));
                arrived[usize::from(vector.0 >> 6) - 1].fetch_add(1, Ordering::Release);
                seen += 1;
            }
            seen
        };
        while arrived.iter().any(|n| n.load(Ordering::Relaxed) < ROUNDS) {
            turn += 1;
            let mut seen = 0;
            match turn % 3 {
                0 => mailbox.post_at(0),
                1 => {
                    core.lent.store(true, Ordering::SeqCst);
                    mailbox.raise_at(0);
                }
                _ => {}
            }
            for _ in 0..turn % 7 {
                if core.kicked.swap(false, Ordering::SeqCst) && !mailbox.is_empty() {
                    mailbox.take(&mut lapic);
                }
                // The processor takes what is posted only if it is notified.
                if turn.is_multiple_of(3) && core.notified.swap(false, Ordering::SeqCst) {
                    mailbox.take(&mut lapic);
                }
                seen += count(&mut lapic);
                thread::yield_now();
            }
            mailbox.withdraw();
            core.lent.store(false, Ordering::SeqCst);
            for (word, sender) in core.raised[1..3].iter().zip(&arrived) {
                let raised = word.swap(0, Ordering::SeqCst).count_ones() as usize;
                sender.fetch_add(raised, Ordering::Release);
                seen += raised;
            }
            // Between two turns the owner looks for itself.
            if !mailbox.is_empty() {
                mailbox.take(&mut lapic);
            }
            seen += count(&mut lapic);
            if seen != 0 {
                since = Instant::now();
            } else if since.elapsed() > Duration::from_secs(10) {
                lost.store(true, Ordering::Relaxed);
                break;
            }
        }
    });
    assert!(!lost.load(Ordering::Relaxed), "an interrupt was lost");
    assert_eq!(
        core.strays.load(Ordering::SeqCst),
        0,
        "raised after the local APIC was back"
    );
}
