//! Attacks on the delivery of events: gates, stacks and segments that are not to be had, and deliveries that raise what they deliver.
//!
//! An exception that the processor raises and the same one that the hypervisor injects have to end alike, wherever it leads.
#![no_std]
#![no_main]
// UNSAFETY: changes gates, the task state segment and debug registers.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::legacy::{self, Mode, Registers};
use guests::paging::map_at;
use guests::probe::{Found, State, gpr};
use guests::segments::{CODE, USER_CODE, USER_DATA, descriptor, set};
use guests::start::Pages;
use guests::trap::Raised;
use guests::verdict::Verdict;
use guests::{attacker, claim, same};
use spec::cpu::vector;

attacker!(
    [("ac", endless_ac as fn()), ("db", endless_db), ("gp", endless_gp), ("pf", endless_pf)];
    gates_that_are_not_to_be_had,
    stacks_that_are_not_to_be_had,
    tables_that_are_too_short,
    software_interrupts_through_such_gates,
    alignment_faults_of_ring_3_come_once,
    an_alignment_fault_without_a_gate,
    debug_exceptions_without_a_gate,
    a_page_fault_while_a_page_fault_is_delivered,
);

/// No page is there.
const ABSENT: u64 = 0x4000_0000;
const ODD: u64 = 1 << 47;

fn table(store: [u8; 10]) -> u64 {
    let mut base = [0; 8];
    base.copy_from_slice(&store[2..]);
    u64::from_le_bytes(base)
}

/// Where the gate of a vector is.
fn gate(vector: u8) -> *mut [u64; 2] {
    let mut store = [0; 10];
    // SAFETY: ten bytes.
    unsafe { asm!("sidt [{}]", in(reg) store.as_mut_ptr()) };
    (table(store) as *mut [u64; 2]).wrapping_add(vector.into())
}

/// Where the task state segment is, by its descriptor.
fn tss() -> u64 {
    let mut store = [0; 10];
    // SAFETY: ten bytes; the table's sixth and seventh entry are the segment's.
    unsafe {
        asm!("sgdt [{}]", in(reg) store.as_mut_ptr());
        let entry = (table(store) as *const u64).wrapping_add(5);
        let (low, high) = (entry.read_volatile(), entry.add(1).read_volatile());
        low >> 16 & 0xff_ffff | (low >> 56) << 24 | high << 32
    }
}

/// Tries with another gate.
fn with_gate(
    vector: u8,
    change: impl Fn([u64; 2]) -> [u64; 2],
    test: impl FnOnce() -> Verdict,
) -> Verdict {
    let at = gate(vector);
    // SAFETY: the gate is put back.
    let before = unsafe { at.read_volatile() };
    // SAFETY: as above.
    unsafe { at.write_volatile(change(before)) };
    let verdict = test();
    // SAFETY: as above.
    unsafe { at.write_volatile(before) };
    verdict
}

/// How an exception ends that the processor raises, and one that is injected: #UD by UD2 and VMCALL, #GP(0) by a load from where no
/// address is and by an MSR that is absent.
const PAIRS: [(u8, &[u8], &[u8]); 2] = [
    (6, &[0x0f, 0x0b, 0x90], &[0x0f, 0x01, 0xc1]),
    (13, &[0x8a, 0x03], &[0x0f, 0x32]),
];

fn ends(state: State, code: &[u8]) -> (Raised, u64, u64) {
    let state = state.with(gpr::RCX, 0x1234).with(gpr::RBX, ODD);
    let Found { rip, cs, .. } = state.run(code);
    let found = state.run(code);
    let same_again = (found.rip, found.cs) == (rip, cs);
    (
        found.raised(),
        if same_again { found.rip } else { 0 },
        found.cs,
    )
}

/// Both of a pair, from ring 0 and ring 3.
fn alike(what: &str, vector: u8) -> Verdict {
    for (number, raised, injected) in PAIRS {
        if number == vector {
            for state in [State::new(), State::new().within(USER_CODE, USER_DATA)] {
                let (right, found) = (ends(state, raised), ends(state, injected));
                same!(found, right, "{what}: vector {vector} from {:#x}", state.cs);
            }
        }
    }
    Ok(())
}

fn gates_that_are_not_to_be_had() -> Verdict {
    let data = u64::from(guests::segments::DATA);
    let absent = u64::from(set(0, descriptor(0, 0xf_ffff, 0xa01b)));
    let narrow = u64::from(set(1, descriptor(0, 0xf_ffff, 0xc09b)));
    let ways: [(&str, u64, u64, u64); 9] = [
        ("not present", 0x8000 << 32, 0, 0),
        ("of a type that is none", 0x0f00 << 32, 0x0800 << 32, 0),
        ("of a task", 0x0f00 << 32, 0x0500 << 32, 0),
        ("to no segment", 0xffff << 16, 0, 0),
        ("to data", 0xffff << 16, data << 16, 0),
        ("to code that is not present", 0xffff << 16, absent << 16, 0),
        ("to code of 32 bits", 0xffff << 16, narrow << 16, 0),
        (
            "to a selector beyond the table",
            0xffff << 16,
            0x1238 << 16,
            0,
        ),
        ("to where no address is", 0, 0, 1 << 16),
    ];
    for vector in [6, 13] {
        for (what, clear, put, high) in ways {
            with_gate(
                vector,
                |[low, upper]| [low & !clear | put, upper | high],
                || alike(what, vector),
            )?;
        }
    }
    Ok(())
}

fn stacks_that_are_not_to_be_had() -> Verdict {
    map_at(ABSENT, 0);
    for top in [ODD, ODD + 0x100, 1 << 63, ABSENT + 0x100, 0] {
        // The second to seventh entry of the interrupt stack table are nobody's.
        guests::probe::put(tss() + 36 + 8, &top.to_le_bytes());
        for vector in [6, 13] {
            with_gate(
                vector,
                |[low, high]| [low | 2 << 32, high],
                || alike("stack", vector),
            )?;
        }
    }
    guests::probe::put(tss() + 36 + 8, &[0; 8]);
    Ok(())
}

fn tables_that_are_too_short() -> Verdict {
    let mut store = [0u8; 10];
    // SAFETY: ten bytes.
    unsafe { asm!("sidt [{}]", in(reg) store.as_mut_ptr()) };
    // The gate of #GP is cut off with all behind it, that of #DF is there.
    let mut short = store;
    short[..2].copy_from_slice(&(13 * 16u16 - 1).to_le_bytes());
    let state = State::new().with(gpr::RCX, 0x1234).with(gpr::RBX, ODD);
    // SAFETY: interrupts are off, and exceptions have what they need; all is there again behind it.
    unsafe { asm!("lidt [{}]", in(reg) short.as_ptr()) };
    let (right, found) = (state.run(&[0x8a, 0x03]), state.run(&[0x0f, 0x32]));
    // SAFETY: as above.
    unsafe { asm!("lidt [{}]", in(reg) store.as_ptr()) };
    same!(
        (right.raised(), found.raised()),
        (Some((vector::DF.0, 0)), Some((vector::DF.0, 0)))
    );
    Ok(())
}

fn software_interrupts_through_such_gates() -> Verdict {
    for state in [State::new(), State::new().within(USER_CODE, USER_DATA)] {
        // Present, but not for ring 3; then not present at all.
        let there = if state.cs & 3 == 3 {
            Some((vector::GP.0, 0x30 << 3 | 2))
        } else {
            Some((0x30, 0))
        };
        same!(state.run(&[0xcd, 0x30]).raised(), there);
        with_gate(
            0x30,
            |[low, high]| [low & !(0x8000 << 32) | 0x6000 << 32, high],
            || {
                same!(
                    state.run(&[0xcd, 0x30]).raised(),
                    Some((vector::NP.0, 0x30 << 3 | 2))
                );
                Ok(())
            },
        )?;
    }
    Ok(())
}

fn set_am(on: bool) {
    let cr0 = guests::cpu::cr0() & !(1 << 18) | u64::from(on) << 18;
    // SAFETY: asks ring 3 alone.
    unsafe { asm!("mov cr0, {}", in(reg) cr0) };
}

/// Ring 3 that reads four bytes at an odd address.
fn unaligned() -> State {
    let state = State {
        rflags: 2 | 1 << 18,
        ..State::new().within(USER_CODE, USER_DATA)
    };
    state.with(gpr::RBX, MEMORY.address() + 1)
}

static MEMORY: Pages<4096> = Pages::new();
const LOAD: &[u8] = &[0x8b, 0x03];

fn alignment_faults_of_ring_3_come_once() -> Verdict {
    set_am(true);
    for _ in 0..100 {
        let found = unaligned().run(LOAD);
        same!((found.raised(), found.cs & 3), (Some((vector::AC.0, 0)), 3));
    }
    let aligned = unaligned().with(gpr::RBX, MEMORY.address());
    same!(aligned.run(LOAD).raised(), None);
    set_am(false);
    same!(unaligned().run(LOAD).raised(), None);
    Ok(())
}

fn an_alignment_fault_without_a_gate() -> Verdict {
    set_am(true);
    // Benign, so what its delivery raises comes instead: #NP, of an event from outside the program.
    with_gate(
        17,
        |[low, high]| [low & !(0x8000 << 32), high],
        || {
            same!(
                unaligned().run(LOAD).raised(),
                Some((vector::NP.0, 17 << 3 | 3))
            );
            Ok(())
        },
    )?;
    set_am(false);
    Ok(())
}

fn debug_exceptions_without_a_gate() -> Verdict {
    with_gate(
        1,
        |[low, high]| [low & !(0x8000 << 32), high],
        || {
            for state in [State::new(), State::new().within(USER_CODE, USER_DATA)] {
                let stepping = State {
                    rflags: 2 | 1 << 8,
                    ..state
                };
                same!(
                    stepping.run(&[0x90, 0x90]).raised(),
                    Some((vector::NP.0, 1 << 3 | 3)),
                    "single step"
                );
                same!(
                    state.run(&[0xf1]).raised().map(|(vector, _)| vector),
                    Some(vector::NP.0),
                    "INT1"
                );
            }
            Ok(())
        },
    )
}

fn a_page_fault_while_a_page_fault_is_delivered() -> Verdict {
    map_at(ABSENT, 0);
    guests::probe::put(tss() + 36 + 8, &(ABSENT + 0x100).to_le_bytes());
    let verdict = with_gate(
        14,
        |[low, high]| [low | 2 << 32, high],
        || {
            let found = State::new().with(gpr::RBX, ABSENT).run(&[0x8b, 0x03]);
            same!(found.raised(), Some((vector::DF.0, 0)));
            claim!(found.cr2 >> 12 == ABSENT >> 12, "CR2 {:#x}", found.cr2);
            Ok(())
        },
    );
    guests::probe::put(tss() + 36 + 8, &[0; 8]);
    verdict
}

/// CVE-2015-5307: the handler of #AC is in ring 3 as well, so its frame goes to the same stack, which is not aligned: the delivery of #AC
/// raises #AC.
fn endless_ac() {
    set_am(true);
    let gate = legacy::CODE & 0xffff | 0x23 << 16 | 0xee00 << 32 | (legacy::CODE >> 16) << 48;
    // PUSHFD; OR byte ptr [ESP + 2], 4; POPFD; SUB ESP, 3; PUSH EAX
    let code = [
        0x9c, 0x80, 0x4c, 0x24, 0x02, 0x04, 0x9d, 0x83, 0xec, 0x03, 0x50,
    ];
    let _ = legacy::run_with(
        Mode::ProtectedUser,
        Registers::default(),
        &code,
        &[(17, gate)],
    );
}

/// CVE-2015-8104: a breakpoint on the stack where the frame of #DB goes, which is the same for each: the delivery of #DB raises #DB.
fn endless_db() {
    let top = MEMORY.address() + 0x800;
    guests::probe::put(tss() + 36 + 8, &top.to_le_bytes());
    let at = gate(1);
    // SAFETY: never comes back, or ends the machine. DR7: breakpoint 0 on writes of eight bytes.
    unsafe {
        at.write_volatile({
            let [low, high] = at.read_volatile();
            [low | 2 << 32, high]
        });
        asm!("mov dr0, {}", "mov dr7, {}", in(reg) top - 8, in(reg) 0x9_0402u64 | 0x1_0000);
        asm!("mov [{}], {}", "nop", "nop", in(reg) top - 8, in(reg) 0u64);
    }
}

/// A fault that is injected, and whose handler goes back to it.
fn endless_gp() {
    let handler: u64;
    // SAFETY: never comes back.
    unsafe {
        asm!("lea {}, [rip + 2f]", "jmp 3f", "2: add rsp, 8", "iretq", "3:", out(reg) handler);
        gate(13).write_volatile([
            handler & 0xffff
                | u64::from(CODE) << 16
                | 0x8e00 << 32
                | (handler >> 16 & 0xffff) << 48,
            handler >> 32,
        ]);
        asm!("rdmsr", in("ecx") 0x1234, out("eax") _, out("edx") _);
    }
}

/// The same with a page fault of the emulator's: of a string move from the APIC's page to a page that is not there.
fn endless_pf() {
    map_at(ABSENT, 0);
    let handler: u64;
    // SAFETY: never comes back.
    unsafe {
        asm!("lea {}, [rip + 2f]", "jmp 3f", "2: add rsp, 8", "iretq", "3:", out(reg) handler);
        gate(14).write_volatile([
            handler & 0xffff
                | u64::from(CODE) << 16
                | 0x8e00 << 32
                | (handler >> 16 & 0xffff) << 48,
            handler >> 32,
        ]);
        asm!("movsd", in("rsi") guests::lapic::BASE + 0x30, in("rdi") ABSENT);
    }
}
