//! ELF files with Xen's PVH note: see [`fuzz::kernels`].
#![no_main]

use guest_loader::Format;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::kernels::one(Format::Pvh, data));
