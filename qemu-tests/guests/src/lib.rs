//! What the tiny guests share.
#![no_std]
