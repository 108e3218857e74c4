//! Interrupts that a processor sends to itself, and their priorities: first in xAPIC mode, or with `x2apic` on the command line in
//! x2APIC mode from the start.
#![no_std]
#![no_main]
// UNSAFETY: IRETQ of an NMI is the handler's.
#![allow(unsafe_code)]

use guests::cpu::{cpuid, cr8, set_cr8};
use guests::interrupt::{self, arrival, count};
use guests::trap::{GP0, raised};
use guests::verdict::Verdict;
use guests::{claim, guest, lapic, msr, same};
use spec::apic::{Esr, Icr, register};

guest!(
    a_self_ipi_by_shorthand_arrives,
    a_message_to_ones_own_id_arrives,
    a_message_to_another_id_does_not,
    a_logical_message_arrives_by_ldr_and_dfr,
    a_broadcast_arrives_and_all_but_self_does_not,
    vectors_below_16_are_errors,
    the_highest_vector_comes_first,
    an_interrupt_waits_for_the_one_in_service,
    a_higher_class_interrupts_the_one_in_service,
    the_task_priority_holds_back_its_class_and_below,
    cr8_and_the_task_priority_are_one,
    an_nmi_comes_with_interrupts_off,
    an_nmi_waits_for_the_handler_of_the_first,
    a_disabled_apic_takes_nothing,
    the_x2apic_is_entered,
    the_self_ipi_register_sends,
    x2apic_messages_arrive_by_physical_and_logical_id,
    x2apic_registers_refuse_reserved_bits,
    what_x2apic_mode_has_not_faults,
);

const ASSERT: u32 = Icr::ASSERT.bits();
const SELF: u32 = 1 << 18 | ASSERT;
const SOON: u64 = 50_000;

fn begin() -> Verdict {
    lapic::enable()?;
    interrupt::forget();
    Ok(())
}

fn pend(vectors: &[u8]) -> Verdict {
    begin()?;
    for &vector in vectors {
        lapic::write(register::ICR, SELF | u32::from(vector))?;
    }
    Ok(())
}

fn a_self_ipi_by_shorthand_arrives() -> Verdict {
    pend(&[0x41])?;
    claim!(lapic::has(register::IRR, 0x41), "it is not pending");
    claim!(interrupt::spin(0x41, 1, SOON), "it did not come");
    claim!(
        !lapic::has(register::IRR, 0x41) && !lapic::has(register::ISR, 0x41),
        "it is still there"
    );
    same!(
        lapic::read(register::ICR) & !Icr::STATUS.bits(),
        SELF | 0x41
    );
    Ok(())
}

fn a_message_to_ones_own_id_arrives() -> Verdict {
    begin()?;
    lapic::send(0, ASSERT | 0x42);
    claim!(interrupt::spin(0x42, 1, SOON), "fixed");
    lapic::send(0, ASSERT | 1 << 8 | 0x43);
    claim!(interrupt::spin(0x43, 1, SOON), "lowest priority");
    Ok(())
}

fn a_message_to_another_id_does_not() -> Verdict {
    begin()?;
    lapic::send(7, ASSERT | 0x42);
    claim!(!interrupt::spin(0x42, 1, SOON), "it came");
    Ok(())
}

fn a_logical_message_arrives_by_ldr_and_dfr() -> Verdict {
    begin()?;
    if lapic::is_x2apic() {
        // Its logical id is no one's to write.
        same!(raised(lapic::write(register::LDR, 0x20 << 24)), GP0);
        return Ok(());
    }
    let logical = ASSERT | Icr::LOGICAL.bits();
    lapic::write(register::LDR, 0x20 << 24)?;
    lapic::send(0x30, logical | 0x44);
    claim!(interrupt::spin(0x44, 1, SOON), "flat");
    lapic::send(0x41, logical | 0x45);
    claim!(!interrupt::spin(0x45, 1, SOON), "flat, to others");
    // Cluster 2, member 0.
    lapic::write(register::DFR, 0x0fff_ffff)?;
    lapic::write(register::LDR, 0x21 << 24)?;
    lapic::send(0x23, logical | 0x46);
    claim!(interrupt::spin(0x46, 1, SOON), "cluster");
    lapic::send(0x13, logical | 0x47);
    claim!(!interrupt::spin(0x47, 1, SOON), "another cluster");
    lapic::write(register::DFR, u32::MAX)?;
    Ok(())
}

fn a_broadcast_arrives_and_all_but_self_does_not() -> Verdict {
    begin()?;
    lapic::write(register::ICR, 2 << 18 | ASSERT | 0x48)?;
    claim!(interrupt::spin(0x48, 1, SOON), "all");
    lapic::write(register::ICR, 3 << 18 | ASSERT | 0x49)?;
    claim!(!interrupt::spin(0x49, 1, SOON), "all but self");
    let everyone = if lapic::is_x2apic() { u32::MAX } else { 0xff };
    lapic::send(everyone, ASSERT | 0x4a);
    claim!(interrupt::spin(0x4a, 1, SOON), "id {everyone:#x}");
    Ok(())
}

fn vectors_below_16_are_errors() -> Verdict {
    begin()?;
    lapic::write(register::ESR, 0)?;
    lapic::write(register::LVT_ERROR, 0x4f)?;
    lapic::write(register::ICR, SELF | 0x0f)?;
    claim!(
        interrupt::spin(0x4f, 1, SOON),
        "the error raised no interrupt"
    );
    lapic::write(register::ESR, 0)?;
    claim!(
        lapic::read(register::ESR) & Esr::SEND_ILLEGAL_VECTOR.bits() != 0,
        "ESR {:#x}",
        lapic::read(register::ESR)
    );
    lapic::write(register::LVT_ERROR, 1 << 16)?;
    Ok(())
}

fn came(expected: &[u8]) -> Verdict {
    same!(interrupt::total(), expected.len(), "interrupts");
    for (at, vector) in expected.iter().enumerate() {
        same!(
            arrival(at).map(|came| came.vector),
            Some(*vector),
            "number {at}"
        );
    }
    Ok(())
}

fn the_highest_vector_comes_first() -> Verdict {
    pend(&[0x35, 0xe1, 0x71, 0x36, 0xe0])?;
    let _ = interrupt::spin(0x35, 1, SOON);
    came(&[0xe1, 0xe0, 0x71, 0x36, 0x35])
}

fn an_interrupt_waits_for_the_one_in_service() -> Verdict {
    begin()?;
    interrupt::also(|vector| {
        if vector == 0x81 {
            let _ = lapic::write(register::ICR, SELF | 0x82);
            let _ = lapic::write(register::ICR, SELF | 0x31);
            guests::cpu::sti();
            let _ = cpuid(0, 0);
            guests::cpu::cli();
            if count(0x82) == 0 && count(0x31) == 0 {
                let _ = lapic::write(register::ICR, SELF | 0x20 | 0xd);
            }
        }
    });
    lapic::write(register::ICR, SELF | 0x81)?;
    claim!(
        interrupt::spin(0x2d, 1, SOON),
        "one of the same class came in between"
    );
    came(&[0x81, 0x82, 0x31, 0x2d])
}

fn a_higher_class_interrupts_the_one_in_service() -> Verdict {
    begin()?;
    interrupt::also(|vector| {
        if vector == 0x81 {
            let _ = lapic::write(register::ICR, SELF | 0x91);
            guests::cpu::sti();
            let _ = cpuid(0, 0);
            guests::cpu::cli();
            if count(0x91) == 1 {
                let _ = lapic::write(register::ICR, SELF | 0x2e);
            }
        }
    });
    lapic::write(register::ICR, SELF | 0x81)?;
    claim!(interrupt::spin(0x2e, 1, SOON), "it did not come in between");
    came(&[0x81, 0x91, 0x2e])
}

fn the_task_priority_holds_back_its_class_and_below() -> Verdict {
    pend(&[0x31, 0x55, 0x61])?;
    lapic::write(register::TPR, 0x50)?;
    same!(lapic::read(register::PPR), 0x50);
    claim!(!interrupt::spin(0x31, 1, SOON), "a lower one came");
    came(&[0x61])?;
    lapic::write(register::TPR, 0x4f)?;
    let _ = interrupt::spin(0x55, 1, SOON);
    came(&[0x61, 0x55])?;
    lapic::write(register::TPR, 0)?;
    let _ = interrupt::spin(0x31, 1, SOON);
    came(&[0x61, 0x55, 0x31])
}

fn cr8_and_the_task_priority_are_one() -> Verdict {
    pend(&[0x61, 0x31])?;
    set_cr8(5);
    same!(lapic::read(register::TPR), 0x50);
    lapic::write(register::TPR, 0x6f)?;
    same!(cr8(), 6);
    claim!(!interrupt::spin(0x61, 1, SOON), "it came");
    set_cr8(5);
    let _ = interrupt::spin(0x61, 1, SOON);
    came(&[0x61])?;
    set_cr8(0);
    let _ = interrupt::spin(0x31, 1, SOON);
    came(&[0x61, 0x31])
}

const NMI: u32 = ASSERT | 4 << 8;

fn an_nmi_comes_with_interrupts_off() -> Verdict {
    begin()?;
    lapic::send(0, NMI);
    let _ = cpuid(0, 0);
    same!(count(2), 1);
    Ok(())
}

fn an_nmi_waits_for_the_handler_of_the_first() -> Verdict {
    begin()?;
    interrupt::also(|_| {
        if count(2) == 1 {
            lapic::send(0, NMI);
            for _ in 0..10 {
                let _ = cpuid(0, 0);
            }
            // The second would have been counted by now.
            if count(2) == 1 {
                let _ = lapic::write(register::ICR, SELF | 0x41);
            }
        }
    });
    lapic::send(0, NMI);
    let _ = cpuid(0, 0);
    same!(count(2), 2, "NMIs");
    claim!(
        interrupt::spin(0x41, 1, SOON),
        "the second NMI came inside the first"
    );
    Ok(())
}

fn a_disabled_apic_takes_nothing() -> Verdict {
    begin()?;
    lapic::write(register::SVR, 0xff)?;
    lapic::write(register::ICR, SELF | 0x51)?;
    claim!(!interrupt::spin(0x51, 1, SOON), "it came");
    same!(
        lapic::read(register::LVT_TIMER) & 1 << 16,
        1 << 16,
        "the timer's entry is masked"
    );
    lapic::enable()?;
    Ok(())
}

fn the_x2apic_is_entered() -> Verdict {
    lapic::enter_x2apic()?;
    same!(lapic::read(register::ID), 0);
    same!(lapic::read(register::LDR), 1, "cluster 0, member 0");
    same!(lapic::read(register::VERSION) & 0xff, 0x14);
    Ok(())
}

fn the_self_ipi_register_sends() -> Verdict {
    begin()?;
    lapic::write(register::SELF_IPI, 0x57)?;
    claim!(interrupt::spin(0x57, 1, SOON), "it did not come");
    Ok(())
}

fn x2apic_messages_arrive_by_physical_and_logical_id() -> Verdict {
    begin()?;
    let icr = lapic::msr_of(register::ICR);
    let logical = u64::from(Icr::LOGICAL.bits());
    let sent = [
        (0x41, 0),
        (0x42, 1 << 32 | logical),
        (0x43, 0xffff_ffff << 32),
        (0x44, 0xffff_ffff << 32 | logical),
    ];
    for (vector, how) in sent {
        msr::write(icr, how | u64::from(ASSERT) | vector)?;
        claim!(
            interrupt::spin(vector as u8, 1, SOON),
            "{how:#x} did not arrive"
        );
    }
    let lost = [
        (0x45, 5 << 32),
        (0x46, 2 << 32 | logical),
        (0x47, 0x1_0001 << 32 | logical),
    ];
    for (vector, how) in lost {
        msr::write(icr, how | u64::from(ASSERT) | vector)?;
        claim!(!interrupt::spin(vector as u8, 1, SOON), "{how:#x} arrived");
    }
    Ok(())
}

fn x2apic_registers_refuse_reserved_bits() -> Verdict {
    let wrong = [
        (register::TPR, 0x100),
        (register::EOI, 1),
        (register::SVR, 1 << 13),
        (register::ESR, 1),
        (register::SELF_IPI, 0x100),
        (register::LVT_TIMER, 1 << 8),
        (register::LVT_TIMER, 3 << 17),
        (register::LVT_ERROR, 1 << 17),
        (register::TIMER_DIVIDE, 4),
        (register::TIMER_INITIAL, 1 << 32),
        (register::ICR, 1 << 13),
        (register::ICR, 1 << 20),
    ];
    for (register, value) in wrong {
        same!(
            raised(msr::write(lapic::msr_of(register), value)),
            GP0,
            "register {register:#x} = {value:#x}"
        );
    }
    Ok(())
}

fn what_x2apic_mode_has_not_faults() -> Verdict {
    for register in [
        register::APR,
        register::DFR,
        register::ICR_HIGH,
        register::RRD,
        0,
        1,
        4,
        0x40,
        0xff,
    ] {
        same!(
            raised(msr::read(lapic::msr_of(register))),
            GP0,
            "read of {register:#x}"
        );
        same!(
            raised(msr::write(lapic::msr_of(register), 0)),
            GP0,
            "write of {register:#x}"
        );
    }
    for register in [
        register::ID,
        register::VERSION,
        register::PPR,
        register::LDR,
        register::ISR,
        register::IRR + 7,
        register::TIMER_CURRENT,
    ] {
        same!(
            raised(msr::write(lapic::msr_of(register), 0)),
            GP0,
            "write of read-only {register:#x}"
        );
    }
    for register in [register::EOI, register::SELF_IPI] {
        same!(
            raised(msr::read(lapic::msr_of(register))),
            GP0,
            "read of write-only {register:#x}"
        );
    }
    // The page is no longer there.
    same!(
        guests::mmio::read32(lapic::address_of(register::VERSION)),
        u32::MAX
    );
    Ok(())
}
