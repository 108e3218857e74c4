//! Several vCPUs that send each other anything, beside a model of what each must have received.
//!
//! The model is as slow and plain as can be: it keeps every message to a vCPU in a list, in order, and plays the list when that vCPU
//! looks. Who a message is for it finds from the words of the manual, not from the mailboxes.

use super::fake::Machine;
use exits::Answer;
use proptest::prelude::*;
use spec::state::Activity;
use spec::{Msr, Vector};
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

/// Two clusters of x2APICs, and more than fit a flat xAPIC address.
const VCPUS: usize = 18;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Message {
    Fixed(u8),
    Nmi,
    Init,
    StartUp(u8),
}

#[derive(Clone, Copy, Debug)]
enum To {
    Physical(u32),
    Logical(u32),
    Oneself,
    All,
    Others,
}

#[derive(Clone, Debug)]
enum Act {
    Send(usize, Message, To),
    /// The vCPU's core looks, delivers what there is, and starts what is to be started.
    Look(usize),
    /// Software on the vCPU switches its local APIC on or off.
    Enable(usize, bool),
}

/// How all vCPUs are addressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Addressing {
    X2Apic,
    Flat,
    Cluster,
}

/// One processor of the model.
#[derive(Clone, Debug, Default)]
struct Processor {
    inbox: Vec<Message>,
    /// Its core has been told of what is in the inbox, or will look by itself.
    told: bool,
    kicks: usize,
    waits: bool,
    enabled: bool,
    /// It has its logical xAPIC address.
    addressed: bool,
    start: Option<u8>,
    nmi: bool,
    requested: BTreeSet<u8>,
}

impl Processor {
    fn play(&mut self) {
        for message in core::mem::take(&mut self.inbox) {
            match message {
                Message::Init => {
                    *self = Processor {
                        kicks: self.kicks,
                        waits: true,
                        ..Processor::default()
                    };
                }
                Message::StartUp(vector) if self.waits => {
                    self.start.get_or_insert(vector);
                }
                Message::StartUp(_) => {}
                Message::Nmi => self.nmi = true,
                Message::Fixed(vector) if self.enabled => {
                    self.requested.insert(vector);
                }
                Message::Fixed(_) => {}
            }
        }
        self.told = false;
    }
}

impl Addressing {
    /// The logical address that software gives the vCPU, in xAPIC mode: two bits of cluster 15 are never given.
    fn logical(self, i: usize) -> u32 {
        match self {
            Addressing::X2Apic => 0,
            Addressing::Flat => 1 << (i % 8),
            Addressing::Cluster => (i as u32 / 4) << 4 | 1 << (i % 4),
        }
    }

    fn is_for(self, to: To, from: usize, i: usize, p: &Processor) -> bool {
        match (to, self) {
            (To::All, _) => true,
            (To::Others, _) => i != from,
            (To::Oneself, _) => i == from,
            (To::Physical(id), Addressing::X2Apic) => id == u32::MAX || id as usize == i,
            (To::Physical(id), _) => id & 0xff == 0xff || id as usize & 0xff == i,
            (To::Logical(u32::MAX), Addressing::X2Apic) => true,
            (To::Logical(to), Addressing::X2Apic) => {
                (to >> 16) as usize == i / 16 && to & 1 << (i % 16) != 0
            }
            (To::Logical(to), Addressing::Flat) => p.addressed && to & self.logical(i) & 0xff != 0,
            (To::Logical(to), Addressing::Cluster) => {
                let own = self.logical(i);
                let cluster = to >> 4 & 0xf;
                // INIT leaves address 0 in the flat model, which nothing matches.
                p.addressed && (cluster == 0xf || cluster == own >> 4) && to & own & 0xf != 0
            }
        }
    }
}

/// The system under test, with the addressing set up on every vCPU.
fn machine(addressing: Addressing) -> Machine {
    if addressing == Addressing::X2Apic {
        return Machine::x2apic(VCPUS as u8);
    }
    let mut m = Machine::new(VCPUS as u8);
    for i in 0..VCPUS {
        let dfr = if addressing == Addressing::Flat {
            u32::MAX
        } else {
            0x0fff_ffff
        };
        xapic(&mut m, i, 0xe0, dfr);
        xapic(&mut m, i, 0xd0, addressing.logical(i) << 24);
        xapic(&mut m, i, 0xf0, 0x1ff);
    }
    m
}

fn xapic(m: &mut Machine, i: usize, register: u32, value: u32) {
    let done = m.store(i, 0xfee0_0000 + register, value);
    assert!(matches!(done, Answer::Emulated { .. }), "{done:?}");
}

fn send(m: &mut Machine, addressing: Addressing, from: usize, message: Message, to: To) {
    let mut command = match message {
        Message::Fixed(vector) => vector.into(),
        Message::Nmi => 4 << 8,
        Message::Init => 5 << 8 | 1 << 14,
        Message::StartUp(vector) => 6 << 8 | u32::from(vector),
    };
    let mut destination = 0;
    match to {
        To::Physical(id) => destination = id,
        To::Logical(id) => {
            destination = id;
            command |= 1 << 11;
        }
        To::Oneself => command |= 1 << 18,
        To::All => command |= 2 << 18,
        To::Others => command |= 3 << 18,
    }
    if addressing == Addressing::X2Apic {
        let value = u64::from(destination) << 32 | u64::from(command);
        assert_eq!(m.wrmsr(from, Msr(0x830), value), Answer::Advance);
    } else {
        xapic(m, from, 0x310, destination << 24);
        xapic(m, from, 0x300, command);
    }
}

/// Ends what is in service.
fn end(m: &mut Machine, addressing: Addressing, i: usize) {
    if addressing == Addressing::X2Apic {
        assert_eq!(m.wrmsr(i, Msr(0x80b), 0), Answer::Advance);
    } else {
        xapic(m, i, 0xb0, 0);
    }
}

fn enable(m: &mut Machine, addressing: Addressing, i: usize, on: bool) {
    let value = if on { 0x1ff } else { 0xff };
    if addressing == Addressing::X2Apic {
        assert_eq!(m.wrmsr(i, Msr(0x80f), value), Answer::Advance);
    } else {
        xapic(m, i, 0xf0, value as u32);
    }
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        4 => (0x20..=0xffu8).prop_map(Message::Fixed),
        1 => Just(Message::Nmi),
        2 => Just(Message::Init),
        3 => any::<u8>().prop_map(Message::StartUp),
    ]
}

fn to() -> impl Strategy<Value = To> {
    prop_oneof![
        6 => (0..VCPUS as u32 + 2).prop_map(To::Physical),
        1 => Just(To::Physical(u32::MAX)),
        3 => (0..0x100u32).prop_map(To::Logical),
        2 => (0..3u32, 0..0x1_0000u32).prop_map(|(c, members)| To::Logical(c << 16 | members)),
        1 => Just(To::Logical(u32::MAX)),
        1 => Just(To::Oneself),
        1 => Just(To::All),
        2 => Just(To::Others),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    // Few of them act and look, so that they meet.
    let who = || prop_oneof![0..3usize, 0..VCPUS];
    prop_oneof![
        6 => (who(), message(), to()).prop_map(|(i, m, to)| Act::Send(i, m, to)),
        4 => who().prop_map(Act::Look),
        1 => (who(), any::<bool>()).prop_map(|(i, on)| Act::Enable(i, on)),
    ]
}

struct Both {
    m: Machine,
    model: Vec<Processor>,
    addressing: Addressing,
}

impl Both {
    fn new(addressing: Addressing) -> Self {
        let processor = Processor {
            enabled: true,
            addressed: true,
            ..Processor::default()
        };
        Self {
            m: machine(addressing),
            model: vec![processor; VCPUS],
            addressing,
        }
    }

    fn send(&mut self, from: usize, message: Message, to: To) {
        // Only one that runs sends, and the shorthand for oneself takes fixed interrupts alone.
        let lone = matches!(to, To::Oneself) && !matches!(message, Message::Fixed(_));
        let for_first = self.addressing.is_for(to, from, 0, &self.model[0]);
        if self.model[from].waits || lone || message == Message::Init && for_first {
            return;
        }
        for i in 0..VCPUS {
            if !self.addressing.is_for(to, from, i, &self.model[i]) {
                continue;
            }
            let p = &mut self.model[i];
            let at_once = i == from
                && matches!(message, Message::Fixed(_))
                && match to {
                    To::Oneself => true,
                    To::Physical(id) => id != u32::MAX,
                    _ => false,
                };
            if at_once {
                // What a local APIC has for itself alone does not pass by the mailbox.
                if let (Message::Fixed(vector), true) = (message, p.enabled) {
                    p.requested.insert(vector);
                }
                continue;
            }
            // It would not have got to send it after that.
            if i == from && message == Message::Nmi && p.inbox.contains(&Message::Init) {
                continue;
            }
            p.inbox.push(message);
            if !p.told && i != from {
                p.kicks += 1;
            }
            p.told = true;
        }
        send(&mut self.m, self.addressing, from, message, to);
    }

    fn look(&mut self, i: usize) -> Result<(), TestCaseError> {
        let (m, p) = (&mut self.m, &mut self.model[i]);
        p.play();
        let wants = m.wants(i);
        let waits = m.vcpus[i].activity == Activity::WaitForSipi;
        prop_assert_eq!(waits, p.waits, "vCPU {}", i);
        prop_assert_eq!(wants.start_up, p.start, "vCPU {}", i);
        if waits {
            prop_assert!(!wants.nmi && wants.interrupt.is_none());
            if p.start.take().is_some() {
                m.vcpus[i].started_up();
                p.waits = false;
            }
            return Ok(());
        }
        prop_assert_eq!(wants.nmi, p.nmi, "vCPU {}", i);
        if wants.nmi {
            m.vcpus[i].nmi_taken();
            p.nmi = false;
        }
        // From the highest on
        for vector in core::mem::take(&mut p.requested).into_iter().rev() {
            prop_assert_eq!(m.wants(i).interrupt, Some(Vector(vector)), "vCPU {}", i);
            m.vcpus[i].taken(Vector(vector));
            end(m, self.addressing, i);
        }
        prop_assert_eq!(m.wants(i).interrupt, None, "vCPU {}", i);
        Ok(())
    }

    fn run(&mut self, acts: Vec<Act>) -> Result<(), TestCaseError> {
        for act in acts {
            match act {
                Act::Send(from, message, to) => self.send(from, message, to),
                Act::Look(i) => self.look(i)?,
                Act::Enable(i, on) if !self.model[i].waits => {
                    // The core looks before it enters the guest that does this.
                    self.look(i)?;
                    if !self.model[i].waits {
                        enable(&mut self.m, self.addressing, i, on);
                        self.model[i].enabled = on;
                    }
                }
                Act::Enable(..) => {}
            }
            let kicks: Vec<_> = self
                .model
                .iter_mut()
                .map(|p| core::mem::take(&mut p.kicks))
                .collect();
            prop_assert_eq!(self.m.kicks.take(), kicks);
        }
        for i in 0..VCPUS {
            self.look(i)?;
            self.look(i)?;
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]

    #[test]
    fn each_x2apic_receives_what_was_sent_to_it_in_order(acts in prop::collection::vec(act(), 1..120)) {
        Both::new(Addressing::X2Apic).run(acts)?;
    }

    #[test]
    fn each_xapic_receives_what_was_sent_to_it_in_order(
        acts in prop::collection::vec(act(), 1..80),
        cluster in any::<bool>(),
    ) {
        Both::new(if cluster { Addressing::Cluster } else { Addressing::Flat }).run(acts)?;
    }
}
