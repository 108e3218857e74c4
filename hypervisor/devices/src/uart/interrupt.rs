//! The interrupt sources, IER and IIR (data sheet, sections 8.6 and 8.7).

use super::Uart;
use spec::uart::{Fcr, Ier, Mcr, iir};

impl Uart {
    /// The level of the chip's interrupt line: a source is pending, and OUT2 opens the gate. Loopback closes it,
    /// since it forces the output pins inactive (section 8.8, bit 4).
    #[inline]
    #[must_use]
    pub fn interrupt(&self) -> bool {
        self.mcr.contains(Mcr::OUT2) && !self.mcr.contains(Mcr::LOOP) && self.source() != iir::NONE
    }

    /// Bytes that must wait before "received data available" (section 8.5, bits 6 and 7).
    const fn trigger(&self) -> usize {
        if !self.fifos() {
            return 1;
        }
        match self.fcr.intersection(Fcr::TRIGGER).bits() >> 6 {
            0 => 1,
            1 => 4,
            2 => 8,
            _ => 14,
        }
    }

    /// The pending source of the highest priority.
    fn source(&self) -> u8 {
        let waiting = self.rx.len();
        if self.ier.contains(Ier::LINE_STATUS) && self.overrun {
            iir::LINE_STATUS
        } else if self.ier.contains(Ier::DATA) && waiting >= self.trigger() {
            iir::DATA
        } else if self.ier.contains(Ier::DATA) && waiting > 0 {
            iir::TIMEOUT
        } else if self.ier.contains(Ier::TRANSMIT) && self.transmit_pending {
            iir::TRANSMIT
        } else if self.ier.contains(Ier::MODEM) && !self.modem_delta.is_empty() {
            iir::MODEM
        } else {
            iir::NONE
        }
    }

    pub(super) fn read_iir(&mut self) -> u8 {
        let source = self.source();
        if source == iir::TRANSMIT {
            self.transmit_pending = false;
        }
        source | if self.fifos() { iir::FIFOS } else { 0 }
    }

    /// Switching the transmit interrupt on while the transmitter is empty raises it anew: what Linux asks of a
    /// UART at start-up, on pain of falling back to a timer.
    pub(super) fn write_ier(&mut self, ier: Ier) {
        let switched = self.ier.symmetric_difference(ier);
        if switched.contains(Ier::TRANSMIT) {
            self.transmit_pending = ier.contains(Ier::TRANSMIT) && self.tx.is_empty();
        }
        self.ier = ier;
    }
}
