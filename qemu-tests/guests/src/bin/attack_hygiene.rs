//! Attacker: what is cleared between VMs is the hypervisor's to clear. The registers by which a guest could see to it, or keep it from
//! being done, are there as CPUID shows them, keep their values where they have any, and refuse all else; and cores are changed as often
//! as it can: with other VMs, and with two processors between its own.
#![no_std]
#![no_main]
// UNSAFETY: VERW, which tells whether a segment may be written.
#![allow(unsafe_code)]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use guests::trap::{GP0, raised};
use guests::verdict::{Verdict, figure};
use guests::{claim, cpu, guest, interrupt, lapic, msr, same, segments, smp};
use spec::apic::Lvt;
use spec::cpu::Rflags;
use spec::cpuid::{EDX, Leaf7Edx, leaf};
use spec::msr::{ARCH_CAPABILITIES, FLUSH_CMD, PRED_CMD, SPEC_CTRL};

guest!(
    the_predictor_barrier_is_written_only_as_shown,
    the_cache_flush_is_not_a_guests,
    what_the_processor_is_open_to_is_not_told,
    speculation_control_has_the_bits_that_are_shown,
    overwriting_buffers_says_what_the_segment_is,
    the_core_is_given_up_and_had_again_often,
    its_own_processors_take_turns,
);

const TIMER: u8 = 0x61;
/// How often the core is given up.
const TIMES: u64 = 300;

fn shows(bits: Leaf7Edx) -> bool {
    cpu::cpuid(leaf::EXTENDED_FEATURES, 0)[EDX] & bits.bits() != 0
}

fn the_predictor_barrier_is_written_only_as_shown() -> Verdict {
    same!(raised(msr::read(PRED_CMD)), GP0, "write-only");
    let wanted = if shows(Leaf7Edx::IBRS) { None } else { GP0 };
    same!(raised(msr::write(PRED_CMD, 1)), wanted);
    for bit in [1, 2, 7, 8, 31, 32, 63] {
        same!(raised(msr::write(PRED_CMD, 1 << bit)), GP0, "bit {bit}");
    }
    Ok(())
}

fn the_cache_flush_is_not_a_guests() -> Verdict {
    claim!(!shows(Leaf7Edx::L1D_FLUSH), "CPUID shows it");
    same!(raised(msr::read(FLUSH_CMD)), GP0);
    for value in [0, 1, u64::MAX] {
        same!(raised(msr::write(FLUSH_CMD, value)), GP0, "{value:#x}");
    }
    Ok(())
}

fn what_the_processor_is_open_to_is_not_told() -> Verdict {
    same!(raised(msr::read(ARCH_CAPABILITIES)), GP0);
    same!(raised(msr::write(ARCH_CAPABILITIES, 0)), GP0);
    Ok(())
}

/// IBRS, STIBP and SSBD, in the order of their bits.
const CONTROLS: [Leaf7Edx; 3] = [Leaf7Edx::IBRS, Leaf7Edx::STIBP, Leaf7Edx::SSBD];

fn speculation_control_has_the_bits_that_are_shown() -> Verdict {
    if !CONTROLS.into_iter().any(shows) {
        same!(raised(msr::read(SPEC_CTRL)), GP0);
        same!(raised(msr::write(SPEC_CTRL, 0)), GP0);
        return Ok(());
    }
    for (bit, control) in (0..).zip(CONTROLS) {
        let wanted = if shows(control) { None } else { GP0 };
        same!(raised(msr::write(SPEC_CTRL, 1 << bit)), wanted, "bit {bit}");
        msr::write(SPEC_CTRL, 0)?;
    }
    for bit in [11, 31, 32, 63] {
        same!(raised(msr::write(SPEC_CTRL, 1 << bit)), GP0, "bit {bit}");
    }
    same!(msr::read(SPEC_CTRL)?, 0);
    Ok(())
}

/// ZF after VERW of a selector.
fn verw(selector: u16) -> bool {
    let flags: u64;
    // SAFETY: reads a selector and a descriptor.
    unsafe { asm!("verw [{}]", "pushfq", "pop {}", in(reg) &raw const selector, out(reg) flags) };
    flags & Rflags::ZF.bits() != 0
}

fn overwriting_buffers_says_what_the_segment_is() -> Verdict {
    same!(verw(segments::DATA), true);
    same!(verw(segments::CODE), false);
    same!(verw(0), false);
    Ok(())
}

fn the_core_is_given_up_and_had_again_often() -> Verdict {
    lapic::enable()?;
    lapic::enter_x2apic()?;
    lapic::set_timer(Lvt::TSC_DEADLINE, TIMER)?;
    interrupt::forget();
    let control = CONTROLS.into_iter().any(shows).then_some(SPEC_CTRL);
    for time in 1..=TIMES {
        let kept = time & 1;
        if let Some(control) = control {
            msr::write(control, kept)?;
        }
        lapic::arm(2_000)?;
        cpu::sti_hlt();
        same!(interrupt::count(TIMER), time);
        if let Some(control) = control {
            same!(msr::read(control)?, kept);
        }
    }
    if let Some(control) = control {
        msr::write(control, 0)?;
    }
    Ok(())
}

static TURNS: AtomicU64 = AtomicU64::new(0);

fn its_own_processors_take_turns() -> Verdict {
    if smp::count() < 2 {
        return Ok(());
    }
    smp::start()?;
    TURNS.store(0, Ordering::Release);
    // Each halts until the other has sent for it, so that on one core each turn is a change.
    smp::begin(
        1,
        |times| {
            for time in 0..times {
                while TURNS.load(Ordering::Acquire) <= 2 * time {
                    cpu::sti_hlt();
                }
                TURNS.fetch_add(1, Ordering::AcqRel);
                lapic::send(0, smp::ASSERT | u32::from(smp::WORK));
            }
            0
        },
        TIMES,
    );
    for time in 0..TIMES {
        TURNS.fetch_add(1, Ordering::AcqRel);
        lapic::send(1, smp::ASSERT | u32::from(smp::WORK));
        while TURNS.load(Ordering::Acquire) <= 2 * time + 1 {
            cpu::sti_hlt();
        }
    }
    same!(smp::end(1)?, 0);
    figure("turns", TURNS.load(Ordering::Acquire));
    Ok(())
}
