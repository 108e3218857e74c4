//! ELF64 executables: see [`fuzz::kernels`].
#![no_main]

use guest_loader::Format;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::kernels::one(Format::Elf64, data));
