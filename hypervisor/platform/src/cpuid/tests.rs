use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;
use spec::cpuid::XSTATE_ALIGNED;

pub(super) const FACTS: Facts = Facts {
    tsc: Hz(2_600_000_000),
    vcpus: 1,
    xsaves: true,
    invpcid: true,
    rdtscp: true,
};
const NOW: Dynamic = Dynamic {
    apic_id: 0,
    apic_enabled: true,
    osxsave: false,
    xcr0: 7,
};

/// A processor that has everything that this leaf-by-leaf sketch of a server of 2019 needs: all feature bits, XSAVE
/// states up to AVX-512 and beyond with their true sizes and offsets.
pub(super) fn rich(leaf: u32, subleaf: u32) -> Registers {
    match (leaf, subleaf) {
        (leaf::VENDOR, _) => [0x1f, 0x756e_6547, 0x6c65_746e, 0x4965_6e69],
        (leaf::FEATURES, _) => [0x0005_0657, 0x0710_0800, u32::MAX, u32::MAX],
        (leaf::CACHES, 0) => [0x1c00_4121, 0x01c0_003f, 0x3f, 0],
        (leaf::CACHES, 1) => [0x1c00_4143, 0x03c0_003f, 0x3ff, 0],
        (leaf::CACHES, 2) => [0x1c03_c163, 0x0280_003f, 0x7fff, 4],
        (leaf::CACHES, _) => [0; 4],
        (leaf::EXTENDED_FEATURES, 0) => [2, u32::MAX, u32::MAX, u32::MAX],
        (leaf::XSTATE, 0) => [0x6_02ff, 0x2a80, 0x2b00, 0],
        (leaf::XSTATE, 1) => [0x1f, 0x2a80, 0x100, 0],
        (leaf::XSTATE, 2) => [256, 576, 0, 0],
        (leaf::XSTATE, 3) => [64, 960, 0, 0],
        (leaf::XSTATE, 4) => [64, 1024, 0, 0],
        (leaf::XSTATE, 5) => [64, 1088, 0, 0],
        (leaf::XSTATE, 6) => [512, 1152, 0, 0],
        (leaf::XSTATE, 7) => [1024, 1664, 0, 0],
        (leaf::XSTATE, _) => [8, 2688, 3, 0],
        (leaf::EXTENDED, _) => [0x8000_0008, 0, 0, 0],
        (leaf::ADDRESS_SIZES, _) => [0x392e, u32::MAX, 0, 0],
        _ => [u32::MAX; 4],
    }
}

/// One that stops at leaf 0xa, without XSAVE; a leaf past the last answers with junk, as hardware does.
fn old(leaf: u32, subleaf: u32) -> Registers {
    match leaf {
        leaf::VENDOR => [0xa, 0x756e_6547, 0x6c65_746e, 0x4965_6e69],
        leaf::FEATURES => [0x0002_0652, 0x0010_0800, !Leaf1Ecx::XSAVE.bits(), u32::MAX],
        leaf::ADDRESS_SIZES => [0x3024, 0, 0, 0],
        _ => rich(leaf, subleaf),
    }
}

fn policy(facts: Facts) -> CpuidPolicy {
    CpuidPolicy::new(&rich, facts)
}

fn leaf_1(p: &CpuidPolicy) -> (Leaf1Ecx, Leaf1Edx) {
    let r = p.lookup(1, 0, NOW);
    (
        Leaf1Ecx::from_bits_retain(r[ECX]),
        Leaf1Edx::from_bits_retain(r[EDX]),
    )
}

#[test]
fn vendor_and_last_leaves() {
    let p = policy(FACTS);
    assert_eq!(
        p.lookup(0, 0, NOW),
        [0x16, 0x756e_6547, 0x6c65_746e, 0x4965_6e69]
    );
    assert_eq!(p.lookup(0x8000_0000, 0, NOW), [0x8000_0008, 0, 0, 0]);
    // SDM vol. 2, "CPUID": past the last leaf, the data of the last basic leaf.
    for past in [
        0x17,
        0x1f,
        0x21,
        0x3fff_ffff,
        0x5000_0000,
        0x7fff_ffff,
        0x8000_0009,
        u32::MAX,
    ] {
        assert_eq!(p.lookup(past, 3, NOW), p.lookup(0x16, 0, NOW), "{past:#x}");
    }
}

#[test]
fn what_the_hypervisor_makes_is_there_on_every_host() {
    for host in [rich, old] {
        let p = CpuidPolicy::new(&host, FACTS);
        let (ecx, edx) = leaf_1(&p);
        assert!(ecx.contains(Leaf1Ecx::HYPERVISOR | Leaf1Ecx::X2APIC | Leaf1Ecx::TSC_DEADLINE));
        assert!(edx.contains(Leaf1Edx::APIC));
        assert_eq!(p.lookup(6, 0, NOW), [4, 0, 0, 0]);
        assert_eq!(p.lookup(7, 0, NOW)[EBX] & 2, 2, "TSC_ADJUST");
        assert_eq!(p.lookup(0x8000_0007, 0, NOW), [0, 0, 0, 0x100]);
        assert_eq!(p.lookup(0x15, 0, NOW), [1, 1, 2_600_000_000, 0]);
        assert_eq!(p.lookup(0x16, 0, NOW), [2600, 2600, 100, 0]);
    }
}

/// Each of these would let a guest reach what is not its own, or promise what is not there.
#[test]
fn what_is_hidden_stays_hidden_on_a_host_that_has_all() {
    let p = policy(FACTS);
    let (ecx, edx) = leaf_1(&p);
    assert!(!ecx.intersects(
        Leaf1Ecx::VMX
            | Leaf1Ecx::SMX
            | Leaf1Ecx::MONITOR
            | Leaf1Ecx::EIST
            | Leaf1Ecx::PDCM
            | Leaf1Ecx::OSXSAVE
    ));
    assert!(
        !edx.intersects(
            Leaf1Edx::MTRR | Leaf1Edx::DS | Leaf1Edx::ACPI | Leaf1Edx::TM | Leaf1Edx::HTT
        )
    );
    let r = p.lookup(7, 0, NOW);
    assert_eq!(r[EAX], 1);
    let (ebx, c) = (
        Leaf7Ebx::from_bits_retain(r[EBX]),
        Leaf7Ecx::from_bits_retain(r[ECX]),
    );
    assert!(!ebx.intersects(
        Leaf7Ebx::SGX | Leaf7Ebx::PT | Leaf7Ebx::RTM | Leaf7Ebx::RDT_M | Leaf7Ebx::MPX
    ));
    assert!(!c.intersects(
        Leaf7Ecx::PKU
            | Leaf7Ecx::LA57
            | Leaf7Ecx::CET_SS
            | Leaf7Ecx::PKS
            | Leaf7Ecx::WAITPKG
            | Leaf7Ecx::KL
    ));
    let d = Leaf7Edx::from_bits_retain(r[EDX]);
    assert!(!d.intersects(
        Leaf7Edx::L1D_FLUSH
            | Leaf7Edx::ARCH_CAPABILITIES
            | Leaf7Edx::CORE_CAPABILITIES
            | Leaf7Edx::AMX_TILE
            | Leaf7Edx::CET_IBT
    ));
    for leaf in [
        3,
        5,
        8,
        9,
        0xa,
        0xc,
        0xe,
        0xf,
        0x10,
        0x11,
        0x12,
        0x13,
        0x14,
        0x8000_0005,
    ] {
        for subleaf in 0..4 {
            assert_eq!(p.lookup(leaf, subleaf, NOW), [0; 4], "{leaf:#x}");
        }
    }
}

/// A bit that the manual adds to a leaf of today must not appear by itself.
#[test]
fn feature_leaves_show_only_named_bits() {
    let p = policy(FACTS);
    let r = p.lookup(7, 0, NOW);
    assert_eq!(Leaf7Ebx::from_bits(r[EBX]).map(|b| b.bits()), Some(r[EBX]));
    assert_eq!(Leaf7Ecx::from_bits(r[ECX]).map(|b| b.bits()), Some(r[ECX]));
    assert_eq!(Leaf7Edx::from_bits(r[EDX]).map(|b| b.bits()), Some(r[EDX]));
    let r = p.lookup(7, 1, NOW);
    assert_eq!(
        (r[EAX] & !0x0080_1cb7, r[EBX], r[ECX], r[EDX] & !0x4430),
        (0, 0, 0, 0)
    );
    assert_eq!(p.lookup(7, 2, NOW), [0; 4]);
    assert_eq!(p.lookup(0x8000_0001, 0, NOW), [0, 0, 0x121, 0x2c10_0800]);
}

#[test]
fn the_state_of_the_vcpu_is_added() {
    let p = policy(FACTS);
    let now = Dynamic {
        apic_id: 5,
        apic_enabled: true,
        osxsave: true,
        xcr0: 7,
    };
    let r = p.lookup(1, 0, now);
    assert_eq!((r[EBX], r[ECX] >> 27 & 1), (0x0500_0800, 1));
    assert_eq!(p.lookup(1, u32::MAX, now), r, "leaf 1 has no subleafs");
    assert_eq!(p.lookup(0xb, 0, now), [0, 1, 0x100, 5]);
}

/// SDM vol. 3, "Enabling or Disabling the Local APIC".
#[test]
fn the_feature_bit_of_the_local_apic_goes_when_it_is_switched_off() {
    let p = policy(FACTS);
    let off = Dynamic {
        apic_enabled: false,
        ..NOW
    };
    let (on, off) = (p.lookup(1, 0, NOW), p.lookup(1, 0, off));
    assert_eq!(on[EDX] ^ off[EDX], Leaf1Edx::APIC.bits());
    assert_eq!((on[EAX], on[EBX], on[ECX]), (off[EAX], off[EBX], off[ECX]));
}

#[test]
fn topology_of_one_and_of_many() {
    let one = policy(FACTS);
    assert_eq!(one.lookup(0xb, 1, NOW), [0, 1, 0x201, 0]);
    assert_eq!(one.lookup(0xb, 0x102, NOW), [0, 0, 2, 0], "no such level");
    assert_eq!(one.lookup(4, 2, NOW), [0x163, 0x0280_003f, 0x7fff, 4]);
    assert_eq!(one.lookup(4, 3, NOW), [0; 4]);

    let three = policy(Facts { vcpus: 3, ..FACTS });
    assert_eq!(three.lookup(0xb, 1, NOW), [2, 3, 0x201, 0]);
    assert_eq!(three.lookup(1, 0, NOW)[EBX] >> 16, 4);
    assert!(leaf_1(&three).1.contains(Leaf1Edx::HTT));
    // L1 by itself, L3 shared by four ids; four cores.
    assert_eq!(three.lookup(4, 0, NOW)[EAX], 0x0c00_0121);
    assert_eq!(three.lookup(4, 2, NOW)[EAX], 0x0c00_c163);
}

/// Linux warns when these do not add up ("XSAVE consistency problem").
#[test]
fn xsave_sizes_follow_xcr0() {
    let p = policy(FACTS);
    assert_eq!(p.xcr0(), Xcr0::all());
    let at = |xcr0, sub| p.lookup(0xd, sub, Dynamic { xcr0, ..NOW });
    for (xcr0, standard, compacted) in [
        (1, 576, 576),
        (3, 576, 576),
        (7, 832, 832),
        (0xe7, 2688, 2432),
        (u64::MAX, 2688, 2432),
    ] {
        assert_eq!(at(xcr0, 0), [0xe7, standard, 2688, 0]);
        assert_eq!(at(xcr0, 1), [0xf, compacted, 0, 0]);
    }
    assert_eq!(at(7, 2), [256, 576, 0, 0]);
    for hidden in [3, 4, 8, 9, 17, 18, 63, u32::MAX] {
        assert_eq!(at(7, hidden), [0; 4]);
    }
    let plain = policy(Facts {
        xsaves: false,
        ..FACTS
    });
    assert_eq!(plain.lookup(0xd, 1, NOW), [0b101, 0, 0, 0]);
}

#[test]
fn compacted_states_are_aligned_where_hardware_says_so() {
    let host = |n: u32| [100, 1000 * n, if n == 6 { XSTATE_ALIGNED } else { 0 }, 0];
    // 576 + 100 + 100 = 776, up to 832, + 100 + 100
    assert_eq!(derive::xsave_size(host, 0xe7, true), 1032);
    assert_eq!(derive::xsave_size(host, 0xe7, false), 7100);
}

#[test]
fn features_go_with_the_state_and_the_controls_that_they_need() {
    let p = CpuidPolicy::new(&old, FACTS);
    assert!(p.xcr0().is_empty());
    assert!(
        !leaf_1(&p)
            .0
            .intersects(Leaf1Ecx::XSAVE | Leaf1Ecx::AVX | Leaf1Ecx::FMA | Leaf1Ecx::F16C)
    );
    let ebx = Leaf7Ebx::from_bits_retain(p.lookup(7, 0, NOW)[EBX]);
    assert!(!ebx.intersects(Leaf7Ebx::AVX2 | Leaf7Ebx::AVX512F | Leaf7Ebx::AVX512VL));
    assert_eq!(p.lookup(0xd, 0, NOW), [0; 4]);
    assert_eq!(p.lookup(0xd, 1, NOW), [0; 4]);
    assert!(!p.cr4().contains(Cr4::OSXSAVE));

    let p = policy(Facts {
        invpcid: false,
        rdtscp: false,
        ..FACTS
    });
    let r = p.lookup(7, 0, NOW);
    assert!(!Leaf7Ebx::from_bits_retain(r[EBX]).contains(Leaf7Ebx::INVPCID));
    assert!(!Leaf7Ecx::from_bits_retain(r[ECX]).contains(Leaf7Ecx::RDPID));
    assert!(!p.extended_1_edx().contains(Extended1Edx::RDTSCP));
}

#[test]
fn control_register_bits_are_those_of_the_features_shown() {
    let p = policy(FACTS);
    assert_eq!(
        p.cr4(),
        Cr4::all()
            - Cr4::LA57
            - Cr4::VMXE
            - Cr4::SMXE
            - Cr4::KL
            - Cr4::PKE
            - Cr4::CET
            - Cr4::PKS
            - Cr4::UINTR
    );
    assert_eq!(p.efer(), Efer::SCE | Efer::LME | Efer::NXE);
}

/// A guest may set CR4.MCE where it is told of machine checks, and there its MSRs say that no bank is.
#[test]
fn machine_checks_are_shown_where_the_host_has_them() {
    let (_, edx) = leaf_1(&policy(FACTS));
    assert!(edx.contains(Leaf1Edx::MCE | Leaf1Edx::MCA));
    let without = |leaf: u32, subleaf: u32| {
        let mut r = rich(leaf, subleaf);
        if leaf == leaf::FEATURES {
            r[EDX] &= !(Leaf1Edx::MCE | Leaf1Edx::MCA).bits();
        }
        r
    };
    let p = CpuidPolicy::new(&without, FACTS);
    assert!(!leaf_1(&p).1.intersects(Leaf1Edx::MCE | Leaf1Edx::MCA));
    assert!(!p.cr4().contains(Cr4::MCE));
}

#[test]
fn frequencies_beyond_32_bits_keep_the_crystal_exact() {
    for (hz, shift) in [
        (1, 0),
        (4_294_967_295, 0),
        (4_294_967_296, 1),
        (5_000_000_001, 1),
        (u64::MAX >> 1, 31),
    ] {
        let p = policy(Facts {
            tsc: Hz(hz),
            ..FACTS
        });
        let [eax, ebx, ecx, _] = p.lookup(0x15, 0, NOW);
        assert_eq!((eax, ebx, p.timer_shift()), (1, 1 << shift, shift), "{hz}");
        assert_eq!(u64::from(ecx), hz >> shift);
    }
    assert_eq!(
        policy(Facts {
            tsc: Hz(0),
            ..FACTS
        })
        .lookup(0x15, 0, NOW),
        [1, 1, 0, 0]
    );
}

#[test]
fn hypervisor_leaves() {
    let p = policy(FACTS);
    let text = |leaf| -> Vec<u8> {
        p.lookup(leaf, 0, NOW)[1..]
            .iter()
            .flat_map(|r| r.to_le_bytes())
            .collect()
    };
    assert_eq!(text(0x4000_0000), b"KVMKVMKVM\0\0\0");
    assert_eq!(
        p.lookup(0x4000_0001, 0, NOW),
        [0; 4],
        "no feature that would not be kept"
    );
    assert_eq!(text(0x4000_0100), b"BulkheadBulk");
    assert_eq!(p.lookup(0x4000_0100, 0, NOW)[EAX], 0x4000_0101);
    assert_eq!(p.lookup(0x4000_0101, 0, NOW)[EAX], 0x100, "0.1.0");
    for other in [0x4000_0002, 0x4000_0010, 0x4000_0102, 0x4fff_ffff] {
        assert_eq!(p.lookup(other, 0, NOW), [0; 4]);
    }
}

#[test]
fn addresses_have_at_most_48_linear_bits() {
    assert_eq!(policy(FACTS).lookup(0x8000_0008, 0, NOW), [0x302e, 0, 0, 0]);
    assert_eq!(policy(FACTS).address_bits(), 46);
}

#[test]
fn the_table_is_in_order_and_gives_reasons() {
    for pair in TABLE.windows(2) {
        let [a, b] = pair else { unreachable!() };
        let key = |r: &Row| (r.leaf, r.subleafs.range().start);
        assert!(key(a) < key(b), "{:#x}", b.leaf);
    }
    assert!(TABLE.iter().all(|r| !r.why.is_empty()));
    let answers: usize = TABLE.iter().map(|r| r.subleafs.range().len()).sum();
    assert!(answers <= ANSWERS);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Whatever the host says: no panic, and no register that is more than the host has and we add.
    #[test]
    fn any_host(
        seed in any::<[u32; 4]>(),
        hz in any::<u64>(),
        vcpus in any::<u8>(),
        leaf in prop_oneof![0..0x20u32, 0x8000_0000..0x8000_0010u32, any::<u32>()],
        subleaf in prop_oneof![0..10u32, any::<u32>()],
        now in any::<(u32, bool, bool, u64)>(),
    ) {
        let host = |leaf: u32, subleaf: u32| {
            seed.map(|s| s.wrapping_mul(leaf | 1).rotate_left(subleaf & 31) ^ s)
        };
        let p = CpuidPolicy::new(&host, Facts { tsc: Hz(hz), vcpus, ..FACTS });
        let now = Dynamic { apic_id: now.0, apic_enabled: now.1, osxsave: now.2, xcr0: now.3 };
        let shown = p.lookup(leaf, subleaf, now);
        if leaf == 7 && subleaf == 0 {
            prop_assert_eq!(shown[EBX] & !host(7, 0)[EBX], 2 & !host(7, 0)[EBX]);
            prop_assert_eq!(shown[ECX] & !host(7, 0)[ECX], 0);
            prop_assert_eq!(shown[EDX] & !host(7, 0)[EDX], 0);
        }
    }
}
