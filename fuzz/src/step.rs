//! `vm::step`: any exits in any order, whatever is in the guest's memory and registers, on three vCPUs that send to one another.

use crate::each;
use arbitrary::Arbitrary;
use exits::*;
use machine::{CODE, Machine, RAM, flat};
use seam::GuestMem;
use spec::cpu::{Cr0, Cr4, Efer, Gpr, vector};
use spec::state::{Activity, ControlState, CpuState};
use spec::{Gpa, Gva, Msr, Port, Ticks, Vector, Width};
use std::sync::atomic::Ordering;

#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared with the tests of `vm`, where both are usual"
)]
#[path = "../../hypervisor/vm/src/tests/fake.rs"]
pub(crate) mod machine;

/// Accesses to memory in one step: 64 elements of a string, each with two operands in two pages, each by a walk of four levels with its
/// flags; and the fetch. Without it a step could last as long as the guest likes.
const MOST_ACCESSES: usize = 64 * 2 * 2 * 12;

const VCPUS: u8 = 3;

/// An address, or any value: mostly one that leads somewhere.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Value {
    Small(u8),
    Ram(u16),
    Lapic(u8),
    IoApic(u8),
    Low(u32),
    Negative(u8),
    Any(u64),
}

impl Value {
    fn get(self) -> u64 {
        match self {
            Self::Small(n) => n.into(),
            Self::Ram(at) => at.into(),
            Self::Lapic(n) => 0xfee0_0000 + 16 * u64::from(n),
            Self::IoApic(n) => 0xfec0_0000 + u64::from(n),
            Self::Low(n) => n.into(),
            Self::Negative(n) => u64::from(n).wrapping_neg(),
            Self::Any(n) => n,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Number {
    X2Apic(u8),
    Known(u8),
    Any(u32),
}

impl Number {
    fn get(self) -> Msr {
        const KNOWN: [u32; 24] = [
            0x10,
            0x17,
            0x1b,
            0x3a,
            0x3b,
            0x48,
            0x8b,
            0xc1,
            0xcf,
            0xfe,
            0x174,
            0x175,
            0x176,
            0x179,
            0x1a0,
            0x1d9,
            0x277,
            0x2ff,
            0x6e0,
            0xc000_0080,
            0xc000_0081,
            0xc000_0100,
            0xc000_0102,
            0xc000_0103,
        ];
        Msr(match self {
            Self::X2Apic(n) => 0x800 + u32::from(n),
            Self::Known(n) => KNOWN[usize::from(n) % KNOWN.len()],
            Self::Any(n) => n,
        })
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum At {
    Serial(u8),
    Clock(u8),
    Power(u8),
    Pci(u8),
    Any(u16),
}

impl At {
    fn get(self) -> Port {
        Port(match self {
            Self::Serial(n) => 0x3f8 + u16::from(n % 10),
            Self::Clock(n) => 0x70 + u16::from(n % 3),
            Self::Power(n) => 0x600 + u16::from(n % 16),
            Self::Pci(n) => 0xcf8 + u16::from(n % 10),
            Self::Any(n) => n,
        })
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Op {
    /// Which vCPU exits from here on
    On(u8),
    Register(u8, Value),
    Poke(u16, Value),
    /// An entry that leads back into RAM
    Entry(u16, u16),
    Code([u8; 15]),
    /// How the vCPU stands from here on
    Mode {
        cpl: u8,
        cr0: u32,
        cr4: u32,
        efer: u16,
        rflags: u32,
    },
    Paging {
        cr3: u16,
        long: bool,
    },
    Plain(u8),
    Segment(u8, Value, u32, u32),
    Code16(bool),
    Rip(Value),
    Line {
        room: u8,
        input: u8,
    },
    Pass(u16),
    PassLong(u64),
    Bare(u8),
    MsrRead(Number),
    MsrWrite(Number),
    Port(At, u8, bool),
    PortString(At, u8, bool, bool, u8, u8),
    Fault(Value, u8, bool, bool),
    Cr0(Value, bool),
    Cr4(Value, bool),
    Efer(u16, bool),
    Cr8Read(u8),
    Cr8Write(u8),
    Exception(u8, Option<u32>, u64),
    Lapic(u8),
}

const WIDTHS: [Width; 4] = [Width::B1, Width::B2, Width::B4, Width::B8];

fn bare(n: u8) -> Exit {
    const ALL: [Exit; 16] = [
        Exit::Cpuid,
        Exit::Hlt,
        Exit::Xsetbv,
        Exit::Hypercall,
        Exit::CacheFlush,
        Exit::Undefined,
        Exit::Forbidden,
        Exit::InterruptWindow,
        Exit::NmiWindow,
        Exit::TimerExpired,
        Exit::HostNmi,
        Exit::TripleFault,
        Exit::TaskSwitch,
        Exit::EntryFailed(33),
        Exit::Unknown(99),
        Exit::HostInterrupt(Vector(0x20)),
    ];
    ALL[usize::from(n) % ALL.len()]
}

struct Guest {
    machine: Machine,
    on: usize,
    cpu: CpuState,
}

/// Tries one sequence.
///
/// # Panics
/// If an answer is none that can be carried out, or what the vCPU's core relies on does not hold.
pub fn one(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else {
        return;
    };
    let mut guest = Guest {
        machine: match first & 3 {
            0 => Machine::new(VCPUS),
            1 => Machine::powered_on(VCPUS),
            _ => Machine::x2apic(VCPUS),
        },
        on: 0,
        cpu: flat(0),
    };
    for op in each(data) {
        if let Some(exit) = guest.prepare(op)
            && guest.exits(exit)
        {
            return;
        }
    }
}

impl Guest {
    /// The exit that comes of it, if one does.
    fn prepare(&mut self, op: Op) -> Option<Exit> {
        let Self { machine, on, cpu } = self;
        Some(match op {
            Op::On(n) => {
                *on = usize::from(n % VCPUS);
                return None;
            }
            Op::Register(n, value) => {
                machine.gprs.set(Gpr::from_number(n), value.get());
                return None;
            }
            Op::Poke(at, value) => {
                machine
                    .vm
                    .memory
                    .set_u64(u64::from(at) & 0xfff8, value.get());
                return None;
            }
            Op::Entry(at, to) => {
                let entry = u64::from(to) | 1;
                machine.vm.memory.set_u64(u64::from(at) & 0xfff8, entry);
                return None;
            }
            Op::Code(bytes) => {
                let written = machine.vm.memory.write_from(Gpa(CODE), &bytes);
                assert_eq!(written, Ok(()));
                return None;
            }
            Op::Mode { cpl, .. } | Op::Plain(cpl) => {
                *cpu = flat(cpl & 3);
                if let Op::Mode {
                    cr0,
                    cr4,
                    efer,
                    rflags,
                    ..
                } = op
                {
                    (cpu.cr0, cpu.cr4) = (cr0.into(), cr4.into());
                    (cpu.efer, cpu.rflags) = (efer.into(), rflags.into());
                }
                settle(cpu);
                return None;
            }
            Op::Paging { cr3, long } => {
                cpu.cr0 |= (Cr0::PG | Cr0::PE).bits();
                cpu.cr3 = cr3.into();
                if long {
                    cpu.cr4 |= Cr4::PAE.bits();
                    cpu.efer |= (Efer::LME | Efer::LMA | Efer::NXE).bits();
                    cpu.segments[CpuState::CS].rights |= 1 << 13;
                }
                return None;
            }
            Op::Segment(n, base, limit, rights) => {
                let segment = &mut cpu.segments[usize::from(n) % 6];
                (segment.base, segment.limit, segment.rights) = (base.get(), limit, rights);
                settle(cpu);
                return None;
            }
            Op::Code16(is_16) => {
                let rights = &mut cpu.segments[CpuState::CS].rights;
                *rights = *rights & !(1 << 14) | u32::from(!is_16) << 14;
                return None;
            }
            Op::Rip(value) => {
                cpu.rip = value.get();
                return None;
            }
            Op::Line { room, input } => {
                let line = &mut machine.vm.chips.serial.lock().line;
                line.room = room.into();
                line.sent.clear();
                line.waiting.extend(0..input % 64);
                return None;
            }
            Op::Pass(ticks) => return self.pass(ticks.into()),
            Op::PassLong(ticks) => return self.pass(ticks >> 8),
            Op::Bare(n) => bare(n),
            Op::MsrRead(number) => Exit::MsrRead(number.get()),
            Op::MsrWrite(number) => Exit::MsrWrite(number.get()),
            Op::Port(at, width, input) => Exit::Port(port(at, width, input)),
            Op::PortString(at, width, input, repeated, size, segment) => {
                Exit::PortString(StringAccess {
                    access: port(at, width, input),
                    repeated,
                    address_size: WIDTHS[1 + usize::from(size % 3)],
                    segment: segment % 6,
                    cpu: *cpu,
                })
            }
            Op::Fault(gpa, access, own, present) => Exit::GpaFault(GpaFault {
                gpa: Gpa(gpa.get()),
                access: [Access::Read, Access::Write, Access::Fetch][usize::from(access % 3)],
                linear: (!own).then_some(Gva(gpa.get())),
                present,
                cpu: *cpu,
            }),
            Op::Cr0(value, near) => Exit::Cr0Write(write(cpu, value, near.then_some(cpu.cr0))),
            Op::Cr4(value, near) => Exit::Cr4Write(write(cpu, value, near.then_some(cpu.cr4))),
            Op::Efer(value, near) => {
                let value = Value::Low(value.into());
                Exit::EferWrite(write(cpu, value, near.then_some(cpu.efer)))
            }
            Op::Cr8Read(n) => Exit::Cr8Read(Gpr::from_number(n)),
            Op::Cr8Write(value) => Exit::Cr8Write(value.into()),
            Op::Exception(n, error_code, qualification) => Exit::Exception {
                // An NMI comes as another exit.
                vector: Vector(n & 31 | u8::from(n & 31 == vector::NMI.0)),
                error_code,
                qualification,
            },
            Op::Lapic(n) if n & 1 == 0 => Exit::VirtualizedEoi(Vector(n)),
            Op::Lapic(n) => Exit::ApicWrite(n >> 1),
        })
    }

    fn pass(&mut self, ticks: u64) -> Option<Exit> {
        let now = &mut self.machine.now.0;
        *now = now.saturating_add(ticks);
        None
    }

    /// Has the vCPU exit; whether the VM has ended.
    fn exits(&mut self, exit: Exit) -> bool {
        let Self { machine, on, .. } = self;
        let on = *on;
        if machine.vcpus[on].activity == Activity::WaitForSipi {
            return false;
        }
        let before = machine.gprs;
        machine.vm.memory.touched.store(0, Ordering::Relaxed);
        let answer = machine.step_on(on, exit);
        let touched = machine.vm.memory.touched.load(Ordering::Relaxed);
        assert!(touched <= MOST_ACCESSES, "{touched} accesses");
        assert_eq!(answer == Answer::Halt, exit == Exit::Hlt);
        let rsp = |gprs: &spec::cpu::Gprs| gprs.get(Gpr::Rsp);
        assert_eq!(rsp(&machine.gprs), rsp(&before), "RSP's slot is nobody's");
        if matches!(answer, Answer::Inject(_) | Answer::Write(_)) {
            assert_eq!(machine.gprs, before);
        }
        well_formed(&answer, &exit);
        if is_from_user(&exit) && matches!(answer, Answer::Stop(Stop::Unsupported(_))) {
            assert_eq!(machine.vcpus[on].unemulated, None, "user mode ends its VM");
        }
        machine.vcpus[on].unemulated = None;
        self.settle();
        matches!(answer, Answer::Stop(_))
    }

    /// What the cores do before they enter their vCPUs.
    fn settle(&mut self) {
        let machine = &mut self.machine;
        for i in 0..VCPUS.into() {
            let wants = machine.wants(i);
            let deadline = machine.vcpus[i].deadline();
            if machine.now < Ticks(u64::MAX) {
                assert!(deadline.is_none_or(|at| at > machine.now), "one was left");
            }
            assert!(machine.vm.mailboxes[i].is_empty());
            if let Some(page) = wants.start_up {
                assert_eq!(machine.vcpus[i].activity, Activity::WaitForSipi);
                let state = machine.vm.start_up(page);
                assert_eq!(state.segments[CpuState::CS].base, u64::from(page) << 12);
                machine.vcpus[i].started_up();
            }
            if let Some(vector) = wants.interrupt {
                assert!(vector.0 >= 16);
                machine.vcpus[i].taken(vector);
                let next = machine.wants(i).interrupt;
                assert!(next.is_none_or(|next| next.0 >> 4 > vector.0 >> 4));
            }
            if wants.nmi {
                machine.vcpus[i].nmi_taken();
                assert!(!machine.wants(i).nmi);
            }
        }
    }
}

/// What the processor keeps so in any guest.
fn settle(cpu: &mut CpuState) {
    if cpu.cr0 & Cr0::PG.bits() == 0 {
        cpu.efer &= !Efer::LMA.bits();
    }
    if cpu.efer & Efer::LMA.bits() != 0 {
        cpu.cr0 |= (Cr0::PG | Cr0::PE).bits();
        cpu.cr4 |= Cr4::PAE.bits();
    }
}

fn port(at: At, width: u8, input: bool) -> PortAccess {
    PortAccess {
        port: at.get(),
        width: WIDTHS[usize::from(width % 3)],
        direction: if input { Direction::In } else { Direction::Out },
    }
}

/// A write of a register: of any value, or of one bit of what is in it.
fn write(cpu: &CpuState, value: Value, near: Option<u64>) -> ControlWrite {
    let value = value.get();
    ControlWrite {
        value: near.map_or(value, |old| old ^ 1 << (value & 31)),
        old: ControlState {
            cr0: cpu.cr0,
            cr3: cpu.cr3,
            cr4: cpu.cr4,
            efer: cpu.efer,
            cs_long: cpu.is_64_bit(),
            bars_ia32e: cpu.segments[CpuState::CS].rights & 1 << 13 != 0,
        },
    }
}

/// User mode may be the one that made this exit, and a stop that follows ends a VM that its kernel did not end.
fn is_from_user(exit: &Exit) -> bool {
    match exit {
        // What the processor does for itself it does by the kernel's tables.
        Exit::GpaFault(f) => f.cpu.cpl() == 3 && f.linear.is_some(),
        Exit::PortString(s) => s.cpu.cpl() == 3,
        _ => false,
    }
}

/// Whether the vendor crate can carry it out.
fn well_formed(answer: &Answer, exit: &Exit) {
    match *answer {
        Answer::Emulated { length, .. } => assert!(length <= 15),
        Answer::Inject(Event::Exception { vector, error_code }) => {
            assert!(vector.0 < 32 && vector != vector::NMI);
            assert!(
                error_code
                    .is_none_or(|code| code <= 0xffff || matches!(exit, Exit::Exception { .. }))
            );
        }
        Answer::Inject(Event::Interrupt(_) | Event::Nmi) => panic!("{answer:?}"),
        Answer::Write(write) => judged(write),
        Answer::Stop(Stop::Bug(_)) => {
            assert!(matches!(exit, Exit::EntryFailed(_) | Exit::Unknown(_)));
        }
        _ => {}
    }
}

/// A value that VM entry would take (SDM vol. 3, "Checks on Guest Control Registers, Debug Registers, and MSRs").
fn judged(write: SystemWrite) {
    match write {
        SystemWrite::Cr0(value) => {
            let cr0 = Cr0::from_bits_retain(value);
            assert_eq!(value >> 32, 0);
            assert!(cr0.contains(Cr0::PE) || !cr0.contains(Cr0::PG));
            assert!(cr0.contains(Cr0::CD) || !cr0.contains(Cr0::NW));
        }
        SystemWrite::Cr4(value) => assert_eq!(value & !Cr4::all().bits(), 0),
        SystemWrite::Efer(value) => assert_eq!(value & !Efer::all().bits(), 0),
        SystemWrite::Pat(value) => {
            let is_type = |byte| matches!(byte, 0 | 1 | 4..=7);
            assert!(value.to_le_bytes().into_iter().all(is_type), "{value:#x}");
        }
        SystemWrite::Xcr0(value) => {
            assert_eq!(value & 1, 1);
            assert!(value & 4 == 0 || value & 2 != 0);
            assert_eq!(value & !7, 0, "what the fake has");
        }
        SystemWrite::Rsp(_) | SystemWrite::TscOffset(_) => {}
    }
}

const _: () = assert!(RAM == 0x1_0000);
