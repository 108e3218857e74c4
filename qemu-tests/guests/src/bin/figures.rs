//! What exits cost, in ticks, from the guest's side: the least of many, less what reading the TSC costs.
#![no_std]
#![no_main]
// UNSAFETY: instructions between two reads of the TSC.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::verdict::{Verdict, figure};
use guests::{cpu, guest, interrupt, ioapic, lapic, port, uart};
use spec::apic::{Lvt, register};

guest!(exits_are_measured);

const TIMES: u32 = 200;

/// The least time that `body` takes.
#[inline(always)]
fn least(mut body: impl FnMut()) -> u64 {
    let mut least = u64::MAX;
    for _ in 0..TIMES {
        let start = cpu::tsc();
        body();
        least = least.min(cpu::tsc() - start);
    }
    least
}

fn exits_are_measured() -> Verdict {
    lapic::enable()?;
    let nothing = least(|| {});
    let show = |name, ticks: u64| figure(name, ticks.saturating_sub(nothing));
    show(
        "cpuid",
        least(|| {
            // SAFETY: reads registers; RBX is put back.
            unsafe {
                asm!("mov {b}, rbx", "cpuid", "mov rbx, {b}", b = out(reg) _, inout("eax") 1 => _, inout("ecx") 0 => _, out("edx") _, options(nostack))
            };
        }),
    );
    show(
        "rdmsr",
        least(|| {
            // SAFETY: reads a register.
            unsafe {
                asm!("rdmsr", in("ecx") spec::msr::APIC_BASE.0, out("eax") _, out("edx") _, options(nostack))
            };
        }),
    );
    lapic::set_timer(Lvt::TSC_DEADLINE, 0x71)?;
    show(
        "wrmsr_tsc_deadline",
        least(|| {
            // SAFETY: a deadline that is far away.
            unsafe {
                asm!("wrmsr", in("ecx") spec::msr::TSC_DEADLINE.0, in("eax") 0, in("edx") 0x1000_0000, options(nostack))
            };
        }),
    );
    // SAFETY: disarmed.
    unsafe {
        asm!("wrmsr", in("ecx") spec::msr::TSC_DEADLINE.0, in("eax") 0, in("edx") 0, options(nostack))
    };
    show(
        "port_absent",
        least(|| {
            let _ = port::in8(0x80);
        }),
    );
    show(
        "port_uart",
        least(|| {
            let _ = uart::read(spec::uart::offset::LSR);
        }),
    );
    show(
        "ioapic_read",
        least(|| {
            let _ = guests::mmio::read32(ioapic::BASE);
        }),
    );
    show(
        "xapic_read",
        least(|| {
            let _ = guests::mmio::read32(lapic::address_of(register::VERSION));
        }),
    );
    lapic::enter_x2apic()?;
    show(
        "x2apic_self_ipi_write",
        least(|| {
            // SAFETY: interrupts are off.
            unsafe {
                asm!("wrmsr", in("ecx") lapic::msr_of(register::SELF_IPI).0, in("eax") 0x72, in("edx") 0, options(nostack))
            };
        }),
    );
    let _ = interrupt::spin(0x72, 1, 10_000);
    show(
        "x2apic_icr_write",
        least(|| {
            // SAFETY: interrupts are off.
            unsafe {
                asm!("wrmsr", in("ecx") lapic::msr_of(register::ICR).0, in("eax") 0x4_4072, in("edx") 0, options(nostack))
            };
        }),
    );
    let _ = interrupt::spin(0x72, 1, 10_000);
    show(
        "x2apic_eoi",
        least(|| {
            // SAFETY: nothing is in service.
            unsafe {
                asm!("wrmsr", in("ecx") lapic::msr_of(register::EOI).0, in("eax") 0, in("edx") 0, options(nostack))
            };
        }),
    );
    let mut with_handler = u64::MAX;
    let mut hlt = u64::MAX;
    for _ in 0..TIMES {
        interrupt::forget();
        let start = cpu::tsc();
        // SAFETY: the handler counts.
        unsafe {
            asm!("sti", "wrmsr", "nop", "cli", in("ecx") lapic::msr_of(register::SELF_IPI).0, in("eax") 0x72, in("edx") 0)
        };
        with_handler = with_handler.min(cpu::tsc() - start);
        // SAFETY: interrupts are off; the handler comes at HLT.
        unsafe {
            asm!("wrmsr", in("ecx") lapic::msr_of(register::SELF_IPI).0, in("eax") 0x72, in("edx") 0)
        };
        let start = cpu::tsc();
        cpu::sti_hlt();
        hlt = hlt.min(cpu::tsc() - start);
    }
    show("x2apic_self_ipi_with_handler", with_handler);
    show("hlt_interrupt_pending", hlt);
    Ok(())
}
