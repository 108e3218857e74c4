//! Decoding, apart from execution.

use crate::{Address, Bitness, DecodeError, Kind, Operand, Operation, Register, Repeat, decode};
use spec::Width;
use spec::cpu::Gpr;

#[test]
fn a_load_is_a_plain_value() {
    let want = Operation {
        length: 2,
        kind: Kind::Move,
        width: Width::B4,
        memory: Address {
            segment: 3,
            base: Some(Gpr::Rdi),
            index: None,
            scale: 1,
            displacement: 0,
            relative: false,
            size: Width::B8,
        },
        target: Operand::Register(Register {
            gpr: Gpr::Rax,
            width: Width::B4,
            high: false,
        }),
        source: Operand::Memory,
        repeat: Repeat::Once,
    };
    assert_eq!(decode(&[0x8b, 0x07], Bitness::Bits64), Ok(want));
}

#[test]
fn bytes_that_end_too_early_are_told_from_those_that_are_not_emulated() {
    let whole = [0x48, 0xc7, 0x84, 0x8f, 1, 2, 3, 4, 5, 6, 7, 8]; // mov qword [rdi+rcx*4+d32], imm32
    for len in 0..whole.len() {
        assert_eq!(
            decode(&whole[..len], Bitness::Bits64),
            Err(DecodeError::Short),
            "{len}"
        );
    }
    assert_eq!(decode(&whole, Bitness::Bits64).map(|o| o.length), Ok(12));
    for bytes in [&[0x0f, 0x0b][..], &[0x90], &[0xf0, 0x8b, 0x07]] {
        assert_eq!(
            decode(bytes, Bitness::Bits64),
            Err(DecodeError::Unsupported)
        );
    }
}

#[test]
fn high_bytes_give_way_to_a_rex_prefix() {
    let source = |bytes: &[u8]| match decode(bytes, Bitness::Bits64).unwrap().source {
        Operand::Register(register) => (register.gpr, register.high),
        other => panic!("{other:?}"),
    };
    assert_eq!(source(&[0x88, 0x27]), (Gpr::Rax, true)); // ah
    assert_eq!(source(&[0x88, 0x3f]), (Gpr::Rbx, true)); // bh
    assert_eq!(source(&[0x40, 0x88, 0x27]), (Gpr::Rsp, false)); // spl
    assert_eq!(source(&[0x44, 0x88, 0x3f]), (Gpr::R15, false)); // r15b
}

#[test]
fn the_same_bytes_mean_other_things_in_other_modes() {
    let base = |bitness| decode(&[0x8b, 0x07], bitness).unwrap().memory;
    assert_eq!(base(Bitness::Bits64).base, Some(Gpr::Rdi));
    assert_eq!(base(Bitness::Bits32).size, Width::B4);
    assert_eq!(
        (base(Bitness::Bits16).base, base(Bitness::Bits16).size),
        (Some(Gpr::Rbx), Width::B2)
    );
    let relative = decode(&[0x8b, 0x05, 0x10, 0, 0, 0], Bitness::Bits64)
        .unwrap()
        .memory;
    assert_eq!((relative.relative, relative.displacement), (true, 0x16));
    let absolute = decode(&[0x8b, 0x05, 0x10, 0, 0, 0], Bitness::Bits32)
        .unwrap()
        .memory;
    assert_eq!((absolute.relative, absolute.displacement), (false, 0x10));
}

#[test]
fn the_target_of_an_exchange_is_in_memory() {
    for bytes in [&[0x87, 0x07][..], &[0x86, 0x07], &[0x48, 0x87, 0x3c, 0x24]] {
        let operation = decode(bytes, Bitness::Bits64).unwrap();
        assert_eq!(operation.kind, Kind::Exchange);
        assert_eq!(operation.target, Operand::Memory);
        assert!(matches!(operation.source, Operand::Register(_)));
    }
}
