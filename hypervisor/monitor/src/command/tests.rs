use super::*;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

const NAMES: [&str; 2] = ["debian", "control"];

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn asked(line: &str) -> Command {
    match parse(&words(line), &NAMES) {
        Ok(Asked::Machine(command)) => command,
        other => panic!("{line}: {other:?}"),
    }
}

fn refused(line: &str) -> String {
    let refusal = parse(&words(line), &NAMES).unwrap_err();
    assert!(refusal.ends_with(['.', '?']), "a full sentence: {refusal}");
    refusal
}

#[test]
fn each_command_is_understood_with_and_without_vm() {
    let vm = || "debian".to_string();
    let commands = [
        ("list", Command::List),
        ("start debian", Command::Start { vm: vm() }),
        ("stop debian", Command::Stop { vm: vm() }),
        ("pause debian", Command::Pause { vm: vm() }),
        ("resume debian", Command::Resume { vm: vm() }),
        ("reset debian", Command::Reset { vm: vm() }),
        ("stats debian", Command::Statistics { vm: vm() }),
    ];
    for (line, command) in commands {
        assert_eq!(asked(line), command);
        assert_eq!(asked(&format!("vm {line}")), command);
    }
    assert_eq!(asked("top"), Command::Times);
    assert_eq!(asked("cores"), Command::Cores);
    assert_eq!(asked("off"), Command::Off);
}

#[test]
fn without_names_any_is_right() {
    let none: [&str; 0] = [];
    let vm = "new".to_string();
    assert_eq!(
        parse(&["start", "new"], &none),
        Ok(Asked::Machine(Command::Start { vm }))
    );
}

#[test]
fn refusals_say_what_would_be_right() {
    assert_eq!(
        refused("vm strat debian"),
        "There is no command `vm strat`; did you mean `vm start`?"
    );
    assert_eq!(
        refused("vm cores"),
        "There is no command `vm cores`: `help` lists the commands."
    );
    assert_eq!(
        refused("start debain"),
        "There is no VM `debain`; did you mean `debian`?"
    );
    assert_eq!(
        refused("start windows"),
        "There is no VM `windows`: `vm list` shows them."
    );
    assert_eq!(
        refused("vm stop"),
        "`vm stop` needs the name of a VM, such as `vm stop debian`."
    );
    assert_eq!(
        refused("vm list all"),
        "`vm list` is complete before `all`: leave that out."
    );
    assert_eq!(
        refused("vm"),
        "`vm` needs to know what to do: `vm list`, or as `help` says."
    );
    assert_eq!(refused(""), "Nothing was asked: `help` lists the commands.");
}

#[test]
fn a_refusal_repeats_nothing_that_a_terminal_acts_on() {
    let none: [&str; 0] = [];
    let refusal = parse(&["\x1b[2J\x07"], &none).unwrap_err();
    assert!(!refusal.contains(char::is_control));
    let long = "x".repeat(10_000);
    assert!(parse(&[long], &none).unwrap_err().len() < 200);
}

#[test]
fn help_names_each_command_and_tells_of_each() {
    let Ok(Asked::Help(all)) = parse(&["help"], &NAMES) else {
        panic!("no help");
    };
    for form in FORMS {
        assert!(all.contains(&form.usage()), "{}", form.verb);
        assert!(all.lines().all(|line| line.len() <= 80));
        let full = form.full();
        let Ok(Asked::Help(one)) = parse(&words(&format!("help {full}")), &NAMES) else {
            panic!("no help for {full}");
        };
        assert!(one.starts_with(&form.usage()));
    }
    assert_eq!(
        refused("help strat"),
        "There is no command `strat`; did you mean `start`?"
    );
}

#[test]
fn completion_offers_what_can_follow() {
    assert_eq!(
        complete("", &NAMES),
        (0, vec!["top", "cores", "off", "help", "vm"])
    );
    assert_eq!(
        complete("vm s", &NAMES),
        (1, vec!["start", "stop", "stats", "set"])
    );
    assert_eq!(complete("sto", &NAMES), (3, vec!["stop"]));
    assert_eq!(complete("vm stop ", &NAMES), (0, vec!["debian", "control"]));
    assert_eq!(complete("stop d", &NAMES), (1, vec!["debian"]));
    assert_eq!(complete("vm list ", &NAMES), (0, vec![]));
    assert_eq!(complete("vm stop debian ", &NAMES), (0, vec![]));
    assert_eq!(complete("help vm pa", &NAMES), (2, vec!["pause"]));
    assert_eq!(complete("help stop ", &NAMES), (0, vec![]));
    assert_eq!(complete("nonsense d", &NAMES), (1, vec![]));
}

#[test]
fn the_common_beginning_of_words() {
    assert_eq!(common(&["start", "stats"]), 3);
    assert_eq!(common(&["start"]), 5);
    assert_eq!(common(&["start", "list"]), 0);
    assert_eq!(common(&[]), 0);
}
