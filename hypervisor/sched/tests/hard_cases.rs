//! Cases that schedulers are known to get wrong.

use sched::{Band, Id, Reservation, Scheduler, Share, Table, Weight, Window};
use spec::Ticks;

const NEVER: u64 = u64::MAX;

fn reserved(budget: u64, period: u64) -> Share {
    Share {
        weight: None,
        reservation: Some(Reservation {
            budget: Ticks(budget),
            period: Ticks(period),
        }),
    }
}

fn weighted(weight: u32) -> Share {
    Share {
        weight: Weight::new(weight),
        reservation: None,
    }
}

/// All of these, ready at zero.
fn core(shares: &[Share]) -> Scheduler {
    let mut it = Scheduler::new(8, Ticks(10), Ticks(0));
    for (id, share) in (0..).zip(shares) {
        it.add(Id(id), *share, Ticks(0));
        it.wake(Id(id), Ticks(0));
    }
    it
}

fn decide(core: &mut Scheduler, now: u64) -> (Option<(u16, Band)>, u64) {
    let decision = core.decide(Ticks(now));
    (
        decision.run.map(|(id, band)| (id.0, band)),
        decision.until.0,
    )
}

#[test]
fn a_budget_saved_to_the_end_of_its_period_is_not_had_twice() {
    // The deferrable server: it sleeps through its period, and would have the old budget just before the deadline and
    // the new one just after.
    let mut core = core(&[reserved(4, 10), reserved(6, 10)]);
    core.block(Id(0), None, Ticks(0));
    assert_eq!(decide(&mut core, 0), (Some((1, Band::Reserved)), 6));
    assert_eq!(decide(&mut core, 6), (None, 10));
    core.wake(Id(0), Ticks(7));
    // Four in three ticks is more than its rate: a new period, to 17, and the other one's deadline stands.
    assert_eq!(decide(&mut core, 7), (Some((0, Band::Reserved)), 10));
    assert_eq!(decide(&mut core, 10), (Some((0, Band::Reserved)), 11));
    assert_eq!(decide(&mut core, 11), (Some((1, Band::Reserved)), 17));
    let times = core.times(Id(1), Ticks(17)).expect("it is there");
    assert_eq!((times.missed, times.reserved), (0, Ticks(12)));
}

#[test]
fn a_wake_up_just_before_the_deadline_has_what_fits_before_it() {
    let mut core = core(&[reserved(4, 10), weighted(1)]);
    assert_eq!(decide(&mut core, 0), (Some((0, Band::Reserved)), 4));
    core.block(Id(0), None, Ticks(3));
    assert_eq!(decide(&mut core, 3), (Some((1, Band::LeftOver)), NEVER));
    // One tick left, three to go: less than the rate, so it is kept, and then there is no more until the deadline.
    core.wake(Id(0), Ticks(7));
    assert_eq!(decide(&mut core, 7), (Some((0, Band::Reserved)), 8));
    assert_eq!(decide(&mut core, 8), (Some((1, Band::LeftOver)), 10));
    assert_eq!(decide(&mut core, 10), (Some((0, Band::Reserved)), 14));
}

#[test]
fn a_full_core_is_full_and_nobody_is_late() {
    let mut core = core(&[reserved(1, 2), reserved(1, 3), reserved(1, 6)]);
    let mut now = 0;
    while now < 6_000 {
        let (run, until) = decide(&mut core, now);
        assert!(run.is_some(), "idle at {now}");
        now = until;
    }
    for (id, due) in [(0, 3_000), (1, 2_000), (2, 1_000)] {
        let times = core.times(Id(id), Ticks(6_000)).expect("it is there");
        assert_eq!((times.reserved.0, times.missed), (due, 0));
    }
}

#[test]
fn the_host_s_work_makes_a_full_core_late_once_and_not_for_ever() {
    let mut core = core(&[reserved(5, 10), reserved(5, 10)]);
    let mut now = 0;
    while now < 1_000 {
        if now == 500 {
            core.decide(Ticks(now));
            core.stolen(Ticks(2));
            now = 502;
        }
        now = decide(&mut core, now).1;
    }
    let missed: Vec<_> = (0..2)
        .map(|id| core.times(Id(id), Ticks(now)).expect("it is there"))
        .map(|times| (times.missed, times.worst_short.0))
        .collect();
    assert_eq!(missed, [(0, 0), (1, 2)]);
    assert_eq!(core.core_times(Ticks(now)).stolen, Ticks(2));
}

#[test]
fn left_over_time_does_not_spend_a_budget_nor_a_budget_left_over_time() {
    let both = Share {
        weight: Weight::new(100),
        ..reserved(2, 10)
    };
    let mut core = core(&[both, weighted(100)]);
    let mut now = 0;
    while now < 10_000 {
        now = decide(&mut core, now).1;
    }
    let times = [0, 1].map(|id| core.times(Id(id), Ticks(now)).expect("it is there"));
    assert_eq!(times[0].reserved.0, 2_000);
    assert!(times[0].left_over.0.abs_diff(4_000) <= 20, "{times:?}");
    assert!(times[1].left_over.0.abs_diff(4_000) <= 20, "{times:?}");
}

#[test]
fn frames_are_counted_from_the_origin_however_late_the_caller_is() {
    let mut core = core(&[Share::default(), weighted(1)]);
    let window = Window {
        at: Ticks(20),
        length: Ticks(30),
        id: Id(0),
    };
    let table = Table::new(Ticks(100), Ticks(7), vec![window]).expect("a table");
    core.set_table(Some(table), Ticks(0));
    assert_eq!(decide(&mut core, 0), (Some((1, Band::LeftOver)), 27));
    assert_eq!(decide(&mut core, 30), (Some((0, Band::Window)), 57));
    assert_eq!(decide(&mut core, 61), (Some((1, Band::LeftOver)), 127));
    assert_eq!(decide(&mut core, 9_128), (Some((0, Band::Window)), 9_157));
    let times = core.times(Id(0), Ticks(9_128)).expect("it is there");
    assert_eq!(times.worst_late, Ticks(3));
    // It waited for whoever came late, from the windows' starts on; before them it had no claim.
    assert_eq!((times.wait, times.window), (Ticks(3 + 1), Ticks(31)));
    // It wakes within its window, which is nobody's lateness.
    core.block(Id(0), None, Ticks(9_130));
    assert_eq!(decide(&mut core, 9_130), (Some((1, Band::LeftOver)), NEVER));
    core.wake(Id(0), Ticks(9_245));
    assert_eq!(decide(&mut core, 9_245), (Some((0, Band::Window)), 9_257));
    let times = core.times(Id(0), Ticks(9_245)).expect("it is there");
    assert_eq!(times.worst_late, Ticks(3));
}

#[test]
fn a_sleeper_s_windows_wake_nobody() {
    let mut core = core(&[Share::default(), Share::default()]);
    let window = |at, id| Window {
        at: Ticks(at),
        length: Ticks(10),
        id: Id(id),
    };
    let table = Table::new(Ticks(100), Ticks(0), vec![window(0, 0), window(50, 1)]);
    core.set_table(Some(table.expect("a table")), Ticks(0));
    assert_eq!(decide(&mut core, 0), (Some((0, Band::Window)), 10));
    core.block(Id(0), None, Ticks(5));
    core.block(Id(1), None, Ticks(5));
    assert_eq!(decide(&mut core, 5), (None, NEVER));
    core.block(Id(0), Some(Ticks(1_030)), Ticks(6));
    assert_eq!(decide(&mut core, 6), (None, 1_030));
    assert_eq!(decide(&mut core, 1_030), (None, 1_100));
    assert_eq!(decide(&mut core, 1_100), (Some((0, Band::Window)), 1_110));
    let times = core.times(Id(0), Ticks(1_100)).expect("it is there");
    assert_eq!((times.throttled, times.wait), (Ticks(70), Ticks(0)));
}

#[test]
fn what_a_period_wants_is_taken_up_at_once_when_the_share_changes() {
    let mut core = core(&[reserved(1, 1_000_000), weighted(1)]);
    assert_eq!(decide(&mut core, 0), (Some((0, Band::Reserved)), 1));
    assert_eq!(decide(&mut core, 1), (Some((1, Band::LeftOver)), 1_000_000));
    assert!(core.set(Id(0), reserved(5, 10), Ticks(100)));
    assert_eq!(decide(&mut core, 100), (Some((0, Band::Reserved)), 104));
    assert_eq!(decide(&mut core, 104), (Some((1, Band::LeftOver)), 110));
    assert!(core.set(Id(0), weighted(1), Ticks(105)));
    assert_eq!(core.share(Id(0)), Some(weighted(1)));
    let (run, _) = decide(&mut core, 115);
    assert_eq!(run.map(|(_, band)| band), Some(Band::LeftOver));
}

#[test]
fn ids_that_are_not_there_harm_nobody() {
    let mut core = core(&[weighted(1)]);
    let now = Ticks(3);
    for id in [Id(1), Id(8), Id(u16::MAX)] {
        assert!(!core.wake(id, now) && !core.block(id, Some(now), now));
        assert!(!core.set(id, weighted(2), now) && core.remove(id, now).is_none());
        assert!(core.times(id, now).is_none() && core.share(id).is_none() && !core.is_ready(id));
    }
    assert!(!core.add(Id(0), weighted(2), now) && !core.add(Id(8), weighted(2), now));
    assert!(!core.wake(Id(0), now), "it is awake");
    assert!(core.block(Id(0), None, now) && core.block(Id(0), Some(Ticks(9)), now));
    assert_eq!(decide(&mut core, 4), (None, 9));
    let mut none = Scheduler::new(0, Ticks(0), Ticks(0));
    assert!(!none.add(Id(0), weighted(1), now));
    assert_eq!(decide(&mut none, 4), (None, NEVER));
}

#[test]
fn the_end_of_time_is_no_overflow() {
    let shares = [
        reserved(u64::MAX, u64::MAX),
        reserved(0, 0),
        weighted(1),
        weighted(10_000),
        Share::default(),
    ];
    let mut core = core(&shares);
    let window = Window {
        at: Ticks(u64::MAX - 5),
        length: Ticks(5),
        id: Id(4),
    };
    let table = Table::new(Ticks(u64::MAX), Ticks(u64::MAX - 9), vec![window]).expect("a table");
    core.set_table(Some(table), Ticks(0));
    core.set_wake_cost(Ticks(u64::MAX));
    for now in [0, 5, 1 << 40, NEVER - 8, NEVER - 1, NEVER, NEVER, 3] {
        core.decide(Ticks(now));
        for id in 0..5 {
            core.block(Id(id), Some(Ticks(now)), Ticks(now));
            core.decide(Ticks(now));
            core.wake(Id(id), Ticks(now));
        }
        core.stolen(Ticks(u64::MAX));
        core.stolen(Ticks(u64::MAX));
    }
    let luggage = core.remove(Id(2), Ticks(NEVER)).expect("it is there");
    assert!(core.adopt(Id(2), weighted(10_000), luggage, Ticks(NEVER)));
    let mut late = Scheduler::new(1, Ticks(10), Ticks(NEVER));
    assert_eq!(decide(&mut late, NEVER), (None, NEVER));
}

#[test]
fn one_that_wants_to_run_and_may_not_is_throttled() {
    let both = Share {
        weight: Weight::new(1),
        ..reserved(2, 10)
    };
    let mut core = core(&[reserved(2, 10), both, weighted(1), Share::default()]);
    let throttled =
        |core: &Scheduler| -> Vec<u16> { (0..9).filter(|id| core.is_throttled(Id(*id))).collect() };
    decide(&mut core, 0);
    // Outside of all windows.
    assert_eq!(throttled(&core), [3]);
    assert_eq!(decide(&mut core, 2).0, Some((1, Band::Reserved)));
    assert_eq!(throttled(&core), [0, 3]);
    // Its budget is spent, but it has a weight.
    assert_eq!(decide(&mut core, 4).0, Some((1, Band::LeftOver)));
    assert_eq!(throttled(&core), [0, 3]);
    core.block(Id(0), None, Ticks(5));
    assert_eq!(throttled(&core), [3], "it does not want to");
    core.wake(Id(0), Ticks(6));
    decide(&mut core, 6);
    assert_eq!(throttled(&core), [0, 3]);
    let window = Window {
        at: Ticks(0),
        length: Ticks(3),
        id: Id(3),
    };
    let table = Table::new(Ticks(6), Ticks(7), vec![window]).expect("a table");
    core.set_table(Some(table), Ticks(7));
    assert_eq!(decide(&mut core, 7), (Some((3, Band::Window)), 10));
    assert_eq!(throttled(&core), [0]);
    // A new period, and no window.
    assert_eq!(decide(&mut core, 10).0, Some((0, Band::Reserved)));
    assert_eq!(throttled(&core), [3]);
}

#[test]
fn a_burst_of_timers_is_taken_in_by_and_by_and_delays_no_reservation() {
    let count = 30;
    let mut core = Scheduler::new(count + 1, Ticks(10), Ticks(0));
    let reserved_one = Id(count);
    assert!(core.add(reserved_one, reserved(1, 100), Ticks(0)));
    for id in 0..count {
        assert!(core.add(Id(id), weighted(1), Ticks(0)));
    }
    for id in 0..=count {
        assert!(core.block(Id(id), Some(Ticks(50)), Ticks(0)));
    }
    assert_eq!(decide(&mut core, 0), (None, 50));
    assert_eq!(
        decide(&mut core, 50),
        (Some((count, Band::Reserved)), 51),
        "it is before all others"
    );
    core.block(reserved_one, None, Ticks(51));
    let ready = |core: &Scheduler| (0..count).filter(|id| core.is_ready(Id(*id))).count();
    let mut now = 51;
    let mut turns = Vec::new();
    for taken in [8, 16, 24, 30, 30] {
        let (run, until) = decide(&mut core, now);
        assert_eq!((ready(&core), until), (taken, now + 10));
        turns.extend(run.map(|(id, _)| id));
        now = until;
    }
    assert_eq!(turns, [0, 1, 2, 3, 4]);
    // None is forgotten, and each has waited since its timer went off.
    for turn in 5..u64::from(count) {
        let (run, until) = decide(&mut core, now);
        assert_eq!(run, Some((turn as u16, Band::LeftOver)));
        let times = core
            .times(Id(turn as u16), Ticks(now))
            .expect("it is there");
        assert_eq!(
            (times.blocked, times.wait),
            (Ticks(50), Ticks(1 + 10 * turn))
        );
        now = until;
    }
}

#[test]
fn a_timer_that_cannot_preempt_is_looked_at_when_the_turn_is_over() {
    let mut core = core(&[weighted(1), weighted(1)]);
    core.block(Id(1), Some(Ticks(4)), Ticks(0));
    assert_eq!(decide(&mut core, 0), (Some((0, Band::LeftOver)), 10));
    assert_eq!(decide(&mut core, 10), (Some((1, Band::LeftOver)), 20));
    let times = core.times(Id(1), Ticks(10)).expect("it is there");
    assert_eq!(
        (times.blocked, times.wait, times.worst_wake),
        (Ticks(4), Ticks(6), Ticks(6))
    );
    // The next wait follows no wake-up.
    assert_eq!(decide(&mut core, 20).0, Some((0, Band::LeftOver)));
    assert_eq!(decide(&mut core, 30).0, Some((1, Band::LeftOver)));
    let times = core.times(Id(1), Ticks(30)).expect("it is there");
    assert_eq!(
        (times.worst_wake, times.worst_wait, times.turns),
        (Ticks(6), Ticks(10), 2)
    );
}

#[test]
fn the_sleep_of_one_that_has_the_core_for_itself_is_idle_time_and_uses_up_nothing() {
    let mut core = core(&[reserved(10, 100)]);
    assert_eq!(decide(&mut core, 0), (Some((0, Band::Reserved)), 10));
    core.slept(Ticks(30));
    let (run, until) = decide(&mut core, 36);
    // It has run for six ticks of its ten.
    assert_eq!((run, until), (Some((0, Band::Reserved)), 40));
    core.block(Id(0), None, Ticks(38));
    let times = core.times(Id(0), Ticks(50)).expect("it is there");
    assert_eq!((times.reserved, times.blocked), (Ticks(8), Ticks(42)));
    let times = core.core_times(Ticks(50));
    assert_eq!(
        (times.reserved, times.idle, times.stolen),
        (Ticks(8), Ticks(42), Ticks(0))
    );
    // Nobody runs: there is nobody who could have slept.
    core.slept(Ticks(5));
    assert_eq!(core.core_times(Ticks(50)).idle, Ticks(42));
}
