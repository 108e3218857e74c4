//! A Multiboot kernel that goes where the address fields of its header say.
#![no_std]
#![no_main]
// UNSAFETY: code for the other mode.
#![allow(unsafe_code)]

use guests::multiboot::*;
use guests::protected::{address_line_20_is_on, registers_are_as_promised};
use guests::verdict::Verdict;
use guests::{protected_guest, same};

protected_guest!(
    "
    .balign 4
    multiboot_header:
    .long 0x1badb002, 0x10003, -(0x1badb002 + 0x10003)
    .long multiboot_header, multiboot_header, loaded_end, bss_end, _start
    ";
    it_runs_where_it_was_linked_to,
    registers_are_as_promised,
    address_line_20_is_on,
    the_loader_is_a_multiboot_loader,
    the_flags_tell_what_is_there,
    the_memory_map_is_the_platforms,
    the_command_line_is_the_configs,
    the_modules_are_the_configs,
);

fn it_runs_where_it_was_linked_to() -> Verdict {
    let here = it_runs_where_it_was_linked_to as *const () as u64;
    same!(here >> 20, 3, "{here:#x}");
    Ok(())
}
