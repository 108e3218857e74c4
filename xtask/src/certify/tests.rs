//! A machine that is played by the test.

use super::*;
use plan::Facts;
use proto::certificate::{HostSurvey, VmSurvey};
use proto::{MachineTimes, VmInfo};
use spec::{Hz, Ticks};
use std::cell::RefCell;

struct Machine {
    now: u64,
    states: Vec<(VmState, Option<&'static str>)>,
    /// Answers that find no room
    refuses: u32,
    asked: Vec<Command>,
}

const NAMES: [&str; 2] = ["one", "two"];

fn plan(autostart: bool) -> Plan {
    let vm = |name: &&str| {
        format!(
            "[[vm]]\nname = \"{name}\"\nkernel = \"k\"\nmemory = \"16 MiB\"\nautostart = {autostart}\n"
        )
    };
    let text: String = NAMES.iter().map(vm).collect();
    plan::parse(&text, "test", &Facts::default()).unwrap()
}

impl Machine {
    fn new(states: &[(VmState, Option<&'static str>)]) -> RefCell<Self> {
        RefCell::new(Self {
            now: 0,
            states: states.to_vec(),
            refuses: 0,
            asked: Vec::new(),
        })
    }

    fn answer(&mut self, command: Command) -> Answer {
        self.asked.push(command.clone());
        match command {
            Command::List => Answer::Vms(self.list()),
            Command::Start { vm } => {
                let which = NAMES.iter().position(|name| *name == vm).unwrap();
                self.states[which].0 = VmState::Starting;
                Answer::Done(String::new())
            }
            Command::Times => Answer::Times(MachineTimes {
                tsc: Hz(1_000_000_000),
                entered: Ticks(100),
                now: Ticks(self.now),
                cores: Vec::new(),
                vcpus: Vec::new(),
            }),
            Command::Certify { .. } if self.refuses > 0 => {
                self.refuses -= 1;
                Answer::Refused("No room.".to_owned())
            }
            Command::Certify { part } => Answer::Survey(Box::new(tell(part))),
            other => panic!("{other:?}"),
        }
    }

    fn list(&self) -> Vec<VmInfo> {
        let info = |((state, end), name): (&(VmState, Option<&str>), &str)| VmInfo {
            name: name.to_owned(),
            state: *state,
            last_end: end.map(str::to_owned),
            vcpus: 1,
            cores: vec![0],
            memory: 16 << 20,
            uptime: Ticks(0),
            tsc: Hz(1_000_000_000),
            exits: 0,
            root_ticks: Ticks(0),
            crashes: 0,
        };
        self.states.iter().zip(NAMES).map(info).collect()
    }

    /// Time passes: what starts runs.
    fn pause(&mut self) {
        self.now += 1000;
        for (state, _) in &mut self.states {
            if *state == VmState::Starting {
                *state = VmState::Running;
            }
        }
    }
}

fn tell(part: Part) -> Survey {
    match part {
        Part::Host => Survey::Host(HostSurvey {
            memory: Vec::new(),
            owned: Vec::new(),
            host: Vec::new(),
            host_root: 0,
            host_tables: Vec::new(),
            firmware: Vec::new(),
            window: 0,
            devices: Vec::new(),
            cores: Vec::new(),
            vms: 2,
        }),
        Part::Vm { vm } => Survey::Vm(VmSurvey {
            vm,
            name: NAMES[usize::from(vm)].to_owned(),
            nested_root: 0,
            nested: Vec::new(),
            nested_tables: Vec::new(),
            vcpus: 1,
        }),
        Part::Vcpu { vm, vcpu } => Survey::Unstarted {
            vm,
            vcpu,
            vmcs: 0x1000,
        },
    }
}

fn with<T>(machine: &RefCell<Machine>, then: impl FnOnce(&mut Asked<'_>) -> T) -> T {
    then(&mut Asked {
        ask: &mut |command| Ok(machine.borrow_mut().answer(command)),
        pause: &mut |_| machine.borrow_mut().pause(),
    })
}

#[test]
fn vms_that_do_not_start_by_themselves_are_started() {
    let machine = Machine::new(&[(VmState::Off, None), (VmState::Running, None)]);
    with(&machine, |asked| asked.wait(&plan(false), 0)).unwrap();
    let started = |command: &&Command| matches!(command, Command::Start { .. });
    assert_eq!(machine.borrow().asked.iter().filter(started).count(), 1);
}

#[test]
fn others_are_waited_for_and_then_the_time() {
    let machine = Machine::new(&[(VmState::Starting, None), (VmState::Running, None)]);
    with(&machine, |asked| asked.wait(&plan(true), 5000)).unwrap();
    assert!((5100..7000).contains(&machine.borrow().now));
    let started = |command: &Command| matches!(command, Command::Start { .. });
    assert!(!machine.borrow().asked.iter().any(started));
}

#[test]
fn a_vm_that_has_ended_cannot_be_certified() {
    let machine = Machine::new(&[
        (VmState::Running, None),
        (VmState::Off, Some("triple-fault")),
    ]);
    let error = with(&machine, |asked| asked.wait(&plan(true), 0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "two has ended (triple-fault): only a VM that runs can be certified"
    );
}

#[test]
fn each_part_is_asked_for_once_though_an_answer_may_find_no_room() {
    let machine = Machine::new(&[(VmState::Running, None); 2]);
    machine.borrow_mut().refuses = 3;
    let whole = with(&machine, |asked| asked.collect(&plan(true))).unwrap();
    assert_eq!(
        (whole.vms.len(), whole.vcpus.len(), whole.unstarted.len()),
        (2, 0, 2)
    );
    assert_eq!(machine.borrow().asked.len(), 5 + 3);
    machine.borrow_mut().refuses = u32::MAX;
    let error = with(&machine, |asked| asked.collect(&plan(true))).unwrap_err();
    assert_eq!(error.to_string(), "No room.");
}
