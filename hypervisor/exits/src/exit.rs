//! What made the guest stop.

use spec::cpu::Gpr;
use spec::state::{ControlState, CpuState};
use spec::{Gpa, Gva, Msr, Port, Vector, Width};

/// One exit, decoded. Closed and total: a reason that we do not know is [`Exit::Unknown`].
///
/// The tag stands apart from the fields: every exit is told apart several times on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// CPUID; leaf and subleaf are EAX and ECX.
    Cpuid,
    /// IN or OUT of one value.
    Port(PortAccess),
    /// INS or OUTS, possibly repeated.
    PortString(StringAccess),
    /// An access to a guest-physical address that the nested tables do not grant.
    GpaFault(GpaFault),
    /// RDMSR
    MsrRead(Msr),
    /// WRMSR; the value is EDX:EAX.
    MsrWrite(Msr),
    /// MOV to CR0, CLTS or LMSW, reduced to the value that CR0 would get.
    Cr0Write(ControlWrite),
    /// MOV to CR4.
    Cr4Write(ControlWrite),
    /// WRMSR to IA32_EFER, apart from the others since its rules hang on the control registers.
    EferWrite(ControlWrite),
    /// MOV from CR8 to this register. The task priority is the local APIC's, never the host's.
    Cr8Read(Gpr),
    /// MOV to CR8.
    Cr8Write(u64),
    /// XSETBV; the register is ECX, the value EDX:EAX.
    Xsetbv,
    /// VMCALL or its like.
    Hypercall,
    /// HLT
    Hlt,
    /// INVD or WBINVD, which have no effect on a guest whose memory is cached write-back and that owns no device.
    CacheFlush,
    /// An instruction that this guest does not have (VMX, SMX, RDPMC without counters, ...): #UD.
    Undefined,
    /// An instruction whose privilege or operand hardware has checked and which this guest may not use: #GP(0).
    Forbidden,
    /// An exception that we asked to see.
    Exception {
        /// Which
        vector: Vector,
        /// Its error code, where it has one
        error_code: Option<u32>,
        /// Exit qualification: the address of a page fault, DR6 bits of a debug exception
        qualification: u64,
    },
    /// The guest can take an interrupt now.
    InterruptWindow,
    /// The guest can take an NMI now.
    NmiWindow,
    /// The preemption timer ran out.
    TimerExpired,
    /// A physical interrupt of the host arrived and was acknowledged.
    HostInterrupt(Vector),
    /// A physical NMI arrived.
    HostNmi,
    /// The processor has ended this interrupt for the guest, whose local APIC it carries, and is asked to tell. RIP is past the
    /// instruction.
    VirtualizedEoi(Vector),
    /// The guest has written this register of the local APIC that the processor carries, by its number; the value is in the
    /// virtual-APIC page. RIP is past the instruction.
    ApicWrite(u8),
    /// The vCPU shut down.
    TripleFault,
    /// A task switch, which we do not carry out.
    TaskSwitch,
    /// VM entry was refused for the guest state; the number is the vendor's exit reason, basic part.
    EntryFailed(u16),
    /// A reason that no part of us asked for.
    Unknown(u16),
}

/// A write to CR0, CR4 or IA32_EFER that the guest may not make without us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControlWrite {
    /// What the guest wants to write
    pub value: u64,
    /// The control registers before, as the guest sees them
    pub old: ControlState,
}

/// The direction of an I/O access, as the guest sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the device to the guest
    In,
    /// From the guest to the device
    Out,
}

/// One IN or OUT. The value is, or goes to, the low bytes of RAX.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortAccess {
    /// First port
    pub port: Port,
    /// 1, 2 or 4 bytes
    pub width: Width,
    /// Which way
    pub direction: Direction,
}

/// One INS or OUTS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StringAccess {
    /// Port, width and direction
    pub access: PortAccess,
    /// Whether a REP prefix stands before it
    pub repeated: bool,
    /// Address size in bytes: 2, 4 or 8; RCX, RSI and RDI count at this size
    pub address_size: Width,
    /// Segment of OUTS's operand, by its index in [`CpuState::segments`]; INS always uses ES
    pub segment: u8,
    /// Registers that the walk through guest memory needs
    pub cpu: CpuState,
}

/// What an access wanted to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Data read
    Read,
    /// Data write, or read-modify-write
    Write,
    /// Instruction fetch
    Fetch,
}

/// An access that the nested tables did not grant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GpaFault {
    /// Where
    pub gpa: Gpa,
    /// Which kind
    pub access: Access,
    /// The guest-linear address behind it, if the access is that of an instruction's operand or fetch;
    /// `None` if the processor itself made it while walking the guest's page tables, or gives no address
    pub linear: Option<Gva>,
    /// The tables grant something here, but not this access
    pub present: bool,
    /// Registers that decoding and carrying out the instruction need
    pub cpu: CpuState,
}
