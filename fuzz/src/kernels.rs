//! Kernel files of each format, and what goes with them: never a write outside of RAM, none over another, and a start inside it.

use arbitrary::{Arbitrary, Unstructured};
use guest_loader::{Format, Image, Module, Start, load};
use memory::{FakeMem, MAP, RSDP, range};
use spec::Gpa;
use spec::linux::{E820Kind, MemoryRange};
use spec::state::CpuState;

#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared with the loader's own tests, where both are usual"
)]
#[path = "../../guest-loader/tests/loader/common.rs"]
mod memory;

/// Little RAM, in pieces.
const PIECES: [MemoryRange; 4] = [
    range(0, 0x9_f000, E820Kind::Ram),
    range(0x10_0000, 0x10_0000, E820Kind::Ram),
    range(0x20_0000, 0x1000, E820Kind::Reserved),
    range(0x20_1000, 0x3f_f000, E820Kind::Ram),
];

/// What comes before the kernel's file in an input.
#[derive(Arbitrary, Debug)]
struct Extras {
    recognised: bool,
    in_pieces: bool,
    load: u32,
    start: u8,
    initrd: Option<u16>,
    modules: u8,
    cmdline: u16,
}

/// Loads one file as this format, or as whatever the loader takes it for.
///
/// # Panics
/// If what is loaded leaves RAM or overlaps, or a refusal says nothing.
pub fn one(format: Format, data: &[u8]) {
    const EXTRAS: usize = 16;
    let Some((extras, kernel)) = data.split_at_checked(EXTRAS) else {
        return;
    };
    let Ok(extras) = Extras::arbitrary(&mut Unstructured::new(extras)) else {
        return;
    };
    let format = match format {
        Format::Flat { .. } => Format::Flat {
            load: Gpa(extras.load.into()),
            start: [Start::Real, Start::Protected, Start::Long][usize::from(extras.start % 3)],
        },
        _ if extras.recognised => Format::Auto,
        named => named,
    };
    let initrd = extras.initrd.map(|len| vec![1; usize::from(len)]);
    let cmdline = "x".repeat(usize::from(extras.cmdline % 5000));
    let modules = vec![
        Module {
            bytes: &kernel[..kernel.len().min(64)],
            cmdline: &cmdline[..cmdline.len().min(8)],
        };
        usize::from(extras.modules % 5)
    ];
    let image = Image {
        format,
        kernel,
        initrd: initrd.as_deref(),
        cmdline: &cmdline,
        modules: &modules,
    };
    check(&image, if extras.in_pieces { &PIECES } else { &MAP });
}

fn check(image: &Image<'_>, map: &[MemoryRange]) {
    let mem = FakeMem::new(map);
    let loaded = load(image, map, RSDP, &mem);
    assert_eq!(mem.outside(), []);
    mem.assert_disjoint();
    let is_ram = |at: u64| {
        map.iter()
            .any(|r| r.kind == E820Kind::Ram && r.start.0 <= at && at - r.start.0 < r.len)
    };
    match loaded {
        Ok(state) => {
            let at = state.rip + state.segments[CpuState::CS].base;
            assert!(is_ram(at), "starts outside of RAM: {at:#x}");
            if state.cr0 >> 31 & 1 == 1 {
                assert!(is_ram(state.cr3), "tables at {:#x}", state.cr3);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
