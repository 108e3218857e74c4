//! The machine's serial ports, both served by the first core: COM1 for people, multiplexed between the guests' consoles, the log and
//! the monitor; COM2 for programs, in frames.
//!
//! All else puts bytes into rings in memory and rings the bell: nobody waits for a line but a panic and the last words before
//! power-off.
// UNSAFETY: names the UARTs' ports; a panic takes their lock by force.
#![allow(unsafe_code)]

use crate::machine::{self, Machine};
use crate::remote::Remote;
use crate::uart::Port;
use crate::{command, screen, seat};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::{self, Arguments, Write};
use core::sync::atomic::{AtomicBool, Ordering, fence};
use heapless::Deque;
use monitor::mux::{Mux, Typed};
use spec::Ticks;
use spin::Mutex;

/// First I/O ports of COM1 and COM2.
const COM1: u16 = 0x3f8;
const COM2: u16 = 0x2f8;

/// Rounds in which the UARTs are served before other work gets its turn.
const ROUNDS: usize = 4;

/// Bytes that are taken from a guest at a time, and such pieces before the next one gets its turn.
const PIECE: usize = 64;
const PIECES: usize = 64;

/// Ticks after which the consoles let others have the core, for [`PAUSE`]: a line moves eleven bytes in that time.
const STRETCH: Ticks = Ticks(4096);

/// How long guests whose bytes move no transmitter, since they are not shown, do not ring, in nanoseconds.
const PAUSE: u64 = 1_000_000;

/// Bytes of the log that wait to be shown.
const LOG: usize = 32 * 1024;
/// The longest line that is shown whole.
const LINE: usize = 4096;

/// The log ring: the one piece of state that all of the hypervisor shares.
static RING: Mutex<Ring> = Mutex::new(Ring(Deque::new()));
static PORTS: Mutex<Ports> = Mutex::new(Ports {
    first: Port::none(),
    second: Port::none(),
    mux: None,
    remote: None,
    turn: 0,
    pause: Ticks(0),
    rests_until: Ticks(0),
});

/// A transmitter is at work, or a time to look again is set, so that the consoles are served anyway.
static BUSY: AtomicBool = AtomicBool::new(false);
/// Somebody rang: not every kick of the first core is for the consoles.
static RUNG: AtomicBool = AtomicBool::new(true);

struct Ring(Deque<u8, LOG>);

struct Ports {
    first: Port,
    second: Port,
    /// Who gets what on COM1, once there are guests
    mux: Option<Box<Mux>>,
    /// Who speaks on COM2, if there is such a port
    remote: Option<Box<Remote>>,
    /// Whose bytes are taken first
    turn: usize,
    /// [`PAUSE`]
    pause: Ticks,
    /// The core is others' until then
    rests_until: Ticks,
}

impl Write for Ring {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for b in s.bytes() {
            // What does not fit is cut.
            self.0.push_back(b).map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}

impl Ring {
    /// The next whole line, without its end. It is not made on the heap, which is not there yet when the first refusals are told.
    fn line(&mut self) -> Option<heapless::Vec<u8, LINE>> {
        let len = self.0.iter().position(|b| *b == b'\n')?;
        let mut line = heapless::Vec::new();
        for byte in (0..len).filter_map(|_| self.0.pop_front()) {
            // What does not fit is cut.
            let _ = line.push(byte);
        }
        self.0.pop_front();
        Some(line)
    }
}

/// Takes over the ports. It needs no heap, no tables of ours, no interrupts: what goes wrong from here on can be told.
pub(crate) fn open() {
    let mut ports = PORTS.lock();
    // SAFETY: the ports of PCs' UARTs are a UART's or nobody's; boot services, which used them, are gone.
    unsafe {
        ports.first = Port::open(COM1);
        ports.second = Port::open(COM2);
    }
}

/// Has the UARTs interrupt from now on.
pub(crate) fn listen() {
    let mut ports = PORTS.lock();
    ports.first.listen();
    ports.second.listen();
}

/// Puts the guests on the lines.
pub(crate) fn open_for(machine: &'static Machine) {
    let names: Vec<&str> = machine.guests.iter().map(|g| g.vm.name.as_str()).collect();
    let tsc = machine.bundle.handover().tsc;
    let mut ports = PORTS.lock();
    ports.pause = tsc.ticks(PAUSE);
    ports.mux = Some(Box::new(Mux::new(&names, tsc)));
    if ports.second.is_there() {
        ports.remote = Some(Box::new(Remote::new(&names)));
    }
}

/// Whether there is a line for people.
pub(crate) fn is_there() -> bool {
    PORTS.lock().first.is_there()
}

/// Whether this core serves the consoles.
pub(crate) fn is_ours(core: u32) -> bool {
    core == 0
}

/// Has the consoles served soon, once what is to be served has been left in its place.
pub(crate) fn ring() {
    // Orders what was left before the look at the flag: `serve` clears the flag before it looks at what was left.
    fence(Ordering::SeqCst);
    if !BUSY.load(Ordering::Relaxed) {
        RUNG.store(true, Ordering::Release);
        seat::kick(0);
    }
}

/// Whether somebody rang since the last call.
pub(crate) fn was_rung() -> bool {
    RUNG.swap(false, Ordering::AcqRel)
}

/// Queues a line of the log.
pub(crate) fn log(line: Arguments<'_>) {
    {
        let mut ring = RING.lock();
        // A line that does not fit is cut, and its end put in the last byte that is left for it.
        if ring.write_fmt(line).is_err() {
            ring.0.pop_back();
        }
        let _ = ring.0.push_back(b'\n');
    }
    if machine::get().is_some() {
        // Even if the lines are served anyway: what the line tells of comes before what a guest writes then.
        RUNG.store(true, Ordering::Release);
        seat::kick(0);
    } else if let Some(mut ports) = PORTS.try_lock() {
        // There is nobody to serve the ports yet.
        ports.show_log();
        ports.pump();
    }
}

/// Whether nobody is at the log just now.
pub(crate) fn is_log_free() -> bool {
    RING.try_lock().is_some()
}

/// Does `work` with the log's lock.
#[cfg(feature = "planted")]
pub(crate) fn while_log_is_taken(work: impl FnOnce()) {
    let _ring = RING.lock();
    work();
}

/// Moves what waits, both ways; says when to look again at the latest.
/// `tell` has this core tell its times, which nobody else knows.
pub(crate) fn serve(tell: &mut dyn FnMut()) -> Option<Ticks> {
    let now = hw::tsc::now();
    let mut ports = PORTS.lock();
    if now < ports.rests_until {
        // Whoever rings or interrupts meanwhile is heard then: a UART's FIFO holds what comes in more time than this.
        BUSY.store(true, Ordering::Relaxed);
        return Some(ports.rests_until);
    }
    let mut touched = 0;
    let mut quiet = false;
    BUSY.store(false, Ordering::Relaxed);
    fence(Ordering::SeqCst);
    let mut sent = false;
    let mut heard = 0;
    let mut next: Option<Ticks> = None;
    let stop = now.after(STRETCH);
    for _ in 0..ROUNDS {
        quiet = !(ports.first.acknowledge() | ports.second.acknowledge());
        if !quiet {
            // It may have been the end of what was sent a round ago, of which no interrupt will tell any more.
            sent = false;
        }
        if let Some(machine) = machine::get() {
            touched |= ports.receive(machine, now, tell);
            // What a guest wrote comes before the line that says how it ended.
            heard |= ports.collect(machine, now, Some(stop));
            ports.show_log();
        } else {
            ports.show_log();
        }
        next = ports.mux.as_mut().and_then(|mux| mux.tick(now));
        sent |= ports.pump();
        if quiet || hw::tsc::now() >= stop {
            break;
        }
    }
    if !quiet {
        // The pins are edge-triggered: a cause that is left would never be heard of again. A new edge brings us back, and other
        // work gets its turn meanwhile.
        ports.first.again();
        ports.second.again();
    }
    if heard != 0 && !sent {
        // Else a guest that is not shown would have this core do nothing but fetch its bytes, one by one.
        let look = now.after(ports.pause);
        next = Some(next.map_or(look, |next| next.min(look)));
    }
    let end = hw::tsc::now();
    let rests = end >= stop;
    if rests {
        // There may be more.
        let look = end.after(ports.pause);
        ports.rests_until = look;
        next = Some(look);
    }
    BUSY.store(sent || heard != 0 || rests, Ordering::Relaxed);
    touched |= heard;
    drop(ports);
    for (i, guest) in machine::get()
        .iter()
        .flat_map(|m| m.guests.iter())
        .enumerate()
    {
        if touched >> (i & 63) & 1 != 0 {
            guest.vm.poll_serial();
        }
    }
    next
}

impl Ports {
    /// Takes what was typed; gives the guests that were given something, a bit for each.
    fn receive(&mut self, machine: &'static Machine, now: Ticks, tell: &mut dyn FnMut()) -> u64 {
        let mut touched = 0;
        let mut give = |vm: usize, byte: u8| {
            if let Some(guest) = machine.guests.get(vm) {
                guest.line.give(byte);
                touched |= 1 << (vm & 63);
            }
        };
        while let Some(mux) = self.mux.as_mut()
            && let Some(byte) = self.first.receive()
        {
            match mux.typed(byte, now) {
                Typed::Nothing => {}
                Typed::ToVm(vm, byte) => give(vm, byte),
                Typed::Command(asked) => {
                    let answer = command::carry_out(machine, &asked, tell);
                    mux.answer(&answer);
                }
            }
        }
        while let Some(remote) = self.remote.as_mut()
            && let Some(byte) = self.second.receive()
        {
            remote.received(byte, machine, &mut give, tell);
        }
        touched
    }

    /// Hands on the lines of the log.
    fn show_log(&mut self) {
        loop {
            if self.mux.as_ref().is_some_and(|mux| !mux.takes_log()) {
                return;
            }
            let Some(line) = RING.lock().line() else {
                return;
            };
            let line = core::str::from_utf8(&line).unwrap_or("?");
            match self.mux.as_mut() {
                Some(mux) => mux.log_line(line),
                None if self.first.is_there() => self.first.line(line),
                None => screen::line(line),
            }
            if let Some(remote) = self.remote.as_mut() {
                remote.log(line);
            }
        }
    }

    /// Takes what the guests have sent, as far as the lines have room and until it is time to stop; gives the guests that have room
    /// again.
    fn collect(&mut self, machine: &'static Machine, now: Ticks, stop: Option<Ticks>) -> u64 {
        let mut touched = 0;
        let mut buffer = [0; PIECE];
        let count = machine.guests.len();
        self.turn = self.turn.wrapping_add(1);
        for k in 0..count {
            // Whoever comes first may take all the room there is.
            let i = self.turn.wrapping_add(k) % count;
            let Some(guest) = machine.guests.get(i) else {
                continue;
            };
            for _ in 0..PIECES {
                let Some(mux) = self.mux.as_mut() else {
                    break;
                };
                let room = mux
                    .room(i)
                    .min(self.remote.as_ref().map_or(usize::MAX, |r| r.room()))
                    .min(buffer.len());
                let taken = guest.line.take(buffer.get_mut(..room).unwrap_or_default());
                let Some(bytes @ [_, ..]) = buffer.get(..taken) else {
                    break;
                };
                touched |= 1 << (i & 63);
                mux.vm_output(i, bytes, now);
                if let Some(remote) = self.remote.as_mut() {
                    remote.output(i, bytes);
                }
                if stop.is_some_and(|stop| stop <= hw::tsc::now()) {
                    // The next one's turn comes first the next time.
                    return touched;
                }
            }
        }
        touched
    }

    /// Gives the UARTs what they can take now; says whether they took anything.
    fn pump(&mut self) -> bool {
        let mut sent = match self.mux.as_mut() {
            Some(mux) => self.first.pump(|| mux.pop()),
            None => self.first.pump(|| None),
        };
        if let Some(remote) = self.remote.as_mut() {
            sent |= self.second.pump(|| remote.pop());
        }
        sent
    }
}

/// Sends all that is queued, waiting for the lines: what guests wrote, then the log. Only before power-off, when nobody else writes.
pub(crate) fn flush() {
    let mut ports = PORTS.lock();
    loop {
        let silent = machine::get().is_none_or(|machine| {
            ports.collect(machine, hw::tsc::now(), None);
            // What found no room waits still.
            machine.guests.iter().all(|guest| guest.line.is_silent())
        });
        if let Some(mux) = ports.mux.as_mut() {
            // No prompt after the last line.
            mux.finish();
        }
        if silent {
            ports.show_log();
        }
        ports.pump();
        let idle = ports.first.drain() & ports.second.drain();
        let left = ports.mux.as_mut().is_some_and(|mux| mux.has_output())
            || ports.remote.as_ref().is_some_and(|r| r.has_output())
            || !RING.lock().0.is_empty();
        if idle && !left && silent {
            return;
        }
    }
}

/// Prints a report past all locks.
pub(crate) fn last_words(report: Arguments<'_>) {
    // SAFETY: the machine has died: the other cores are on their way out of whatever they hold, and none of them comes back.
    unsafe {
        PORTS.force_unlock();
        RING.force_unlock();
    }
    let mut ports = PORTS.lock();
    let ports = &mut *ports;
    if let Some(mux) = ports.mux.as_mut() {
        while let Some(byte) = mux.rescue() {
            ports.first.last_byte(byte);
        }
    }
    // Byte by byte: a line would be made on the heap, whose lock may be held by whoever has died.
    loop {
        let byte = RING.lock().0.pop_front();
        let Some(byte) = byte else {
            break;
        };
        ports.first.last_byte(byte);
    }
    ports.first.last_words(report);
}
