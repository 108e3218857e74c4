//! Interrupts: the local APIC and its timer, the I/O APIC, the UART, and where a pending interrupt comes in.

mod common;

use common::claims_on_both;
use std::process::ExitCode;

fn main() -> ExitCode {
    let guests = [
        "shadows",
        "timer",
        "interrupts",
        "apic_page",
        "apic_page_mapped",
        "uart_and_ioapic",
    ];
    qemu_tests::main(guests.into_iter().flat_map(claims_on_both).collect())
}
