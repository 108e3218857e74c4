//! Each fault of a file is refused by its own name, and nothing is written outside of RAM meanwhile.

use crate::common::*;
use guest_loader::{Format, Image, LoadError, load};
use spec::Gpa;
use spec::linux::{E820Kind, MemoryRange, SetupHeader};

fn refusal_on(map: &[MemoryRange], format: Format, kernel: &[u8]) -> LoadError {
    let mem = FakeMem::new(map);
    let image = Image {
        format,
        kernel,
        initrd: None,
        cmdline: "",
        modules: &[],
    };
    let refusal = load(&image, map, RSDP, &mem).unwrap_err();
    assert_eq!(mem.outside(), []);
    refusal
}

fn bzimage_refusal(change: impl FnOnce(&mut SetupHeader)) -> LoadError {
    let mut hdr = header();
    change(&mut hdr);
    refusal_on(&MAP, Format::BzImage, &bzimage(hdr))
}

fn elf_refusal(segments: &[Phdr]) -> LoadError {
    refusal_on(&MAP, Format::Elf64, &elf(CODE.paddr, segments))
}

fn elf_with(change: impl FnOnce(&mut [u8])) -> LoadError {
    let mut file = elf(CODE.paddr, &[CODE]);
    change(&mut file);
    refusal_on(&MAP, Format::Elf64, &file)
}

#[test]
fn what_is_no_kernel() {
    assert_eq!(
        refusal_on(&MAP, Format::Auto, b"#!/bin/sh"),
        LoadError::Unrecognised
    );
    assert_eq!(refusal_on(&MAP, Format::Auto, b""), LoadError::Unrecognised);
    assert_eq!(
        refusal_on(&MAP, Format::BzImage, b""),
        LoadError::NotBzImage
    );
    assert_eq!(
        refusal_on(&MAP, Format::Elf64, &bzimage(header())),
        LoadError::NotElf
    );
    let flat = Format::Flat {
        load: Gpa(0x1000),
        start: guest_loader::Start::Real,
    };
    assert_eq!(refusal_on(&MAP, flat, b""), LoadError::Empty);
}

#[test]
fn bzimage_headers() {
    assert_eq!(bzimage_refusal(|h| h.boot_flag = 0), LoadError::NotBzImage);
    assert_eq!(
        bzimage_refusal(|h| h.header = *b"HdrT"),
        LoadError::NotBzImage
    );
    assert_eq!(
        bzimage_refusal(|h| h.version = 0x020b),
        LoadError::OldProtocol(0x020b)
    );
    assert_eq!(
        bzimage_refusal(|h| h.xloadflags = 0x7e),
        LoadError::No64BitEntry
    );
    assert_eq!(
        bzimage_refusal(|h| h.loadflags = 0),
        LoadError::NotLoadedHigh
    );
    assert_eq!(
        bzimage_refusal(|h| h.jump[1] = 0x61),
        LoadError::HeaderLength(0x263)
    );
    assert_eq!(
        bzimage_refusal(|h| h.jump[1] = 0x8f),
        LoadError::HeaderLength(0x291)
    );
    assert_eq!(
        bzimage_refusal(|h| h.kernel_alignment = 0x800),
        LoadError::Alignment(0x800)
    );
    assert_eq!(
        bzimage_refusal(|h| h.kernel_alignment = 0x3000),
        LoadError::Alignment(0x3000)
    );
    assert_eq!(
        bzimage_refusal(|h| h.syssize = 0x20),
        LoadError::EntryOutside(0x200)
    );
}

#[test]
fn bzimages_that_are_cut_short_or_too_large() {
    let what = "protected-mode code";
    assert!(matches!(
        bzimage_refusal(|h| h.syssize += 1),
        LoadError::Truncated { what: w, needed: 0x2610, len: 0x2609 } if w == what
    ));
    // No number of setup sectors means four.
    assert!(matches!(
        bzimage_refusal(|h| h.setup_sects = 0),
        LoadError::Truncated { needed: 0x2a00, .. }
    ));
    assert!(matches!(
        bzimage_refusal(|h| h.syssize = u32::MAX),
        LoadError::Truncated { .. }
    ));
    let no_room = |len| LoadError::NoRoom {
        what: "kernel, which unpacks itself in place",
        len,
    };
    assert_eq!(
        bzimage_refusal(|h| h.init_size = u32::MAX),
        no_room(u32::MAX.into())
    );
    assert_eq!(
        bzimage_refusal(|h| h.pref_address = u64::MAX),
        no_room(INIT_SIZE.into())
    );
    assert_eq!(
        bzimage_refusal(|h| h.pref_address = 1 << 32),
        no_room(INIT_SIZE.into())
    );
}

#[test]
fn elf_headers() {
    let machine = |class, machine| LoadError::ElfMachine { class, machine };
    assert_eq!(elf_with(|f| f[4] = 1), machine(1, 62));
    assert_eq!(elf_with(|f| f[5] = 2), machine(2, 0));
    assert_eq!(elf_with(|f| f[18] = 0xb7), machine(2, 0xb7));
    assert_eq!(elf_with(|f| f[16] = 3), LoadError::ElfType(3));
    assert_eq!(elf_with(|f| f[54] = 32), LoadError::ElfHeaders);
    assert_eq!(elf_with(|f| f[6] = 2), LoadError::ElfHeaders);
    assert_eq!(elf_with(|f| f[56] = 0), LoadError::ElfNothingToLoad);
    assert!(matches!(
        elf_with(|f| f[57] = 1),
        LoadError::Truncated {
            what: "program headers",
            needed: 0x3878,
            ..
        }
    ));
    assert!(matches!(
        elf_with(|f| f[39] = 0xff),
        LoadError::Truncated {
            what: "program headers",
            ..
        }
    ));
    assert!(matches!(
        refusal_on(&MAP, Format::Auto, b"\x7fELF\x02"),
        LoadError::Truncated {
            what: "ELF header",
            needed: 64,
            len: 5
        }
    ));
}

#[test]
fn elf_segments() {
    let with = |kind| elf_refusal(&[CODE, Phdr { kind, ..DATA }]);
    assert_eq!(with(3), LoadError::ElfInterpreter);
    assert_eq!(with(2), LoadError::ElfDynamic);
    assert_eq!(
        elf_refusal(&[Phdr { kind: 4, ..CODE }]),
        LoadError::ElfNothingToLoad
    );
    assert_eq!(
        elf_refusal(&[Phdr { memsz: 0, ..CODE }]),
        LoadError::ElfNothingToLoad
    );
    assert_eq!(
        elf_refusal(&[Phdr {
            memsz: 0xff,
            ..CODE
        }]),
        LoadError::ElfSegmentSize(Gpa(CODE.paddr))
    );
    assert!(matches!(
        elf_refusal(&[Phdr {
            offset: 0x301,
            ..CODE
        }]),
        LoadError::Truncated {
            what: "segment",
            needed: 0x401,
            len: 0x400
        }
    ));
    assert!(matches!(
        elf_refusal(&[Phdr {
            offset: u64::MAX,
            ..CODE
        }]),
        LoadError::Truncated {
            what: "segment",
            needed: u64::MAX,
            ..
        }
    ));
    let overlap = Phdr {
        paddr: CODE.paddr + 0xff,
        ..DATA
    };
    assert_eq!(
        elf_refusal(&[CODE, overlap.clone()]),
        LoadError::Overlap {
            start: Gpa(overlap.paddr),
            len: overlap.memsz
        }
    );
    for paddr in [0x9_ff80, 0xe_0000, 0x400_0000, u64::MAX - 4] {
        assert_eq!(
            elf_refusal(&[Phdr { paddr, ..CODE }]),
            LoadError::NotRam {
                start: Gpa(paddr),
                len: CODE.memsz
            }
        );
    }
    let many: Vec<Phdr> = (0..65)
        .map(|i| Phdr {
            paddr: CODE.paddr + i * 0x100,
            ..CODE
        })
        .collect();
    assert_eq!(elf_refusal(&many), LoadError::ElfTooManySegments(64));
}

#[test]
fn an_elf_entry_point_is_in_loaded_code() {
    let at = |entry, segments: &[Phdr]| refusal_on(&MAP, Format::Elf64, &elf(entry, segments));
    for entry in [
        0,
        CODE.paddr - 1,
        CODE.paddr + CODE.memsz,
        DATA.paddr,
        u64::MAX,
    ] {
        assert_eq!(at(entry, &[CODE, DATA]), LoadError::EntryOutside(entry));
    }
    // RAM above 4 GiB can be loaded, but the start does not map it.
    let map = [MAP[0], range(1 << 32, 1 << 20, E820Kind::Ram)];
    let high = Phdr {
        paddr: 1 << 32,
        ..CODE
    };
    assert_eq!(
        refusal_on(&map, Format::Elf64, &elf(1 << 32, &[high])),
        LoadError::EntryOutside(1 << 32)
    );
}

#[test]
fn a_map_without_room() {
    let no_low = [
        range(0, 0x1000, E820Kind::Ram),
        range(0x20_0000, 0x9000, E820Kind::Ram),
    ];
    assert!(matches!(
        refusal_on(&no_low, Format::Elf64, &elf(CODE.paddr, &[CODE, DATA])),
        LoadError::NoRoom {
            what: "tables, zero page and command line",
            ..
        }
    ));
    let many = vec![MAP[2]; 129];
    assert_eq!(
        refusal_on(&many, Format::Elf64, &elf(CODE.paddr, &[CODE])),
        LoadError::MapTooLong(128)
    );
    let wraps = [range(u64::MAX - 0xfff, 0x2000, E820Kind::Ram)];
    assert!(matches!(
        refusal_on(&wraps, Format::Elf64, &elf(CODE.paddr, &[CODE])),
        LoadError::NotRam { .. }
    ));
}

#[test]
fn each_refusal_says_what_is_wrong() {
    assert_eq!(
        LoadError::OldProtocol(0x020b).to_string(),
        "it has boot protocol 2.11, and 2.12 or later is needed"
    );
    assert_eq!(
        LoadError::NotRam {
            start: Gpa(0xe_0000),
            len: 0x100
        }
        .to_string(),
        "0x100 bytes at 0xe0000 are not wholly RAM of the guest"
    );
}
