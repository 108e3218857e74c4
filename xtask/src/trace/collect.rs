//! Asks a machine for what its cores recorded.

use super::recording::{Recording, Ring};
use anyhow::{Context, Result};
use proto::trace::{CHUNK, TraceChunk};
use proto::{Answer, Command, MachineTimes};
use spec::Ticks;
use std::time::Duration;

/// Asks only where the events of a core end.
const END: u64 = u64::MAX;
/// Events from before the time that is wanted, which tell how it began.
const BEFORE: u64 = 64;
/// A machine that is far from where it begins is asked again after so long by the wall clock, and without delay when it is near.
const FAR: u64 = 2_000_000_000;
const WAIT: Duration = Duration::from_millis(20);
/// An emulator may be so much faster than the wall clock, by which the end is not to be missed by much.
const FASTER: u64 = 4;
const SOON: Duration = Duration::from_millis(1);
/// How often a machine is asked again that has no room for the answer.
const AGAIN: u32 = 20;

/// What is to be collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Nanoseconds from the hypervisor's entry to where it begins; `None` for now
    pub at: Option<u64>,
    /// Its length in nanoseconds
    pub length: u64,
}

/// A machine that answers, and the wall clock beside it.
struct Asked<'a> {
    ask: &'a mut dyn FnMut(Command) -> Result<Answer>,
    pause: &'a mut dyn FnMut(Duration),
}

/// A core whose events are collected.
struct Core {
    ring: Ring,
    /// Number of the first event of the time that is wanted
    wanted: u64,
    /// Number of the first event that was asked for
    first: u64,
    /// Number of the event to ask for next
    next: u64,
    done: bool,
}

/// Collects what the cores of a machine do in a length of its time. `pause` lets time pass by the wall clock.
///
/// While that time passes it is only asked now and then whether it has: to answer is work for the machine, which is seen.
///
/// # Errors
/// When the machine does not answer, or refuses.
pub fn collect(
    ask: &mut dyn FnMut(Command) -> Result<Answer>,
    pause: &mut dyn FnMut(Duration),
    wanted: Wanted,
) -> Result<Recording> {
    let mut asked = Asked { ask, pause };
    let times = asked.times()?;
    let at = wanted.at.map(|at| times.entered.after(times.tsc.ticks(at)));
    if let Some(at) = at {
        let pause = |left| if left > FAR { WAIT } else { Duration::ZERO };
        asked.wait_for(&times, at, &pause)?;
    }
    // Of all cores before anything else: what is there later is read without haste, as long as the rings hold it.
    let mut from = at.unwrap_or_default();
    let mut cores = Vec::new();
    for core in &times.cores {
        let chunk = asked.chunk(core.core, END)?;
        from = from.max(chunk.now);
        let first = chunk.end.saturating_sub(BEFORE);
        cores.push(Core {
            ring: Ring::new(core.core),
            wanted: chunk.end,
            first,
            next: first,
            done: false,
        });
    }
    let until = from.after(times.tsc.ticks(wanted.length));
    let glance = |left: u64| Duration::from_nanos(left / FASTER).clamp(SOON, WAIT);
    // Then the first answer has the machine keep a copy of all that is wanted, of which the others are parts.
    asked.wait_for(&times, until, &glance)?;
    while cores.iter().any(|core| !core.done) {
        let mut news = false;
        for core in cores.iter_mut().filter(|core| !core.done) {
            let chunk = asked.chunk(core.ring.core, core.next)?;
            news |= core.take(&chunk, until);
        }
        if !news {
            (asked.pause)(SOON);
        }
    }
    for core in &mut cores {
        core.look_back(&mut asked, from)?;
    }
    Ok(Recording {
        tsc: times.tsc,
        entered: times.entered,
        from,
        until,
        vms: names(&times),
        cores: cores.into_iter().map(|core| core.ring).collect(),
    })
}

impl Core {
    /// Takes in an answer; says whether there was anything in it.
    fn take(&mut self, chunk: &TraceChunk, until: Ticks) -> bool {
        self.ring.take(chunk, self.next, self.wanted);
        // An odd machine that goes back shall not be asked for ever.
        self.next = chunk.next().max(self.next);
        let last = chunk.timed().last().map(|(time, _)| time);
        let all = self.next >= chunk.end && chunk.now >= until;
        self.done = all || last.is_some_and(|last| last >= until);
        last.is_some()
    }

    /// Asks for what came before as well, until it is known who had the core when the time began: where nothing changes, that is told
    /// by an event of long ago.
    fn look_back(&mut self, asked: &mut Asked, from: Ticks) -> Result<()> {
        while self.first != 0 && !self.ring.tells_who_had(from) {
            let chunk = asked.chunk(self.ring.core, self.first.saturating_sub(CHUNK as u64))?;
            if chunk.first >= self.first {
                // It has been overwritten.
                return Ok(());
            }
            self.ring.precede(&chunk, self.first);
            self.first = chunk.first;
        }
        Ok(())
    }
}

impl Asked<'_> {
    fn times(&mut self) -> Result<MachineTimes> {
        match (self.ask)(Command::Times)? {
            Answer::Times(times) => Ok(times),
            answer => Err(other(answer)),
        }
    }

    /// Waits until the machine's time is `at`, and before it is asked again for as long as `pause` says of the nanoseconds that are left.
    fn wait_for(
        &mut self,
        times: &MachineTimes,
        at: Ticks,
        pause: &dyn Fn(u64) -> Duration,
    ) -> Result<()> {
        let core = times.cores.first().context("the machine has no cores")?;
        loop {
            let left = at.since(self.chunk(core.core, END)?.now);
            if left == Ticks(0) {
                return Ok(());
            }
            let pause = pause(times.tsc.nanos(left));
            if !pause.is_zero() {
                (self.pause)(pause);
            }
        }
    }

    fn chunk(&mut self, core: u32, from: u64) -> Result<TraceChunk> {
        let mut again = 0;
        loop {
            match (self.ask)(Command::Trace { core, from })? {
                Answer::Trace(chunk) if chunk.core == core => return Ok(chunk),
                // The line may be full of what guests print.
                Answer::Refused(_) if again < AGAIN => again += 1,
                answer => return Err(other(answer)),
            }
            (self.pause)(WAIT);
        }
    }
}

fn other(answer: Answer) -> anyhow::Error {
    match answer {
        Answer::Refused(why) => anyhow::Error::msg(why),
        _ => anyhow::Error::msg("The machine answers something else than it was asked."),
    }
}

/// Names of the VMs in the order of the plan, in which their vCPUs are.
fn names(times: &MachineTimes) -> Vec<String> {
    let mut names: Vec<String> = times.vcpus.iter().map(|vcpu| vcpu.vm.clone()).collect();
    names.dedup();
    names
}
