//! The loader, seen from outside: what a good kernel finds, what a bad one is told, what damage cannot do.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;
mod damage;
mod load;
mod multiboot;
mod protocols;
mod pvh;
mod refuse;
