//! What Linux (6.1 to 7.x) writes to its local APIC while it boots: every write is taken, and the timer ticks, whoever carries it.

use super::machine::{CARRIERS, Machine};
use super::*;
use spec::apic::Carrier;

/// `LOCAL_TIMER_VECTOR`, `ERROR_APIC_VECTOR`, `SPURIOUS_APIC_VECTOR`
const TIMER: u8 = 0xec;
const ERROR: u32 = 0xfe;
const SPURIOUS: u32 = 0xff;
const MASKED: u32 = 1 << 16;

/// `clear_local_APIC`, for six LVT entries.
fn clear(apic: &mut Machine) {
    assert_eq!(
        apic.get(register::VERSION) >> 16 & 0xff,
        5,
        "so no CMCI entry is touched"
    );
    apic.put(register::LVT_ERROR, ERROR | MASKED);
    for number in [
        register::LVT_TIMER,
        register::LVT_LINT0,
        register::LVT_LINT1,
        register::LVT_PERFORMANCE,
        register::LVT_THERMAL,
    ] {
        let entry = apic.get(number);
        apic.put(number, entry | MASKED);
    }
    for number in register::LVT_TIMER..=register::LVT_ERROR {
        apic.put(number, MASKED);
    }
    apic.put(register::ESR, 0);
    apic.get(register::ESR);
}

/// `setup_local_APIC` and `end_local_APIC_setup` on the bootstrap processor.
fn set_up(apic: &mut Machine) {
    if apic.apic.mode() == Mode::XApic {
        apic.put(register::DFR, u32::MAX);
        apic.put(register::LDR, 1 << 24);
    }
    apic.put(register::TPR, 0x10);
    for word in 0..8 {
        assert_eq!(
            apic.get(register::IRR + word) | apic.get(register::ISR + word),
            0
        );
    }
    let svr = apic.get(register::SVR);
    apic.put(register::SVR, svr & !0xff | 1 << 8 | SPURIOUS);
    apic.put(register::LVT_LINT0, 0x700 | MASKED);
    apic.put(register::LVT_LINT1, 0x400);
    apic.put(register::ESR, 0);
    apic.put(register::LVT_ERROR, ERROR);
    apic.put(register::ESR, 0);
    assert_eq!(apic.get(register::ESR), 0);
}

/// `__setup_APIC_LVTT`: mode, and a divider of 16.
fn set_up_timer(apic: &mut Machine, mode: u32) {
    apic.put(register::LVT_TIMER, u32::from(TIMER) | mode);
    let divide = apic.get(register::TIMER_DIVIDE);
    apic.put(register::TIMER_DIVIDE, divide & !0xf | 0x3);
}

/// Nothing comes before `at`, and the tick does then.
fn tick(apic: &mut Machine, at: u64) {
    apic.pass(at - apic.now.0 - 1);
    assert_eq!(apic.take(), None);
    apic.pass(1);
    assert_eq!(apic.take(), Some(Vector(TIMER)));
    assert_eq!(apic.eoi(), Effect::None);
}

#[test]
fn it_comes_up_and_ticks_in_both_modes_and_on_each_carrier() {
    for (x2, carrier) in CARRIERS
        .map(|carrier| (true, carrier))
        .into_iter()
        .chain([(false, Carrier::Direct)])
    {
        let mut apic = Machine::new(Lapic::new(0, true, 0), carrier);
        if x2 {
            assert!(apic.base(apic.apic.base_msr() | 1 << 10));
        }
        clear(&mut apic);
        set_up(&mut apic);

        set_up_timer(&mut apic, 1 << 17);
        apic.put(register::TIMER_INITIAL, 2000);
        for n in 1..4 {
            tick(&mut apic, 1000 + n * 32_000);
        }
        // `lapic_timer_shutdown`, then one-shot
        apic.put(register::LVT_TIMER, u32::from(TIMER) | 1 << 17 | MASKED);
        apic.put(register::TIMER_INITIAL, 0);
        assert_eq!(apic.apic.next_deadline(), None);
        set_up_timer(&mut apic, 0);
        apic.put(register::TIMER_INITIAL, 100);
        let start = apic.now.0;
        tick(&mut apic, start + 1600);

        set_up_timer(&mut apic, 1 << 18);
        let best = if x2 { carrier } else { Carrier::Software };
        assert_eq!(apic.apic.carrier(), best);
        for n in 2..4 {
            apic.set_deadline(start + n * 1000);
            tick(&mut apic, start + n * 1000);
        }
        assert_eq!(apic.get(register::ESR), 0);
        assert_eq!(apic.apic.carrier(), best);
    }
}
