//! Bytes for one address: see [`fuzz::kernels`].
#![no_main]

use guest_loader::{Format, Start};
use spec::Gpa;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // The input says which; only the kind counts here.
    let (load, start) = (Gpa(0), Start::Real);
    fuzz::kernels::one(Format::Flat { load, start }, data);
});
