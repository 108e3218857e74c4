//! Keys as terminals send them: control characters (ASCII), and the sequences of VT220 and xterm for the others.

use crate::escape::Part;

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    Nothing,
    /// A printable ASCII character
    Text(char),
    Enter,
    Backspace,
    Delete,
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
    KillBefore,
    KillAfter,
    KillWord,
    Cancel,
    EndOfInput,
    Complete,
    Redraw,
}

const fn ctrl(letter: u8) -> u8 {
    letter & 0x1f
}

const CTRL_A: u8 = ctrl(b'A');
const CTRL_B: u8 = ctrl(b'B');
const CTRL_C: u8 = ctrl(b'C');
const CTRL_D: u8 = ctrl(b'D');
const CTRL_E: u8 = ctrl(b'E');
const CTRL_F: u8 = ctrl(b'F');
const BACKSPACE: u8 = ctrl(b'H');
const CTRL_K: u8 = ctrl(b'K');
const CTRL_L: u8 = ctrl(b'L');
const CTRL_N: u8 = ctrl(b'N');
const CTRL_P: u8 = ctrl(b'P');
const CTRL_U: u8 = ctrl(b'U');
const CTRL_W: u8 = ctrl(b'W');
const DEL: u8 = 0x7f;

pub(super) fn key(part: Part) -> Key {
    match part {
        Part::Text(c @ b' '..=b'~') => Key::Text(char::from(c)),
        Part::Control(c) => control(c),
        Part::Sequence(last, number) => sequence(last, number),
        Part::Text(_) | Part::Within => Key::Nothing,
    }
}

fn control(c: u8) -> Key {
    match c {
        b'\r' | b'\n' => Key::Enter,
        b'\t' => Key::Complete,
        BACKSPACE | DEL => Key::Backspace,
        CTRL_A => Key::Home,
        CTRL_B => Key::Left,
        CTRL_C => Key::Cancel,
        CTRL_D => Key::EndOfInput,
        CTRL_E => Key::End,
        CTRL_F => Key::Right,
        CTRL_K => Key::KillAfter,
        CTRL_L => Key::Redraw,
        CTRL_N => Key::Down,
        CTRL_P => Key::Up,
        CTRL_U => Key::KillBefore,
        CTRL_W => Key::KillWord,
        _ => Key::Nothing,
    }
}

fn sequence(last: u8, number: u16) -> Key {
    match (last, number) {
        (b'A', _) => Key::Up,
        (b'B', _) => Key::Down,
        (b'C', _) => Key::Right,
        (b'D', _) => Key::Left,
        (b'H', _) | (b'~', 1 | 7) => Key::Home,
        (b'F', _) | (b'~', 4 | 8) => Key::End,
        (b'~', 3) => Key::Delete,
        _ => Key::Nothing,
    }
}
