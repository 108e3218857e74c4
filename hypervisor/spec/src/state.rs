//! Register state as values: a snapshot for one instruction, and the state at a start.

use crate::cpu::{Cr0, Efer, Gprs, Rflags, Segment, TableRegister};

/// The registers beside the general ones that decoding and carrying out one instruction need.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuState {
    /// Instruction pointer
    pub rip: u64,
    /// Stack pointer
    pub rsp: u64,
    /// Flags
    pub rflags: u64,
    /// CR0 as the guest sees it
    pub cr0: u64,
    /// CR3
    pub cr3: u64,
    /// CR4 as the guest sees it
    pub cr4: u64,
    /// IA32_EFER
    pub efer: u64,
    /// ES, CS, SS, DS, FS, GS, in the order in which instructions encode them
    pub segments: [Segment; 6],
}

impl CpuState {
    /// Index of CS in [`CpuState::segments`].
    pub const CS: usize = 1;
    /// Index of SS in [`CpuState::segments`].
    pub const SS: usize = 2;

    /// The current privilege level: SS.DPL (SDM vol. 3, "Guest Register State").
    #[must_use]
    pub const fn cpl(&self) -> u8 {
        self.segments[Self::SS].dpl()
    }

    /// Whether the processor runs 64-bit code: IA-32e mode and CS.L.
    #[must_use]
    pub const fn is_64_bit(&self) -> bool {
        self.efer & Efer::LMA.bits() != 0 && self.segments[Self::CS].rights & Segment::LONG != 0
    }

    /// Whether the processor runs in real-address mode.
    #[must_use]
    pub const fn is_real(&self) -> bool {
        self.cr0 & Cr0::PE.bits() == 0
    }

    /// Whether the processor runs in virtual-8086 mode.
    #[must_use]
    pub const fn is_virtual_8086(&self) -> bool {
        !self.is_real() && self.rflags & Rflags::VM.bits() != 0
    }
}

/// What the rules for writes to the control registers look at (SDM vol. 3, "Control Registers", and vol. 2,
/// "MOV: Move to/from Control Registers").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ControlState {
    /// CR0 as the guest sees it
    pub cr0: u64,
    /// CR3
    pub cr3: u64,
    /// CR4 as the guest sees it
    pub cr4: u64,
    /// IA32_EFER
    pub efer: u64,
    /// CS.L: the processor runs 64-bit code
    pub cs_long: bool,
}

/// Whether a vCPU runs instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Activity {
    /// It runs.
    #[default]
    Active,
    /// It has executed HLT.
    Halted,
    /// It waits for a start-up IPI.
    WaitForSipi,
}

/// All registers of a vCPU at its start: after reset, or as a boot protocol wants them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StartState {
    /// General-purpose registers; RSP's slot counts here
    pub gprs: Gprs,
    /// Instruction pointer
    pub rip: u64,
    /// Flags
    pub rflags: u64,
    /// CR0
    pub cr0: u64,
    /// CR3
    pub cr3: u64,
    /// CR4
    pub cr4: u64,
    /// IA32_EFER
    pub efer: u64,
    /// ES, CS, SS, DS, FS, GS
    pub segments: [Segment; 6],
    /// Task register
    pub tr: Segment,
    /// Local descriptor table register
    pub ldtr: Segment,
    /// Global descriptor table register
    pub gdtr: TableRegister,
    /// Interrupt descriptor table register
    pub idtr: TableRegister,
}
