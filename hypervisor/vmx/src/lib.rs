//! VT-x over a VMCS trait: control selection, entry checks, exit decoding, injection.
#![no_std]
