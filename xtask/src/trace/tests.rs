//! From a list of events made by hand to the files, and from a machine played by the test to the events.

mod collecting;
mod timelines;

use super::recording::{Recording, Ring};
use super::timeline::Timeline;
use super::{perfetto, picture};
use proto::trace::{Band, Event, TraceChunk, What};
use spec::{Hz, Ticks};

/// A tick a microsecond.
pub(super) const TSC: Hz = Hz(1_000_000);
pub(super) const ENTERED: Ticks = Ticks(5_000);

pub(super) const CONTROL: u8 = 0;
pub(super) const DEBIAN: u8 = 1;
pub(super) const NAV: u8 = 2;

/// So many microseconds after the hypervisor's entry.
pub(super) fn at(micros: u64) -> Ticks {
    ENTERED.after(Ticks(micros))
}

pub(super) fn event(what: What, vm: u8, vcpu: u8, arg: u32) -> u64 {
    Event {
        what,
        vm,
        vcpu,
        arg,
    }
    .pack()
}

pub(super) fn run(band: Band, vm: u8, vcpu: u8) -> u64 {
    event(What::Run(band), vm, vcpu, 0)
}

pub(super) fn idle() -> u64 {
    event(What::Idle, 0, 0, 0)
}

/// An answer with these events, the first of which has this number.
pub(super) fn chunk(core: u32, first: u64, events: &[(u64, u64)]) -> TraceChunk {
    let timed = events.iter().map(|(micros, word)| (at(*micros), *word));
    let end = first + events.len() as u64;
    TraceChunk::new(core, TSC, at(1_000_000), first, end, timed)
}

/// Twelve milliseconds of three cores.
fn example() -> Recording {
    use Band::{LeftOver, Reserved, Window};
    use What::{Block, Host, Load, Move, Refill, Spent, Wake};
    let mut cores = vec![Ring::new(0), Ring::new(1), Ring::new(3)];
    // The control VM has a reservation, and Debian what is left over; both began before.
    let events = [
        (99_000, event(Wake, DEBIAN, 0, 0)),
        (99_100, run(LeftOver, DEBIAN, 0)),
        (100_500, event(Wake, CONTROL, 0, 0)),
        (100_520, run(Reserved, CONTROL, 0)),
        (101_500, event(Spent, CONTROL, 0, 0)),
        (101_510, run(LeftOver, DEBIAN, 0)),
        // A kind of a later version.
        (102_000, 0x1f),
        (103_000, event(Host, 0, 0, 150)),
        (104_500, event(Refill, CONTROL, 0, 0)),
        (104_520, run(Reserved, CONTROL, 0)),
        (105_000, event(Block, CONTROL, 0, 0)),
        (105_010, run(LeftOver, DEBIAN, 0)),
        (106_000, event(Wake, DEBIAN, 1, 0)),
        (107_000, event(Move, DEBIAN, 1, 1)),
    ];
    cores[0].take(&chunk(0, 20, &events), 20, 22);
    // Here nothing happens for a while, and then so much that not all of it can be read in time.
    let events = [(99_500, idle()), (103_900, event(Load, NAV, 0, 3000))];
    cores[1].take(&chunk(1, 4, &events), 0, 5);
    let events = [
        (107_400, run(LeftOver, DEBIAN, 1)),
        (109_000, event(Block, DEBIAN, 1, 0)),
        (109_010, idle()),
    ];
    cores[1].take(&chunk(1, 48, &events), 6, 5);
    // Windows; the last goes on beyond what was asked for.
    let events = [
        (102_000, run(Window, NAV, 0)),
        (104_000, idle()),
        (106_000, run(Window, NAV, 1)),
        (107_000, run(LeftOver, DEBIAN, 2)),
        (107_250, event(Block, NAV, 1, 0)),
        (112_000, run(Window, NAV, 0)),
        (114_000, idle()),
    ];
    cores[2].take(&chunk(3, 0, &events), 0, 0);
    Recording {
        tsc: TSC,
        entered: ENTERED,
        from: at(100_000),
        until: at(112_500),
        vms: ["control", "debian", "nav"].map(str::to_owned).to_vec(),
        cores,
    }
}

/// Compares with a file beside this one; with `UPDATE_GOLDEN=1` in the environment it becomes what it is compared with.
fn golden(name: &str, text: &str) {
    let path = format!("{}/src/trace/tests/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    let pairs = golden.lines().zip(text.lines()).enumerate();
    for (number, (golden, line)) in pairs {
        assert_eq!(golden, line, "line {} of {name}", number + 1);
    }
    assert_eq!(golden, text, "{name}");
}

#[test]
fn the_files_are_as_they_were_looked_at() {
    let recording = example();
    let timeline = Timeline::new(&recording);
    golden(
        "example.json",
        &perfetto::json(&recording, &timeline).unwrap(),
    );
    golden("example.svg", &picture::svg(&recording, &timeline));
}

#[test]
fn the_files_are_written_where_they_shall_be() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("new/one");
    let [json, svg] = super::write(&example(), &folder).unwrap();
    assert_eq!(json, folder.join("trace.json"));
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert!(json["traceEvents"].as_array().unwrap().len() > 20);
    assert!(std::fs::read_to_string(svg).unwrap().starts_with("<svg"));
}

#[test]
fn a_machine_in_which_nothing_happened_can_be_drawn() {
    let mut recording = example();
    recording.cores.clear();
    recording.until = recording.from;
    let timeline = Timeline::new(&recording);
    assert!(picture::svg(&recording, &timeline).contains("for 0 ms"));
    perfetto::json(&recording, &timeline).unwrap();
}

#[test]
fn a_length_that_is_no_whole_number_of_ticks_is_told_as_it_was_asked_for() {
    let mut recording = example();
    recording.tsc = Hz(49_998_266);
    recording.until = recording.from.after(recording.tsc.ticks(40_000_000));
    let timeline = Timeline::new(&recording);
    assert!(picture::svg(&recording, &timeline).contains("for 40 ms, from"));
}

#[test]
fn fifty_busy_milliseconds_are_a_small_picture() {
    let mut recording = example();
    recording.until = at(150_000);
    recording.cores = (0..4)
        .map(|core| {
            let mut ring = Ring::new(core);
            // A switch every 50 us, between two of them, with a wait each.
            let events: Vec<(u64, u64)> = (0..1000)
                .map(|n| {
                    let bands = [Band::Reserved, Band::LeftOver];
                    let which = (n % 2) as usize;
                    (100_000 + n * 50, run(bands[which], which as u8, 0))
                })
                .collect();
            ring.take(&chunk(core, 0, &events), 0, 0);
            ring
        })
        .collect();
    let text = picture::svg(&recording, &Timeline::new(&recording));
    assert!(text.len() < 100 * 1024, "{}", text.len());
}

#[test]
fn a_name_is_no_markup() {
    let mut recording = example();
    recording.vms[usize::from(DEBIAN)] = "<a href=\"x\">&\u{1b}".to_owned();
    let timeline = Timeline::new(&recording);
    let svg = picture::svg(&recording, &timeline);
    assert!(
        svg.contains("&lt;a href") && !svg.contains("<a href"),
        "{svg}"
    );
    let json = perfetto::json(&recording, &timeline).unwrap();
    serde_json::from_str::<serde_json::Value>(&json).unwrap();
}
