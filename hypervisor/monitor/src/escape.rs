//! Tells text from escape sequences (ECMA-48, "Representation of the functions"), a byte at a time: what terminals send for keys, and
//! what guests send to terminals.

/// Where in a sequence a stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Escape {
    /// In none
    #[default]
    Text,
    /// After ESC
    Begun,
    /// After ESC and an intermediate byte
    Intermediate,
    /// After CSI, or SS3, which is read as one without parameters: its first parameter so far, and whether that has ended
    Control { number: u16, ended: bool },
    /// In a string that only its terminator ends
    String,
}

/// What a byte is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// Text
    Text(u8),
    /// A control character, even if it stands within a sequence
    Control(u8),
    /// Within a sequence, or the end of one that says nothing here
    Within,
    /// The end of a control sequence: its last byte and its first parameter, zero if it has none
    Sequence(u8, u16),
}

const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const ESC: u8 = 0x1b;
const DEL: u8 = 0x7f;
const BEL: u8 = 0x07;

impl Escape {
    /// Takes the next byte.
    pub(crate) fn push(&mut self, byte: u8) -> Part {
        match (*self, byte) {
            (_, ESC) => self.go_on(Escape::Begun),
            (Escape::Text, 0..0x20 | DEL) => Part::Control(byte),
            (Escape::Text, _) => Part::Text(byte),
            (_, CAN | SUB) | (Escape::String, BEL) => self.go_on(Escape::Text),
            // The end of a string has got lost: the rest of the stream shall not.
            (Escape::String, b'\n') => self.ends(Part::Control(byte)),
            (Escape::String, _) => Part::Within,
            (_, 0..0x20 | DEL) => Part::Control(byte),
            // Not of a sequence: text is worth more than what has been begun.
            (_, 0x80..) => self.ends(Part::Text(byte)),
            (Escape::Begun, b'[' | b'O') => self.go_on(Escape::Control {
                number: 0,
                ended: false,
            }),
            (Escape::Begun, b']' | b'P' | b'X' | b'^' | b'_') => self.go_on(Escape::String),
            (Escape::Begun | Escape::Intermediate, 0x20..0x30) => self.go_on(Escape::Intermediate),
            (Escape::Begun | Escape::Intermediate, _) => self.go_on(Escape::Text),
            (Escape::Control { number, ended }, 0x20..0x40) => {
                let digit = byte.is_ascii_digit() && !ended;
                let number = if digit {
                    let digit = u16::from(byte.wrapping_sub(b'0'));
                    number.saturating_mul(10).saturating_add(digit)
                } else {
                    number
                };
                let ended = !digit;
                self.go_on(Escape::Control { number, ended })
            }
            (Escape::Control { number, .. }, _) => self.ends(Part::Sequence(byte, number)),
        }
    }

    fn go_on(&mut self, state: Escape) -> Part {
        *self = state;
        Part::Within
    }

    fn ends(&mut self, part: Part) -> Part {
        *self = Escape::Text;
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// What is left of text, and the sequences.
    fn parts(bytes: &[u8]) -> (Vec<u8>, Vec<(u8, u16)>) {
        let mut escape = Escape::default();
        let (mut text, mut sequences) = (Vec::new(), Vec::new());
        for byte in bytes {
            match escape.push(*byte) {
                Part::Text(b) | Part::Control(b) => text.push(b),
                Part::Within => {}
                Part::Sequence(last, number) => sequences.push((last, number)),
            }
        }
        (text, sequences)
    }

    #[test]
    fn sequences_are_told_from_text() {
        let (text, sequences) = parts(b"a\x1b[6nb\x1b[3~\x1bOH\x1b[1;5C\x1b[?25hc\x1b(B\x1b7d");
        assert_eq!(text, b"abcd");
        assert_eq!(
            sequences,
            [(b'n', 6), (b'~', 3), (b'H', 0), (b'C', 1), (b'h', 0)]
        );
    }

    #[test]
    fn strings_end_where_they_should_and_at_the_end_of_the_line() {
        assert_eq!(parts(b"a\x1b]0;title\x07b\x1bPq\x1b\\c").0, b"abc");
        assert_eq!(parts(b"a\x1b]0;lost\nb").0, b"a\nb");
    }

    #[test]
    fn what_breaks_a_sequence_is_kept() {
        assert_eq!(parts(b"\x1b[\xc3\xa4").0, "ä".as_bytes());
        assert_eq!(parts(b"\x1b[1\n2n").0, b"\n");
        assert_eq!(parts(b"\x1b[12\x18x").0, b"x");
    }

    #[test]
    fn a_parameter_of_any_length_is_no_overflow() {
        assert_eq!(parts(b"\x1b[99999999999n").1, [(b'n', u16::MAX)]);
    }
}
