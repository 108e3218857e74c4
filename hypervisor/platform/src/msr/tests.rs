use super::*;

const FULL: MsrPolicy = MsrPolicy {
    rdtscp: true,
    xsaves: true,
    spec_ctrl: true,
    pred_cmd: true,
};
const BARE: MsrPolicy = MsrPolicy {
    rdtscp: false,
    xsaves: false,
    spec_ctrl: false,
    pred_cmd: false,
};

#[test]
fn each_register_stands_in_the_table_once_and_with_a_reason() {
    for (i, row) in TABLE.iter().enumerate() {
        assert!(!row.why.is_empty());
        assert!(TABLE[..i].iter().all(|r| r.msr != row.msr), "{:?}", row.msr);
    }
}

/// A register here that the processor keeps for the hypervisor would be the end of isolation.
#[test]
fn what_is_direct_is_the_guests_own() {
    let direct: alloc::vec::Vec<_> = FULL.direct().collect();
    let own = [
        0x10,
        0x48,
        0x49,
        0x277,
        0x174,
        0x175,
        0x176,
        0xc000_0080,
        0xc000_0081,
        0xc000_0082,
        0xc000_0083,
        0xc000_0084,
        0xc000_0100,
        0xc000_0101,
        0xc000_0102,
        0xc000_0103,
    ];
    assert_eq!(direct.len(), own.len());
    for (msr, rights) in direct {
        assert!(own.contains(&msr.0));
        let read_only = [msr::TSC, msr::EFER, msr::PAT].contains(&msr);
        assert_eq!(rights == Rights::READ, read_only);
        assert_eq!(rights == Rights::WRITE, msr == msr::PRED_CMD);
    }
}

#[test]
fn what_is_not_shown_is_not_there() {
    let conditional = [msr::TSC_AUX, msr::SPEC_CTRL, msr::PRED_CMD];
    assert!(BARE.direct().all(|(msr, _)| !conditional.contains(&msr)));
    assert_eq!(
        (BARE.fixed_read(msr::XSS), FULL.fixed_read(msr::XSS)),
        (None, Some(0))
    );
    assert!(!BARE.write_ignored(msr::XSS, 0));
    for absent in [
        msr::FEATURE_CONTROL,
        msr::VMX_BASIC,
        msr::MTRRCAP,
        msr::ARCH_CAPABILITIES,
        msr::FLUSH_CMD,
        Msr(0xce),
        Msr(u32::MAX),
    ] {
        assert_eq!(FULL.fixed_read(absent), None);
        assert!(!FULL.write_ignored(absent, 0));
    }
}

#[test]
fn fixed_registers_take_only_writes_that_change_nothing() {
    let misc = FULL.fixed_read(msr::MISC_ENABLE).unwrap();
    assert_eq!(misc, 0x1801);
    assert!(FULL.write_ignored(msr::MISC_ENABLE, misc));
    assert!(!FULL.write_ignored(msr::MISC_ENABLE, misc & !1));
    assert!(FULL.write_ignored(msr::BIOS_SIGN_ID, 0));
    assert_eq!(
        FULL.fixed_read(msr::MCG_CAP),
        Some(0),
        "no bank, no MCG_CTL"
    );
    assert_eq!(FULL.fixed_read(Msr(0x17a)), Some(0));
    assert!(FULL.write_ignored(msr::MCG_STATUS, 0));
    for absent in [0x17b, 0x280, 0x400, 0x401, 0x4d0] {
        assert_eq!(FULL.fixed_read(Msr(absent)), None);
    }
    assert!(!FULL.write_ignored(msr::XSS, 0x100));
    assert!(FULL.write_ignored(msr::DEBUGCTL, 2));
    assert!(!FULL.write_ignored(msr::DEBUGCTL, 4));
    assert!(!FULL.write_ignored(msr::EFER, 0), "the vCPU's, not ours");
}

#[test]
fn pat_and_canonical() {
    assert!(valid_pat(0x0007_0406_0007_0406));
    assert!(valid_pat(0x0105_0406_0007_0406));
    for bad in [0x02, 0x03, 0x08, 0x80, 0xff] {
        for byte in 0..8 {
            assert!(!valid_pat(bad << (8 * byte)));
        }
    }
    for good in [0, 0x7fff_ffff_ffff, 0xffff_8000_0000_0000, u64::MAX] {
        assert!(canonical(good));
    }
    for bad in [0x8000_0000_0000, 0xffff_7fff_ffff_ffff, 1 << 63] {
        assert!(!canonical(bad));
    }
}

#[test]
fn speculation_control_is_there_as_cpuid_shows_it() {
    use crate::cpuid::Facts;
    use spec::cpuid::leaf;
    for (shown, spec_ctrl, pred_cmd) in [
        (Leaf7Edx::empty(), false, false),
        (Leaf7Edx::IBRS, true, true),
        (Leaf7Edx::STIBP, true, false),
        (Leaf7Edx::SSBD, true, false),
        (Leaf7Edx::ARCH_CAPABILITIES, false, false),
    ] {
        let host = |l: u32, _: u32| match l {
            leaf::VENDOR => [leaf::EXTENDED_FEATURES, 0, 0, 0],
            leaf::EXTENDED_FEATURES => [0, 0, 0, shown.bits()],
            _ => [0; 4],
        };
        let facts = Facts {
            tsc: spec::Hz(1),
            vcpus: 1,
            xsaves: false,
            invpcid: false,
            rdtscp: false,
        };
        let policy = MsrPolicy::new(&CpuidPolicy::new(&host, facts));
        let has = |msr| policy.direct().any(|(m, _)| m == msr);
        assert_eq!(has(msr::SPEC_CTRL), spec_ctrl, "{shown:?}");
        assert_eq!(has(msr::PRED_CMD), pred_cmd, "{shown:?}");
    }
}
