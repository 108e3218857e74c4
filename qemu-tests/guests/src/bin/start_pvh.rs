//! A guest that starts by PVH.
#![no_std]
#![no_main]
// UNSAFETY: code for the other mode, and the structures that the loader left in memory.
#![allow(unsafe_code)]

use guests::bytes::{bytes, is, is_text, sum};
use guests::protected::{address_line_20_is_on, notes, registers_are_as_promised};
use guests::verdict::Verdict;
use guests::{claim, protected_guest, same};
use spec::pvh::{MapEntry, Module, StartInfo};

// The note: Xen, PHYS32_ENTRY, four bytes.
protected_guest!(
    "
    .pushsection .notes.xen, \"a\", @note
    .balign 4
    .long 4, 4, 18
    .asciz \"Xen\"
    .long _start
    .popsection
    ";
    registers_are_as_promised,
    address_line_20_is_on,
    the_start_info_has_its_marks,
    the_memory_map_is_the_platforms,
    the_command_line_is_the_configs,
    the_first_module_is_the_initial_ram_disk,
    the_rsdp_is_where_it_says,
);

/// A structure that the loader left.
fn read<T: Copy>(at: u64) -> T {
    // SAFETY: the loader put it there; it is one of the structures above, for which all values of its bytes are valid.
    unsafe { core::ptr::read_unaligned(at as *const T) }
}

fn info() -> StartInfo {
    read(notes().ebx.into())
}

fn the_start_info_has_its_marks() -> Verdict {
    let info = info();
    same!((info.magic, info.version), (StartInfo::MAGIC, 1));
    same!((info.flags, info.reserved), (0, 0));
    Ok(())
}

fn the_memory_map_is_the_platforms() -> Verdict {
    let expected = [
        (0, 0xa_0000, 1),
        (0xe_0000, 0x2_0000, 2),
        (0x10_0000, 15 << 20, 1),
    ];
    same!(info().memmap_entries as usize, expected.len());
    for (n, expected) in (0..).zip(expected) {
        let entry: MapEntry = read(info().memmap_paddr + 24 * n);
        same!((entry.addr, entry.size, entry.kind), expected);
        same!(entry.reserved, 0);
    }
    Ok(())
}

fn the_command_line_is_the_configs() -> Verdict {
    claim!(is_text(info().cmdline_paddr, "one=1 two"), "not it");
    Ok(())
}

fn the_first_module_is_the_initial_ram_disk() -> Verdict {
    same!(info().nr_modules, 1);
    let module: Module = read(info().modlist_paddr);
    same!((module.size, module.cmdline_paddr), (5000, 0));
    claim!(module.paddr.is_multiple_of(4096), "{:#x}", module.paddr);
    let expected = (0..5000).map(|n: usize| (n * 7) as u8);
    claim!(
        bytes(module.paddr, 5000).eq(expected),
        "{:#x}",
        module.paddr
    );
    Ok(())
}

fn the_rsdp_is_where_it_says() -> Verdict {
    let rsdp = info().rsdp_paddr;
    claim!((0xe_0000..0x10_0000).contains(&rsdp), "{rsdp:#x}");
    claim!(is(rsdp, b"RSD PTR "), "no signature");
    same!((sum(rsdp, 20), sum(rsdp, 36)), (0, 0), "checksums");
    Ok(())
}
