//! The management protocol: see [`fuzz::proto`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::proto::one(data));
