//! A decoded instruction as a plain value.

use spec::Width;
use spec::cpu::Gpr;

/// A decoded instruction. The same bytes at another address give the same value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Its length in bytes
    pub length: u8,
    /// What it does
    pub kind: Kind,
    /// Width of its memory operand, and of what is done with it
    pub width: Width,
    /// Its memory operand; for a string instruction the source's segment and address size
    pub memory: Address,
    /// The operand that is changed
    pub target: Operand,
    /// The operand that is only read
    pub source: Operand,
    /// Repeat prefix, for string instructions
    pub repeat: Repeat,
}

/// What an instruction does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Target becomes source: MOV, MOVZX, MOVNTI
    Move,
    /// Target becomes source, sign-extended from the memory operand's width: MOVSX, MOVSXD
    MoveSigned,
    /// Target becomes source with its bytes reversed: MOVBE
    MoveReversed,
    /// XCHG
    Exchange,
    /// Two operands
    Arithmetic(Arithmetic),
    /// One operand
    Unary(Unary),
    /// BT, BTS, BTR, BTC
    Bit(BitAction),
    /// CMPXCHG
    CompareExchange,
    /// XADD
    ExchangeAdd,
    /// PUSH of memory
    Push,
    /// POP to memory
    Pop,
    /// One of the string instructions
    String(StringKind),
}

/// An instruction of two operands that sets the flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the manual's names")]
pub enum Arithmetic {
    Add,
    Or,
    Adc,
    Sbb,
    And,
    Sub,
    Xor,
    Cmp,
    Test,
}

/// An instruction of one operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the manual's names")]
pub enum Unary {
    Not,
    Neg,
    Inc,
    Dec,
}

/// What becomes of the bit that BT and its kin copy to CF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BitAction {
    /// BT
    Keep,
    /// BTS
    Set,
    /// BTR
    Reset,
    /// BTC
    Complement,
}

/// A string instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the manual's names")]
pub enum StringKind {
    Movs,
    Cmps,
    Stos,
    Lods,
    Scas,
}

/// A repeat prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeat {
    /// None
    Once,
    /// REP, or REPE where the instruction compares
    WhileEqual,
    /// REPNE; as REP where the instruction does not compare
    WhileNotEqual,
}

/// An operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operand {
    /// There is none
    None,
    /// The memory operand
    Memory,
    /// A general-purpose register, or a part of one
    Register(Register),
    /// A constant, extended to the width of the operation
    Immediate(u64),
    /// The selector of a segment register, by its index
    Selector(u8),
}

/// A general-purpose register, or a part of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Register {
    /// Which
    pub gpr: Gpr,
    /// How much of it
    pub width: Width,
    /// Bits 15:8 instead of 7:0: AH, CH, DH, BH
    pub high: bool,
}

/// The address of a memory operand within its segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// Index of the segment register, in the order in which instructions encode them
    pub segment: u8,
    /// Base register
    pub base: Option<Gpr>,
    /// Index register
    pub index: Option<Gpr>,
    /// What the index is multiplied by: 1, 2, 4 or 8
    pub scale: u8,
    /// Constant part; from the instruction's first byte on if `relative`
    pub displacement: u64,
    /// The instruction pointer is added
    pub relative: bool,
    /// The width of the sum: 2, 4 or 8 bytes
    pub size: Width,
}
