//! What Linux's 8250 driver (6.1 to 7.x) asks of the chip when it probes, starts up and prints, register by
//! register, and the conclusions it draws.

use super::tests::Line;
use super::*;

/// A driver over a UART.
struct Driver<'a> {
    uart: &'a mut Uart,
    line: &'a mut Line,
}

impl Driver<'_> {
    fn input(&mut self, register: u8) -> u8 {
        self.uart.read(register, self.line)
    }

    fn output(&mut self, register: u8, value: u8) {
        self.uart.write(register, value, self.line);
    }

    /// First the enable register must hold what is written, then loopback must show RTS and OUT2 as CTS and DCD.
    fn exists(&mut self) -> bool {
        let ier = self.input(offset::IER);
        self.output(offset::IER, 0);
        let none = self.input(offset::IER) & 0x0f;
        self.output(offset::IER, 0x0f);
        let all = self.input(offset::IER) & 0x0f;
        self.output(offset::IER, ier);
        let mcr = self.input(offset::MCR);
        self.output(offset::MCR, 0x10 | 0x08 | 0x02);
        let lines = self.input(offset::MSR) & 0xf0;
        self.output(offset::MCR, mcr);
        none == 0 && all == 0x0f && lines == 0x90
    }

    /// IIR bits 7:6 once the FIFOs are on: 3 is a 16550A.
    fn family(&mut self) -> u8 {
        self.output(offset::LCR, 0xbf);
        self.output(offset::FCR, 0);
        self.output(offset::LCR, 0);
        self.output(offset::FCR, 0x01);
        self.input(offset::IIR) >> 6
    }

    /// The checks that tell variants of the 16550A apart; true if it is a plain one.
    fn is_plain_16550a(&mut self) -> bool {
        // An extended feature register, behind either of two LCR values
        self.output(offset::LCR, 0x80);
        let efr = self.input(offset::IIR) == 0;
        self.output(offset::LCR, 0xbf);
        let efr_v2 = self.input(offset::IIR) == 0;
        // National's SuperIO: MCR's loop bit shows in its bank 2
        self.output(offset::LCR, 0);
        let mcr = self.input(offset::MCR);
        self.output(offset::LCR, 0xe0);
        let bank = self.input(offset::IIR);
        let mut superio = false;
        if (bank ^ mcr) & 0x10 == 0 {
            self.output(offset::LCR, 0);
            self.output(offset::MCR, mcr ^ 0x10);
            self.output(offset::LCR, 0xe0);
            let bank = self.input(offset::IIR);
            self.output(offset::LCR, 0);
            self.output(offset::MCR, mcr);
            superio = (bank ^ mcr) & 0x10 != 0;
        }
        // A 16750 shows IIR bit 5 for 64-byte FIFOs, with DLAB alone
        self.output(offset::LCR, 0);
        self.output(offset::FCR, 0x21);
        let plain = self.input(offset::IIR) & 0xe0;
        self.output(offset::FCR, 0x01);
        self.output(offset::LCR, 0x80);
        self.output(offset::FCR, 0x21);
        let dlab = self.input(offset::IIR) & 0xe0;
        self.output(offset::FCR, 0x01);
        self.output(offset::LCR, 0);
        // XScale: IER bit 6 holds
        let ier = self.input(offset::IER);
        self.output(offset::IER, ier | 0x40);
        let xscale = self.input(offset::IER) & 0x40 != 0;
        self.output(offset::IER, ier);
        !efr && !efr_v2 && !superio && plain == 0xc0 && dlab == 0xc0 && !xscale
    }

    /// Fills the receive FIFO through loopback and counts what comes out.
    fn fifo_size(&mut self) -> usize {
        self.output(offset::LCR, 0);
        let fcr = self.input(offset::FCR);
        let mcr = self.input(offset::MCR);
        self.output(offset::FCR, 0x07);
        self.output(offset::MCR, 0x10);
        self.output(offset::LCR, 0x80);
        self.output(offset::DATA, 1);
        self.output(offset::IER, 0);
        self.output(offset::LCR, 0x03);
        for byte in 0..=255 {
            self.output(offset::DATA, byte);
        }
        let mut count = 0;
        while self.input(offset::LSR) & 0x01 != 0 && count < 256 {
            self.input(offset::DATA);
            count += 1;
        }
        self.output(offset::FCR, fcr);
        self.output(offset::MCR, mcr);
        count
    }

    fn clear_fifos(&mut self) {
        self.output(offset::FCR, 0x01);
        self.output(offset::FCR, 0x07);
        self.output(offset::FCR, 0);
    }

    fn clear_interrupts(&mut self) {
        for register in [offset::LSR, offset::DATA, offset::IIR, offset::MSR] {
            self.input(register);
        }
    }

    /// Start-up: whether the transmit interrupt comes back each time it is switched on (else UART_BUG_THRE), and
    /// whether it comes at all while the transmitter is empty (else UART_BUG_TXEN).
    fn start_up(&mut self) -> (bool, bool) {
        self.clear_fifos();
        self.clear_interrupts();
        assert_ne!(
            self.input(offset::LSR),
            0xff,
            "the driver's LSR safety check"
        );
        self.output(offset::IER, 0x02);
        let first = self.input(offset::IIR);
        self.output(offset::IER, 0);
        self.output(offset::IER, 0x02);
        let second = self.input(offset::IIR);
        self.output(offset::IER, 0);
        let reasserts = first & 1 == 0 && second & 1 == 0;
        self.output(offset::LCR, 0x03);
        self.output(offset::MCR, 0x0b);
        self.output(offset::IER, 0x02);
        let status = self.input(offset::LSR);
        let iir = self.input(offset::IIR);
        self.output(offset::IER, 0);
        let comes = status & 0x40 != 0 && iir & 1 == 0;
        self.clear_interrupts();
        self.output(offset::FCR, 0x81);
        self.output(offset::IER, 0x05);
        (reasserts, comes)
    }

    /// The interrupt handler's loop: until IIR says none. Takes what came in, and sends what `text` still has.
    fn handle_interrupt(&mut self, text: &mut &[u8], received: &mut std::vec::Vec<u8>) {
        while self.input(offset::IIR) & 1 == 0 {
            let status = self.input(offset::LSR);
            if status & 0x01 != 0 {
                while self.input(offset::LSR) & 0x01 != 0 {
                    received.push(self.input(offset::DATA));
                }
            }
            self.input(offset::MSR);
            if status & 0x20 != 0 {
                if text.is_empty() {
                    self.output(offset::IER, 0x05);
                } else {
                    let (now, later) = text.split_at(text.len().min(FIFO_SIZE));
                    now.iter().for_each(|&byte| self.output(offset::DATA, byte));
                    *text = later;
                }
            }
        }
    }
}

extern crate std;

#[test]
fn probing_finds_a_plain_16550a_with_sixteen_bytes_and_no_bugs() {
    let (uart, line) = (&mut Uart::new(), &mut Line::open());
    let mut driver = Driver { uart, line };
    assert!(driver.exists());
    assert_eq!(driver.family(), 3);
    assert!(driver.is_plain_16550a());
    assert_eq!(driver.fifo_size(), FIFO_SIZE);
    driver.clear_fifos();
    assert_eq!(driver.start_up(), (true, true));
    assert!(driver.line.sent.is_empty(), "probing prints nothing");
    assert!(!driver.uart.interrupt(), "and leaves no interrupt behind");
}

#[test]
fn the_console_prints_by_polling() {
    let (uart, line) = (&mut Uart::new(), &mut Line::open());
    let mut driver = Driver { uart, line };
    driver.output(offset::IER, 0);
    for &byte in b"Linux version 6.1\r\n" {
        assert_eq!(driver.input(offset::LSR) & 0x60, 0x60);
        driver.output(offset::DATA, byte);
    }
    assert_eq!(driver.line.sent, b"Linux version 6.1\r\n");
}

#[test]
fn the_tty_sends_and_receives_by_edges_of_the_interrupt_line() {
    let text: std::vec::Vec<u8> = (0..=255).cycle().take(1000).collect();
    let (uart, line) = (&mut Uart::new(), &mut Line::open());
    line.room = 0;
    let mut driver = Driver { uart, line };
    driver.start_up();
    driver.line.input.extend(&text);
    driver.output(offset::IER, 0x07);
    let (mut rest, mut received) = (text.as_slice(), std::vec::Vec::new());
    let mut level = false;
    for round in 0.. {
        // An edge-triggered input sees only what rises.
        let now = driver.uart.interrupt();
        if now && !level {
            driver.handle_interrupt(&mut rest, &mut received);
            level = driver.uart.interrupt();
        } else {
            level = now;
        }
        if driver.line.sent.len() == text.len() && received.len() == text.len() {
            break;
        }
        assert!(round < 10_000, "stalled");
        driver.line.room = round % 5;
        driver.uart.poll(driver.line);
    }
    assert_eq!(driver.line.sent, text);
    assert_eq!(received, text);
}
