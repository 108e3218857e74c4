//! A machine that is played by the test: its time goes on with every question, and with every pause.

use super::*;
use crate::trace::{Wanted, collect};
use proto::{Answer, Class, Command, CoreTimes, MachineTimes, VcpuTimes};
use std::cell::RefCell;
use std::time::Duration;

/// Ticks that a question takes, and that go by in a millisecond of a pause.
const QUESTION: u64 = 300;
const PAUSE: u64 = 2000;

/// A machine whose cores record an event every so many ticks, of which a ring holds the last few.
struct Machine {
    now: u64,
    every: [u64; 2],
    ring: u64,
    asked: Vec<Command>,
    refuses: u32,
    /// Since this event of a core there has been work of the hypervisor's alone
    quiet: u64,
    /// Events in an answer
    chunk: usize,
}

impl Machine {
    fn new(every: [u64; 2], ring: u64) -> RefCell<Machine> {
        RefCell::new(Machine {
            now: ENTERED.0 + 700,
            every,
            ring,
            asked: Vec::new(),
            refuses: 0,
            quiet: u64::MAX,
            // Few, so that several are needed.
            chunk: 5,
        })
    }

    fn answer(&mut self, command: Command) -> Answer {
        self.now += QUESTION;
        self.asked.push(command.clone());
        match command {
            Command::Times => Answer::Times(self.times()),
            Command::Trace { .. } if self.refuses > 0 => {
                self.refuses -= 1;
                Answer::Refused("It is busy.".to_owned())
            }
            Command::Trace { core, from } => Answer::Trace(self.chunk(core, from)),
            other => panic!("{other:?}"),
        }
    }

    fn chunk(&self, core: u32, from: u64) -> TraceChunk {
        let every = self.every[core as usize];
        // Event n happens at (n + 1) * every.
        let end = (self.now - ENTERED.0) / every;
        let first = from.max(end.saturating_sub(self.ring)).min(end);
        let word = |n| match n > self.quiet {
            true => event(What::Host, 0, 0, 1),
            false => run(Band::Window, 0, n as u8),
        };
        let events = (first..end).map(|n| (at((n + 1) * every), word(n)));
        TraceChunk::new(
            core,
            TSC,
            Ticks(self.now),
            first,
            end,
            events.take(self.chunk),
        )
    }

    fn times(&self) -> MachineTimes {
        let core = |core| CoreTimes {
            core,
            idle: Ticks(0),
            busy: Ticks(0),
            host: Ticks(0),
            switches: 0,
            worst_switch: Ticks(0),
            cleared: proto::Cleared::default(),
        };
        let vcpu = |vm: &str, vcpu| VcpuTimes {
            vm: vm.to_owned(),
            vcpu,
            core: 0,
            class: Class::Cyclic,
            run: Ticks(0),
            reserved: Ticks(0),
            wait: Ticks(0),
            throttled: Ticks(0),
            blocked: Ticks(0),
            turns: 0,
            worst_wait: Ticks(0),
            worst_late: Ticks(0),
            missed: 0,
            moves: 0,
        };
        MachineTimes {
            tsc: TSC,
            entered: ENTERED,
            now: Ticks(self.now),
            cores: vec![core(0), core(1)],
            vcpus: vec![vcpu("a", 0), vcpu("a", 1), vcpu("b", 0)],
        }
    }
}

fn collected(machine: &RefCell<Machine>, wanted: Wanted) -> anyhow::Result<Recording> {
    collect(
        &mut |command| Ok(machine.borrow_mut().answer(command)),
        &mut |pause: Duration| {
            machine.borrow_mut().now += PAUSE * u64::try_from(pause.as_millis()).unwrap();
        },
        wanted,
    )
}

/// Whether a ring has all events of the recording's time, one every so many ticks.
fn is_whole(recording: &Recording, core: usize, every: u64) {
    let mut times = Vec::new();
    for record in &recording.cores[core].records {
        match record {
            crate::trace::recording::Record::Event(time, _) => times.push(*time),
            crate::trace::recording::Record::Gap => panic!("a gap"),
        }
    }
    assert!(times.is_sorted_by(|a, b| b.since(*a) == Ticks(every)));
    assert!(times.first().unwrap().0 <= recording.from.0 + every);
    assert!(times.last().unwrap().0 + every >= recording.until.0);
}

#[test]
fn all_that_happened_in_the_time_is_collected() {
    let machine = Machine::new([100, 70_000], 4096);
    let wanted = Wanted {
        at: None,
        length: 40_000_000,
    };
    let recording = collected(&machine, wanted).unwrap();
    assert_eq!(recording.vms, ["a", "b"]);
    assert_eq!(recording.until.since(recording.from), Ticks(40_000));
    is_whole(&recording, 0, 100);
    assert!(recording.cores.iter().all(|ring| ring.lost == 0));
    // Where little happens, an answer without events says so.
    assert!(recording.cores[1].events() <= 2);
}

#[test]
fn the_start_is_waited_for() {
    let machine = Machine::new([100, 130], 4096);
    let wanted = Wanted {
        at: Some(9_000_000_000),
        length: 2_000_000,
    };
    let recording = collected(&machine, wanted).unwrap();
    let late = recording.from.since(at(9_000_000));
    // No later than the questions about each core.
    assert!(
        recording.from >= at(9_000_000) && late <= Ticks(3 * QUESTION),
        "{late:?}"
    );
    is_whole(&recording, 0, 100);
    is_whole(&recording, 1, 130);
}

#[test]
fn a_time_that_has_passed_begins_now() {
    let machine = Machine::new([100, 130], 4096);
    let wanted = Wanted {
        at: Some(1),
        length: 2_000_000,
    };
    let recording = collected(&machine, wanted).unwrap();
    assert!(recording.from > at(700));
}

#[test]
fn who_had_the_core_is_looked_for_as_long_ago_as_is_known() {
    let wanted = Wanted {
        at: Some(800_000_000),
        length: 1_000_000,
    };
    for (ring, known) in [(100_000, true), (1000, false)] {
        let machine = Machine::new([100, 130], ring);
        machine.borrow_mut().quiet = 5;
        machine.borrow_mut().chunk = proto::trace::CHUNK;
        let recording = collected(&machine, wanted).unwrap();
        let ring = &recording.cores[0];
        assert_eq!(ring.tells_who_had(recording.from), known);
        assert_eq!(ring.lost, 0);
        let timeline = Timeline::new(&recording);
        assert_eq!(!timeline.cores[0].holders.is_empty(), known);
    }
}

#[test]
fn what_was_overwritten_is_counted() {
    let machine = Machine::new([100, 1000], 50);
    let wanted = Wanted {
        at: None,
        length: 100_000_000,
    };
    let recording = collected(&machine, wanted).unwrap();
    assert!(recording.cores[0].lost > 100, "{}", recording.cores[0].lost);
}

#[test]
fn a_machine_is_asked_again_but_not_for_ever() {
    let wanted = Wanted {
        at: None,
        length: 2_000_000,
    };
    let machine = Machine::new([100, 1000], 4096);
    machine.borrow_mut().refuses = 7;
    is_whole(&collected(&machine, wanted).unwrap(), 0, 100);
    let machine = Machine::new([100, 1000], 4096);
    machine.borrow_mut().refuses = u32::MAX;
    let why = collected(&machine, wanted).unwrap_err();
    assert_eq!(why.to_string(), "It is busy.");
    assert!(machine.borrow().asked.len() < 100);
}
