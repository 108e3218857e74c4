//! The timeline as a picture (SVG 1.1): a lane for each core with who had it, above it who waited, below all the time. It has a ground of
//! its own, so that it can stand on a light page and on a dark one, and no script.

mod legend;
mod strokes;

use super::recording::Recording;
use super::timeline::{Does, Holder, Timeline};
use proto::trace::Band;
use spec::Ticks;
use std::collections::BTreeMap;
use strokes::{Scale, Strokes};
use svg::Document;
use svg::node::element::{Group, Path, Rectangle, Style, Text, Title};

/// Columns of the picture, in its own units.
const WIDTH: u32 = 1000;
const LEFT: u32 = 70;
const RIGHT: u32 = 16;
/// Rows.
const TITLE: u32 = 26;
const BLOCK: u32 = 24;
const WAITING: u32 = 4;
const GAP: u32 = 18;
const AXIS: u32 = 34;
/// More vCPUs than this that wait for a core share the last row.
const WAITING_ROWS: usize = 8;

/// Colours of VMs, which colour-blind people can tell apart (Okabe and Ito, "Color Universal Design").
const COLOURS: [&str; 8] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a7a00", "#7f7f7f",
];

const STYLE: &str = "text{font:11px sans-serif;fill:#333}.t{font-size:13px;font-weight:bold}.e{text-anchor:end}.m{text-anchor:middle}\
    path{fill:none}.l{stroke:#bbb;stroke-width:1}.h{stroke:#000;stroke-width:4}.x{stroke:#ddd;stroke-width:24}\
    .w,.r{stroke-width:24}.f{stroke-width:12}.u{stroke:#000;stroke-width:4;stroke-opacity:.5}.a,.b{stroke-width:3}.b{stroke-opacity:.35}";

/// How a stroke looks, but for its colour.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    Lost,
    LeftOver,
    Reserved,
    Window,
    /// What marks a window at its lower edge
    Edge,
    Host,
    Throttled,
    Waits,
}

impl Look {
    /// Its class in [`STYLE`].
    const fn class(self) -> &'static str {
        match self {
            Look::Lost => "x",
            Look::LeftOver => "f",
            Look::Reserved => "r",
            Look::Window => "w",
            Look::Edge => "u",
            Look::Host => "h",
            Look::Throttled => "b",
            Look::Waits => "a",
        }
    }

    /// How far the middle of its stroke lies below the top of a block.
    const fn middle(self) -> u32 {
        match self {
            Look::LeftOver => BLOCK - 6,
            Look::Edge => BLOCK - 2,
            Look::Host => 2,
            _ => BLOCK / 2,
        }
    }
}

/// Strokes by their look, which says what covers what, their height, and their VM, if they are a VM's.
type Lanes = BTreeMap<(Look, u32, Option<u8>), Strokes>;

/// The file.
pub(super) fn svg(recording: &Recording, timeline: &Timeline) -> String {
    let scale = Scale::new(recording, LEFT, WIDTH - LEFT - RIGHT);
    let (legend, top) = legend::draw(recording, timeline, TITLE);
    let (mut lanes, mut labels, mut y) = (Lanes::new(), Group::new(), top);
    for index in 0..timeline.cores.len() {
        y += waiting(timeline, index, y, &scale, &mut lanes);
        block(timeline, index, y, &scale, &mut lanes);
        let name = format!("core {}", timeline.cores[index].number);
        labels = labels
            .add(text(name, LEFT - 8, y + BLOCK / 2 + 4).set("class", "e"))
            .add(path(
                "l",
                Path::new(),
                &format!("M{LEFT},{0} H{1}", y + BLOCK, WIDTH - RIGHT),
            ));
        y += BLOCK + GAP;
    }
    let bottom = y - GAP / 2;
    let notes = notes(recording);
    let height = bottom + AXIS + notes.len() as u32 * 16;
    let mut picture = Document::new()
        .set("viewBox", (0, 0, WIDTH, height))
        .set("width", WIDTH)
        .set("height", height)
        .set("role", "img")
        .add(Title::new(title(recording)))
        .add(Style::new(STYLE))
        .add(
            Rectangle::new()
                .set("width", WIDTH)
                .set("height", height)
                .set("rx", 6)
                .set("fill", "#fcfcfc"),
        )
        .add(text(title(recording), LEFT, 18).set("class", "t"))
        .add(legend)
        .add(axis(recording, &scale, top, bottom))
        .add(labels);
    for ((look, _, vm), strokes) in lanes {
        let mut path = path(look.class(), Path::new(), &strokes.finish());
        if let Some(vm) = vm {
            path = path.set("stroke", colour(vm));
        }
        picture = picture.add(path);
    }
    for (row, note) in (0u32..).zip(notes) {
        picture = picture.add(text(note, LEFT, bottom + AXIS + 8 + row * 16));
    }
    format!("{picture}\n")
}

/// Who had a core.
fn block(timeline: &Timeline, index: usize, y: u32, scale: &Scale, lanes: &mut Lanes) {
    let mut draw = |look: Look, vm, start, end| {
        let strokes = lanes.entry((look, y + look.middle(), vm));
        strokes
            .or_insert_with(|| Strokes::new(y + look.middle()))
            .add(scale.at(start), scale.at(end));
    };
    let core = &timeline.cores[index];
    for slice in &core.holders {
        match slice.what {
            Holder::Idle => {}
            Holder::Lost => draw(Look::Lost, None, slice.start, slice.end),
            Holder::Vcpu(vcpu, band) => {
                let look = match band {
                    Band::Window => Look::Window,
                    Band::Reserved => Look::Reserved,
                    Band::LeftOver => Look::LeftOver,
                };
                draw(look, Some(vcpu.vm), slice.start, slice.end);
                if look == Look::Window {
                    draw(Look::Edge, None, slice.start, slice.end);
                }
            }
        }
    }
    for slice in &core.host {
        draw(Look::Host, None, slice.start, slice.end);
    }
}

/// Who could have run on a core and did not, a thin row for each; gives the height of the rows.
fn waiting(timeline: &Timeline, index: usize, y: u32, scale: &Scale, lanes: &mut Lanes) -> u32 {
    let core = timeline.cores[index].number;
    let mut rows = 0;
    for (vcpu, doings) in &timeline.vcpus {
        let here = doings.states.iter().filter(|slice| slice.what.core == core);
        let mut here = here
            .filter(|slice| !matches!(slice.what.does, Does::Run(_)))
            .peekable();
        if here.peek().is_none() {
            continue;
        }
        let middle = y + rows.min(WAITING_ROWS as u32 - 1) * WAITING + WAITING / 2;
        rows += 1;
        for slice in here {
            let look = match slice.what.does {
                Does::Throttled => Look::Throttled,
                _ => Look::Waits,
            };
            lanes
                .entry((look, middle, Some(vcpu.vm)))
                .or_insert_with(|| Strokes::new(middle))
                .add(scale.at(slice.start), scale.at(slice.end));
        }
    }
    rows.min(WAITING_ROWS as u32) * WAITING
}

/// The time below the lanes, in milliseconds from the hypervisor's entry, and lines up through them.
fn axis(recording: &Recording, scale: &Scale, top: u32, bottom: u32) -> Group {
    let (from, until) = (
        recording.nanos(recording.from),
        recording.nanos(recording.until),
    );
    let step = step(until - from);
    let (mut group, mut lines) = (Group::new(), String::new());
    let mut at = from.next_multiple_of(step);
    while at <= until {
        let x = scale.at(Ticks(
            recording
                .entered
                .0
                .saturating_add(recording.tsc.ticks(at).0),
        ));
        let x = f64::from(x) / 10.0;
        lines.push_str(&format!("M{x},{top} V{bottom} "));
        let label = Text::new(millis(at)).set("x", x).set("y", bottom + 14);
        group = group.add(label.set("class", "m"));
        let Some(next) = at.checked_add(step) else {
            break;
        };
        at = next;
    }
    let unit = text("ms".to_owned(), LEFT - 22, bottom + 14).set("class", "e");
    group
        .add(path("l", Path::new(), lines.trim_end()).set("stroke-opacity", ".5"))
        .add(unit)
}

/// One, two or five times a power of ten, so that there are some ten of it in a length of time.
fn step(length: u64) -> u64 {
    let mut step = 1u64;
    loop {
        for factor in [1, 2, 5] {
            let step = step.saturating_mul(factor);
            if length / step <= 12 {
                return step;
            }
        }
        step = step.saturating_mul(10);
    }
}

/// Nanoseconds as milliseconds, with as many decimals as they need.
fn millis(nanos: u64) -> String {
    let (whole, part) = (nanos / 1_000_000, nanos % 1_000_000);
    if part == 0 {
        return whole.to_string();
    }
    let part = format!("{part:06}");
    format!("{whole}.{}", part.trim_end_matches('0'))
}

fn title(recording: &Recording) -> String {
    let length = recording.tsc.nanos(recording.until.since(recording.from));
    let from = recording.nanos(recording.from);
    // To the microsecond: nobody reads more, and a tick is longer than what is lost here.
    let round = |nanos: u64| millis(nanos.saturating_add(500) / 1000 * 1000);
    format!(
        "Who had the cores for {} ms, from {} ms after the hypervisor's entry",
        round(length),
        round(from)
    )
}

/// What is not as it should be.
fn notes(recording: &Recording) -> Vec<String> {
    let (mut notes, cores) = (Vec::new(), &recording.cores);
    for ring in cores.iter().filter(|ring| ring.lost != 0) {
        notes.push(format!(
            "Events of core {} that were overwritten before they could be read: {}.",
            ring.core, ring.lost
        ));
    }
    let unknown: u64 = cores.iter().map(|ring| ring.unknown).sum();
    if unknown != 0 {
        notes.push(format!(
            "Events of a later version than this program, which are left out: {unknown}."
        ));
    }
    notes
}

fn colour(vm: u8) -> &'static str {
    COLOURS[usize::from(vm) % COLOURS.len()]
}

fn text(text: String, x: u32, y: u32) -> Text {
    Text::new(text).set("x", x).set("y", y)
}

fn path(class: &str, path: Path, data: &str) -> Path {
    path.set("class", class).set("d", data)
}
