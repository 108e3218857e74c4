//! A core with guests that do as they please, a caller that is never late, and an auditor that looks at each tick: it
//! knows what was promised, and nothing of how it is kept.

use sched::{Band, Decision, Id, Reservation, Scheduler, Share, Table, Window};
use spec::Ticks;

/// What a guest does: runs for so long, sleeps for so long, each drawn from its range.
#[derive(Clone, Debug)]
pub(crate) struct Behaviour {
    pub(crate) run: (u64, u64),
    pub(crate) sleep: (u64, u64),
    /// It sleeps on a timer; else somebody wakes it
    pub(crate) timer: bool,
    /// It wakes as shortly before its period's end
    pub(crate) sly: bool,
}

impl Behaviour {
    pub(crate) const SPINS: Self = Self {
        run: (u64::MAX, u64::MAX),
        sleep: (1, 1),
        timer: false,
        sly: false,
    };
}

/// A reservation as it was promised.
#[derive(Clone, Debug)]
struct Ledger {
    budget: u64,
    period: u64,
    left: u64,
    deadline: u64,
}

impl Ledger {
    fn new(reservation: Reservation) -> Self {
        Self {
            budget: reservation.budget.0,
            period: reservation.period.0,
            left: 0,
            deadline: 0,
        }
    }

    fn wake(&mut self, now: u64) {
        let is_new = now >= self.deadline
            || u128::from(self.left) * u128::from(self.period)
                > u128::from(self.deadline - now) * u128::from(self.budget);
        if is_new {
            (self.left, self.deadline) = (self.budget, now + self.period);
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Guest {
    id: u16,
    share: Share,
    behaviour: Behaviour,
    ledger: Option<Ledger>,
    ready: bool,
    /// Ticks until it sleeps
    awake: u64,
    /// When it wakes
    wakes: u64,
    pub(crate) ran: [u64; 3],
    blocked: u64,
    /// Left-over time that others have had since it last ran, while it wanted some
    hunger: u64,
    pub(crate) worst_hunger: u64,
    /// When it ran by its reservation
    pub(crate) reserved: Vec<(u64, u64)>,
}

impl Guest {
    fn wants_reserved(&self) -> bool {
        self.ready && self.ledger.as_ref().is_some_and(|it| it.left > 0)
    }

    fn wants_left_over(&self) -> bool {
        self.ready && self.share.weight.is_some() && !self.wants_reserved()
    }
}

pub(crate) struct Simulation {
    pub(crate) scheduler: Scheduler,
    pub(crate) guests: Vec<Guest>,
    slice: u64,
    table: Option<(u64, u64, Vec<Window>)>,
    now: u64,
    seed: u64,
    /// What the turn of left-over time has used
    used: u64,
    turn: Option<u16>,
    /// Decisions at the clock's word
    pub(crate) ticks: u64,
}

impl Simulation {
    pub(crate) fn new(slice: u64, seed: u64, guests: &[(Share, Behaviour)]) -> Self {
        let mut scheduler = Scheduler::new(guests.len() as u16, Ticks(slice), Ticks(0));
        let guests = (0..)
            .zip(guests)
            .map(|(id, (share, behaviour))| {
                assert!(scheduler.add(Id(id), *share, Ticks(0)));
                Guest {
                    id,
                    share: *share,
                    behaviour: behaviour.clone(),
                    ledger: share.reservation.map(Ledger::new),
                    ready: false,
                    awake: 0,
                    wakes: 0,
                    ran: [0; 3],
                    blocked: 0,
                    hunger: 0,
                    worst_hunger: 0,
                    reserved: Vec::new(),
                }
            })
            .collect();
        Self {
            scheduler,
            guests,
            slice,
            table: None,
            now: 0,
            seed,
            used: 0,
            turn: None,
            ticks: 0,
        }
    }

    pub(crate) fn set_table(&mut self, frame: u64, origin: u64, windows: Vec<Window>) {
        let table = Table::new(Ticks(frame), Ticks(origin), windows.clone());
        self.scheduler
            .set_table(Some(table.expect("a table")), Ticks(self.now));
        self.table = Some((frame, origin, windows));
    }

    /// From `range`, both ends included.
    fn draw(&mut self, (low, high): (u64, u64)) -> u64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        if high == u64::MAX {
            return u64::MAX;
        }
        low + (self.seed >> 33) % (high - low + 1)
    }

    /// Runs to `end`, and looks at each tick.
    pub(crate) fn run(&mut self, end: u64) {
        let mut until = 0;
        while self.now < end {
            let now = self.now;
            if until == now && now > 0 {
                self.ticks += 1;
                assert!(self.has_cause(now), "no cause to come at {now}");
            }
            // Who halts, then who is woken, then the clock.
            for at in 0..self.guests.len() {
                if self.guests[at].ready && self.guests[at].awake == 0 {
                    self.sleep(at);
                }
            }
            for at in 0..self.guests.len() {
                let guest = &self.guests[at];
                if !guest.ready && guest.wakes == now && !guest.behaviour.timer {
                    assert!(self.scheduler.wake(Id(guest.id), Ticks(now)));
                }
            }
            self.rouse(now);
            let decision = self.scheduler.decide(Ticks(now));
            assert!(decision.until.0 > now);
            until = decision.until.0;
            self.begin_turn(&decision);
            self.pass(decision, end);
        }
    }

    fn sleep(&mut self, at: usize) {
        let now = self.now;
        let length = self.draw(self.guests[at].behaviour.sleep);
        let guest = &mut self.guests[at];
        guest.ready = false;
        guest.wakes = now + length;
        if let Some(ledger) = &guest.ledger
            && guest.behaviour.sly
            && ledger.deadline > now + length
        {
            guest.wakes = ledger.deadline - length.min(3);
        }
        let timer = guest.behaviour.timer.then_some(Ticks(guest.wakes));
        let id = guest.id;
        assert!(self.scheduler.block(Id(id), timer, Ticks(now)));
        if self.turn == Some(id) {
            self.turn = None;
        }
    }

    /// What the clock brings about at `now`, as was promised.
    fn rouse(&mut self, now: u64) {
        for at in 0..self.guests.len() {
            let first = self.guests[at].wakes == 0 && now == 0;
            let guest = &mut self.guests[at];
            if let Some(ledger) = &mut guest.ledger
                && guest.ready
                && ledger.deadline == now
            {
                assert_eq!(
                    ledger.left, 0,
                    "{} was denied its budget at {now}",
                    guest.id
                );
                (ledger.left, ledger.deadline) = (ledger.budget, now + ledger.period);
            }
            if !guest.ready && guest.wakes == now {
                guest.ready = true;
                guest.hunger = 0;
                if let Some(ledger) = &mut guest.ledger {
                    ledger.wake(now);
                }
                let run = guest.behaviour.run;
                if first {
                    let id = guest.id;
                    self.scheduler.wake(Id(id), Ticks(now));
                }
                self.guests[at].awake = self.draw(run);
            }
        }
    }

    fn begin_turn(&mut self, decision: &Decision) {
        let over = |id: &u16| !self.guests[usize::from(*id)].ready;
        if self.turn.as_ref().is_some_and(over) {
            self.turn = None;
        }
        if let Some((Id(id), Band::LeftOver)) = decision.run {
            let contended = self.guests.iter().filter(|it| it.wants_left_over()).count() > 1;
            if self.turn != Some(id) || (self.used >= self.slice && contended) {
                (self.turn, self.used) = (Some(id), 0);
            }
        }
    }

    /// Lets ticks pass until something happens that the caller must tell, or that it was told to come for.
    fn pass(&mut self, decision: Decision, end: u64) {
        let mut now = self.now;
        loop {
            self.look(now, &decision);
            now += 1;
            self.now = now;
            let halts = self.guests.iter().any(|it| it.ready && it.awake == 0);
            let woken = |it: &Guest| !it.ready && it.wakes == now && !it.behaviour.timer;
            if now >= end || now >= decision.until.0 || halts || self.guests.iter().any(woken) {
                return;
            }
            self.rouse(now);
        }
    }

    fn window(&self, now: u64) -> Option<(u16, u64)> {
        let (frame, origin, windows) = self.table.as_ref()?;
        let phase = now.checked_sub(*origin)? % frame;
        let window = windows
            .iter()
            .find(|it| it.at.0 <= phase && phase < it.at.0 + it.length.0)?;
        Some((window.id.0, now - phase + window.at.0))
    }

    /// Whether the tick from `now` on goes to whom it was promised.
    fn look(&mut self, now: u64, decision: &Decision) {
        let run = decision.run.map(|(id, band)| (id.0, band));
        let owner = self
            .window(now)
            .map(|(id, _)| &self.guests[usize::from(id)]);
        let reserved = self.guests.iter().filter(|it| it.wants_reserved());
        let first = reserved
            .filter_map(|it| it.ledger.as_ref())
            .map(|it| it.deadline)
            .min();
        match (owner.filter(|it| it.ready), first) {
            (Some(owner), _) => assert_eq!(run, Some((owner.id, Band::Window)), "at {now}"),
            (None, Some(deadline)) => {
                let Some((id, Band::Reserved)) = run else {
                    panic!("at {now} {run:?}, with a budget to give");
                };
                let guest = &self.guests[usize::from(id)];
                assert!(guest.wants_reserved(), "at {now} {id} exceeds its budget");
                assert_eq!(
                    guest.ledger.as_ref().map(|it| it.deadline),
                    Some(deadline),
                    "at {now}"
                );
            }
            (None, None) if self.guests.iter().any(Guest::wants_left_over) => {
                let Some((id, Band::LeftOver)) = run else {
                    panic!("at {now} {run:?}, with left-over time to give");
                };
                assert!(
                    self.guests[usize::from(id)].wants_left_over(),
                    "at {now} {id}"
                );
            }
            (None, None) => assert_eq!(run, None, "at {now}"),
        }
        for guest in &mut self.guests {
            let band = run.filter(|(id, _)| *id == guest.id).map(|(_, band)| band);
            match band {
                Some(band) => {
                    guest.ran[band as usize] += 1;
                    guest.awake = guest
                        .awake
                        .saturating_sub(u64::from(guest.awake < u64::MAX));
                    if band == Band::LeftOver {
                        guest.hunger = 0;
                        self.used += 1;
                    }
                    if let (Band::Reserved, Some(ledger)) = (band, &mut guest.ledger) {
                        ledger.left -= 1;
                        match guest.reserved.last_mut() {
                            Some((_, last)) if *last == now => *last += 1,
                            _ => guest.reserved.push((now, now + 1)),
                        }
                    }
                }
                None => {
                    guest.blocked += u64::from(!guest.ready);
                    let left_over = matches!(run, Some((_, Band::LeftOver)));
                    guest.hunger += u64::from(left_over && guest.wants_left_over());
                    guest.worst_hunger = guest.worst_hunger.max(guest.hunger);
                }
            }
        }
    }

    /// Whether something happens at `now` for which a caller who can see the clock alone has to come.
    fn has_cause(&self, now: u64) -> bool {
        let wanting = self.guests.iter().filter(|it| {
            let woken = !it.ready && it.wakes <= now && it.ledger.is_none();
            it.wants_left_over() || woken
        });
        let turn_ends = self.used >= self.slice && wanting.count() > 1;
        turn_ends
            || self.window(now) != self.window(now - 1)
            || self.guests.iter().any(|it| {
                let timer = !it.ready && it.wakes == now && it.behaviour.timer;
                let spent = it.ledger.as_ref().is_some_and(|ledger| {
                    let (last, left) = (it.reserved.last(), ledger.left);
                    it.ready
                        && (ledger.deadline == now
                            || left == 0 && last.is_some_and(|it| it.1 == now))
                });
                timer || spent
            })
    }

    /// The scheduler's accounts are those that were seen.
    pub(crate) fn check_times(&self) {
        let now = Ticks(self.now);
        for guest in &self.guests {
            let times = self
                .scheduler
                .times(Id(guest.id), now)
                .expect("it is there");
            assert_eq!(
                [times.window.0, times.reserved.0, times.left_over.0],
                guest.ran
            );
            assert_eq!(times.blocked.0, guest.blocked);
            let all = times.run().0 + times.wait.0 + times.throttled.0 + times.blocked.0;
            assert_eq!(all, self.now);
            assert_eq!(times.missed, 0);
        }
        let core = self.scheduler.core_times(now);
        let sums: [u64; 3] =
            core::array::from_fn(|band| self.guests.iter().map(|it| it.ran[band]).sum());
        assert_eq!([core.window.0, core.reserved.0, core.left_over.0], sums);
        assert_eq!(
            core.idle.0 + core.stolen.0 + sums.iter().sum::<u64>(),
            self.now
        );
    }
}
