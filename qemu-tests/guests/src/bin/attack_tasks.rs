//! An attacker that goes from task to task, through gates of every size, and step by step: what IA-32e mode refuses, what protected
//! mode allows, and what single-stepping and breakpoints make of instructions that exit. With the word `switch`, a task switch.
#![no_std]
#![no_main]
// UNSAFETY: descriptors, gates, debug registers, and code for all modes.
#![allow(unsafe_code)]

use core::arch::global_asm;
use guests::bytes::number;
use guests::descriptors::{self, CODE_16, CODE_32, FREE, LOW, gate, segment};
use guests::modes::{self, Mode, Registers};
use guests::segments::{CODE, DATA, USER_DATA};
use guests::start::Pages;
use guests::trap::{self, GP0, Raised};
use guests::verdict::{self, Verdict};
use guests::{claim, cmdline, same, say, smp};
use spec::cpu::vector;

extern "C" fn guest_main() {
    if cmdline::has("switch") {
        switches();
        return;
    }
    verdict::try_all(&[
        ("ia32e_mode_has_no_tasks", ia32e_mode_has_no_tasks),
        (
            "ia32e_mode_has_one_kind_of_gate",
            ia32e_mode_has_one_kind_of_gate,
        ),
        (
            "ia32e_mode_returns_from_no_task",
            ia32e_mode_returns_from_no_task,
        ),
        (
            "gates_into_64_bit_code_lead_from_each_ring_and_back",
            gates_into_64_bit_code_lead_from_each_ring_and_back,
        ),
        (
            "gates_that_are_wrong_are_refused",
            gates_that_are_wrong_are_refused,
        ),
        (
            "gates_of_protected_mode_carry_parameters",
            gates_of_protected_mode_carry_parameters,
        ),
        (
            "gates_of_16_bits_lead_and_return",
            gates_of_16_bits_lead_and_return,
        ),
        (
            "task_state_segments_that_are_wrong_are_refused",
            task_state_segments_that_are_wrong_are_refused,
        ),
        (
            "a_task_switch_of_ring_3_is_refused",
            a_task_switch_of_ring_3_is_refused,
        ),
    ]);
}

guests::from_start!();
guests::at_start!();

/// A gate of 16 bytes, a segment, a task.
const GATE: u16 = FREE;
const SEGMENT: u16 = FREE + 0x10;
const TASK: u16 = FREE + 0x18;
/// A far pointer, and what gates' targets have seen: CS, and SS behind it.
const POINTER: u64 = LOW + 0x5000;
const SEEN: u64 = LOW + 0x5010;
/// Where the targets of gates are, of 64, 32 and 16 bits; of the last the offset in its segment.
const TARGET: u64 = LOW + 0x6000;
const TARGET_32: u64 = LOW + 0x7000;
const TARGET_16: u64 = LOW + 0x8000;
/// A vector whose gate in protected mode is free.
const FREE_VECTOR: u8 = 0x30;

global_asm!(
    // Through a gate from any ring and back, with an exit there.
    "{target}:",
    "mov word ptr [{seen}], cs; mov word ptr [{seen} + 2], ss",
    "push rax; push rbx; push rcx; push rdx; xor eax, eax; cpuid; pop rdx; pop rcx; pop rbx; pop rax",
    "retfq",
    ".code32",
    "{target_32}:",
    "push ebx; xor eax, eax; cpuid; pop ebx",
    "mov eax, [esp + 8]; mov ecx, [esp + 12]; mov edx, cs",
    "retf 8",
    ".code16",
    "{target_16}:",
    "push bx; xor eax, eax; cpuid; pop bx",
    "xor eax, eax; mov ax, cs",
    ".byte 0xcb",
    "{end}:",
    ".code64",
    target = sym target, target_32 = sym target_32, target_16 = sym target_16, end = sym target_end, seen = const SEEN,
);

unsafe extern "C" {
    fn target();
    fn target_32();
    fn target_16();
    fn target_end();
}

fn prepare() {
    modes::prepare();
    smp::place(TARGET, target, target_32);
    smp::place(TARGET_32, target_32, target_16);
    smp::place(TARGET_16, target_16, target_end);
}

fn write32(at: u64, value: u32) {
    // SAFETY: low memory that no one else uses.
    unsafe { (at as *mut u32).write_volatile(value) };
}

/// A far CALL or JMP to a selector, as the mode has it.
fn far(mode: Mode, selector: u16, jump: bool) -> ([u8; 8], usize) {
    let mut code = [0xcc; 8];
    let [low, high] = selector.to_le_bytes();
    match mode {
        // By a pointer in memory: 64-bit code has no other.
        Mode::Long | Mode::LongUser => {
            write32(POINTER, 0);
            write32(POINTER + 4, selector.into());
            code[..3].copy_from_slice(&[0xff, if jump { 0x2c } else { 0x1c }, 0x25]);
            code[3..7].copy_from_slice(&(POINTER as u32).to_le_bytes());
            (code, 7)
        }
        Mode::Protected16 | Mode::Virtual8086 | Mode::Real => {
            code[..5].copy_from_slice(&[if jump { 0xea } else { 0x9a }, 0, 0, low, high]);
            (code, 5)
        }
        _ => {
            code[..7].copy_from_slice(&[if jump { 0xea } else { 0x9a }, 0, 0, 0, 0, low, high]);
            (code, 7)
        }
    }
}

fn calls(mode: Mode, selector: u16) -> Raised {
    let (code, len) = far(mode, selector, false);
    modes::attempt(mode, &code[..len])
}

fn jumps(mode: Mode, selector: u16) -> Raised {
    let (code, len) = far(mode, selector, true);
    modes::attempt(mode, &code[..len])
}

fn at(vector: spec::Vector, selector: u16) -> Raised {
    Some((vector.0, u64::from(selector & !7)))
}

const IA32E: [Mode; 4] = [
    Mode::Long,
    Mode::LongUser,
    Mode::Compatibility,
    Mode::CompatibilityUser,
];

static TASK_STATE: Pages<104> = Pages::new();

fn ia32e_mode_has_no_tasks() -> Verdict {
    prepare();
    let base = TASK_STATE.address() as u32;
    for mode in IA32E {
        // Available, busy; of 16 and of what are 64 bits here: for all rings.
        for kind in [0xe9, 0xeb, 0xe1, 0xe3] {
            descriptors::set(TASK, segment(base, 103, kind));
            descriptors::set(TASK + 8, 0);
            same!(
                calls(mode, TASK),
                at(vector::GP, TASK),
                "CALL of {kind:#x} in {mode:?}"
            );
            same!(
                jumps(mode, TASK),
                at(vector::GP, TASK),
                "JMP to {kind:#x} in {mode:?}"
            );
            same!(
                descriptors::get(TASK),
                segment(base, 103, kind),
                "the descriptor"
            );
        }
    }
    // A task gate in the interrupt descriptor table: the error code says so by bit 1 ("Error Code").
    let [low, high] = trap::gate(FREE_VECTOR);
    trap::set_gate(FREE_VECTOR, [gate(TASK, 0, 0xe500), 0]);
    for mode in IA32E {
        let found = modes::attempt(mode, &[0xcd, FREE_VECTOR]);
        same!(
            found,
            Some((vector::GP.0, u64::from(FREE_VECTOR) << 3 | 2)),
            "INT in {mode:?}"
        );
    }
    trap::set_gate(FREE_VECTOR, [low, high]);
    Ok(())
}

fn ia32e_mode_has_one_kind_of_gate() -> Verdict {
    prepare();
    for mode in IA32E {
        // System descriptors of ring 3 of all kinds but 12, the call gate ("System-Segment and Gate-Descriptor Types").
        for kind in (0u16..16).filter(|kind| *kind != 12) {
            descriptors::set(GATE, gate(CODE, TARGET as u32, 0xe000 | kind << 8));
            descriptors::set(GATE + 8, 0);
            same!(
                calls(mode, GATE),
                at(vector::GP, GATE),
                "kind {kind} in {mode:?}"
            );
            same!(
                jumps(mode, GATE),
                at(vector::GP, GATE),
                "kind {kind} in {mode:?}"
            );
        }
    }
    Ok(())
}

fn ia32e_mode_returns_from_no_task() -> Verdict {
    prepare();
    // RFLAGS.NT
    let registers = Registers {
        eflags: 1 << 14,
        ..Registers::default()
    };
    for mode in IA32E {
        let code: &[u8] = if matches!(mode, Mode::Long | Mode::LongUser) {
            &[0x48, 0xcf]
        } else {
            &[0xcf]
        };
        let found = modes::attempt_with(mode, code, registers);
        same!((found.raised, found.at), (GP0, 0), "{mode:?}");
    }
    Ok(())
}

/// A gate of 64-bit code.
fn set_gate(selector: u16, offset: u64, rights: u16) {
    descriptors::set(GATE, gate(selector, offset as u32, rights));
    descriptors::set(GATE + 8, offset >> 32);
}

fn gates_into_64_bit_code_lead_from_each_ring_and_back() -> Verdict {
    prepare();
    set_gate(CODE, TARGET, 0xec00);
    for mode in IA32E {
        for _ in 0..50 {
            write32(SEEN, !0);
            same!(calls(mode, GATE), None, "{mode:?}");
            // A change of ring leaves no stack segment ("Stack Switching in IA-32e Mode").
            let ss = if mode.is_ring_0() { DATA } else { 0 };
            same!(
                number(SEEN, 4),
                u64::from(ss) << 16 | u64::from(CODE),
                "{mode:?}"
            );
        }
    }
    Ok(())
}

fn gates_that_are_wrong_are_refused() -> Verdict {
    prepare();
    // A code segment that is both of 64 and of 32 bits, and one that ends behind the table.
    descriptors::set(SEGMENT, segment(0, 0xf_ffff, 0xef9b));
    for mode in IA32E {
        let user = !mode.is_ring_0();
        set_gate(CODE, TARGET, 0x8c00);
        same!(
            calls(mode, GATE),
            if user { at(vector::GP, GATE) } else { None },
            "a gate of ring 0 in {mode:?}"
        );
        set_gate(CODE, TARGET, 0x6c00);
        same!(
            calls(mode, GATE),
            at(vector::NP, GATE),
            "an absent gate in {mode:?}"
        );
        set_gate(0, TARGET, 0xec00);
        same!(calls(mode, GATE), GP0, "to no segment in {mode:?}");
        for to in [DATA, USER_DATA, CODE_32, SEGMENT, 0x1f8 + 8] {
            set_gate(to, TARGET, 0xec00);
            same!(
                calls(mode, GATE),
                at(vector::GP, to),
                "to {to:#x} in {mode:?}"
            );
        }
        set_gate(CODE, 0x8000_0000_0000 | TARGET, 0xec00);
        same!(calls(mode, GATE), GP0, "not canonical, in {mode:?}");
        // Its second half must not look like a descriptor.
        set_gate(CODE, TARGET | 0xc00 << 32 << 32, 0xec00);
        descriptors::set(GATE + 8, 0xc00 << 32);
        same!(
            calls(mode, GATE),
            at(vector::GP, GATE),
            "a second half that is one, in {mode:?}"
        );
        // A jump does not change rings.
        set_gate(CODE, TARGET, 0xec00);
        if user {
            same!(jumps(mode, GATE), at(vector::GP, CODE), "JMP in {mode:?}");
        }
    }
    Ok(())
}

fn gates_of_protected_mode_carry_parameters() -> Verdict {
    prepare();
    // Two parameters
    descriptors::set(GATE, gate(CODE_32, TARGET_32 as u32, 0xec02));
    let [low, high] = GATE.to_le_bytes();
    let code = [
        0x68, 0x11, 0x11, 0x11, 0x11, // PUSH
        0x68, 0x22, 0x22, 0x22, 0x22, // PUSH
        0x9a, 0, 0, 0, 0, low, high,
    ];
    for mode in [Mode::Protected, Mode::ProtectedUser] {
        for _ in 0..20 {
            let found = modes::attempt_with(mode, &code, Registers::default());
            same!(found.raised, None, "{mode:?}");
            let [eax, ecx, edx, _] = found.registers;
            same!(
                (eax, ecx, edx),
                (0x2222_2222, 0x1111_1111, CODE_32.into()),
                "{mode:?}"
            );
        }
    }
    descriptors::set(GATE, gate(CODE_32, TARGET_32 as u32, 0x8c02));
    same!(
        calls(Mode::ProtectedUser, GATE),
        at(vector::GP, GATE),
        "of ring 0"
    );
    descriptors::set(GATE, gate(CODE_32, TARGET_32 as u32, 0x6c02));
    same!(
        calls(Mode::ProtectedUser, GATE),
        at(vector::NP, GATE),
        "absent"
    );
    Ok(())
}

fn gates_of_16_bits_lead_and_return() -> Verdict {
    prepare();
    descriptors::set(GATE, gate(CODE_16, (TARGET_16 - LOW) as u32, 0xe400));
    for _ in 0..20 {
        let (code, len) = far(Mode::Protected16, GATE, false);
        let found = modes::attempt_with(Mode::Protected16, &code[..len], Registers::default());
        same!((found.raised, found.registers[0]), (None, CODE_16.into()));
    }
    Ok(())
}

fn task_state_segments_that_are_wrong_are_refused() -> Verdict {
    prepare();
    let base = TASK_STATE.address() as u32;
    for (mode, ring) in [(Mode::Protected, 0), (Mode::ProtectedUser, 3)] {
        for (limit, rights, expected) in [
            (103, 0xeb, at(vector::GP, TASK)), // busy
            (103, 0x69, at(vector::NP, TASK)),
            (102, 0xe9, at(vector::TS, TASK)),
            (43 - 1, 0xe1, at(vector::TS, TASK)), // of 16 bits
            (0, 0xe9, at(vector::TS, TASK)),
        ] {
            descriptors::set(TASK, segment(base, limit, rights));
            same!(
                calls(mode, TASK),
                expected,
                "CALL of {rights:#x} in {mode:?}"
            );
            same!(
                jumps(mode, TASK),
                expected,
                "JMP to {rights:#x} in {mode:?}"
            );
            // Through a gate in the table of interrupts.
            modes::set_gate(FREE_VECTOR, gate(TASK, 0, 0xe500));
            if rights != 0xeb {
                same!(
                    modes::attempt(mode, &[0xcd, FREE_VECTOR]),
                    expected,
                    "INT of {rights:#x} in {mode:?}"
                );
            }
        }
        if ring == 3 {
            descriptors::set(TASK, segment(base, 103, 0x89));
            same!(calls(mode, TASK), at(vector::GP, TASK), "CALL of ring 0's");
        }
        // A task that nothing has nested has no one to go back to.
        let nested = Registers {
            eflags: 1 << 14,
            ..Registers::default()
        };
        let found = modes::attempt_with(mode, &[0xcf], nested);
        same!(found.raised, at(vector::TS, 0), "IRET in {mode:?}");
    }
    Ok(())
}

/// The limit that the hypervisor states: a process loses by it what its kernel has given it, and the kernel loses nothing.
fn a_task_switch_of_ring_3_is_refused() -> Verdict {
    prepare();
    let descriptor = segment(TASK_STATE.address() as u32, 103, 0xe9);
    descriptors::set(TASK, descriptor);
    descriptors::set(GATE, gate(TASK, 0, 0xe500));
    modes::set_gate(FREE_VECTOR, gate(TASK, 0, 0xe500));
    for _ in 0..20 {
        same!(calls(Mode::ProtectedUser, TASK), GP0);
        same!(jumps(Mode::ProtectedUser, TASK), GP0);
        same!(calls(Mode::ProtectedUser, GATE), GP0, "through a gate");
        same!(
            modes::attempt(Mode::ProtectedUser, &[0xcd, FREE_VECTOR]),
            GP0,
            "by INT"
        );
        same!(descriptors::get(TASK), descriptor, "the descriptor");
        claim!(
            (0..26).all(|n| number(TASK_STATE.address() + 4 * n, 4) == 0),
            "the task's state"
        );
    }
    Ok(())
}

/// What ends this machine.
fn switches() {
    prepare();
    descriptors::set(TASK, segment(TASK_STATE.address() as u32, 103, 0x89));
    say!("attack: a task switch");
    let raised = calls(Mode::Protected, TASK);
    say!("attack: it raised {raised:x?}");
}
