//! "Issuing Interprocessor Interrupts" and "Determining IPI Destination".

use super::*;
use proptest::prelude::*;

fn send(apic: &mut Lapic, to: u32, low: u32) -> Effect {
    match apic.mode() {
        Mode::X2Apic => apic
            .write_msr(
                msr(register::ICR),
                u64::from(to) << 32 | u64::from(low),
                NOW,
            )
            .unwrap(),
        _ => {
            put(apic, register::ICR_HIGH, to << 24);
            apic.write_mmio(0x300, Width::B4, low.into(), NOW).unwrap()
        }
    }
}

fn ipi(delivery: Delivery, destination: Destination) -> Effect {
    Effect::Ipi(Ipi {
        delivery,
        destination,
    })
}

#[test]
fn linux_starts_a_processor() {
    for mut apic in [x2apic(0), xapic(0)] {
        let to = Destination::Physical(1);
        assert_eq!(send(&mut apic, 1, 0xc500), ipi(Delivery::Init, to));
        assert_eq!(
            send(&mut apic, 1, 0x8500),
            Effect::None,
            "de-assert is of the past"
        );
        assert_eq!(send(&mut apic, 1, 0x0699), ipi(Delivery::StartUp(0x99), to));
    }
}

#[test]
fn each_delivery_mode_is_told_apart() {
    let v = Vector(0x20);
    for (mode, delivery) in [
        (0, Some(Delivery::Fixed(v))),
        (1, Some(Delivery::LowestPriority(v))),
        (2, Some(Delivery::Smi)),
        (3, None),
        (4, Some(Delivery::Nmi)),
        (5, Some(Delivery::Init)),
        (6, Some(Delivery::StartUp(0x20))),
        (7, None),
    ] {
        let expected = delivery.map_or(Effect::None, |d| ipi(d, Destination::Physical(9)));
        assert_eq!(
            send(&mut x2apic(0), 9, 0x4020 | mode << 8),
            expected,
            "mode {mode}"
        );
    }
}

#[test]
fn shorthands_and_broadcasts_name_their_receivers() {
    let fixed = Delivery::Fixed(Vector(0x30));
    for mut apic in [x2apic(0), xapic(0)] {
        assert_eq!(send(&mut apic, 7, 0x8_4030), ipi(fixed, Destination::All));
        assert_eq!(
            send(&mut apic, 7, 0xc_4030),
            ipi(fixed, Destination::AllButSelf)
        );
        assert_eq!(
            send(&mut apic, 7, 0x4030),
            ipi(fixed, Destination::Physical(7))
        );
        assert_eq!(
            send(&mut apic, 7, 0x4830),
            ipi(fixed, Destination::Logical(7))
        );
    }
    assert_eq!(
        send(&mut xapic(0), 0xff, 0x4030),
        ipi(fixed, Destination::All)
    );
    assert_eq!(
        send(&mut x2apic(0), 0xff, 0x4030),
        ipi(fixed, Destination::Physical(0xff))
    );
    for low in [0x4030, 0x4830] {
        assert_eq!(
            send(&mut x2apic(0), u32::MAX, low),
            ipi(fixed, Destination::All)
        );
    }
}

#[test]
fn what_is_for_oneself_alone_never_leaves() {
    for mut apic in [x2apic(3), xapic(3)] {
        assert_eq!(send(&mut apic, 3, 0x4041), Effect::None);
        assert_eq!(send(&mut apic, 9, 0x4_4042), Effect::None, "shorthand");
        assert_eq!(get(&mut apic, register::IRR + 2), 0b110);
        assert_eq!(
            send(&mut apic, 0, 0x4_4400),
            Effect::None,
            "no NMI to oneself"
        );
    }
    let mut apic = x2apic(3);
    put(&mut apic, register::SELF_IPI, 0x43);
    assert_eq!(apic.deliverable(), Some(Vector(0x43)));
}

#[test]
fn the_command_reads_back_as_sent_and_idle() {
    let mut apic = x2apic(0);
    let _ = send(&mut apic, 0x1234_5678, 0x5040);
    assert_eq!(
        apic.read_msr(msr(register::ICR), NOW),
        Ok(0x1234_5678_0000_4040)
    );
    let mut apic = xapic(0);
    let _ = send(&mut apic, 0x12, 0x5040);
    assert_eq!(get(&mut apic, register::ICR_HIGH), 0x1200_0000);
    assert_eq!(get(&mut apic, register::ICR), 0x4040);
}

#[test]
fn lowest_priority_to_oneself_needs_no_arbiter() {
    let mut apic = x2apic(3);
    assert_eq!(send(&mut apic, 3, 0x4141), Effect::None);
    assert_eq!(apic.deliverable(), Some(Vector(0x41)));
}

proptest! {
    #[test]
    fn an_x2apic_matches_its_id_and_its_cluster(id: u32, to: u32, near in 0..64u32) {
        for (id, to) in [(id, to), (near, to), (near, near ^ 1), (near, to & 0xffff), (near, near >> 4 << 16 | to & 0xffff)] {
            let apic = x2apic(id);
            prop_assert_eq!(apic.matches(Destination::Physical(to)), id == to);
            let member = to >> 16 == id >> 4 & 0xffff && to & (1 << (id & 0xf)) != 0;
            prop_assert_eq!(apic.matches(Destination::Logical(to)), member);
            prop_assert!(apic.matches(Destination::All));
        }
    }

    #[test]
    fn an_xapic_matches_by_its_model(ldr: u8, to: u8, cluster: bool) {
        let mut apic = xapic(0x105);
        put(&mut apic, register::LDR, u32::from(ldr) << 24);
        put(&mut apic, register::DFR, if cluster { 0 } else { u32::MAX });
        let expected = if cluster {
            let (same, any) = (to >> 4 == ldr >> 4, to >> 4 == 15);
            (same || any) && to & ldr & 15 != 0
        } else {
            to & ldr != 0
        };
        prop_assert_eq!(apic.matches(Destination::Logical(to.into())), expected);
        prop_assert_eq!(apic.matches(Destination::Physical(to.into())), to == 5);
        prop_assert!(!apic.matches(Destination::Logical(u32::from(to) | 0x100)));
    }
}

#[test]
fn a_disabled_apic_matches_nothing() {
    let mut apic = Lapic::new(0, true, 0);
    apic.set_base_msr(0xfee0_0000).unwrap();
    for to in [
        Destination::All,
        Destination::AllButSelf,
        Destination::Physical(0),
        Destination::Logical(1),
    ] {
        assert!(!apic.matches(to));
    }
}
