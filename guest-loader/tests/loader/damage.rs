//! Damaged and random files: never a panic, never a write outside of RAM, and what is accepted starts inside it.

use crate::common::*;
use crate::protocols::*;
use guest_loader::{Format, Image, Module, Start, load};
use proptest::prelude::*;
use spec::Gpa;
use spec::linux::E820Kind;

fn formats() -> impl Strategy<Value = Format> {
    let start = prop_oneof![Just(Start::Real), Just(Start::Protected), Just(Start::Long)];
    let near = prop_oneof![0..0x11_0000u64, any::<u64>()];
    prop_oneof![
        Just(Format::Auto),
        Just(Format::BzImage),
        Just(Format::Elf64),
        Just(Format::Multiboot),
        Just(Format::Pvh),
        (near, start).prop_map(|(load, start)| Format::Flat {
            load: Gpa(load),
            start
        }),
    ]
}

/// A good file of each kind.
fn good() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(bzimage(header())),
        Just(elf(CODE.paddr + 8, &[CODE, DATA])),
        Just(pvh(CODE.paddr + 8)),
        Just(multiboot_elf()),
        Just(multiboot_flat(FLAT)),
    ]
}

/// Loads and checks all that must hold whatever the file says, once with an initial RAM disk and once with modules, since no
/// format takes both.
fn check(format: Format, kernel: &[u8], initrd: Option<&[u8]>, cmdline: &str) {
    let image = Image {
        format,
        kernel,
        initrd,
        cmdline,
        modules: &[],
    };
    check_image(&image);
    let module = Module {
        bytes: initrd.unwrap_or(&[]),
        cmdline,
    };
    check_image(&Image {
        initrd: None,
        modules: &[module; 2],
        ..image
    });
}

fn check_image(image: &Image<'_>) {
    let mem = FakeMem::new(&MAP);
    let loaded = load(image, &MAP, RSDP, &mem);
    assert_eq!(mem.outside(), []);
    mem.assert_disjoint();
    match loaded {
        Ok(s) => {
            let at = s.rip + s.segments[1].base;
            assert!(
                MAP.iter()
                    .any(|r| r.kind == E820Kind::Ram && r.start.0 <= at && at < r.start.0 + r.len),
                "starts outside of RAM: {at:#x}"
            );
        }
        Err(e) => assert!(!e.to_string().is_empty()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_bytes(format in formats(), kernel in proptest::collection::vec(any::<u8>(), 0..0x500)) {
        check(format, &kernel, None, "");
    }

    #[test]
    fn flipped_bits_in_the_headers(
        mut kernel in good(),
        flips in proptest::collection::vec((0..0x400usize, 0..8u8), 1..6),
    ) {
        for (at, bit) in flips {
            kernel[at] ^= 1 << bit;
        }
        check(Format::Auto, &kernel, Some(&[1; 100]), "x");
    }

    /// Whole fields at their extremes reach what single bits do not.
    #[test]
    fn overwritten_fields(
        mut kernel in good(),
        fields in proptest::collection::vec(
            (0..0x3f9usize, prop_oneof![Just(0u64), Just(u64::MAX), any::<u64>()], 1..=8usize), 1..4),
    ) {
        for (at, value, len) in fields {
            kernel[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
        }
        check(Format::Auto, &kernel, Some(&[1; 5000]), "x");
    }

    #[test]
    fn truncated(mut kernel in good(), len in 0..0x2700usize, format in formats()) {
        kernel.truncate(len);
        check(format, &kernel, None, "");
    }

    #[test]
    fn any_extras(
        kernel in good(),
        initrd in proptest::collection::vec(any::<u8>(), 0..9000),
        cmdline in "[ -~]{0,2100}",
    ) {
        check(Format::Auto, &kernel, Some(&initrd), &cmdline);
    }
}
