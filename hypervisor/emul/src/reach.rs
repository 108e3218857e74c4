//! Whether an instruction that is not emulated can have made an access, or has been put there since.

use crate::decode::{Bitness, address};
use crate::fetch::Code;
use crate::linear::{FS, stack_mask};
use crate::registers::offset;
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use spec::Gva;
use spec::cpu::{Gpr, Gprs};
use spec::state::CpuState;

/// The largest operand is that of XSAVE, and no stack access is further from RSP.
const FURTHEST: u64 = 64 << 10;

/// Whether the instruction of these bytes can have accessed `linear`. Where that is hard to tell it can.
///
/// A processor may run code under a translation that the guest's tables have no more, and another processor of the guest may change code
/// at any time: then the bytes that are there are not those of the instruction that came here. Like the other parts, it knows
/// RSP from `cpu`.
#[cold]
#[must_use]
pub fn may_access(code: &Code, cpu: &CpuState, gprs: &Gprs, linear: Gva) -> bool {
    let bitness = Bitness::of(cpu);
    let decoder = Decoder::try_new(bitness as u32, code.bytes(), DecoderOptions::NONE);
    let Ok(mut decoder) = decoder else {
        return true;
    };
    let i = decoder.decode();
    if i.is_invalid() {
        // It raises #UD, or runs on into bytes that the processor cannot fetch.
        return false;
    }
    let mut gprs = *gprs;
    gprs.set(Gpr::Rsp, cpu.rsp);
    match operand(&i) {
        Operand::None => false,
        Operand::Stack => {
            let rsp = cpu.rsp & stack_mask(cpu);
            let first = base(cpu, CpuState::SS)
                .wrapping_add(rsp)
                .wrapping_sub(FURTHEST);
            linear.0.wrapping_sub(first) < 2 * FURTHEST
        }
        Operand::Memory => address(&i, bitness).is_none_or(|address| {
            let first =
                base(cpu, address.segment.into()).wrapping_add(offset(&address, cpu, &gprs));
            linear.0.wrapping_sub(first) < FURTHEST
        }),
        Operand::Other => true,
    }
}

/// The base of a segment, which in 64-bit mode FS and GS alone have.
fn base(cpu: &CpuState, segment: usize) -> u64 {
    let has = !cpu.is_64_bit() || segment >= FS;
    let descriptor = cpu.segments.get(segment).filter(|_| has);
    descriptor.map_or(0, |descriptor| descriptor.base)
}

/// Where an instruction finds memory.
enum Operand {
    None,
    Stack,
    /// At the address that it encodes
    Memory,
    /// Elsewhere: in a descriptor table, at addresses that registers hold
    Other,
}

fn operand(i: &Instruction) -> Operand {
    use Mnemonic as M;
    match i.mnemonic() {
        M::Lea | M::Nop => Operand::None,
        M::Push
        | M::Pusha
        | M::Pushad
        | M::Pushf
        | M::Pushfd
        | M::Pushfq
        | M::Pop
        | M::Popa
        | M::Popad
        | M::Popf
        | M::Popfd
        | M::Popfq
        | M::Call
        | M::Ret
            if i.op_kinds().all(is_plain) && !loads_segment(i) =>
        {
            Operand::Stack
        }
        // They read by RBP, and by a sum with AL.
        M::Enter | M::Leave | M::Xlatb => Operand::Other,
        M::Retf
        | M::Iret
        | M::Iretd
        | M::Iretq
        | M::Int
        | M::Int1
        | M::Int3
        | M::Into
        | M::Lar
        | M::Lsl
        | M::Verr
        | M::Verw
        | M::Lldt
        | M::Ltr
        | M::Monitor
        | M::Umonitor
        | M::Rsm => Operand::Other,
        _ if loads_segment(i) => Operand::Other,
        _ if i.op_kinds().any(|kind| kind == OpKind::Memory) => {
            // A push or a call of memory has two places.
            let both = matches!(i.mnemonic(), M::Push | M::Pop | M::Call);
            if both {
                Operand::Other
            } else {
                Operand::Memory
            }
        }
        _ if i.op_kinds().all(is_plain) => Operand::None,
        _ => Operand::Other,
    }
}

/// A register, a constant or a near target.
fn is_plain(kind: OpKind) -> bool {
    use OpKind as K;
    !matches!(
        kind,
        K::Memory
            | K::FarBranch16
            | K::FarBranch32
            | K::MemorySegSI
            | K::MemorySegESI
            | K::MemorySegRSI
            | K::MemorySegDI
            | K::MemorySegEDI
            | K::MemorySegRDI
            | K::MemoryESDI
            | K::MemoryESEDI
            | K::MemoryESRDI
    )
}

fn loads_segment(i: &Instruction) -> bool {
    i.op_count() > 0 && i.op_kind(0) == OpKind::Register && is_segment(i.op_register(0))
}

fn is_segment(register: Register) -> bool {
    matches!(
        register,
        Register::ES | Register::CS | Register::SS | Register::DS | Register::FS | Register::GS
    )
}
