//! The instruction emulator: see [`fuzz::emul`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::emul::one(data));
