//! A guest of three pages, in real-address mode: vectors, code, stack.
// UNSAFETY: makes a VMCS current and enters the guest.
#![allow(unsafe_code)]

use crate::apic;
use crate::machine::Machine;
use alloc::string::{String, ToString};
use hw::entry::{self, Outcome, Registers};
use hw::vmx_ops::{self, CurrentVmcs, VmFail};
use paging::{Ept, Level, Rights, Tables};
use seam::TableMem;
use spec::cpu::{Cr0, Gpr, Gprs, Rflags, Segment, TableRegister};
use spec::ept::{Eptp, InveptType};
use spec::memory_type::MemoryType;
use spec::state::StartState;
use spec::vmcs;
use spec::vmx_controls::{PinControls, PrimaryControls, SecondaryControls};
use spec::vmx_event::{Interruptibility, InterruptionInfo};
use spec::{Gpa, Hpa, Msr, PAGE_SIZE, Vector};
use vmx::{Controls, Pointers, Setup, Vmcs, Wants};

/// The table of real-mode vectors.
const VECTORS: Gpa = Gpa(0);
/// Where it starts.
pub(crate) const CODE: Gpa = Gpa(0x1000);
/// Where every vector leads: a VMCALL.
pub(crate) const HANDLER: u16 = 0x1800;
const STACK: Gpa = Gpa(0x2000);
/// Memory that the guest does not have.
pub(crate) const NOWHERE: Gpa = Gpa(0x8000);

/// `vmcall`
pub(crate) const VMCALL: [u8; 3] = [0x0f, 0x01, 0xc1];

/// Activity state of a processor in HLT.
pub(crate) const HLT: u64 = 1;

/// Units of the preemption timer after which a guest that nothing has happened to exits.
const PATIENCE: u64 = 10_000;

/// Vector that notifies of posted interrupts.
pub(crate) const NOTIFICATION: Vector = Vector(0x42);

/// A posted-interrupt descriptor.
#[derive(Clone, Copy)]
pub(crate) struct Posted {
    /// Bytes into its page
    pub(crate) offset: u64,
    /// The interrupt that is posted
    pub(crate) request: Option<Vector>,
}

/// What a run may differ in.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// Instructions
    pub(crate) code: &'static [u8],
    /// Whether interrupts are open at the start
    pub(crate) open: bool,
    /// Where the vectors are
    pub(crate) vectors: Gpa,
    /// The virtual interrupt that is pending
    pub(crate) pending: Option<Vector>,
    /// The physical interrupt that is pending
    pub(crate) physical: Option<Vector>,
    /// Whether a MOV to SS holds interrupts back until the first instruction is done
    pub(crate) held_back: bool,
    /// Whether the guest sleeps in HLT at the start
    pub(crate) asleep: bool,
    /// The posted-interrupt descriptor
    pub(crate) posted: Option<Posted>,
    /// An MSR that the guest may write, and what RCX, RDX and RAX have for it
    pub(crate) write: Option<(Msr, u64)>,
    /// Units of the preemption timer
    pub(crate) patience: u64,
}

impl Run {
    /// A run of `code`, interrupts off and none pending.
    pub(crate) const fn of(code: &'static [u8]) -> Self {
        Self {
            code,
            open: false,
            vectors: VECTORS,
            pending: None,
            physical: None,
            held_back: false,
            asleep: false,
            posted: None,
            write: None,
            patience: PATIENCE,
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Exit {
    /// Basic exit reason
    pub(crate) reason: u16,
    /// Where the guest was
    pub(crate) rip: u64,
    /// What was being delivered
    pub(crate) vectoring: InterruptionInfo,
    /// Where an EPT violation was
    pub(crate) gpa: Gpa,
    /// Flags that an interrupt has pushed
    pub(crate) pushed: u64,
    /// Activity state
    pub(crate) activity: u64,
}

/// The guest's memory, and the frames of its control structures.
pub(crate) struct Guest {
    controls: Controls,
    nested: Tables<Ept, ram::FrameTables<'static>>,
    code: Hpa,
    stack: Hpa,
    virtual_apic: Hpa,
    descriptor: Hpa,
    region: Hpa,
    msr_bitmap: Hpa,
    io_bitmap: Hpa,
}

impl Guest {
    /// Makes the guest.
    ///
    /// # Errors
    /// What the processor or the memory does not have, in words.
    pub(crate) fn new(machine: &mut Machine) -> Result<Self, String> {
        let capabilities = machine.capabilities;
        let mut controls = vmx::controls::select(&capabilities, &Wants::default());
        controls.primary -= PrimaryControls::HLT_EXITING;
        controls.primary |= PrimaryControls::TPR_SHADOW;
        controls.secondary |= SecondaryControls::VIRTUAL_INTERRUPT_DELIVERY;
        if !capabilities.has_primary(controls.primary)
            || !capabilities.has_secondary(controls.secondary)
            || !capabilities.has_pin(PinControls::POSTED_INTERRUPTS)
        {
            return Err("this processor has no posted interrupts".into());
        }
        let ept = Ept {
            largest: Level::KIB_4,
            execute_only: false,
        };
        let mut nested = Tables::new(ept, machine.memory).map_err(|e| alloc::format!("{e:?}"))?;
        let mut frame = || machine.memory.alloc().ok_or("no frame is left");
        let [
            vectors,
            code,
            stack,
            virtual_apic,
            descriptor,
            msr_bitmap,
            io_bitmap,
        ] = [
            frame()?,
            frame()?,
            frame()?,
            frame()?,
            frame()?,
            frame()?,
            frame()?,
        ];
        for (at, frame) in [(VECTORS, vectors), (CODE, code), (STACK, stack)] {
            nested
                .map(at, frame, PAGE_SIZE, Rights::RWX, MemoryType::WriteBack)
                .map_err(|e| alloc::format!("{e:?}"))?;
        }
        // Two vectors to a word, each segment and offset; segment zero.
        let word = u64::from(HANDLER) << 32 | u64::from(HANDLER);
        for at in 0..128 {
            machine.memory.write(vectors, at, word);
        }
        for at in 0..512 {
            machine.memory.write(io_bitmap, at, u64::MAX);
        }
        Ok(Self {
            controls,
            nested,
            code,
            stack,
            virtual_apic,
            descriptor,
            region: machine.region()?,
            msr_bitmap,
            io_bitmap,
        })
    }

    /// Runs the guest from its start to its first exit.
    ///
    /// # Errors
    /// How the entry failed, in the outer result in words, in the inner one as the processor has it.
    pub(crate) fn run(
        &mut self,
        machine: &mut Machine,
        run: Run,
    ) -> Result<Result<Exit, VmFail>, String> {
        self.fill(machine, run)?;
        // SAFETY: in VMX root operation; the region is this guest's own; the VMCS of the run before was cleared.
        let mut vmcs = unsafe { CurrentVmcs::new(self.region) }.map_err(|e| e.to_string())?;
        let start = start(run);
        self.initialise(machine, &mut vmcs, &start, run);
        if let Some(field) = vmcs.take_failure() {
            return Err(alloc::format!("{field:?} cannot be written"));
        }
        // SAFETY: in VMX root operation; the processor has this type, which `Capabilities::missing` demands.
        unsafe {
            vmx_ops::invept(
                InveptType::AllContexts,
                Eptp::new(Hpa(0), MemoryType::WriteBack, false),
            );
        }
        if let Some(v) = run.physical {
            apic::interrupt_self(v);
        }
        let mut registers = Registers::default();
        if let Some((Msr(number), value)) = run.write {
            for (register, word) in [
                (Gpr::Rcx, number.into()),
                (Gpr::Rdx, value >> 32),
                (Gpr::Rax, value & u64::from(u32::MAX)),
            ] {
                registers.gprs.set(register, word);
            }
        }
        // SAFETY: interrupts are off; the host state is this core's; the nested tables map the guest's own frames, and every
        // port exits and every MSR, but one of the local APIC by which a core interrupts itself.
        let entered = unsafe { entry::run(&vmcs, &mut registers) };
        machine.settle();
        let exit = Exit {
            reason: vmcs.read(vmcs::EXIT_REASON) as u16,
            rip: vmcs.read(vmcs::GUEST_RIP),
            vectoring: InterruptionInfo(vmcs.read(vmcs::IDT_VECTORING_INFO) as u32),
            gpa: Gpa(vmcs.read(vmcs::GUEST_PHYSICAL_ADDRESS)),
            // FLAGS is the first word that an interrupt pushes, below the top of the stack.
            pushed: machine.memory.read(self.stack, 511) >> 48,
            activity: vmcs.read(vmcs::GUEST_ACTIVITY),
        };
        vmcs.clear().map_err(|e| e.to_string())?;
        match entered {
            Ok(Outcome::Exited) => Ok(Ok(exit)),
            Ok(Outcome::Kicked) => Err("an NMI came from nowhere".into()),
            Err(failure) => Ok(Err(failure)),
        }
    }

    /// Puts code, pending interrupts and the granted MSR where guest and processor find them.
    fn fill(&self, machine: &mut Machine, run: Run) -> Result<(), String> {
        let mut page = [0; PAGE_SIZE as usize];
        page[..run.code.len()].copy_from_slice(run.code);
        let handler = usize::from(HANDLER) - CODE.0 as usize;
        page[handler..handler + VMCALL.len()].copy_from_slice(&VMCALL);
        let mut apic = [0; PAGE_SIZE as usize];
        if let Some(Vector(v)) = run.pending {
            // VIRR: a bit for each vector, 32 to a register, registers 16 bytes apart from offset 200H on.
            apic[0x200 + usize::from(v / 32) * 16 + usize::from(v % 32 / 8)] = 1 << (v % 8);
        }
        let mut descriptor = [0; PAGE_SIZE as usize];
        if let Some(Posted {
            offset,
            request: Some(Vector(v)),
        }) = run.posted
        {
            // PIR: the first 32 bytes.
            descriptor[offset as usize + usize::from(v / 8)] = 1 << (v % 8);
        }
        let mut msrs = [u8::MAX; PAGE_SIZE as usize];
        if let Some((Msr(number), _)) = run.write {
            // Writes of MSRs up to 1FFFH: the third quarter.
            msrs[0x800 + number as usize / 8] = !(1 << (number % 8));
        }
        let empty = [0; PAGE_SIZE as usize];
        let memory = &mut machine.memory;
        if memory.fill(self.code, &page)
            && memory.fill(self.virtual_apic, &apic)
            && memory.fill(self.descriptor, &descriptor)
            && memory.fill(self.msr_bitmap, &msrs)
            && memory.fill(self.stack, &empty)
        {
            Ok(())
        } else {
            Err("a frame lies outside memory".into())
        }
    }

    fn initialise(&self, machine: &Machine, vmcs: &mut CurrentVmcs, start: &StartState, run: Run) {
        vmx::setup::initialise(
            vmcs,
            &Setup {
                controls: &self.controls,
                start,
                pat: hw::control::PAT_RESET,
                guest_cr4: 0,
                tsc_offset: 0,
                vpid: 1,
                physical_bits: hw::cpuid::address_widths().physical,
                host: &machine.host,
                pointers: Pointers {
                    eptp: Eptp::new(self.nested.root(), MemoryType::WriteBack, false),
                    msr_bitmap: self.msr_bitmap,
                    io_bitmap_a: self.io_bitmap,
                    io_bitmap_b: self.io_bitmap,
                },
            },
        );
        // RVI is the low byte of the guest interrupt status, SVI the high one.
        let status = run.pending.map_or(0, |v| u64::from(v.0));
        for (field, value) in [
            (vmcs::VIRTUAL_APIC_ADDRESS, self.virtual_apic.0),
            (vmcs::TPR_THRESHOLD, 0),
            (vmcs::EOI_EXIT_BITMAP_0, 0),
            (vmcs::EOI_EXIT_BITMAP_1, 0),
            (vmcs::EOI_EXIT_BITMAP_2, 0),
            (vmcs::EOI_EXIT_BITMAP_3, 0),
            (vmcs::GUEST_INTERRUPT_STATUS, status),
            (vmcs::PREEMPTION_TIMER, run.patience),
        ] {
            vmcs.write(field, value);
        }
        if run.held_back {
            let held_back = Interruptibility::MOV_SS.bits();
            vmcs.write(vmcs::GUEST_INTERRUPTIBILITY, held_back.into());
        }
        if run.asleep {
            vmcs.write(vmcs::GUEST_ACTIVITY, HLT);
        }
        if let Some(Posted { offset, .. }) = run.posted {
            let pin = self.controls.pin | PinControls::POSTED_INTERRUPTS;
            vmcs.write(vmcs::PIN_CONTROLS, pin.bits().into());
            vmcs.write(vmcs::POSTED_INTERRUPT_VECTOR, NOTIFICATION.0.into());
            vmcs.write(
                vmcs::POSTED_INTERRUPT_DESCRIPTOR,
                self.descriptor.0 + offset,
            );
        }
    }
}

/// The state after reset (SDM vol. 3, "Processor State After Reset"), but at the guest's code and with its stack.
fn start(run: Run) -> StartState {
    let real = |rights| Segment {
        selector: 0,
        base: 0,
        limit: 0xffff,
        rights,
    };
    let mut segments = [real(0x93); 6];
    segments[1] = real(0x9b);
    let mut gprs = Gprs::default();
    gprs.set(Gpr::Rsp, STACK.0 + PAGE_SIZE);
    let mut rflags = Rflags::FIXED;
    rflags.set(Rflags::IF, run.open);
    StartState {
        gprs,
        rip: CODE.0,
        rflags: rflags.bits(),
        cr0: Cr0::ET.bits(),
        cr3: 0,
        cr4: 0,
        efer: 0,
        segments,
        tr: real(0x8b),
        ldtr: real(0x82),
        gdtr: TableRegister {
            base: 0,
            limit: 0xffff,
        },
        idtr: TableRegister {
            base: run.vectors.0,
            limit: 0x3ff,
        },
    }
}
