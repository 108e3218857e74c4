//! What Linux (6.1 to 7.x) writes to its local APIC while it boots: every write is taken, and the timer ticks.

use super::*;

/// `LOCAL_TIMER_VECTOR`, `ERROR_APIC_VECTOR`, `SPURIOUS_APIC_VECTOR`
const TIMER: u8 = 0xec;
const ERROR: u32 = 0xfe;
const SPURIOUS: u32 = 0xff;
const MASKED: u32 = 1 << 16;

/// `clear_local_APIC`, for six LVT entries.
fn clear(apic: &mut Lapic) {
    assert_eq!(
        get(apic, register::VERSION) >> 16 & 0xff,
        5,
        "so no CMCI entry is touched"
    );
    put(apic, register::LVT_ERROR, ERROR | MASKED);
    for number in [
        register::LVT_TIMER,
        register::LVT_LINT0,
        register::LVT_LINT1,
        register::LVT_PERFORMANCE,
        register::LVT_THERMAL,
    ] {
        let entry = get(apic, number);
        put(apic, number, entry | MASKED);
    }
    for number in register::LVT_TIMER..=register::LVT_ERROR {
        put(apic, number, MASKED);
    }
    put(apic, register::ESR, 0);
    get(apic, register::ESR);
}

/// `setup_local_APIC` and `end_local_APIC_setup` on the bootstrap processor.
fn set_up(apic: &mut Lapic) {
    if apic.mode() == Mode::XApic {
        put(apic, register::DFR, u32::MAX);
        put(apic, register::LDR, 1 << 24);
    }
    put(apic, register::TPR, 0x10);
    for word in 0..8 {
        assert_eq!(
            get(apic, register::IRR + word) | get(apic, register::ISR + word),
            0
        );
    }
    let svr = get(apic, register::SVR);
    put(apic, register::SVR, svr & !0xff | 1 << 8 | SPURIOUS);
    put(apic, register::LVT_LINT0, 0x700 | MASKED);
    put(apic, register::LVT_LINT1, 0x400);
    put(apic, register::ESR, 0);
    put(apic, register::LVT_ERROR, ERROR);
    put(apic, register::ESR, 0);
    assert_eq!(get(apic, register::ESR), 0);
}

/// `__setup_APIC_LVTT`: mode, and a divider of 16.
fn set_up_timer(apic: &mut Lapic, mode: u32) {
    put(apic, register::LVT_TIMER, u32::from(TIMER) | mode);
    let divide = get(apic, register::TIMER_DIVIDE);
    put(apic, register::TIMER_DIVIDE, divide & !0xf | 0x3);
}

fn tick(apic: &mut Lapic, now: u64) {
    assert_eq!(apic.deliverable(), None);
    apic.expire(Ticks(now));
    assert_eq!(apic.deliverable(), Some(Vector(TIMER)));
    apic.acknowledge(Vector(TIMER));
    assert_eq!(eoi(apic), Effect::None);
}

#[test]
fn it_comes_up_and_ticks_in_both_modes() {
    for x2 in [false, true] {
        let mut apic = Lapic::new(0, true, 0);
        if x2 {
            apic.set_base_msr(apic.base_msr() | 1 << 10).unwrap();
        }
        clear(&mut apic);
        set_up(&mut apic);

        set_up_timer(&mut apic, 1 << 17);
        put(&mut apic, register::TIMER_INITIAL, 100);
        for n in 1..4 {
            tick(&mut apic, 1000 + n * 1600);
        }
        // `lapic_timer_shutdown`, then one-shot
        put(
            &mut apic,
            register::LVT_TIMER,
            u32::from(TIMER) | 1 << 17 | MASKED,
        );
        put(&mut apic, register::TIMER_INITIAL, 0);
        assert_eq!(apic.next_deadline(), None);
        set_up_timer(&mut apic, 0);
        put(&mut apic, register::TIMER_INITIAL, 100);
        tick(&mut apic, 2600);

        set_up_timer(&mut apic, 1 << 18);
        for deadline in [3000, 4000] {
            apic.set_tsc_deadline(deadline, NOW);
            tick(&mut apic, deadline);
        }
        assert_eq!(get(&mut apic, register::ESR), 0);
    }
}
