//! The two 8259A interrupt controllers: masked for good, since all interrupts come by the I/O APIC.
// UNSAFETY: port writes to the controllers' mask registers.
#![allow(unsafe_code)]

use crate::port;
use spec::Port;

/// Masks every input of both. Absent controllers swallow the writes.
pub fn mask() {
    for data in [Port(0x21), Port(0xa1)] {
        // SAFETY: OCW1 of the 8259A; nobody in the hypervisor waits for an interrupt of it.
        unsafe { port::write_u8(data, 0xff) };
    }
}
