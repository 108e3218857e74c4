//! The log: one line an event, fixed fields.
//!
//! `ticks core vm level crate: event key=value`, the core by its number; levels are `error` for faults of ours, `warn` for a VM that stopped, `info`
//! for life cycle. Nothing on an exit path logs.

use core::fmt::Arguments;

/// How much a line matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    /// A fault of ours
    Error,
    /// A VM stopped, or the machine lacks something
    Warn,
    /// Life cycle
    Info,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
        }
    }
}

/// Queues a line. `vm` is `-` where no VM is meant.
pub(crate) fn line(level: Level, vm: &str, text: Arguments<'_>) {
    let now = hw::tsc::now().0;
    let core = hw::core_local::CoreLocal::current().map_or(0, |c| c.index);
    crate::console::log(format_args!(
        "{now:>12} {core} {vm} {} bulkhead: {text}",
        level.name()
    ));
}

/// An `info` line of the machine.
#[macro_export]
macro_rules! info {
    ($($t:tt)*) => { $crate::log::line($crate::log::Level::Info, "-", format_args!($($t)*)) };
}

/// A `warn` line of the machine.
#[macro_export]
macro_rules! warning {
    ($($t:tt)*) => { $crate::log::line($crate::log::Level::Warn, "-", format_args!($($t)*)) };
}

/// An `error` line of the machine.
#[macro_export]
macro_rules! error {
    ($($t:tt)*) => { $crate::log::line($crate::log::Level::Error, "-", format_args!($($t)*)) };
}
