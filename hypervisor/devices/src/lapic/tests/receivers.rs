//! Who takes what one of several local APICs sends: from the bits that a guest writes to the set of receivers, against
//! the words of the manual ("Determining IPI Destination", "Interrupt Command Register (ICR)").

use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const VECTOR: u32 = 0x31;

/// One of several, as its kernel has set it up.
#[derive(Clone, Copy, Debug)]
struct Setup {
    mode: Mode,
    ldr: u8,
    cluster: bool,
}

fn setup() -> impl Strategy<Value = Setup> {
    let mode = prop::sample::select(&[Mode::XApic, Mode::X2Apic, Mode::Disabled][..]);
    (mode, any::<u8>(), any::<bool>()).prop_map(|(mode, ldr, cluster)| Setup { mode, ldr, cluster })
}

fn make(id: u32, setup: Setup) -> Lapic {
    let mut apic = xapic(id);
    put(&mut apic, register::LDR, u32::from(setup.ldr) << 24);
    put(
        &mut apic,
        register::DFR,
        if setup.cluster { 0 } else { u32::MAX },
    );
    match setup.mode {
        Mode::XApic => {}
        Mode::X2Apic => {
            apic.set_base_msr(apic.base_msr() | ApicBase::EXTD.bits())
                .unwrap();
        }
        Mode::Disabled => apic.set_base_msr(0xfee0_0000).unwrap(),
    }
    apic
}

/// Whether the receiver `id` takes a message with these bits of ICR and this destination field from `sender`.
fn takes(sender: u32, sender_x2: bool, low: u32, field: u32, id: u32, at: Setup) -> bool {
    if at.mode == Mode::Disabled {
        return false;
    }
    match low >> 18 & 3 {
        1 => return id == sender,
        2 => return true,
        3 => return id != sender,
        _ => {}
    }
    // The field has 32 bits in x2APIC mode, where all ones is everyone in both destination modes, and 8 otherwise.
    let (field, everyone) = if sender_x2 {
        (field, field == u32::MAX)
    } else {
        (field & 0xff, field & 0xff == 0xff)
    };
    let physical = low >> 11 & 1 == 0;
    if everyone && (sender_x2 || physical) {
        return true;
    }
    match (physical, at.mode) {
        (true, _) => id == field,
        // Bits 31:16 are the cluster, a bit of 15:0 the member.
        (false, Mode::X2Apic) => id >> 4 == field >> 16 && field >> (id & 15) & 1 == 1,
        // What does not fit eight bits is for no xAPIC.
        (false, _) if field > 0xff => false,
        (false, _) if at.cluster => {
            let cluster = field >> 4;
            (cluster == 15 || cluster == u32::from(at.ldr >> 4))
                && field & u32::from(at.ldr) & 15 != 0
        }
        (false, _) => field & u32::from(at.ldr) != 0,
    }
}

fn write_icr(apic: &mut Lapic, field: u32, low: u32) -> Effect {
    if apic.mode() == Mode::X2Apic {
        let value = u64::from(field) << 32 | u64::from(low);
        return apic.write_msr(msr(register::ICR), value, NOW).unwrap();
    }
    put(apic, register::ICR_HIGH, field << 24);
    apic.write_mmio(0x300, Width::B4, low.into(), NOW).unwrap()
}

fn requested(apic: &Lapic) -> bool {
    apic.irr.contains(VECTOR as u8)
}

/// Carries what the sender asks for, as the machine around it does.
fn carry(apics: &mut [Lapic], sender: usize, effect: Effect) {
    let Effect::Ipi(ipi) = effect else {
        assert_eq!(effect, Effect::None);
        return;
    };
    let Delivery::Fixed(vector) = ipi.delivery else {
        panic!("{ipi:?}");
    };
    for (id, apic) in apics.iter_mut().enumerate() {
        let spared = ipi.destination == Destination::AllButSelf && id == sender;
        if !spared && Lapic::matches(apic, ipi.destination) {
            // Published as a word, it must mean the same.
            assert!(Address::unpack(apic.address().pack()).matches(ipi.destination));
            apic.accept(vector, false);
        }
    }
}

/// Fields near the ids and clusters that there are.
fn field() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        0..0x140u32,
        (0..6u32, any::<u16>()).prop_map(|(cluster, members)| cluster << 16 | u32::from(members)),
        Just(u32::MAX),
        Just(0xff),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..Default::default() })]

    /// Each in a mode of its own: no kernel does that, and each guest may.
    #[test]
    fn exactly_the_addressed_take_it(
        mut setups in prop::collection::vec(setup(), 1..=64),
        at: prop::sample::Index,
        sender_x2: bool,
        field in field(),
        shorthand in 0..4u32,
        logical: bool,
    ) {
        let sender = at.index(setups.len());
        setups[sender].mode = if sender_x2 { Mode::X2Apic } else { Mode::XApic };
        let mut apics: Vec<Lapic> = (0..).zip(&setups).map(|(id, setup)| make(id, *setup)).collect();
        // The APIC is switched on again where it was off, so that only the address can refuse.
        for apic in &mut apics {
            apic.svr = Svr::ENABLE | Svr::VECTOR;
        }
        let low = VECTOR | shorthand << 18 | u32::from(logical) << 11 | 1 << 14;
        let effect = write_icr(&mut apics[sender], field, low);
        carry(&mut apics, sender, effect);
        for (id, (apic, setup)) in (0..).zip(apics.iter().zip(&setups)) {
            prop_assert_eq!(
                requested(apic),
                takes(sender as u32, sender_x2, low, field, id, *setup),
                "{:#x} {:#x} from {} to {}: {:?}", low, field, sender, id, setup
            );
        }
    }
}

/// Every destination field and every logical address of xAPIC mode, in both models.
#[test]
fn all_of_xapic_mode() {
    for cluster in [false, true] {
        for ldr in 0..=u8::MAX {
            let setup = Setup {
                mode: Mode::XApic,
                ldr,
                cluster,
            };
            let address = make(5, setup).address();
            for field in 0..=u8::MAX {
                for (logical, low) in [(false, 0), (true, 1 << 11)] {
                    let destination = Destination::xapic(field, logical);
                    assert_eq!(
                        address.matches(destination),
                        takes(0, false, low, field.into(), 5, setup),
                        "{field:#x} {setup:?}"
                    );
                }
            }
        }
    }
}

/// As Linux addresses its processors: in clusters of sixteen, and one by one.
#[test]
fn each_of_64_is_reached_alone_and_by_its_cluster() {
    let all: Vec<Address> = (0..64).map(|id| x2apic(id).address()).collect();
    for id in 0..64u32 {
        let logical = get(&mut x2apic(id), register::LDR);
        for destination in [
            Destination::x2apic(id, false),
            Destination::x2apic(logical, true),
        ] {
            let taken: Vec<usize> = (0..64).filter(|&i| all[i].matches(destination)).collect();
            assert_eq!(taken, [id as usize]);
        }
        let cluster = Destination::x2apic(logical | 0xffff, true);
        assert_eq!(all.iter().filter(|it| it.matches(cluster)).count(), 16);
    }
}

/// Every value of the low half: one of a few answers, never a panic, and an IPI always with a vector that can be taken.
#[test]
fn every_command_is_decoded() {
    // Bits that decide: vector (three that matter), mode, destination mode, level, trigger, shorthand.
    for vector in [0x00, 0x0f, 0x10, 0xff] {
        for high in 0..1u32 << 12 {
            let low = vector | high << 8;
            for mut apic in [x2apic(3), xapic(3)] {
                let x2 = apic.mode() == Mode::X2Apic;
                let before = apic.clone();
                let result = if x2 {
                    apic.write_msr(msr(register::ICR), 9 << 32 | u64::from(low), NOW)
                } else {
                    put(&mut apic, register::ICR_HIGH, 9 << 24);
                    apic.write_mmio(0x300, Width::B4, low.into(), NOW)
                };
                // Bits 17:16 and 13 are reserved.
                if x2 && low & 0x3_2000 != 0 {
                    assert_eq!(result, Err(AccessError::Value), "{low:#x}");
                    assert_eq!(apic, before);
                    continue;
                }
                let mode = low >> 8 & 7;
                let carries_vector = mode < 2;
                let oneself = low >> 18 & 3 == 1;
                let deassert = mode == 5 && low >> 14 & 3 == 0b10;
                let illegal = carries_vector && vector < 16;
                match result.unwrap() {
                    Effect::Ipi(ipi) => {
                        assert!(
                            !oneself && !deassert && !illegal && mode != 3 && mode != 7,
                            "{low:#x}"
                        );
                        let expected = match mode {
                            0 => Delivery::Fixed(Vector(vector as u8)),
                            1 => Delivery::LowestPriority(Vector(vector as u8)),
                            2 => Delivery::Smi,
                            4 => Delivery::Nmi,
                            5 => Delivery::Init,
                            _ => Delivery::StartUp(vector as u8),
                        };
                        assert_eq!(ipi.delivery, expected);
                    }
                    Effect::None => {
                        assert!(
                            oneself || deassert || illegal || mode == 3 || mode == 7,
                            "{low:#x}"
                        );
                        let taken = oneself && mode == 0 && !illegal;
                        assert_eq!(apic.deliverable(), taken.then_some(Vector(vector as u8)));
                        assert_eq!(apic.errors.contains(Esr::SEND_ILLEGAL_VECTOR), illegal);
                    }
                    Effect::Eoi(_) => panic!("{low:#x}"),
                }
            }
        }
    }
}
