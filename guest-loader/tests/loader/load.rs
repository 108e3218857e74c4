//! What a good kernel finds when it starts.

use crate::common::*;
use guest_loader::{Format, Image, LoadError, Start, load};
use spec::Gpa;
use spec::cpu::{Gpr, Segment};
use spec::linux::{BootParams, SetupHeader};
use spec::state::StartState;
use zerocopy::FromBytes;

fn image<'a>(kernel: &'a [u8], initrd: Option<&'a [u8]>, cmdline: &'a str) -> Image<'a> {
    Image {
        format: Format::Auto,
        kernel,
        initrd,
        cmdline,
        modules: &[],
    }
}

fn zero_page(mem: &FakeMem, state: &StartState) -> BootParams {
    BootParams::read_from_bytes(&mem.get(state.gprs.get(Gpr::Rsi), 4096)).unwrap()
}

/// The physical address that the loaded page tables give for `va`.
fn translate(mem: &FakeMem, state: &StartState, va: u64) -> u64 {
    let pml4e = mem.u64_at(state.cr3 + (va >> 39 & 511) * 8);
    let pdpte = mem.u64_at((pml4e & !0xfff) + (va >> 30 & 511) * 8);
    let pde = mem.u64_at((pdpte & !0xfff) + (va >> 21 & 511) * 8);
    assert_eq!((pml4e & 0x81, pdpte & 0x81, pde & 0x81), (1, 1, 0x81));
    (pde & !0x1f_ffff) + (va & 0x1f_ffff)
}

fn assert_64_bit_entry(mem: &FakeMem, s: &StartState) {
    assert_eq!(s.rflags, 2, "interrupts off");
    assert_eq!(
        (s.cr0 & 0x8000_0001, s.cr4, s.efer),
        (0x8000_0001, 0x20, 0x500)
    );
    assert!(s.segments[1].rights == 0xa09b && s.segments[1].selector == 0x10);
    for i in [0, 2, 3, 4, 5] {
        assert!(s.segments[i].rights == 0xc093 && s.segments[i].selector == 0x18);
    }
    assert_eq!((s.tr.rights, s.ldtr.rights), (0x8b, Segment::UNUSABLE));
    assert_eq!(mem.u64_at(s.gdtr.base + 0x10), 0x00af_9b00_0000_ffff);
    assert_eq!(mem.u64_at(s.gdtr.base + 0x18), 0x00cf_9300_0000_ffff);
    assert_eq!(s.gdtr.limit, 31);
    for va in [s.rip, s.gprs.get(Gpr::Rsi), 0xffff_fff0] {
        assert_eq!(translate(mem, s, va), va);
    }
}

#[test]
fn a_bzimage_starts_by_the_64_bit_protocol() {
    let kernel = bzimage(header());
    let initrd = [0xaa; 0x1801];
    let mem = FakeMem::new(&MAP);
    let s = load(
        &image(&kernel, Some(&initrd), "console=ttyS0"),
        &MAP,
        RSDP,
        &mem,
    )
    .unwrap();

    assert_64_bit_entry(&mem, &s);
    assert_eq!(s.rip, PREFERRED + 0x200);
    assert_eq!(
        mem.get(PREFERRED, CODE_LEN),
        kernel[0x600..0x600 + CODE_LEN]
    );
    assert_eq!(
        mem.get(PREFERRED + CODE_LEN as u64, 9),
        [0; 9],
        "no signature"
    );
    mem.assert_disjoint();

    let p = zero_page(&mem, &s);
    let hdr = p.hdr;
    assert_eq!({ p.acpi_rsdp_addr }, RSDP.0);
    assert_eq!(
        (hdr.type_of_loader, { hdr.code32_start }),
        (0xff, PREFERRED as u32)
    );
    assert_eq!(
        ({ hdr.version }, { hdr.kernel_info_offset }),
        (0x20f, 0x1234)
    );
    assert_eq!(
        { hdr.setup_data },
        0,
        "an address in the file means nothing to the guest"
    );
    assert_eq!(
        p.edd_to_sentinel, [0; 8],
        "the sentinel says that the loader zeroed the page"
    );
    assert_eq!(mem.get(hdr.cmd_line_ptr.into(), 14), b"console=ttyS0\0");

    // The last pages of RAM, below the kernel's own limit.
    assert_eq!(
        ({ hdr.ramdisk_image }, { hdr.ramdisk_size }),
        (0x3ff_e000, 0x1801)
    );
    assert_eq!(mem.get(0x3ff_e000, 0x1801), initrd);

    assert_eq!(p.e820_entries, 3);
    for (entry, range) in p.e820_table.iter().zip(&MAP) {
        assert_eq!(({ entry.addr }, { entry.size }), (range.start.0, range.len));
        assert_eq!({ entry.kind }, range.kind as u32);
    }
}

#[test]
fn only_the_stated_length_of_the_header_is_taken() {
    let mut hdr = header();
    hdr.jump[1] = 0x66; // up to 0x268, where kernel_info_offset begins
    let mem = FakeMem::new(&MAP);
    let s = load(&image(&bzimage(hdr), None, ""), &MAP, RSDP, &mem).unwrap();
    assert_eq!({ zero_page(&mem, &s).hdr.kernel_info_offset }, 0);
}

#[test]
fn a_kernel_that_does_not_fit_where_it_prefers_goes_to_the_next_aligned_place() {
    // RAM begins a page past the preferred address.
    let mut map = MAP;
    map[2].start = Gpa(PREFERRED + 0x1000);
    map[2].len = 0x80_0000;
    let mem = FakeMem::new(&map);
    let s = load(&image(&bzimage(header()), None, ""), &map, RSDP, &mem).unwrap();
    assert_eq!(s.rip, PREFERRED + 0x20_0000 + 0x200);
    assert_eq!(
        { zero_page(&mem, &s).hdr.code32_start },
        (PREFERRED + 0x20_0000) as u32
    );

    let mut fixed = header();
    fixed.relocatable_kernel = 0;
    let refused = load(&image(&bzimage(fixed), None, ""), &map, RSDP, &mem);
    assert!(matches!(
        refused,
        Err(LoadError::NoRoom { len: 0x10_0000, .. })
    ));
}

#[test]
fn the_initial_ram_disk_stays_below_the_kernels_limit_and_off_the_kernel() {
    let mut hdr = header();
    hdr.initrd_addr_max = PREFERRED as u32 + INIT_SIZE + 0xfff;
    let mem = FakeMem::new(&MAP);
    let s = load(
        &image(&bzimage(hdr), Some(&[1; 0x2000]), ""),
        &MAP,
        RSDP,
        &mem,
    )
    .unwrap();
    // One page is left above the kernel, which is too little; so it goes right below.
    assert_eq!(
        u64::from(zero_page(&mem, &s).hdr.ramdisk_image),
        PREFERRED - 0x2000
    );

    let huge = vec![0; 64 << 20];
    let refused = load(
        &image(&bzimage(header()), Some(&huge), ""),
        &MAP,
        RSDP,
        &mem,
    );
    assert!(matches!(
        refused,
        Err(LoadError::NoRoom {
            what: "initial RAM disk",
            ..
        })
    ));
}

#[test]
fn the_command_line_may_be_as_long_as_the_kernel_takes() {
    let mem = FakeMem::new(&MAP);
    let kernel = bzimage(header());
    let longest = "x".repeat(2047);
    assert!(load(&image(&kernel, None, &longest), &MAP, RSDP, &mem).is_ok());
    let longer = "x".repeat(2048);
    let refused = load(&image(&kernel, None, &longer), &MAP, RSDP, &mem);
    assert_eq!(
        refused,
        Err(LoadError::CmdlineTooLong {
            len: 2048,
            max: 2047
        })
    );
}

#[test]
fn an_elf_goes_to_its_physical_addresses() {
    let file = elf(0x20_0010, &[CODE, DATA]);
    let mem = FakeMem::new(&MAP);
    let s = load(&image(&file, Some(&[7; 3]), "a b"), &MAP, RSDP, &mem).unwrap();
    assert_64_bit_entry(&mem, &s);
    assert_eq!(s.rip, 0x20_0010);
    assert_eq!(mem.get(0x20_0000, 0x100), file[0x200..0x300]);
    assert_eq!(mem.get(0x20_1000, 0x20)[..0x10], file[0x300..0x310]);
    mem.assert_disjoint();
    let hdr = zero_page(&mem, &s).hdr;
    assert_eq!(hdr.header, SetupHeader::MAGIC);
    assert_eq!(mem.get(hdr.cmd_line_ptr.into(), 4), b"a b\0");
    assert_eq!(mem.get(hdr.ramdisk_image.into(), 3), [7; 3]);
}

#[test]
fn tables_go_around_a_kernel_in_low_memory() {
    let low = Phdr {
        paddr: 0x1000,
        memsz: 0x9_0000,
        ..CODE
    };
    let mem = FakeMem::new(&MAP);
    let s = load(&image(&elf(0x1000, &[low]), None, ""), &MAP, RSDP, &mem).unwrap();
    mem.assert_disjoint();
    assert!(s.gdtr.base >= 0x9_1000);
    assert_64_bit_entry(&mem, &s);
}

fn flat(load: u64, start: Start) -> Image<'static> {
    Image {
        format: Format::Flat {
            load: Gpa(load),
            start,
        },
        kernel: &[0xf4; 16],
        initrd: None,
        cmdline: "",
        modules: &[],
    }
}

#[test]
fn a_flat_binary_in_real_mode_finds_the_state_after_reset() {
    let mem = FakeMem::new(&MAP);
    let s = load(&flat(0x7c05, Start::Real), &MAP, RSDP, &mem).unwrap();
    assert_eq!(
        (s.segments[1].selector, s.segments[1].base, s.rip),
        (0x7c0, 0x7c00, 5)
    );
    assert_eq!((s.segments[1].rights, s.segments[3].rights), (0x9b, 0x93));
    assert_eq!((s.cr0, s.cr4, s.efer, s.rflags), (0x6000_0010, 0, 0, 2));
    assert_eq!(mem.get(0x7c05, 16), [0xf4; 16]);
    assert_eq!(
        mem.get(0, 0x7c05),
        vec![0; 0x7c05],
        "nothing else is put into memory"
    );
}

#[test]
fn a_flat_binary_starts_in_protected_and_in_long_mode() {
    let mem = FakeMem::new(&MAP);
    let s = load(&flat(0x10_0000, Start::Protected), &MAP, RSDP, &mem).unwrap();
    assert_eq!((s.rip, s.cr0, s.cr4, s.efer), (0x10_0000, 0x31, 0, 0));
    assert_eq!((s.segments[1].selector, s.segments[1].rights), (8, 0xc09b));
    assert_eq!(mem.u64_at(s.gdtr.base + 8), 0x00cf_9b00_0000_ffff);
    assert_eq!(zero_page(&mem, &s).e820_entries, 3);

    let mem = FakeMem::new(&MAP);
    let s = load(&flat(0x10_0000, Start::Long), &MAP, RSDP, &mem).unwrap();
    assert_64_bit_entry(&mem, &s);
}

#[test]
fn a_flat_binary_goes_only_where_ram_is() {
    let mem = FakeMem::new(&MAP);
    let refused = |at, start| load(&flat(at, start), &MAP, RSDP, &mem).unwrap_err();
    assert_eq!(
        refused(0x10_0000, Start::Real),
        LoadError::RealModeAddress(Gpa(0x10_0000))
    );
    assert_eq!(
        refused(1 << 32, Start::Long),
        LoadError::FlatAddress(Gpa(1 << 32))
    );
    for at in [0x9_fff1, 0xe_0000, 0x3ff_fff1, 0xffff_fff8] {
        assert!(matches!(
            refused(at, Start::Protected),
            LoadError::NotRam { .. }
        ));
    }
    let mut extras = flat(0x7c00, Start::Real);
    extras.cmdline = "x";
    assert_eq!(
        load(&extras, &MAP, RSDP, &mem),
        Err(LoadError::RealModeExtras)
    );
    assert_eq!(mem.outside(), []);
}
