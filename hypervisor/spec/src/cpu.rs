//! The processor's registers as the SDM lays them out.

use bitflags::bitflags;
use core::fmt;

bitflags! {
    /// CR0 (SDM vol. 3, "Control Registers").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Cr0: u64 {
        /// Protection enable
        const PE = 1 << 0;
        /// Monitor coprocessor
        const MP = 1 << 1;
        /// Emulation
        const EM = 1 << 2;
        /// Task switched
        const TS = 1 << 3;
        /// Extension type, fixed to one
        const ET = 1 << 4;
        /// Numeric error
        const NE = 1 << 5;
        /// Write protect
        const WP = 1 << 16;
        /// Alignment mask
        const AM = 1 << 18;
        /// Not write-through
        const NW = 1 << 29;
        /// Cache disable
        const CD = 1 << 30;
        /// Paging
        const PG = 1 << 31;
    }

    /// CR4 (SDM vol. 3, "Control Registers").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Cr4: u64 {
        /// Virtual-8086 mode extensions
        const VME = 1 << 0;
        /// Protected-mode virtual interrupts
        const PVI = 1 << 1;
        /// Time stamp disable
        const TSD = 1 << 2;
        /// Debugging extensions
        const DE = 1 << 3;
        /// Page size extensions
        const PSE = 1 << 4;
        /// Physical address extension
        const PAE = 1 << 5;
        /// Machine-check enable
        const MCE = 1 << 6;
        /// Page global enable
        const PGE = 1 << 7;
        /// Performance-monitoring counter enable
        const PCE = 1 << 8;
        /// FXSAVE and FXRSTOR support
        const OSFXSR = 1 << 9;
        /// Unmasked SIMD exceptions
        const OSXMMEXCPT = 1 << 10;
        /// User-mode instruction prevention
        const UMIP = 1 << 11;
        /// 57-bit linear addresses
        const LA57 = 1 << 12;
        /// VMX enable
        const VMXE = 1 << 13;
        /// SMX enable
        const SMXE = 1 << 14;
        /// FSGSBASE instructions
        const FSGSBASE = 1 << 16;
        /// Process-context identifiers
        const PCIDE = 1 << 17;
        /// XSAVE and extended states
        const OSXSAVE = 1 << 18;
        /// Key locker
        const KL = 1 << 19;
        /// Supervisor-mode execution prevention
        const SMEP = 1 << 20;
        /// Supervisor-mode access prevention
        const SMAP = 1 << 21;
        /// Protection keys for user pages
        const PKE = 1 << 22;
        /// Control-flow enforcement
        const CET = 1 << 23;
        /// Protection keys for supervisor pages
        const PKS = 1 << 24;
        /// User interrupts
        const UINTR = 1 << 25;
    }

    /// IA32_EFER (SDM vol. 4).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Efer: u64 {
        /// SYSCALL enable
        const SCE = 1 << 0;
        /// IA-32e mode enable
        const LME = 1 << 8;
        /// IA-32e mode active
        const LMA = 1 << 10;
        /// Execute-disable enable
        const NXE = 1 << 11;
    }

    /// RFLAGS (SDM vol. 1, "EFLAGS Register").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Rflags: u64 {
        /// Carry
        const CF = 1 << 0;
        /// Always one
        const FIXED = 1 << 1;
        /// Parity
        const PF = 1 << 2;
        /// Adjust
        const AF = 1 << 4;
        /// Zero
        const ZF = 1 << 6;
        /// Sign
        const SF = 1 << 7;
        /// Trap (single-step)
        const TF = 1 << 8;
        /// Interrupt enable
        const IF = 1 << 9;
        /// Direction
        const DF = 1 << 10;
        /// Overflow
        const OF = 1 << 11;
        /// I/O privilege level, two bits
        const IOPL = 3 << 12;
        /// Nested task
        const NT = 1 << 14;
        /// Resume
        const RF = 1 << 16;
        /// Virtual-8086 mode
        const VM = 1 << 17;
        /// Alignment check, and SMAP override
        const AC = 1 << 18;
        /// Virtual interrupt
        const VIF = 1 << 19;
        /// Virtual interrupt pending
        const VIP = 1 << 20;
        /// CPUID may be used
        const ID = 1 << 21;
    }
}

/// Exception vectors (SDM vol. 3, "Exception and Interrupt Vectors").
pub mod vector {
    use crate::Vector;
    /// Divide error
    pub const DE: Vector = Vector(0);
    /// Debug
    pub const DB: Vector = Vector(1);
    /// Non-maskable interrupt
    pub const NMI: Vector = Vector(2);
    /// Breakpoint
    pub const BP: Vector = Vector(3);
    /// Overflow
    pub const OF: Vector = Vector(4);
    /// Invalid opcode
    pub const UD: Vector = Vector(6);
    /// Device not available
    pub const NM: Vector = Vector(7);
    /// Double fault
    pub const DF: Vector = Vector(8);
    /// Invalid TSS
    pub const TS: Vector = Vector(10);
    /// Segment not present
    pub const NP: Vector = Vector(11);
    /// Stack-segment fault
    pub const SS: Vector = Vector(12);
    /// General protection
    pub const GP: Vector = Vector(13);
    /// Page fault
    pub const PF: Vector = Vector(14);
    /// x87 floating-point error
    pub const MF: Vector = Vector(16);
    /// Alignment check
    pub const AC: Vector = Vector(17);
    /// Machine check
    pub const MC: Vector = Vector(18);
    /// SIMD floating-point
    pub const XM: Vector = Vector(19);
}

/// The sixteen general-purpose registers, in the order in which instructions encode them
/// (SDM vol. 2, "Register/Opcode Field in ModR/M"): RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
///
/// The entry stub in `hw` knows this layout; RSP's slot is not used by it (hardware keeps RSP in the VMCS).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Gprs(pub [u64; 16]);

/// The number of a general-purpose register, as instructions encode it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs, reason = "the manual's names")]
pub enum Gpr {
    Rax = 0,
    Rcx = 1,
    Rdx = 2,
    Rbx = 3,
    Rsp = 4,
    Rbp = 5,
    Rsi = 6,
    Rdi = 7,
    R8 = 8,
    R9 = 9,
    R10 = 10,
    R11 = 11,
    R12 = 12,
    R13 = 13,
    R14 = 14,
    R15 = 15,
}

impl Gpr {
    /// All, in order.
    pub const ALL: [Gpr; 16] = [
        Gpr::Rax,
        Gpr::Rcx,
        Gpr::Rdx,
        Gpr::Rbx,
        Gpr::Rsp,
        Gpr::Rbp,
        Gpr::Rsi,
        Gpr::Rdi,
        Gpr::R8,
        Gpr::R9,
        Gpr::R10,
        Gpr::R11,
        Gpr::R12,
        Gpr::R13,
        Gpr::R14,
        Gpr::R15,
    ];

    /// The register of an encoded number, of which the low four bits count.
    #[inline]
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "four bits number sixteen registers"
    )]
    pub const fn from_number(n: u8) -> Gpr {
        Self::ALL[(n & 15) as usize]
    }
}

impl fmt::Display for Gprs {
    /// All of them by name but RSP, which has its place elsewhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 16] = [
            "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11",
            "r12", "r13", "r14", "r15",
        ];
        let shown = NAMES.iter().zip(self.0).filter(|(name, _)| **name != "rsp");
        for (i, (name, value)) in shown.enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{name}={value:#x}")?;
        }
        Ok(())
    }
}

impl Gprs {
    /// The full 64 bits of a register.
    #[inline]
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "sixteen registers")]
    pub const fn get(&self, r: Gpr) -> u64 {
        self.0[r as usize]
    }

    /// Sets the full 64 bits of a register.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "sixteen registers")]
    pub const fn set(&mut self, r: Gpr, value: u64) {
        self.0[r as usize] = value;
    }

    /// EDX:EAX, as RDMSR, WRMSR, XSETBV take their operand.
    #[inline]
    #[must_use]
    pub const fn edx_eax(&self) -> u64 {
        (self.get(Gpr::Rdx) << 32) | (self.get(Gpr::Rax) & 0xffff_ffff)
    }

    /// Sets RAX and RDX to the halves of `value`, the high halves of both to zero.
    #[inline]
    pub const fn set_edx_eax(&mut self, value: u64) {
        self.set(Gpr::Rax, value & 0xffff_ffff);
        self.set(Gpr::Rdx, value >> 32);
    }
}

/// A segment register with its hidden part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// The visible selector
    pub selector: u16,
    /// Linear base address
    pub base: u64,
    /// Last valid offset, in bytes
    pub limit: u32,
    /// Access rights in the VMCS format (SDM vol. 3, "Guest Register State"): type 3:0, S 4, DPL 6:5, P 7,
    /// AVL 12, L 13, D/B 14, G 15, unusable 16.
    pub rights: u32,
}

impl Segment {
    /// The rights bit that says "unusable".
    pub const UNUSABLE: u32 = 1 << 16;
    /// The rights bit of 64-bit code.
    pub const LONG: u32 = 1 << 13;
    /// Rights of a present data segment, writable and accessed: what data segments have after reset.
    pub const DATA_ACCESSED: u32 = 0x93;
    /// Rights of a present code segment, readable and accessed.
    pub const CODE_ACCESSED: u32 = 0x9b;
    /// Rights of a present local descriptor table.
    pub const LDT: u32 = 0x82;
    /// Rights of a present busy task state segment: VM entry takes no other task register
    /// (SDM vol. 3, "Checks on Guest Segment Registers"), which after reset says LDT on hardware.
    pub const TSS_BUSY: u32 = 0x8b;
    /// The same of 16 bits.
    pub const TSS_BUSY_16: u32 = 0x83;
    /// The rights bit of the default operand size.
    pub const DEFAULT_32: u32 = 1 << 14;

    /// Descriptor privilege level.
    #[must_use]
    pub const fn dpl(&self) -> u8 {
        ((self.rights >> 5) & 3) as u8
    }
}

/// A descriptor-table register.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TableRegister {
    /// Linear base address
    pub base: u64,
    /// Last valid offset
    pub limit: u16,
}
