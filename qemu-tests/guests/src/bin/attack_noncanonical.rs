//! Attacks with addresses that are not canonical: in registers of the model, in RIP, RSP, descriptor tables and operands.
#![no_std]
#![no_main]
// UNSAFETY: loads registers with what must fault, or is put right behind it.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::paging::{PRESENT, USER, WRITE, map_at};
use guests::probe::{PLACE, State, gpr};
use guests::segments::{Pointer, USER_CODE, USER_DATA, set};
use guests::start::Pages;
use guests::trap::{GP0, Raised, raised};
use guests::verdict::Verdict;
use guests::{attempt, claim, cpu, guest, lapic, msr, same};
use spec::cpu::vector;
use spec::msr::{EFER, FS_BASE, GS_BASE, KERNEL_GS_BASE, LSTAR, SYSENTER_EIP, SYSENTER_ESP};

guest!(
    every_bit_of_every_base_is_checked,
    the_edges_of_what_is_canonical_are_taken,
    tables_of_descriptors_have_canonical_bases,
    system_segments_have_canonical_bases,
    branches_to_nowhere_fault,
    sysret_to_nowhere_faults,
    instructions_that_exit_may_end_where_addresses_end,
    they_may_so_in_ring_3,
    operands_fault_by_their_segment,
    operands_across_the_edge_fault,
    emulated_moves_check_both_operands,
    emulated_pushes_and_pops_check_the_stack,
    string_ports_check_their_operand,
    the_stack_pointer_may_hold_anything,
    breakpoints_may_be_anywhere,
    invlpg_takes_anything,
);

const ALL: u64 = PRESENT | WRITE | USER;
/// The first address that is not canonical, and the last before the upper half.
const EDGE: u64 = 1 << 47;
const LAST: u64 = !EDGE;
const HIGH: u64 = EDGE.wrapping_neg();
const ODD: [u64; 6] = [
    EDGE,
    LAST,
    1 << 63,
    0x1234_5678_9abc_def0,
    HIGH - 1,
    1 << 48,
];

const BASES: [spec::Msr; 6] = [
    FS_BASE,
    GS_BASE,
    KERNEL_GS_BASE,
    LSTAR,
    SYSENTER_EIP,
    SYSENTER_ESP,
];
const SS0: Raised = Some((vector::SS.0, 0));

static MEMORY: Pages<4096> = Pages::new();

fn every_bit_of_every_base_is_checked() -> Verdict {
    for base in BASES {
        msr::write(base, 0x1_2340)?;
        for bit in 47..64 {
            for value in [1 << bit, HIGH ^ 1 << bit] {
                same!(
                    raised(msr::write(base, value)),
                    GP0,
                    "{base:?} = {value:#x}"
                );
            }
        }
        same!(msr::read(base)?, 0x1_2340, "{base:?} after faults");
        msr::write(base, 0)?;
    }
    Ok(())
}

fn the_edges_of_what_is_canonical_are_taken() -> Verdict {
    for base in BASES {
        for value in [EDGE - 1, HIGH, u64::MAX] {
            msr::write(base, value)?;
            let _ = cpu::cpuid(0, 0);
            same!(msr::read(base)?, value, "{base:?}");
        }
        msr::write(base, 0)?;
    }
    Ok(())
}

fn tables_of_descriptors_have_canonical_bases() -> Verdict {
    let ours = || -> [u8; 20] {
        let mut both = [0; 20];
        // SAFETY: ten bytes each.
        unsafe { asm!("sgdt [{at}]", "sidt [{at} + 10]", at = in(reg) both.as_mut_ptr()) };
        both
    };
    let before = ours();
    for base in ODD {
        let pointer = Pointer::new(base, 4096);
        // SAFETY: faults, and changes nothing.
        unsafe {
            same!(
                raised(attempt!("lgdt [{p}]", p = in(reg) &raw const pointer)),
                GP0,
                "{base:#x}"
            );
            same!(
                raised(attempt!("lidt [{p}]", p = in(reg) &raw const pointer)),
                GP0,
                "{base:#x}"
            );
        }
        same!(ours(), before);
    }
    Ok(())
}

fn system_segments_have_canonical_bases() -> Verdict {
    // Type 2 is an LDT, type 9 an available TSS; the upper half of the base is in the second entry.
    for (rights, load) in [(0x82u64, 0), (0x89, 1)] {
        for base in ODD {
            let low = 0xfff | (base & 0xff_ffff) << 16 | rights << 40 | (base >> 24 & 0xff) << 56;
            let selector = set(0, low);
            let _ = set(1, base >> 32);
            // SAFETY: faults, and changes nothing.
            let by = unsafe {
                if load == 0 {
                    attempt!("lldt {s:x}", s = in(reg) u32::from(selector))
                } else {
                    attempt!("ltr {s:x}", s = in(reg) u32::from(selector))
                }
            };
            same!(
                raised(by),
                Some((vector::GP.0, selector.into())),
                "{base:#x}"
            );
        }
    }
    Ok(())
}

/// Code that begins with a return address on its stack.
fn with_stack(words: [u64; 5]) -> State {
    let at = MEMORY.address() + 0x800;
    for (n, word) in (0..).zip(words) {
        guests::probe::put(at + 8 * n, &word.to_le_bytes());
    }
    State {
        rsp: at,
        ..State::new()
    }
}

fn branches_to_nowhere_fault() -> Verdict {
    let place = PLACE.address() + 0x100;
    for to in ODD {
        let ways: [(&str, &[u8]); 5] = [
            ("jmp rax", &[0xff, 0xe0]),
            ("call rax", &[0xff, 0xd0]),
            ("ret", &[0xc3]),
            ("retfq", &[0x48, 0xcb]),
            ("iretq", &[0x48, 0xcf]),
        ];
        for (name, code) in ways {
            let cs = guests::segments::CODE.into();
            let ss = guests::segments::DATA.into();
            let state = with_stack([to, cs, 2, MEMORY.address() + 0x900, ss]);
            let found = state.with(gpr::RAX, to).run(code);
            same!(found.raised(), GP0, "{name} to {to:#x}");
            same!(
                (found.rip, found.rsp),
                (place, state.rsp),
                "{name} to {to:#x}"
            );
        }
    }
    Ok(())
}

fn sysret_to_nowhere_faults() -> Verdict {
    let before = msr::read(EFER)?;
    msr::write(EFER, before | 1)?;
    // CVE-2012-0217: Intel's faults still in ring 0, with the stack of ring 3.
    for to in ODD {
        let found = State::new().with(gpr::RCX, to).run(&[0x48, 0x0f, 0x07]);
        same!((found.raised(), found.cs & 3), (GP0, 0), "{to:#x}");
    }
    msr::write(EFER, before)?;
    Ok(())
}

/// What each exits for, or is emulated for; registers are such that none faults by itself.
const EXITING: [(&str, &[u8]); 12] = [
    ("cpuid", &[0x0f, 0xa2]),
    ("rdmsr", &[0x0f, 0x32]),
    ("wrmsr", &[0x0f, 0x30]),
    ("in al, dx", &[0xec]),
    ("out dx, al", &[0xee]),
    ("insb", &[0x6c]),
    ("rep outsb", &[0xf3, 0x6e]),
    ("mov cr8, rax", &[0x44, 0x0f, 0x22, 0xc0]),
    ("mov cr4, rbx", &[0x0f, 0x22, 0xe3]),
    ("wbinvd", &[0x0f, 0x09]),
    ("mov eax, [rbp]", &[0x8b, 0x45, 0x00]),
    ("lock or [rbp], eax", &[0xf0, 0x09, 0x45, 0x00]),
];

fn at_the_edge(state: State, code: &[u8]) -> guests::probe::Found {
    map_at(EDGE - 4096, PLACE.address() | ALL);
    let len = code.len() as u64;
    guests::probe::put(PLACE.address() + 4096 - len, code);
    State {
        rip: EDGE - len,
        ..state
    }
    .go()
}

/// Registers for each of [`EXITING`].
fn prepared() -> State {
    let memory = MEMORY.address() + 0x100;
    State::new()
        .with(gpr::RCX, spec::msr::TSC_ADJUST.0.into())
        .with(gpr::RDX, 0x80)
        .with(gpr::RBX, cpu::cr4())
        .with(gpr::RSI, memory)
        .with(gpr::RDI, memory)
        .with(gpr::RBP, lapic::address_of(spec::apic::register::TPR))
}

fn instructions_that_exit_may_end_where_addresses_end() -> Verdict {
    for (name, code) in EXITING {
        let mut state = prepared();
        if name == "wrmsr" {
            state = state.with(gpr::RDX, 0);
        }
        if name.starts_with("rep") {
            state = state.with(gpr::RCX, 3);
        }
        let found = at_the_edge(state, code);
        // The next instruction would be the first beyond.
        same!((found.raised(), found.rip), (GP0, EDGE), "{name}");
    }
    Ok(())
}

fn they_may_so_in_ring_3() -> Verdict {
    let state = prepared().within(USER_CODE, USER_DATA);
    for (name, code) in [EXITING[0], EXITING[10], EXITING[11]] {
        let found = at_the_edge(state, code);
        same!(
            (found.raised(), found.rip, found.cs & 3),
            (GP0, EDGE, 3),
            "{name}"
        );
    }
    Ok(())
}

fn operands_fault_by_their_segment() -> Verdict {
    for at in ODD {
        let found = State::new().with(gpr::RAX, at).run(&[0x8b, 0x00]);
        same!(found.raised(), GP0, "mov eax, [rax] at {at:#x}");
        let found = State::new().with(gpr::RBP, at).run(&[0x8b, 0x45, 0x00]);
        same!(found.raised(), SS0, "mov eax, [rbp] at {at:#x}");
    }
    Ok(())
}

/// The page before the edge is the local APIC's.
fn apic_at_the_edge() {
    map_at(EDGE - 4096, lapic::BASE | ALL);
}

fn operands_across_the_edge_fault() -> Verdict {
    apic_at_the_edge();
    for before in 1..8 {
        let at = EDGE - before;
        // MOV of eight bytes, either way, and ADD.
        for code in [[0x48, 0x8b, 0x00], [0x48, 0x89, 0x00], [0x48, 0x01, 0x00]] {
            same!(
                State::new().with(gpr::RAX, at).run(&code).raised(),
                GP0,
                "at {at:#x}"
            );
        }
    }
    // It ends where addresses end.
    same!(
        State::new()
            .with(gpr::RAX, EDGE - 4)
            .run(&[0x8b, 0x00])
            .raised(),
        None
    );
    Ok(())
}

fn emulated_moves_check_both_operands() -> Verdict {
    let apic = lapic::address_of(spec::apic::register::TPR);
    for at in ODD {
        let ways: [(&str, &[u8], u64, u64); 6] = [
            ("movsd", &[0xa5], apic, at),
            ("movsd", &[0xa5], at, apic),
            ("rep movsd", &[0xf3, 0xa5], apic, at),
            ("rep movsd", &[0xf3, 0xa5], at, apic),
            ("cmpsd", &[0xa7], apic, at),
            ("cmpsd", &[0xa7], at, apic),
        ];
        for (name, code, from, to) in ways {
            let state = State::new()
                .with(gpr::RSI, from)
                .with(gpr::RDI, to)
                .with(gpr::RCX, 2);
            let found = state.run(code);
            same!(found.raised(), GP0, "{name} {from:#x} {to:#x}");
            same!(found.gprs, state.gprs, "{name} {from:#x} {to:#x}");
        }
        // A source on the stack's segment.
        let state = State::new().with(gpr::RSI, at).with(gpr::RDI, apic);
        same!(
            state.run(&[0x36, 0xa5]).raised(),
            GP0,
            "SS means nothing here to a string"
        );
    }
    Ok(())
}

fn emulated_pushes_and_pops_check_the_stack() -> Verdict {
    let apic = lapic::address_of(spec::apic::register::TPR);
    for rsp in [EDGE + 0x18, HIGH, EDGE + 0x1000, 1 << 63] {
        let state = State {
            rsp,
            ..State::new()
        };
        // Delivery has no stack: the double fault has one of its own.
        let found = state.with(gpr::RAX, apic).run(&[0xff, 0x30]);
        same!(found.vector, vector::DF.0, "push [rax] at {rsp:#x}");
        same!(found.rsp, rsp, "push");
    }
    // From ring 3 its delivery has one.
    for rsp in [EDGE + 8, HIGH, EDGE + 4, 1 << 63] {
        let state = State {
            rsp,
            ..State::new().within(USER_CODE, USER_DATA)
        };
        let state = state.with(gpr::RAX, apic);
        let found = state.run(&[0xff, 0x30]);
        same!(
            (found.raised(), found.rsp, found.gprs),
            (SS0, rsp, state.gprs),
            "push at {rsp:#x}"
        );
    }
    for rsp in [EDGE, EDGE - 4, LAST, HIGH - 8, HIGH - 1] {
        let state = State {
            rsp,
            ..State::new().within(USER_CODE, USER_DATA)
        };
        let state = state.with(gpr::RAX, apic);
        let found = state.run(&[0x8f, 0x00]);
        same!(
            (found.raised(), found.rsp, found.gprs),
            (SS0, rsp, state.gprs),
            "pop at {rsp:#x}"
        );
    }
    Ok(())
}

fn string_ports_check_their_operand() -> Verdict {
    for at in ODD {
        let state = State::new().with(gpr::RDX, 0x80).with(gpr::RCX, 2);
        let state = state.with(gpr::RSI, at).with(gpr::RDI, at);
        for code in [&[0x6c][..], &[0x6e], &[0xf3, 0x6c], &[0xf3, 0x6e], &[0x6d]] {
            let found = state.run(code);
            same!(
                (found.raised(), found.gprs),
                (GP0, state.gprs),
                "{code:x?} {at:#x}"
            );
        }
    }
    Ok(())
}

fn the_stack_pointer_may_hold_anything() -> Verdict {
    for rsp in ODD {
        // From ring 3, so that the exception by which it ends has a stack.
        let state = State {
            rsp,
            ..State::new().within(USER_CODE, USER_DATA)
        };
        let found = state.run(&[0x0f, 0xa2, 0x0f, 0xa2]);
        same!((found.raised(), found.rsp), (None, rsp));
    }
    Ok(())
}

fn breakpoints_may_be_anywhere() -> Verdict {
    for at in ODD {
        let found: u64;
        // SAFETY: DR7 is clear (SDM vol. 3, "Debug Registers and Intel 64 Processors": these are not checked).
        let by = unsafe {
            attempt!("mov dr1, {at}" "mov {found}, dr1", at = in(reg) at, found = out(reg) found)
        };
        same!(raised(by), None, "{at:#x}");
        let _ = cpu::cpuid(0, 0);
        same!(found, at);
    }
    // SAFETY: as it was.
    unsafe { asm!("mov dr1, {}", in(reg) 0u64) };
    Ok(())
}

fn invlpg_takes_anything() -> Verdict {
    for at in ODD {
        // SAFETY: SDM vol. 2, INVLPG: an address that is not canonical does nothing.
        let by = unsafe { attempt!("invlpg [{at}]", at = in(reg) at) };
        same!(raised(by), None, "{at:#x}");
    }
    claim!(cpu::cr3() != 0, "the tables are still there");
    Ok(())
}
