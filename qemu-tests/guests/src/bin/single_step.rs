//! Single-stepping: one trap after each instruction, also where the hypervisor carries it out.
#![no_std]
#![no_main]
// UNSAFETY: instructions with RFLAGS.TF set.
#![allow(unsafe_code)]

use guests::start::Pages;
use guests::trap::{GP0, raised};
use guests::verdict::Verdict;
use guests::{attempt, claim, cpu, guest, ioapic, lapic, same, segments, steps};

guest!(
    one_trap_after_an_instruction_without_exit,
    one_trap_after_cpuid,
    one_trap_after_rdmsr_and_wrmsr,
    one_trap_after_port_accesses,
    one_trap_after_control_register_accesses,
    one_trap_after_a_cache_flush,
    one_trap_after_memory_that_is_emulated,
    one_trap_after_each_part_of_a_repeated_instruction,
    mov_ss_holds_the_trap_back_over_an_exit,
    a_fault_comes_in_place_of_the_trap,
    data_breakpoints_trap_beside_exits,
);

/// Steps through instructions; returns the distances of the traps from the first instruction. The first trap comes after the
/// instruction behind POPFQ, the last after the PUSHFQ that begins the end.
macro_rules! step {
    ($($instruction:literal)+ $(, $($operand:tt)*)?) => {{
        let first: u64;
        steps::begin();
        // SAFETY: the handler counts and returns; the callers say what else may change.
        unsafe {
            core::arch::asm!(
                "lea {first}, [rip + 55f]",
                "pushfq",
                "or qword ptr [rsp], 0x100",
                "popfq",
                "55:",
                $($instruction,)+
                "pushfq",
                "and qword ptr [rsp], ~0x100",
                "popfq",
                first = out(reg) first,
                $($($operand)*)?
            );
        }
        (first, steps::end())
    }};
}

/// Whether the traps came at these distances, and then only for the three instructions of the end, of which the last has none.
fn came((first, count): (u64, usize), at: &[u64]) -> Verdict {
    same!(count, at.len() + 3, "traps");
    for (n, distance) in at.iter().enumerate() {
        let Some(step) = steps::seen(n) else {
            claim!(false, "step {n} was not kept");
            return Ok(());
        };
        same!(step.rip - first, *distance, "step {n}");
        same!(step.dr6, 0xffff_4ff0, "DR6 of step {n}");
    }
    Ok(())
}

fn one_trap_after_an_instruction_without_exit() -> Verdict {
    came(step!("nop" "nop"), &[1, 2])
}

fn one_trap_after_cpuid() -> Verdict {
    let steps = step!("mov r8, rbx" "cpuid" "mov rbx, r8" "nop",
        inout("eax") 0 => _, inout("ecx") 0 => _, out("edx") _, out("r8") _);
    came(steps, &[3, 5, 8, 9])
}

fn one_trap_after_rdmsr_and_wrmsr() -> Verdict {
    let steps =
        step!("rdmsr" "wrmsr" "nop", in("ecx") spec::msr::TSC_ADJUST.0, out("eax") _, out("edx") _);
    came(steps, &[2, 4, 5])
}

fn one_trap_after_port_accesses() -> Verdict {
    let steps = step!("in al, dx" "out dx, al" "in eax, dx" "nop", in("edx") 0x80, out("eax") _);
    came(steps, &[1, 2, 3, 4])
}

fn one_trap_after_control_register_accesses() -> Verdict {
    let steps = step!("mov rax, cr8" "mov cr8, rax" "mov rax, cr4" "mov cr4, rax" "mov rax, cr0" "mov cr0, rax", out("rax") _);
    came(steps, &[4, 8, 11, 14, 17, 20])
}

fn one_trap_after_a_cache_flush() -> Verdict {
    came(step!("wbinvd" "nop"), &[2, 3])
}

fn one_trap_after_memory_that_is_emulated() -> Verdict {
    let version = lapic::address_of(spec::apic::register::VERSION);
    let steps = step!("mov eax, [rdx]" "mov [rcx], eax" "add eax, [rdx]",
        in("rdx") version, in("rcx") ioapic::BASE, out("eax") _);
    came(steps, &[2, 4, 6])
}

static BUFFER: Pages<4096> = Pages::new();

fn one_trap_after_each_part_of_a_repeated_instruction() -> Verdict {
    // The trap of a repeated instruction comes after each repetition, at the instruction until the last.
    let nowhere = step!("rep outsb" "nop", inout("rsi") BUFFER.address() => _, inout("rcx") 3u64 => _, in("edx") 0x80);
    came(nowhere, &[0, 0, 2, 3])?;
    let emulated = step!("rep stosd" "nop", inout("rdi") 0xc000_0000u64 => _, inout("rcx") 3u64 => _, in("eax") 0);
    came(emulated, &[0, 0, 2, 3])
}

fn mov_ss_holds_the_trap_back_over_an_exit() -> Verdict {
    let steps = step!("mov ss, r9d" "cpuid" "mov rbx, r8" "nop", in("r9") u64::from(segments::DATA),
        in("r8") rbx(), inout("eax") 0 => _, inout("ecx") 0 => _, out("edx") _);
    // MOV SS is three bytes long here, with its prefix; the trap after it never comes.
    came(steps, &[5, 8, 9])
}

/// RBX, which CPUID takes and LLVM wants back.
#[inline(always)]
fn rbx() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("mov {}, rbx", out(reg) value, options(nomem, nostack)) };
    value
}

fn a_fault_comes_in_place_of_the_trap() -> Verdict {
    cpu::clear_dr6();
    // SAFETY: RDMSR faults; the handler clears the flag.
    let by = unsafe {
        attempt!("pushfq" "or qword ptr [rsp], 0x100" "popfq" "rdmsr", in("ecx") 0x1234, out("eax") _, out("edx") _)
    };
    same!(raised(by), GP0);
    claim!(
        by.is_err_and(|trap| trap.rflags & 0x100 != 0),
        "flags in the frame: {by:x?}"
    );
    same!(cpu::dr6(), 0xffff_0ff0, "no single step was reported");
    Ok(())
}

fn data_breakpoints_trap_beside_exits() -> Verdict {
    let here = BUFFER.address() + 64;
    // SAFETY: breakpoint 0 on writes of four bytes to the buffer; the handler counts.
    unsafe { core::arch::asm!("mov dr0, {}", "mov dr7, {}", in(reg) here, in(reg) 0xd0401u64) };
    steps::begin();
    // SAFETY: of this guest's own buffer; INS is carried out by the hypervisor, CPUID too.
    unsafe {
        core::arch::asm!("mov dword ptr [{}], 1", in(reg) here);
    }
    let _ = cpu::cpuid(0, 0);
    let count = steps::end();
    // SAFETY: all breakpoints off.
    unsafe { core::arch::asm!("mov dr7, {}", in(reg) 0x400u64) };
    same!(count, 1);
    claim!(
        steps::seen(0).is_some_and(|step| step.dr6 == 0xffff_0ff1),
        "{:x?}",
        steps::seen(0)
    );
    Ok(())
}
