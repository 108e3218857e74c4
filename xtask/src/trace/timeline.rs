//! From events to who had each core and what each vCPU did, from when to when.

use super::recording::{Record, Recording};
use proto::trace::{Band, Event, What};
use spec::Ticks;
use std::collections::BTreeMap;

/// What each core and each vCPU did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Timeline {
    /// In the order of the recording
    pub(super) cores: Vec<Core>,
    /// Those of which there is anything to tell
    pub(super) vcpus: BTreeMap<Vcpu, Doings>,
}

/// A vCPU: the number of its VM in the plan, and its own in the VM.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Vcpu {
    pub(super) vm: u8,
    pub(super) vcpu: u8,
}

/// What was the case from when to when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slice<T> {
    pub(super) start: Ticks,
    pub(super) end: Ticks,
    pub(super) what: T,
}

/// What a core did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Core {
    /// Its number in the plan
    pub(super) number: u32,
    /// Who had it; where it is nobody known, there is no slice
    pub(super) holders: Vec<Slice<Holder>>,
    /// Work of the hypervisor's own, which can lie within a holder's time; with the VM whose memory it fills
    pub(super) host: Vec<Slice<Option<u8>>>,
}

/// Who had a core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holder {
    Vcpu(Vcpu, Band),
    Idle,
    /// What happened is lost
    Lost,
}

/// What a vCPU did; where it slept, or nothing is known, there is no slice.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Doings {
    pub(super) states: Vec<Slice<State>>,
    pub(super) marks: Vec<(Ticks, Mark)>,
}

/// What a vCPU did on a core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct State {
    pub(super) core: u32,
    pub(super) does: Does,
}

/// What a vCPU did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Does {
    Run(Band),
    /// It could have run, and another had the core
    Wait,
    /// It could have run, but its budget was spent, or it was outside its windows
    Throttled,
}

/// What happened to a vCPU at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    Wake,
    /// It went to this core
    Move(u32),
}

/// What is the case, and was before, of which only what lies in a length of time is kept.
struct Lane<T> {
    from: Ticks,
    until: Ticks,
    open: Option<(Ticks, T)>,
    done: Vec<Slice<T>>,
}

impl<T: Copy + PartialEq> Lane<T> {
    fn new(recording: &Recording) -> Lane<T> {
        Lane {
            from: recording.from,
            until: recording.until,
            open: None,
            done: Vec::new(),
        }
    }

    /// From now on this is the case, or nothing.
    fn set(&mut self, now: Ticks, what: Option<T>) {
        if self.now() == what {
            return;
        }
        if let Some((start, what)) = self.open.take() {
            self.add(start, now, what);
        }
        self.open = what.map(|what| (now, what));
    }

    fn now(&self) -> Option<T> {
        self.open.map(|(_, what)| what)
    }

    fn add(&mut self, start: Ticks, end: Ticks, what: T) {
        let (start, end) = (start.max(self.from), end.min(self.until));
        if start < end {
            self.done.push(Slice { start, end, what });
        }
    }

    fn finish(mut self) -> Vec<Slice<T>> {
        self.set(self.until, None);
        self.done
    }
}

/// What a vCPU did, and what happened to it.
type Life = (Lane<State>, Vec<(Ticks, Mark)>);

/// What is known at a time.
struct Now<'a> {
    recording: &'a Recording,
    cores: Vec<(Lane<Holder>, Lane<Option<u8>>)>,
    vcpus: BTreeMap<Vcpu, Life>,
}

impl Timeline {
    pub(super) fn new(recording: &Recording) -> Timeline {
        let mut now = Now {
            recording,
            cores: recording
                .cores
                .iter()
                .map(|_| (Lane::new(recording), Lane::new(recording)))
                .collect(),
            vcpus: BTreeMap::new(),
        };
        for (index, time, record) in in_order(recording) {
            match record {
                Record::Event(_, event) => now.event(index, time, event),
                Record::Gap => now.gap(index, time),
            }
        }
        let numbers = recording.cores.iter().map(|ring| ring.core);
        let cores = numbers
            .zip(now.cores)
            .map(|(number, (holders, host))| Core {
                number,
                holders: holders.finish(),
                host: host.done,
            });
        let vcpus = now.vcpus.into_iter().map(|(vcpu, (states, marks))| {
            let states = states.finish();
            (vcpu, Doings { states, marks })
        });
        Timeline {
            cores: cores.collect(),
            vcpus: vcpus
                .filter(|(_, doings)| *doings != Doings::default())
                .collect(),
        }
    }
}

/// The records of all cores by their times, each with the index of its core. What was lost lies behind what came before it.
fn in_order(recording: &Recording) -> Vec<(usize, Ticks, Record)> {
    let mut all = Vec::new();
    for (index, ring) in recording.cores.iter().enumerate() {
        let mut last = Ticks(0);
        all.extend(ring.records.iter().map(|&record| {
            if let Record::Event(time, _) = record {
                last = time;
            }
            (index, last, record)
        }));
    }
    // Stable: what a core recorded at one time stays in its order.
    all.sort_by_key(|(_, time, _)| *time);
    all
}

impl Now<'_> {
    fn event(&mut self, index: usize, time: Ticks, event: Event) {
        let core = self.recording.cores[index].core;
        let of = Vcpu {
            vm: event.vm,
            vcpu: event.vcpu,
        };
        let at = |does| Some(State { core, does });
        let waits_here = |state: State| state.core == core && state.does == Does::Wait;
        match event.what {
            What::Run(band) => {
                self.displace(index, time, Some(of));
                self.cores[index].0.set(time, Some(Holder::Vcpu(of, band)));
                self.state(of).set(time, at(Does::Run(band)));
            }
            What::Idle => {
                self.displace(index, time, None);
                self.cores[index].0.set(time, Some(Holder::Idle));
            }
            What::Wake => {
                self.mark(of, time, Mark::Wake);
                if self.state(of).now().is_none() {
                    self.state(of).set(time, at(Does::Wait));
                }
            }
            What::Block => {
                self.leave(index, time, of);
                self.state(of).set(time, None);
            }
            What::Spent => {
                self.leave(index, time, of);
                self.state(of).set(time, at(Does::Throttled));
            }
            What::Refill => {
                let now = self.state(of).now();
                if now.is_some_and(|state| state.does == Does::Throttled) {
                    self.state(of).set(time, at(Does::Wait));
                }
            }
            What::Move => {
                self.mark(of, time, Mark::Move(event.arg));
                if self.state(of).now().is_some_and(waits_here) {
                    let (core, does) = (event.arg, Does::Wait);
                    self.state(of).set(time, Some(State { core, does }));
                }
            }
            What::Host | What::Load => {
                let start = Ticks(time.0.saturating_sub(event.arg.into()));
                let vm = (event.what == What::Load).then_some(event.vm);
                self.cores[index].1.add(start, time, vm);
            }
        }
    }

    /// Another takes the place of who has a core: if nothing else is known of that, it waits from here on, or for its next window.
    fn displace(&mut self, index: usize, time: Ticks, by: Option<Vcpu>) {
        let core = self.recording.cores[index].core;
        if let Some(Holder::Vcpu(before, band)) = self.cores[index].0.now()
            && by != Some(before)
        {
            let does = match band {
                Band::Window => Does::Throttled,
                Band::Reserved | Band::LeftOver => Does::Wait,
            };
            self.state(before).set(time, Some(State { core, does }));
        }
    }

    /// A vCPU cannot go on: if it has the core, nobody has until the next is told.
    fn leave(&mut self, index: usize, time: Ticks, vcpu: Vcpu) {
        let lane = &mut self.cores[index].0;
        if matches!(lane.now(), Some(Holder::Vcpu(holder, _)) if holder == vcpu) {
            lane.set(time, None);
        }
    }

    /// Of the core, and of what was there, nothing is known until the next event about it.
    fn gap(&mut self, index: usize, time: Ticks) {
        let core = self.recording.cores[index].core;
        self.cores[index].0.set(time, Some(Holder::Lost));
        for (states, _) in self.vcpus.values_mut() {
            if states.now().is_some_and(|state| state.core == core) {
                states.set(time, None);
            }
        }
    }

    fn of(&mut self, vcpu: Vcpu) -> &mut Life {
        let new = || (Lane::new(self.recording), Vec::new());
        self.vcpus.entry(vcpu).or_insert_with(new)
    }

    fn state(&mut self, vcpu: Vcpu) -> &mut Lane<State> {
        &mut self.of(vcpu).0
    }

    fn mark(&mut self, vcpu: Vcpu, time: Ticks, mark: Mark) {
        if (self.recording.from..self.recording.until).contains(&time) {
            self.of(vcpu).1.push((time, mark));
        }
    }
}
