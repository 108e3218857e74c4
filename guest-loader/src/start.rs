//! The registers at a start, and the tables that they point to.

use crate::Start;
use spec::cpu::{Cr0, Cr4, Efer, Gpr, Gprs, Rflags, Segment, TableRegister};
use spec::state::StartState;
use spec::{Gpa, PAGE_SIZE};

/// The descriptors that [`segments`] names (SDM vol. 3, "Segment Descriptors"): all flat, present, DPL 0,
/// accessed. Null; 32-bit code; 64-bit code (Linux's `__BOOT_CS`); data (`__BOOT_DS`).
pub(crate) const GDT: [u64; 4] = [
    0,
    0x00cf_9b00_0000_ffff,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
];
const CODE_32: (u16, u32) = (0x08, 0xc09b);
const CODE_64: (u16, u32) = (0x10, 0xa09b);
const DATA: (u16, u32) = (0x18, 0xc093);

/// Pages of [`write_identity_tables`]: one PML4, one page-directory-pointer table, four page directories.
pub(crate) const TABLE_PAGES: u64 = 6;

const PRESENT_WRITE: u64 = 0b11;
const LARGE: u64 = 1 << 7;
const LARGE_PAGE: u64 = 2 << 20;

/// Page `page` of tables at `base` that map the first 4 GiB one to one in pages of 2 MiB (SDM vol. 3, "4-Level Paging and 5-Level
/// Paging"). It adds and does not multiply: all of a guest's start that cannot be put off is little more than this.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "tables below 4 GiB, of which there are six, that map no more than 4 GiB"
)]
pub(crate) fn identity_table(base: Gpa, page: u64) -> [u64; 512] {
    let table = |n: u64| base.0 + n * PAGE_SIZE + PRESENT_WRITE;
    let (used, first, step) = match page {
        0 => (1, table(1), 0),
        1 => (4, table(2), PAGE_SIZE),
        _ => (
            512,
            (page - 2) * 512 * LARGE_PAGE + LARGE + PRESENT_WRITE,
            LARGE_PAGE,
        ),
    };
    let mut entries = [0; 512];
    let mut next = first;
    for entry in entries.iter_mut().take(used) {
        *entry = next;
        next += step;
    }
    entries
}

const fn segment((selector, rights): (u16, u32)) -> Segment {
    Segment {
        selector,
        base: 0,
        limit: u32::MAX,
        rights,
    }
}

/// A busy 32-bit or 64-bit TSS, as VM entry wants TR to be (SDM vol. 3, "Checks on Guest Segment Registers").
const TR: Segment = Segment {
    selector: 0,
    base: 0,
    limit: 0xffff,
    rights: 0x8b,
};

/// Of a 32-bit TSS without an I/O map, as PVH wants TR to be.
const TSS_32_LIMIT: u32 = 0x67;

const LDTR: Segment = Segment {
    selector: 0,
    base: 0,
    limit: 0,
    rights: Segment::UNUSABLE,
};

/// What [`entered`] needs to know of the tables in guest memory.
#[derive(Clone, Copy)]
pub(crate) struct Tables {
    /// The [`GDT`]
    pub(crate) gdt: Gpa,
    /// The PML4
    pub(crate) pml4: Gpa,
    /// The zero page
    pub(crate) zero_page: Gpa,
}

/// The state of a vCPU that enters `rip` by the convention of this crate; `start` is not [`Start::Real`].
pub(crate) fn entered(start: Start, rip: u64, t: Tables) -> StartState {
    let long = start == Start::Long;
    let mut gprs = Gprs::default();
    gprs.set(Gpr::Rsi, t.zero_page.0);
    let mut segments = [segment(DATA); 6];
    segments[1] = segment(if long { CODE_64 } else { CODE_32 });
    let cr0 = Cr0::PE | Cr0::ET | Cr0::NE;
    StartState {
        gprs,
        rip,
        rflags: Rflags::FIXED.bits(),
        cr0: if long { cr0 | Cr0::PG } else { cr0 }.bits(),
        cr3: if long { t.pml4.0 } else { 0 },
        cr4: if long { Cr4::PAE.bits() } else { 0 },
        efer: if long {
            (Efer::LME | Efer::LMA).bits()
        } else {
            0
        },
        segments,
        tr: TR,
        ldtr: LDTR,
        gdtr: TableRegister {
            base: t.gdt.0,
            limit: size_of_val(&GDT).saturating_sub(1) as u16,
        },
        idtr: TableRegister::default(),
    }
}

/// Protected mode as Multiboot and PVH want it at `rip`: flat segments, no paging, of the control registers' bits only PE.
/// (ET is fixed.)
pub(crate) fn flat_32(rip: u64, gdt: Gpa, gprs: Gprs) -> StartState {
    let tables = Tables {
        gdt,
        pml4: Gpa(0),
        zero_page: Gpa(0),
    };
    StartState {
        gprs,
        cr0: (Cr0::PE | Cr0::ET).bits(),
        tr: Segment {
            limit: TSS_32_LIMIT,
            ..TR
        },
        ..entered(Start::Protected, rip, tables)
    }
}

/// The state after reset (SDM vol. 3, "Processor State After Reset"), but at `cs:ip` and with EDX zero.
pub(crate) fn reset(cs: u16, ip: u16) -> StartState {
    let real = |selector: u16, rights| Segment {
        selector,
        base: u64::from(selector) << 4,
        limit: 0xffff,
        rights,
    };
    let mut segments = [real(0, 0x93); 6];
    segments[1] = real(cs, 0x9b);
    let table = TableRegister {
        base: 0,
        limit: 0xffff,
    };
    StartState {
        gprs: Gprs::default(),
        rip: u64::from(ip),
        rflags: Rflags::FIXED.bits(),
        cr0: (Cr0::CD | Cr0::NW | Cr0::ET).bits(),
        cr3: 0,
        cr4: 0,
        efer: 0,
        segments,
        tr: TR,
        ldtr: real(0, 0x82),
        gdtr: table,
        idtr: table,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_map_the_first_four_gib_one_to_one() {
        let base = Gpa(0x2000);
        let identity_entry = |base, page, index: u64| identity_table(base, page)[index as usize];
        let walk = |va: u64| {
            let mut page = 0;
            for shift in [39, 30] {
                let entry = identity_entry(base, page, va >> shift & 511);
                assert_eq!(entry & 0xfff, PRESENT_WRITE);
                page = ((entry & !0xfff) - base.0) / PAGE_SIZE;
            }
            let entry = identity_entry(base, page, va >> 21 & 511);
            assert_eq!(entry & 0xfff, PRESENT_WRITE | LARGE);
            (entry & !0xfff) + (va & (LARGE_PAGE - 1))
        };
        for va in [0, 0x1fff, 0x20_0000, 0x4000_0123, 0xbfff_ffff, 0xffff_ffff] {
            assert_eq!(walk(va), va);
        }
        for index in 4..512 {
            assert_eq!(identity_entry(base, 1, index), 0);
            assert_eq!(identity_entry(base, 0, index), 0);
        }
    }

    #[test]
    fn a_descriptor_holds_the_rights_that_its_segment_has() {
        for (selector, rights) in [CODE_32, CODE_64, DATA] {
            let descriptor = GDT[usize::from(selector) / 8];
            assert_eq!((descriptor >> 40 & 0xf0ff) as u32, rights);
        }
    }
}
