//! The life of a VM: off, starting, running, paused, stopping, and what its vCPUs are to do.
//!
//! Whoever changes it kicks the cores of the VM's vCPUs; each of them then reads the [`Order`] and acts on its own vCPUs. A VM
//! has stopped when the last of its vCPUs has come to rest; the core of that vCPU takes it from there.

use crate::recovery::{Next, Policy, Row};
use core::sync::atomic::{AtomicU32, Ordering};
use exits::Stop;
use spec::Ticks;
use spin::Mutex;

/// Where a VM is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It has not been started, or has ended.
    Off,
    /// Its memory is scrubbed and loaded.
    Starting,
    /// Its vCPUs run.
    Running,
    /// Its vCPUs are held.
    Paused,
    /// Its vCPUs come to rest.
    Stopping,
}

/// Why a VM ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// By what a vCPU did
    Stopped(Stop),
    /// It was not fed in time
    Watchdog,
    /// Somebody asked for it to stop
    Asked,
    /// Somebody asked for a reset
    AskedToReset,
    /// It could not be started: its kernel, its memory or a core is at fault, as the log says
    NotStarted,
}

/// What the vCPUs of a VM are to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Nothing
    Rest,
    /// The core of the first one loads the VM.
    Load,
    /// Run; one that has not run in this generation begins anew.
    Run,
    /// Stay as they are
    Hold,
}

impl Order {
    const BITS: u32 = 2;

    const fn decode(word: u32) -> Self {
        match word & 3 {
            0 => Order::Rest,
            1 => Order::Load,
            2 => Order::Run,
            _ => Order::Hold,
        }
    }
}

/// An order for a VM whose state does not allow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused(pub State);

/// The life of one VM.
#[derive(Debug)]
pub struct Life {
    /// The order in the low bits, above it how often the VM has been started: read by each core when it is kicked
    order: AtomicU32,
    inner: Mutex<Inner>,
    /// What follows its ends
    policy: Policy,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// When it was last started
    since: Ticks,
    /// How long it was up before it ended
    up: Ticks,
    /// vCPUs that have not come to rest
    awake: u32,
    /// Why it is to end
    end: Option<End>,
    /// How it last ended
    last: Option<End>,
    starts: u32,
    /// How often it has crashed since the machine is up
    crashes: u32,
    row: Row,
    /// It is not loaded before
    not_before: Ticks,
}

/// How a VM has ended, and what follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Why
    pub end: End,
    /// How long it was up
    pub up: Ticks,
    /// What follows; if it is started anew, this much later than now
    pub next: Next,
}

impl Default for Life {
    fn default() -> Self {
        Self::new(Policy::default())
    }
}

impl Life {
    /// The life of a VM that is off.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            order: AtomicU32::new(Order::Rest as u32),
            inner: Mutex::new(Inner {
                state: State::Off,
                since: Ticks(0),
                up: Ticks(0),
                awake: 0,
                end: None,
                last: None,
                starts: 0,
                crashes: 0,
                row: Row::default(),
                not_before: Ticks(0),
            }),
        }
    }

    /// What a vCPU is to do, and in which generation.
    #[must_use]
    pub fn order(&self) -> (u32, Order) {
        let word = self.order.load(Ordering::Acquire);
        (word >> Order::BITS, Order::decode(word))
    }

    /// Where the VM is.
    #[must_use]
    pub fn state(&self) -> State {
        self.inner.lock().state
    }

    /// How long it has been up since its last start, or was.
    #[must_use]
    pub fn uptime(&self, now: Ticks) -> Ticks {
        let inner = self.inner.lock();
        match inner.state {
            State::Running | State::Paused | State::Stopping => now.since(inner.since),
            State::Off | State::Starting => inner.up,
        }
    }

    /// How it last ended.
    #[must_use]
    pub fn last_end(&self) -> Option<End> {
        self.inner.lock().last
    }

    /// How often it has crashed since the machine is up.
    #[must_use]
    pub fn crashes(&self) -> u32 {
        self.inner.lock().crashes
    }

    /// When it may be loaded, at the earliest.
    #[must_use]
    pub fn not_before(&self) -> Ticks {
        self.inner.lock().not_before
    }

    fn give(&self, inner: &Inner, order: Order) {
        self.order.store(
            inner.starts << Order::BITS | order as u32,
            Ordering::Release,
        );
    }

    /// Has a VM that is off started: the core of its first vCPU is to be kicked. Its crashes are forgiven.
    ///
    /// # Errors
    /// It is not off.
    pub fn start(&self) -> Result<(), Refused> {
        let mut inner = self.inner.lock();
        match inner.state {
            State::Off => {
                inner.state = State::Starting;
                inner.row = Row::default();
                self.give(&inner, Order::Load);
                Ok(())
            }
            state => Err(Refused(state)),
        }
    }

    /// The VM has been loaded: its `vcpus` vCPUs run, once their cores are kicked. `false` if it is not to start any more.
    #[must_use]
    pub fn loaded(&self, vcpus: u32, now: Ticks) -> bool {
        let mut inner = self.inner.lock();
        if inner.state != State::Starting {
            return false;
        }
        inner.state = State::Running;
        inner.since = now;
        inner.awake = vcpus;
        inner.end = None;
        inner.starts = inner.starts.wrapping_add(1);
        self.give(&inner, Order::Run);
        true
    }

    /// Holds the vCPUs of a VM that runs.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> Result<(), Refused> {
        self.change(State::Running, State::Paused, Order::Hold)
    }

    /// Lets the vCPUs of a paused VM run on.
    ///
    /// # Errors
    /// It is not paused.
    pub fn resume(&self) -> Result<(), Refused> {
        self.change(State::Paused, State::Running, Order::Run)
    }

    fn change(&self, from: State, to: State, order: Order) -> Result<(), Refused> {
        let mut inner = self.inner.lock();
        if inner.state != from {
            return Err(Refused(inner.state));
        }
        inner.state = to;
        self.give(&inner, order);
        Ok(())
    }

    /// Has the vCPUs come to rest, once their cores are kicked. The first reason counts. A VM that is being loaded is off at once if
    /// somebody asks for it.
    ///
    /// # Errors
    /// It neither runs nor is paused.
    pub fn end(&self, end: End) -> Result<(), Refused> {
        let mut inner = self.inner.lock();
        match inner.state {
            State::Running | State::Paused => {
                inner.state = State::Stopping;
                inner.end = Some(end);
                self.give(&inner, Order::Rest);
                Ok(())
            }
            State::Starting if end == End::Asked => {
                inner.state = State::Off;
                inner.up = Ticks(0);
                inner.last = Some(end);
                self.give(&inner, Order::Rest);
                Ok(())
            }
            state => Err(Refused(state)),
        }
    }

    /// A vCPU has come to rest; `true` for the last one, whose core goes on with [`Life::ended`].
    #[must_use]
    pub fn rested(&self) -> bool {
        let mut inner = self.inner.lock();
        inner.awake = inner.awake.saturating_sub(1);
        inner.awake == 0 && inner.state == State::Stopping
    }

    /// All vCPUs rest: the VM is off, or about to be loaded again, at least `least` after it was started last.
    pub fn ended(&self, now: Ticks, least: Ticks) -> Ended {
        let mut inner = self.inner.lock();
        let up = now.since(inner.since);
        let end = inner.end.unwrap_or(End::NotStarted);
        if end.is_crash() {
            inner.crashes = inner.crashes.saturating_add(1);
        }
        let rest = least.since(up);
        let next = match inner.row.next(&self.policy, end, up) {
            Next::Again(after) => Next::Again(after.max(rest)),
            other => other,
        };
        // Somebody may start one that stays off.
        inner.not_before = now.after(rest);
        if let Next::Again(after) = next {
            inner.not_before = now.after(after);
            inner.state = State::Starting;
            self.give(&inner, Order::Load);
        } else {
            inner.state = State::Off;
        }
        inner.up = up;
        inner.last = Some(end);
        Ended { end, up, next }
    }

    /// The VM could not be loaded.
    pub fn failed(&self) {
        let mut inner = self.inner.lock();
        if inner.state != State::Starting {
            // It is off already.
            return;
        }
        inner.state = State::Off;
        inner.up = Ticks(0);
        inner.last = Some(End::NotStarted);
        self.give(&inner, Order::Rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Ticks = Ticks(7);

    fn running(vcpus: u32) -> Life {
        let life = Life::default();
        assert_eq!(life.start(), Ok(()));
        assert_eq!(life.order(), (0, Order::Load));
        assert!(life.loaded(vcpus, NOW));
        life
    }

    #[test]
    fn a_vm_is_off_when_its_last_vcpu_rests() {
        let life = running(2);
        assert_eq!(life.order(), (1, Order::Run));
        assert_eq!(life.end(End::Stopped(Stop::PowerOff)), Ok(()));
        assert_eq!(life.order(), (1, Order::Rest));
        assert_eq!(life.end(End::Asked), Err(Refused(State::Stopping)));
        assert!(!life.rested());
        assert!(life.rested());
        let ended = Ended {
            end: End::Stopped(Stop::PowerOff),
            up: Ticks(3),
            next: Next::Off,
        };
        assert_eq!(life.ended(Ticks(10), Ticks(0)), ended);
        assert_eq!(
            (life.state(), life.uptime(Ticks(99))),
            (State::Off, Ticks(3))
        );
        assert_eq!(life.last_end(), Some(End::Stopped(Stop::PowerOff)));
    }

    #[test]
    fn a_reset_loads_anew_and_each_start_is_another_generation() {
        let life = running(1);
        assert_eq!(life.end(End::Stopped(Stop::Reset)), Ok(()));
        assert!(life.rested());
        assert_eq!(life.ended(NOW, Ticks(0)).next, Next::Again(Ticks(0)));
        assert_eq!(life.state(), State::Starting);
        assert_eq!(life.order().1, Order::Load);
        assert!(life.loaded(1, NOW));
        assert_eq!(life.order(), (2, Order::Run));
    }

    #[test]
    fn what_crashes_too_often_stays_off_until_somebody_starts_it() {
        let policy = Policy {
            restarts: 1,
            ..Policy::default()
        };
        let life = Life::new(policy);
        assert_eq!(life.start(), Ok(()));
        let crash = || {
            assert!(life.loaded(1, NOW));
            assert_eq!(life.end(End::Stopped(Stop::TripleFault)), Ok(()));
            assert!(life.rested());
            life.ended(NOW, Ticks(20)).next
        };
        assert_eq!([crash(), crash()], [Next::Again(Ticks(20)), Next::GivenUp]);
        assert_eq!(
            life.not_before(),
            Ticks(27),
            "at least so long after the start before"
        );
        assert_eq!((life.state(), life.crashes()), (State::Off, 2));
        assert_eq!(life.start(), Ok(()));
        assert_eq!(crash(), Next::Again(Ticks(20)));
    }

    #[test]
    fn pausing_holds_and_resuming_goes_on_in_the_same_generation() {
        let life = running(1);
        assert_eq!(life.resume(), Err(Refused(State::Running)));
        assert_eq!(life.pause(), Ok(()));
        assert_eq!(life.order(), (1, Order::Hold));
        assert_eq!(life.pause(), Err(Refused(State::Paused)));
        assert_eq!(life.resume(), Ok(()));
        assert_eq!(life.order(), (1, Order::Run));
        assert_eq!(life.pause(), Ok(()));
        assert_eq!(life.end(End::Asked), Ok(()), "a paused VM can be stopped");
    }

    #[test]
    fn what_is_not_off_cannot_be_started_and_what_is_off_only_that() {
        let life = Life::default();
        for refused in [life.pause(), life.resume(), life.end(End::Asked)] {
            assert_eq!(refused, Err(Refused(State::Off)));
        }
        assert_eq!(life.start(), Ok(()));
        assert_eq!(life.start(), Err(Refused(State::Starting)));
        assert_eq!(life.end(End::AskedToReset), Err(Refused(State::Starting)));
        life.failed();
        assert_eq!(life.last_end(), Some(End::NotStarted));
        assert_eq!(life.start(), Ok(()));
    }

    #[test]
    fn what_is_being_loaded_can_be_stopped_and_is_not_started_then() {
        let life = Life::default();
        assert_eq!(life.start(), Ok(()));
        assert_eq!(life.end(End::Asked), Ok(()));
        assert_eq!(
            (life.state(), life.last_end(), life.order()),
            (State::Off, Some(End::Asked), (0, Order::Rest))
        );
        assert!(!life.loaded(1, NOW));
        life.failed();
        assert_eq!(life.last_end(), Some(End::Asked));
        assert_eq!(life.start(), Ok(()));
    }
}
