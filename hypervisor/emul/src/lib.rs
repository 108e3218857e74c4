//! Decodes and carries out the instructions that reach emulated memory.
#![no_std]
