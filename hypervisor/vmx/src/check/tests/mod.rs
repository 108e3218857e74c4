mod entry_and_exit_controls;
mod execution_controls;
mod guest_registers;
mod guest_segments;
mod guest_state;
mod host;

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
        let mut dump = crate::Dump::default();
        let lines = core::iter::from_fn(|| dump.next(&strict, &capabilities));
        let text: String = lines.map(|line| line.to_string() + "\n").collect();
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
