//! What a Multiboot kernel finds when it starts, and which are refused.

use crate::common::*;
use crate::protocols::*;
use crate::pvh::assert_protected_mode;
use guest_loader::{Format, Image, LoadError, Module, load};
use spec::Gpa;
use spec::cpu::Gpr;
use spec::linux::E820Kind;
use spec::multiboot::{Addresses, Info, MapEntry, Module as Entry};
use spec::state::StartState;
use zerocopy::FromBytes;

fn image<'a>(kernel: &'a [u8], modules: &'a [Module<'a>]) -> Image<'a> {
    Image {
        format: Format::Auto,
        kernel,
        initrd: None,
        cmdline: "a=1",
        modules,
    }
}

fn refusal(kernel: &[u8]) -> LoadError {
    let mem = FakeMem::new(&MAP);
    let mut image = image(kernel, &[]);
    image.format = Format::Multiboot;
    let refusal = load(&image, &MAP, RSDP, &mem).unwrap_err();
    assert_eq!(mem.outside(), []);
    refusal
}

fn info(mem: &FakeMem, s: &StartState) -> Info {
    assert_protected_mode(mem, s);
    assert_eq!(s.gprs.get(Gpr::Rax), 0x2bad_b002);
    Info::read_from_bytes(&mem.get(s.gprs.get(Gpr::Rbx), 116)).unwrap()
}

#[test]
fn an_elf_goes_where_its_program_headers_say() {
    for (kernel, what) in [
        (multiboot_elf(), "linked to virtual addresses"),
        (
            patched(multiboot_elf(), 24, &0x20_0010u32.to_le_bytes()),
            "entered at a physical address",
        ),
        (
            patched(
                elf(0xffff_ffff_8020_0010, &[CODE, DATA]),
                0x200,
                &multiboot_header(0, None),
            ),
            "ELF64",
        ),
    ] {
        let mem = FakeMem::new(&MAP);
        let s = load(&image(&kernel, &[]), &MAP, RSDP, &mem).unwrap();
        mem.assert_disjoint();
        let info = info(&mem, &s);
        assert_eq!(s.rip, 0x20_0010, "{what}");
        assert_eq!(mem.get(CODE.paddr, 0x100), kernel[0x200..0x300]);
        assert_eq!(mem.get(DATA.paddr, 0x10), kernel[0x300..0x310]);
        assert_eq!(info.mods_count, 0);
    }
}

#[test]
fn a_file_with_addresses_goes_where_they_say() {
    let kernel = multiboot_flat(FLAT);
    let mem = FakeMem::new(&MAP);
    let s = load(&image(&kernel, &[]), &MAP, RSDP, &mem).unwrap();
    info(&mem, &s);
    assert_eq!(s.rip, 0x20_0080);
    assert_eq!(mem.get(0x20_0000, 0x180), kernel[0x20..0x1a0]);
    assert_eq!(mem.get(0x20_0180, 0x60), [0; 0x60], "not loaded");

    // Without an end all of the file is loaded; and what is ELF as well goes by the addresses.
    let open = Addresses {
        load_end_addr: 0,
        bss_end_addr: 0,
        ..FLAT
    };
    let kernel = patched(multiboot_flat(open), 0, b"\x7fELF");
    let mem = FakeMem::new(&MAP);
    load(&image(&kernel, &[]), &MAP, RSDP, &mem).unwrap();
    assert_eq!(mem.get(0x20_0000, 0x3e0), kernel[0x20..]);
}

#[test]
fn the_information_structure_tells_of_memory_and_names() {
    let kernel = multiboot_elf();
    let mem = FakeMem::new(&MAP);
    let s = load(&image(&kernel, &[]), &MAP, RSDP, &mem).unwrap();
    let info = info(&mem, &s);
    // Memory, command line, modules, map, name of the loader.
    assert_eq!(info.flags, 0b10_0100_1101);
    assert_eq!((info.mem_lower, info.mem_upper), (640, 63 << 10));
    assert_eq!(mem.get(info.cmdline.into(), 4), b"a=1\0");
    assert_eq!(mem.get(info.boot_loader_name.into(), 9), b"Bulkhead\0");
    assert_eq!(info.mmap_length, 3 * 24);
    for (n, range) in MAP.iter().enumerate() {
        let entry = mem.get(u64::from(info.mmap_addr) + 24 * n as u64, 24);
        let entry = MapEntry::read_from_bytes(&entry).unwrap();
        assert_eq!({ entry.size }, 20);
        let place = ({ entry.base_addr }, { entry.length });
        assert_eq!(place, (range.start.0, range.len));
        assert_eq!({ entry.kind }, range.kind as u32);
    }
    // What is neither told nor there.
    assert_eq!((info.boot_device, info.syms, info.vbe), (0, [0; 4], [0; 4]));
}

#[test]
fn upper_memory_ends_at_the_first_hole() {
    let map = [
        range(0x1000, 0x9_f000, E820Kind::Ram),
        range(0x10_0000, 0x40_0400, E820Kind::Ram),
        range(0x60_0000, 0x10_0000, E820Kind::Ram),
    ];
    let kernel = multiboot_elf();
    let mem = FakeMem::new(&map);
    let s = load(&image(&kernel, &[]), &map, RSDP, &mem).unwrap();
    let info = info(&mem, &s);
    // Lower memory is counted from address 0, where this map has none.
    assert_eq!((info.mem_lower, info.mem_upper), (0, 0x1001));
}

#[test]
fn modules_lie_on_pages_of_their_own_behind_the_kernel() {
    let modules = [
        Module {
            bytes: &[1; 0x1001],
            cmdline: "first -x",
        },
        Module {
            bytes: &[],
            cmdline: "",
        },
        Module {
            bytes: &[3; 7],
            cmdline: "third",
        },
    ];
    let kernel = multiboot_elf();
    let mem = FakeMem::new(&MAP);
    let s = load(&image(&kernel, &modules), &MAP, RSDP, &mem).unwrap();
    mem.assert_disjoint();
    let info = info(&mem, &s);
    assert_eq!(info.mods_count, 3);
    let mut last = DATA.paddr + DATA.memsz;
    for (n, module) in modules.iter().enumerate() {
        let entry = mem.get(u64::from(info.mods_addr) + 16 * n as u64, 16);
        let entry = Entry::read_from_bytes(&entry).unwrap();
        let start = u64::from(entry.mod_start);
        assert!(start.is_multiple_of(0x1000) && start >= last, "{entry:x?}");
        assert_eq!(
            (entry.mod_end - entry.mod_start) as usize,
            module.bytes.len()
        );
        last = u64::from(entry.mod_end).max(start + 1);
        assert_eq!(mem.get(start, module.bytes.len()), module.bytes);
        let text = [module.cmdline.as_bytes(), b"\0"].concat();
        assert_eq!(mem.get(entry.string.into(), text.len()), text);
        assert_eq!(entry.reserved, 0);
    }
}

#[test]
fn modules_without_room_are_refused_and_those_before_a_high_kernel_find_some() {
    let huge = vec![0; 64 << 20];
    let modules = [Module {
        bytes: &huge,
        cmdline: "",
    }];
    let mem = FakeMem::new(&MAP);
    let refused = load(&image(&multiboot_elf(), &modules), &MAP, RSDP, &mem);
    let len = 64 << 20;
    assert_eq!(
        refused,
        Err(LoadError::NoRoom {
            what: "module",
            len
        })
    );

    let top = Phdr {
        paddr: 0x400_0000 - CODE.memsz,
        ..CODE
    };
    let kernel = elf32(0xc3ff_ff10, &[top]);
    let kernel = patched(kernel, 0x200, &multiboot_header(0, None));
    let modules = [Module {
        bytes: &[1; 0x1000],
        cmdline: "",
    }];
    let s = load(&image(&kernel, &modules), &MAP, RSDP, &mem).unwrap();
    assert_eq!(s.rip, 0x3ff_ff10);
    let list = mem.get(info(&mem, &s).mods_addr.into(), 4);
    assert_eq!(list, 0x10_0000u32.to_le_bytes());
}

#[test]
fn headers() {
    assert_eq!(refusal(&elf32(0, &[CODE])), LoadError::NotMultiboot);
    assert_eq!(refusal(b""), LoadError::NotMultiboot);
    // The sum, the alignment, the end of the file, the first 8 KiB.
    let header = multiboot_header(3, None);
    let with = |at: usize, header: &[u8]| patched(vec![0; 0x2100], at, header);
    let mut wrong = header.clone();
    wrong[8] ^= 1;
    for file in [
        with(0x40, &wrong),
        with(0x42, &header),
        with(0x1ff8, &header),
    ] {
        assert_eq!(refusal(&file), LoadError::NotMultiboot);
    }
    let flat = multiboot_header(0x1_0000, Some(FLAT));
    assert_eq!(refusal(&with(0x1fe4, &flat)), LoadError::NotMultiboot);
    assert_eq!(refusal(&flat[..28]), LoadError::NotMultiboot);
    // What only looks like one does not hide a good one, which may be the last 12 of the 8192 bytes.
    let both = patched(with(0x40, &wrong), 0x1ff4, &header);
    assert_eq!(refusal(&both), LoadError::NotElf);

    for (flags, refused) in [(4, 4), (0x8003, 0x8000), (0xffff_ffff, 0xfffc)] {
        let file = with(0x40, &multiboot_header(flags, Some(FLAT)));
        assert_eq!(refusal(&file), LoadError::MultibootRequires(refused));
    }
}

#[test]
fn bits_that_a_loader_may_ignore_are_ignored() {
    let kernel = patched(multiboot_elf(), 0x200, &multiboot_header(0xfffe_0003, None));
    assert!(load(&image(&kernel, &[]), &MAP, RSDP, &FakeMem::new(&MAP)).is_ok());
}

#[test]
fn addresses_that_do_not_go_together() {
    let contradiction = |change: fn(&mut Addresses)| {
        let mut addresses = FLAT;
        change(&mut addresses);
        let expected = LoadError::MultibootAddresses(addresses);
        assert_eq!(refusal(&multiboot_flat(addresses)), expected);
    };
    contradiction(|a| a.load_addr = a.header_addr + 4);
    // More before the header than the file has.
    contradiction(|a| a.load_addr = a.header_addr - 0x44);
    contradiction(|a| a.load_end_addr = a.load_addr - 1);
    contradiction(|a| a.bss_end_addr = a.load_end_addr - 1);

    let with = |change: fn(&mut Addresses)| {
        let mut addresses = FLAT;
        change(&mut addresses);
        refusal(&multiboot_flat(addresses))
    };
    assert_eq!(
        with(|a| (a.load_end_addr, a.bss_end_addr) = (a.load_addr + 0x3e1, 0)),
        LoadError::Truncated {
            what: "code and data",
            needed: 0x401,
            len: 0x400
        }
    );
    assert_eq!(
        with(|a| a.bss_end_addr = u32::MAX),
        LoadError::NotRam {
            start: Gpa(0x20_0000),
            len: 0xffdf_ffff
        }
    );
    for (entry, outside) in [
        (FLAT.load_addr - 1, 0x1f_ffff),
        (FLAT.load_end_addr, 0x20_0180),
    ] {
        let addresses = Addresses {
            entry_addr: entry,
            ..FLAT
        };
        assert_eq!(
            refusal(&multiboot_flat(addresses)),
            LoadError::EntryOutside(outside)
        );
    }
    assert_eq!(
        with(|a| a.load_end_addr = a.load_addr),
        LoadError::EntryOutside(0x20_0080)
    );
}

#[test]
fn an_initial_ram_disk_is_refused() {
    let kernel = multiboot_elf();
    let mut image = image(&kernel, &[]);
    image.initrd = Some(b"x");
    let refused = load(&image, &MAP, RSDP, &FakeMem::new(&MAP));
    assert_eq!(refused, Err(LoadError::MultibootInitrd));
}

#[test]
fn an_elf_that_has_both_starts_by_pvh() {
    let kernel = patched(pvh(0x20_0010), 0x200, &multiboot_header(0, None));
    let s = load(&image(&kernel, &[]), &MAP, RSDP, &FakeMem::new(&MAP)).unwrap();
    assert_eq!(s.gprs.get(Gpr::Rax), 0);
}
