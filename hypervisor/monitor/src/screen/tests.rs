use super::*;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Write;

const CELL: (usize, usize) = (get_raster_width(WEIGHT, SIZE), SIZE.val());

/// A screen that remembers its pixels, and refuses those outside.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Fake {
    width: usize,
    shades: Vec<u8>,
}

impl Pixels for Fake {
    fn size(&self) -> (usize, usize) {
        (self.width, self.shades.len() / self.width)
    }

    fn set(&mut self, x: usize, y: usize, shade: u8) {
        assert!(x < self.width, "{x} is right of the screen");
        self.shades[y * self.width + x] = shade;
    }
}

/// Dirty, as firmware leaves it, and with a rest of a cell at the right and at the bottom.
fn screen(columns: usize, rows: usize) -> Screen<Fake> {
    let (width, height) = (CELL.0 * columns + 3, CELL.1 * rows + 5);
    let fake = Fake {
        width,
        shades: vec![0x55; width * height],
    };
    let mut screen = Screen::new(fake).unwrap();
    screen.clear();
    screen
}

impl Screen<Fake> {
    /// Reads the cells back by the font: what stands there.
    fn read(&self) -> Vec<String> {
        let cell = |row: usize, column: usize| -> Vec<u8> {
            let at = |y: usize, x: usize| {
                let (y, x) = (
                    (row * CELL.1 + y) * self.scale,
                    (column * CELL.0 + x) * self.scale,
                );
                self.pixels.shades[y * self.pixels.width + x]
            };
            (0..CELL.1)
                .flat_map(|y| (0..CELL.0).map(move |x| at(y, x)))
                .collect()
        };
        let shown = |shades: Vec<u8>| {
            let of = |c: &char| get_raster(*c, WEIGHT, SIZE).is_some_and(|g| g.pixels() == shades);
            (' '..='~').find(of).unwrap_or('\u{fffd}')
        };
        (0..self.rows)
            .map(|row| {
                (0..self.columns)
                    .map(|column| shown(cell(row, column)))
                    .collect()
            })
            .collect()
    }
}

#[test]
fn every_character_of_ascii_can_be_read() {
    let mut screen = screen(95, 1);
    let all: String = (' '..='~').collect();
    write!(screen, "{all}").unwrap();
    assert_eq!(screen.read(), [all]);
}

#[test]
fn a_long_line_goes_on_in_the_next() {
    let mut screen = screen(4, 3);
    write!(screen, "abcdef\nx").unwrap();
    assert_eq!(screen.read(), ["abcd", "ef  ", "x   "]);
}

#[test]
fn a_line_as_wide_as_the_screen_leaves_no_empty_one() {
    let mut screen = screen(4, 3);
    write!(screen, "abcd\nx").unwrap();
    assert_eq!(screen.read(), ["abcd", "x   ", "    "]);
}

#[test]
fn behind_the_last_line_comes_the_first_and_an_empty_one_ends_the_text() {
    let mut screen = screen(3, 3);
    write!(screen, "aaa\nbbb\nccc\nd\ne\n").unwrap();
    assert_eq!(screen.read(), ["d  ", "e  ", "   "]);
}

#[test]
fn clear_leaves_nothing_of_the_firmwares() {
    let screen = screen(2, 2);
    assert!(screen.pixels().shades.iter().all(|shade| *shade == 0));
}

#[test]
fn what_the_font_lacks_is_a_question_mark() {
    let mut screen = screen(4, 1);
    write!(screen, "a\u{1f980}\tb").unwrap();
    assert_eq!(screen.read(), ["a??b"]);
}

#[test]
fn characters_are_twice_as_large_on_a_wide_screen() {
    let fake = Fake {
        width: WIDE,
        shades: vec![0; WIDE * CELL.1 * 2],
    };
    let mut screen = Screen::new(fake).unwrap();
    write!(screen, "ok").unwrap();
    let lines = screen.read();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].trim_end(), "ok");
    assert_eq!(lines[0].len(), WIDE / CELL.0 / 2);
}

#[test]
fn a_screen_too_small_for_a_character_is_none() {
    for (width, height) in [(CELL.0 - 1, 100), (100, CELL.1 - 1)] {
        let shades = vec![0; width * height];
        assert!(Screen::new(Fake { width, shades }).is_none());
    }
}
