//! Register state as values: a snapshot for one instruction, and the state at a start.

use crate::cpu::{Cr0, Efer, Gpr, Gprs, Rflags, Segment, TableRegister};

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
    /// Bits of physical addresses: those above them are reserved in entries of page tables
    pub physical_bits: u8,
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
    /// IA-32e mode is not active, and cannot become so: CS.L is set already, or TR is of 16 bits (SDM vol. 3, "IA-32e Mode System Data
    /// Structure Consistency"). Known only while IA32_EFER.LME is set and CR0.PG is clear.
    pub bars_ia32e: bool,
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

impl StartState {
    /// A processor other than the bootstrap one, after INIT and a start-up IPI with this vector (SDM vol. 3, "Processor State After
    /// Reset", table "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT", and "MP Initialization Protocol
    /// Algorithm for MP Systems"): in real-address mode at the start of page number `vector`.
    ///
    /// `signature` is EAX of CPUID leaf 1 as this processor shows it; INIT leaves it in EDX. CD and NW of CR0 are set here, as
    /// after power-up; INIT leaves them as they were, which is for whoever still knows the old CR0 to carry over.
    #[must_use]
    pub fn start_up(vector: u8, signature: u32) -> Self {
        let real = |rights| Segment {
            selector: 0,
            base: 0,
            limit: 0xffff,
            rights,
        };
        let mut segments = [real(Segment::DATA_ACCESSED); 6];
        segments[CpuState::CS] = Segment {
            selector: u16::from(vector) << 8,
            base: u64::from(vector) << 12,
            ..real(Segment::CODE_ACCESSED)
        };
        let table = TableRegister {
            base: 0,
            limit: 0xffff,
        };
        let mut gprs = Gprs::default();
        gprs.set(Gpr::Rdx, signature.into());
        Self {
            gprs,
            rip: 0,
            rflags: Rflags::FIXED.bits(),
            cr0: (Cr0::CD | Cr0::NW | Cr0::ET).bits(),
            cr3: 0,
            cr4: 0,
            efer: 0,
            segments,
            tr: real(Segment::TSS_BUSY),
            ldtr: real(Segment::LDT),
            gdtr: table,
            idtr: table,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_up_vector_is_a_page_number_in_real_mode() {
        let start = StartState::start_up(0x9a, 0x306c3);
        assert!(start.segments[CpuState::CS].selector == 0x9a00);
        assert_eq!(start.segments[CpuState::CS].base, 0x9_a000);
        assert_eq!(start.segments[CpuState::CS].limit, 0xffff);
        assert_eq!((start.rip, start.rflags), (0, 2));
        assert_eq!((start.cr0, start.cr4, start.efer), (0x6000_0010, 0, 0));
        let mut gprs = Gprs::default();
        gprs.set(Gpr::Rdx, 0x306c3);
        assert_eq!(start.gprs, gprs);
        // In real-address mode a base is sixteen times its selector, and VM entry wants it so of virtual-8086 mode too.
        for segment in start.segments {
            assert_eq!(segment.base, u64::from(segment.selector) << 4);
        }
    }
}
