use crate::fake::MapVmcs;
use crate::{AddressWidths, Effect, Vcpu, Vmcs, Wants, check, fixture};
use exits::{Event, SystemWrite};
use proptest::prelude::*;
use spec::Vector;
use spec::cpu::{Cr0, Efer};
use spec::state::StartState;
use spec::vmcs::*;
use std::vec::Vec;

/// What INIT leaves alone.
const KEPT: [Field; 5] = [
    GUEST_PAT,
    GUEST_SYSENTER_CS,
    GUEST_SYSENTER_ESP,
    GUEST_SYSENTER_EIP,
    TSC_OFFSET,
];

fn sipi() -> StartState {
    StartState::start_up(0x9a, 0x506e3)
}

fn started_up(mut vmcs: MapVmcs, mut vcpu: Vcpu) -> (MapVmcs, Vcpu) {
    let effect = vcpu.start_up(&mut vmcs, &sipi());
    assert_eq!(effect, Effect::FlushLinear { pdptes: false });
    (vmcs, vcpu)
}

#[test]
fn a_start_up_makes_what_a_fresh_vmcs_with_that_state_has() {
    let capabilities = fixture::capabilities();
    let (fresh, fresh_vcpu) = fixture::started(&capabilities, &Wants::default(), &sipi());
    for (mut vmcs, mut vcpu) in [fixture::long(), fixture::real()] {
        // CD and NW as after power-up, so that they are kept at what the fresh one has
        let _ = vcpu.write_system(&mut vmcs, SystemWrite::Cr0(0x6000_0010));
        let (vmcs, vcpu) = started_up(vmcs, vcpu);
        assert_eq!(vcpu, fresh_vcpu);
        for (field, name) in ALL {
            assert_eq!(vmcs.get(*field), fresh.get(*field), "{name}");
        }
        let widths = AddressWidths {
            physical: 39,
            linear: 48,
        };
        check(&vmcs, &capabilities, widths, &mut |f| panic!("{f}"));
    }
}

#[test]
fn it_begins_in_real_mode_at_its_page() {
    let (vmcs, vcpu) = started_up(fixture::long().0, fixture::long().1);
    for (field, value) in [
        (GUEST_CS_SELECTOR, 0x9a00),
        (GUEST_CS_BASE, 0x9_a000),
        (GUEST_RIP, 0),
        (GUEST_RFLAGS, 2),
        (GUEST_DR7, 0x400),
        (GUEST_EFER, 0),
        (GUEST_INTERRUPTIBILITY, 0),
        (GUEST_ACTIVITY, 0),
    ] {
        assert_eq!(vmcs.get(field), value, "{field:?}");
    }
    assert_eq!(vcpu.cr4(&vmcs), 0);
}

/// The table's note on CR0: CD and NW stay, ET is set, all else is cleared.
#[test]
fn caches_stay_as_the_guest_has_set_them() {
    const CD_NW: u64 = Cr0::CD.union(Cr0::NW).bits();
    for visible in [0, Cr0::CD.bits(), Cr0::NW.bits(), CD_NW] {
        let (mut vmcs, mut vcpu) = fixture::long();
        let cr0 = visible | 0x8000_0033;
        let _ = vcpu.write_system(&mut vmcs, SystemWrite::Cr0(cr0));
        let (vmcs, vcpu) = started_up(vmcs, vcpu);
        assert_eq!(vcpu.cr0(&vmcs), visible | Cr0::ET.bits());
        assert_eq!(vmcs.get(GUEST_CR0) & CD_NW, 0, "the core's caches stay on");
    }
}

#[test]
fn events_and_windows_of_before_are_gone() {
    let (mut vmcs, mut vcpu) = fixture::real();
    let before = vmcs.get(PRIMARY_CONTROLS);
    let _ = vcpu.inject(&mut vmcs, Event::Interrupt(Vector(0x51)));
    vcpu.request_interrupt_window(&mut vmcs, true);
    vcpu.request_nmi_window(&mut vmcs, true);
    assert!(!vcpu.can_take_nmi(&vmcs));
    let (mut vmcs, mut vcpu) = started_up(vmcs, vcpu);
    assert_eq!(vmcs.get(ENTRY_INTERRUPTION_INFO), 0);
    assert_eq!(vmcs.get(PRIMARY_CONTROLS), before);
    // An NMI that was held can be delivered at once.
    assert!(vcpu.can_take_nmi(&vmcs) && !vcpu.can_take_interrupt(&vmcs));
    let _ = vcpu.inject(&mut vmcs, Event::Nmi);
    assert_eq!(vmcs.get(ENTRY_INTERRUPTION_INFO), 0x8000_0202);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Whatever the guest has left in its registers, and whatever was on its way, nothing of it is seen after.
    #[test]
    fn nothing_is_left_of_what_ran_before_but_what_init_keeps(
        values in prop::collection::vec(any::<u64>(), ALL.len()),
        long in any::<bool>(),
        nmi in any::<bool>(),
        windows in any::<[bool; 2]>(),
    ) {
        let (clean, vcpu) = if long { fixture::long() } else { fixture::real() };
        let mut used = clean.clone();
        let mut used_vcpu = vcpu.clone();
        if nmi {
            let _ = used_vcpu.inject(&mut used, Event::Nmi);
        }
        used_vcpu.request_interrupt_window(&mut used, windows[0]);
        used_vcpu.request_nmi_window(&mut used, windows[1]);
        // The guest-state area, as far as the clean one has it and a guest can change it, and its entry control
        let ours = [VMCS_LINK_POINTER, GUEST_SMBASE, PREEMPTION_TIMER];
        let guest: Vec<_> = clean
            .fields()
            .filter(|f| f.kind() == FieldKind::Guest && !ours.contains(f))
            .collect();
        for (field, value) in guest.iter().zip(&values) {
            used.set(*field, *value);
        }
        if used.get(GUEST_EFER) & Efer::LMA.bits() != 0 {
            used.set(ENTRY_CONTROLS, clean.get(ENTRY_CONTROLS) | 1 << 9);
        }
        let (clean, vcpu) = started_up(clean, vcpu);
        let before = used.clone();
        let (used, used_vcpu) = started_up(used, used_vcpu);
        prop_assert_eq!(used_vcpu, vcpu);
        for (field, name) in ALL {
            let expected = if KEPT.contains(field) { &before } else { &clean };
            prop_assert_eq!(used.get(*field), expected.get(*field), "{}", name);
        }
    }

    /// A VMCS that another vCPU has used before may be filled anew as it is.
    #[test]
    fn initialise_leaves_nothing_of_what_was_there(
        values in prop::collection::vec(any::<u64>(), ALL.len()),
    ) {
        let (clean, vcpu) = fixture::long();
        let mut used = clean.clone();
        for (field, value) in clean.fields().zip(&values) {
            used.set(field, *value);
        }
        let again = fixture::initialised(&mut used, &fixture::capabilities(), &Wants::default(), &fixture::long_start());
        prop_assert_eq!(again, vcpu);
        for (field, name) in ALL {
            prop_assert_eq!(used.read(*field), clean.read(*field), "{}", name);
        }
    }
}
