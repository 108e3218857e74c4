//! What a PVH kernel finds when it starts, and which are refused.

use crate::common::*;
use crate::protocols::*;
use guest_loader::{Format, Image, LoadError, Module, load};
use spec::cpu::{Gpr, Segment};
use spec::pvh::{MapEntry, Module as Entry, StartInfo};
use spec::state::StartState;
use zerocopy::FromBytes;

fn image<'a>(format: Format, kernel: &'a [u8]) -> Image<'a> {
    Image {
        format,
        kernel,
        initrd: None,
        cmdline: "console=ttyS0",
        modules: &[],
    }
}

fn refusal(format: Format, kernel: &[u8]) -> LoadError {
    let mem = FakeMem::new(&MAP);
    let refusal = load(&image(format, kernel), &MAP, RSDP, &mem).unwrap_err();
    assert_eq!(mem.outside(), []);
    refusal
}

fn start_info(mem: &FakeMem, s: &StartState) -> StartInfo {
    StartInfo::read_from_bytes(&mem.get(s.gprs.get(Gpr::Rbx), 56)).unwrap()
}

/// Xen's `pvh.pandoc` on registers.
pub(crate) fn assert_protected_mode(mem: &FakeMem, s: &StartState) {
    assert_eq!((s.cr0, s.cr4, s.efer, s.rflags), (0x11, 0, 0, 2));
    assert!(s.segments[1].rights == 0xc09b && s.segments[1].selector == 8);
    for (i, segment) in s.segments.iter().enumerate() {
        assert_eq!((segment.base, segment.limit), (0, u32::MAX));
        assert!(i == 1 || segment.rights == 0xc093 && segment.selector == 0x18);
    }
    assert_eq!((s.tr.base, s.tr.limit, s.tr.rights), (0, 0x67, 0x8b));
    assert_eq!(s.ldtr.rights, Segment::UNUSABLE);
    assert_eq!(mem.u64_at(s.gdtr.base + 8), 0x00cf_9b00_0000_ffff);
    assert_eq!(mem.u64_at(s.gdtr.base + 0x18), 0x00cf_9300_0000_ffff);
}

#[test]
fn a_kernel_with_the_note_starts_where_it_says() {
    let kernel = pvh(0x20_0010);
    let mem = FakeMem::new(&MAP);
    let mut image = image(Format::Auto, &kernel);
    image.initrd = Some(&[0xaa; 0x1801]);
    let s = load(&image, &MAP, RSDP, &mem).unwrap();
    mem.assert_disjoint();
    assert_protected_mode(&mem, &s);
    assert_eq!(s.rip, 0x20_0010);
    assert_eq!(mem.get(CODE.paddr, 0x100), kernel[0x200..0x300]);

    let info = start_info(&mem, &s);
    assert_eq!((info.magic, info.version, info.flags), (0x336e_c578, 1, 0));
    assert_eq!(info.rsdp_paddr, RSDP.0);
    assert_eq!(mem.get(info.cmdline_paddr, 14), b"console=ttyS0\0");
    assert_eq!(info.nr_modules, 1);
    let module = Entry::read_from_bytes(&mem.get(info.modlist_paddr, 32)).unwrap();
    let expected = Entry {
        paddr: 0x3ff_e000,
        size: 0x1801,
        cmdline_paddr: 0,
        reserved: 0,
    };
    assert_eq!(module, expected);
    assert_eq!(mem.get(module.paddr, 0x1801), [0xaa; 0x1801]);
    assert_eq!((info.memmap_entries, info.reserved), (3, 0));
    for (n, range) in MAP.iter().enumerate() {
        let entry = mem.get(info.memmap_paddr + 24 * n as u64, 24);
        let entry = MapEntry::read_from_bytes(&entry).unwrap();
        assert_eq!((entry.addr, entry.size), (range.start.0, range.len));
        assert_eq!((entry.kind, entry.reserved), (range.kind as u32, 0));
    }
}

#[test]
fn without_an_initial_ram_disk_there_is_no_module() {
    for initrd in [None, Some(&[][..])] {
        let kernel = pvh(0x20_0010);
        let mem = FakeMem::new(&MAP);
        let mut image = image(Format::Pvh, &kernel);
        image.initrd = initrd;
        let info = start_info(&mem, &load(&image, &MAP, RSDP, &mem).unwrap());
        assert_eq!((info.nr_modules, info.modlist_paddr), (0, 0));
    }
}

#[test]
fn a_32_bit_kernel_has_a_note_of_four_bytes() {
    let file = elf32(CODE.paddr as u32, &[CODE, NOTES]);
    let kernel = noted(file, &0x20_00f0u32.to_le_bytes());
    let mem = FakeMem::new(&MAP);
    let s = load(&image(Format::Auto, &kernel), &MAP, RSDP, &mem).unwrap();
    assert_protected_mode(&mem, &s);
    assert_eq!(s.rip, 0x20_00f0);
    assert_eq!(mem.get(CODE.paddr, 0x100), kernel[0x200..0x300]);
}

#[test]
fn the_note_is_taken_for_what_it_is() {
    let without = elf(CODE.paddr, &[CODE, DATA]);
    assert_eq!(refusal(Format::Pvh, &without), LoadError::NotPvh);
    assert_eq!(refusal(Format::Pvh, b"MZ"), LoadError::NotElf);
    let noted = |desc: &[u8]| noted(elf(CODE.paddr, &[CODE, NOTES]), desc);
    for format in [Format::Auto, Format::Pvh] {
        for desc in [&[][..], &[0; 3], &[0; 12]] {
            let expected = LoadError::PvhNote(desc.len());
            assert_eq!(refusal(format, &noted(desc)), expected);
        }
    }
    // Of another name, of another kind, or longer than its segment it is another note.
    let good = pvh(0x20_0010);
    for (at, bytes) in [
        (0x380 + 20 + 12, *b"GNU\0"),
        (0x380 + 20 + 8, [19, 0, 0, 0]),
    ] {
        let other = patched(good.clone(), at, &bytes);
        assert_eq!(refusal(Format::Pvh, &other), LoadError::NotPvh);
    }
    let long = patched(good.clone(), 0x380 + 20 + 4, &u32::MAX.to_le_bytes());
    assert_eq!(refusal(Format::Pvh, &long), LoadError::NotPvh);
}

#[test]
fn the_entry_point_is_in_loaded_code() {
    for entry in [
        0,
        CODE.paddr - 1,
        CODE.paddr + CODE.memsz,
        DATA.paddr,
        1 << 32,
        u64::MAX,
    ] {
        assert_eq!(
            refusal(Format::Pvh, &pvh(entry)),
            LoadError::EntryOutside(entry)
        );
    }
}

#[test]
fn notes_that_are_not_in_the_file_and_too_many_of_them() {
    let outside = Phdr {
        offset: u64::MAX,
        ..NOTES
    };
    assert!(matches!(
        refusal(Format::Auto, &elf(CODE.paddr, &[CODE, outside])),
        LoadError::Truncated { what: "notes", .. }
    ));
    let many = elf(CODE.paddr, &vec![NOTES; 65]);
    assert_eq!(
        refusal(Format::Auto, &many),
        LoadError::ElfTooManySegments(64)
    );
}

#[test]
fn what_has_no_place_for_modules_takes_none() {
    let modules = [Module {
        bytes: b"x",
        cmdline: "",
    }];
    for (format, kernel) in [
        (Format::Auto, pvh(0x20_0010)),
        (Format::Auto, bzimage(header())),
        (Format::Elf64, elf(CODE.paddr, &[CODE])),
    ] {
        let mem = FakeMem::new(&MAP);
        let mut image = image(format, &kernel);
        image.modules = &modules;
        assert_eq!(load(&image, &MAP, RSDP, &mem), Err(LoadError::NoModules));
    }
}

#[test]
fn a_32_bit_file_is_not_entered_in_64_bit_mode() {
    let file = elf32(CODE.paddr as u32, &[CODE]);
    for format in [Format::Auto, Format::Elf64] {
        assert_eq!(refusal(format, &file), LoadError::ElfNot64Bit);
    }
}
