//! The known faults of the emulator, each looked for by a tiny guest of its own (`qemu-tests/faults`): a build that has one
//! misleads every test that rests on it.

use crate::build::{self, Programs};
use crate::doctor::Finding;
use crate::image::Contents;
use crate::machine::{End, Machine, Runner, Topology};
use crate::report::Reporter;
use crate::supply::{self, cache::Cache};
use crate::tools;
use anyhow::{Result, ensure};
use std::io::Read;
use std::time::Duration;

/// The one model that has all that the faults are about: posted interrupts.
const CPU_MODEL: &str = "corei7_skylake_x";

/// `boot` wants a config and a kernel, neither of which is looked at after it.
const CONFIG: &str = "[[vm]]\nname = \"none\"\nkernel = \"bulkhead.toml\"\nmemory = \"16 MiB\"\n";

/// Emulated seconds, of which firmware takes 13.
const LIMIT: u32 = 30;
/// For the emulator's end, after its serial line has closed.
const GRACE: Duration = Duration::from_secs(10);
/// An emulator that says nothing for so long by the wall clock is stuck.
const STUCK: Duration = Duration::from_secs(300);

/// What was found of one fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Its name, which is its cure's
    pub name: &'static str,
    /// "absent", "present", or what else its guest said
    pub found: String,
}

impl Fault {
    /// Whether the emulator is known not to have it.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.found == "absent"
    }

    fn finding(&self, mend: &str) -> Finding {
        let subject = format!("fault {}", self.name);
        if self.is_absent() {
            Finding::good(subject, &self.found)
        } else {
            Finding::wrong(subject, &self.found, mend)
        }
    }
}

/// Looks for every known fault in an emulator. `programs` are those of [`crate::build::faults`].
///
/// # Errors
/// When the emulator does not start, or the guests did not come to their end.
pub fn look(runner: &Runner, programs: &Programs) -> Result<Vec<Fault>> {
    let folder = tempfile::Builder::new().prefix("bulkhead-").tempdir()?;
    let disk = folder.path().join("disk.img");
    Contents::new(programs, CONFIG).write(&disk)?;
    let machine = Machine {
        cpu_model: CPU_MODEL.to_owned(),
        // One fault is there with several processors only.
        cpus: Topology::flat(2),
        memory: 256,
        limit: Some(LIMIT),
        ..Machine::default()
    };
    let running = runner.start(&machine, &disk)?;
    let mut serial = running.serial()?;
    serial.set_read_timeout(Some(STUCK))?;
    let mut heard = Vec::new();
    // The line closes with the emulator's end, in whichever way; the guests' own last words decide.
    let _ = serial.read_to_end(&mut heard);
    let heard = String::from_utf8_lossy(&heard).replace("\r\n", "\n");
    let finished = running.finish(GRACE)?;
    let ended = matches!(&finished.end, End::Crash(why) if why.contains("Shutdown port"));
    ensure!(
        ended && heard.ends_with("fault: done\n"),
        "the guests did not come to their end: {}\n{heard}",
        finished.end
    );
    Ok(read(&heard))
}

/// A line of the doctor's table for each fault, if the emulator and all that runs in it can be had without the network.
///
/// # Errors
/// When the lock file is damaged, the cache has no place, or the guests do not build.
pub fn findings(report: &Reporter) -> Result<Vec<Finding>> {
    const SUBJECT: &str = "faults of the emulator";
    let Some(mend) = supply::emulator_mend(&Cache::of_user()?)? else {
        let found = "not looked for: the first run brings the emulator";
        return Ok(vec![Finding::good(SUBJECT, found)]);
    };
    if !supply::TARGETS.into_iter().all(supply::has_target) {
        let found = "not looked for: a Rust target is missing";
        return Ok(vec![Finding::good(SUBJECT, found)]);
    }
    report.say("doctor", "looking for faults of the emulator");
    let programs = build::faults()?;
    let looked = tools::bochs(report).and_then(|runner| look(&runner, &programs));
    Ok(match looked {
        Ok(faults) => faults.iter().map(|fault| fault.finding(&mend)).collect(),
        Err(error) => {
            let found = format!("cannot be looked for: {error:#}");
            vec![Finding::wrong(SUBJECT, found, mend)]
        }
    })
}

/// Takes the findings out of what was heard.
fn read(heard: &str) -> Vec<Fault> {
    supply::known_faults()
        .map(|name| {
            let said = heard
                .lines()
                .find_map(|line| line.strip_prefix("fault: ")?.strip_prefix(name));
            Fault {
                name,
                found: said.map_or("nothing was said of it", str::trim).to_owned(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fault_that_is_called_absent_is_absent() {
        let names: Vec<_> = supply::known_faults().collect();
        let heard = format!(
            "boot: x\nfault: {} absent\nfault: {} present\nfault: {} unclear: HLT\nfault: done\n",
            names[0], names[1], names[2]
        );
        let faults = read(&heard);
        assert_eq!(faults.len(), names.len());
        let absent: Vec<_> = faults.iter().map(Fault::is_absent).collect();
        assert!(absent[0] && !absent[1..].contains(&true));
        assert_eq!(faults[2].found, "unclear: HLT");
        let well = faults.iter().map(|fault| fault.finding("mend").mend);
        assert_eq!(well.flatten().count(), names.len() - 1);
    }
}
