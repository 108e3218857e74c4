//! Nested page tables, generic over the entry format.
#![no_std]
