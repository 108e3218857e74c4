//! The link, with a machine at its other end that is played by the test.

use super::*;
use proto::VmInfo;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::Receiver;

/// A machine's end of the line.
pub(crate) struct Machine {
    line: TcpStream,
    decoder: Decoder<ToMachine>,
}

impl Machine {
    pub(crate) fn say(&mut self, message: &FromMachine) {
        self.line
            .write_all(&proto::frame(message).unwrap())
            .unwrap();
    }

    pub(crate) fn hello(&mut self, version: u16) {
        let vms = vec!["one".to_owned(), "two".to_owned()];
        self.say(&FromMachine::Hello { version, vms });
    }

    pub(crate) fn hear(&mut self) -> Option<ToMachine> {
        loop {
            let mut byte = [0];
            match self.line.read(&mut byte) {
                Ok(1) => {}
                _ => return None,
            }
            if let Some(message) = self.decoder.push(byte[0]) {
                return Some(message);
            }
        }
    }

    /// Answers each request until the line is closed.
    pub(crate) fn serve(mut self, answer: impl Fn(Command) -> Answer + Send + 'static) {
        thread::spawn(move || {
            while let Some(message) = self.hear() {
                if let ToMachine::Request { id, command } = message {
                    let off = command == Command::Off;
                    if off {
                        return;
                    }
                    let answer = answer(command);
                    self.say(&FromMachine::Reply { id, answer });
                }
            }
        });
    }
}

type Console = Receiver<(usize, Vec<u8>)>;

pub(crate) fn line() -> (Link, Machine, Console) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let machine = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let ours = listener.accept().unwrap().0;
    let (words, console) = channel();
    let printed = move |vm, bytes: &[u8]| words.send((vm, bytes.to_vec())).unwrap_or(());
    let link = Link::new(Control::new(ours).unwrap(), Box::new(printed));
    let machine = Machine {
        line: machine,
        decoder: Decoder::new(),
    };
    (link, machine, console)
}

/// What the machine prints tells when all that it said before has been taken.
pub(crate) fn settle(machine: &mut Machine, console: &Console) {
    machine.say(&FromMachine::Console {
        vm: 9,
        bytes: b"settled".to_vec(),
    });
    while console.recv().unwrap().0 != 9 {}
}

pub(crate) fn info(name: &str) -> VmInfo {
    VmInfo {
        name: name.to_owned(),
        state: proto::VmState::Running,
        last_end: None,
        vcpus: 1,
        cores: vec![0],
        memory: 256 << 20,
        uptime: spec::Ticks(50_000_000),
        tsc: spec::Hz(50_000_000),
        exits: 7,
        root_ticks: spec::Ticks(1000),
        crashes: 0,
    }
}

#[test]
fn each_answer_goes_to_who_has_asked() {
    let (link, mut machine, console) = line();
    machine.hello(VERSION);
    settle(&mut machine, &console);
    machine.serve(|command| match command {
        Command::List => Answer::Vms(vec![info("one")]),
        Command::Stop { vm } => Answer::Done(vm),
        other => Answer::Refused(format!("{other:?}")),
    });
    let asking: Vec<_> = (0..8)
        .map(|number| {
            let link = link.clone();
            thread::spawn(move || {
                let vm = format!("vm-{number}");
                (link.ask(Command::Stop { vm: vm.clone() }), vm)
            })
        })
        .collect();
    for one in asking {
        let (answer, vm) = one.join().unwrap();
        assert_eq!(answer, Ok(Answer::Done(vm)));
    }
    assert_eq!(link.ask(Command::List), Ok(Answer::Vms(vec![info("one")])));
}

#[test]
fn no_answer_is_told_by_its_reason() {
    let (link, mut machine, console) = line();
    let soon = Duration::from_millis(50);
    assert_eq!(link.ask(Command::List), Err(Silent::NotUp));
    link.came_up();
    assert_eq!(link.ask_within(Command::List, soon), Err(Silent::Deaf));
    machine.hello(VERSION + 1);
    settle(&mut machine, &console);
    assert_eq!(link.ask(Command::List), Err(Silent::Version(VERSION + 1)));
    machine.hello(VERSION);
    settle(&mut machine, &console);
    assert_eq!(link.ask_within(Command::List, soon), Err(Silent::Late));
    link.came_up();
    assert_eq!(link.ask_within(Command::List, soon), Err(Silent::Late));
    drop(machine);
    while console.recv().is_ok() {}
    // The thread that listens lets go of the console as its last deed.
    assert_eq!(link.ask(Command::List), Err(Silent::Off));
}

#[test]
fn a_machine_that_goes_off_when_told_to_has_obeyed() {
    let (link, mut machine, console) = line();
    machine.hello(VERSION);
    settle(&mut machine, &console);
    machine.serve(|_| Answer::Unknown);
    assert!(matches!(link.ask(Command::Off), Ok(Answer::Done(_))));
}

#[test]
fn a_machine_that_waits_for_a_hello_gets_it() {
    let (link, mut machine, _console) = line();
    link.came_up();
    let asking = thread::spawn(move || link.ask(Command::List));
    assert_eq!(machine.hear(), Some(ToMachine::Hello { version: VERSION }));
    // The first is lost.
    assert_eq!(machine.hear(), Some(ToMachine::Hello { version: VERSION }));
    machine.hello(VERSION);
    machine.serve(|_| Answer::Done("Done.".to_owned()));
    let answer = asking.join().unwrap();
    assert_eq!(answer, Ok(Answer::Done("Done.".to_owned())));
}

#[test]
fn noise_and_unasked_answers_disturb_nothing() {
    let (_link, mut machine, console) = line();
    machine
        .line
        .write_all(b"\x1b[2J firmware \x00\xff")
        .unwrap();
    machine.say(&FromMachine::Reply {
        id: 77,
        answer: Answer::Cores(Vec::new()),
    });
    machine.say(&FromMachine::Console {
        vm: 1,
        bytes: b"hello".to_vec(),
    });
    assert_eq!(console.recv().unwrap(), (1, b"hello".to_vec()));
}

#[test]
fn what_is_typed_early_waits_for_the_machine() {
    let (link, mut machine, console) = line();
    link.type_to(1, b"early");
    machine.hello(VERSION);
    settle(&mut machine, &console);
    link.type_to(0, &[b'x'; INPUT + 1]);
    let mut typed = Vec::new();
    for _ in 0..3 {
        let Some(ToMachine::Input { vm, bytes }) = machine.hear() else {
            unreachable!("only input was sent");
        };
        typed.push((vm, bytes.len()));
    }
    assert_eq!(typed, [(1, 5), (0, INPUT), (0, 1)]);
}
