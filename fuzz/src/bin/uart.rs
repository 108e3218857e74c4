//! The UART: see [`fuzz::uart`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::uart::one(data));
