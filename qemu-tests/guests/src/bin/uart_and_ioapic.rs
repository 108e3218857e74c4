//! The UART in loopback, and its interrupt through the I/O APIC.
#![no_std]
#![no_main]
// UNSAFETY: narrow accesses to the I/O APIC.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::ioapic::{self, entry, route};
use guests::uart::{PIN, read, write};
use guests::verdict::Verdict;
use guests::{claim, guest, interrupt, lapic, same, serial};
use spec::ioapic::{PINS, Redirection, offset as window, register};
use spec::uart::{Fcr, Ier, Lcr, Lsr, Mcr, iir, offset};

guest!(
    the_ioapic_tells_what_it_is,
    every_entry_is_masked_after_reset,
    an_entry_keeps_its_writable_bits,
    absent_offsets_read_ones,
    narrow_accesses_reach_the_selector_alone,
    the_scratch_register_and_the_divisor_keep_values,
    what_is_sent_in_loopback_is_received,
    a_full_fifo_overruns,
    modem_lines_loop_back,
    the_transmitter_interrupts_when_empty,
    the_receiver_interrupts_at_its_trigger_level,
    bytes_below_the_trigger_level_time_out,
    modem_changes_interrupt,
    a_masked_pin_is_silent,
    a_level_pin_comes_again_until_it_falls,
    a_logical_destination_is_found,
    an_interrupt_wakes_a_processor_from_hlt,
);

const VECTOR: u8 = 0x39;
const SOON: u64 = 200_000;

/// The UART in loopback, which closes the gate of its interrupts `ier`; its pin at `VECTOR` with these other bits.
fn set_up(ier: Ier, pin: Redirection, trigger: u8) -> Verdict {
    while read(offset::LSR) & Lsr::TX_EMPTY.bits() == 0 {}
    lapic::enable()?;
    write(offset::IER, 0);
    write(
        offset::FCR,
        (Fcr::ENABLE | Fcr::CLEAR_RX | Fcr::CLEAR_TX).bits() | trigger << 6,
    );
    write(offset::MCR, (Mcr::LOOP | Mcr::OUT2 | CONNECTED).bits());
    let _ = (read(offset::LSR), read(offset::MSR), read(offset::IIR));
    interrupt::forget();
    route(PIN, Redirection::from_bits_retain(VECTOR.into()) | pin);
    write(offset::IER, ier.bits());
    Ok(())
}

/// The outputs that loop back to what a terminal outside shows, so that leaving loopback changes no line.
const CONNECTED: Mcr = Mcr::DTR.union(Mcr::RTS);

/// Ends loopback, and with it the silence of interrupts.
fn open() {
    write(offset::MCR, (Mcr::OUT2 | CONNECTED).bits());
}

/// Gives the line back to the guest's words.
fn tear_down(verdict: Verdict) -> Verdict {
    write(offset::IER, 0);
    route(PIN, Redirection::MASKED);
    serial::open();
    verdict
}

/// What a claim finds, to be reported when the line works again.
fn with_uart<T>(set_up: Verdict, body: impl FnOnce() -> T) -> Result<T, guests::verdict::Broken> {
    let found = set_up.map(|()| body());
    tear_down(Ok(()))?;
    found
}

fn the_ioapic_tells_what_it_is() -> Verdict {
    let version = ioapic::read(register::VERSION);
    same!(version >> 16 & 0xff, u32::from(PINS) - 1);
    same!(version & 0xff, 0x20);
    ioapic::write(register::ID, 0x0500_0000);
    same!(ioapic::read(register::ID), 0x0500_0000);
    ioapic::write(register::ID, 0);
    Ok(())
}

fn every_entry_is_masked_after_reset() -> Verdict {
    for pin in 0..PINS {
        same!(entry(pin), Redirection::MASKED.bits(), "pin {pin}");
    }
    same!(
        ioapic::read(register::REDIRECTION + 2 * PINS),
        0,
        "beyond the last"
    );
    Ok(())
}

fn an_entry_keeps_its_writable_bits() -> Verdict {
    let all = Redirection::from_bits_retain(u64::MAX) - Redirection::from_bits_retain(7 << 8);
    route(9, all);
    same!(entry(9), (all & Redirection::WRITABLE).bits());
    route(9, Redirection::MASKED);
    Ok(())
}

fn absent_offsets_read_ones() -> Verdict {
    for at in [0x20, 0x30, 0x80, 0xffc] {
        same!(
            guests::mmio::read32(ioapic::BASE + at),
            u32::MAX,
            "offset {at:#x}"
        );
        guests::mmio::write32(ioapic::BASE + at, 0);
    }
    Ok(())
}

fn narrow_accesses_reach_the_selector_alone() -> Verdict {
    let select = ioapic::BASE + u64::from(window::SELECT);
    let data = ioapic::BASE + u64::from(window::WINDOW);
    // SAFETY: the I/O APIC's page holds nothing of Rust's.
    let (byte, narrow): (u8, u8) = unsafe {
        let (byte, narrow);
        asm!("mov byte ptr [{s}], 1", "mov {b}, [{s}]", "mov {n}, [{d}]", s = in(reg) select, d = in(reg) data, b = out(reg_byte) byte,
            n = out(reg_byte) narrow, options(nostack));
        (byte, narrow)
    };
    same!(byte, register::VERSION);
    same!(narrow, 0xff, "the window takes 32 bits");
    same!(guests::mmio::read32(data) & 0xff, 0x20);
    Ok(())
}

fn the_scratch_register_and_the_divisor_keep_values() -> Verdict {
    for value in [0, 0x55, 0xaa, 0xff] {
        write(offset::SCR, value);
        same!(read(offset::SCR), value);
    }
    let lcr = read(offset::LCR);
    write(offset::LCR, lcr | Lcr::DLAB.bits());
    write(offset::DATA, 0x34);
    write(offset::IER, 0x12);
    let divisor = (read(offset::DATA), read(offset::IER));
    write(offset::DATA, 1);
    write(offset::IER, 0);
    write(offset::LCR, lcr);
    same!(divisor, (0x34, 0x12));
    Ok(())
}

fn what_is_sent_in_loopback_is_received() -> Verdict {
    let found = with_uart(set_up(Ier::empty(), Redirection::MASKED, 0), || {
        (0..16).for_each(|byte| write(offset::DATA, byte));
        let status = read(offset::LSR);
        let bytes: [u8; 16] = core::array::from_fn(|_| read(offset::DATA));
        (status, bytes, read(offset::LSR) & Lsr::DATA.bits())
    })?;
    claim!(
        found.0 & Lsr::DATA.bits() != 0 && found.0 & Lsr::OVERRUN.bits() == 0,
        "LSR {:#x}",
        found.0
    );
    same!(found.1, core::array::from_fn(|n| n as u8));
    same!(found.2, 0);
    Ok(())
}

fn a_full_fifo_overruns() -> Verdict {
    let found = with_uart(set_up(Ier::LINE_STATUS, Redirection::empty(), 0), || {
        (0..17).for_each(|byte| write(offset::DATA, byte));
        let silent = !interrupt::spin(VECTOR, 1, SOON);
        open();
        let came = interrupt::spin(VECTOR, 1, SOON);
        let cause = read(offset::IIR) & iir::MASK;
        (
            silent && came,
            cause,
            read(offset::LSR) & Lsr::OVERRUN.bits(),
            read(offset::LSR) & Lsr::OVERRUN.bits(),
        )
    })?;
    same!(found, (true, iir::LINE_STATUS, Lsr::OVERRUN.bits(), 0));
    Ok(())
}

fn modem_lines_loop_back() -> Verdict {
    let found = with_uart(set_up(Ier::empty(), Redirection::MASKED, 0), || {
        write(offset::MCR, (Mcr::LOOP | Mcr::RTS | Mcr::DTR).bits());
        let both = read(offset::MSR);
        write(offset::MCR, (Mcr::LOOP | Mcr::OUT1).bits());
        (both, read(offset::MSR))
    })?;
    // OUT2's DCD went; then RI came while CTS and DSR went.
    same!(found, (0x38, 0x43));
    Ok(())
}

fn the_transmitter_interrupts_when_empty() -> Verdict {
    let found = with_uart(set_up(Ier::TRANSMIT, Redirection::empty(), 0), || {
        open();
        let first = interrupt::spin(VECTOR, 1, SOON);
        let cause = read(offset::IIR);
        let after = read(offset::IIR) & iir::MASK;
        write(offset::MCR, (Mcr::LOOP | Mcr::OUT2 | CONNECTED).bits());
        write(offset::DATA, 1);
        open();
        (first, cause, after, interrupt::spin(VECTOR, 2, SOON))
    })?;
    same!(found, (true, iir::FIFOS | iir::TRANSMIT, iir::NONE, true));
    Ok(())
}

fn the_receiver_interrupts_at_its_trigger_level() -> Verdict {
    for (code, level) in [(0, 1), (1, 4), (2, 8), (3, 14)] {
        let found = with_uart(set_up(Ier::DATA, Redirection::empty(), code), || {
            (0..level).for_each(|byte| write(offset::DATA, byte));
            open();
            (
                interrupt::spin(VECTOR, 1, SOON),
                read(offset::IIR) & iir::MASK,
            )
        })?;
        same!(found, (true, iir::DATA), "level {level}");
    }
    Ok(())
}

fn bytes_below_the_trigger_level_time_out() -> Verdict {
    let found = with_uart(set_up(Ier::DATA, Redirection::empty(), 2), || {
        write(offset::DATA, 1);
        open();
        (
            interrupt::spin(VECTOR, 1, SOON),
            read(offset::IIR) & iir::MASK,
            read(offset::DATA),
            read(offset::IIR) & iir::MASK,
        )
    })?;
    same!(found, (true, iir::TIMEOUT, 1, iir::NONE));
    Ok(())
}

fn modem_changes_interrupt() -> Verdict {
    let found = with_uart(set_up(Ier::MODEM, Redirection::empty(), 0), || {
        write(offset::MCR, (Mcr::LOOP | Mcr::OUT2 | Mcr::RTS).bits());
        open();
        (
            interrupt::spin(VECTOR, 1, SOON),
            read(offset::IIR) & iir::MASK,
            read(offset::MSR) & 0xf,
            read(offset::IIR) & iir::MASK,
        )
    })?;
    // DSR went and came.
    same!(found, (true, iir::MODEM, 2, iir::NONE));
    Ok(())
}

fn a_masked_pin_is_silent() -> Verdict {
    let found = with_uart(set_up(Ier::TRANSMIT, Redirection::MASKED, 0), || {
        open();
        interrupt::spin(VECTOR, 1, SOON)
    })?;
    same!(found, false);
    Ok(())
}

fn a_level_pin_comes_again_until_it_falls() -> Verdict {
    let found = with_uart(set_up(Ier::DATA, Redirection::LEVEL, 0), || {
        interrupt::also(|_| {
            if interrupt::count(VECTOR) == 3 {
                let _ = read(offset::DATA);
            }
        });
        write(offset::DATA, 1);
        open();
        let three = interrupt::spin(VECTOR, 3, SOON);
        (
            three,
            interrupt::spin(VECTOR, 4, SOON),
            entry(PIN) & Redirection::REMOTE_IRR.bits(),
        )
    })?;
    same!(found, (true, false, 0));
    Ok(())
}

fn a_logical_destination_is_found() -> Verdict {
    // An x2APIC's own is given: this is the first member of the first cluster.
    let (own, others) = if lapic::is_x2apic() {
        (0x01, 0x08)
    } else {
        lapic::write(spec::apic::register::LDR, 0x02 << 24)?;
        (0x02, 0x08)
    };
    for (to, expected) in [(own | 0x04, true), (others | 0x04, false)] {
        let to = Redirection::LOGICAL | Redirection::from_bits_retain(to << 56);
        let found = with_uart(set_up(Ier::TRANSMIT, to, 0), || {
            open();
            interrupt::spin(VECTOR, 1, SOON)
        })?;
        same!(found, expected, "{to:?}");
    }
    Ok(())
}

fn an_interrupt_wakes_a_processor_from_hlt() -> Verdict {
    let found = with_uart(set_up(Ier::TRANSMIT, Redirection::empty(), 0), || {
        open();
        guests::cpu::sti_hlt();
        interrupt::count(VECTOR)
    })?;
    same!(found, 1);
    Ok(())
}
