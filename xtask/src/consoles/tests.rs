//! Consoles of both kinds, from outside.

use super::*;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

const SOON: Duration = Duration::from_secs(20);

fn open(kind: Kind) -> (Console, Receiver<Vec<u8>>) {
    let (keys, typed) = channel();
    let console = Console::open(kind, move |bytes| keys.send(bytes.to_vec()).unwrap_or(()));
    (console.unwrap(), typed)
}

trait Client: Read + Write {}
impl Client for TcpStream {}
impl Client for File {}

fn join(console: &Console) -> Box<dyn Client> {
    match console.place() {
        Place::Tcp(address) => Box::new(TcpStream::connect(address).unwrap()),
        Place::Pty(path) => Box::new(
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .unwrap(),
        ),
    }
}

fn hear(client: &mut dyn Client, words: &[u8]) {
    let mut heard = vec![0; words.len()];
    client.read_exact(&mut heard).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&heard),
        String::from_utf8_lossy(words)
    );
}

fn is_typed(typed: &Receiver<Vec<u8>>, words: &[u8]) {
    let mut heard = Vec::new();
    while heard.len() < words.len() {
        heard.extend(typed.recv_timeout(SOON).unwrap());
    }
    assert_eq!(heard, words);
}

/// Longer than a thread takes to see that a listener has gone.
fn let_it_see() {
    std::thread::sleep(5 * IDLE);
}

fn whoever_comes_again_finds_what_was_printed(kind: Kind) {
    let (console, typed) = open(kind);
    console.print(b"before anyone came\r\n");
    let_it_see();
    let mut first = join(&console);
    hear(&mut *first, b"before anyone came\r\n");
    console.print(b"login: ");
    hear(&mut *first, b"login: ");
    first.write_all(b"root\x03\n").unwrap();
    is_typed(&typed, b"root\x03\n");
    drop(first);
    let_it_see();
    console.print(b"nobody is here\r\n");
    let_it_see();
    let mut second = join(&console);
    hear(
        &mut *second,
        b"before anyone came\r\nlogin: nobody is here\r\n",
    );
    second.write_all(b"x").unwrap();
    is_typed(&typed, b"x");
}

#[test]
fn a_port_can_be_joined_again() {
    whoever_comes_again_finds_what_was_printed(Kind::Tcp);
}

#[test]
fn a_pseudoterminal_can_be_joined_again() {
    whoever_comes_again_finds_what_was_printed(Kind::Pty);
}

#[test]
fn two_at_one_port_hear_the_same() {
    let (console, typed) = open(Kind::Tcp);
    let (mut one, mut two) = (join(&console), join(&console));
    console.print(b"both");
    hear(&mut *one, b"both");
    hear(&mut *two, b"both");
    one.write_all(b"1").unwrap();
    is_typed(&typed, b"1");
    two.write_all(b"2").unwrap();
    is_typed(&typed, b"2");
}

#[test]
fn who_does_not_read_keeps_nobody_waiting() {
    for kind in [Kind::Tcp, Kind::Pty] {
        let (console, typed) = open(kind);
        let mut lazy = join(&console);
        lazy.write_all(b"!").unwrap();
        is_typed(&typed, b"!");
        let start = Instant::now();
        // More than all buffers on the way hold.
        for _ in 0..1024 {
            console.print(&[b'x'; 64 << 10]);
        }
        assert!(start.elapsed() < SOON, "{kind:?}");
        drop(console);
    }
}

#[test]
fn what_a_guest_prints_is_not_typed_to_it() {
    let (console, typed) = open(Kind::Pty);
    let mut client = join(&console);
    console.print(b"debian:~# ");
    hear(&mut *client, b"debian:~# ");
    let_it_see();
    assert!(typed.try_recv().is_err());
}

#[test]
fn the_place_is_told_as_a_command() {
    let (console, _typed) = open(Kind::Pty);
    assert!(console.place().to_string().starts_with("screen /dev/pts/"));
    let (console, _typed) = open(Kind::Tcp);
    assert!(console.place().to_string().starts_with("telnet 127.0.0.1 "));
}
