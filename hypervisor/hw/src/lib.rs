//! The machine: instructions, MSRs, ports, per-core state, VM entry.
#![no_std]
