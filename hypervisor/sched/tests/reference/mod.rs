//! A slow and obvious scheduler: lists that are gone through from end to end, nothing remembered that can be found out.

mod vcpu;

use sched::{Band, Decision, Id, Share, Window};
use spec::Ticks;
use vcpu::Vcpu;

const NEVER: u64 = u64::MAX;
/// Timers of those with a weight alone that one decision takes in
const TIMERS: u64 = 8;

pub(crate) struct Luggage {
    deadline: u64,
    spent: u64,
    ahead: u64,
}

pub(crate) struct Reference {
    pub(crate) vcpus: Vec<Vcpu>,
    capacity: u16,
    clock: u128,
    turn: Option<u16>,
    used: u64,
    slice: u64,
    cost: u64,
    pub(crate) running: Option<(u16, Band)>,
    last: u64,
    stolen: u64,
    frame: u64,
    origin: u64,
    windows: Vec<Window>,
}

impl Reference {
    pub(crate) fn new(capacity: u16, slice: u64, cost: u64) -> Self {
        Self {
            vcpus: Vec::new(),
            capacity,
            clock: 0,
            turn: None,
            used: 0,
            slice,
            cost,
            running: None,
            last: 0,
            stolen: 0,
            frame: 1,
            origin: 0,
            windows: Vec::new(),
        }
    }

    pub(crate) fn set_table(&mut self, frame: u64, origin: u64, windows: Vec<Window>, now: u64) {
        self.charge(now);
        (self.frame, self.origin, self.windows) = (frame, origin, windows);
    }

    pub(crate) fn get(&mut self, id: u16) -> Option<&mut Vcpu> {
        self.vcpus.iter_mut().find(|it| it.id == id)
    }

    pub(crate) fn add(
        &mut self,
        id: u16,
        share: Share,
        luggage: Option<Luggage>,
        now: u64,
    ) -> bool {
        self.charge(now);
        if id >= self.capacity || self.get(id).is_some() {
            return false;
        }
        let luggage = luggage.unwrap_or(Luggage {
            deadline: 0,
            spent: 0,
            ahead: 0,
        });
        let mut vcpu = Vcpu {
            id,
            share,
            ready: false,
            timer: None,
            deadline: luggage.deadline,
            spent: luggage.spent,
            time: 0,
            wanted: false,
            missed: 0,
            short: 0,
            ran: [0; 3],
        };
        vcpu.time = self.clock + u128::from(luggage.ahead) * vcpu.rate();
        if share.reservation.is_some() {
            Self::change(&mut vcpu, now);
        } else {
            (vcpu.deadline, vcpu.spent) = (0, 0);
        }
        self.vcpus.push(vcpu);
        true
    }

    pub(crate) fn remove(&mut self, id: u16, now: u64) -> Option<Luggage> {
        self.charge(now);
        self.get(id)?;
        self.rest(id, None);
        let clock = self.clock;
        let at = self.vcpus.iter().position(|it| it.id == id)?;
        let vcpu = self.vcpus.remove(at);
        Some(Luggage {
            deadline: vcpu.deadline,
            spent: vcpu.spent,
            ahead: Self::ahead(&vcpu, clock),
        })
    }

    fn ahead(vcpu: &Vcpu, clock: u128) -> u64 {
        match vcpu.rate() {
            0 => 0,
            rate => (vcpu.time.saturating_sub(clock) / rate) as u64,
        }
    }

    fn change(vcpu: &mut Vcpu, now: u64) {
        vcpu.spent = vcpu.spent.min(vcpu.budget());
        vcpu.deadline = vcpu.deadline.min(now + vcpu.period());
        if now < vcpu.deadline && vcpu.is_too_much(now) {
            vcpu.renew(now);
        }
    }

    pub(crate) fn set(&mut self, id: u16, share: Share, now: u64) -> bool {
        self.charge(now);
        let Some(vcpu) = self.get(id) else {
            return false;
        };
        if vcpu.share == share {
            return true;
        }
        // Out of all lists, and in again as another.
        let ready = vcpu.ready;
        vcpu.ready = false;
        self.regroup();
        let clock = self.clock;
        let Some(vcpu) = self.get(id) else {
            return false;
        };
        let ahead = Self::ahead(vcpu, clock);
        let had = vcpu.share.reservation.is_some();
        vcpu.share = share;
        vcpu.time = clock + u128::from(ahead) * vcpu.rate();
        match (had, share.reservation.is_some()) {
            (true, true) => Self::change(vcpu, now),
            (false, true) => {
                (vcpu.deadline, vcpu.spent) = (0, 0);
                vcpu.renew(now);
            }
            _ => (vcpu.deadline, vcpu.spent) = (0, 0),
        }
        vcpu.ready = ready;
        self.regroup();
        true
    }

    pub(crate) fn wake(&mut self, id: u16, now: u64) -> bool {
        self.charge(now);
        match self.get(id) {
            Some(vcpu) if !vcpu.ready => {
                let at = vcpu.timer.filter(|at| *at <= now).unwrap_or(now);
                self.rouse(id, at);
                true
            }
            _ => false,
        }
    }

    pub(crate) fn block(&mut self, id: u16, until: Option<u64>, now: u64) -> bool {
        self.charge(now);
        if self.get(id).is_none() {
            return false;
        }
        self.rest(id, until);
        true
    }

    pub(crate) fn stolen(&mut self, ticks: u64) {
        self.stolen += ticks;
    }

    fn rest(&mut self, id: u16, until: Option<u64>) {
        if let Some(vcpu) = self.get(id) {
            vcpu.ready = false;
            vcpu.timer = until;
        }
        if self.running.is_some_and(|(running, _)| running == id) {
            self.running = None;
        }
        self.regroup();
    }

    fn rouse(&mut self, id: u16, at: u64) {
        let (clock, mut cost) = (self.clock, self.cost);
        if let Some(vcpu) = self.get(id) {
            vcpu.ready = true;
            vcpu.timer = None;
            if vcpu.share.reservation.is_some() {
                let is_early = at < vcpu.deadline;
                if !is_early || vcpu.is_too_much(at) {
                    vcpu.renew(at);
                }
                if vcpu.left() > 0 {
                    vcpu.spent += if is_early { cost } else { 0 };
                    cost = 0;
                }
            }
            if vcpu.wants_left_over() {
                vcpu.time = vcpu.time.max(clock) + u128::from(cost) * vcpu.rate();
            }
        }
        self.regroup();
    }

    /// Places those that have begun to want left-over time, and moves the clock to the least of all.
    fn regroup(&mut self) {
        for vcpu in &mut self.vcpus {
            let wants = vcpu.wants_left_over();
            if wants && !vcpu.wanted {
                vcpu.time = vcpu.time.max(self.clock);
            }
            if !wants && self.turn == Some(vcpu.id) {
                self.turn = None;
            }
            vcpu.wanted = wants;
        }
        if let Some(time) = self
            .vcpus
            .iter()
            .filter(|it| it.wanted)
            .map(|it| it.time)
            .min()
        {
            self.clock = self.clock.max(time);
        }
    }

    fn charge(&mut self, now: u64) {
        let passed = now - self.last;
        let ran = passed - self.stolen.min(passed);
        (self.last, self.stolen) = (now, 0);
        if ran == 0 {
            return;
        }
        let Some((id, band)) = self.running else {
            return;
        };
        if band == Band::LeftOver && self.turn == Some(id) {
            self.used += ran;
        }
        if let Some(vcpu) = self.get(id) {
            vcpu.ran[band as usize] += ran;
            if band == Band::Reserved && vcpu.share.reservation.is_some() {
                vcpu.spent += ran;
            }
            if band == Band::LeftOver && vcpu.wanted {
                vcpu.time += u128::from(ran) * vcpu.rate();
            }
        }
        self.regroup();
    }

    /// The first of those that `which` gives a time for, if it is due.
    fn due(&self, now: u64, which: impl Fn(&Vcpu) -> Option<u64>) -> Option<(u64, u16)> {
        let all = self.vcpus.iter();
        all.filter_map(|it| Some((which(it)?, it.id)))
            .min()
            .filter(|(at, _)| *at <= now)
    }

    fn roll(&mut self, id: u16, now: u64) {
        if let Some(vcpu) = self.get(id) {
            while vcpu.deadline <= now {
                if vcpu.left() > 0 {
                    vcpu.missed += 1;
                    vcpu.short = vcpu.short.max(vcpu.left());
                }
                vcpu.renew(vcpu.deadline);
            }
        }
        self.regroup();
    }

    fn reserved_timer(vcpu: &Vcpu) -> Option<u64> {
        vcpu.timer
            .filter(|_| !vcpu.ready && vcpu.share.reservation.is_some())
    }

    fn weighted_timer(vcpu: &Vcpu) -> Option<u64> {
        let weighted = vcpu.share.reservation.is_none() && vcpu.share.weight.is_some();
        vcpu.timer.filter(|_| !vcpu.ready && weighted)
    }

    /// The vCPU whose window it is, with the window's end.
    fn owner(&self, now: u64) -> Option<(u16, u64)> {
        let phase = now.checked_sub(self.origin)? % self.frame;
        let window = self
            .windows
            .iter()
            .find(|it| it.at.0 <= phase && phase < it.at.0 + it.length.0)?;
        Some((window.id.0, now - phase + window.at.0 + window.length.0))
    }

    fn start_after(&self, now: u64, window: &Window) -> u64 {
        let mut start = self.origin + window.at.0;
        while start <= now {
            start += self.frame;
        }
        start
    }

    pub(crate) fn decide(&mut self, now: u64) -> Decision {
        self.charge(now);
        while let Some((at, id)) = self.due(now, Self::reserved_timer) {
            self.rouse(id, at);
        }
        while let Some((_, id)) = self.due(now, |it| it.is_throttled().then_some(it.deadline)) {
            self.roll(id, now);
        }
        while let Some((_, id)) = self.due(now, |it| it.wants_reserved().then_some(it.deadline)) {
            self.roll(id, now);
        }
        let owner = self.owner(now);
        if let Some((id, _)) = owner
            && let Some((at, _)) = self.due(now, |it| it.timer.filter(|_| it.id == id && !it.ready))
        {
            self.rouse(id, at);
        }
        let (run, until) = self.choose(now, owner);
        self.running = run;
        Decision {
            run: run.map(|(id, band)| (Id(id), band)),
            until: Ticks(until),
        }
    }

    fn choose(&mut self, now: u64, owner: Option<(u16, u64)>) -> (Option<(u16, Band)>, u64) {
        let mut until = NEVER;
        if let Some((id, end)) = owner
            && let Some(vcpu) = self.get(id)
        {
            if vcpu.ready {
                return (Some((id, Band::Window)), end);
            }
            until = vcpu.timer.unwrap_or(NEVER);
        }
        for window in &self.windows {
            let Some(vcpu) = self.vcpus.iter().find(|it| it.id == window.id.0) else {
                continue;
            };
            let timer = if vcpu.ready { Some(0) } else { vcpu.timer };
            if let Some(timer) = timer {
                until = until.min(timer.max(self.start_after(now, window)));
            }
        }
        for vcpu in &self.vcpus {
            if vcpu.is_throttled() {
                until = until.min(vcpu.deadline);
            }
            until = until.min(Self::reserved_timer(vcpu).unwrap_or(NEVER));
        }
        let reserved = self.vcpus.iter().filter(|it| it.wants_reserved());
        if let Some(vcpu) = reserved.min_by_key(|it| (it.deadline, it.id)) {
            let end = vcpu.deadline.min(now + vcpu.left());
            return (Some((vcpu.id, Band::Reserved)), until.min(end));
        }
        if self.turn.is_none() || self.used >= self.slice {
            for _ in 0..TIMERS {
                if let Some((at, id)) = self.due(now, Self::weighted_timer) {
                    self.rouse(id, at);
                }
            }
        }
        let many = self.vcpus.iter().filter(|it| it.wanted).count();
        if self.turn.is_none() || (self.used >= self.slice && many > 1) {
            if let Some(vcpu) = self.turn.and_then(|id| self.get(id)) {
                vcpu.time += 1;
                self.regroup();
            }
            let wanting = self.vcpus.iter().filter(|it| it.wanted);
            self.turn = wanting.min_by_key(|it| (it.time, it.id)).map(|it| it.id);
            self.used = 0;
        }
        let rest = self.slice.saturating_sub(self.used);
        let end = if self.turn.is_some() { now + rest } else { now };
        if many > 1 {
            until = until.min(end);
        } else if let Some((at, _)) = self.due(NEVER, Self::weighted_timer) {
            until = until.min(at.max(end));
        }
        (self.turn.map(|id| (id, Band::LeftOver)), until)
    }
}
