//! A guest that reads the TSC without a pause: a gap between two reads is time in which it did not have its core.
//!
//! ```text
//! share: start tsc_hz=50000000
//! share: span=1 from=912345678 ticks=50000008 had=12500321 per_mille=250 gaps=250 worst=150020
//! share: gaps 1200+150020 201233+150004
//! share: done spans=1
//! ```
//!
//! What it prints in between, and the time that this takes, belongs to no span. On the command line: `span_ms=` is how long it
//! measures before it says what came of it, a second unless said; `spans=` ends it after so many, which else a key does;
//! `list=` has it say the first so many gaps of each span too: where it began, from the span's start, and its length.
#![no_std]
#![no_main]

use core::fmt::Write;
use guests::serial::Line;
use guests::{cmdline, cpu, program, say, uart};
use spec::uart::{Lsr, offset};

program!(main);

/// No two reads lie so far apart but for an exit between them.
const GAP: u64 = 100;
/// The most gaps that are remembered.
const MOST: usize = 1024;
/// Gaps in a line.
const IN_A_LINE: usize = 8;

/// What came of a span.
struct Span {
    from: u64,
    ticks: u64,
    had: u64,
    gaps: usize,
    worst: u64,
}

/// Measures until `ticks` have gone by. Each gap goes to `list` while there is room.
fn measure(ticks: u64, list: &mut [(u64, u64)]) -> Span {
    let from = cpu::tsc();
    let (mut last, mut not, mut gaps, mut worst) = (from, 0, 0, 0);
    while last - from < ticks {
        let now = cpu::tsc();
        // A clock that went back is a gap beyond all bounds.
        let step = now.wrapping_sub(last);
        if step > GAP {
            if let Some(slot) = list.get_mut(gaps) {
                *slot = (last - from, step);
            }
            gaps += 1;
            not += step;
            worst = worst.max(step);
        }
        last = now;
    }
    let ticks = last - from;
    Span {
        from,
        ticks,
        had: ticks.saturating_sub(not),
        gaps,
        worst,
    }
}

fn show(gaps: &[(u64, u64)]) {
    for line in gaps.chunks(IN_A_LINE) {
        let _ = write!(Line, "share: gaps");
        for (at, ticks) in line {
            let _ = write!(Line, " {at}+{ticks}");
        }
        let _ = write!(Line, "\r\n");
    }
}

fn key() -> bool {
    uart::read(offset::LSR) & Lsr::DATA.bits() != 0
}

fn main() {
    let hz = cpu::tsc_hz();
    let millis = cmdline::number("span_ms").unwrap_or(1000);
    let spans = cmdline::number("spans");
    let listed = cmdline::number("list").map_or(0, |list| MOST.min(list as usize));
    let mut list = [(0, 0); MOST];
    let mut done = 0;
    say!("share: start tsc_hz={hz}");
    while spans.map_or_else(|| !key(), |spans| done < spans) {
        let span = measure(hz / 1000 * millis, &mut list[..listed]);
        done += 1;
        say!(
            "share: span={done} from={} ticks={} had={} per_mille={} gaps={} worst={}",
            span.from,
            span.ticks,
            span.had,
            span.had * 1000 / span.ticks.max(1),
            span.gaps,
            span.worst,
        );
        show(&list[..listed.min(span.gaps)]);
    }
    say!("share: done spans={done}");
}
