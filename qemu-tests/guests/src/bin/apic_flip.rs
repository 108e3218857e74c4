//! A processor that switches its local APIC off and on in the middle of everything, by IA32_APIC_BASE: from x2APIC mode off, on in
//! xAPIC mode, and back to x2APIC mode; with interrupts pending and in service, the timer armed, and another processor's messages.
//!
//! What it is after: whoever lends it registers of an APIC, by a bitmap that lets it through, has to take them back before its next
//! instruction.
#![no_std]
#![no_main]
// UNSAFETY: a write to an MSR and the one behind it, with nothing in between.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use guests::interrupt::{self, count, count_on};
use guests::lapic::{msr_of, pend, read, write, write_here};
use guests::smp::{self, ASSERT, until};
use guests::trap::{GP0, raised};
use guests::verdict::Verdict;
use guests::{attempt, claim, cpu, guest, lapic, mmio, msr, same};
use spec::Msr;
use spec::apic::{Lvt, Svr, register};
use spec::msr::{APIC_BASE, ApicBase};

guest!(
    all_processors_come_up_and_enter_x2apic_mode,
    the_first_write_behind_the_switch_faults,
    no_register_is_an_msr_but_in_x2apic_mode,
    of_x2apic_mode_only_what_is_there_is_an_msr,
    what_is_pending_goes_with_the_apic,
    what_is_in_service_goes_with_the_apic,
    the_timer_goes_with_the_apic,
    what_is_pending_and_in_service_enters_x2apic_mode,
    a_switch_that_faults_changes_nothing,
    it_switches_under_a_storm,
    the_other_switches_under_a_storm,
    all_is_as_before,
);

const LOW: u8 = 0x31;
const HIGH: u8 = 0x91;
const TIMER: u8 = 0x61;
const STORM: u8 = 0x51;
const SOON: u64 = 100_000;
/// From one message of the storm to the next.
const PACE: u64 = 5_000;

/// IA32_APIC_BASE of the first processor in its three modes, the next one of each switch first.
const OFF: u64 = lapic::BASE | ApicBase::BSP.bits();
const XAPIC: u64 = OFF | ApicBase::EN.bits();
const X2APIC: u64 = XAPIC | ApicBase::EXTD.bits();
const CYCLE: [u64; 3] = [OFF, XAPIC, X2APIC];

fn all_processors_come_up_and_enter_x2apic_mode() -> Verdict {
    lapic::enable()?;
    smp::start()?;
    smp::enter_x2apic()
}

/// Enabled, in x2APIC mode, with nothing under way.
fn begin() -> Verdict {
    lapic::enable()?;
    lapic::set_timer(Lvt::TSC_DEADLINE, TIMER)?;
    interrupt::forget();
    Ok(())
}

/// The eight words of a set, as bits of a vector each: how many there are.
fn members(set: u8, read: fn(u8) -> u32) -> u32 {
    (0..8).map(|word| read(set + word).count_ones()).sum()
}

fn read_page(register: u8) -> u32 {
    mmio::read32(lapic::address_of(register))
}

/// Off, and on in xAPIC mode, where all is as after power-up; and on in x2APIC mode, where it still is, but for its id.
fn off_and_on() -> Verdict {
    lapic::leave_x2apic()?;
    as_after_reset(read_page)?;
    same!(read_page(register::LDR), 0);
    same!(read_page(register::DFR), u32::MAX);
    lapic::enter_x2apic()?;
    as_after_reset(read)?;
    same!(read(register::LDR), 1);
    same!(msr::read(msr_of(register::ICR))?, 0);
    Ok(())
}

fn as_after_reset(read: fn(u8) -> u32) -> Verdict {
    same!(read(register::ID), 0);
    for (name, set) in [
        ("ISR", register::ISR),
        ("TMR", register::TMR),
        ("IRR", register::IRR),
    ] {
        same!(members(set, read), 0, "{name}");
    }
    same!((read(register::TPR), read(register::PPR)), (0, 0));
    same!(read(register::SVR), 0xff);
    same!(read(register::ESR), 0);
    for entry in register::LVT_THERMAL..=register::LVT_ERROR {
        same!(read(entry), Lvt::MASKED.bits(), "LVT {entry:#x}");
    }
    same!(
        read(register::LVT_TIMER) & !Lvt::TSC_DEADLINE.bits(),
        Lvt::MASKED.bits()
    );
    same!(read(register::TIMER_INITIAL), 0);
    same!(read(register::TIMER_CURRENT), 0);
    same!(cpu::cr8(), 0);
    same!(msr::read(spec::msr::TSC_DEADLINE)?, 0);
    Ok(())
}

/// What a write to this register comes to, when the instruction before it has left x2APIC mode.
fn write_behind_the_switch(register: u8, value: u32) -> guests::trap::Raised {
    let (switch, low, high) = (APIC_BASE.0, OFF as u32, (OFF >> 32) as u32);
    // SAFETY: switches the APIC off, and writes one of its registers, or faults.
    raised(unsafe {
        attempt!("wrmsr" "mov ecx, {target:e}" "mov eax, {value:e}" "xor edx, edx" "wrmsr",
            target = in(reg) msr_of(register).0, value = in(reg) value,
            inout("ecx") switch => _, inout("eax") low => _, inout("edx") high => _)
    })
}

fn the_first_write_behind_the_switch_faults() -> Verdict {
    begin()?;
    for (register, value) in [
        (register::TPR, 0x20),
        (register::EOI, 0),
        (register::SELF_IPI, LOW.into()),
        (register::TIMER_INITIAL, 1000),
        (register::ICR, ASSERT | 1 << 18 | u32::from(LOW)),
    ] {
        pend(&[LOW]);
        same!(
            write_behind_the_switch(register, value),
            GP0,
            "{register:#x}"
        );
        same!(msr::read(APIC_BASE)?, OFF);
        msr::write(APIC_BASE, XAPIC)?;
        as_after_reset(read_page)?;
        for register in [register::TPR, register::EOI, register::SELF_IPI] {
            same!(
                raised(msr::write(msr_of(register), 0)),
                GP0,
                "{register:#x} in xAPIC mode"
            );
        }
        lapic::enter_x2apic()?;
        as_after_reset(read)?;
        begin()?;
    }
    claim!(!interrupt::spin(LOW, 1, SOON), "one of them came");
    Ok(())
}

/// All MSRs that are set aside for the APIC.
fn apic_msrs() -> impl Iterator<Item = Msr> {
    (0..=u8::MAX).map(msr_of)
}

fn no_register_is_an_msr_but_in_x2apic_mode() -> Verdict {
    begin()?;
    for mode in [OFF, XAPIC] {
        msr::write(APIC_BASE, mode)?;
        for msr in apic_msrs() {
            same!(
                raised(msr::read(msr)),
                GP0,
                "read of {msr:x?}, base {mode:#x}"
            );
            for value in [0, 0x41, 0x100ff] {
                same!(
                    raised(msr::write(msr, value)),
                    GP0,
                    "write of {value:#x} to {msr:x?}, base {mode:#x}"
                );
            }
        }
    }
    as_after_reset(read_page)?;
    lapic::enter_x2apic()?;
    as_after_reset(read)
}

/// Whether an x2APIC has the register to read, and to write.
fn rights(register: u8) -> (bool, bool) {
    match register {
        register::ID | register::VERSION | register::PPR | register::LDR => (true, false),
        register::ISR..register::ESR | register::TIMER_CURRENT => (true, false),
        register::EOI | register::SELF_IPI => (false, true),
        register::TPR | register::SVR | register::ESR | register::ICR => (true, true),
        register::LVT_TIMER..=register::TIMER_INITIAL | register::TIMER_DIVIDE => (true, true),
        _ => (false, false),
    }
}

fn of_x2apic_mode_only_what_is_there_is_an_msr() -> Verdict {
    for (number, msr) in (0..=u8::MAX).zip(apic_msrs()) {
        // All is on, so that a register that lets too much through is seen.
        begin()?;
        let (reads, writes) = rights(number);
        same!(msr::read(msr).is_ok(), reads, "read of {msr:x?}");
        if !writes {
            for value in [0, 1, 0x41] {
                same!(
                    raised(msr::write(msr, value)),
                    GP0,
                    "write of {value:#x} to {msr:x?}"
                );
            }
        }
        // What no register has.
        same!(
            raised(msr::write(msr, 1 << 63 | 1 << 11 | 1 << 20)),
            GP0,
            "write to {msr:x?}"
        );
    }
    same!(interrupt::total(), 0, "interrupts");
    Ok(())
}

fn what_is_pending_goes_with_the_apic() -> Verdict {
    for priority in [0, 3, 0xf] {
        begin()?;
        pend(&[LOW, HIGH, 16, 31, 255]);
        cpu::set_cr8(priority);
        same!(members(register::IRR, read), 5, "pending before");
        off_and_on()?;
        lapic::enable()?;
        claim!(!interrupt::spin(LOW, 1, SOON), "it came");
        same!(interrupt::total(), 0, "interrupts");
    }
    Ok(())
}

/// Whether what the handler found was as it should be.
static WELL: AtomicBool = AtomicBool::new(false);

/// Off and on in a handler, where no fault is expected.
fn switch_here() {
    for base in CYCLE {
        msr::write_plain(APIC_BASE, base);
    }
}

fn what_is_in_service_goes_with_the_apic() -> Verdict {
    for round in 0..2 {
        begin()?;
        WELL.store(false, Ordering::Relaxed);
        interrupt::also(|vector| {
            if vector != HIGH {
                return;
            }
            pend(&[LOW]);
            let before = members(register::ISR, lapic::read_here);
            switch_here();
            let after =
                members(register::ISR, lapic::read_here) + members(register::IRR, lapic::read_here);
            write_here(
                register::SVR,
                Svr::ENABLE.bits() | u32::from(lapic::SPURIOUS),
            );
            WELL.store((before, after) == (1, 0), Ordering::Relaxed);
        });
        pend(&[HIGH]);
        claim!(interrupt::spin(HIGH, 1, SOON), "it did not come");
        claim!(
            WELL.load(Ordering::Relaxed),
            "round {round}: what is in service stayed, or what is pending"
        );
        same!(read(register::PPR), 0);
        // Nothing holds back what comes after.
        pend(&[LOW]);
        claim!(
            interrupt::spin(LOW, 1, SOON),
            "what came after did not come"
        );
        same!(interrupt::total(), 2);
    }
    Ok(())
}

fn the_timer_goes_with_the_apic() -> Verdict {
    for mode in [Lvt::TSC_DEADLINE, Lvt::empty(), Lvt::PERIODIC] {
        begin()?;
        lapic::set_timer(mode, TIMER)?;
        if mode == Lvt::TSC_DEADLINE {
            let _ = lapic::arm(50_000)?;
        } else {
            write(register::TIMER_DIVIDE, 0b1011)?;
            write(register::TIMER_INITIAL, 50_000)?;
        }
        off_and_on()?;
        lapic::enable()?;
        lapic::set_timer(mode, TIMER)?;
        claim!(!interrupt::spin(TIMER, 1, 300_000), "{mode:?}: it came");
        lapic::set_timer(Lvt::TSC_DEADLINE, TIMER)?;
        same!(msr::read(spec::msr::TSC_DEADLINE)?, 0);
    }
    Ok(())
}

/// From disabled to x2APIC mode all is kept on the second step.
fn what_is_pending_and_in_service_enters_x2apic_mode() -> Verdict {
    begin()?;
    lapic::leave_x2apic()?;
    lapic::enable()?;
    lapic::set_timer(Lvt::TSC_DEADLINE, TIMER)?;
    let when = lapic::arm(200_000)?;
    WELL.store(false, Ordering::Relaxed);
    interrupt::also(|vector| {
        if vector == HIGH {
            lapic::send(0, ASSERT | 1 << 18 | u32::from(LOW));
            lapic::send(0, ASSERT | 1 << 18 | u32::from(HIGH));
            // By hand: neither an attempt, nor a change of the timer.
            msr::write_plain(APIC_BASE, X2APIC);
            let read = |register| msr::read_plain(msr_of(register)) as u32;
            let has = |set: u8, vector: u8| read(set + (vector >> 5)) & 1 << (vector & 31) != 0;
            let well = has(register::ISR, HIGH)
                && has(register::IRR, HIGH)
                && has(register::IRR, LOW)
                && read(register::PPR) == u32::from(HIGH) & 0xf0;
            WELL.store(well && count(HIGH) == 1, Ordering::Relaxed);
            lapic::entered_x2apic();
            interrupt::also(|_| ());
        }
    });
    lapic::send(0, ASSERT | 1 << 18 | u32::from(HIGH));
    claim!(interrupt::spin(LOW, 1, SOON), "the lower one did not come");
    claim!(
        WELL.load(Ordering::Relaxed),
        "it was not in service, or not pending"
    );
    same!((count(HIGH), count(LOW)), (2, 1));
    claim!(interrupt::spin(TIMER, 1, 400_000), "the timer did not come");
    claim!(cpu::tsc() >= when, "the timer came early");
    same!(interrupt::total(), 4);
    Ok(())
}

fn a_switch_that_faults_changes_nothing() -> Verdict {
    begin()?;
    pend(&[LOW, HIGH]);
    let when = lapic::arm(300_000)?;
    for wrong in [
        XAPIC,
        OFF | ApicBase::EXTD.bits(),
        X2APIC | 1 << 9,
        X2APIC | 1 << 12,
        X2APIC | 1 << 52,
    ] {
        same!(raised(msr::write(APIC_BASE, wrong)), GP0, "base {wrong:#x}");
        same!(msr::read(APIC_BASE)?, X2APIC);
        same!(members(register::IRR, read), 2, "pending");
        same!(msr::read(spec::msr::TSC_DEADLINE)?, when);
        same!(
            read(register::LVT_TIMER),
            Lvt::TSC_DEADLINE.bits() | u32::from(TIMER)
        );
    }
    // Nor does one to where it is.
    msr::write(APIC_BASE, X2APIC)?;
    claim!(
        interrupt::spin(LOW, 1, SOON),
        "what is pending did not come"
    );
    claim!(interrupt::spin(TIMER, 1, 600_000), "the timer did not come");
    same!((interrupt::total(), count(HIGH)), (3, 1));
    Ok(())
}

static GO_ON: AtomicBool = AtomicBool::new(false);
static SENT: AtomicU64 = AtomicU64::new(0);

/// Sends to another until it is told to end, and leaves it the time to do something else than to take it.
fn storms(to: u64) -> u64 {
    while GO_ON.load(Ordering::Acquire) {
        lapic::send(to as u32, ASSERT | u32::from(STORM));
        SENT.fetch_add(1, Ordering::Relaxed);
        cpu::spin_until(cpu::tsc() + PACE);
    }
    0
}

fn it_switches_under_a_storm() -> Verdict {
    begin()?;
    GO_ON.store(true, Ordering::Release);
    smp::begin(1, storms, 0);
    let mut came = 0;
    let found = (|| {
        for turn in 0..60u64 {
            lapic::enable()?;
            lapic::set_timer(Lvt::TSC_DEADLINE, TIMER)?;
            let _ = lapic::arm(turn * 97)?;
            pend(&[LOW, HIGH]);
            let before = count(STORM);
            // Now with something in service, now with all pending.
            if turn % 2 == 0 {
                let _ = interrupt::spin(STORM, before + 1, SOON);
            }
            msr::write(APIC_BASE, OFF)?;
            let then = (count(STORM), interrupt::total());
            for (register, value) in [
                (register::EOI, 0),
                (register::TPR, 0),
                (register::SELF_IPI, 0x41),
            ] {
                same!(
                    raised(msr::write(msr_of(register), value)),
                    GP0,
                    "{register:#x} while off"
                );
            }
            cpu::sti();
            cpu::spin_until(cpu::tsc() + 2000);
            cpu::cli();
            same!(
                (count(STORM), interrupt::total()),
                then,
                "interrupts while off, turn {turn}"
            );
            msr::write(APIC_BASE, XAPIC)?;
            as_after_reset(read_page)?;
            msr::write(APIC_BASE, X2APIC)?;
            as_after_reset(read)?;
            came += count(STORM);
        }
        Ok(())
    })();
    GO_ON.store(false, Ordering::Release);
    lapic::enable()?;
    smp::end(1)?;
    found?;
    claim!(came > 0, "nothing came in between");
    claim!(SENT.load(Ordering::Relaxed) > 60, "it was no storm");
    Ok(())
}

/// Switches so often, and says how often nothing came in between.
fn switches(times: u64) -> u64 {
    let mut lacking = 0;
    for _ in 0..times {
        for base in [lapic::BASE, lapic::BASE | ApicBase::EN.bits()] {
            msr::write_plain(APIC_BASE, base);
        }
        lapic::join();
        let before = count_on(1, STORM);
        cpu::sti();
        lacking += u64::from(!until(|| count_on(1, STORM) > before));
        cpu::cli();
    }
    lacking
}

fn the_other_switches_under_a_storm() -> Verdict {
    begin()?;
    smp::begin(1, switches, 40);
    let mut ended = None;
    // It waits for messages, and the first for its end.
    let end = cpu::tsc() + smp::PATIENCE;
    while ended.is_none() && cpu::tsc() < end {
        lapic::send(1, ASSERT | u32::from(STORM));
        cpu::spin_until(cpu::tsc() + PACE);
        if smp::has_ended(1) {
            ended = Some(smp::end(1)?);
        }
    }
    same!(ended, Some(0), "switches after which nothing came");
    smp::settle()
}

fn all_is_as_before() -> Verdict {
    begin()?;
    same!(msr::read(APIC_BASE)?, X2APIC);
    pend(&[HIGH]);
    claim!(interrupt::spin(HIGH, 1, SOON), "a message to itself");
    let when = lapic::arm(20_000)?;
    cpu::sti_hlt();
    claim!(count(TIMER) == 1 && cpu::tsc() >= when, "the timer");
    smp::on(
        1,
        |_| {
            lapic::send(0, ASSERT | u32::from(STORM));
            0
        },
        0,
    )?;
    claim!(interrupt::spin(STORM, 1, SOON), "a message from another");
    lapic::send(1, ASSERT | u32::from(STORM));
    claim!(until(|| count_on(1, STORM) == 1), "a message to another");
    Ok(())
}
