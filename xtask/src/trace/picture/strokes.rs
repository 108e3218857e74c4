//! Blocks of one look and one height as one path of horizontal strokes, which is the shortest way to say them.

use crate::trace::recording::Recording;
use spec::Ticks;

/// The narrowest stroke that is drawn, in tenths of a unit: what is there shall be seen.
const NARROWEST: u32 = 2;

/// Where a time lies, in tenths of a unit.
pub(super) struct Scale {
    from: Ticks,
    length: u64,
    left: u32,
    width: u32,
}

impl Scale {
    pub(super) fn new(recording: &Recording, left: u32, width: u32) -> Scale {
        Scale {
            from: recording.from,
            length: recording.until.since(recording.from).0.max(1),
            left: left * 10,
            width: width * 10,
        }
    }

    pub(super) fn at(&self, time: Ticks) -> u32 {
        let into = u128::from(time.since(self.from).0.min(self.length));
        let (width, length) = (u128::from(self.width), u128::from(self.length));
        // No more than the width.
        self.left + ((into * width + length / 2) / length) as u32
    }
}

/// Strokes at one height, from left to right.
pub(super) struct Strokes {
    y: u32,
    data: String,
    open: Option<(u32, u32)>,
}

impl Strokes {
    pub(super) fn new(y: u32) -> Strokes {
        Strokes {
            y,
            data: String::new(),
            open: None,
        }
    }

    /// Adds a stroke; one that touches the last goes on with it, so that there are never more than can be told apart.
    pub(super) fn add(&mut self, start: u32, end: u32) {
        let end = end.max(start + NARROWEST);
        match &mut self.open {
            Some((first, last)) if (*first..=*last).contains(&start) => *last = end.max(*last),
            _ => {
                self.close();
                self.open = Some((start, end));
            }
        }
    }

    /// The data of the path.
    pub(super) fn finish(mut self) -> String {
        self.close();
        self.data
    }

    fn close(&mut self) {
        if let Some((start, end)) = self.open.take() {
            let (x, length) = (tenths(start), tenths(end - start));
            self.data.push_str(&format!("M{x},{}h{length}", self.y));
        }
    }
}

fn tenths(n: u32) -> String {
    match n % 10 {
        0 => (n / 10).to_string(),
        part => format!("{}.{part}", n / 10),
    }
}
