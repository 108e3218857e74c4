//! The mailbox, from several threads.

use crate::mailbox::Taken;
use crate::{Mailbox, Vcpu};
use devices::Lapic;
use devices::lapic::Effect;
use spec::{Msr, Ticks, Vector};
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// In x2APIC mode, enabled by software.
fn lapic() -> Lapic {
    let mut lapic = Lapic::new(0, true, 0);
    assert_eq!(lapic.set_base_msr(0xfee0_0d00), Ok(()));
    assert_eq!(
        lapic.write_msr(Msr(0x80f), 0x1ff, Ticks(0)),
        Ok(Effect::None)
    );
    lapic
}

/// Delivers and ends what is pending: the vector, and whether the I/O APICs are told.
fn next(lapic: &mut Lapic) -> Option<(u8, bool)> {
    let vector = lapic.deliverable()?;
    lapic.acknowledge(vector);
    let end = lapic.write_msr(Msr(0x80b), 0, Ticks(0));
    Some((vector.0, end == Ok(Effect::Eoi(vector))))
}

#[test]
fn every_vector_keeps_its_number_and_its_trigger() {
    for number in 16..=255 {
        for level in [false, true] {
            let (mailbox, mut lapic) = (Mailbox::new(0), lapic());
            assert!(mailbox.is_empty());
            assert!(mailbox.post(Vector(number), level));
            assert!(!mailbox.is_empty());
            assert_eq!(mailbox.take(&mut lapic), Taken::default());
            assert!(mailbox.is_empty());
            assert_eq!(next(&mut lapic), Some((number, level)));
            assert_eq!(next(&mut lapic), None);
        }
    }
}

#[test]
fn a_vector_that_came_both_ways_is_ended_as_a_level() {
    for order in [[false, true], [true, false]] {
        let (mailbox, mut lapic) = (Mailbox::new(0), lapic());
        for level in order {
            let _ = mailbox.post(Vector(0x33), level);
        }
        mailbox.take(&mut lapic);
        assert_eq!(next(&mut lapic), Some((0x33, true)));
        assert_eq!(next(&mut lapic), None);
    }
}

/// The owner takes only when the one word says that there is something, as a core does before each entry. Each round posts
/// twice, the second at another distance each time so that it falls into every part of the taking of the first, and waits for
/// both: one that is lost is not made good by the next.
#[test]
fn what_is_posted_while_the_owner_takes_is_not_lost() {
    const ROUNDS: usize = if cfg!(miri) { 40 } else { 1_000 };
    let mailbox = Mailbox::new(0);
    // How many posts have arrived
    let arrived = AtomicUsize::new(0);
    let lost = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..ROUNDS {
                let _ = mailbox.post(Vector(0x40), false);
                for _ in 0..round % 128 {
                    spin_loop();
                }
                let _ = if round % 2 == 0 {
                    mailbox.post(Vector(0x80), true)
                } else {
                    mailbox.post_nmi()
                };
                while arrived.load(Ordering::Acquire) < 2 * (round + 1) {
                    if lost.load(Ordering::Relaxed) {
                        return;
                    }
                    thread::yield_now();
                }
            }
        });
        let mut lapic = lapic();
        let mut since = Instant::now();
        while arrived.load(Ordering::Relaxed) < 2 * ROUNDS {
            if !mailbox.is_empty() {
                let nmi = mailbox.take(&mut lapic).nmi;
                let interrupts = core::iter::from_fn(|| next(&mut lapic)).count();
                arrived.fetch_add(interrupts + usize::from(nmi), Ordering::Release);
                since = Instant::now();
            } else if since.elapsed() > Duration::from_secs(10) {
                lost.store(true, Ordering::Relaxed);
                break;
            } else {
                thread::yield_now();
            }
        }
    });
    assert!(!lost.load(Ordering::Relaxed), "a post was lost");
    assert_eq!(arrived.into_inner(), 2 * ROUNDS);
}

/// A core that looks only when it has been kicked, as one that sleeps does, beside others that kick only when the post says so.
struct Sleeper {
    mailbox: Mailbox,
    kicked: AtomicBool,
}

impl Sleeper {
    fn new(index: u32) -> Self {
        Self {
            mailbox: Mailbox::new(index),
            kicked: AtomicBool::new(false),
        }
    }

    fn post(&self, unseen: bool) {
        if unseen {
            self.kicked.store(true, Ordering::Release);
        }
    }

    /// Waits for a kick; `false` if none comes for long.
    fn sleep(&self) -> bool {
        let since = Instant::now();
        while !self.kicked.swap(false, Ordering::Acquire) {
            if since.elapsed() > Duration::from_secs(10) {
                return false;
            }
            thread::yield_now();
        }
        true
    }
}

/// Each round posts INIT and two start-ups at a different pace, while another thread keeps the mailbox busy. Whatever the target
/// sees at which look, it starts once a round, at the vector of the first start-up.
#[test]
fn a_start_up_is_neither_lost_nor_doubled_nor_before_its_init() {
    const ROUNDS: usize = if cfg!(miri) { 40 } else { 1_000 };
    let target = Sleeper::new(1);
    let starts = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..ROUNDS {
                let vector = round as u8;
                // One that must be ignored, for the target runs
                target.post(target.mailbox.post_start_up(!vector));
                target.post(target.mailbox.post_init());
                for _ in 0..round % 64 {
                    spin_loop();
                }
                target.post(target.mailbox.post_start_up(vector));
                for _ in 0..round / 64 % 64 {
                    spin_loop();
                }
                target.post(target.mailbox.post_start_up(vector ^ 1));
                while starts.load(Ordering::Acquire) <= round && !over.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                target.post(target.mailbox.post(Vector(0x40), false));
                target.post(target.mailbox.post_nmi());
                thread::yield_now();
            }
        });
        let mut vcpu = Vcpu::new(1, 0);
        vcpu.started_up();
        for round in 0..ROUNDS {
            let vector = loop {
                if !target.sleep() {
                    over.store(true, Ordering::Relaxed);
                    panic!("a post was lost in round {round}");
                }
                let wants = vcpu.wants(&target.mailbox, Ticks(0));
                if let Some(vector) = wants.start_up {
                    break vector;
                }
            };
            vcpu.started_up();
            if vector != round as u8 {
                over.store(true, Ordering::Relaxed);
                panic!("round {round} started at {vector:#x}");
            }
            starts.store(round + 1, Ordering::Release);
        }
    });
}

/// Several senders at once, each of which counts on being seen: no kick is lost either.
#[test]
fn every_sender_is_seen_though_few_kick() {
    const SENDERS: usize = 3;
    const ROUNDS: usize = if cfg!(miri) { 40 } else { 1_000 };
    let target = Sleeper::new(0);
    let arrived: [AtomicUsize; SENDERS] = Default::default();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for (n, arrived) in arrived.iter().enumerate() {
            let (target, over) = (&target, &over);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let vector = Vector(0x40 + 0x40 * n as u8);
                    target.post(target.mailbox.post(vector, n == 1));
                    while arrived.load(Ordering::Acquire) <= round && !over.load(Ordering::Relaxed)
                    {
                        thread::yield_now();
                    }
                }
            });
        }
        let mut lapic = lapic();
        while arrived.iter().any(|n| n.load(Ordering::Relaxed) < ROUNDS) {
            if !target.sleep() {
                over.store(true, Ordering::Relaxed);
                panic!("a post was lost");
            }
            target.mailbox.take(&mut lapic);
            while let Some((vector, _)) = next(&mut lapic) {
                arrived[usize::from(vector) / 0x40 - 1].fetch_add(1, Ordering::Release);
            }
        }
    });
    assert_eq!(arrived.map(AtomicUsize::into_inner), [ROUNDS; SENDERS]);
}
