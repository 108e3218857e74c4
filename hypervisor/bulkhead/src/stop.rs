//! How the machine ends: by the firmware when all is well, parked with a report when it is not.
// UNSAFETY: leaves VMX operation, and calls the firmware.
#![allow(unsafe_code)]

use crate::callers::Callers;
use crate::{console, containment, machine, memory, screen, seat};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use hw::core_local::CoreLocal;
use hw::firmware::{Firmware, Reset};
use spec::Ticks;
use spin::Once;

/// How power is switched off, once it is known.
static FIRMWARE: Once<Firmware> = Once::new();

/// Says how the firmware is called from now on.
pub(crate) fn set_firmware(firmware: Firmware) {
    FIRMWARE.call_once(|| firmware);
}

/// Why the machine is to go off, once it is to: the first core, which the firmware knows best, does it.
static REQUEST: Once<&'static str> = Once::new();
/// The machine goes off: the other cores come to rest, and are counted.
static ENDING: AtomicBool = AtomicBool::new(false);
static PARKED: AtomicUsize = AtomicUsize::new(0);
/// How long they may take: a core looks at its orders after each exit, and after each piece of loading.
const PATIENCE: Ticks = Ticks(1 << 32);
/// A core met what harms all.
static DYING: AtomicBool = AtomicBool::new(false);

/// Has the first core end the machine when it next looks at its orders.
pub(crate) fn request(reason: &'static str) {
    REQUEST.call_once(|| reason);
}

/// What a core does about the end of the machine when it is kicked.
pub(crate) fn obey() {
    if DYING.load(Ordering::SeqCst) {
        hw::core_local::park();
    }
    if ENDING.load(Ordering::SeqCst) {
        PARKED.fetch_add(1, Ordering::SeqCst);
        hw::core_local::park();
    }
    if let Some(reason) = REQUEST.get()
        && CoreLocal::current().is_some_and(|core| core.index == 0)
    {
        power_off(reason);
    }
}

/// Ends the machine in good order: sends what the log holds, then powers off.
fn power_off(reason: &str) -> ! {
    let others = seat::all().iter().skip(1).filter(|seat| seat.is_up());
    let others = others.count();
    // The firmware may do as it likes with a machine on which nothing else runs.
    ENDING.store(true, Ordering::SeqCst);
    for number in 1..seat::all().len() as u32 {
        seat::kick(number);
    }
    let begun = hw::tsc::now();
    while PARKED.load(Ordering::SeqCst) < others && hw::tsc::now().since(begun) < PATIENCE {
        core::hint::spin_loop();
    }
    let parked = PARKED.load(Ordering::SeqCst);
    if parked < others {
        crate::warning!("machine: {} cores do not come to rest", others - parked);
    }
    crate::info!("machine: heap_bytes={}", memory::heap_used());
    crate::info!("machine: off reason={reason}");
    end()
}

/// Ends the machine because it cannot do what it is for; the reason has been logged.
///
/// Where only the screen can say it, the machine stays on, so that it can be read there.
pub(crate) fn refuse(reason: fmt::Arguments<'_>) -> ! {
    crate::error!("refused: {reason}");
    let version = env!("CARGO_PKG_VERSION");
    let shown = screen::page(format_args!(
        "Bulkhead {version} cannot run on this machine:\n{reason}\n"
    ));
    if shown && !console::is_there() {
        hw::core_local::park();
    }
    crate::info!("machine: off reason=refused");
    end()
}

fn end() -> ! {
    console::flush();
    if let Some(f) = FIRMWARE.get() {
        // Firmware relies on the FPU state that UEFI promises it (UEFI 2.10, section 2.3.4), not on a guest's.
        hw::control::reset_extended_state();
        // SAFETY: no guest runs any more on any core; the value was made from what the loader handed over, with tables
        // of our own making.
        unsafe {
            hw::vmx_ops::vmxoff();
            f.reset(Reset::Shutdown);
        }
        crate::error!("machine: the firmware's ResetSystem came back");
        console::flush();
    }
    hw::core_local::park()
}

/// Prints a report past all locks and stops the machine. A second fault while the first is reported only parks.
pub(crate) fn die(report: &dyn fmt::Display) -> ! {
    // Who has called is above this.
    let here = 0_u64;
    die_at(report, (&raw const here) as u64)
}

/// The same, where the stack from `stack` on shows who was at work.
fn die_at(report: &dyn fmt::Display, stack: u64) -> ! {
    if DYING.swap(true, Ordering::SeqCst) {
        hw::core_local::park();
    }
    for number in 0..seat::all().len() as u32 {
        seat::kick(number);
    }
    let report = Report {
        now: hw::tsc::now(),
        core: CoreLocal::current().map(|core| core.index),
        what: report,
        stack,
    };
    console::last_words(format_args!("{report}"));
    screen::last_words(format_args!("{report}"));
    hw::core_local::park()
}

/// What is told of the end of the machine.
struct Report<'a> {
    now: Ticks,
    core: Option<u32>,
    what: &'a dyn fmt::Display,
    stack: u64,
}

impl Report<'_> {
    /// A line, as the log has them.
    fn line(&self, f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>) -> fmt::Result {
        let now = self.now.0;
        match self.core {
            Some(core) => write!(f, "{now:>12} {core} - error bulkhead: machine: {text}"),
            None => write!(f, "{now:>12} - - error bulkhead: machine: {text}"),
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line(f, format_args!("panic {}\n", self.what))?;
        let served = self.core.and_then(seat::at).and_then(seat::Seat::served);
        match served.and_then(|id| machine::get()?.vcpus().find(|(g, i)| g.id(*i).0 == id)) {
            Some((guest, vcpu)) => {
                let vm = &guest.vm.name;
                self.line(f, format_args!("serves vm={vm} vcpu={vcpu}\n"))?;
            }
            None => self.line(f, format_args!("serves no vcpu\n"))?,
        }
        // What is read now may be what is broken: all else has been told.
        let (base, stack) = (memory::image().0, self.stack);
        self.line(f, format_args!("image={base:#x} stack={stack:#x}\n"))?;
        self.line(f, format_args!("callers{}\n", Callers { from: stack }))?;
        self.line(f, format_args!("stopped"))
    }
}

/// Reports a host exception and stops the machine.
pub(crate) fn on_exception(frame: &hw::trap::Frame) -> ! {
    die_at(frame, frame.rsp)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    struct Words<'a>(&'a core::panic::PanicInfo<'a>);
    impl fmt::Display for Words<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            if let Some(location) = self.0.location() {
                write!(f, "at {location}: ")?;
            }
            self.0.message().fmt(f)
        }
    }
    let here = 0_u64;
    let stack = (&raw const here) as u64;
    containment::contain(&Words(info), stack);
    die_at(&Words(info), stack)
}
