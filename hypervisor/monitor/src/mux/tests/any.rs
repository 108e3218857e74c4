//! Whatever comes, in any order.

use super::*;
use alloc::collections::BTreeMap;
use proptest::prelude::*;

const NAMES: [&str; 3] = ["debian", "rt", "third-one"];

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    /// A VM writes.
    Output(usize, Vec<u8>),
    Log,
    Wait(u64),
    /// The line takes so many bytes.
    Pop(usize),
    Key(u8),
}

fn event(byte: impl Strategy<Value = u8> + 'static, keys: bool) -> impl Strategy<Value = Event> {
    let key = prop_oneof![
        4 => Just(ESCAPE),
        4 => prop::sample::select(b"123npalm?\r\t".to_vec()),
        2 => any::<u8>(),
    ];
    prop_oneof![
        6 => (0..NAMES.len(), prop::collection::vec(byte, 0..300)).prop_map(|(vm, bytes)| Event::Output(vm, bytes)),
        1 => Just(Event::Log),
        2 => (0u64..80).prop_map(Event::Wait),
        3 => (0usize..2000).prop_map(Event::Pop),
        (if keys { 4 } else { 0 }) => key.prop_map(Event::Key),
    ]
}

/// Plays events; gives what was sent, and what of each VM's output was taken.
fn play(line: &mut Line, events: Vec<Event>) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut sent, mut taken) = (Vec::new(), vec![Vec::new(); NAMES.len()]);
    for event in events {
        match event {
            Event::Output(vm, bytes) => {
                let part = &bytes[..bytes.len().min(line.mux.room(vm))];
                taken[vm].extend_from_slice(part);
                line.mux.vm_output(vm, part, line.now);
            }
            Event::Log if line.mux.takes_log() => {
                line.mux.log_line("9 0 - info: a line of the log")
            }
            Event::Log => {}
            Event::Wait(millis) => {
                line.now = line.now.after(Ticks(millis * 1_000_000));
                line.mux.tick(line.now);
            }
            Event::Pop(count) => sent.extend((0..count).map_while(|_| line.mux.pop())),
            Event::Key(byte) => {
                if matches!(line.mux.typed(byte, line.now), Typed::Command(_)) {
                    line.mux.answer(&Answer::Done("Done.".into()));
                }
            }
        }
    }
    line.mux.finish();
    while let Some(byte) = line.mux.pop() {
        sent.push(byte);
    }
    assert!(!line.mux.has_output());
    (sent, taken)
}

/// The lines that each VM wrote, from the view of all; panics at a line that is nobody's.
fn unmixed(sent: &[u8]) -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let mut vms: BTreeMap<&str, Vec<Vec<u8>>> =
        NAMES.iter().map(|name| (*name, Vec::new())).collect();
    let mut rest = sent;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|pair| pair == b"\r\n");
        let line = &rest[..end.unwrap_or(rest.len())];
        rest = &rest[end.map_or(rest.len(), |end| end + 2)..];
        if line.starts_with(b"[bulkhead: ") || line.starts_with(b"9 0 - ") {
            continue;
        }
        let begins = |mark: &str| {
            let name = NAMES
                .iter()
                .find(|name| line.starts_with(prefix(name, mark).as_bytes()));
            name.map(|name| (*name, line[12..].to_vec()))
        };
        if let Some((name, text)) = begins("|") {
            vms.get_mut(name).unwrap().push(text);
        } else if let Some((name, text)) = begins("+") {
            vms.get_mut(name).unwrap().last_mut().unwrap().extend(text);
        } else {
            panic!("whose is {}?", line.escape_ascii());
        }
    }
    vms
}

fn prefix(name: &str, mark: &str) -> String {
    format!("{name:9} {mark} ")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn among_others_each_vms_lines_are_in_order_and_complete(
        events in prop::collection::vec(event(prop_oneof![3 => b' '..=b'~', 1 => Just(b'\n'), 1 => 0x80u8..], false), 0..60),
    ) {
        let mut line = Line::new(&NAMES);
        let (sent, taken) = play(&mut line, events);
        let shown = unmixed(&sent);
        for (name, taken) in NAMES.iter().zip(taken) {
            let mut lines: Vec<&[u8]> = taken.split(|byte| *byte == b'\n').collect();
            // Behind the last end there is no line, unless it has something.
            lines.pop_if(|line| line.is_empty());
            prop_assert_eq!(&shown[name], &lines);
        }
    }

    #[test]
    fn the_only_vm_has_the_line_byte_for_byte(
        events in prop::collection::vec(event(any::<u8>(), false), 0..60),
    ) {
        let mut line = Line::new(&["debian"]);
        let events = events.into_iter().filter(|event| !matches!(event, Event::Log | Event::Output(1.., _)));
        let (sent, taken) = play(&mut line, events.collect());
        prop_assert_eq!(&sent, &taken[0]);
    }

    #[test]
    fn no_guest_writes_outside_its_lines(events in prop::collection::vec(event(any::<u8>(), false), 0..60)) {
        let mut line = Line::new(&NAMES);
        let (sent, _) = play(&mut line, events);
        unmixed(&sent);
        prop_assert!(!sent.contains(&0x1b));
        // Each return to the start of a line leads behind a name, or to the next line.
        for (at, _) in sent.iter().enumerate().filter(|(_, byte)| **byte == b'\r') {
            let next = &sent[at + 1..];
            let is_name = |name: &&str| next.starts_with(prefix(name, "|").as_bytes());
            prop_assert!(next[0] == b'\n' || NAMES.iter().any(is_name));
        }
    }

    #[test]
    fn whatever_happens_memory_stays_bounded(events in prop::collection::vec(event(any::<u8>(), true), 0..300)) {
        let mut line = Line::new(&NAMES);
        play(&mut line, events);
        prop_assert!(line.mux.out.capacity() <= 2 * MOST);
    }
}
