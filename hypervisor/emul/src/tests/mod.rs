//! Against the processor that runs the tests, and against the manual.

mod decoding;
mod differential;
mod fake;
mod faults;
mod instruction;
mod native;
mod operands;
mod ports;
mod shortcuts;
mod walks;
