//! Chips: UART, local APIC, I/O APIC, CMOS clock, ACPI PM; glue beside each.
#![no_std]
