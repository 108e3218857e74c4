//! Exceptions, of the processor and injected, as handlers of both rings' code find them.
#![no_std]
#![no_main]
// UNSAFETY: instructions that fault.
#![allow(unsafe_code)]

use guests::paging::{PRESENT, RESERVED, USER, WRITE, map};
use guests::segments::{CODE, USER_CODE};
use guests::start::Pages;
use guests::trap::{GP0, Raised, UD, raised};
use guests::user::STACK_POINTER;
use guests::verdict::Verdict;
use guests::{attempt, attempt_in_user, claim, guest, same};
use spec::cpu::vector;

guest!(
    an_undefined_instruction_faults_at_itself,
    an_injected_fault_is_at_its_instruction,
    injected_faults_reach_ring_0_from_ring_3,
    a_selector_is_the_error_code,
    software_interrupts_return_behind_themselves,
    software_interrupts_need_the_gates_privilege,
    a_division_by_zero_faults,
    page_faults_tell_address_and_cause,
    page_faults_of_ring_3_say_so,
    a_reserved_bit_is_told_as_such,
    a_fault_without_a_stack_is_a_double_fault,
    an_injected_fault_without_a_stack_is_a_double_fault,
    an_exit_between_faults_changes_nothing,
);

static PAGE: Pages<4096> = Pages::new();

fn an_undefined_instruction_faults_at_itself() -> Verdict {
    let here: u64;
    // SAFETY: faults.
    let by = unsafe { attempt!("lea {here}, [rip + 2f]" "2: ud2", here = out(reg) here) };
    same!(raised(by), UD);
    let trap = by.err();
    claim!(
        trap.is_some_and(|trap| trap.rip == here && trap.cs == CODE.into()),
        "at {here:#x}: {trap:x?}"
    );
    Ok(())
}

fn an_injected_fault_is_at_its_instruction() -> Verdict {
    let here: u64;
    // SAFETY: the register is absent.
    let by = unsafe {
        attempt!("lea {here}, [rip + 2f]" "2: rdmsr", here = out(reg) here, in("ecx") 0x1234, out("eax") _, out("edx") _)
    };
    same!(raised(by), GP0);
    let trap = by.err();
    claim!(
        trap.is_some_and(|trap| trap.rip == here),
        "at {here:#x}: {trap:x?}"
    );
    // A fault's flags have RF set (SDM vol. 3, "Instruction-Breakpoint Exception Condition").
    claim!(
        trap.is_some_and(|trap| trap.rflags & 1 << 16 != 0),
        "RF: {trap:x?}"
    );
    Ok(())
}

fn injected_faults_reach_ring_0_from_ring_3() -> Verdict {
    // SAFETY: faults.
    let by = unsafe { attempt_in_user!("vmcall", inout("rax") 0u64 => _) };
    same!(raised(by), UD);
    let trap = by.err();
    claim!(
        trap.is_some_and(|trap| trap.cs == USER_CODE.into()),
        "{trap:x?}"
    );
    Ok(())
}

fn a_selector_is_the_error_code() -> Verdict {
    // SAFETY: the selectors are beyond the table; a fault leaves the segment as it was.
    unsafe {
        same!(
            raised(attempt!("mov ds, {s:e}", s = in(reg) 0x1234)),
            Some((vector::GP.0, 0x1234))
        );
        same!(
            raised(attempt_in_user!("mov es, {s:e}", s = in(reg) 0x4320)),
            Some((vector::GP.0, 0x4320))
        );
        same!(
            raised(attempt!("mov ss, {s:e}", s = in(reg) 0x5678)),
            Some((vector::GP.0, 0x5678))
        );
        // Outside the interrupt descriptor table: bit 1 says so. Its gate needs ring 0.
        same!(
            raised(attempt_in_user!("int 0x55")),
            Some((vector::GP.0, 0x55 << 3 | 2))
        );
    }
    Ok(())
}

fn software_interrupts_return_behind_themselves() -> Verdict {
    let (behind, after): (u64, u64);
    // SAFETY: the gates are there.
    unsafe {
        let by = attempt!("lea {b}, [rip + 2f]" "int3" "2:", b = out(reg) behind);
        claim!(
            by.is_err_and(|trap| trap.vector == vector::BP && trap.rip == behind),
            "INT3 {by:x?}"
        );
        let by = attempt_in_user!("lea {b}, [rip + 2f]" "int3" "2:", b = out(reg) after);
        claim!(
            by.is_err_and(|trap| trap.vector == vector::BP && trap.rip == after),
            "INT3 {by:x?}"
        );
    }
    Ok(())
}

fn software_interrupts_need_the_gates_privilege() -> Verdict {
    // SAFETY: faults.
    let by = unsafe { attempt_in_user!("int 0x80") };
    same!(raised(by), Some((vector::GP.0, 0x80 << 3 | 2)));
    // INT1 has no gate privilege to keep.
    // SAFETY: the handler goes on behind it.
    let by = unsafe { attempt_in_user!(".byte 0xf1") };
    same!(raised(by), Some((vector::DB.0, 0)));
    Ok(())
}

fn a_division_by_zero_faults() -> Verdict {
    // SAFETY: faults.
    let by =
        unsafe { attempt!("div {z:e}", z = in(reg) 0, inout("eax") 1 => _, inout("edx") 0 => _) };
    same!(raised(by), Some((vector::DE.0, 0)));
    Ok(())
}

/// What reading and writing a byte raise, in ring 0 and in ring 3.
fn accesses(at: u64) -> [Raised; 4] {
    // SAFETY: a page of the window, which is nothing of Rust's.
    unsafe {
        let read = attempt!("mov {v}, [{at}]", at = in(reg) at, v = out(reg_byte) _);
        let write = attempt!("mov byte ptr [{at}], 0", at = in(reg) at);
        let user_read = attempt_in_user!("mov {v}, [{at}]", at = in(reg) at, v = out(reg_byte) _);
        let user_write = attempt_in_user!("mov byte ptr [{at}], 0", at = in(reg) at);
        [
            raised(read),
            raised(write),
            raised(user_read),
            raised(user_write),
        ]
    }
}

const fn fault(code: u64) -> Raised {
    Some((vector::PF.0, code))
}

fn page_faults_tell_address_and_cause() -> Verdict {
    let at = map(3, 0) + 0x123;
    // SAFETY: nothing is there.
    let by = unsafe { attempt!("mov {v}, [{at}]", at = in(reg) at, v = out(reg_byte) _) };
    claim!(by.is_err_and(|trap| trap.cr2 == at), "{at:#x}: {by:x?}");
    same!(
        accesses(at),
        [fault(0), fault(2), fault(4), fault(6)],
        "absent"
    );
    let _ = map(3, PAGE.address() | PRESENT | USER);
    // CR0.WP is clear: ring 0 writes everywhere.
    same!(accesses(at), [None, None, None, fault(7)], "read-only");
    let _ = map(3, PAGE.address() | PRESENT | WRITE);
    same!(accesses(at), [None, None, fault(5), fault(7)], "of ring 0");
    let _ = map(3, PAGE.address() | PRESENT | WRITE | USER);
    same!(accesses(at), [None; 4]);
    Ok(())
}

fn page_faults_of_ring_3_say_so() -> Verdict {
    let at = map(3, 0) + 8;
    // SAFETY: nothing is there.
    let by = unsafe { attempt_in_user!("jmp {at}", at = in(reg) at) };
    let trap = by.err();
    claim!(
        trap.is_some_and(|trap| trap.cs & 3 == 3 && trap.rip == at && trap.cr2 == at),
        "{at:#x}: {trap:x?}"
    );
    Ok(())
}

fn a_reserved_bit_is_told_as_such() -> Verdict {
    let at = map(3, PAGE.address() | PRESENT | WRITE | USER | RESERVED);
    same!(accesses(at), [fault(9), fault(0xb), fault(0xd), fault(0xf)]);
    Ok(())
}

fn a_fault_without_a_stack_is_a_double_fault() -> Verdict {
    let nowhere = map(3, 0);
    // SAFETY: the handler of the double fault has a stack of its own and gives this one back.
    let by = unsafe {
        attempt!("mov [rip + {stack}], rsp" "mov rsp, {nowhere}" "ud2", stack = sym STACK_POINTER, nowhere = in(reg) nowhere)
    };
    same!(raised(by), Some((vector::DF.0, 0)));
    Ok(())
}

fn an_injected_fault_without_a_stack_is_a_double_fault() -> Verdict {
    let nowhere = map(3, 0);
    // SAFETY: as above; the register is absent.
    let by = unsafe {
        attempt!("mov [rip + {stack}], rsp" "mov rsp, {nowhere}" "rdmsr",
            stack = sym STACK_POINTER, nowhere = in(reg) nowhere, in("ecx") 0x1234, out("eax") _, out("edx") _)
    };
    same!(raised(by), Some((vector::DF.0, 0)));
    Ok(())
}

fn an_exit_between_faults_changes_nothing() -> Verdict {
    for _ in 0..100 {
        // SAFETY: faults; CPUID changes what is named.
        let by = unsafe {
            attempt!("push rbx" "cpuid" "pop rbx" "ud2", inout("eax") 0 => _, inout("ecx") 0 => _, out("edx") _)
        };
        same!(raised(by), UD);
    }
    Ok(())
}
