//! From a command to a machine's answer, with the machine played by the test.

use super::folder::socket;
use super::*;
use crate::link::tests::{info, line, settle};
use proto::{Answer, Command, VERSION};
use std::os::unix::net::UnixListener;

#[test]
fn a_command_reaches_the_machine_and_its_answer_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (link, mut machine, console) = line();
    machine.hello(VERSION);
    settle(&mut machine, &console);
    machine.serve(|command| match command {
        Command::List => Answer::Vms(vec![info("one"), info("two")]),
        Command::Stop { vm } => Answer::Done(format!("{vm} is stopped.")),
        other => Answer::Refused(format!("{other:?}")),
    });
    let names = ["one".to_owned(), "two".to_owned()];
    let server = Server::open(folder.path(), &link, &names).unwrap();
    let mut client = Client::find(folder.path(), Which::Only).unwrap();
    assert_eq!(client.vms().unwrap(), names);
    let stop = Command::Stop {
        vm: "two".to_owned(),
    };
    assert_eq!(
        client.ask(stop).unwrap(),
        Answer::Done("two is stopped.".to_owned())
    );
    let named = Which::Process(std::process::id());
    let mut other = Client::find(folder.path(), named).unwrap();
    assert_eq!(
        other.ask(Command::List).unwrap(),
        Answer::Vms(vec![info("one"), info("two")])
    );
    drop(server);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_machine_that_is_not_up_is_told_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let (link, _machine, _console) = line();
    let _server = Server::open(folder.path(), &link, &[]).unwrap();
    let mut client = Client::find(folder.path(), Which::Only).unwrap();
    let Answer::Refused(why) = client.ask(Command::List).unwrap() else {
        unreachable!("nothing has said hello");
    };
    assert!(why == "The machine is not up yet.", "{why}");
}

fn refusal(folder: &std::path::Path, which: Which) -> String {
    Client::find(folder, which).unwrap_err().to_string()
}

#[test]
fn no_machine_and_several_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        refusal(folder.path(), Which::Only),
        "No machine runs: `cargo xtask run` starts one."
    );
    let (link, _machine, _console) = line();
    let open = |process, vms: &[&str]| {
        let vms: Vec<_> = vms.iter().map(|&vm| vm.to_owned()).collect();
        Server::open_as(folder.path(), process, &link, &vms).unwrap()
    };
    let _servers = [open(7, &["one", "two"]), open(12, &["three"])];
    assert_eq!(
        refusal(folder.path(), Which::Only),
        "Several machines run. Say which one with `--run PID`: 7 (one, two), 12 (three)."
    );
    assert_eq!(
        refusal(folder.path(), Which::Process(8)),
        "No machine is run by process 8. These run: 7 (one, two), 12 (three)."
    );
    let mut client = Client::find(folder.path(), Which::Process(12)).unwrap();
    assert_eq!(client.vms().unwrap(), ["three"]);
}

#[test]
fn what_a_killed_run_has_left_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let stale = socket(folder.path(), 7);
    drop(UnixListener::bind(&stale).unwrap());
    std::fs::write(folder.path().join("another file"), "").unwrap();
    assert!(stale.exists());
    assert!(refusal(folder.path(), Which::Only).starts_with("No machine runs"));
    assert!(!stale.exists());
    assert!(folder.path().join("another file").exists());
}

#[test]
fn the_users_folder_is_nobody_elses() {
    use std::os::unix::fs::MetadataExt;
    let found = super::folder().unwrap().metadata().unwrap();
    assert_eq!(found.mode() & 0o077, 0);
}
