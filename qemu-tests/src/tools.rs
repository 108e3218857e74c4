//! What every test needs, made once by the process.

use anyhow::{Context, Result, anyhow};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use xtask::build::{self, Programs};
use xtask::machine::Runner;
use xtask::report::Reporter;
use xtask::supply::{self, GuestKit, Suite};

type Guests = BTreeMap<String, PathBuf>;

fn once<T>(
    cell: &'static OnceLock<Result<T, String>>,
    make: impl FnOnce() -> Result<T>,
) -> Result<&'static T> {
    let made = cell.get_or_init(|| make().map_err(|error| format!("{error:#}")));
    made.as_ref().map_err(|error| anyhow!(error.clone()))
}

/// The programs of the image.
pub(crate) fn programs() -> Result<&'static Programs> {
    static PROGRAMS: OnceLock<Result<Programs, String>> = OnceLock::new();
    once(&PROGRAMS, build::programs)
}

/// Those of an image that does wrong when it is told to.
pub(crate) fn planted() -> Result<&'static Programs> {
    static PROGRAMS: OnceLock<Result<Programs, String>> = OnceLock::new();
    once(&PROGRAMS, build::planted)
}

/// The ELF file of a tiny guest.
pub(crate) fn guest(name: &str) -> Result<PathBuf> {
    static GUESTS: OnceLock<Result<Guests, String>> = OnceLock::new();
    let guests = once(&GUESTS, build::guests)?;
    guests
        .get(name)
        .cloned()
        .with_context(|| format!("there is no tiny guest `{name}`"))
}

/// The emulator of all tests but a few: Bochs, whose ticks and log the tests rely on.
pub(crate) fn bochs() -> Result<&'static Runner> {
    static RUNNER: OnceLock<Result<Runner, String>> = OnceLock::new();
    once(&RUNNER, || xtask::tools::bochs(&Reporter::new()))
}

/// QEMU on software emulation.
pub(crate) fn qemu() -> Result<&'static Runner> {
    static RUNNER: OnceLock<Result<Runner, String>> = OnceLock::new();
    once(&RUNNER, || xtask::tools::qemu_without_vtx(&Reporter::new()))
}

/// A Debian guest.
pub(crate) fn debian(suite: Suite) -> Result<GuestKit> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    supply::guest(&Reporter::new(), suite)
}
