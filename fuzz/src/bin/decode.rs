//! Exits, from the VMCS and back into it: see [`fuzz::decode`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::decode::one(data));
