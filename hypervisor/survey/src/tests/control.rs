//! Control structures made by hand.

use super::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Each field holds its encoding, but for those that are set; which were read is kept.
#[derive(Default)]
struct Structure {
    set: BTreeMap<u32, u64>,
    read: RefCell<BTreeSet<u32>>,
}

impl Fields for Structure {
    fn field(&self, encoding: u32) -> u64 {
        self.read.borrow_mut().insert(encoding);
        *self.set.get(&encoding).unwrap_or(&encoding.into())
    }
}

fn structure(pin: u64, primary: u64, secondary: u64, exit: u64) -> Structure {
    let set = [
        (0x4000, pin),
        (0x4002, primary),
        (0x401e, secondary),
        (0x400c, exit),
        (0x2004, 0x1000),
        (0x2000, 0x1000),
        (0x2002, 0x2000),
    ];
    Structure {
        set: set.into(),
        read: RefCell::default(),
    }
}

fn whose() -> Whose {
    Whose {
        vm: 3,
        vcpu: 1,
        core: 2,
        carrier: "software".into(),
        vmcs: 0x9000,
    }
}

fn closed() -> Fake {
    let memory = Fake::default();
    memory.ones(0x1000);
    memory.ones(0x2000);
    memory
}

#[test]
fn with_every_control_on_every_field_is_where_the_manual_has_it() {
    let all = u64::from(u32::MAX);
    let fields = structure(all, all, all, all);
    let memory = closed();
    memory.flip(0x1000, 0x10);
    let got = Control::read(&fields).survey(&memory, whose()).unwrap();
    assert_eq!((got.vm, got.vcpu, got.core, got.vmcs), (3, 1, 2, 0x9000));
    assert_eq!((got.pin, got.primary), (u32::MAX, u32::MAX));
    assert_eq!(
        (got.secondary, got.exit, got.entry),
        (u32::MAX, u32::MAX, 0x4012)
    );
    assert_eq!((got.eptp, got.vpid), (0x201a, 0));
    assert_eq!(got.exception_bitmap, 0x4004);
    assert_eq!((got.cr0_mask, got.cr4_mask), (0x6000, 0x6002));
    assert_eq!(got.tsc_offset, 0x2010);
    assert_eq!(got.msr_bitmap, Some(0x1000));
    assert_eq!(
        (got.io_bitmap_a, got.io_bitmap_b),
        (Some(0x1000), Some(0x2000))
    );
    assert_eq!(
        (got.virtual_apic, got.apic_access),
        (Some(0x2012), Some(0x2014))
    );
    assert_eq!(
        (got.posted_descriptor, got.posted_vector),
        (Some(0x2016), Some(2))
    );
    assert_eq!(
        got.msr_lists,
        [(0x200a, 0x4014), (0x2006, 0x400e), (0x2008, 0x4010)]
    );
    let host = got.host;
    assert_eq!((host.cr0, host.cr3, host.cr4), (0x6c00, 0x6c02, 0x6c04));
    assert_eq!(
        (host.fs_base, host.gs_base, host.tr_base),
        (0x6c06, 0x6c08, 0x6c0a)
    );
    assert_eq!((host.gdtr, host.idtr), (0x6c0c, 0x6c0e));
    assert_eq!((host.rsp, host.rip), (0x6c14, 0x6c16));
    assert_eq!((host.pat, host.efer), (0x2c00, 0x2c02));
    // Bit 0x10 of that frame is MSR 0x10, and port 0x10.
    assert_eq!((got.msrs.len(), got.msrs[0].first), (1, 0x10));
    assert_eq!(got.ports, [(0x10, 0x10)]);
}

#[test]
fn fields_of_controls_that_are_off_are_not_read() {
    let fields = structure(0, 1 << 24, 0, 0);
    let got = Control::read(&fields).survey(&closed(), whose()).unwrap();
    let read = fields.read.borrow();
    for encoding in [
        0x0000, 0x0002, 0x2000, 0x2002, 0x2004, 0x2012, 0x2014, 0x2016, 0x201a, 0x401e, 0x2c00,
        0x2c02,
    ] {
        assert!(!read.contains(&encoding), "{encoding:#x}");
    }
    assert_eq!((got.eptp, got.vpid, got.secondary), (0, 0, 0));
    assert_eq!(
        (got.msr_bitmap, got.io_bitmap_a, got.io_bitmap_b),
        (None, None, None)
    );
    assert_eq!((got.virtual_apic, got.apic_access), (None, None));
    assert_eq!((got.posted_descriptor, got.posted_vector), (None, None));
    assert!(got.msrs.is_empty() && got.ports.is_empty(), "all exit");
}

#[test]
fn without_bitmaps_and_without_the_exit_every_port_is_open() {
    let got = Control::read(&structure(0, 0, 0, 0)).survey(&closed(), whose());
    assert_eq!(got.unwrap().ports, [(0, u16::MAX)]);
}

#[test]
fn a_bitmap_outside_memory_is_refused() {
    let mut fields = structure(0, 1 << 28, 0, 0);
    fields.set.insert(0x2004, 0xdead_0000);
    let got = Control::read(&fields).survey(&closed(), whose());
    assert_eq!(got, Err(Error::Elsewhere { at: 0xdead_0000 }));
}
