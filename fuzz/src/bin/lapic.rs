//! The local APIC: see [`fuzz::lapic`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::lapic::one(data));
