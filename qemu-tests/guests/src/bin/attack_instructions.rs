//! Attacks on the instruction emulator, with the processor itself as judge: see [`guests::judge`]. What the emulator does not know is an
//! undefined instruction to ring 3, where most of this runs.
#![no_std]
#![no_main]
// UNSAFETY: control registers.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::judge::{
    ALL, ANY, ONES, OTHER, PREFIXES, SETUP, Setup, WIDE, WINDOW, at, every_opcode, told,
    trap_everywhere, user,
};
use guests::paging::{PRESENT, USER, WRITE, map_at};
use guests::probe::{PLACE, State, gpr};
use guests::segments::{CODE, DATA, USER_CODE, USER_CODE_32, USER_DATA, descriptor, set};
use guests::verdict::Verdict;
use guests::{cpu, guest, msr};
use spec::cpu::{Cr4, Efer};
use spec::cpuid::{EBX, Leaf7Ebx, leaf};

guest!(
    every_opcode_of_64_bit_code,
    every_opcode_of_32_bit_code,
    every_opcode_of_16_bit_code,
    every_opcode_across_two_pages,
    a_second_page_that_is_not_to_be_had,
    another_operand_that_is_not_to_be_had,
    stacks_that_are_not_to_be_had,
    supervisors_keep_to_their_pages,
    segment_limits_in_32_bit_code,
    segment_limits_in_16_bit_code,
    stacks_of_16_bits_wrap,
    code_may_end_with_its_page,
    code_may_end_with_its_segment,
    code_may_end_with_its_address_space,
    operands_relative_to_rip,
    unaligned_operands_of_ring_3,
);

const NX: u64 = 1 << 63;
/// Where code lies that has to end with its page.
const LAST: u64 = WINDOW + 0x2_0000;

fn every_opcode_of_64_bit_code() -> Verdict {
    trap_everywhere();
    let state = user(USER_CODE, WINDOW + 0x20);
    let mut all = PREFIXES.iter().chain(WIDE);
    told(all.try_for_each(|prefix| every_opcode(&ANY, state, prefix, 0)))
}

/// In segments that hold nothing but the code's page and the operand; 7 stands for [EDI], and with 16-bit addresses for [BX].
fn every_opcode_in_segments(code: u16, data: u16) -> Verdict {
    trap_everywhere();
    let cs = set(0, descriptor(PLACE.address() as u32, 0xfff, code));
    let data = set(1, descriptor(WINDOW as u32, 0xffff, data));
    let state = State {
        rip: 0x100,
        data: [data.into(); 2],
        ..user(cs, 0x20)
    };
    let setup = Setup {
        base: PLACE.address(),
        ..ANY
    };
    // The stack's segment is flat, and what lies there in low memory is not the same twice.
    let prefixes = PREFIXES.iter().filter(|prefix| !prefix.contains(&0x36));
    told(
        prefixes
            .into_iter()
            .try_for_each(|prefix| every_opcode(&setup, state, prefix, 7)),
    )
}

fn every_opcode_of_32_bit_code() -> Verdict {
    every_opcode_in_segments(0x40fb, 0x40f3)
}

fn every_opcode_of_16_bit_code() -> Verdict {
    every_opcode_in_segments(0x00fb, 0x00f3)
}

/// Ring 3 with 16-bit code in its page and data whose segment begins somewhere.
fn user_16(base: u64, operand: u64) -> (Setup, State) {
    let cs = set(0, descriptor(PLACE.address() as u32, 0xfff, 0x00fb));
    let data = set(1, descriptor(base as u32, 0xffff, 0x00f3));
    let state = user(cs, operand);
    let state = State {
        rip: 0x100,
        data: [data.into(); 2],
        ..state
    };
    (
        Setup {
            base: PLACE.address(),
            ..SETUP
        },
        state,
    )
}

fn every_opcode_across_two_pages() -> Verdict {
    trap_everywhere();
    for before in [1, 3] {
        let state = user(USER_CODE, WINDOW + 0x1000 - before);
        for prefix in [&[][..], &[0x48], &[0x66], &[0xf3]] {
            every_opcode(&ANY, state, prefix, 0)?;
        }
    }
    told(Ok(()))
}

/// One of each kind that is emulated, in all sizes of code; the operand is at [RDI] or as strings have it.
const EMULATED: &[&[u8]] = &[
    &[0x8a, 0x07],
    &[0x8b, 0x07],
    &[0x89, 0x07],
    &[0xc7, 0x07, 0x90, 0x90, 0x90, 0x90],
    &[0x0f, 0xb6, 0x07],
    &[0x0f, 0xb7, 0x07],
    &[0x0f, 0xbf, 0x07],
    &[0x0f, 0x38, 0xf0, 0x07],
    &[0x0f, 0x38, 0xf1, 0x07],
    &[0x0f, 0xc3, 0x07],
    &[0x87, 0x07],
    &[0x01, 0x07],
    &[0x13, 0x07],
    &[0x39, 0x07],
    &[0x85, 0x07],
    &[0xf0, 0x11, 0x07],
    &[0xf7, 0x17],
    &[0xf7, 0x1f],
    &[0xff, 0x07],
    &[0x0f, 0xba, 0x27, 0x03],
    &[0x0f, 0xba, 0x2f, 0x03],
    &[0x0f, 0xb1, 0x17],
    &[0x0f, 0xc1, 0x17],
    &[0xff, 0x37],
    &[0x8f, 0x07],
    &[0xa4],
    &[0xa5],
    &[0xa7],
    &[0xaa],
    &[0xab],
    &[0xac],
    &[0xad],
    &[0xaf],
    &[0xf3, 0xa5],
    &[0xf3, 0xab],
    &[0xf3, 0xaf],
    &[0xf2, 0xa7],
];

/// What an entry of a page may be that refuses some accesses or all.
const ENTRIES: [u64; 7] = [
    0,
    PRESENT | USER,
    PRESENT | WRITE,
    PRESENT,
    ALL | NX,
    ALL | 1 << 51,
    ALL | 1 << 46,
];

/// EFER.NXE and CR0.WP on.
fn strict() -> Verdict {
    let efer = msr::read(spec::msr::EFER)?;
    msr::write(spec::msr::EFER, efer | Efer::NXE.bits())?;
    set_cr0(cpu::cr0() | 1 << 16);
    Ok(())
}

fn set_cr0(value: u64) {
    // SAFETY: changes what is checked for whom, of which the guest's own code needs nothing.
    unsafe { asm!("mov cr0, {}", in(reg) value) };
}

fn set_cr4(value: u64) {
    // SAFETY: as above.
    unsafe { asm!("mov cr4, {}", in(reg) value) };
}

fn a_second_page_that_is_not_to_be_had() -> Verdict {
    strict()?;
    for second in ENTRIES {
        let setup = Setup { second, ..SETUP };
        for before in [1, 2, 3] {
            setup.judge_all(user(USER_CODE, WINDOW + 0x1000 - before), EMULATED)?;
        }
        setup.judge_all(at(CODE, DATA, WINDOW + 0xffe), EMULATED)?;
    }
    Ok(())
}

/// Strings of two operands.
const STRINGS: &[&[u8]] = &[
    &[0xa4],
    &[0xa5],
    &[0x48, 0xa5],
    &[0xa6],
    &[0xa7],
    &[0xf3, 0xa5],
    &[0xf3, 0xa7],
    &[0x67, 0xa5],
];

fn another_operand_that_is_not_to_be_had() -> Verdict {
    for other in ENTRIES {
        let setup = Setup { other, ..SETUP };
        for state in [
            user(USER_CODE, WINDOW + 0x20),
            at(CODE, DATA, WINDOW + 0x20),
        ] {
            setup.judge_all(state.with(gpr::RDI, WINDOW + OTHER), STRINGS)?;
            setup.judge_all(state.with(gpr::RSI, WINDOW + OTHER), STRINGS)?;
        }
    }
    Ok(())
}

fn stacks_that_are_not_to_be_had() -> Verdict {
    for other in ENTRIES {
        let setup = Setup { other, ..SETUP };
        let state = State {
            rsp: WINDOW + OTHER + 0x40,
            ..user(USER_CODE, WINDOW + 0x20)
        };
        setup.judge_all(
            state,
            &[
                &[0xff, 0x37],
                &[0x8f, 0x07],
                &[0x66, 0xff, 0x37],
                &[0x66, 0x8f, 0x07],
            ],
        )?;
    }
    Ok(())
}

/// Where user pages have tables of their own.
const APART: u64 = 1 << 39;

fn supervisors_keep_to_their_pages() -> Verdict {
    let shown = guests::cpu::cpuid(leaf::EXTENDED_FEATURES, 0)[EBX];
    if shown & Leaf7Ebx::SMAP.bits() == 0 {
        return Ok(());
    }
    let root = guests::paging::root() as *mut u64;
    let before = (cpu::cr0(), cpu::cr4());
    // SAFETY: all that the guest runs on is closed to ring 3 for a while.
    unsafe { root.write_volatile(root.read_volatile() & !USER) };
    set_cr4(before.1 | (Cr4::SMAP | Cr4::SMEP).bits());
    let verdict = (|| {
        for (wp, ac) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            set_cr0(before.0 & !(1 << 16) | wp << 16);
            for (first, other) in [
                (PRESENT | WRITE, ALL),
                (PRESENT | WRITE, PRESENT | USER),
                (PRESENT | WRITE, PRESENT),
                (ALL, PRESENT | WRITE),
                (PRESENT, ALL),
            ] {
                let setup = Setup {
                    window: APART,
                    first,
                    other,
                    ..SETUP
                };
                let state = State {
                    rflags: 2 | ac << 18,
                    ..at(CODE, DATA, APART + 0x20)
                };
                setup.judge_all(state.with(gpr::RDI, APART + OTHER), STRINGS)?;
                setup.judge_all(state.with(gpr::RSI, APART + OTHER), STRINGS)?;
                setup.judge_all(state, EMULATED)?;
            }
        }
        Ok(())
    })();
    set_cr0(before.0);
    set_cr4(before.1);
    // SAFETY: as it was.
    unsafe { root.write_volatile(root.read_volatile() | USER) };
    verdict
}

/// Data, read-only data, both expanding down, and code that can be read; of 32 bits.
const TYPES: [u16; 5] = [0x40f3, 0x40f1, 0x40f7, 0x40f5, 0x40fb];

fn segment_limits_in_32_bit_code() -> Verdict {
    for rights in TYPES {
        for limit in [0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0xfff] {
            let data = set(1, descriptor(WINDOW as u32, limit, rights));
            let state = State {
                data: [data.into(); 2],
                ..user(USER_CODE_32, 0x20)
            };
            SETUP.judge_all(state, EMULATED)?;
            // One of the operands of a string in another segment.
            let state = State {
                data: [USER_DATA.into(), data.into()],
                ..state
            };
            SETUP.judge_all(state.with(gpr::RSI, WINDOW + 0x20), STRINGS_32)?;
        }
    }
    let none = State {
        data: [0; 2],
        ..user(USER_CODE_32, 0x20)
    };
    SETUP.judge_all(none, EMULATED)?;
    // The stack segment's fault is another: [EBP] and a prefix.
    for limit in [0x1f, 0x22, 0x23] {
        let stack = set(2, descriptor(WINDOW as u32, limit, 0x40f3));
        let state = State {
            ss: stack.into(),
            ..user(USER_CODE_32, 0x20)
        };
        SETUP.judge_all(
            state,
            &[&[0x8b, 0x45, 0x00], &[0x36, 0x89, 0x07], &[0x36, 0xad]],
        )?;
    }
    Ok(())
}

const STRINGS_32: &[&[u8]] = &[
    &[0xa4],
    &[0xa5],
    &[0xa6],
    &[0xa7],
    &[0xf3, 0xa5],
    &[0xf3, 0xa7],
    &[0x67, 0xa5],
];

fn segment_limits_in_16_bit_code() -> Verdict {
    for operand in [0xfffc, 0xfffd, 0xfffe, 0xffff] {
        // The segment ends with the first page.
        let (setup, state) = user_16(WINDOW - 0xf000, operand);
        for code in EMULATED {
            // [DI] is 5 there, not 7, which is [BX] with the same value.
            setup.judge(state, code)?;
            let mut long = [0x66; 16];
            long[1..=code.len()].copy_from_slice(code);
            setup.judge(state, &long[..=code.len()])?;
        }
    }
    Ok(())
}

fn stacks_of_16_bits_wrap() -> Verdict {
    let stack = set(2, descriptor((WINDOW + OTHER) as u32, 0xffff, 0x00f3));
    for sp in [
        0,
        1,
        2,
        3,
        4,
        0xfffc,
        0xfffd,
        0xfffe,
        0xffff,
        0x1_0000,
        0x7777_0002,
    ] {
        let state = State {
            ss: stack.into(),
            rsp: sp,
            ..user(USER_CODE_32, WINDOW + 0x20)
        };
        let codes: [&[u8]; 4] = [
            &[0xff, 0x37],
            &[0x8f, 0x07],
            &[0x66, 0xff, 0x37],
            &[0x66, 0x8f, 0x07],
        ];
        SETUP.judge_all(state, &codes)?;
    }
    Ok(())
}

fn code_may_end_with_its_page() -> Verdict {
    map_at(LAST, PLACE.address() | ALL);
    for next in [0, PRESENT | WRITE, ALL | NX, ALL | 1 << 51] {
        map_at(LAST + 0x1000, PLACE.address() | next);
        for code in EMULATED {
            let state = State {
                rip: LAST + 0x1000 - code.len() as u64,
                ..user(USER_CODE, WINDOW + 0x20)
            };
            Setup {
                bare: true,
                ..SETUP
            }
            .judge(state, code)?;
        }
    }
    Ok(())
}

fn code_may_end_with_its_segment() -> Verdict {
    for code in EMULATED {
        let limit = 0x100 + code.len() as u32 - 1;
        let cs = set(0, descriptor(PLACE.address() as u32, limit, 0x40fb));
        let state = State {
            rip: 0x100,
            ..user(cs, WINDOW + 0x20)
        };
        Setup {
            base: PLACE.address(),
            bare: true,
            ..SETUP
        }
        .judge(state, code)?;
    }
    Ok(())
}

fn code_may_end_with_its_address_space() -> Verdict {
    // Behind the last byte comes the first.
    map_at(0xffff_f000, PLACE.address() | ALL);
    map_at(0, ONES[1].address() | ALL);
    let verdict = EMULATED.iter().try_for_each(|code| {
        let state = State {
            rip: (1 << 32) - code.len() as u64,
            ..user(USER_CODE_32, WINDOW + 0x20)
        };
        Setup {
            bare: true,
            ..SETUP
        }
        .judge(state, code)
    });
    map_at(0, ALL);
    verdict
}

fn operands_relative_to_rip() -> Verdict {
    // The bytes before the displacement, and those behind it, which count as well.
    let codes: [(&[u8], usize); 9] = [
        (&[0x8b, 0x05], 0),
        (&[0x67, 0x8b, 0x05], 0),
        (&[0x48, 0x89, 0x05], 0),
        (&[0xc7, 0x05], 4),
        (&[0x66, 0xc7, 0x05], 2),
        (&[0x48, 0x81, 0x05], 4),
        (&[0x80, 0x0d], 1),
        (&[0x0f, 0xba, 0x2d], 1),
        (&[0xf0, 0x0f, 0xb1, 0x15], 0),
    ];
    for (before, behind) in codes {
        for operand in [WINDOW + 0x20, WINDOW + 0xffe] {
            let state = user(USER_CODE, 0);
            let len = before.len() + 4 + behind;
            let mut code = [0x01; 16];
            code[..before.len()].copy_from_slice(before);
            let distance = operand - state.rip - len as u64;
            code[before.len()..][..4].copy_from_slice(&(distance as u32).to_le_bytes());
            SETUP.judge(state, &code[..len])?;
        }
    }
    Ok(())
}

fn unaligned_operands_of_ring_3() -> Verdict {
    let before = cpu::cr0();
    set_cr0(before | 1 << 18);
    let verdict = (|| {
        for skew in [1, 2, 4] {
            let state = State {
                rflags: 2 | 1 << 18,
                ..user(USER_CODE, WINDOW + 0x20)
            };
            for (from, to) in [
                (WINDOW + 0x20, WINDOW + OTHER + skew),
                (WINDOW + OTHER + skew, WINDOW + 0x20),
            ] {
                SETUP.judge_all(state.with(gpr::RSI, from).with(gpr::RDI, to), STRINGS)?;
            }
            let state = State {
                rsp: WINDOW + OTHER + 0x40 + skew,
                ..state
            };
            SETUP.judge_all(state, &[&[0xff, 0x37], &[0x8f, 0x07]])?;
            let state = State {
                rflags: state.rflags,
                ..user(USER_CODE, WINDOW + 0x20 + skew)
            };
            SETUP.judge_all(state, EMULATED)?;
        }
        Ok(())
    })();
    set_cr0(before);
    verdict
}
