//! SDM vol. 3, "Checks on Guest Segment Registers" and "Checks on Guest Descriptor-Table Registers".

use super::Checker;
use crate::Vmcs;
use spec::cpu::{Cr0, Rflags, Segment};
use spec::vmcs::{self, SegmentFields};

const CS: usize = 1;
const SS: usize = 2;
const FS: usize = 4;
const GS: usize = 5;

pub(super) fn check<V: Vmcs>(c: &mut Checker<'_, V>) {
    c.section = "Checks on Guest Segment Registers";
    let virtual_8086 = c.get(vmcs::GUEST_RFLAGS) & Rflags::VM.bits() != 0;
    for n in 0..6 {
        if virtual_8086 {
            check_virtual_8086(c, n);
        } else {
            check_segment(c, n);
        }
    }
    check_tr(c);
    check_ldtr(c);
    check_tables(c);
}

/// The access-rights bits that the rules look at, by name.
#[derive(Clone, Copy)]
struct Rights(u32);

impl Rights {
    fn of<V: Vmcs>(c: &Checker<'_, V>, fields: SegmentFields) -> Self {
        Self(c.get(fields.rights) as u32)
    }

    const fn kind(self) -> u32 {
        self.0 & 0xf
    }

    const fn is_code_or_data(self) -> bool {
        self.0 & (1 << 4) != 0
    }

    const fn dpl(self) -> u32 {
        (self.0 >> 5) & 3
    }

    const fn is_present(self) -> bool {
        self.0 & (1 << 7) != 0
    }

    const fn is_usable(self) -> bool {
        self.0 & Segment::UNUSABLE == 0
    }
}

fn check_virtual_8086<V: Vmcs>(c: &mut Checker<'_, V>, n: usize) {
    let fields = vmcs::segment(n);
    let base = c.get(fields.base) == c.get(fields.selector) << 4;
    c.require(
        base,
        fields.base,
        "in virtual-8086 mode the base is the selector times 16",
    );
    let limit = c.get(fields.limit) == 0xffff;
    c.require(
        limit,
        fields.limit,
        "in virtual-8086 mode the limit is 0xffff",
    );
    let rights = c.get(fields.rights) == 0xf3;
    c.require(
        rights,
        fields.rights,
        "in virtual-8086 mode the access rights are 0xf3",
    );
}

fn check_segment<V: Vmcs>(c: &mut Checker<'_, V>, n: usize) {
    let fields = vmcs::segment(n);
    let rights = Rights::of(c, fields);
    if matches!(n, FS | GS) {
        c.require_canonical(fields.base);
    }
    if n == SS {
        // Its DPL is the privilege level, usable or not.
        check_privilege(c, fields, rights);
    }
    if n != CS && !rights.is_usable() {
        return;
    }
    if !matches!(n, FS | GS) {
        let base = c.get(fields.base) >> 32 == 0;
        c.require(base, fields.base, "bits 63:32 of the base must be 0");
    }
    c.require(
        rights.is_code_or_data(),
        fields.rights,
        "S must be set: a code or data segment",
    );
    common_rights(c, fields, rights);
    match n {
        CS => check_cs(c, fields, rights),
        SS => c.require(
            matches!(rights.kind(), 3 | 7),
            fields.rights,
            "SS must be accessed writeable data",
        ),
        _ => check_data(c, fields, rights),
    }
}

/// What holds for every usable segment register.
fn common_rights<V: Vmcs>(c: &mut Checker<'_, V>, fields: SegmentFields, rights: Rights) {
    c.require(rights.is_present(), fields.rights, "P must be set");
    c.require(
        rights.0 & 0xfffe_0f00 == 0,
        fields.rights,
        "bits 11:8 and 31:17 of the access rights must be 0",
    );
    let limit = c.get(fields.limit) as u32;
    let granular = rights.0 & (1 << 15) != 0;
    let fits = if granular {
        limit & 0xfff == 0xfff
    } else {
        limit >> 20 == 0
    };
    c.require(fits, fields.rights, "G must fit the limit");
}

fn check_cs<V: Vmcs>(c: &mut Checker<'_, V>, fields: SegmentFields, rights: Rights) {
    let stack_dpl = Rights::of(c, vmcs::segment(SS)).dpl();
    c.require(
        matches!(rights.kind(), 9 | 11 | 13 | 15) || rights.kind() == 3 && c.is_unrestricted(),
        fields.rights,
        "CS must be accessed code, or accessed writeable data in an unrestricted guest",
    );
    let dpl = match rights.kind() {
        3 => rights.dpl() == 0,
        9 | 11 => rights.dpl() == stack_dpl,
        13 | 15 => rights.dpl() <= stack_dpl,
        _ => true,
    };
    c.require(
        dpl,
        fields.rights,
        "DPL of CS must fit its type and DPL of SS",
    );
    let both = Segment::LONG | Segment::DEFAULT_32;
    c.require(
        !c.is_ia32e() || rights.0 & both != both,
        fields.rights,
        "in IA-32e mode L and D/B of CS exclude each other",
    );
}

fn check_privilege<V: Vmcs>(c: &mut Checker<'_, V>, fields: SegmentFields, rights: Rights) {
    if !c.is_unrestricted() {
        let rpl = (c.get(fields.selector) & 3) as u32;
        let code_rpl = (c.get(vmcs::GUEST_CS_SELECTOR) & 3) as u32;
        c.require(
            rpl == code_rpl,
            fields.selector,
            "RPL of SS must equal RPL of CS",
        );
        c.require(
            rights.dpl() == rpl,
            fields.rights,
            "DPL of SS must equal its RPL",
        );
    }
    let real = c.get(vmcs::GUEST_CR0) & Cr0::PE.bits() == 0;
    let data_cs = Rights::of(c, vmcs::segment(CS)).kind() == 3;
    c.require(
        rights.dpl() == 0 || !real && !data_cs,
        fields.rights,
        "DPL of SS must be 0 in real mode and with CS as a data segment",
    );
}

fn check_data<V: Vmcs>(c: &mut Checker<'_, V>, fields: SegmentFields, rights: Rights) {
    let kind = rights.kind();
    c.require(
        kind & 1 != 0 && (kind & 8 == 0 || kind & 2 != 0),
        fields.rights,
        "the segment must be accessed, and readable if it is code",
    );
    let rpl = (c.get(fields.selector) & 3) as u32;
    c.require(
        c.is_unrestricted() || kind > 11 || rights.dpl() >= rpl,
        fields.rights,
        "DPL must not be below RPL",
    );
}

fn check_tr<V: Vmcs>(c: &mut Checker<'_, V>) {
    let fields = vmcs::segment(vmcs::TR);
    let rights = Rights::of(c, fields);
    let table = c.get(fields.selector) & 4 == 0;
    c.require(table, fields.selector, "TI must be 0");
    c.require_canonical(fields.base);
    c.require(
        rights.kind() == 11 || rights.kind() == 3 && !c.is_ia32e(),
        fields.rights,
        "TR must be a busy TSS, in IA-32e mode a 64-bit one",
    );
    c.require(
        !rights.is_code_or_data(),
        fields.rights,
        "S must be clear: a system segment",
    );
    c.require(rights.is_usable(), fields.rights, "TR must be usable");
    common_rights(c, fields, rights);
}

fn check_ldtr<V: Vmcs>(c: &mut Checker<'_, V>) {
    let fields = vmcs::segment(vmcs::LDTR);
    let rights = Rights::of(c, fields);
    if !rights.is_usable() {
        return;
    }
    let table = c.get(fields.selector) & 4 == 0;
    c.require(table, fields.selector, "TI must be 0");
    c.require_canonical(fields.base);
    c.require(rights.kind() == 2, fields.rights, "LDTR must be an LDT");
    c.require(
        !rights.is_code_or_data(),
        fields.rights,
        "S must be clear: a system segment",
    );
    common_rights(c, fields, rights);
}

fn check_tables<V: Vmcs>(c: &mut Checker<'_, V>) {
    c.section = "Checks on Guest Descriptor-Table Registers";
    c.require_canonical(vmcs::GUEST_GDTR_BASE);
    c.require_canonical(vmcs::GUEST_IDTR_BASE);
    for field in [vmcs::GUEST_GDTR_LIMIT, vmcs::GUEST_IDTR_LIMIT] {
        let limit = c.get(field) >> 16 == 0;
        c.require(limit, field, "bits 31:16 of the limit must be 0");
    }
}
