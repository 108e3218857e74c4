use super::*;

#[test]
fn vm_execution_controls() {
    // The controls of a long-mode guest on this processor, to be changed by single bits.
    const PIN: u64 = 0x7f;
    const PRIMARY: u64 = 0xb618_6dfa;
    const SECONDARY: u64 = 0x80e2;
    let vmcs = prepared(Long);
    assert_eq!(vmcs.get(PIN_CONTROLS), PIN);
    assert_eq!(vmcs.get(PRIMARY_CONTROLS), PRIMARY);
    assert_eq!(vmcs.get(SECONDARY_CONTROLS), SECONDARY);
    const RESERVED: &str = "reserved controls must be set as the capability MSR says";
    run(&[
        (Long, &[(PIN_CONTROLS, PIN & !2)], PIN_CONTROLS, RESERVED),
        (
            Long,
            &[(PIN_CONTROLS, PIN | 1 << 9)],
            PIN_CONTROLS,
            RESERVED,
        ),
        (
            Long,
            &[(PRIMARY_CONTROLS, PRIMARY & !2)],
            PRIMARY_CONTROLS,
            RESERVED,
        ),
        (
            Long,
            &[(CR3_TARGET_COUNT, 5)],
            CR3_TARGET_COUNT,
            "there must be no more CR3 targets than IA32_VMX_MISC says",
        ),
        (
            Long,
            &[(SECONDARY_CONTROLS, SECONDARY | 1 << 25)],
            TSC_MULTIPLIER,
            "the TSC multiplier must not be 0",
        ),
        (Long, &[(IO_BITMAP_A, 0x30_1008)], IO_BITMAP_A, ALIGNED),
        (Long, &[(IO_BITMAP_B, BEYOND)], IO_BITMAP_B, PHYSICAL),
        (Long, &[(MSR_BITMAPS, 0x800)], MSR_BITMAPS, ALIGNED),
        (Long, &[(MSR_BITMAPS, BEYOND)], MSR_BITMAPS, PHYSICAL),
        (
            Long,
            &[(PIN_CONTROLS, PIN & !8)],
            PIN_CONTROLS,
            "virtual NMIs need NMI exiting",
        ),
        (
            Long,
            &[
                (PIN_CONTROLS, PIN & !0x28),
                (PRIMARY_CONTROLS, PRIMARY | 1 << 22),
            ],
            PRIMARY_CONTROLS,
            "NMI-window exiting needs virtual NMIs",
        ),
        (
            Long,
            &[
                (PIN_CONTROLS, PIN & !1),
                (PRIMARY_CONTROLS, PRIMARY | 1 << 21),
                (SECONDARY_CONTROLS, SECONDARY | 1 << 9),
            ],
            PIN_CONTROLS,
            "virtual-interrupt delivery needs external-interrupt exiting",
        ),
        (
            Long,
            &[(PIN_CONTROLS, PIN | 0x80)],
            SECONDARY_CONTROLS,
            "posted interrupts need virtual-interrupt delivery",
        ),
        (
            Long,
            &[
                (PIN_CONTROLS, PIN | 0x80),
                (PRIMARY_CONTROLS, PRIMARY | 1 << 21),
                (SECONDARY_CONTROLS, SECONDARY | 1 << 9),
                (POSTED_INTERRUPT_VECTOR, 0x100),
            ],
            POSTED_INTERRUPT_VECTOR,
            "the notification vector must be at most 255",
        ),
        (
            Long,
            &[
                (PIN_CONTROLS, PIN | 0x80),
                (PRIMARY_CONTROLS, PRIMARY | 1 << 21),
                (SECONDARY_CONTROLS, SECONDARY | 1 << 9),
                (POSTED_INTERRUPT_DESCRIPTOR, 0x20),
            ],
            POSTED_INTERRUPT_DESCRIPTOR,
            ALIGNED,
        ),
        (
            Long,
            &[
                (PIN_CONTROLS, PIN | 0x80),
                (PRIMARY_CONTROLS, PRIMARY | 1 << 21),
                (SECONDARY_CONTROLS, SECONDARY | 1 << 9),
                (EXIT_CONTROLS, 0x003f_6fff),
            ],
            EXIT_CONTROLS,
            "posted interrupts need acknowledge interrupt on exit",
        ),
        (
            Long,
            &[
                (PRIMARY_CONTROLS, PRIMARY | 1 << 21),
                (VIRTUAL_APIC_ADDRESS, 8),
            ],
            VIRTUAL_APIC_ADDRESS,
            ALIGNED,
        ),
        (
            Long,
            &[(PRIMARY_CONTROLS, PRIMARY | 1 << 21), (TPR_THRESHOLD, 0x10)],
            TPR_THRESHOLD,
            "bits 31:4 of the TPR threshold must be 0",
        ),
        (
            Long,
            &[(SECONDARY_CONTROLS, SECONDARY | 1 << 8)],
            SECONDARY_CONTROLS,
            "APIC virtualization needs the TPR shadow",
        ),
        (
            Long,
            &[
                (SECONDARY_CONTROLS, SECONDARY | 1),
                (APIC_ACCESS_ADDRESS, BEYOND),
            ],
            APIC_ACCESS_ADDRESS,
            PHYSICAL,
        ),
        (
            Long,
            &[
                (PRIMARY_CONTROLS, PRIMARY | 1 << 21),
                (SECONDARY_CONTROLS, SECONDARY | 1 | 1 << 4),
            ],
            SECONDARY_CONTROLS,
            "virtualize x2APIC mode and virtualize APIC accesses exclude each other",
        ),
        (Long, &[(VPID, 0)], VPID, "the VPID must not be 0"),
        (
            Long,
            &[(SECONDARY_CONTROLS, SECONDARY & !2)],
            SECONDARY_CONTROLS,
            "unrestricted guest and additions to EPT need EPT",
        ),
        (
            Long,
            &[(EPT_POINTER, 0x20_005c)],
            EPT_POINTER,
            "the EPT memory type must be supported",
        ),
        (
            Long,
            &[(EPT_POINTER, 0x20_0059)],
            EPT_POINTER,
            "the EPT memory type must be supported",
        ),
        (
            Long,
            &[(EPT_POINTER, 0x20_0066)],
            EPT_POINTER,
            "the EPT page-walk length must be supported",
        ),
        (
            Long,
            &[(EPT_POINTER, 0x20_00de)],
            EPT_POINTER,
            "reserved bits of the EPT pointer must be 0",
        ),
        (
            Long,
            &[(EPT_POINTER, BEYOND | 0x5e)],
            EPT_POINTER,
            "reserved bits of the EPT pointer must be 0",
        ),
        (
            Long,
            &[(SECONDARY_CONTROLS, SECONDARY | 1 << 17), (PML_ADDRESS, 1)],
            PML_ADDRESS,
            ALIGNED,
        ),
        (
            Long,
            &[
                (SECONDARY_CONTROLS, SECONDARY | 1 << 18),
                (VE_INFORMATION_ADDRESS, BEYOND),
            ],
            VE_INFORMATION_ADDRESS,
            PHYSICAL,
        ),
        (
            Long,
            &[
                (SECONDARY_CONTROLS, SECONDARY | 1 << 23),
                (SPP_TABLE_POINTER, 4),
            ],
            SPP_TABLE_POINTER,
            ALIGNED,
        ),
        (
            Long,
            &[
                (SECONDARY_CONTROLS, SECONDARY | 1 << 14),
                (VMREAD_BITMAP, 4),
            ],
            VMREAD_BITMAP,
            ALIGNED,
        ),
    ]);
}

#[test]
fn ept_flags_need_the_capability() {
    let mut capabilities = generous();
    capabilities
        .ept_vpid
        .remove(spec::vmx_msr::EptVpidCap::ACCESSED_DIRTY);
    let found = failures(&prepared(Long), &capabilities);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].rule,
        "EPT accessed and dirty flags must be supported"
    );
}
