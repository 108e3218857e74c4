//! From bytes to an [`Operation`]: with [`crate::reach`] all that knows the decoder crate.
//!
//! The decoder is `iced-x86`: for `mov eax, [rdi]` it takes 176 instructions (callgrind, release build), and adds
//! 90 KiB to the image for all three modes; `yaxpeax-x86` takes 229 and adds 212 KiB for 64-bit mode alone.

use crate::operation::{
    Address, Arithmetic, BitAction, Kind, Operand, Operation, Register, Repeat, StringKind, Unary,
};
use iced_x86::{
    CodeSize, Decoder, DecoderError, DecoderOptions, Instruction, MemorySize, Mnemonic, OpKind,
    Register as Reg,
};
use spec::Width;
use spec::cpu::{Gpr, Segment};
use spec::state::CpuState;

/// The default size of code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Bitness {
    /// Real-address mode, virtual-8086 mode, 16-bit segments
    Bits16 = 16,
    /// 32-bit segments
    Bits32 = 32,
    /// 64-bit mode
    Bits64 = 64,
}

impl Bitness {
    /// That of the code which a processor in this state runs.
    #[must_use]
    pub fn of(cpu: &CpuState) -> Self {
        if cpu.is_64_bit() {
            Self::Bits64
        } else if cpu.segments[CpuState::CS].rights & Segment::DEFAULT_32 != 0 {
            Self::Bits32
        } else {
            Self::Bits16
        }
    }
}

/// Why bytes are no [`Operation`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// The instruction does not end within them
    Short,
    /// They are no instruction, or one that is not emulated
    Unsupported,
}

/// Makes decoder and formatter build their tables (on the heap), so that no exit and no report has to. To be called once, at
/// boot.
pub fn prepare() {
    for bitness in [Bitness::Bits16, Bitness::Bits32, Bitness::Bits64] {
        // Only its side effect counts: one NOP is not an operation.
        let _ = decode(&[0x90], bitness);
    }
    // The names of instructions, for a report.
    let _ = crate::listing::text(&[0x90], 0, Bitness::Bits64);
}

/// Decodes one instruction.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(bytes: &[u8], bitness: Bitness) -> Result<Operation, DecodeError> {
    let options = DecoderOptions::NONE;
    let mut decoder =
        Decoder::try_new(bitness as u32, bytes, options).map_err(|_| DecodeError::Unsupported)?;
    let instruction = decoder.decode();
    match decoder.last_error() {
        DecoderError::None => translate(&instruction, bitness).ok_or(DecodeError::Unsupported),
        DecoderError::NoMoreBytes => Err(DecodeError::Short),
        _ => Err(DecodeError::Unsupported),
    }
}

/// `None` for what is not emulated.
fn translate(i: &Instruction, bitness: Bitness) -> Option<Operation> {
    let kind = kind(i.mnemonic())?;
    let width = width(i.memory_size())?;
    let is_string = matches!(kind, Kind::String(_));
    let repeat = match (is_string, i.has_repe_prefix(), i.has_repne_prefix()) {
        (true, _, true) => Repeat::WhileNotEqual,
        (true, true, false) => Repeat::WhileEqual,
        _ => Repeat::Once,
    };
    let operand = |n| {
        if n < i.op_count() {
            operand(i, n)
        } else {
            Some(Operand::None)
        }
    };
    let operation = Operation {
        length: u8::try_from(i.len()).ok()?,
        kind,
        width,
        memory: if is_string {
            string_address(i, bitness)?
        } else {
            address(i, bitness)?
        },
        target: if is_string {
            Operand::None
        } else {
            operand(0)?
        },
        source: if is_string {
            Operand::None
        } else {
            operand(1)?
        },
        repeat,
    };
    let touches = operation.target == Operand::Memory || operation.source == Operand::Memory;
    (is_string || touches).then_some(operation)
}

fn kind(mnemonic: Mnemonic) -> Option<Kind> {
    use Mnemonic as M;
    Some(match mnemonic {
        M::Mov | M::Movzx | M::Movnti => Kind::Move,
        M::Movsx | M::Movsxd => Kind::MoveSigned,
        M::Movbe => Kind::MoveReversed,
        M::Xchg => Kind::Exchange,
        M::Add => Kind::Arithmetic(Arithmetic::Add),
        M::Or => Kind::Arithmetic(Arithmetic::Or),
        M::Adc => Kind::Arithmetic(Arithmetic::Adc),
        M::Sbb => Kind::Arithmetic(Arithmetic::Sbb),
        M::And => Kind::Arithmetic(Arithmetic::And),
        M::Sub => Kind::Arithmetic(Arithmetic::Sub),
        M::Xor => Kind::Arithmetic(Arithmetic::Xor),
        M::Cmp => Kind::Arithmetic(Arithmetic::Cmp),
        M::Test => Kind::Arithmetic(Arithmetic::Test),
        M::Not => Kind::Unary(Unary::Not),
        M::Neg => Kind::Unary(Unary::Neg),
        M::Inc => Kind::Unary(Unary::Inc),
        M::Dec => Kind::Unary(Unary::Dec),
        M::Bt => Kind::Bit(BitAction::Keep),
        M::Bts => Kind::Bit(BitAction::Set),
        M::Btr => Kind::Bit(BitAction::Reset),
        M::Btc => Kind::Bit(BitAction::Complement),
        M::Cmpxchg => Kind::CompareExchange,
        M::Xadd => Kind::ExchangeAdd,
        M::Push => Kind::Push,
        M::Pop => Kind::Pop,
        M::Movsb | M::Movsw | M::Movsd | M::Movsq => Kind::String(StringKind::Movs),
        M::Cmpsb | M::Cmpsw | M::Cmpsd | M::Cmpsq => Kind::String(StringKind::Cmps),
        M::Stosb | M::Stosw | M::Stosd | M::Stosq => Kind::String(StringKind::Stos),
        M::Lodsb | M::Lodsw | M::Lodsd | M::Lodsq => Kind::String(StringKind::Lods),
        M::Scasb | M::Scasw | M::Scasd | M::Scasq => Kind::String(StringKind::Scas),
        _ => return None,
    })
}

/// Integers alone: MOVSD and CMPSD of SSE2 share their mnemonics with string instructions, and fall out here.
fn width(size: MemorySize) -> Option<Width> {
    use MemorySize as S;
    Some(match size {
        S::UInt8 | S::Int8 => Width::B1,
        S::UInt16 | S::Int16 => Width::B2,
        S::UInt32 | S::Int32 => Width::B4,
        S::UInt64 | S::Int64 => Width::B8,
        _ => return None,
    })
}

fn operand(i: &Instruction, n: u32) -> Option<Operand> {
    Some(match i.op_kind(n) {
        OpKind::Memory => Operand::Memory,
        OpKind::Register => match segment(i.op_register(n)) {
            // Loads of segment registers are left out: they read descriptors and check privileges.
            // In 64-bit mode the snapshot of the registers has no selectors: reading them costs every exit six VMREADs.
            Some(_) if i.code_size() == CodeSize::Code64 => return None,
            Some(index) if n == 1 => Operand::Selector(index),
            _ => Operand::Register(register(i.op_register(n))?),
        },
        _ => Operand::Immediate(i.try_immediate(n).ok()?),
    })
}

/// The position of `reg` in a run of `count` numbers from `first` on.
fn position(reg: Reg, first: Reg, count: u32) -> Option<u8> {
    let n = (reg as u32).checked_sub(first as u32)?;
    if n < count {
        u8::try_from(n).ok()
    } else {
        None
    }
}

fn register(reg: Reg) -> Option<Register> {
    let make = |n, width, high| {
        Some(Register {
            gpr: Gpr::from_number(n),
            width,
            high,
        })
    };
    if let Some(n) = position(reg, Reg::AL, 20) {
        // In the order AL CL DL BL, AH CH DH BH, SPL BPL SIL DIL, R8L to R15L.
        return match n {
            0..4 => make(n, Width::B1, false),
            4..8 => make(n.wrapping_sub(4), Width::B1, true),
            _ => make(n.wrapping_sub(4), Width::B1, false),
        };
    }
    let runs = [
        (Reg::AX, Width::B2),
        (Reg::EAX, Width::B4),
        (Reg::RAX, Width::B8),
    ];
    runs.into_iter()
        .find_map(|(first, width)| make(position(reg, first, 16)?, width, false))
}

fn segment(reg: Reg) -> Option<u8> {
    position(reg, Reg::ES, 6)
}

// Indices of segment registers, in the order in which instructions encode them
const SS: u8 = CpuState::SS as u8;
const DS: u8 = 3;
const FS: u8 = 4;

pub(crate) fn address(i: &Instruction, bitness: Bitness) -> Option<Address> {
    let part = |reg| match reg {
        Reg::None => Some(None),
        reg => register(reg).map(Some),
    };
    let relative = i.is_ip_rel_memory_operand();
    let base = if relative {
        None
    } else {
        part(i.memory_base())?
    };
    let index = part(i.memory_index())?;
    let size = match (base.or(index), i.memory_base()) {
        (Some(register), _) => register.width,
        (None, Reg::EIP) => Width::B4,
        (None, Reg::RIP) => Width::B8,
        // No register: a displacement as wide as the address, but for the four sign-extended bytes of 64-bit mode.
        (None, _) => match (i.memory_displ_size(), bitness) {
            (2, _) => Width::B2,
            (4, _) => Width::B4,
            _ => Width::B8,
        },
    };
    Some(Address {
        segment: memory_segment(i, base.map(|r| r.gpr), bitness)?,
        base: base.map(|r| r.gpr),
        index: index.map(|r| r.gpr),
        scale: u8::try_from(i.memory_index_scale()).ok()?,
        displacement: i.memory_displacement64(),
        relative,
        size,
    })
}

/// The segment of a memory operand. In 64-bit mode only FS and GS can be chosen by a prefix, and the others are ignored (SDM vol. 1, "Segment
/// Registers in 64-Bit Mode"): what is left of them is that an operand of the stack has another fault.
fn memory_segment(i: &Instruction, base: Option<Gpr>, bitness: Bitness) -> Option<u8> {
    Some(match segment(i.memory_segment())? {
        chosen @ FS.. => chosen,
        _ if bitness == Bitness::Bits64 && matches!(base, Some(Gpr::Rsp | Gpr::Rbp)) => SS,
        _ if bitness == Bitness::Bits64 => DS,
        chosen => chosen,
    })
}

/// The segment of a string instruction's source, and its address size.
fn string_address(i: &Instruction, bitness: Bitness) -> Option<Address> {
    let mut found = (DS, None);
    for kind in i.op_kinds() {
        let (size, is_source) = match kind {
            OpKind::MemorySegSI => (Width::B2, true),
            OpKind::MemorySegESI => (Width::B4, true),
            OpKind::MemorySegRSI => (Width::B8, true),
            OpKind::MemoryESDI => (Width::B2, false),
            OpKind::MemoryESEDI => (Width::B4, false),
            OpKind::MemoryESRDI => (Width::B8, false),
            _ => continue,
        };
        found.1 = Some(size);
        if is_source {
            found.0 = memory_segment(i, None, bitness)?;
        }
    }
    Some(Address {
        segment: found.0,
        base: None,
        index: None,
        scale: 1,
        displacement: 0,
        relative: false,
        size: found.1?,
    })
}
