use super::*;
use alloc::vec;
use proto::{VmInfo, VmState};

mod any;

const TSC: Hz = Hz(1_000_000_000);

/// A multiplexer and all that it has sent.
struct Line {
    mux: Mux,
    now: Ticks,
}

impl Line {
    fn new(names: &[&str]) -> Self {
        Self {
            mux: Mux::new(names, TSC),
            now: Ticks(0),
        }
    }

    /// What it sends now.
    fn sent(&mut self) -> String {
        let mut bytes = Vec::new();
        while let Some(byte) = self.mux.pop() {
            bytes.push(byte);
        }
        assert!(!self.mux.has_output());
        String::from_utf8(bytes).unwrap()
    }

    /// What it sends when a VM has written this.
    fn hears(&mut self, vm: usize, text: &str) -> String {
        assert!(text.len() <= self.mux.room(vm));
        self.mux.vm_output(vm, text.as_bytes(), self.now);
        self.sent()
    }

    /// What it sends when so many milliseconds have gone by.
    fn after(&mut self, millis: u64) -> String {
        self.now = self.now.after(Ticks(millis * 1_000_000));
        self.mux.tick(self.now);
        self.sent()
    }

    fn typed(&mut self, bytes: &[u8]) -> Vec<Typed> {
        let typed = bytes.iter().map(|byte| self.mux.typed(*byte, self.now));
        typed.filter(|typed| *typed != Typed::Nothing).collect()
    }

    /// What it sends when these keys, which are for nobody else, are typed.
    fn keys(&mut self, bytes: &[u8]) -> String {
        assert_eq!(self.typed(bytes), []);
        self.sent()
    }
}

fn two() -> Line {
    let mut line = Line::new(&["debian", "rt"]);
    assert_eq!(
        line.sent(),
        "[bulkhead: all consoles, keys go to debian; Ctrl-T ? for help]\r\n"
    );
    line
}

#[test]
fn one_vm_has_the_line_as_it_is() {
    let mut line = Line::new(&["debian"]);
    let raw = "a\r\n\x1b[6n\x07~ # ";
    assert_eq!(line.hears(0, raw), raw);
    assert_eq!(
        line.typed(b"l\x03"),
        [Typed::ToVm(0, b'l'), Typed::ToVm(0, 3)]
    );
    assert_eq!(line.mux.tick(Ticks(1)), None);
}

#[test]
fn a_line_of_the_log_starts_a_line_even_if_a_guest_has_left_one_open() {
    let mut line = Line::new(&["debian"]);
    line.mux.log_line("1 0 - info first");
    assert_eq!(line.sent(), "1 0 - info first\r\n");
    line.hears(0, "~ # ");
    line.mux.log_line("2 0 - info second");
    line.mux.log_line("3 0 - info third");
    assert_eq!(line.sent(), "\r\n2 0 - info second\r\n3 0 - info third\r\n");
    assert_eq!(line.hears(0, "ls\r\n"), "ls\r\n");
    line.mux.log_line("4 0 - info fourth");
    assert_eq!(line.sent(), "4 0 - info fourth\r\n");
}

#[test]
fn a_line_of_the_log_does_not_overtake_what_was_written_before() {
    let mut line = Line::new(&["debian"]);
    let much = "x".repeat(lane::HELD);
    line.mux.vm_output(0, much.as_bytes(), Ticks(0));
    line.mux.log_line("end");
    assert_eq!(line.sent(), much + "\r\nend\r\n");
}

#[test]
fn several_vms_are_shown_line_by_line() {
    let mut line = two();
    assert_eq!(line.hears(0, "Linux ver"), "");
    assert_eq!(line.hears(1, "jitter 5\n"), "rt     | jitter 5\r\n");
    assert_eq!(
        line.hears(0, "sion\r\nnext\n\n"),
        "debian | Linux version\r\ndebian | next\r\ndebian | \r\n"
    );
}

#[test]
fn an_unfinished_line_is_shown_after_silence_and_goes_on_where_it_stands() {
    let mut line = two();
    assert_eq!(line.hears(0, "login: "), "");
    assert_eq!(line.mux.tick(line.now), Some(Ticks(50_000_000)));
    assert_eq!(line.after(49), "");
    assert_eq!(line.after(1), "debian | login: ");
    assert_eq!(line.mux.tick(line.now), None);
    assert_eq!(line.hears(0, "r"), "r");
    assert_eq!(line.hears(0, "oot\r\n"), "oot\r\n");
    assert_eq!(line.hears(0, "Password: "), "");
}

#[test]
fn an_interrupted_line_goes_on_under_its_name() {
    let mut line = two();
    line.hears(0, "login: ");
    line.after(50);
    assert_eq!(line.hears(1, "tick\n"), "\r\nrt     | tick\r\n");
    assert_eq!(line.hears(0, "root\r\n"), "debian + root\r\n");
    line.hears(0, "# ");
    line.after(50);
    line.mux.log_line("5 0 - info log");
    assert_eq!(line.sent(), "\r\n5 0 - info log\r\n");
    assert_eq!(line.hears(0, "\r\nnew\n"), "debian | new\r\n");
}

#[test]
fn silence_of_one_is_not_that_of_another_and_asks_to_be_sent() {
    let mut line = two();
    line.hears(0, "a");
    line.after(30);
    line.hears(1, "b");
    line.now = Ticks(50_000_000);
    assert_eq!(line.mux.tick(line.now), Some(line.now));
    assert_eq!(line.sent(), "debian | a");
    assert_eq!(line.mux.tick(line.now), Some(Ticks(80_000_000)));
    assert_eq!(line.after(30), "\r\nrt     | b");
}

#[test]
fn what_moves_the_cursor_breaks_no_lines_of_others() {
    let mut line = two();
    assert_eq!(line.hears(0, "\x1b[2J\x1b[H\x1b[1;32m~ # \x1b[6n"), "");
    assert_eq!(line.after(50), "debian | ~ # ");
    assert_eq!(line.hears(0, "lx\x08 \x08s\r\n"), "lx\x08 \x08s\r\n");
    assert_eq!(
        line.hears(0, "10%\r20%\r\n"),
        "debian | 10%\rdebian | 20%\r\n"
    );
    assert_eq!(line.hears(0, "\r\r\r\n"), "debian | \r\n");
    assert_eq!(
        line.hears(0, "\x08\x08\x08\x08\x08rt | fake\n"),
        "debian | rt | fake\r\n"
    );
    assert_eq!(line.hears(0, "ä\x08\x08\x08\n"), "debian | ä\x08\r\n");
}

#[test]
fn the_escape_key_chooses_a_vm() {
    let mut line = two();
    assert_eq!(
        line.keys(b"\x142"),
        "[bulkhead: console of rt; Ctrl-T ? for help]\r\n"
    );
    assert_eq!(line.typed(b"x"), [Typed::ToVm(1, b'x')]);
    assert_eq!(line.hears(1, "raw\x1b[K"), "raw\x1b[K");
    assert_eq!(line.hears(0, "hidden\r\nmore"), "");
    assert_eq!(
        line.keys(b"\x14n"),
        "\r\n[bulkhead: console of debian; Ctrl-T ? for help]\r\nhidden\r\nmore"
    );
    assert_eq!(
        line.keys(b"\x14p"),
        "\r\n[bulkhead: console of rt; Ctrl-T ? for help]\r\n"
    );
    assert_eq!(
        line.keys(b"\x14a"),
        "[bulkhead: all consoles, keys go to rt; Ctrl-T ? for help]\r\n"
    );
    assert_eq!(line.typed(b"x"), [Typed::ToVm(1, b'x')]);
    assert_eq!(line.hears(0, " of it\n"), "debian +  of it\r\n");
}

#[test]
fn wrong_keys_are_answered_and_the_escape_key_can_be_sent() {
    let mut line = two();
    assert_eq!(line.typed(b"\x14\x14"), [Typed::ToVm(0, ESCAPE)]);
    assert_eq!(
        line.keys(b"\x147"),
        "[bulkhead: there is no VM 7, there are 2]\r\n"
    );
    assert!(line.keys(b"\x14z").contains("no meaning"));
    let help = line.keys(b"\x14?");
    assert!(help.contains("now debian\r\n") && help.contains("Ctrl-T  a Ctrl-T for the VM"));
}

#[test]
fn of_a_vm_that_is_not_shown_the_last_is_kept_from_the_start_of_a_line() {
    let mut line = two();
    line.keys(b"\x141");
    for n in 0..1000 {
        line.hears(1, &format!("line {n}\r\n"));
    }
    let shown = line.keys(b"\x142");
    let (head, lines) = shown.split_once("\r\n").unwrap();
    assert_eq!(
        head,
        "[bulkhead: console of rt, what it wrote last; Ctrl-T ? for help]"
    );
    assert!(lines.starts_with("line ") && lines.ends_with("line 999\r\n"));
    assert!(lines.len() > lane::HELD - 10);
}

#[test]
fn commands_come_from_the_prompt_and_their_answers_stand_above_it() {
    let mut line = two();
    assert!(
        line.keys(b"\x14m")
            .ends_with("goes back]\r\n\rbulkhead> \x1b[K")
    );
    assert_eq!(line.keys(b"vm li\t"), "vm li\rbulkhead> vm list \x1b[K");
    assert_eq!(line.typed(b"\r"), [Typed::Command(Command::List)]);
    assert_eq!(line.sent(), "\r\n");
    line.mux.answer(&Answer::Done("It is done.".into()));
    assert_eq!(line.sent(), "It is done.\r\n\rbulkhead> \x1b[K");
    assert_eq!(
        line.keys(b"fly\r"),
        "fly\r\nThere is no command `fly`: `help` lists the commands.\r\n\rbulkhead> \x1b[K"
    );
    assert_eq!(line.hears(0, "hidden\n"), "");
    line.keys(b"vm");
    line.mux.log_line("log");
    assert_eq!(line.sent(), "\r\x1b[Klog\r\n\rbulkhead> vm\x1b[K");
    assert!(line.keys(b"\x15help\r").contains("vm stats NAME"));
    assert_eq!(
        line.keys(b"\x04"),
        "\r\n[bulkhead: all consoles, keys go to debian; Ctrl-T ? for help]\r\ndebian | hidden\r\n"
    );
}

#[test]
fn each_top_shows_what_went_on_since_the_one_before() {
    let mut line = two();
    line.keys(b"\x14m");
    let mut top = |now| {
        line.mux.answer(&Answer::Times(proto::MachineTimes {
            tsc: TSC,
            entered: Ticks(0),
            now: Ticks(now),
            cores: vec![],
            vcpus: vec![],
        }));
        let shown = line.sent();
        let line = shown.trim_start_matches("\r\x1b[K").lines().next();
        line.unwrap_or_default().to_owned()
    };
    assert_eq!(top(3_000_000_000), "Since the machine came up, 3.000s ago:");
    assert_eq!(top(3_500_000_000), "Since the last `top`, 0.500s ago:");
    assert_eq!(top(5_500_000_000), "Since the last `top`, 2.000s ago:");
}

#[test]
fn the_list_of_vms_is_shown_in_any_view() {
    let mut line = Line::new(&["debian"]);
    line.hears(0, "~ # ");
    assert_eq!(line.typed(b"\x14l"), [Typed::Command(Command::List)]);
    line.mux.answer(&Answer::Vms(vec![VmInfo {
        name: "debian".into(),
        state: VmState::Paused,
        last_end: None,
        vcpus: 1,
        cores: vec![0],
        memory: 1 << 28,
        uptime: Ticks(5),
        tsc: TSC,
        exits: 0,
        root_ticks: Ticks(0),
        crashes: 0,
    }]));
    let shown = line.sent();
    assert!(shown.starts_with("\r\n#  NAME") && shown.ends_with("\r\n"));
    assert!(shown.contains("1  debian  paused"));
    assert_eq!(line.hears(0, "ls"), "ls");
}

#[test]
fn before_power_off_nothing_stays_behind() {
    let mut line = two();
    line.hears(0, "Power down");
    line.mux.finish();
    assert_eq!(line.sent(), "debian | Power down");
}

#[test]
fn whoever_floods_the_line_leaves_turns_to_others() {
    let mut line = two();
    let flood = "x".repeat(lane::HELD);
    line.mux.vm_output(0, flood.as_bytes(), Ticks(0));
    line.mux.vm_output(1, b"here\n", Ticks(0));
    let mut sent = Vec::new();
    for _ in 0..3 * AHEAD {
        let room = line.mux.room(0);
        line.mux.vm_output(0, &flood.as_bytes()[..room], Ticks(0));
        sent.extend(line.mux.pop());
    }
    assert!(
        String::from_utf8(sent)
            .unwrap()
            .contains("rt     | here\r\n")
    );
}

#[test]
fn a_line_that_waits_for_others_is_not_taken_for_unfinished() {
    let mut line = two();
    line.mux.vm_output(0, b"Linux ver", Ticks(0));
    let others = "tick\n".repeat(lane::HELD / 5);
    line.mux.vm_output(1, others.as_bytes(), Ticks(0));
    line.mux.vm_output(0, b"sion\n", Ticks(0));
    assert_eq!(line.mux.tick(Ticks(60_000_000)), None);
    assert!(line.sent().contains("debian | Linux version\r\n"));
}

#[test]
fn without_vms_there_is_the_monitor() {
    let mut line = Line::new(&[]);
    assert!(line.sent().ends_with("bulkhead> \x1b[K"));
    line.keys(b"\x14n\x14a\x141");
    assert_eq!(line.typed(b"\x14\x14off\r"), [Typed::Command(Command::Off)]);
    line.keys(b"\x04");
    assert_eq!(line.mux.room(0), 0);
    line.mux.vm_output(0, b"x", Ticks(0));
}
