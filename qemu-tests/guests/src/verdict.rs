//! Claims, and what came of them.

use crate::say;
use crate::slot::Slot;
use crate::trap::Trap;
use core::fmt::Arguments;
use core::panic::Location;

/// A claim did not hold; it has been reported.
#[derive(Clone, Copy, Debug)]
pub struct Broken;

/// What comes of a claim.
pub type Verdict = Result<(), Broken>;

/// A function that fails if what its name says is not so.
pub type Claim = fn() -> Verdict;

/// The claim that is being tried.
static NAME: Slot<&str> = Slot::new("start");

/// Tries each, and prints what came of it.
pub fn try_all(claims: &[(&'static str, Claim)]) {
    say!("guest: claims {}", claims.len());
    let mut failed = 0;
    for (name, claim) in claims {
        NAME.set(name);
        match claim() {
            Ok(()) => say!("guest: pass {name}"),
            Err(Broken) => failed += 1,
        }
    }
    say!(
        "guest: done passed={} failed={failed}",
        claims.len() - failed
    );
}

impl From<Trap> for Broken {
    #[track_caller]
    fn from(trap: Trap) -> Self {
        let at = Location::caller();
        broken(at.file(), at.line(), format_args!("raised {trap:x?}"))
    }
}

/// Reports that the claim does not hold.
pub fn broken(file: &str, line: u32, why: Arguments<'_>) -> Broken {
    say!("guest: fail {} {file}:{line} {why}", NAME.get());
    Broken
}

/// Prints how long something takes.
pub fn figure(name: &str, ticks: u64) {
    say!("guest: figure {name} {ticks}");
}

/// Goes on only if something holds; else says why, with file and line.
#[macro_export]
macro_rules! claim {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err($crate::verdict::broken(file!(), line!(), format_args!($($why)+)));
        }
    };
}

/// Goes on only if two values are the same.
#[macro_export]
macro_rules! same {
    ($left:expr, $right:expr $(, $($what:tt)+)?) => {
        let (left, right) = ($left, $right);
        if left != right {
            let what = stringify!($left);
            $(let _ = what; let what = format_args!($($what)+);)?
            return Err($crate::verdict::broken(file!(), line!(), format_args!("{what}: {left:x?} is not {right:x?}")));
        }
    };
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say!("guest: fail {} {info}", NAME.get());
    crate::power::off()
}
