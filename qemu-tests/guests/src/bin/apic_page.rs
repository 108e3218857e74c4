//! Every form of instruction that compilers and kernels reach the local APIC's page with.
#![no_std]
#![no_main]
// UNSAFETY: instructions with operands in the local APIC's page.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::start::Pages;
use guests::verdict::Verdict;
use guests::{claim, guest, lapic, msr, same};
use spec::apic::register;
use spec::cpu::Rflags;

guest!(
    mov_reads_at_each_width,
    mov_reads_into_every_register,
    movzx_and_movsx_extend,
    mov_writes_from_registers_and_immediates,
    mov_with_a_64_bit_offset,
    narrow_writes_are_dropped,
    wide_accesses_do_no_harm,
    arithmetic_reads_modifies_and_writes,
    arithmetic_into_a_register,
    flags_follow_the_operation,
    exchanges_read_and_write,
    bit_operations,
    push_and_pop,
    string_instructions,
    every_addressing_form,
    a_32_bit_address_size,
    segment_bases_count,
    reserved_registers_set_the_error,
);

/// A register that reads as it was written, all bits.
const SPARE: u64 = lapic::address_of(register::TIMER_INITIAL);
const VERSION: u64 = lapic::address_of(register::VERSION);
const TPR: u64 = lapic::address_of(register::TPR);

fn put(value: u32) {
    // Masked; the current count runs down and the initial count stays.
    guests::mmio::write32(lapic::address_of(register::LVT_TIMER), 1 << 16);
    guests::mmio::write32(SPARE, value);
}

fn get() -> u32 {
    guests::mmio::read32(SPARE)
}

/// Executes instructions with RDI at a register and RAX, RCX as given; returns RAX, RCX and the flags behind them.
macro_rules! run {
    ($at:expr, $rax:expr, $rcx:expr, $($instruction:literal)+) => {{
        let (rax, rcx, flags): (u64, u64, u64);
        // SAFETY: the local APIC's page holds nothing of Rust's; the stack is as before.
        unsafe {
            asm!($($instruction,)+ "pushfq", "pop rdx", inout("rdi") $at => _, inout("rax") $rax as u64 => rax,
                inout("rcx") $rcx as u64 => rcx, out("rdx") flags, out("rsi") _, out("r8") _, out("r15") _);
        }
        (rax, rcx, flags)
    }};
}

const FULL: u64 = 0x1122_3344_5566_7788;
const VALUE: u32 = 0x8765_43a1;

fn mov_reads_at_each_width() -> Verdict {
    put(VALUE);
    same!(run!(SPARE, FULL, 0, "mov eax, [rdi]").0, VALUE.into());
    same!(
        run!(SPARE, FULL, 0, "mov ax, [rdi]").0,
        FULL & !0xffff | 0x43a1
    );
    same!(run!(SPARE, FULL, 0, "mov al, [rdi]").0, FULL & !0xff | 0xa1);
    same!(
        run!(SPARE, FULL, 0, "mov ah, [rdi]").0,
        FULL & !0xff00 | 0xa100
    );
    same!(
        run!(SPARE, FULL, 0, "mov al, [rdi + 3]").0,
        FULL & !0xff | 0x87
    );
    same!(
        run!(SPARE, FULL, 0, "mov ax, [rdi + 2]").0,
        FULL & !0xffff | 0x8765
    );
    Ok(())
}

fn mov_reads_into_every_register() -> Verdict {
    put(VALUE);
    same!(run!(SPARE, 0, FULL, "mov ecx, [rdi]").1, VALUE.into());
    same!(
        run!(SPARE, 0, 0, "mov esi, [rdi]" "mov rax, rsi").0,
        VALUE.into()
    );
    same!(
        run!(SPARE, 0, 0, "mov r8d, [rdi]" "mov rax, r8").0,
        VALUE.into()
    );
    same!(
        run!(SPARE, 0, 0, "mov r15d, [rdi]" "mov rax, r15").0,
        VALUE.into()
    );
    same!(
        run!(SPARE, 0, 0, "mov rcx, rsp" "mov esp, [rdi]" "mov rax, rsp" "mov rsp, rcx").0,
        VALUE.into()
    );
    same!(
        run!(SPARE, 0, 0, "mov rcx, rbp" "mov ebp, [rdi]" "mov rax, rbp" "mov rbp, rcx").0,
        VALUE.into()
    );
    same!(
        run!(SPARE, 0, 0, "mov edi, [rdi]" "mov rax, rdi").0,
        VALUE.into(),
        "over its own address"
    );
    Ok(())
}

fn movzx_and_movsx_extend() -> Verdict {
    put(VALUE);
    same!(run!(SPARE, FULL, 0, "movzx eax, byte ptr [rdi]").0, 0xa1);
    same!(
        run!(SPARE, FULL, 0, "movzx rax, word ptr [rdi + 2]").0,
        0x8765
    );
    same!(
        run!(SPARE, FULL, 0, "movzx ax, byte ptr [rdi]").0,
        FULL & !0xffff | 0xa1
    );
    same!(
        run!(SPARE, FULL, 0, "movsx eax, byte ptr [rdi]").0,
        0xffff_ffa1
    );
    same!(
        run!(SPARE, FULL, 0, "movsx rax, byte ptr [rdi]").0,
        0xffff_ffff_ffff_ffa1
    );
    same!(
        run!(SPARE, FULL, 0, "movsx rax, word ptr [rdi + 2]").0,
        0xffff_ffff_ffff_8765
    );
    same!(
        run!(SPARE, FULL, 0, "movsxd rax, dword ptr [rdi]").0,
        0xffff_ffff_8765_43a1
    );
    Ok(())
}

fn mov_writes_from_registers_and_immediates() -> Verdict {
    let _ = run!(SPARE, 0x1234_5678, 0, "mov [rdi], eax");
    same!(get(), 0x1234_5678);
    let _ = run!(SPARE, 0, 0, "mov dword ptr [rdi], 0x13572468");
    same!(get(), 0x1357_2468);
    let _ = run!(SPARE, 0x2468_ace0, 0, "mov r8, rax" "mov [rdi], r8d");
    same!(get(), 0x2468_ace0);
    // MOVNTI is a MOV that hints at caching.
    let _ = run!(SPARE, 0x5a5a_5a5a, 0, "movnti [rdi], eax");
    same!(get(), 0x5a5a_5a5a);
    Ok(())
}

fn mov_with_a_64_bit_offset() -> Verdict {
    put(VALUE);
    // MOV between EAX and an absolute address of eight bytes: A1 and A3.
    same!(
        run!(0, FULL, 0, ".byte 0xa1; .quad 0xfee00380").0,
        VALUE.into()
    );
    let _ = run!(0, 0x7777_1111, 0, ".byte 0xa3; .quad 0xfee00380");
    same!(get(), 0x7777_1111);
    Ok(())
}

fn narrow_writes_are_dropped() -> Verdict {
    // SDM vol. 3, "Local APIC Register Address Map": anything but 32 bits at multiples of 16 bytes is undefined.
    put(VALUE);
    let _ = run!(SPARE, 0, 0, "mov [rdi], al" "mov [rdi], ax" "mov byte ptr [rdi + 2], 0" "mov [rdi + 2], ax");
    same!(get(), VALUE);
    Ok(())
}

fn wide_accesses_do_no_harm() -> Verdict {
    put(VALUE);
    let _ = run!(SPARE, 0, 0, "mov rax, [rdi]" "mov [rdi + 8], rax" "mov eax, [rdi + 2]" "mov [rdi + 4], eax");
    same!(get(), VALUE);
    same!(guests::mmio::read32(VERSION) & 0xff, 0x14);
    Ok(())
}

fn arithmetic_reads_modifies_and_writes() -> Verdict {
    put(0x100);
    let _ = run!(SPARE, 5, 0, "add [rdi], eax");
    same!(get(), 0x105);
    let _ = run!(SPARE, 0, 0, "or dword ptr [rdi], 0x70");
    same!(get(), 0x175);
    let _ = run!(SPARE, 0, 0, "and dword ptr [rdi], ~0x5");
    same!(get(), 0x170);
    let _ = run!(SPARE, 0, 0, "sub dword ptr [rdi], 0x10");
    same!(get(), 0x160);
    let _ = run!(SPARE, 0xff, 0, "xor [rdi], eax");
    same!(get(), 0x19f);
    let _ = run!(SPARE, 0, 0, "stc" "adc dword ptr [rdi], 0");
    same!(get(), 0x1a0);
    let _ = run!(SPARE, 0, 0, "stc" "sbb dword ptr [rdi], 0xf");
    same!(get(), 0x190);
    let _ = run!(SPARE, 0, 0, "inc dword ptr [rdi]");
    same!(get(), 0x191);
    let _ = run!(SPARE, 0, 0, "dec dword ptr [rdi]" "dec dword ptr [rdi]");
    same!(get(), 0x18f);
    let _ = run!(SPARE, 0, 0, "not dword ptr [rdi]");
    same!(get(), !0x18f);
    let _ = run!(SPARE, 0, 0, "neg dword ptr [rdi]");
    same!(get(), 0x190);
    let _ = run!(SPARE, 0x10, 0, "lock add [rdi], eax");
    same!(get(), 0x1a0, "locked");
    Ok(())
}

fn arithmetic_into_a_register() -> Verdict {
    put(0x30);
    same!(run!(SPARE, 0x12, 0, "add eax, [rdi]").0, 0x42);
    same!(run!(SPARE, 0x1ff, 0, "and eax, [rdi]").0, 0x30);
    same!(run!(SPARE, 0x50, 0, "sub eax, [rdi]").0, 0x20);
    same!(
        run!(SPARE, FULL, 0, "xor eax, [rdi]").0,
        (FULL as u32 ^ 0x30).into(),
        "the upper half is cleared"
    );
    Ok(())
}

fn flags_follow_the_operation() -> Verdict {
    put(0x8000_0000);
    let zero = Rflags::ZF.bits();
    let is = |flags: u64, set: Rflags| {
        flags & (Rflags::ZF | Rflags::CF | Rflags::SF | Rflags::OF).bits() == set.bits()
    };
    claim!(
        is(
            run!(SPARE, 0, 0, "test dword ptr [rdi], 0x80000000").2,
            Rflags::SF
        ),
        "TEST"
    );
    claim!(
        run!(SPARE, 0x8000_0000u32, 0, "cmp [rdi], eax").2 & zero != 0,
        "CMP, equal"
    );
    claim!(
        is(run!(SPARE, 1, 0, "cmp [rdi], eax").2, Rflags::OF),
        "CMP, overflow"
    );
    claim!(
        is(
            run!(SPARE, 1, 0, "cmp eax, [rdi]").2,
            Rflags::CF | Rflags::SF | Rflags::OF
        ),
        "CMP the other way"
    );
    claim!(
        is(
            run!(SPARE, 0x8000_0000u32, 0, "add [rdi], eax").2,
            Rflags::ZF | Rflags::CF | Rflags::OF
        ),
        "ADD"
    );
    same!(get(), 0);
    Ok(())
}

fn exchanges_read_and_write() -> Verdict {
    put(7);
    same!(run!(SPARE, FULL, 0, "xchg [rdi], eax").0, 7);
    same!(get(), FULL as u32);
    put(7);
    same!(run!(SPARE, 5, 0, "xadd [rdi], eax").0, 7);
    same!(get(), 12);
    let (rax, _, flags) = run!(SPARE, 12, 99, "lock cmpxchg [rdi], ecx");
    same!(
        (rax, get(), flags & Rflags::ZF.bits()),
        (12, 99, Rflags::ZF.bits()),
        "equal"
    );
    let (rax, _, flags) = run!(SPARE, 1, 5, "lock cmpxchg [rdi], ecx");
    same!(
        (rax, get(), flags & Rflags::ZF.bits()),
        (99, 99, 0),
        "not equal"
    );
    Ok(())
}

fn bit_operations() -> Verdict {
    put(0b100);
    let carry = Rflags::CF.bits();
    claim!(
        run!(SPARE, 0, 0, "bt dword ptr [rdi], 2").2 & carry != 0,
        "BT"
    );
    claim!(
        run!(SPARE, 0, 0, "bts dword ptr [rdi], 3").2 & carry == 0,
        "BTS"
    );
    same!(get(), 0b1100);
    claim!(
        run!(SPARE, 0, 0, "btr dword ptr [rdi], 2").2 & carry != 0,
        "BTR"
    );
    same!(get(), 0b1000);
    let _ = run!(SPARE, 31, 0, "btc [rdi], eax");
    same!(get(), 0x8000_0008);
    Ok(())
}

fn push_and_pop() -> Verdict {
    put(VALUE);
    // Eight bytes, of which the register has four: what the others read as does not matter, the stack pointer does.
    let before: u64;
    let after: u64;
    // SAFETY: the stack is put back.
    unsafe {
        asm!("mov {b}, rsp", "push qword ptr [{at}]", "mov {a}, rsp", "mov rsp, {b}", b = out(reg) before, a = out(reg) after,
            at = in(reg) SPARE);
    }
    same!(before - after, 8);
    let (rax, ..) =
        run!(SPARE, 0, 0, "push 0x55" "mov rax, rsp" "pop qword ptr [rdi]" "sub rax, rsp");
    same!(rax as i64, -8);
    Ok(())
}

static BUFFER: Pages<8192> = Pages::new();

fn buffer32(offset: u64) -> u32 {
    // SAFETY: of the buffer.
    unsafe { ((BUFFER.address() + offset) as *const u32).read_volatile() }
}

fn string_instructions() -> Verdict {
    put(VALUE);
    let buffer = BUFFER.address();
    let _ = run!(buffer, SPARE, 0, "mov rsi, rax" "movsd");
    same!(buffer32(0), VALUE, "MOVSD from the device");
    let _ = run!(SPARE, 0x3333_4444, 1, "rep stosd");
    same!(get(), 0x3333_4444, "STOSD");
    let _ = run!(SPARE, buffer, 0, "mov rsi, rax" "movsd");
    same!(get(), VALUE, "MOVSD to the device");
    same!(
        run!(SPARE, FULL, 0, "mov rsi, rdi" "lodsd").0,
        VALUE.into(),
        "LODSD"
    );
    let (.., flags) = run!(SPARE, VALUE, 0, "scasd");
    claim!(flags & Rflags::ZF.bits() != 0, "SCASD");
    let (.., flags) = run!(SPARE, buffer, 0, "mov rsi, rax" "cmpsd");
    claim!(flags & Rflags::ZF.bits() != 0, "CMPSD");
    let (_, rcx, _) = run!(lapic::address_of(register::ISR), 0, 8, "rep movsd");
    same!(rcx, 0);
    Ok(())
}

fn every_addressing_form() -> Verdict {
    put(VALUE);
    let value = u64::from(VALUE);
    same!(
        run!(SPARE - 0x10, 0, 0, "mov eax, [rdi + 0x10]").0,
        value,
        "displacement of 8 bits"
    );
    same!(
        run!(lapic::BASE, 0, 0, "mov eax, [rdi + 0x380]").0,
        value,
        "displacement of 32 bits"
    );
    same!(
        run!(lapic::BASE, 0, 0x38, "mov eax, [rdi + rcx * 8 + 0x1c0]").0,
        value,
        "scaled index"
    );
    same!(
        run!(lapic::BASE, 0, 0x380, "mov eax, [rdi + rcx]").0,
        value,
        "index"
    );
    same!(
        run!(0, 0, SPARE / 4, "mov eax, [rcx * 4]").0,
        value,
        "index alone"
    );
    same!(
        run!(lapic::BASE, 0, 0, "mov r8, rdi" "mov eax, [r8 + 0x380]").0,
        value,
        "R8"
    );
    same!(
        run!(SPARE + 0x100, 0, -0x100i64, "mov eax, [rdi + rcx]").0,
        value,
        "negative index"
    );
    same!(
        run!(SPARE, 0, 0, "mov r15, rdi" "mov r8d, [r15]" "mov eax, r8d").0,
        value,
        "R15"
    );
    Ok(())
}

fn a_32_bit_address_size() -> Verdict {
    put(VALUE);
    same!(
        run!(SPARE | 7 << 32, 0, 0, "mov eax, [edi]").0,
        VALUE.into()
    );
    same!(
        run!(
            lapic::BASE | 1 << 40,
            0,
            0x380u64 | 1 << 35,
            "mov eax, [edi + ecx]"
        )
        .0,
        VALUE.into()
    );
    Ok(())
}

fn segment_bases_count() -> Verdict {
    put(VALUE);
    msr::write(spec::msr::FS_BASE, lapic::BASE)?;
    msr::write(spec::msr::GS_BASE, SPARE - 0x1000)?;
    let (fs, gs) = (
        run!(0x380, 0, 0, "mov eax, fs:[rdi]").0,
        run!(0x1000, 0, 0, "mov eax, gs:[rdi]").0,
    );
    msr::write(spec::msr::FS_BASE, 0)?;
    msr::write(spec::msr::GS_BASE, 0)?;
    same!((fs, gs), (VALUE.into(), VALUE.into()));
    Ok(())
}

fn reserved_registers_set_the_error() -> Verdict {
    lapic::write(register::ESR, 0)?;
    let _ = guests::mmio::read32(lapic::BASE + 0x40);
    lapic::write(register::ESR, 0)?;
    same!(lapic::read(register::ESR), 0x80, "illegal register address");
    lapic::write(register::ESR, 0)?;
    same!(lapic::read(register::ESR), 0);
    same!(guests::mmio::read32(TPR), 0);
    Ok(())
}
