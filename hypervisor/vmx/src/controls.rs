//! The choice of controls for one vCPU.

use crate::Capabilities;
use crate::capabilities::FixedBits;
use spec::cpu::vector;
use spec::vmx_controls::{
    EntryControls, ExitControls, PinControls, PrimaryControls, SecondaryControls,
};

/// What differs between vCPUs: instructions that the CPUID policy shows, and how the owner keeps time.
///
/// Each is given where the processor has it; what came of it stands in [`Controls`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wants {
    /// RDTSCP and RDPID
    pub rdtscp: bool,
    /// INVPCID
    pub invpcid: bool,
    /// XSAVES and XRSTORS
    pub xsaves: bool,
    /// UMWAIT, UMONITOR and TPAUSE
    pub user_wait: bool,
    /// The preemption timer goes on at an entry from where it stood at the exit, instead of starting anew
    pub save_timer: bool,
}

/// The controls of a vCPU, as the VMCS takes them, and what of the capabilities its registers hang on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Controls {
    /// Pin-based VM-execution controls
    pub pin: PinControls,
    /// Primary processor-based VM-execution controls
    pub primary: PrimaryControls,
    /// Secondary processor-based VM-execution controls
    pub secondary: SecondaryControls,
    /// VM-exit controls
    pub exit: ExitControls,
    /// VM-entry controls, for a guest that starts outside IA-32e mode
    pub entry: EntryControls,
    /// Exceptions that exit, a bit for each vector
    pub exceptions: u32,
    /// CR0 bits that VMX operation fixes
    pub cr0: FixedBits,
    /// CR4 bits that VMX operation fixes
    pub cr4: FixedBits,
    /// The preemption timer runs at the TSC's rate divided by two to this power
    pub timer_shift: u8,
}

const PIN: PinControls = PinControls::EXTERNAL_INTERRUPT_EXITING
    .union(PinControls::NMI_EXITING)
    .union(PinControls::VIRTUAL_NMIS)
    .union(PinControls::PREEMPTION_TIMER);

const PRIMARY: PrimaryControls = PrimaryControls::TSC_OFFSETTING
    .union(PrimaryControls::HLT_EXITING)
    .union(PrimaryControls::MWAIT_EXITING)
    .union(PrimaryControls::MONITOR_EXITING)
    .union(PrimaryControls::RDPMC_EXITING)
    .union(PrimaryControls::CR8_LOAD_EXITING)
    .union(PrimaryControls::CR8_STORE_EXITING)
    .union(PrimaryControls::IO_BITMAPS)
    .union(PrimaryControls::MSR_BITMAPS)
    .union(PrimaryControls::SECONDARY);

/// What every guest gets. ENCLS and ENCLV leaves all exit where the processor has them: no guest owns enclave pages.
const SECONDARY: SecondaryControls = SecondaryControls::EPT
    .union(SecondaryControls::UNRESTRICTED_GUEST)
    .union(SecondaryControls::VPID)
    .union(SecondaryControls::WBINVD_EXITING)
    .union(SecondaryControls::ENCLS_EXITING)
    .union(SecondaryControls::ENCLV_EXITING);

const EXIT: ExitControls = ExitControls::SAVE_DEBUG_CONTROLS
    .union(ExitControls::HOST_64_BIT)
    .union(ExitControls::ACKNOWLEDGE_INTERRUPT)
    .union(ExitControls::SAVE_PAT)
    .union(ExitControls::LOAD_PAT)
    .union(ExitControls::SAVE_EFER)
    .union(ExitControls::LOAD_EFER);

const ENTRY: EntryControls = EntryControls::LOAD_DEBUG_CONTROLS
    .union(EntryControls::LOAD_PAT)
    .union(EntryControls::LOAD_EFER);

/// #DB and #AC exit although they go straight back to the guest: a guest whose delivery of one raises the next
/// would keep the core in microcode for ever, without taking an interrupt (CVE-2015-8104, CVE-2015-5307).
/// #MC is the host's.
const EXCEPTIONS: u32 = 1 << vector::DB.0 | 1 << vector::AC.0 | 1 << vector::MC.0;

/// Chooses the controls of a vCPU.
///
/// [`Capabilities::missing`] must be empty; then all that isolation rests on is set in the result.
#[must_use]
pub fn select(capabilities: &Capabilities, wants: &Wants) -> Controls {
    let mut secondary = SECONDARY;
    // Without INVVPID stale mappings of a tagged TLB could not be dropped.
    secondary.set(SecondaryControls::VPID, capabilities.can_flush_vpid());
    secondary.set(SecondaryControls::RDTSCP, wants.rdtscp);
    secondary.set(SecondaryControls::INVPCID, wants.invpcid);
    secondary.set(SecondaryControls::XSAVES, wants.xsaves);
    secondary.set(SecondaryControls::USER_WAIT, wants.user_wait);
    let mut exit = EXIT;
    exit.set(ExitControls::SAVE_PREEMPTION_TIMER, wants.save_timer);
    Controls {
        pin: PinControls::from_bits_retain(capabilities.pin.adjust(PIN.bits())),
        primary: PrimaryControls::from_bits_retain(capabilities.primary.adjust(PRIMARY.bits())),
        secondary: SecondaryControls::from_bits_retain(
            capabilities.secondary.adjust(secondary.bits()),
        ),
        exit: ExitControls::from_bits_retain(capabilities.exit.adjust(exit.bits())),
        entry: EntryControls::from_bits_retain(capabilities.entry.adjust(ENTRY.bits())),
        exceptions: EXCEPTIONS,
        cr0: capabilities.cr0,
        cr4: capabilities.cr4,
        timer_shift: capabilities.misc.timer_shift(),
    }
}
