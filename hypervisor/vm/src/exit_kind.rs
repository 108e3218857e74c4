//! Exits as the statistics tell them apart.

use exits::Exit;
use spec::apic::register;
use spec::{Msr, msr};

const ICR: Msr = x2apic(register::ICR);
const EOI: Msr = x2apic(register::EOI);

/// The MSR of a register in x2APIC mode.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "256 registers from 0x800 on"
)]
const fn x2apic(register: u8) -> Msr {
    Msr(msr::X2APIC_FIRST.0 + register as u32)
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $kind:ident $name:literal $($pattern:pat_param)|+,)*) => {
        /// What an exit was for.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Kind { $($(#[doc = $doc])* $kind),* }

        impl Kind {
            /// All of them, in the order of their numbers.
            pub const ALL: [Kind; KINDS] = [$(Kind::$kind),*];

            /// Its name, one word.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name),* }
            }

            /// Whether exits of this kind come at any time, whatever the guest does: they tell nothing of its progress.
            #[inline]
            #[must_use]
            pub const fn is_asynchronous(self) -> bool {
                matches!(
                    self,
                    Kind::Window | Kind::NmiWindow | Kind::Timer | Kind::HostInterrupt | Kind::Kick
                )
            }

            /// The kind of an exit.
            #[inline]
            #[must_use]
            pub const fn of(exit: &Exit) -> Self {
                match exit { $($($pattern)|+ => Kind::$kind,)* }
            }
        }

        /// How many there are.
        pub(crate) const KINDS: usize = [$($name),*].len();
    };
}

kinds! {
    /// CPUID
    Cpuid "cpuid" Exit::Cpuid,
    /// IN or OUT
    Port "port" Exit::Port(_),
    /// INS or OUTS
    PortString "port_string" Exit::PortString(_),
    /// An access to an address without memory
    GpaFault "gpa_fault" Exit::GpaFault(_),
    /// RDMSR
    MsrRead "rdmsr" Exit::MsrRead(_),
    /// WRMSR to IA32_TSC_DEADLINE
    TscDeadline "tsc_deadline" Exit::MsrWrite(msr::TSC_DEADLINE),
    /// WRMSR to the x2APIC's interrupt command register
    Icr "icr" Exit::MsrWrite(ICR),
    /// WRMSR to the x2APIC's end-of-interrupt register
    Eoi "eoi" Exit::MsrWrite(EOI),
    /// WRMSR to any other register
    MsrWrite "wrmsr" Exit::MsrWrite(_),
    /// A write to CR0, CR4 or IA32_EFER
    Control "control" Exit::Cr0Write(_) | Exit::Cr4Write(_) | Exit::EferWrite(_),
    /// CR8, the task priority
    Cr8 "cr8" Exit::Cr8Read(_) | Exit::Cr8Write(_),
    /// XSETBV
    Xsetbv "xsetbv" Exit::Xsetbv,
    /// HLT
    Hlt "hlt" Exit::Hlt,
    /// The guest can take an interrupt
    Window "window" Exit::InterruptWindow,
    /// The guest can take an NMI
    NmiWindow "nmi_window" Exit::NmiWindow,
    /// The preemption timer
    Timer "timer" Exit::TimerExpired,
    /// An interrupt of the host
    HostInterrupt "host_interrupt" Exit::HostInterrupt(_),
    /// A kick: another core has something for the guest
    Kick "kick" Exit::HostNmi,
    /// An exception of the guest
    Exception "exception" Exit::Exception { .. },
    /// An instruction that the guest does not have, or may not use
    Refused "refused" Exit::Hypercall | Exit::Undefined | Exit::Forbidden,
    /// INVD or WBINVD
    CacheFlush "cache_flush" Exit::CacheFlush,
    /// The end of a level-triggered interrupt, and other writes to a local APIC that the processor carries
    ApicWrite "apic_write" Exit::VirtualizedEoi(_) | Exit::ApicWrite(_),
    /// What ends the VM
    End "end" Exit::TripleFault | Exit::TaskSwitch | Exit::EntryFailed(_) | Exit::Unknown(_),
}
