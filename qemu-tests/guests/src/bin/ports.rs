//! Ports that no device has, and widths of access that devices do not have.
#![no_std]
#![no_main]

use guests::verdict::Verdict;
use guests::{claim, guest, port, power, same, uart};
use spec::uart::offset;

guest!(
    absent_ports_read_ones,
    absent_ports_swallow_writes,
    narrow_reads_keep_the_rest_of_rax,
    wide_reads_take_neighbouring_registers,
    wide_writes_reach_neighbouring_registers,
    a_read_across_the_end_of_a_device_is_ones_beyond,
    the_last_port_has_port_0_as_neighbour,
    sleep_registers_read_as_idle,
    sleep_without_enable_does_nothing,
    other_values_do_not_reset,
);

/// What a PC has and this machine has not: PIC, PIT, keyboard, VGA, power management, debug ports.
const ABSENT: &[u16] = &[
    0x20, 0x21, 0x40, 0x43, 0x60, 0x61, 0x64, 0x80, 0xa0, 0xa1, 0xb2, 0x2f8, 0x3d4, 0x402, 0x4d0,
    0x510, 0xcf0, 0xd00, 0x603, 0x8900, 0xfffc,
];

fn absent_ports_read_ones() -> Verdict {
    for &port in ABSENT {
        same!(port::in8(port), 0xff, "byte of port {port:#x}");
        same!(port::in16(port), 0xffff, "word of port {port:#x}");
        same!(port::in32(port), u32::MAX, "long of port {port:#x}");
    }
    Ok(())
}

fn absent_ports_swallow_writes() -> Verdict {
    for &port in ABSENT {
        port::out8(port, 0);
        port::out16(port, 0x5a5a);
        port::out32(port, 0x1234_5678);
        same!(port::in8(port), 0xff, "port {port:#x} after a write");
    }
    Ok(())
}

fn narrow_reads_keep_the_rest_of_rax() -> Verdict {
    const BEFORE: u64 = 0x1122_3344_5566_7788;
    same!(port::in8_rax(0x80, BEFORE), BEFORE & !0xff | 0xff);
    same!(port::in16_rax(0x80, BEFORE), BEFORE & !0xffff | 0xffff);
    same!(port::in32_rax(0x80, BEFORE), 0xffff_ffff);
    Ok(())
}

fn wide_reads_take_neighbouring_registers() -> Verdict {
    uart::write(offset::SCR, 0xa5);
    let wide = port::in16(uart::BASE + u16::from(offset::MSR));
    same!(wide >> 8, 0xa5, "scratch register in the upper half");
    same!(wide as u8 & 0xb0, 0xb0, "modem lines in the lower half");
    Ok(())
}

fn wide_writes_reach_neighbouring_registers() -> Verdict {
    port::out16(uart::BASE + u16::from(offset::MSR), 0x3c00);
    same!(uart::read(offset::SCR), 0x3c);
    Ok(())
}

fn a_read_across_the_end_of_a_device_is_ones_beyond() -> Verdict {
    uart::write(offset::SCR, 0x42);
    same!(port::in32(uart::BASE + u16::from(offset::SCR)), 0xffff_ff42);
    Ok(())
}

fn the_last_port_has_port_0_as_neighbour() -> Verdict {
    // Nothing is at either; what counts is that the machine survives it.
    same!(port::in32(0xffff), u32::MAX);
    same!(port::in16(0xffff), 0xffff);
    port::out32(0xfffe, 0);
    Ok(())
}

fn sleep_registers_read_as_idle() -> Verdict {
    same!(port::in8(power::BASE), 0);
    same!(port::in8(power::BASE + 1), 0);
    same!(port::in8(power::BASE + 2), 0);
    Ok(())
}

fn sleep_without_enable_does_nothing() -> Verdict {
    port::out8(power::BASE, 5 << 2);
    same!(port::in8(power::BASE), 5 << 2);
    // Enabled, but S3, which there is not.
    port::out8(power::BASE, 3 << 2 | 0x20);
    same!(
        port::in8(power::BASE),
        3 << 2,
        "the enable bit reads as zero"
    );
    Ok(())
}

fn other_values_do_not_reset() -> Verdict {
    for value in (0..=255u8).filter(|&value| value != spec::acpi_pm::RESET_VALUE) {
        port::out8(power::BASE + 2, value);
    }
    claim!(
        port::in8(power::BASE + 2) == 0,
        "the register reads as zero"
    );
    Ok(())
}
