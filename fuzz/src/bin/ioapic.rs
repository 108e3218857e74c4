//! The I/O APIC: see [`fuzz::ioapic`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::ioapic::one(data));
