use crate::fixture::{self, Processor, SANDY_BRIDGE, SKYLAKE, changed, reader};
use crate::{Capabilities, Wants, controls};
use spec::vmx_controls::{PrimaryControls, SecondaryControls};
use std::vec::Vec;

fn missing(capabilities: &Capabilities) -> Vec<&'static str> {
    capabilities.missing().map(|m| m.feature).collect()
}

fn without(capabilities: &Capabilities) -> Vec<&'static str> {
    capabilities.without().map(|m| m.feature).collect()
}

#[test]
fn these_processors_run_guests() {
    for processor in [SANDY_BRIDGE, SKYLAKE] {
        assert_eq!(
            missing(&Capabilities::new(reader(processor))),
            [] as [&str; 0]
        );
    }
}

#[test]
fn what_is_done_without_is_named() {
    let absent = without(&Capabilities::new(reader(SANDY_BRIDGE)));
    assert_eq!(
        absent,
        [
            "EPT accessed and dirty flags",
            "APIC-register virtualization and virtual-interrupt delivery",
            "posted interrupts",
            "INVPCID",
            "XSAVES",
            "TSC scaling",
        ]
    );
    let absent = without(&Capabilities::new(reader(SKYLAKE)));
    assert_eq!(
        absent,
        [
            "APIC-register virtualization and virtual-interrupt delivery",
            "posted interrupts",
            "TSC scaling",
        ]
    );
}

/// MSRs that read otherwise, and what is then missing.
type Case = (&'static [(u32, u64)], &'static [&'static str]);

/// One refusal for each required feature: the change to a Skylake that takes it away.
#[test]
fn each_required_feature_is_named_when_it_is_missing() {
    let cases: [Case; 13] = [
        // Nehalem's set: EPT and VPID, without unrestricted guest.
        (&[(0x48b, 0x006f_0000_0000)], &["unrestricted guest"]),
        (&[(0x48b, 0x00fd_0000_0000)], &["EPT"]),
        (&[(0x48d, 0x3f_0000_0016)], &["VMX-preemption timer"]),
        (
            &[(0x48d, 0x5f_0000_0016)],
            &["external-interrupt and NMI exiting with virtual NMIs"],
        ),
        (
            &[(0x48c, 0x0f01_0633_0141)],
            &["EPT with four levels in write-back memory"],
        ),
        (
            &[(0x48c, 0x0f01_0433_4141)],
            &["INVEPT, single and all contexts"],
        ),
        (
            &[(0x48e, 0xedf9_fffe_0400_6172)],
            &["I/O bitmaps and MSR bitmaps"],
        ),
        (
            &[(0x48e, 0xdff9_fffe_0400_6172)],
            &["exiting on HLT, MWAIT, MONITOR, RDPMC and open windows, TSC offsetting"],
        ),
        (&[(0x48b, 0x001f_fcbf_0000_0000)], &["WBINVD exiting"]),
        // Without the IA32_VMX_TRUE_* MSRs.
        (
            &[(0x480, 0x005a_0400_0000_0004)],
            &["CR3 and INVLPG accesses without an exit"],
        ),
        (
            &[(0x48f, 0x01ff_fdff_0003_6dfb)],
            &[
                "a 64-bit host, acknowledge interrupt on exit, saving and loading IA32_EFER and IA32_PAT",
            ],
        ),
        (
            &[(0x480, 0x009a_0400_0000_0004)],
            &["VM-exit instruction information for INS and OUTS (IA32_VMX_BASIC bit 54)"],
        ),
        (
            &[(0x480, 0x00c2_0400_0000_0004)],
            &["VMCS regions in write-back memory"],
        ),
    ];
    for (changes, expected) in cases {
        let capabilities = Capabilities::new(changed(SKYLAKE, changes));
        assert_eq!(missing(&capabilities), expected, "{changes:x?}");
    }
}

/// The first processors with VT-x: neither secondary nor true controls, whose MSRs raise #GP.
const FIRST: Processor = &[
    (0x480, 0x0018_0400_0000_0003),
    (0x481, 0x1f_0000_0016),
    (0x482, 0x77b9_fffe_0401_e172),
    (0x483, 0x0003_ffff_0003_6dff),
    (0x484, 0x1fff_0000_11ff),
    (0x485, 0x0004_0000),
    (0x486, 0x8000_0021),
    (0x487, 0xffff_ffff),
    (0x488, 0x2000),
    (0x489, 0x27ff),
];

#[test]
fn an_old_processor_is_asked_only_for_the_msrs_it_has() {
    let capabilities = Capabilities::new(reader(FIRST));
    let missing = missing(&capabilities);
    assert_eq!(missing[..2], ["EPT", "unrestricted guest"]);
    assert_eq!(capabilities.secondary.may_be_one(), 0);
}

#[test]
fn the_chosen_controls_are_allowed_and_keep_guests_apart() {
    for processor in [SANDY_BRIDGE, SKYLAKE] {
        let c = Capabilities::new(reader(processor));
        let chosen = fixture::controls(&c);
        assert!(c.pin.allows(chosen.pin.bits()));
        assert!(c.primary.allows(chosen.primary.bits()));
        assert!(c.secondary.allows(chosen.secondary.bits()));
        assert!(c.exit.allows(chosen.exit.bits()));
        assert!(c.entry.allows(chosen.entry.bits()));
        assert!(chosen.primary.contains(
            PrimaryControls::IO_BITMAPS
                | PrimaryControls::MSR_BITMAPS
                | PrimaryControls::HLT_EXITING
                | PrimaryControls::CR8_LOAD_EXITING
                | PrimaryControls::CR8_STORE_EXITING
        ));
        assert!(!chosen.primary.intersects(
            PrimaryControls::CR3_LOAD_EXITING
                | PrimaryControls::CR3_STORE_EXITING
                | PrimaryControls::INVLPG_EXITING
                | PrimaryControls::MOV_DR_EXITING
                | PrimaryControls::RDTSC_EXITING
                | PrimaryControls::PAUSE_EXITING
                | PrimaryControls::INTERRUPT_WINDOW_EXITING
        ));
        assert!(chosen.secondary.contains(
            SecondaryControls::EPT
                | SecondaryControls::VPID
                | SecondaryControls::UNRESTRICTED_GUEST
                | SecondaryControls::WBINVD_EXITING
        ));
        assert_eq!(chosen.exceptions, 1 << 1 | 1 << 17 | 1 << 18);
    }
}

#[test]
fn instructions_are_given_where_shown_and_present() {
    let given = |processor, wants: &Wants| {
        controls::select(&Capabilities::new(reader(processor)), wants).secondary
            & (SecondaryControls::RDTSCP
                | SecondaryControls::INVPCID
                | SecondaryControls::XSAVES
                | SecondaryControls::USER_WAIT)
    };
    let all = Wants {
        rdtscp: true,
        invpcid: true,
        xsaves: true,
        user_wait: true,
        save_timer: true,
    };
    assert_eq!(
        given(SKYLAKE, &Wants::default()),
        SecondaryControls::empty()
    );
    assert_eq!(
        given(SKYLAKE, &all),
        SecondaryControls::RDTSCP | SecondaryControls::INVPCID | SecondaryControls::XSAVES
    );
    assert_eq!(given(SANDY_BRIDGE, &all), SecondaryControls::RDTSCP);
}

#[test]
fn vpid_is_not_used_without_the_means_to_flush_it() {
    let c = Capabilities::new(changed(SKYLAKE, &[(0x48c, 0x0d01_0633_4141)]));
    assert!(without(&c).contains(&"VPID"));
    assert!(
        !fixture::controls(&c)
            .secondary
            .contains(SecondaryControls::VPID)
    );
}
