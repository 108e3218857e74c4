//! A VM on the host: memory and serial line that are plain values, and a processor in a plain state.

use devices::{Cmos, Watchdog};
use exits::{Access, Answer, Direction, Event, Exit, GpaFault, PortAccess};
use platform::cpuid::Facts;
use platform::{CpuidPolicy, MsrPolicy};
use seam::{AccessError, GuestMem, Kick, SerialLine};
use spec::cpu::{Cr0, Gpr, Gprs, Segment};
use spec::state::CpuState;
use spec::{Gpa, Gva, Hz, Msr, Nanos, Port, Ticks, Vector, Width, msr};
use std::boxed::Box;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::vec::Vec;
use vm::{Chips, Policy, Vcpu, Vm, Wants};

/// Bytes of RAM, from address 0 on.
pub(crate) const RAM: u64 = 0x1_0000;
/// Where the instruction of an exit lies.
pub(crate) const CODE: u64 = 0x1000;
pub(crate) const TSC: Hz = Hz(2_600_000_000);

/// RAM that counts how often it is touched.
#[derive(Debug)]
pub(crate) struct Ram {
    bytes: Mutex<Vec<u8>>,
    pub(crate) touched: AtomicUsize,
}

impl Ram {
    fn with<T>(
        &self,
        gpa: Gpa,
        len: u64,
        f: impl FnOnce(&mut [u8]) -> T,
    ) -> Result<T, AccessError> {
        self.touched.fetch_add(1, Ordering::Relaxed);
        let end = gpa.checked_add(len).ok_or(AccessError::Absent)?;
        let mut bytes = self.bytes.lock().unwrap();
        let part = bytes.get_mut(gpa.0 as usize..end.0 as usize);
        part.map(f).ok_or(AccessError::Absent)
    }

    fn word<T>(&self, gpa: Gpa, f: impl FnOnce(&mut [u8]) -> T) -> Result<T, AccessError> {
        if !gpa.is_aligned(8) {
            return Err(AccessError::Width);
        }
        self.with(gpa, 8, f)
    }

    pub(crate) fn set_u64(&self, at: u64, value: u64) {
        self.write_from(Gpa(at), &value.to_le_bytes()).unwrap();
    }
}

fn value(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

impl GuestMem for Ram {
    fn read_into(&self, gpa: Gpa, into: &mut [u8]) -> Result<(), AccessError> {
        self.with(gpa, into.len() as u64, |b| into.copy_from_slice(b))
    }

    fn write_from(&self, gpa: Gpa, from: &[u8]) -> Result<(), AccessError> {
        self.with(gpa, from.len() as u64, |b| b.copy_from_slice(from))
    }

    fn zero(&self, gpa: Gpa, len: u64) -> Result<(), AccessError> {
        self.with(gpa, len, |b| b.fill(0))
    }

    fn read_u64(&self, gpa: Gpa) -> Result<u64, AccessError> {
        self.word(gpa, |b| value(b))
    }

    fn compare_exchange_u64(&self, gpa: Gpa, old: u64, new: u64) -> Result<bool, AccessError> {
        self.word(gpa, |b| {
            let same = value(b) == old;
            if same {
                b.copy_from_slice(&new.to_le_bytes());
            }
            same
        })
    }
}

/// What was sent, what waits to be received, and how much more can be sent.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) sent: VecDeque<u8>,
    pub(crate) waiting: VecDeque<u8>,
    pub(crate) room: usize,
}

impl SerialLine for Line {
    fn send(&mut self, byte: u8) -> bool {
        let fits = self.room > 0;
        if fits {
            self.room -= 1;
            self.sent.push_back(byte);
        }
        fits
    }

    fn receive(&mut self) -> Option<u8> {
        self.waiting.pop_front()
    }
}

/// A processor with all features and 39 bits of physical address.
fn host(leaf: u32, subleaf: u32) -> [u32; 4] {
    match (leaf, subleaf) {
        (0, _) => [0x1f, 0x756e_6547, 0x6c65_746e, 0x4965_6e69],
        (7, 0) => [0, u32::MAX, u32::MAX, u32::MAX],
        (0xd, 0) => [7, 832, 832, 0],
        (0xd, 1) => [0; 4],
        (0xd, 2) => [256, 576, 0, 0],
        (0x8000_0000, _) => [0x8000_0008, 0, 0, 0],
        (0x8000_0008, _) => [0x3027, 0, 0, 0],
        _ => [u32::MAX; 4],
    }
}

/// How often the core of each vCPU was kicked; and by core, how often it was notified, and what was raised in its local APIC.
#[derive(Clone, Debug)]
pub(crate) struct Kicks {
    kicks: Arc<[AtomicUsize]>,
    told: Arc<Mutex<Vec<Told>>>,
    watched: Arc<AtomicUsize>,
}

/// What a core was told without a kick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// It has posted interrupts.
    Notified(u32),
    /// This vector was raised in its local APIC.
    Raised(u32, u8),
}

impl Kicks {
    fn new(vcpus: u8) -> Self {
        Self {
            kicks: (0..vcpus).map(|_| AtomicUsize::new(0)).collect(),
            told: Arc::default(),
            watched: Arc::default(),
        }
    }

    /// What cores were told without a kick since the last call of this.
    pub(crate) fn take_told(&self) -> Vec<Told> {
        core::mem::take(&mut self.told.lock().unwrap())
    }

    /// How often since the last call of this somebody was to look at the watchdog.
    pub(crate) fn take_watched(&self) -> usize {
        self.watched.swap(0, Ordering::Relaxed)
    }

    /// How often since the last call of this, for each vCPU.
    pub(crate) fn take(&self) -> Vec<usize> {
        self.kicks
            .iter()
            .map(|n| n.swap(0, Ordering::Relaxed))
            .collect()
    }
}

impl Kick for Kicks {
    fn kick(&self, vcpu: u32) {
        self.kicks[vcpu as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn notify(&self, core: u32) {
        self.told.lock().unwrap().push(Told::Notified(core));
    }

    fn raise(&self, core: u32, vector: Vector) {
        self.told.lock().unwrap().push(Told::Raised(core, vector.0));
    }

    fn watch(&self) {
        self.watched.fetch_add(1, Ordering::Relaxed);
    }
}

/// One that can be set to ten seconds.
pub(crate) fn watchdog() -> Watchdog {
    Watchdog::new(Nanos(10_000_000_000), TSC, false)
}

/// A VM with its vCPUs. The general registers are those of whichever exits.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) vm: Vm<Ram, Line>,
    pub(crate) vcpus: Vec<Vcpu>,
    pub(crate) gprs: Gprs,
    pub(crate) now: Ticks,
    pub(crate) kicks: Kicks,
}

impl Machine {
    /// All vCPUs run.
    pub(crate) fn new(vcpus: u8) -> Self {
        let mut m = Self::powered_on(vcpus);
        m.vcpus.iter_mut().for_each(Vcpu::started_up);
        m
    }

    /// All but the first wait to be started.
    pub(crate) fn powered_on(vcpus: u8) -> Self {
        let facts = Facts {
            tsc: TSC,
            vcpus,
            xsaves: false,
            invpcid: true,
            rdtscp: true,
        };
        let cpuid = CpuidPolicy::new(&host, facts);
        let shift = cpuid.timer_shift() as u8;
        let now = Ticks(1_000_000);
        let memory = Ram {
            bytes: Mutex::new(std::vec![0; RAM as usize]),
            touched: AtomicUsize::new(0),
        };
        let line = Line {
            sent: VecDeque::with_capacity(4096),
            waiting: VecDeque::with_capacity(64),
            room: 4096,
        };
        let policy = Policy {
            msrs: MsrPolicy::new(&cpuid),
            cpuid,
        };
        let chips = Chips::new(line, Cmos::new(1_700_000_000, now, TSC), Some(watchdog()));
        let kicks = Kicks::new(vcpus);
        let kick = Box::new(kicks.clone());
        Self {
            vm: Vm::new("fake".into(), memory, policy, chips, vcpus.into(), kick),
            kicks,
            vcpus: (0..vcpus.into()).map(|i| Vcpu::new(i, shift)).collect(),
            gprs: Gprs::default(),
            now,
        }
    }

    /// One vCPU, its local APIC in x2APIC mode and enabled by software.
    pub(crate) fn x2apic(vcpus: u8) -> Self {
        let mut m = Self::new(vcpus);
        for i in 0..usize::from(vcpus) {
            let base = m.vcpus[i].lapic.base_msr();
            assert_eq!(m.wrmsr(i, msr::APIC_BASE, base | 1 << 10), Answer::Advance);
            assert_eq!(m.wrmsr(i, Msr(0x80f), 0x1ff), Answer::Advance);
        }
        m
    }

    pub(crate) fn step(&mut self, exit: Exit) -> Answer {
        self.step_on(0, exit)
    }

    pub(crate) fn step_on(&mut self, i: usize, exit: Exit) -> Answer {
        vm::step(
            &self.vm,
            &mut self.vcpus[i],
            &mut self.gprs,
            &exit,
            self.now,
        )
    }

    pub(crate) fn wants(&mut self, i: usize) -> Wants {
        let vcpu = &mut self.vcpus[i];
        vcpu.wants(self.vm.mailbox(vcpu), self.now)
    }

    pub(crate) fn wrmsr(&mut self, i: usize, msr: Msr, value: u64) -> Answer {
        self.gprs.set_edx_eax(value);
        self.step_on(i, Exit::MsrWrite(msr))
    }

    /// `None` for #GP(0).
    pub(crate) fn rdmsr(&mut self, i: usize, msr: Msr) -> Option<u64> {
        match self.step_on(i, Exit::MsrRead(msr)) {
            Answer::Advance => Some(self.gprs.edx_eax()),
            other => {
                assert_eq!(other, Answer::Inject(Event::GP0));
                None
            }
        }
    }

    pub(crate) fn port_out(&mut self, port: u16, width: Width, value: u64) -> Answer {
        self.gprs.set(Gpr::Rax, value);
        self.step(Exit::Port(PortAccess {
            port: Port(port),
            width,
            direction: Direction::Out,
        }))
    }

    /// RAX afterwards, which was all ones before.
    pub(crate) fn port_in(&mut self, port: u16, width: Width) -> u64 {
        self.gprs.set(Gpr::Rax, u64::MAX);
        let answer = self.step(Exit::Port(PortAccess {
            port: Port(port),
            width,
            direction: Direction::In,
        }));
        assert_eq!(answer, Answer::Advance);
        self.gprs.get(Gpr::Rax)
    }

    /// An access to `gpa` by this instruction.
    pub(crate) fn access(
        &mut self,
        i: usize,
        cpu: &CpuState,
        code: &[u8],
        gpa: u64,
        access: Access,
    ) -> Answer {
        self.vm.memory.write_from(Gpa(CODE), code).unwrap();
        self.step_on(i, fault(cpu, gpa, access))
    }

    /// `MOV EAX, [gpa]`
    pub(crate) fn load(&mut self, i: usize, gpa: u32) -> u64 {
        self.gprs.set(Gpr::Rax, 0x5555_5555);
        let answer = self.access(i, &flat(0), &mov(0x8b, gpa), gpa.into(), Access::Read);
        assert!(
            matches!(answer, Answer::Emulated { length: 6, .. }),
            "{answer:?}"
        );
        self.gprs.get(Gpr::Rax)
    }

    /// `MOV [gpa], EAX`
    pub(crate) fn store(&mut self, i: usize, gpa: u32, value: u32) -> Answer {
        self.gprs.set(Gpr::Rax, value.into());
        self.access(i, &flat(0), &mov(0x89, gpa), gpa.into(), Access::Write)
    }

    /// Sets a redirection entry of the I/O APIC.
    pub(crate) fn redirect(&mut self, pin: u8, entry: u64) {
        for (register, value) in [
            (0x10 + 2 * pin, entry as u32),
            (0x11 + 2 * pin, (entry >> 32) as u32),
        ] {
            assert!(matches!(
                self.store(0, 0xfec0_0000, register.into()),
                Answer::Emulated { .. }
            ));
            assert!(matches!(
                self.store(0, 0xfec0_0010, value),
                Answer::Emulated { .. }
            ));
        }
    }

    /// Delivers all interrupts that a vCPU can take, ending each; in x2APIC mode.
    pub(crate) fn drain(&mut self, i: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while let Some(Vector(vector)) = self.wants(i).interrupt {
            self.vcpus[i].taken(Vector(vector));
            taken.push(vector);
            assert_eq!(self.wrmsr(i, Msr(0x80b), 0), Answer::Advance);
        }
        taken
    }
}

/// `8B` or `89` with a plain address of 32 bits: a move between EAX and memory.
fn mov(opcode: u8, gpa: u32) -> [u8; 6] {
    let [a, b, c, d] = gpa.to_le_bytes();
    [opcode, 0x05, a, b, c, d]
}

pub(crate) fn fault(cpu: &CpuState, gpa: u64, access: Access) -> Exit {
    Exit::GpaFault(GpaFault {
        gpa: Gpa(gpa),
        access,
        linear: Some(Gva(gpa)),
        present: false,
        cpu: *cpu,
    })
}

/// Protected mode with flat segments and no paging, at this privilege level.
pub(crate) fn flat(cpl: u8) -> CpuState {
    let segment = Segment {
        selector: 0x10 | u16::from(cpl),
        base: 0,
        limit: u32::MAX,
        rights: 0xc093 | u32::from(cpl) << 5,
    };
    let mut cpu = CpuState {
        rip: CODE,
        rsp: 0x8000,
        rflags: 2,
        cr0: (Cr0::PE | Cr0::ET).bits(),
        cr3: 0,
        cr4: 0,
        efer: 0,
        physical_bits: 39,
        segments: [segment; 6],
    };
    cpu.segments[CpuState::CS].rights |= 8;
    cpu
}
