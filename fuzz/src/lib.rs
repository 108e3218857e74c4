//! Targets for libFuzzer, one a module: each takes bytes, makes of them whatever its subject may be handed from outside, and panics
//! if what must hold does not. `docs/fuzzing.md` says how they are run and what they have found.
//!
//! A module's `one` is called with each input. It may keep nothing from one call to the next, so that an input does the same alone.

pub mod config;
pub mod decode;
pub mod emul;
pub mod ioapic;
pub mod kernels;
pub mod lapic;
pub mod proto;
pub mod step;
pub mod uart;

use arbitrary::{Arbitrary, Unstructured};

/// A sequence of things to do, as long as the input gives some.
pub(crate) fn each<'a, T: Arbitrary<'a>>(data: &'a [u8]) -> impl Iterator<Item = T> {
    let mut input = Unstructured::new(data);
    std::iter::from_fn(move || (!input.is_empty()).then(|| T::arbitrary(&mut input).ok())?)
}
