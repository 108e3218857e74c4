//! What is allowed, with the reasons (SDM vol. 3, chapter "Virtual Machine Control Structures"). What is not here must be off.

use super::May::{Be, Off, On};
use super::{Bit, May};

/// Secondary control "enable EPT".
pub(crate) const EPT: u32 = 1 << 1;
/// Secondary control "enable VPID".
pub(crate) const VPID: u32 = 1 << 5;

const fn bit(bit: u8, name: &'static str, may: [May; 3], why: &'static str) -> Bit {
    Bit {
        bit,
        name,
        may,
        why,
    }
}

const fn always(number: u8, name: &'static str, why: &'static str) -> Bit {
    bit(number, name, [On; 3], why)
}

const fn either(number: u8, name: &'static str, why: &'static str) -> Bit {
    bit(number, name, [Be; 3], why)
}

const fn fixed(number: u8) -> Bit {
    either(
        number,
        "reserved",
        "processors fix it to 1, and it does nothing",
    )
}

pub(super) const PIN: &[Bit] = &[
    bit(
        0,
        "external-interrupt exiting",
        [On, On, Be],
        "interrupts are the host's, but on a core whose local APIC is the guest's",
    ),
    fixed(1),
    fixed(2),
    always(
        3,
        "NMI exiting",
        "by an NMI the hypervisor gets any core back",
    ),
    fixed(4),
    always(5, "virtual NMIs", "a guest that blocks NMIs blocks its own"),
    bit(
        6,
        "activate VMX-preemption timer",
        [On, On, Be],
        "ends a guest's turn, but on a core that has no other",
    ),
    bit(
        7,
        "process posted interrupts",
        [Off, Be, Off],
        "needs virtual-interrupt delivery",
    ),
];

pub(super) const PRIMARY: &[Bit] = &[
    fixed(1),
    either(2, "interrupt-window exiting", "one exit more"),
    either(
        3,
        "use TSC offsetting",
        "what time a guest sees is no way out",
    ),
    fixed(4),
    fixed(5),
    fixed(6),
    bit(
        7,
        "HLT exiting",
        [On, On, Be],
        "a core sleeps when no vCPU wants it, but one that has no other",
    ),
    fixed(8),
    always(10, "MWAIT exiting", "power states are the host's"),
    always(11, "RDPMC exiting", "counters count others too"),
    fixed(13),
    fixed(14),
    either(
        15,
        "CR3-load exiting",
        "one exit more; older processors fix it to 1",
    ),
    either(
        16,
        "CR3-store exiting",
        "one exit more; older processors fix it to 1",
    ),
    bit(
        19,
        "CR8-load exiting",
        [On, Be, Be],
        "CR8 is the task priority of the processor's local APIC, unless shadowed or the guest's",
    ),
    bit(20, "CR8-store exiting", [On, Be, Be], "the same, read"),
    bit(
        21,
        "use TPR shadow",
        [Off, On, Off],
        "CR8 is that of the virtual-APIC page, where there is one",
    ),
    either(22, "NMI-window exiting", "one exit more"),
    always(25, "use I/O bitmaps", "else ports are all the guest's"),
    fixed(26),
    always(28, "use MSR bitmaps", "what is not granted exits"),
    always(29, "MONITOR exiting", "goes with MWAIT"),
    always(31, "activate secondary controls", "else there is no EPT"),
];

pub(super) const SECONDARY: &[Bit] = &[
    always(
        1,
        "enable EPT",
        "else guest-physical addresses are host-physical ones",
    ),
    either(3, "enable RDTSCP", "reads the guest's own IA32_TSC_AUX"),
    bit(
        4,
        "virtualize x2APIC mode",
        [Off, On, Off],
        "what is granted of the local APIC's MSRs is the virtual-APIC page's",
    ),
    either(
        5,
        "enable VPID",
        "without, each entry drops all that is cached",
    ),
    always(6, "WBINVD exiting", "it would empty the caches of all"),
    either(
        7,
        "unrestricted guest",
        "EPT keeps it in without paging of its own too",
    ),
    bit(
        8,
        "APIC-register virtualization",
        [Off, On, Off],
        "likewise: reads are the page's",
    ),
    bit(
        9,
        "virtual-interrupt delivery",
        [Off, On, Off],
        "likewise: ends of interrupts and SELF_IPI are the page's",
    ),
    either(
        12,
        "enable INVPCID",
        "drops what is cached for its own VPID alone",
    ),
    either(15, "enable ENCLS exiting", "one exit more"),
    either(28, "enable ENCLV exiting", "one exit more"),
];

pub(super) const EXIT: &[Bit] = &[
    fixed(0),
    fixed(1),
    always(
        2,
        "save debug controls",
        "they are the guest's, and the host's are others",
    ),
    fixed(3),
    fixed(4),
    fixed(5),
    fixed(6),
    fixed(7),
    fixed(8),
    always(
        9,
        "host address-space size",
        "the hypervisor is 64-bit code",
    ),
    fixed(10),
    fixed(11),
    fixed(13),
    fixed(14),
    either(
        15,
        "acknowledge interrupt on exit",
        "the hypervisor asks for what has come",
    ),
    fixed(16),
    fixed(17),
    always(18, "save IA32_PAT", "it is the guest's"),
    always(
        19,
        "load IA32_PAT",
        "or the guest's would give the hypervisor's memory its types",
    ),
    always(20, "save IA32_EFER", "it is the guest's"),
    always(
        21,
        "load IA32_EFER",
        "or the guest's would take the hypervisor's NXE",
    ),
    either(
        22,
        "save VMX-preemption timer value",
        "the rest of the guest's turn",
    ),
];

pub(super) const ENTRY: &[Bit] = &[
    fixed(0),
    fixed(1),
    always(2, "load debug controls", "they are the guest's"),
    fixed(3),
    fixed(4),
    fixed(5),
    fixed(6),
    fixed(7),
    fixed(8),
    either(9, "IA-32e mode guest", "follows the guest's mode"),
    fixed(12),
    always(14, "load IA32_PAT", "it is the guest's"),
    always(15, "load IA32_EFER", "it is the guest's"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_is_there_once_and_in_order() {
        for table in [PIN, PRIMARY, SECONDARY, EXIT, ENTRY] {
            assert!(table.windows(2).all(|two| two[0].bit < two[1].bit));
            assert!(table.iter().all(|bit| bit.bit < 32));
        }
    }

    /// SDM vol. 3, appendix "VMX Capability Reporting Facility": the default1 class, less what of it newer processors let be 0 and is
    /// named above.
    #[test]
    fn what_processors_fix_to_one_is_allowed() {
        for (table, default1) in [
            (PIN, 0x16_u32),
            (PRIMARY, 0x0401_e172),
            (EXIT, 0x3_6dff),
            (ENTRY, 0x11ff),
        ] {
            for number in (0..32).filter(|number| default1 >> number & 1 != 0) {
                let known = table.iter().find(|bit| bit.bit == number);
                assert!(
                    known.is_some_and(|bit| !bit.may.contains(&Off)),
                    "bit {number}"
                );
            }
        }
    }
}
