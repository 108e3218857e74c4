//! The rules, each with what it proves.

mod apic;
pub(crate) mod controls;
mod cores;
mod firmware;
mod frames;
mod host_maps;
mod host_state;
mod intercepts;
pub(crate) mod msrs;
mod ports;
mod ram;
mod reach;
mod rights;
mod structures;
mod survey;
mod translations;
mod w_xor_x;

use crate::verdict::Rule;

/// All rules, in the order in which they are told.
pub(crate) const RULES: &[Rule] = &[
    survey::RULE,
    ram::RULE,
    reach::DISJOINT,
    reach::OWN,
    reach::MEMORY,
    rights::RULE,
    frames::RULE,
    structures::RULE,
    translations::RULE,
    controls::RULE,
    intercepts::RULE,
    msrs::RULE,
    ports::RULE,
    apic::RULE,
    host_state::RULE,
    w_xor_x::RULE,
    host_maps::RULE,
    firmware::RULE,
    cores::RULE,
];
