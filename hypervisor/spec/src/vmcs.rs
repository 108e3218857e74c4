//! VMCS field encodings (SDM vol. 3, appendix "Field Encoding in VMCS"), under the manual's headings.

/// The encoding of one VMCS field, as VMREAD and VMWRITE take it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Field(pub u32);

/// The width of a field: bits 14:13 of its encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldWidth {
    /// 16 bits
    W16,
    /// 64 bits
    W64,
    /// 32 bits
    W32,
    /// As wide as the processor's registers: 64 bits for us
    Natural,
}

/// What a field belongs to: bits 11:10 of its encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldKind {
    /// VM-execution, VM-exit and VM-entry controls
    Control,
    /// Information about a VM exit; read-only
    ExitInformation,
    /// Guest-state area
    Guest,
    /// Host-state area
    Host,
}

impl Field {
    /// How wide the field is.
    #[must_use]
    pub const fn width(self) -> FieldWidth {
        match (self.0 >> 13) & 3 {
            0 => FieldWidth::W16,
            1 => FieldWidth::W64,
            2 => FieldWidth::W32,
            _ => FieldWidth::Natural,
        }
    }

    /// Which area the field lies in.
    #[must_use]
    pub const fn kind(self) -> FieldKind {
        match (self.0 >> 10) & 3 {
            0 => FieldKind::Control,
            1 => FieldKind::ExitInformation,
            2 => FieldKind::Guest,
            _ => FieldKind::Host,
        }
    }

    /// The bits that a field of this width can hold.
    #[must_use]
    pub const fn mask(self) -> u64 {
        match self.width() {
            FieldWidth::W16 => 0xffff,
            FieldWidth::W32 => 0xffff_ffff,
            FieldWidth::W64 | FieldWidth::Natural => u64::MAX,
        }
    }

    /// The manual's name, or `None` for an encoding that [`ALL`] does not hold.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        ALL.iter().find(|(f, _)| *f == self).map(|(_, name)| *name)
    }
}

impl core::fmt::Debug for Field {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Field({:#06x}", self.0)?;
        if let Some(name) = self.name() {
            write!(f, ", {name}")?;
        }
        f.write_str(")")
    }
}

macro_rules! fields {
    ($($name:ident = $encoding:literal, $text:literal;)*) => {
        $(#[doc = $text] pub const $name: Field = Field($encoding);)*
        /// Every field below, with its name.
        pub const ALL: &[(Field, &str)] = &[$(($name, $text)),*];
    };
}

fields! {
    // 16-bit control fields
    VPID = 0x0000, "Virtual-processor identifier (VPID)";
    POSTED_INTERRUPT_VECTOR = 0x0002, "Posted-interrupt notification vector";
    EPTP_INDEX = 0x0004, "EPTP index";
    HLAT_PREFIX_SIZE = 0x0006, "HLAT prefix size";
    LAST_PID_POINTER_INDEX = 0x0008, "Last PID-pointer index";

    // 16-bit guest-state fields
    GUEST_ES_SELECTOR = 0x0800, "Guest ES selector";
    GUEST_CS_SELECTOR = 0x0802, "Guest CS selector";
    GUEST_SS_SELECTOR = 0x0804, "Guest SS selector";
    GUEST_DS_SELECTOR = 0x0806, "Guest DS selector";
    GUEST_FS_SELECTOR = 0x0808, "Guest FS selector";
    GUEST_GS_SELECTOR = 0x080a, "Guest GS selector";
    GUEST_LDTR_SELECTOR = 0x080c, "Guest LDTR selector";
    GUEST_TR_SELECTOR = 0x080e, "Guest TR selector";
    GUEST_INTERRUPT_STATUS = 0x0810, "Guest interrupt status";
    PML_INDEX = 0x0812, "PML index";
    GUEST_UINV = 0x0814, "Guest UINV";

    // 16-bit host-state fields
    HOST_ES_SELECTOR = 0x0c00, "Host ES selector";
    HOST_CS_SELECTOR = 0x0c02, "Host CS selector";
    HOST_SS_SELECTOR = 0x0c04, "Host SS selector";
    HOST_DS_SELECTOR = 0x0c06, "Host DS selector";
    HOST_FS_SELECTOR = 0x0c08, "Host FS selector";
    HOST_GS_SELECTOR = 0x0c0a, "Host GS selector";
    HOST_TR_SELECTOR = 0x0c0c, "Host TR selector";

    // 64-bit control fields
    IO_BITMAP_A = 0x2000, "Address of I/O bitmap A";
    IO_BITMAP_B = 0x2002, "Address of I/O bitmap B";
    MSR_BITMAPS = 0x2004, "Address of MSR bitmaps";
    EXIT_MSR_STORE_ADDRESS = 0x2006, "VM-exit MSR-store address";
    EXIT_MSR_LOAD_ADDRESS = 0x2008, "VM-exit MSR-load address";
    ENTRY_MSR_LOAD_ADDRESS = 0x200a, "VM-entry MSR-load address";
    EXECUTIVE_VMCS_POINTER = 0x200c, "Executive-VMCS pointer";
    PML_ADDRESS = 0x200e, "PML address";
    TSC_OFFSET = 0x2010, "TSC offset";
    VIRTUAL_APIC_ADDRESS = 0x2012, "Virtual-APIC address";
    APIC_ACCESS_ADDRESS = 0x2014, "APIC-access address";
    POSTED_INTERRUPT_DESCRIPTOR = 0x2016, "Posted-interrupt descriptor address";
    VM_FUNCTION_CONTROLS = 0x2018, "VM-function controls";
    EPT_POINTER = 0x201a, "EPT pointer (EPTP)";
    EOI_EXIT_BITMAP_0 = 0x201c, "EOI-exit bitmap 0";
    EOI_EXIT_BITMAP_1 = 0x201e, "EOI-exit bitmap 1";
    EOI_EXIT_BITMAP_2 = 0x2020, "EOI-exit bitmap 2";
    EOI_EXIT_BITMAP_3 = 0x2022, "EOI-exit bitmap 3";
    EPTP_LIST_ADDRESS = 0x2024, "EPTP-list address";
    VMREAD_BITMAP = 0x2026, "VMREAD-bitmap address";
    VMWRITE_BITMAP = 0x2028, "VMWRITE-bitmap address";
    VE_INFORMATION_ADDRESS = 0x202a, "Virtualization-exception information address";
    XSS_EXITING_BITMAP = 0x202c, "XSS-exiting bitmap";
    ENCLS_EXITING_BITMAP = 0x202e, "ENCLS-exiting bitmap";
    SPP_TABLE_POINTER = 0x2030, "Sub-page-permission-table pointer";
    TSC_MULTIPLIER = 0x2032, "TSC multiplier";
    TERTIARY_CONTROLS = 0x2034, "Tertiary processor-based VM-execution controls";
    ENCLV_EXITING_BITMAP = 0x2036, "ENCLV-exiting bitmap";
    LOW_PASID_DIRECTORY = 0x2038, "Low PASID directory address";
    HIGH_PASID_DIRECTORY = 0x203a, "High PASID directory address";
    SHARED_EPT_POINTER = 0x203c, "Shared EPT pointer";
    PCONFIG_EXITING_BITMAP = 0x203e, "PCONFIG-exiting bitmap";
    HLAT_POINTER = 0x2040, "Hypervisor-managed linear-address translation pointer";
    PID_POINTER_TABLE = 0x2042, "PID-pointer table address";
    SECONDARY_EXIT_CONTROLS = 0x2044, "Secondary VM-exit controls";
    SPEC_CTRL_MASK = 0x204a, "IA32_SPEC_CTRL mask";
    SPEC_CTRL_SHADOW = 0x204c, "IA32_SPEC_CTRL shadow";

    // 64-bit read-only data field
    GUEST_PHYSICAL_ADDRESS = 0x2400, "Guest-physical address";

    // 64-bit guest-state fields
    VMCS_LINK_POINTER = 0x2800, "VMCS link pointer";
    GUEST_DEBUGCTL = 0x2802, "Guest IA32_DEBUGCTL";
    GUEST_PAT = 0x2804, "Guest IA32_PAT";
    GUEST_EFER = 0x2806, "Guest IA32_EFER";
    GUEST_PERF_GLOBAL_CTRL = 0x2808, "Guest IA32_PERF_GLOBAL_CTRL";
    GUEST_PDPTE0 = 0x280a, "Guest PDPTE0";
    GUEST_PDPTE1 = 0x280c, "Guest PDPTE1";
    GUEST_PDPTE2 = 0x280e, "Guest PDPTE2";
    GUEST_PDPTE3 = 0x2810, "Guest PDPTE3";
    GUEST_BNDCFGS = 0x2812, "Guest IA32_BNDCFGS";
    GUEST_RTIT_CTL = 0x2814, "Guest IA32_RTIT_CTL";
    GUEST_LBR_CTL = 0x2816, "Guest IA32_LBR_CTL";
    GUEST_PKRS = 0x2818, "Guest IA32_PKRS";

    // 64-bit host-state fields
    HOST_PAT = 0x2c00, "Host IA32_PAT";
    HOST_EFER = 0x2c02, "Host IA32_EFER";
    HOST_PERF_GLOBAL_CTRL = 0x2c04, "Host IA32_PERF_GLOBAL_CTRL";
    HOST_PKRS = 0x2c06, "Host IA32_PKRS";

    // 32-bit control fields
    PIN_CONTROLS = 0x4000, "Pin-based VM-execution controls";
    PRIMARY_CONTROLS = 0x4002, "Primary processor-based VM-execution controls";
    EXCEPTION_BITMAP = 0x4004, "Exception bitmap";
    PAGE_FAULT_ERROR_MASK = 0x4006, "Page-fault error-code mask";
    PAGE_FAULT_ERROR_MATCH = 0x4008, "Page-fault error-code match";
    CR3_TARGET_COUNT = 0x400a, "CR3-target count";
    EXIT_CONTROLS = 0x400c, "Primary VM-exit controls";
    EXIT_MSR_STORE_COUNT = 0x400e, "VM-exit MSR-store count";
    EXIT_MSR_LOAD_COUNT = 0x4010, "VM-exit MSR-load count";
    ENTRY_CONTROLS = 0x4012, "VM-entry controls";
    ENTRY_MSR_LOAD_COUNT = 0x4014, "VM-entry MSR-load count";
    ENTRY_INTERRUPTION_INFO = 0x4016, "VM-entry interruption-information field";
    ENTRY_ERROR_CODE = 0x4018, "VM-entry exception error code";
    ENTRY_INSTRUCTION_LENGTH = 0x401a, "VM-entry instruction length";
    TPR_THRESHOLD = 0x401c, "TPR threshold";
    SECONDARY_CONTROLS = 0x401e, "Secondary processor-based VM-execution controls";
    PLE_GAP = 0x4020, "PLE_Gap";
    PLE_WINDOW = 0x4022, "PLE_Window";
    INSTRUCTION_TIMEOUT = 0x4024, "Instruction-timeout control";

    // 32-bit read-only data fields
    INSTRUCTION_ERROR = 0x4400, "VM-instruction error";
    EXIT_REASON = 0x4402, "Exit reason";
    EXIT_INTERRUPTION_INFO = 0x4404, "VM-exit interruption information";
    EXIT_INTERRUPTION_ERROR_CODE = 0x4406, "VM-exit interruption error code";
    IDT_VECTORING_INFO = 0x4408, "IDT-vectoring information field";
    IDT_VECTORING_ERROR_CODE = 0x440a, "IDT-vectoring error code";
    EXIT_INSTRUCTION_LENGTH = 0x440c, "VM-exit instruction length";
    EXIT_INSTRUCTION_INFO = 0x440e, "VM-exit instruction information";

    // 32-bit guest-state fields
    GUEST_ES_LIMIT = 0x4800, "Guest ES limit";
    GUEST_CS_LIMIT = 0x4802, "Guest CS limit";
    GUEST_SS_LIMIT = 0x4804, "Guest SS limit";
    GUEST_DS_LIMIT = 0x4806, "Guest DS limit";
    GUEST_FS_LIMIT = 0x4808, "Guest FS limit";
    GUEST_GS_LIMIT = 0x480a, "Guest GS limit";
    GUEST_LDTR_LIMIT = 0x480c, "Guest LDTR limit";
    GUEST_TR_LIMIT = 0x480e, "Guest TR limit";
    GUEST_GDTR_LIMIT = 0x4810, "Guest GDTR limit";
    GUEST_IDTR_LIMIT = 0x4812, "Guest IDTR limit";
    GUEST_ES_RIGHTS = 0x4814, "Guest ES access rights";
    GUEST_CS_RIGHTS = 0x4816, "Guest CS access rights";
    GUEST_SS_RIGHTS = 0x4818, "Guest SS access rights";
    GUEST_DS_RIGHTS = 0x481a, "Guest DS access rights";
    GUEST_FS_RIGHTS = 0x481c, "Guest FS access rights";
    GUEST_GS_RIGHTS = 0x481e, "Guest GS access rights";
    GUEST_LDTR_RIGHTS = 0x4820, "Guest LDTR access rights";
    GUEST_TR_RIGHTS = 0x4822, "Guest TR access rights";
    GUEST_INTERRUPTIBILITY = 0x4824, "Guest interruptibility state";
    GUEST_ACTIVITY = 0x4826, "Guest activity state";
    GUEST_SMBASE = 0x4828, "Guest SMBASE";
    GUEST_SYSENTER_CS = 0x482a, "Guest IA32_SYSENTER_CS";
    PREEMPTION_TIMER = 0x482e, "VMX-preemption timer value";

    // 32-bit host-state field
    HOST_SYSENTER_CS = 0x4c00, "Host IA32_SYSENTER_CS";

    // Natural-width control fields
    CR0_MASK = 0x6000, "CR0 guest/host mask";
    CR4_MASK = 0x6002, "CR4 guest/host mask";
    CR0_SHADOW = 0x6004, "CR0 read shadow";
    CR4_SHADOW = 0x6006, "CR4 read shadow";
    CR3_TARGET_0 = 0x6008, "CR3-target value 0";
    CR3_TARGET_1 = 0x600a, "CR3-target value 1";
    CR3_TARGET_2 = 0x600c, "CR3-target value 2";
    CR3_TARGET_3 = 0x600e, "CR3-target value 3";

    // Natural-width read-only data fields
    EXIT_QUALIFICATION = 0x6400, "Exit qualification";
    IO_RCX = 0x6402, "I/O RCX";
    IO_RSI = 0x6404, "I/O RSI";
    IO_RDI = 0x6406, "I/O RDI";
    IO_RIP = 0x6408, "I/O RIP";
    GUEST_LINEAR_ADDRESS = 0x640a, "Guest-linear address";

    // Natural-width guest-state fields
    GUEST_CR0 = 0x6800, "Guest CR0";
    GUEST_CR3 = 0x6802, "Guest CR3";
    GUEST_CR4 = 0x6804, "Guest CR4";
    GUEST_ES_BASE = 0x6806, "Guest ES base";
    GUEST_CS_BASE = 0x6808, "Guest CS base";
    GUEST_SS_BASE = 0x680a, "Guest SS base";
    GUEST_DS_BASE = 0x680c, "Guest DS base";
    GUEST_FS_BASE = 0x680e, "Guest FS base";
    GUEST_GS_BASE = 0x6810, "Guest GS base";
    GUEST_LDTR_BASE = 0x6812, "Guest LDTR base";
    GUEST_TR_BASE = 0x6814, "Guest TR base";
    GUEST_GDTR_BASE = 0x6816, "Guest GDTR base";
    GUEST_IDTR_BASE = 0x6818, "Guest IDTR base";
    GUEST_DR7 = 0x681a, "Guest DR7";
    GUEST_RSP = 0x681c, "Guest RSP";
    GUEST_RIP = 0x681e, "Guest RIP";
    GUEST_RFLAGS = 0x6820, "Guest RFLAGS";
    GUEST_PENDING_DEBUG = 0x6822, "Guest pending debug exceptions";
    GUEST_SYSENTER_ESP = 0x6824, "Guest IA32_SYSENTER_ESP";
    GUEST_SYSENTER_EIP = 0x6826, "Guest IA32_SYSENTER_EIP";
    GUEST_S_CET = 0x6828, "Guest IA32_S_CET";
    GUEST_SSP = 0x682a, "Guest SSP";
    GUEST_INTERRUPT_SSP_TABLE = 0x682c, "Guest IA32_INTERRUPT_SSP_TABLE_ADDR";

    // Natural-width host-state fields
    HOST_CR0 = 0x6c00, "Host CR0";
    HOST_CR3 = 0x6c02, "Host CR3";
    HOST_CR4 = 0x6c04, "Host CR4";
    HOST_FS_BASE = 0x6c06, "Host FS base";
    HOST_GS_BASE = 0x6c08, "Host GS base";
    HOST_TR_BASE = 0x6c0a, "Host TR base";
    HOST_GDTR_BASE = 0x6c0c, "Host GDTR base";
    HOST_IDTR_BASE = 0x6c0e, "Host IDTR base";
    HOST_SYSENTER_ESP = 0x6c10, "Host IA32_SYSENTER_ESP";
    HOST_SYSENTER_EIP = 0x6c12, "Host IA32_SYSENTER_EIP";
    HOST_RSP = 0x6c14, "Host RSP";
    HOST_RIP = 0x6c16, "Host RIP";
    HOST_S_CET = 0x6c18, "Host IA32_S_CET";
    HOST_SSP = 0x6c1a, "Host SSP";
    HOST_INTERRUPT_SSP_TABLE = 0x6c1c, "Host IA32_INTERRUPT_SSP_TABLE_ADDR";
}

/// Guest interrupt status (SDM vol. 3, "Guest Non-Register State").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct InterruptStatus(pub u16);

impl InterruptStatus {
    /// From the two vectors, of which 0 means none.
    #[must_use]
    pub const fn new(requesting: u8, in_service: u8) -> Self {
        Self(u16::from_le_bytes([requesting, in_service]))
    }

    /// Requesting virtual interrupt (RVI): the highest vector that waits.
    #[must_use]
    pub const fn requesting(self) -> u8 {
        self.0 as u8
    }

    /// Servicing virtual interrupt (SVI): the highest vector in service.
    #[must_use]
    pub const fn in_service(self) -> u8 {
        (self.0 >> 8) as u8
    }
}

/// The four VMCS fields of one guest segment register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentFields {
    /// Selector
    pub selector: Field,
    /// Base address
    pub base: Field,
    /// Segment limit
    pub limit: Field,
    /// Access rights
    pub rights: Field,
}

/// The fields of the guest segment register of number `n`: ES, CS, SS, DS, FS, GS, LDTR, TR are 0 to 7, of which
/// the low three bits count. The manual's encodings of the four groups run in this order.
#[must_use]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "eight registers, whose fields' numbers the manual has in a row"
)]
pub const fn segment(n: usize) -> SegmentFields {
    let step = 2 * (n & 7) as u32;
    SegmentFields {
        selector: Field(GUEST_ES_SELECTOR.0 + step),
        base: Field(GUEST_ES_BASE.0 + step),
        limit: Field(GUEST_ES_LIMIT.0 + step),
        rights: Field(GUEST_ES_RIGHTS.0 + step),
    }
}

/// Number of LDTR for [`segment`].
pub const LDTR: usize = 6;
/// Number of TR for [`segment`].
pub const TR: usize = 7;

const _: () = {
    assert!(segment(TR).rights.0 == GUEST_TR_RIGHTS.0);
    assert!(segment(TR).limit.0 == GUEST_TR_LIMIT.0);
    assert!(segment(TR).base.0 == GUEST_TR_BASE.0);
    assert!(segment(LDTR).selector.0 == GUEST_LDTR_SELECTOR.0);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_unique_and_of_the_defined_form() {
        for (i, (field, name)) in ALL.iter().enumerate() {
            // Bit 0 would name the high half; bits 12, 15 and above are reserved.
            assert_eq!(field.0 & !0x6ffe, 0, "{name}");
            assert!(
                ALL[..i].iter().all(|(f, n)| f != field && n != name),
                "{name}"
            );
        }
    }

    #[test]
    fn width_and_kind_follow_the_encoding() {
        assert_eq!(VPID.width(), FieldWidth::W16);
        assert_eq!(EPT_POINTER.width(), FieldWidth::W64);
        assert_eq!(EXIT_REASON.width(), FieldWidth::W32);
        assert_eq!(HOST_RIP.width(), FieldWidth::Natural);
        assert_eq!(EXIT_REASON.kind(), FieldKind::ExitInformation);
        for (field, name) in ALL {
            assert_eq!(
                name.starts_with("Host "),
                field.kind() == FieldKind::Host,
                "{name}"
            );
        }
    }
}
