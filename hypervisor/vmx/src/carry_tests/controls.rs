use super::*;
use crate::fixture::{BROADWELL, SANDY_BRIDGE, SKYLAKE, SKYLAKE_X, changed, initialised};
use crate::{Vmcs, exists};
use proptest::prelude::*;
use spec::apic::Carrier;
use spec::vmcs::*;

#[test]
fn processors_have_what_their_msrs_say() {
    for (msrs, accelerated, posted) in [
        (SANDY_BRIDGE, false, false),
        (SKYLAKE, false, false),
        (BROADWELL, true, false),
        (SKYLAKE_X, true, true),
    ] {
        let c = processor(msrs);
        assert_eq!(c.missing().count(), 0);
        assert_eq!(c.has_accelerated_apic(), accelerated);
        assert_eq!(c.has_posted_interrupts(), posted);
        assert!(c.has_direct_apic());
    }
}

#[test]
fn a_carrier_needs_each_of_its_controls() {
    let changes: [(&'static [(u32, u64)], _); 9] = [
        // Without TPR shadow, x2APIC mode, APIC-register virtualization, virtual-interrupt delivery, posted interrupts
        (&[(0x48e, 0xffd9_fffe_0400_6172)], (false, false, true)),
        (&[(0x48b, 0x025d_3fef_0000_0000)], (false, false, true)),
        (&[(0x48b, 0x025d_3eff_0000_0000)], (false, false, true)),
        (&[(0x48b, 0x025d_3dff_0000_0000)], (false, false, true)),
        (&[(0x48d, 0x7f_0000_0016)], (true, false, true)),
        // CR8-load exiting, HLT exiting, external-interrupt exiting always on; no activity state HLT
        (&[(0x48e, 0xfff9_fffe_0408_6172)], (false, false, false)),
        (&[(0x48e, 0xfff9_fffe_0400_61f2)], (true, true, false)),
        (&[(0x48d, 0xff_0000_0017)], (true, true, false)),
        (&[(0x485, 0x7004_c1a7)], (true, true, false)),
    ];
    for (changes, expected) in changes {
        let c = Capabilities::new(changed(SKYLAKE_X, changes));
        let found = (
            c.has_accelerated_apic(),
            c.has_posted_interrupts(),
            c.has_direct_apic(),
        );
        assert_eq!(found, expected, "{changes:x?}");
    }
}

#[test]
fn every_carrier_may_be_entered_and_writes_only_fields_that_the_processor_has() {
    for msrs in [SANDY_BRIDGE, SKYLAKE, BROADWELL, SKYLAKE_X] {
        let capabilities = processor(msrs);
        for wants in [Wants::default(), ALL_WANTS] {
            for carried in carried_by(&capabilities) {
                let (mut vmcs, mut vcpu) = started(&capabilities, &wants);
                assert_eq!(vcpu.carrier(), Carrier::Software);
                assert!(!vcpu.carry(&mut vmcs, &carried));
                assert_eq!(vcpu.carrier(), carried.carrier());
                assert_eq!(broken(&vmcs, &capabilities), NONE, "{carried:x?}");
                for field in vmcs.fields() {
                    assert!(exists(field, &capabilities), "VMWRITE of absent {field:?}");
                }
            }
        }
    }
}

/// Pin-based, primary, secondary and exit controls: the bits that are set, and those that are clear, against Software.
fn differences(carried: &Carried) -> [(u64, u64); 4] {
    let capabilities = processor(SKYLAKE_X);
    let (mut vmcs, mut vcpu) = started(&capabilities, &ALL_WANTS);
    let fields = [
        PIN_CONTROLS,
        PRIMARY_CONTROLS,
        SECONDARY_CONTROLS,
        EXIT_CONTROLS,
    ];
    let before = fields.map(|f| vmcs.get(f));
    let _ = vcpu.carry(&mut vmcs, carried);
    core::array::from_fn(|n| {
        let after = vmcs.get(fields[n]);
        (after & !before[n], before[n] & !after)
    })
}

#[test]
fn each_carrier_changes_the_controls_that_the_manual_names_and_no_other() {
    assert_eq!(differences(&SOFTWARE), [(0, 0); 4]);
    let cr8 = 1 << 19 | 1 << 20;
    let virtualize = 1 << 4 | 1 << 8 | 1 << 9;
    assert_eq!(
        differences(&accelerated(None)),
        [(0, 0), (1 << 21, cr8), (virtualize, 0), (0, 0)]
    );
    assert_eq!(
        differences(&accelerated(Some(POSTED))),
        [(1 << 7, 0), (1 << 21, cr8), (virtualize, 0), (0, 0)]
    );
    assert_eq!(
        differences(&DIRECT),
        [(0, 1 | 1 << 6), (0, cr8 | 1 << 7), (0, 0), (0, 1 << 22)]
    );
}

#[test]
fn each_carrier_has_its_own_bitmap_and_the_page_what_belongs_to_it() {
    let (mut vmcs, mut vcpu) = started(&processor(SKYLAKE_X), &Wants::default());
    let _ = vcpu.carry(&mut vmcs, &accelerated(Some(POSTED)));
    for (field, value) in [
        (MSR_BITMAPS, 0x30_4000),
        (VIRTUAL_APIC_ADDRESS, 0x40_0000),
        (TPR_THRESHOLD, 0),
        (GUEST_INTERRUPT_STATUS, 0x4051),
        (EOI_EXIT_BITMAP_0, 0),
        (EOI_EXIT_BITMAP_1, 1 << 3),
        (EOI_EXIT_BITMAP_2, 2),
        (EOI_EXIT_BITMAP_3, 1 << 63),
        (POSTED_INTERRUPT_DESCRIPTOR, 0x40_1040),
        (POSTED_INTERRUPT_VECTOR, 0xf2),
    ] {
        assert_eq!(vmcs.get(field), value, "{field:?}");
    }
    let _ = vcpu.carry(&mut vmcs, &DIRECT);
    assert_eq!(vmcs.get(MSR_BITMAPS), 0x30_3000);
    vcpu.set_msr_bitmap(&mut vmcs, Hpa(0x30_5000));
    assert_eq!(vmcs.get(MSR_BITMAPS), 0x30_5000);
    let _ = vcpu.carry(&mut vmcs, &SOFTWARE);
    assert_eq!(vmcs.get(MSR_BITMAPS), 0x30_0000);
}

#[test]
fn a_vmcs_that_is_set_up_anew_begins_in_software() {
    let capabilities = processor(SKYLAKE_X);
    for carried in carried_by(&capabilities) {
        let (mut vmcs, mut old) = started(&capabilities, &ALL_WANTS);
        let _ = old.carry(&mut vmcs, &carried);
        let vcpu = initialised(&mut vmcs, &capabilities, &ALL_WANTS, &long_start());
        assert_eq!(vcpu.carrier(), Carrier::Software);
        let (fresh, _) = started(&capabilities, &ALL_WANTS);
        for field in fresh.fields() {
            assert_eq!(vmcs.get(field), fresh.get(field), "{field:?}");
        }
        assert_eq!(broken(&vmcs, &capabilities), NONE);
    }
}

fn any_carried() -> impl Strategy<Value = Carried> {
    let page = |n: u64| Hpa(n << 12);
    prop_oneof![
        (0_u64..64).prop_map(move |n| Carried::Software {
            msr_bitmap: page(n)
        }),
        (0_u64..64).prop_map(move |n| Carried::Direct {
            msr_bitmap: page(n)
        }),
        (
            0_u64..64,
            any::<u8>(),
            any::<u8>(),
            any::<[u64; 4]>(),
            proptest::option::of((0_u64..64, any::<u8>())),
        )
            .prop_map(move |(n, requesting, in_service, eoi_exits, posted)| {
                Carried::Accelerated {
                    msr_bitmap: page(n),
                    page: page(n + 1),
                    posted: posted.map(|(n, vector)| Posted {
                        descriptor: Hpa(n << 6),
                        vector: Vector(vector),
                    }),
                    requesting,
                    in_service,
                    eoi_exits,
                }
            }),
    ]
}

proptest! {
    #[test]
    fn what_a_carrier_needs_hangs_on_no_carrier_before(
        before in proptest::collection::vec((any_carried(), any::<bool>(), any::<u8>()), 0..6),
        last in any_carried(),
        save_timer in any::<bool>(),
    ) {
        let capabilities = processor(SKYLAKE_X);
        let wants = Wants { save_timer, ..Wants::default() };
        let (mut vmcs, mut vcpu) = started(&capabilities, &wants);
        for (carried, window, vector) in before {
            let _ = vcpu.carry(&mut vmcs, &carried);
            vcpu.request_interrupt_window(&mut vmcs, window);
            if vcpu.carrier() == Carrier::Accelerated {
                vcpu.request(&mut vmcs, vector);
            }
        }
        prop_assert!(!vcpu.carry(&mut vmcs, &last));

        let (mut fresh, mut fresh_vcpu) = started(&capabilities, &wants);
        let _ = fresh_vcpu.carry(&mut fresh, &last);
        prop_assert_eq!(&vcpu, &fresh_vcpu);
        for field in fresh.fields() {
            prop_assert_eq!(vmcs.read(field), fresh.read(field), "{:?}", field);
        }
        prop_assert_eq!(broken(&vmcs, &capabilities), NONE);
    }
}
