//! What instructions that are not emulated can have accessed.

use super::fake::{long, real};
use crate::{Code, may_access};
use spec::Gva;
use spec::cpu::Gprs;

const CHIP: u64 = 0xfee0_0300;
const STACK: u64 = 0x7000_0000;

#[test]
fn an_instruction_reaches_its_operand_its_stack_or_what_is_hard_to_tell() {
    let mut cpu = long(0);
    cpu.rsp = STACK;
    let mut gprs = Gprs::default();
    (gprs.0[7], gprs.0[6]) = (CHIP, 0x1000);
    let reaches = |code: &[u8], linear| may_access(&Code::new(code), &cpu, &gprs, Gva(linear));
    // (code, reaches the chip, reaches the stack)
    let cases: [(&[u8], bool, bool); 17] = [
        (&[0x90], false, false),
        (&[0x0f, 0xc8], false, false),            // bswap eax
        (&[0x48, 0x8d, 0x07], false, false),      // lea rax, [rdi]
        (&[0x0f, 0x0b], false, false),            // ud2
        (&[0x06], false, false),                  // no instruction in 64-bit mode
        (&[0x50], false, true),                   // push rax
        (&[0xc3], false, true),                   // ret
        (&[0xe8, 0, 0, 0, 0], false, true),       // call
        (&[0x0f, 0x10, 0x07], true, false),       // movups xmm0, [rdi]
        (&[0x0f, 0x10, 0x06], false, false),      // movups xmm0, [rsi]
        (&[0x0f, 0x10, 0x04, 0x24], false, true), // movups xmm0, [rsp]
        (&[0xdf, 0x2f], true, false),             // fild qword ptr [rdi]
        (&[0x8e, 0xd8], true, true),              // mov ds, eax
        (&[0x48, 0xcf], true, true),              // iretq
        (&[0xc8, 0x10, 0x90, 0x90], true, true),  // enter: by RBP, too
        (&[0xc9], true, true),                    // leave
        (&[0xd7], true, true),                    // xlatb
    ];
    for (code, chip, stack) in cases {
        assert_eq!(reaches(code, CHIP), chip, "{code:x?} and the chip");
        assert_eq!(reaches(code, STACK + 8), stack, "{code:x?} and the stack");
    }
    // An operand begins before the byte that faulted, never behind it.
    assert!(reaches(&[0x0f, 0x10, 0x07], CHIP + 15));
    assert!(!reaches(&[0x0f, 0x10, 0x07], CHIP - 1));
    // Relative to the instruction: movups xmm0, [rip + 0x100]
    let relative = [0x0f, 0x10, 0x05, 0x00, 0x01, 0x00, 0x00];
    assert!(reaches(&relative, cpu.rip + 7 + 0x100));
    assert!(!reaches(&relative, cpu.rip));
}

#[test]
fn segments_have_their_bases_outside_64_bit_mode() {
    let mut cpu = real();
    cpu.segments[3].base = 0x4000;
    cpu.segments[2].base = 0x9_0000;
    cpu.rsp = 0x100;
    let gprs = Gprs::default();
    let reaches = |code: &[u8], linear| may_access(&Code::new(code), &cpu, &gprs, Gva(linear));
    // lgdt [0x10]
    assert!(reaches(&[0x0f, 0x01, 0x16, 0x10, 0x00], 0x4012));
    assert!(!reaches(&[0x0f, 0x01, 0x16, 0x10, 0x00], 0x400f));
    assert!(reaches(&[0x50], 0x9_00fe));
    assert!(!reaches(&[0x50], 0xf_0000));
}
