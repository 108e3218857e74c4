//! Where a pending interrupt comes in: behind the shadow of STI and MOV SS, also over instructions that exit.
#![no_std]
#![no_main]
// UNSAFETY: instructions with interrupts on, whose handlers count.
#![allow(unsafe_code)]

use guests::interrupt::{self, arrival};
use guests::verdict::Verdict;
use guests::{claim, cpu, guest, lapic, same, segments};
use spec::apic::register;

guest!(
    sti_covers_one_instruction,
    sti_covers_cpuid,
    sti_covers_an_msr_access,
    sti_covers_a_port_access,
    sti_covers_memory_that_is_emulated,
    sti_covers_hlt,
    sti_and_cli_let_nothing_in,
    sti_with_interrupts_on_covers_nothing,
    popf_covers_nothing,
    mov_ss_covers_cpuid,
    iret_covers_nothing,
    an_interrupt_does_not_come_while_off,
);

const VECTOR: u8 = 0x51;

/// Makes an interrupt pending, with interrupts off.
fn pend() -> Verdict {
    lapic::enable()?;
    interrupt::forget();
    lapic::write(register::ICR, 1 << 18 | 1 << 14 | u32::from(VECTOR))?;
    let _ = cpu::cpuid(0, 0);
    same!(interrupt::total(), 0, "interrupts before");
    claim!(
        lapic::has(register::IRR, VECTOR),
        "the interrupt is not pending"
    );
    Ok(())
}

/// Executes instructions with an interrupt pending; it has to come at label 66.
macro_rules! comes_at_66 {
    ($($instruction:literal)+ $(, $($operand:tt)*)?) => {{
        pend()?;
        let expected: u64;
        // SAFETY: the handler counts; registers that change are named.
        unsafe {
            core::arch::asm!("lea {expected}, [rip + 66f]", $($instruction,)+ "cli", expected = out(reg) expected, $($($operand)*)?);
        }
        came_at(expected)
    }};
}

fn came_at(expected: u64) -> Verdict {
    let Some(arrival) = arrival(0) else {
        claim!(false, "no interrupt came");
        return Ok(());
    };
    same!(arrival.vector, VECTOR);
    same!(
        arrival.rip as i64 - expected as i64,
        0,
        "bytes behind the place"
    );
    same!(interrupt::total(), 1);
    Ok(())
}

fn sti_covers_one_instruction() -> Verdict {
    comes_at_66!("sti" "nop" "66: nop")
}

fn sti_covers_cpuid() -> Verdict {
    comes_at_66!("mov r8, rbx" "sti" "cpuid" "66: nop" "mov rbx, r8",
        inout("eax") 0 => _, inout("ecx") 0 => _, out("edx") _, out("r8") _)
}

fn sti_covers_an_msr_access() -> Verdict {
    comes_at_66!("sti" "rdmsr" "66: nop", in("ecx") spec::msr::TSC_ADJUST.0, out("eax") _, out("edx") _)?;
    comes_at_66!("rdmsr" "sti" "wrmsr" "66: nop", in("ecx") spec::msr::TSC_ADJUST.0, out("eax") _, out("edx") _)
}

fn sti_covers_a_port_access() -> Verdict {
    comes_at_66!("sti" "in al, dx" "66: nop", in("edx") 0x80, out("eax") _)?;
    comes_at_66!("sti" "out dx, al" "66: nop", in("edx") 0x80, in("eax") 0)
}

fn sti_covers_memory_that_is_emulated() -> Verdict {
    comes_at_66!("sti" "mov eax, [rdx]" "66: nop", in("rdx") lapic::address_of(register::VERSION), out("eax") _)
}

fn sti_covers_hlt() -> Verdict {
    comes_at_66!("sti" "hlt" "66: nop")
}

fn sti_and_cli_let_nothing_in() -> Verdict {
    pend()?;
    // SAFETY: interrupts are off again behind it.
    unsafe { core::arch::asm!("sti", "cli", "nop") };
    same!(interrupt::total(), 0);
    claim!(interrupt::spin(VECTOR, 1, 100_000), "it never came");
    Ok(())
}

fn sti_with_interrupts_on_covers_nothing() -> Verdict {
    // The first STI covers the second, which has nothing to cover.
    comes_at_66!("sti" "sti" "66: nop" "nop")
}

fn popf_covers_nothing() -> Verdict {
    comes_at_66!("pushfq" "or qword ptr [rsp], 0x200" "popfq" "66: nop")
}

fn mov_ss_covers_cpuid() -> Verdict {
    comes_at_66!("mov r8, rbx" "sti" "mov ss, r9d" "cpuid" "66: nop" "mov rbx, r8",
        in("r9") u64::from(segments::DATA), inout("eax") 0 => _, inout("ecx") 0 => _, out("edx") _, out("r8") _)
}

fn iret_covers_nothing() -> Verdict {
    comes_at_66!("mov r8, rsp" "push {ss}" "push r8" "push 0x202" "push {cs}" "lea r9, [rip + 66f]" "push r9" "iretq" "66: nop",
        ss = const segments::DATA, cs = const segments::CODE, out("r8") _, out("r9") _)
}

fn an_interrupt_does_not_come_while_off() -> Verdict {
    pend()?;
    for _ in 0..1000 {
        let _ = cpu::cpuid(0, 0);
    }
    same!(interrupt::total(), 0);
    claim!(interrupt::spin(VECTOR, 1, 100_000), "it never came");
    Ok(())
}
