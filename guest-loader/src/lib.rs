//! Puts a guest kernel into guest memory and says how its first vCPU starts.
#![no_std]
