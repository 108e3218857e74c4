//! What a guest is told: CPUID and MSR policy, ACPI tables, memory map.
#![no_std]
