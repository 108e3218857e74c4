//! Guest memory: copies in and out, checked.
#![no_std]
