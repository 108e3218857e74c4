//! What a Multiboot kernel is told, in either form of its file.
// UNSAFETY: reads the structures that the loader left in memory.
#![allow(unsafe_code)]

use crate::bytes::{bytes, is_text, number};
use crate::protected::notes;
use crate::verdict::Verdict;
use crate::{claim, same};
use spec::multiboot::{Info, InfoFlags, LOADER_MAGIC};

/// The command line that a test gives.
pub const COMMAND_LINE: &str = "one=1 two";
/// Bytes of the second module that a test gives, each seven times its place.
pub const SECOND_MODULE: usize = 5000;

fn info() -> Info {
    // SAFETY: the loader put it there; all values of its bytes are valid.
    unsafe { core::ptr::read_unaligned(u64::from(notes().ebx) as *const Info) }
}

/// EAX says so.
///
/// # Errors
/// When it does not.
pub fn the_loader_is_a_multiboot_loader() -> Verdict {
    same!(notes().eax, LOADER_MAGIC);
    claim!(is_text(info().boot_loader_name.into(), "Bulkhead"), "name");
    Ok(())
}

/// Just those fields that are filled in say so.
///
/// # Errors
/// When others do.
pub fn the_flags_tell_what_is_there() -> Verdict {
    let expected = InfoFlags::MEMORY
        | InfoFlags::CMDLINE
        | InfoFlags::MODULES
        | InfoFlags::MEMORY_MAP
        | InfoFlags::LOADER_NAME;
    same!(info().flags, expected.bits());
    Ok(())
}

/// 16 MiB, in both ways in which they are told.
///
/// # Errors
/// When they are not.
pub fn the_memory_map_is_the_platforms() -> Verdict {
    let info = info();
    same!((info.mem_lower, info.mem_upper), (640, 15 << 10));
    let expected = [
        (0, 0xa_0000, 1),
        (0xe_0000, 0x2_0000, 2),
        (0x10_0000, 15 << 20, 1),
    ];
    let (mut at, end) = (info.mmap_addr, info.mmap_addr + info.mmap_length);
    for expected in expected {
        claim!(at < end, "it ends before {expected:x?}");
        let entry = u64::from(at) + 4;
        let found = (
            number(entry, 8),
            number(entry + 8, 8),
            number(entry + 16, 4),
        );
        same!(found, expected);
        // The size does not count itself.
        at += number(at.into(), 4) as u32 + 4;
    }
    same!(at, end);
    Ok(())
}

/// What the test gives.
///
/// # Errors
/// When it is another.
pub fn the_command_line_is_the_configs() -> Verdict {
    claim!(is_text(info().cmdline.into(), COMMAND_LINE), "not it");
    Ok(())
}

/// Two, on pages of their own outside the kernel, each with its bytes and its text.
///
/// # Errors
/// When one is not.
pub fn the_modules_are_the_configs() -> Verdict {
    let info = info();
    same!(info.mods_count, 2);
    let list = u64::from(info.mods_addr);
    let field = |module: u64, field: u64| number(list + 16 * module + 4 * field, 4);
    for module in 0..2 {
        let (start, end) = (field(module, 0), field(module, 1));
        claim!(start.is_multiple_of(4096), "{start:#x}");
        claim!(
            start >= image_end() && end <= 16 << 20,
            "{start:#x}..{end:#x}"
        );
        same!(field(module, 3), 0, "reserved");
    }
    claim!(field(0, 1) <= field(1, 0), "they overlap");
    claim!(is_text(field(0, 2), "first -x"), "text of the first");
    claim!(is_text(field(1, 2), ""), "text of the second");
    let first = b"the first module";
    same!(field(0, 1) - field(0, 0), first.len() as u64);
    claim!(crate::bytes::is(field(0, 0), first), "the first");
    same!(field(1, 1) - field(1, 0), SECOND_MODULE as u64);
    let second = bytes(field(1, 0), SECOND_MODULE);
    claim!(
        second.eq((0..SECOND_MODULE).map(|n| (n * 7) as u8)),
        "the second"
    );
    Ok(())
}

/// The end of this guest's own memory, by the linker's word.
fn image_end() -> u64 {
    unsafe extern "C" {
        static bss_end: u8;
    }
    (&raw const bss_end) as u64
}
