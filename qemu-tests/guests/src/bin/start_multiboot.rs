//! A Multiboot kernel that goes where its program headers say.
#![no_std]
#![no_main]
// UNSAFETY: code for the other mode.
#![allow(unsafe_code)]

use guests::multiboot::*;
use guests::protected::{address_line_20_is_on, registers_are_as_promised};
use guests::protected_guest;

// The header: modules on pages, and memory told of; no addresses.
protected_guest!(
    "
    .balign 4
    .long 0x1badb002, 3, -(0x1badb002 + 3)
    ";
    registers_are_as_promised,
    address_line_20_is_on,
    the_loader_is_a_multiboot_loader,
    the_flags_tell_what_is_there,
    the_memory_map_is_the_platforms,
    the_command_line_is_the_configs,
    the_modules_are_the_configs,
);
