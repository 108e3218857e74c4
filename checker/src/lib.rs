//! The isolation certificate: proves, of what a machine tells about itself, that its VMs reach what the plan gives them and nothing else.
//!
//! The machine is asked what its processor goes by: nested tables, control structures, bitmaps, its own tables (`proto::certificate`). What
//! of that may be is written here once more, on purpose: no code, no table and no constant is shared with what builds those structures,
//! so that a fault there is not one here. What is believed is that the machine reads its own memory rightly, no more.
//!
//! [`check`] gives the findings; [`certify`] the whole certificate, with what was proven over how much, as a page for people
//! ([`Certificate::page`]), as JSON, and as a summary for a terminal ([`Certificate::summary`]).

mod carrier;
mod certificate;
mod layers;
mod page;
mod rules;
mod subject;
mod summary;
mod text;
mod verdict;
mod whole;

pub use certificate::{Certificate, certify, check};
pub use verdict::{Finding, Verdict};
pub use whole::{Unstarted, Whole};
