//! A guest's console as a pseudoterminal.

use super::scrollback::{Piece, Place, Scrollback};
use super::{IDLE, Typed};
use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, fcntl_setfl, open as open_file};
use rustix::io::{Errno, read, write};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

/// Opens a pseudoterminal; whoever opens its other end gets what is kept and then what comes, and types to the guest.
pub(super) fn open(printed: Arc<Scrollback>, typed: Typed) -> Result<PathBuf> {
    let open = || -> rustix::io::Result<(OwnedFd, PathBuf)> {
        let pty = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&pty)?;
        unlockpt(&pty)?;
        let path = ptsname(&pty, Vec::new())?;
        // Only one that was closed once is known to have nobody at it.
        let other = open_file(
            path.as_c_str(),
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        // The guest echoes; a terminal that does so too would type the guest's own words to it.
        let mut mode = tcgetattr(&other)?;
        mode.make_raw();
        tcsetattr(&other, OptionalActions::Now, &mode)?;
        fcntl_setfl(&pty, OFlags::NONBLOCK)?;
        let path = PathBuf::from(String::from_utf8_lossy(path.as_bytes()).into_owned());
        Ok((pty, path))
    };
    let (pty, path) = open().context("no pseudoterminal for a guest's console")?;
    let pty = Arc::new(pty);
    let keys = Arc::clone(&pty);
    thread::spawn(move || while take_keys(&keys, &typed).is_ok() {});
    thread::spawn(move || while show(&pty, &printed) {});
    Ok(path)
}

/// Waits a while for something to happen to the pseudoterminal; that nobody is at it comes at once and without end.
fn events(pty: &OwnedFd, wanted: PollFlags) -> rustix::io::Result<PollFlags> {
    let mut polled = [PollFd::new(pty, wanted)];
    let patience = Timespec::try_from(IDLE).map_err(|_| Errno::INVAL)?;
    match poll(&mut polled, Some(&patience)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error),
    }
    let events = polled[0].revents();
    if events.contains(PollFlags::HUP) {
        thread::sleep(IDLE);
    }
    Ok(events)
}

/// Hands on what is typed until it must look anew.
fn take_keys(pty: &OwnedFd, typed: &Typed) -> rustix::io::Result<()> {
    if !events(pty, PollFlags::IN)?.contains(PollFlags::IN) {
        return Ok(());
    }
    let mut buffer = [0; 4096];
    match read(pty, &mut buffer) {
        Ok(len) => typed(&buffer[..len]),
        // Whoever it was has gone.
        Err(Errno::AGAIN | Errno::IO | Errno::INTR) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Shows all that is kept, and then what comes, to whoever opens the other end, until that is closed. Whether there may
/// be another.
fn show(pty: &OwnedFd, printed: &Scrollback) -> bool {
    let mut place = Place::default();
    loop {
        match events(pty, PollFlags::OUT) {
            Ok(events) if events.contains(PollFlags::HUP) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
        match printed.take(&mut place, IDLE) {
            Piece::Bytes(bytes) => match send(pty, &bytes) {
                Some(true) => {}
                Some(false) => return true,
                None => return false,
            },
            Piece::Nothing => {}
            Piece::Closed => return false,
        }
    }
}

/// Whether there still is someone who took it all; `None` if the pseudoterminal is of no more use.
fn send(pty: &OwnedFd, mut bytes: &[u8]) -> Option<bool> {
    while !bytes.is_empty() {
        match write(pty, bytes) {
            Ok(len) => bytes = &bytes[len..],
            Err(Errno::AGAIN | Errno::INTR) => {
                if events(pty, PollFlags::OUT).ok()?.contains(PollFlags::HUP) {
                    return Some(false);
                }
            }
            Err(Errno::IO) => return Some(false),
            Err(_) => return None,
        }
    }
    Some(true)
}
