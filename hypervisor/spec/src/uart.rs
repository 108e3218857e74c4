//! The 16550A UART: National Semiconductor PC16550D data sheet (June 1995), section 8.0, "Registers".

use bitflags::bitflags;

/// Register offsets from the base of the eight-byte block (data sheet, table II).
pub mod offset {
    /// Receiver buffer (read) and transmitter holding (write); divisor latch low while DLAB is set
    pub const DATA: u8 = 0;
    /// Interrupt enable; divisor latch high while DLAB is set
    pub const IER: u8 = 1;
    /// Interrupt identification (read)
    pub const IIR: u8 = 2;
    /// FIFO control (write)
    pub const FCR: u8 = 2;
    /// Line control
    pub const LCR: u8 = 3;
    /// Modem control
    pub const MCR: u8 = 4;
    /// Line status
    pub const LSR: u8 = 5;
    /// Modem status
    pub const MSR: u8 = 6;
    /// Scratch
    pub const SCR: u8 = 7;
}

/// Bytes in each of the two FIFOs (section 8.4).
pub const FIFO_SIZE: usize = 16;

/// What the low four bits of IIR say, by falling priority (section 8.6, table IV).
pub mod iir {
    /// Receiver line status
    pub const LINE_STATUS: u8 = 0b0110;
    /// Received data available, or trigger level reached
    pub const DATA: u8 = 0b0100;
    /// Character time-out: bytes below the trigger level wait
    pub const TIMEOUT: u8 = 0b1100;
    /// Transmitter holding register empty
    pub const TRANSMIT: u8 = 0b0010;
    /// Modem status
    pub const MODEM: u8 = 0b0000;
    /// Nothing pending
    pub const NONE: u8 = 0b0001;
    /// The identification bits
    pub const MASK: u8 = 0b1111;
    /// Both set while the FIFOs are enabled
    pub const FIFOS: u8 = 0b1100_0000;
}

bitflags! {
    /// Interrupt enable register (section 8.7).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Ier: u8 {
        /// Received data available, and time-out
        const DATA = 1 << 0;
        /// Transmitter holding register empty
        const TRANSMIT = 1 << 1;
        /// Receiver line status
        const LINE_STATUS = 1 << 2;
        /// Modem status
        const MODEM = 1 << 3;
    }

    /// FIFO control register (section 8.5).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Fcr: u8 {
        /// FIFOs on; the other bits count only together with this one
        const ENABLE = 1 << 0;
        /// Empties the receive FIFO
        const CLEAR_RX = 1 << 1;
        /// Empties the transmit FIFO
        const CLEAR_TX = 1 << 2;
        /// DMA mode, which this bus does not use
        const DMA = 1 << 3;
        /// Receive trigger level, two bits: 1, 4, 8, 14 bytes
        const TRIGGER = 3 << 6;
    }

    /// Line control register (section 8.1).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Lcr: u8 {
        /// Word length, two bits: 5 to 8
        const WORD = 3;
        /// Two stop bits
        const STOP = 1 << 2;
        /// Parity enable
        const PARITY = 1 << 3;
        /// Even parity
        const EVEN = 1 << 4;
        /// Stick parity
        const STICK = 1 << 5;
        /// Set break
        const BREAK = 1 << 6;
        /// Divisor latch access
        const DLAB = 1 << 7;
    }

    /// Modem control register (section 8.8).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Mcr: u8 {
        /// Data terminal ready
        const DTR = 1 << 0;
        /// Request to send
        const RTS = 1 << 1;
        /// Output 1
        const OUT1 = 1 << 2;
        /// Output 2: in a PC, the gate between the chip's interrupt pin and the line
        const OUT2 = 1 << 3;
        /// Local loopback
        const LOOP = 1 << 4;
    }

    /// Line status register (section 8.3).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Lsr: u8 {
        /// Data ready
        const DATA = 1 << 0;
        /// Overrun error
        const OVERRUN = 1 << 1;
        /// Parity error
        const PARITY = 1 << 2;
        /// Framing error
        const FRAMING = 1 << 3;
        /// Break interrupt
        const BREAK = 1 << 4;
        /// Transmitter holding register empty
        const THR_EMPTY = 1 << 5;
        /// Transmitter empty: holding and shift register
        const TX_EMPTY = 1 << 6;
        /// An error somewhere in the receive FIFO
        const FIFO_ERROR = 1 << 7;
    }

    /// Modem status register (section 8.9).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Msr: u8 {
        /// CTS changed since the last read
        const DELTA_CTS = 1 << 0;
        /// DSR changed since the last read
        const DELTA_DSR = 1 << 1;
        /// RI went from asserted to not
        const TRAILING_RI = 1 << 2;
        /// DCD changed since the last read
        const DELTA_DCD = 1 << 3;
        /// Clear to send
        const CTS = 1 << 4;
        /// Data set ready
        const DSR = 1 << 5;
        /// Ring indicator
        const RI = 1 << 6;
        /// Data carrier detect
        const DCD = 1 << 7;
    }
}
