//! The harness of the emulator tests: what to boot, what to say to it, what must come of it.
//!
//! A test is a function that returns an error if it fails; a target of `tests/` hands its tests to [`main`]:
//!
//! ```no_run
//! use qemu_tests::{Boot, test};
//!
//! fn hlt_wakes() -> anyhow::Result<()> {
//!     Boot::guest("hlt_timer").run()?.expect_line("^pass: hlt_timer$")?;
//!     Ok(())
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     qemu_tests::main(vec![test!(hlt_wakes)])
//! }
//! ```
//!
//! A test passes only on a seen end: [`Boot::run`] fails unless the machine went off in good order, or ended in the
//! other way that the test has named. It also fails when the hypervisor touched an MSR that the CPU does not have.

mod boot;
mod elf32;
mod ends;
mod flat;
mod outcome;
mod screen;
mod step;
mod talk;
mod tools;
mod unknown_msr;

pub use boot::{Boot, POWER_ON};
pub use ends::Ends;
pub use outcome::Outcome;
pub use plan::Start;
pub use proto::Answer;
pub use xtask::image::Source;
pub use xtask::machine::End;
pub use xtask::supply::Suite;

use libtest_mimic::{Arguments, Completion, Trial};
use rustix::process::{Signal, set_parent_process_death_signal};
use std::process::ExitCode;

/// A test by its function's name. With `long`, it runs only when asked for (`cargo xtask test --all`).
#[macro_export]
macro_rules! test {
    ($name:path) => {
        $crate::test(stringify!($name), $name)
    };
    (long $name:path) => {
        $crate::test(stringify!($name), $name).with_ignored_flag(true)
    };
}

/// A test of this name.
pub fn test(name: &str, body: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || {
        body().map_err(|error| format!("{error:#}").into())
    })
}

/// A test that needs QEMU, which a machine may lack: there it is ignored, and says so.
pub fn qemu_test(name: &str, body: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || {
        if !xtask::tools::has_qemu() {
            return Ok(Completion::ignored_with("this host has no QEMU"));
        }
        body().map_err(|error| format!("{error:#}"))?;
        Ok(Completion::Completed)
    })
}

/// Runs the tests of a target, side by side on all cores, as the command line asks.
#[must_use]
pub fn main(tests: Vec<Trial>) -> ExitCode {
    // Else the emulators would go on when xtask, and cargo with it, is killed.
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        eprintln!("not bound to the parent process: {error}");
    }
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}
