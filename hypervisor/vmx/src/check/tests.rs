use super::*;
use crate::capabilities::FixedBits;
use crate::fake::MapVmcs;
use crate::fixture;
use crate::{Wants, exists};
use spec::state::StartState;
use spec::vmcs::*;
use spec::vmx_controls::SecondaryControls as Secondary;
use spec::vmx_event::EventKind;
use std::string::{String, ToString};
use std::vec::Vec;

const WIDTHS: AddressWidths = AddressWidths {
    physical: 39,
    linear: 48,
};

fn failures(vmcs: &MapVmcs, capabilities: &Capabilities) -> Vec<Failure> {
    let mut found = Vec::new();
    check(vmcs, capabilities, WIDTHS, &mut |f| found.push(f));
    found
}

/// A processor that has every control, so that each rule can be reached.
fn generous() -> Capabilities {
    let mut c = fixture::capabilities();
    c.pin.0 |= 0xff << 32;
    c.primary.0 |= 0xffff_ffff << 32;
    c.secondary.0 |= 0xffff_ffff << 32;
    c.exit.0 |= 0xffff_ffff << 32;
    c.entry.0 |= 0x00ff_ffff << 32;
    c.cr4 = FixedBits {
        must_be_one: 0x2000,
        may_be_one: 0xff_ffff,
    };
    c
}

fn base(start: &StartState) -> MapVmcs {
    fixture::started(&fixture::capabilities(), &Wants::default(), start).0
}

#[test]
fn what_initialise_writes_is_valid_in_every_mode() {
    for processor in [fixture::SANDY_BRIDGE, fixture::SKYLAKE] {
        let capabilities = Capabilities::new(fixture::reader(processor));
        let all = Wants {
            rdtscp: true,
            invpcid: true,
            xsaves: true,
            user_wait: true,
            save_timer: true,
        };
        for start in [
            fixture::real_start(),
            fixture::protected_start(),
            fixture::long_start(),
        ] {
            for wants in [Wants::default(), all] {
                let (vmcs, _) = fixture::started(&capabilities, &wants, &start);
                assert_eq!(failures(&vmcs, &capabilities), []);
                for field in vmcs.fields() {
                    assert!(exists(field, &capabilities), "VMWRITE of absent {field:?}");
                }
            }
        }
    }
}

/// A VMCS that only reads what the processor has.
struct Strict<'a>(&'a MapVmcs, &'a Capabilities);

impl Vmcs for Strict<'_> {
    fn read(&self, field: Field) -> u64 {
        assert!(exists(field, self.1), "VMREAD of absent {field:?}");
        self.0.read(field)
    }

    fn write(&mut self, field: Field, _: u64) {
        panic!("the checker writes {field:?}");
    }
}

#[test]
fn neither_checker_nor_dump_reads_a_field_that_the_processor_has_not() {
    for processor in [fixture::SANDY_BRIDGE, fixture::SKYLAKE] {
        let capabilities = Capabilities::new(fixture::reader(processor));
        let (vmcs, _) = fixture::started(&capabilities, &Wants::default(), &fixture::long_start());
        let strict = Strict(&vmcs, &capabilities);
        check(&strict, &capabilities, WIDTHS, &mut |f| panic!("{f}"));
        let text = crate::dump(&strict, &capabilities).to_string();
        assert!(text.contains("Guest RIP: 0x200000"), "{text}");
        assert!(text.contains("Host RIP: 0xffff800000010000"), "{text}");
    }
}

/// Which VMCS a case starts from.
#[derive(Clone, Copy, Debug)]
enum Start {
    Long,
    Protected,
    Real,
    /// Long mode, without unrestricted guest
    Restricted,
    Virtual8086,
}

fn prepared(from: Start) -> MapVmcs {
    let mut vmcs = base(&match from {
        Start::Long | Start::Restricted => fixture::long_start(),
        Start::Protected | Start::Virtual8086 => fixture::protected_start(),
        Start::Real => fixture::real_start(),
    });
    match from {
        Start::Restricted => {
            let without = Secondary::UNRESTRICTED_GUEST.bits();
            let value = vmcs.get(SECONDARY_CONTROLS) & !u64::from(without);
            vmcs.set(SECONDARY_CONTROLS, value);
        }
        Start::Virtual8086 => {
            vmcs.set(GUEST_RFLAGS, 1 << 17 | 2);
            for n in 0..6 {
                let f = segment(n);
                vmcs.set(f.selector, 0x1000);
                vmcs.set(f.base, 0x1_0000);
                vmcs.set(f.limit, 0xffff);
                vmcs.set(f.rights, 0xf3);
            }
        }
        Start::Long | Start::Protected | Start::Real => {}
    }
    vmcs
}

/// Fields changed, and the field and rule that must be named: this one and no other.
type Case = (Start, &'static [(Field, u64)], Field, &'static str);

fn event(kind: EventKind, vector: u8, error_code: bool) -> u64 {
    u64::from(InterruptionInfo::new(spec::Vector(vector), kind, error_code).0)
}

fn run(cases: &[Case]) {
    let capabilities = generous();
    for (from, changes, field, rule) in cases {
        let mut vmcs = prepared(*from);
        assert_eq!(
            failures(&vmcs, &capabilities),
            [],
            "{from:?} before the change"
        );
        for (field, value) in *changes {
            vmcs.set(*field, *value);
        }
        let found = failures(&vmcs, &capabilities);
        let named: Vec<(Field, &str)> = found.iter().map(|f| (f.field, f.rule)).collect();
        assert_eq!(named, [(*field, *rule)], "{from:?} with {changes:x?}");
        assert!(!found[0].section.is_empty());
        assert_eq!(found[0].value, vmcs.get(*field));
    }
}

use Start::{Long, Protected, Real, Restricted, Virtual8086};

const ALIGNED: &str = "the address must be aligned";
const PHYSICAL: &str = "the address must not exceed the physical-address width";
const CANONICAL: &str = "the address must be canonical";
const BEYOND: u64 = 1 << 39;
const NONCANONICAL: u64 = 1 << 47;

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

#[test]
fn vm_exit_controls() {
    const EXIT: u64 = 0x003f_efff;
    assert_eq!(prepared(Long).get(EXIT_CONTROLS), EXIT);
    run(&[
        (
            Long,
            &[(EXIT_CONTROLS, EXIT & !1)],
            EXIT_CONTROLS,
            "reserved controls must be set as the capability MSR says",
        ),
        (
            Long,
            &[(PIN_CONTROLS, 0x3f), (EXIT_CONTROLS, EXIT | 1 << 22)],
            EXIT_CONTROLS,
            "saving the preemption timer needs the timer",
        ),
        (
            Long,
            &[(EXIT_MSR_STORE_COUNT, 1), (EXIT_MSR_STORE_ADDRESS, 8)],
            EXIT_MSR_STORE_ADDRESS,
            ALIGNED,
        ),
        (
            Long,
            &[(EXIT_MSR_LOAD_COUNT, 1), (EXIT_MSR_LOAD_ADDRESS, BEYOND)],
            EXIT_MSR_LOAD_ADDRESS,
            PHYSICAL,
        ),
        (
            Long,
            &[
                (EXIT_MSR_LOAD_COUNT, 2),
                (EXIT_MSR_LOAD_ADDRESS, BEYOND - 16),
            ],
            EXIT_MSR_LOAD_COUNT,
            "the last byte of the MSR area must not exceed the physical-address width",
        ),
    ]);
}

#[test]
fn vm_entry_controls() {
    const ENTRY: u64 = 0xd3ff;
    assert_eq!(prepared(Long).get(ENTRY_CONTROLS), ENTRY);
    const INFO: Field = ENTRY_INTERRUPTION_INFO;
    const VALID: u64 = 1 << 31;
    run(&[
        (
            Long,
            &[(ENTRY_CONTROLS, ENTRY & !1)],
            ENTRY_CONTROLS,
            "reserved controls must be set as the capability MSR says",
        ),
        (
            Long,
            &[(INFO, VALID | 1 << 8)],
            INFO,
            "the event's type must be defined",
        ),
        (
            Long,
            &[(INFO, VALID | 2 << 8 | 3)],
            INFO,
            "the event's vector must fit its type",
        ),
        (
            Long,
            &[(INFO, VALID | 3 << 8 | 32)],
            INFO,
            "the event's vector must fit its type",
        ),
        (
            Long,
            &[(INFO, VALID | 7 << 8 | 1)],
            INFO,
            "the event's vector must fit its type",
        ),
        (
            Long,
            &[(INFO, VALID | 3 << 8 | 13)],
            INFO,
            "an error code goes with exceptions that push one, in protected mode",
        ),
        (
            Long,
            &[(INFO, VALID | 1 << 11 | 3 << 8 | 6)],
            INFO,
            "an error code goes with exceptions that push one, in protected mode",
        ),
        (
            Real,
            &[(INFO, VALID | 1 << 11 | 3 << 8 | 13)],
            INFO,
            "an error code goes with exceptions that push one, in protected mode",
        ),
        (
            Long,
            &[(INFO, VALID | 1 << 12 | 3 << 8 | 6)],
            INFO,
            "bits 30:12 of the event must be 0",
        ),
        (
            Long,
            &[
                (INFO, VALID | 1 << 11 | 3 << 8 | 13),
                (ENTRY_ERROR_CODE, 0x1_0000),
            ],
            ENTRY_ERROR_CODE,
            "bits 31:16 of the error code must be 0",
        ),
        (
            Long,
            &[
                (INFO, VALID | 4 << 8 | 0x80),
                (ENTRY_INSTRUCTION_LENGTH, 16),
            ],
            ENTRY_INSTRUCTION_LENGTH,
            "the instruction of a software event has 1 to 15 bytes",
        ),
        (
            Long,
            &[(ENTRY_MSR_LOAD_COUNT, 1), (ENTRY_MSR_LOAD_ADDRESS, 8)],
            ENTRY_MSR_LOAD_ADDRESS,
            ALIGNED,
        ),
        (
            Long,
            &[(ENTRY_CONTROLS, ENTRY | 1 << 10)],
            ENTRY_CONTROLS,
            "outside SMM no entry goes to SMM or ends the dual-monitor treatment",
        ),
    ]);
    let mut vmcs = prepared(Real);
    vmcs.set(INFO, event(EventKind::HardwareException, 13, false));
    assert_eq!(
        failures(&vmcs, &generous()),
        [],
        "#GP in real mode has no error code"
    );
}

#[test]
fn a_software_event_of_length_zero_needs_the_capability() {
    let mut vmcs = prepared(Long);
    vmcs.set(
        ENTRY_INTERRUPTION_INFO,
        event(EventKind::SoftwareInterrupt, 0x80, false),
    );
    let mut capabilities = generous();
    assert_eq!(failures(&vmcs, &capabilities), []);
    capabilities.misc.0 &= !(1 << 30);
    let found = failures(&vmcs, &capabilities);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].field, ENTRY_INSTRUCTION_LENGTH);
}

#[test]
fn host_state() {
    const FIXED: &str = "bits that VMX operation fixes must have that value";
    run(&[
        (Long, &[(HOST_CR0, 0x8005_0013)], HOST_CR0, FIXED),
        (Long, &[(HOST_CR4, 0x60)], HOST_CR4, FIXED),
        (
            Long,
            &[(HOST_CR3, BEYOND)],
            HOST_CR3,
            "bits beyond the physical-address width must be 0",
        ),
        (
            Long,
            &[(HOST_SYSENTER_ESP, NONCANONICAL)],
            HOST_SYSENTER_ESP,
            CANONICAL,
        ),
        (
            Long,
            &[(HOST_SYSENTER_EIP, NONCANONICAL)],
            HOST_SYSENTER_EIP,
            CANONICAL,
        ),
        (
            Long,
            &[(HOST_PAT, 0x0007_0406_0007_0402)],
            HOST_PAT,
            "each byte must be 0, 1, 4, 5, 6 or 7",
        ),
        (
            Long,
            &[(HOST_EFER, 0x1d02)],
            HOST_EFER,
            "reserved bits of IA32_EFER must be 0",
        ),
        (
            Long,
            &[(HOST_EFER, 0x900)],
            HOST_EFER,
            "LMA and LME must equal the host address-space size",
        ),
        (
            Long,
            &[(HOST_SS_SELECTOR, 0x13)],
            HOST_SS_SELECTOR,
            "RPL and TI of the selector must be 0",
        ),
        (
            Long,
            &[(HOST_FS_SELECTOR, 0x14)],
            HOST_FS_SELECTOR,
            "RPL and TI of the selector must be 0",
        ),
        (
            Long,
            &[(HOST_CS_SELECTOR, 0)],
            HOST_CS_SELECTOR,
            "the selector must not be 0",
        ),
        (
            Long,
            &[(HOST_TR_SELECTOR, 0)],
            HOST_TR_SELECTOR,
            "the selector must not be 0",
        ),
        (
            Long,
            &[(HOST_FS_BASE, NONCANONICAL)],
            HOST_FS_BASE,
            CANONICAL,
        ),
        (
            Long,
            &[(HOST_GS_BASE, NONCANONICAL)],
            HOST_GS_BASE,
            CANONICAL,
        ),
        (
            Long,
            &[(HOST_TR_BASE, NONCANONICAL)],
            HOST_TR_BASE,
            CANONICAL,
        ),
        (
            Long,
            &[(HOST_GDTR_BASE, NONCANONICAL)],
            HOST_GDTR_BASE,
            CANONICAL,
        ),
        (
            Long,
            &[(HOST_IDTR_BASE, NONCANONICAL)],
            HOST_IDTR_BASE,
            CANONICAL,
        ),
        (
            Long,
            &[
                (EXIT_CONTROLS, 0x003f_efff & !(1 << 9)),
                (HOST_EFER, 0x800),
                (HOST_SS_SELECTOR, 0x10),
            ],
            EXIT_CONTROLS,
            "a 64-bit host must have the host address-space size set",
        ),
        (
            Long,
            &[(HOST_CR4, 0x2040)],
            HOST_CR4,
            "a 64-bit host has CR4.PAE set",
        ),
        (Long, &[(HOST_RIP, NONCANONICAL)], HOST_RIP, CANONICAL),
    ]);
}

#[test]
fn guest_registers() {
    const FIXED: &str = "bits that VMX operation fixes must have that value";
    const CR0: u64 = 0x8001_0031;
    assert_eq!(prepared(Long).get(GUEST_CR0), CR0);
    run(&[
        (Long, &[(GUEST_CR0, CR0 & !0x20)], GUEST_CR0, FIXED),
        (Restricted, &[(GUEST_CR0, CR0 | 1 << 32)], GUEST_CR0, FIXED),
        (
            Protected,
            &[(GUEST_CR0, 0x8000_0030), (GUEST_CS_RIGHTS, 0xc093)],
            GUEST_CR0,
            "CR0.PG needs CR0.PE",
        ),
        (Long, &[(GUEST_CR4, 0x20)], GUEST_CR4, FIXED),
        (
            Long,
            &[(GUEST_CR0, CR0 & !0x1_0000), (GUEST_CR4, 0x80_2020)],
            GUEST_CR4,
            "CR4.CET needs CR0.WP",
        ),
        (
            Long,
            &[(GUEST_CR0, CR0 & !(1 << 31))],
            GUEST_CR0,
            "an IA-32e mode guest has CR0.PG set",
        ),
        (
            Long,
            &[(GUEST_CR4, 0x2000)],
            GUEST_CR4,
            "an IA-32e mode guest has CR4.PAE set",
        ),
        (
            Protected,
            &[(GUEST_CR4, 0x2_2000)],
            GUEST_CR4,
            "CR4.PCIDE needs an IA-32e mode guest",
        ),
        (
            Long,
            &[(GUEST_CR3, BEYOND)],
            GUEST_CR3,
            "bits beyond the physical-address width must be 0",
        ),
        (
            Long,
            &[(GUEST_DEBUGCTL, 1 << 3)],
            GUEST_DEBUGCTL,
            "reserved bits of IA32_DEBUGCTL must be 0",
        ),
        (
            Long,
            &[(GUEST_DR7, 1 << 32)],
            GUEST_DR7,
            "bits 63:32 of DR7 must be 0",
        ),
        (
            Long,
            &[(GUEST_SYSENTER_ESP, NONCANONICAL)],
            GUEST_SYSENTER_ESP,
            CANONICAL,
        ),
        (
            Long,
            &[(GUEST_SYSENTER_EIP, NONCANONICAL)],
            GUEST_SYSENTER_EIP,
            CANONICAL,
        ),
        (
            Long,
            &[(GUEST_PAT, 8)],
            GUEST_PAT,
            "each byte must be 0, 1, 4, 5, 6 or 7",
        ),
        (
            Long,
            &[(GUEST_EFER, 0x502)],
            GUEST_EFER,
            "reserved bits of IA32_EFER must be 0",
        ),
        (
            Protected,
            &[(GUEST_EFER, 0x500)],
            GUEST_EFER,
            "LMA must equal the IA-32e mode guest control",
        ),
        (
            Long,
            &[(GUEST_EFER, 0x400)],
            GUEST_EFER,
            "with CR0.PG set LMA must equal LME",
        ),
        (
            Long,
            &[(GUEST_RIP, 1 << 48)],
            GUEST_RIP,
            "bits beyond the linear-address width must be alike",
        ),
        (
            Protected,
            &[(GUEST_RIP, 1 << 32)],
            GUEST_RIP,
            "bits 63:32 must be 0 outside 64-bit mode",
        ),
        (
            Long,
            &[(GUEST_RFLAGS, 0)],
            GUEST_RFLAGS,
            "reserved bits must be 0, and bit 1 set",
        ),
        (
            Long,
            &[(GUEST_RFLAGS, 0x8002)],
            GUEST_RFLAGS,
            "reserved bits must be 0, and bit 1 set",
        ),
        (
            Virtual8086,
            &[(GUEST_CR0, 0x30)],
            GUEST_RFLAGS,
            "virtual-8086 mode needs protected mode outside IA-32e mode",
        ),
        (
            Long,
            &[(ENTRY_INTERRUPTION_INFO, 1 << 31 | 0x20)],
            GUEST_RFLAGS,
            "injecting an external interrupt needs RFLAGS.IF",
        ),
    ]);
    let mut vmcs = prepared(Long);
    vmcs.set(GUEST_RIP, 1 << 47);
    assert_eq!(failures(&vmcs, &generous()), [], "just past the lower half");
}

#[test]
fn guest_segments() {
    const RIGHTS: &str = "bits 11:8 and 31:17 of the access rights must be 0";
    run(&[
        (
            Virtual8086,
            &[(GUEST_DS_BASE, 0)],
            GUEST_DS_BASE,
            "in virtual-8086 mode the base is the selector times 16",
        ),
        (
            Virtual8086,
            &[(GUEST_ES_LIMIT, 0xfffe)],
            GUEST_ES_LIMIT,
            "in virtual-8086 mode the limit is 0xffff",
        ),
        (
            Virtual8086,
            &[(GUEST_GS_RIGHTS, 0x93)],
            GUEST_GS_RIGHTS,
            "in virtual-8086 mode the access rights are 0xf3",
        ),
        (
            Long,
            &[(GUEST_FS_BASE, NONCANONICAL)],
            GUEST_FS_BASE,
            CANONICAL,
        ),
        (
            Long,
            &[(GUEST_GS_BASE, NONCANONICAL)],
            GUEST_GS_BASE,
            CANONICAL,
        ),
        (
            Long,
            &[(GUEST_CS_BASE, 1 << 32)],
            GUEST_CS_BASE,
            "bits 63:32 of the base must be 0",
        ),
        (
            Long,
            &[(GUEST_DS_BASE, 1 << 32)],
            GUEST_DS_BASE,
            "bits 63:32 of the base must be 0",
        ),
        (
            Long,
            &[(GUEST_ES_RIGHTS, 0xc083)],
            GUEST_ES_RIGHTS,
            "S must be set: a code or data segment",
        ),
        (
            Long,
            &[(GUEST_DS_RIGHTS, 0xc013)],
            GUEST_DS_RIGHTS,
            "P must be set",
        ),
        (Long, &[(GUEST_CS_RIGHTS, 0xa29b)], GUEST_CS_RIGHTS, RIGHTS),
        (
            Long,
            &[(GUEST_FS_RIGHTS, 0x2_c093)],
            GUEST_FS_RIGHTS,
            RIGHTS,
        ),
        (
            Long,
            &[(GUEST_DS_RIGHTS, 0x4093)],
            GUEST_DS_RIGHTS,
            "G must fit the limit",
        ),
        (
            Long,
            &[(GUEST_DS_LIMIT, 0xffff_f0ff)],
            GUEST_DS_RIGHTS,
            "G must fit the limit",
        ),
        (
            Long,
            &[(GUEST_CS_RIGHTS, 0xa09a)],
            GUEST_CS_RIGHTS,
            "CS must be accessed code, or accessed writeable data in an unrestricted guest",
        ),
        (
            Restricted,
            &[(GUEST_CS_RIGHTS, 0xa093)],
            GUEST_CS_RIGHTS,
            "CS must be accessed code, or accessed writeable data in an unrestricted guest",
        ),
        (
            Long,
            &[(GUEST_CS_RIGHTS, 0xa0fb)],
            GUEST_CS_RIGHTS,
            "DPL of CS must fit its type and DPL of SS",
        ),
        (
            Long,
            &[(GUEST_CS_RIGHTS, 0xa0bf)],
            GUEST_CS_RIGHTS,
            "DPL of CS must fit its type and DPL of SS",
        ),
        (
            Long,
            &[(GUEST_CS_RIGHTS, 0xe09b)],
            GUEST_CS_RIGHTS,
            "in IA-32e mode L and D/B of CS exclude each other",
        ),
        (
            Long,
            &[(GUEST_SS_RIGHTS, 0xc091)],
            GUEST_SS_RIGHTS,
            "SS must be accessed writeable data",
        ),
        (
            Restricted,
            &[(GUEST_CS_SELECTOR, 0xb)],
            GUEST_SS_SELECTOR,
            "RPL of SS must equal RPL of CS",
        ),
        (
            Restricted,
            &[(GUEST_CS_SELECTOR, 0xb), (GUEST_SS_SELECTOR, 0x13)],
            GUEST_SS_RIGHTS,
            "DPL of SS must equal its RPL",
        ),
        (
            Real,
            &[(GUEST_SS_RIGHTS, 0xf3), (GUEST_CS_RIGHTS, 0xfb)],
            GUEST_SS_RIGHTS,
            "DPL of SS must be 0 in real mode and with CS as a data segment",
        ),
        (
            Protected,
            &[(GUEST_SS_RIGHTS, 0xc0f3), (GUEST_CS_RIGHTS, 0xc093)],
            GUEST_SS_RIGHTS,
            "DPL of SS must be 0 in real mode and with CS as a data segment",
        ),
        (
            Long,
            &[(GUEST_ES_RIGHTS, 0xc092)],
            GUEST_ES_RIGHTS,
            "the segment must be accessed, and readable if it is code",
        ),
        (
            Long,
            &[(GUEST_ES_RIGHTS, 0xc099)],
            GUEST_ES_RIGHTS,
            "the segment must be accessed, and readable if it is code",
        ),
        (
            Restricted,
            &[(GUEST_DS_SELECTOR, 0x13)],
            GUEST_DS_RIGHTS,
            "DPL must not be below RPL",
        ),
        (
            Long,
            &[(GUEST_TR_SELECTOR, 4)],
            GUEST_TR_SELECTOR,
            "TI must be 0",
        ),
        (
            Long,
            &[(GUEST_TR_BASE, NONCANONICAL)],
            GUEST_TR_BASE,
            CANONICAL,
        ),
        (
            Long,
            &[(GUEST_TR_RIGHTS, 0x83)],
            GUEST_TR_RIGHTS,
            "TR must be a busy TSS, in IA-32e mode a 64-bit one",
        ),
        (
            Protected,
            &[(GUEST_TR_RIGHTS, 0x89)],
            GUEST_TR_RIGHTS,
            "TR must be a busy TSS, in IA-32e mode a 64-bit one",
        ),
        (
            Long,
            &[(GUEST_TR_RIGHTS, 0x9b)],
            GUEST_TR_RIGHTS,
            "S must be clear: a system segment",
        ),
        (
            Long,
            &[(GUEST_TR_RIGHTS, 0x1_008b)],
            GUEST_TR_RIGHTS,
            "TR must be usable",
        ),
        (
            Long,
            &[(GUEST_TR_RIGHTS, 0x0b)],
            GUEST_TR_RIGHTS,
            "P must be set",
        ),
        (
            Long,
            &[(GUEST_LDTR_RIGHTS, 0x82), (GUEST_LDTR_SELECTOR, 4)],
            GUEST_LDTR_SELECTOR,
            "TI must be 0",
        ),
        (
            Long,
            &[(GUEST_LDTR_RIGHTS, 0x82), (GUEST_LDTR_BASE, NONCANONICAL)],
            GUEST_LDTR_BASE,
            CANONICAL,
        ),
        (
            Long,
            &[(GUEST_LDTR_RIGHTS, 0x83)],
            GUEST_LDTR_RIGHTS,
            "LDTR must be an LDT",
        ),
        (
            Long,
            &[(GUEST_LDTR_RIGHTS, 0x92)],
            GUEST_LDTR_RIGHTS,
            "S must be clear: a system segment",
        ),
        (
            Long,
            &[(GUEST_GDTR_BASE, NONCANONICAL)],
            GUEST_GDTR_BASE,
            CANONICAL,
        ),
        (
            Long,
            &[(GUEST_IDTR_BASE, NONCANONICAL)],
            GUEST_IDTR_BASE,
            CANONICAL,
        ),
        (
            Long,
            &[(GUEST_GDTR_LIMIT, 0x1_0000)],
            GUEST_GDTR_LIMIT,
            "bits 31:16 of the limit must be 0",
        ),
        (
            Long,
            &[(GUEST_IDTR_LIMIT, 0x1_0000)],
            GUEST_IDTR_LIMIT,
            "bits 31:16 of the limit must be 0",
        ),
    ]);
}

#[test]
fn guest_non_register_state() {
    const INFO: Field = ENTRY_INTERRUPTION_INFO;
    const STEPPING: &str =
        "while blocked or halted, BS must be set exactly if the guest single-steps";
    run(&[
        (
            Long,
            &[(GUEST_ACTIVITY, 4)],
            GUEST_ACTIVITY,
            "the activity state must be supported",
        ),
        (
            Long,
            &[
                (GUEST_ACTIVITY, 1),
                (GUEST_SS_RIGHTS, 0xc0f3),
                (GUEST_CS_RIGHTS, 0xa0fb),
            ],
            GUEST_ACTIVITY,
            "a halted guest has DPL of SS 0",
        ),
        (
            Long,
            &[(GUEST_ACTIVITY, 1), (GUEST_INTERRUPTIBILITY, 2)],
            GUEST_ACTIVITY,
            "with blocking by STI or MOV SS the guest must be active",
        ),
        (
            Long,
            &[(GUEST_ACTIVITY, 1), (INFO, 1 << 31 | 3 << 8 | 6)],
            GUEST_ACTIVITY,
            "the event must be one that ends the activity state",
        ),
        (
            Long,
            &[(GUEST_ACTIVITY, 3), (INFO, 1 << 31 | 2 << 8 | 2)],
            GUEST_ACTIVITY,
            "the event must be one that ends the activity state",
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 0x20)],
            GUEST_INTERRUPTIBILITY,
            "bits 31:5 must be 0",
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 3), (GUEST_RFLAGS, 0x202)],
            GUEST_INTERRUPTIBILITY,
            "blocking by STI and by MOV SS exclude each other",
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 1)],
            GUEST_INTERRUPTIBILITY,
            "blocking by STI needs RFLAGS.IF",
        ),
        (
            Long,
            &[
                (GUEST_INTERRUPTIBILITY, 1),
                (GUEST_RFLAGS, 0x202),
                (INFO, 1 << 31 | 0x20),
            ],
            GUEST_INTERRUPTIBILITY,
            "an external interrupt is not injected while STI or MOV SS blocks it",
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 2), (INFO, 1 << 31 | 2 << 8 | 2)],
            GUEST_INTERRUPTIBILITY,
            "an NMI is not injected while MOV SS (on some processors STI) blocks it",
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 4)],
            GUEST_INTERRUPTIBILITY,
            "outside SMM there is no blocking by SMI",
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 8), (INFO, 1 << 31 | 2 << 8 | 2)],
            GUEST_INTERRUPTIBILITY,
            "a virtual NMI is not injected while NMIs are blocked",
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 0x12)],
            GUEST_INTERRUPTIBILITY,
            "an enclave interruption and blocking by MOV SS exclude each other",
        ),
        (
            Long,
            &[(GUEST_PENDING_DEBUG, 1 << 4)],
            GUEST_PENDING_DEBUG,
            "reserved bits must be 0",
        ),
        (
            Long,
            &[(GUEST_PENDING_DEBUG, 1 << 13)],
            GUEST_PENDING_DEBUG,
            "reserved bits must be 0",
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 1), (GUEST_RFLAGS, 0x302)],
            GUEST_PENDING_DEBUG,
            STEPPING,
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 2), (GUEST_PENDING_DEBUG, 1 << 14)],
            GUEST_PENDING_DEBUG,
            STEPPING,
        ),
        (
            Long,
            &[
                (GUEST_ACTIVITY, 1),
                (GUEST_RFLAGS, 0x102),
                (GUEST_DEBUGCTL, 2),
                (GUEST_PENDING_DEBUG, 1 << 14),
            ],
            GUEST_PENDING_DEBUG,
            STEPPING,
        ),
        (
            Long,
            &[(GUEST_PENDING_DEBUG, 1 << 16)],
            GUEST_PENDING_DEBUG,
            "RTM goes with the enabled breakpoint alone, and not with blocking by MOV SS",
        ),
        (Long, &[(VMCS_LINK_POINTER, 8)], VMCS_LINK_POINTER, ALIGNED),
        (
            Long,
            &[(VMCS_LINK_POINTER, BEYOND)],
            VMCS_LINK_POINTER,
            PHYSICAL,
        ),
        (
            Protected,
            &[
                (GUEST_CR0, 0x8000_0031),
                (GUEST_CR4, 0x2020),
                (GUEST_PDPTE2, 3),
            ],
            GUEST_PDPTE2,
            "reserved bits of a present entry must be 0",
        ),
        (
            Protected,
            &[
                (GUEST_CR0, 0x8000_0031),
                (GUEST_CR4, 0x2020),
                (GUEST_PDPTE0, BEYOND | 1),
            ],
            GUEST_PDPTE0,
            "reserved bits of a present entry must be 0",
        ),
    ]);
}

#[test]
fn a_failure_reads_as_a_sentence() {
    let mut vmcs = prepared(Long);
    vmcs.set(GUEST_RFLAGS, 0);
    let text: Vec<String> = failures(&vmcs, &generous())
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        text,
        [
            "Guest RFLAGS is 0x0: reserved bits must be 0, and bit 1 set (SDM vol. 3, \"Checks on Guest RIP, RFLAGS, and SSP\")"
        ]
    );
}
