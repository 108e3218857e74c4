use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;

const NAMES: [&str; 2] = ["debian", "control"];

/// A prompt and the terminal that it writes to: one line, wide enough.
#[derive(Default)]
struct Screen {
    prompt: Prompt,
    /// The present line and its column
    line: Vec<u8>,
    column: usize,
    /// Those before it
    above: Vec<String>,
    escape: Escape,
}

impl Screen {
    fn new() -> Self {
        let mut screen = Self::default();
        let mut out = Vec::new();
        screen.prompt.draw(&mut out);
        screen.show(&out);
        screen
    }

    fn show(&mut self, out: &[u8]) {
        use crate::escape::Part;
        for byte in out {
            match self.escape.push(*byte) {
                Part::Text(c) => {
                    self.line.resize(self.line.len().max(self.column + 1), b' ');
                    self.line[self.column] = c;
                    self.column += 1;
                }
                Part::Control(b'\r') => self.column = 0,
                Part::Control(b'\n') => {
                    self.above
                        .push(String::from_utf8(self.line.clone()).unwrap());
                    self.line.clear();
                }
                Part::Control(0x07) | Part::Within => {}
                Part::Sequence(b'K', 0) => self.line.truncate(self.column),
                Part::Sequence(b'D', n) => self.column -= usize::from(n),
                other => panic!("the prompt sends {other:?}"),
            }
        }
    }

    fn typed(&mut self, bytes: &[u8]) -> Vec<Entered> {
        let mut entered = Vec::new();
        for byte in bytes {
            let mut out = Vec::new();
            let one = self.prompt.typed(*byte, &NAMES, &mut out);
            self.show(&out);
            if one != Entered::Nothing {
                if matches!(one, Entered::Line(_)) {
                    out.clear();
                    self.prompt.draw(&mut out);
                    self.show(&out);
                }
                entered.push(one);
            }
        }
        entered
    }

    fn line(&mut self, bytes: &[u8]) -> String {
        match self.typed(bytes).as_slice() {
            [Entered::Line(line)] => line.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// The terminal shows what the prompt holds.
    fn check(&self) {
        let shown = format!("{PROMPT}{}", self.prompt.line);
        assert_eq!(core::str::from_utf8(&self.line).unwrap(), shown);
        assert_eq!(self.column, PROMPT.len() + self.prompt.cursor);
    }
}

#[test]
fn a_line_is_what_was_typed() {
    let mut screen = Screen::new();
    assert_eq!(screen.line(b"vm list\r"), "vm list");
    assert_eq!(screen.above, ["bulkhead> vm list"]);
}

#[test]
fn return_and_line_feed_are_one_key_together() {
    let mut screen = Screen::new();
    let line = |text: &str| Entered::Line(text.into());
    assert_eq!(
        screen.typed(b"a\r\nb\nc\r"),
        [line("a"), line("b"), line("c")]
    );
    assert_eq!(screen.typed(b"\r\r"), [line(""), line("")]);
}

#[test]
fn keys_edit() {
    let mut screen = Screen::new();
    assert_eq!(screen.line(b"lst\x1b[D\x1b[Di\r"), "list");
    assert_eq!(screen.line(b"ist\x01l\x05!\x7f\r"), "list");
    assert_eq!(screen.line(b"cores\x1bOH\x1b[3~\x1b[C\x0b\r"), "o");
    assert_eq!(screen.line(b"vm list all\x17\x17cores\r"), "vm cores");
    assert_eq!(screen.line(b"wrong\x15off\r"), "off");
    assert_eq!(screen.line(b"xoff\x1b[1~\x04\x1b[4~\x08f\r"), "off");
    screen.check();
}

#[test]
fn sequences_may_come_in_pieces_and_unknown_ones_do_nothing() {
    let mut screen = Screen::new();
    screen.typed(b"ab\x1b");
    screen.typed(b"[");
    screen.typed(b"D");
    screen.check();
    assert_eq!(screen.line(b"\x1b[24~\x1b[12;40R\x1b[200~c\r"), "acb");
}

#[test]
fn cancel_forgets_and_end_of_input_leaves() {
    let mut screen = Screen::new();
    assert_eq!(screen.typed(b"vm stop\x03"), []);
    screen.check();
    assert_eq!(screen.above, ["bulkhead> vm stop^C"]);
    assert_eq!(screen.typed(b"a\x04"), []);
    assert_eq!(screen.typed(b"\x7f\x04"), [Entered::Leave]);
}

#[test]
fn history_goes_back_and_forth_and_keeps_what_was_begun() {
    let mut screen = Screen::new();
    screen.typed(b"one\rtwo\rtwo\r \r\r");
    assert_eq!(
        screen.line(b"beg\x1b[A\x1b[A\x1b[A\x1b[A\x1b[B\x1b[B\x1b[B\x1b[Bun\r"),
        "begun"
    );
    assert_eq!(screen.line(b"\x1b[A\x1b[A\x1b[A\r"), "one");
    assert_eq!(screen.line(b"\x10\x10\x0e!\r"), "one!");
    for n in 0..100 {
        screen.typed(format!("{n}\r").as_bytes());
    }
    assert_eq!(screen.prompt.history.len(), HISTORY);
    assert_eq!(
        screen.line(&[b"\x1b[A".repeat(200), b"\r".to_vec()].concat()),
        "68"
    );
}

#[test]
fn completion_goes_as_far_as_it_can() {
    let mut screen = Screen::new();
    assert_eq!(screen.line(b"vm sta\tr\td\t\r"), "vm start debian ");
    screen.typed(b"vm st\t");
    assert_eq!(screen.prompt.line, "vm st");
    screen.typed(b"\t");
    assert_eq!(screen.above.last().unwrap(), "start  stop  stats  ");
    screen.check();
    // Its value goes right behind it.
    assert_eq!(screen.line(b"\x15set debian w\t2\r"), "set debian weight=2");
    screen.typed(b"\x15nothing \t");
    screen.check();
}

#[test]
fn completion_in_the_middle_of_a_line() {
    let mut screen = Screen::new();
    assert_eq!(
        screen.line(b"star debian\x01\x1b[C\x1b[C\x1b[C\x1b[C\t\x7f\r"),
        "start debian"
    );
}

#[test]
fn a_line_has_an_end() {
    let mut screen = Screen::new();
    screen.typed(&[b'x'; 10 * LONGEST]);
    screen.check();
    assert_eq!(screen.prompt.line.len(), LONGEST);
    screen.typed(b"\x15");
    screen.typed(&[b' '; LONGEST - 2]);
    screen.typed(b"co\t");
    screen.check();
}

/// Mostly keys that do something.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<u8>().prop_map(|byte| alloc::vec![byte]),
        (0u8..0x20).prop_map(|byte| alloc::vec![byte]),
        "[a-z ]{1,9}".prop_map(String::into_bytes),
        prop::sample::select(alloc::vec!["A", "B", "C", "D", "H", "F", "3~"])
            .prop_map(|last| format!("\x1b[{last}").into_bytes()),
    ]
}

proptest! {
    #[test]
    fn whatever_is_typed_the_terminal_shows_the_line(keys in prop::collection::vec(key(), 0..200)) {
        let mut screen = Screen::new();
        for key in keys {
            let entered = screen.typed(&key);
            if entered.contains(&Entered::Leave) {
                screen.line.clear();
                screen.column = 0;
                let mut out = Vec::new();
                screen.prompt.draw(&mut out);
                screen.show(&out);
            }
            screen.check();
            prop_assert!(screen.prompt.line.len() <= LONGEST);
        }
    }
}
