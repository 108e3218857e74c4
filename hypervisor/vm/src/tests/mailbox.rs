//! The mailbox, from several threads.

use crate::Mailbox;
use devices::Lapic;
use devices::lapic::Effect;
use spec::{Msr, Ticks, Vector};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

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
            mailbox.post(Vector(number), level);
            assert!(!mailbox.is_empty());
            assert!(!mailbox.take(&mut lapic), "no NMI");
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
            mailbox.post(Vector(0x33), level);
        }
        mailbox.take(&mut lapic);
        assert_eq!(next(&mut lapic), Some((0x33, true)));
        assert_eq!(next(&mut lapic), None);
    }
}

/// The reader takes only when the one word says that there is something, as a core does before each entry.
#[test]
fn what_is_posted_while_the_owner_takes_is_not_lost() {
    const POSTERS: usize = 3;
    const ROUNDS: usize = 2_000;
    let mailbox = Mailbox::new(0);
    // How many rounds the owner has seen through, from each poster
    let seen: [AtomicUsize; POSTERS] = Default::default();
    let nmis = AtomicUsize::new(0);
    thread::scope(|scope| {
        for (i, seen) in seen.iter().enumerate() {
            let (mailbox, nmis) = (&mailbox, &nmis);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    // A poster alternates its triggers, and posts anew only when the last one has arrived.
                    mailbox.post(Vector(0x40 * (i as u8 + 1)), round % 2 == 1);
                    if i == 0 {
                        mailbox.post_nmi();
                    }
                    while seen.load(Ordering::Acquire) <= round
                        || (i == 0 && nmis.load(Ordering::Acquire) <= round)
                    {
                        thread::yield_now();
                    }
                }
            });
        }
        let mut lapic = lapic();
        while seen.iter().any(|s| s.load(Ordering::Relaxed) < ROUNDS) {
            if mailbox.is_empty() {
                thread::yield_now();
                continue;
            }
            if mailbox.take(&mut lapic) {
                nmis.fetch_add(1, Ordering::Release);
            }
            while let Some((vector, level)) = next(&mut lapic) {
                let seen = &seen[usize::from(vector / 0x40 - 1)];
                assert_eq!(level, seen.load(Ordering::Relaxed) % 2 == 1);
                seen.fetch_add(1, Ordering::Release);
            }
        }
    });
    assert!(mailbox.is_empty() || !mailbox.take(&mut lapic()));
}
