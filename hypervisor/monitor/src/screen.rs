//! Text on a screen of pixels, for machines without a serial line.
//!
//! Nothing is read back from the screen, whose memory is slow to read: what does not fit begins at the top again.

use core::fmt;
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

const WEIGHT: FontWeight = FontWeight::Regular;
const SIZE: RasterHeight = RasterHeight::Size16;
/// From this width on each pixel of a character takes four, so that it can still be read.
const WIDE: usize = 2560;

/// What can be drawn on. It ignores what lies outside.
pub trait Pixels {
    /// Pixels of a line, and lines.
    fn size(&self) -> (usize, usize);
    /// Sets a pixel to a shade of grey, from 0, black, to 255.
    fn set(&mut self, x: usize, y: usize, shade: u8);
}

/// A page of text in a font of one width.
#[derive(Debug)]
pub struct Screen<P> {
    pixels: P,
    /// How often a pixel of the font is repeated, both ways
    scale: usize,
    columns: usize,
    rows: usize,
    /// Where the next character goes
    column: usize,
    row: usize,
}

impl<P: Pixels> Screen<P> {
    /// A screen; `None` if not one character fits on it. Nothing is drawn yet.
    pub fn new(pixels: P) -> Option<Self> {
        let (width, height) = pixels.size();
        let scale = if width < WIDE { 1 } else { 2 };
        let columns = width.checked_div(get_raster_width(WEIGHT, SIZE).checked_mul(scale)?)?;
        let rows = height.checked_div(SIZE.val().checked_mul(scale)?)?;
        (columns > 0 && rows > 0).then_some(Self {
            pixels,
            scale,
            columns,
            rows,
            column: 0,
            row: 0,
        })
    }

    /// Makes it black; the next character goes to the top.
    pub fn clear(&mut self) {
        let (width, height) = self.pixels.size();
        for y in 0..height {
            for x in 0..width {
                self.pixels.set(x, y, 0);
            }
        }
        (self.column, self.row) = (0, 0);
    }

    /// What is drawn on.
    pub const fn pixels(&self) -> &P {
        &self.pixels
    }

    fn put(&mut self, c: char) {
        if c == '\n' {
            return self.end_line();
        }
        if self.column == self.columns {
            self.end_line();
        }
        self.draw(c);
        self.column = self.column.saturating_add(1);
    }

    /// Goes to the next line, or to the first behind the last, and makes it empty: there the text ends.
    fn end_line(&mut self) {
        while self.column < self.columns {
            self.draw(' ');
            self.column = self.column.saturating_add(1);
        }
        self.row = self.row.saturating_add(1);
        if self.row >= self.rows {
            self.row = 0;
        }
        for column in 0..self.columns {
            self.column = column;
            self.draw(' ');
        }
        self.column = 0;
    }

    fn draw(&mut self, c: char) {
        let glyph = get_raster(c, WEIGHT, SIZE).or_else(|| get_raster('?', WEIGHT, SIZE));
        let Some(glyph) = glyph else {
            return;
        };
        let left = self.column.saturating_mul(glyph.width());
        let top = self.row.saturating_mul(glyph.height());
        for (y, line) in (top..).zip(glyph.rows()) {
            for (x, shade) in (left..).zip(line) {
                self.dot(x, y, *shade);
            }
        }
    }

    fn dot(&mut self, x: usize, y: usize, shade: u8) {
        let (left, top) = (x.saturating_mul(self.scale), y.saturating_mul(self.scale));
        for down in 0..self.scale {
            for right in 0..self.scale {
                let (x, y) = (left.saturating_add(right), top.saturating_add(down));
                self.pixels.set(x, y, shade);
            }
        }
    }
}

impl<P: Pixels> fmt::Write for Screen<P> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().for_each(|c| self.put(c));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
