//! VM-exit reasons (SDM vol. 3, appendix "VMX Basic Exit Reasons").

/// The exit-reason field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct ExitReason(pub u32);

impl ExitReason {
    /// The basic exit reason.
    #[inline]
    #[must_use]
    pub const fn basic(self) -> u16 {
        self.0 as u16
    }

    /// Whether this is a VM-entry failure: no guest instruction has run.
    #[inline]
    #[must_use]
    pub const fn is_entry_failure(self) -> bool {
        self.0 & (1 << 31) != 0
    }
}

macro_rules! reasons {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        $(#[doc = $text] pub const $name: u16 = $number;)*

        /// The manual's words for a basic exit reason, or `None` if it is not defined.
        #[must_use]
        pub const fn name(basic: u16) -> Option<&'static str> {
            Some(match basic {
                $($name => $text,)*
                _ => return None,
            })
        }
    };
}

reasons! {
    EXCEPTION_OR_NMI = 0, "Exception or NMI";
    EXTERNAL_INTERRUPT = 1, "External interrupt";
    TRIPLE_FAULT = 2, "Triple fault";
    INIT = 3, "INIT signal";
    SIPI = 4, "Start-up IPI";
    IO_SMI = 5, "I/O system-management interrupt";
    OTHER_SMI = 6, "Other SMI";
    INTERRUPT_WINDOW = 7, "Interrupt window";
    NMI_WINDOW = 8, "NMI window";
    TASK_SWITCH = 9, "Task switch";
    CPUID = 10, "CPUID";
    GETSEC = 11, "GETSEC";
    HLT = 12, "HLT";
    INVD = 13, "INVD";
    INVLPG = 14, "INVLPG";
    RDPMC = 15, "RDPMC";
    RDTSC = 16, "RDTSC";
    RSM = 17, "RSM";
    VMCALL = 18, "VMCALL";
    VMCLEAR = 19, "VMCLEAR";
    VMLAUNCH = 20, "VMLAUNCH";
    VMPTRLD = 21, "VMPTRLD";
    VMPTRST = 22, "VMPTRST";
    VMREAD = 23, "VMREAD";
    VMRESUME = 24, "VMRESUME";
    VMWRITE = 25, "VMWRITE";
    VMXOFF = 26, "VMXOFF";
    VMXON = 27, "VMXON";
    CR_ACCESS = 28, "Control-register access";
    MOV_DR = 29, "MOV DR";
    IO_INSTRUCTION = 30, "I/O instruction";
    RDMSR = 31, "RDMSR";
    WRMSR = 32, "WRMSR";
    INVALID_GUEST_STATE = 33, "VM-entry failure due to invalid guest state";
    MSR_LOADING = 34, "VM-entry failure due to MSR loading";
    MWAIT = 36, "MWAIT";
    MONITOR_TRAP_FLAG = 37, "Monitor trap flag";
    MONITOR = 39, "MONITOR";
    PAUSE = 40, "PAUSE";
    MACHINE_CHECK = 41, "VM-entry failure due to machine-check event";
    TPR_BELOW_THRESHOLD = 43, "TPR below threshold";
    APIC_ACCESS = 44, "APIC access";
    VIRTUALIZED_EOI = 45, "Virtualized EOI";
    GDTR_IDTR = 46, "Access to GDTR or IDTR";
    LDTR_TR = 47, "Access to LDTR or TR";
    EPT_VIOLATION = 48, "EPT violation";
    EPT_MISCONFIGURATION = 49, "EPT misconfiguration";
    INVEPT = 50, "INVEPT";
    RDTSCP = 51, "RDTSCP";
    PREEMPTION_TIMER = 52, "VMX-preemption timer expired";
    INVVPID = 53, "INVVPID";
    WBINVD = 54, "WBINVD or WBNOINVD";
    XSETBV = 55, "XSETBV";
    APIC_WRITE = 56, "APIC write";
    RDRAND = 57, "RDRAND";
    INVPCID = 58, "INVPCID";
    VMFUNC = 59, "VMFUNC";
    ENCLS = 60, "ENCLS";
    RDSEED = 61, "RDSEED";
    PML_FULL = 62, "Page-modification log full";
    XSAVES = 63, "XSAVES";
    XRSTORS = 64, "XRSTORS";
    PCONFIG = 65, "PCONFIG";
    SPP_EVENT = 66, "SPP-related event";
    UMWAIT = 67, "UMWAIT";
    TPAUSE = 68, "TPAUSE";
    LOADIWKEY = 69, "LOADIWKEY";
    ENCLV = 70, "ENCLV";
    ENQCMD_PASID = 72, "ENQCMD PASID translation failure";
    ENQCMDS_PASID = 73, "ENQCMDS PASID translation failure";
    BUS_LOCK = 74, "Bus lock";
    INSTRUCTION_TIMEOUT = 75, "Instruction timeout";
    SEAMCALL = 76, "SEAMCALL";
    TDCALL = 77, "TDCALL";
    RDMSRLIST = 78, "RDMSRLIST";
    WRMSRLIST = 79, "WRMSRLIST";
}
