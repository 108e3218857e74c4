//! What this host offers, what it lacks, and the mend for each.

use crate::nested;
use crate::supply::{self, Suite, cache::Cache};
use anyhow::Result;
use std::fmt;
use std::path::Path;

/// What building the emulator and keeping all three guests takes at its peak is 400 MiB; with room to work.
const SPACE: u64 = 600 << 20;

/// How a finding bears on `cargo xtask run`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// As it should be.
    Good,
    /// Not there, and not needed.
    Absent,
    /// `run` cannot work, or not rightly.
    Wrong,
}

/// One line of the doctor's table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// Whether it is well.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub mend: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn good(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            state: State::Good,
            found: found.into(),
            mend: None,
        }
    }

    /// It is not there, which `run` can do without.
    pub fn absent(
        subject: impl Into<String>,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            state: State::Absent,
            mend: Some(mend.into()),
            ..Self::good(subject, found)
        }
    }

    /// It keeps `run` from working.
    pub fn wrong(
        subject: impl Into<String>,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            state: State::Wrong,
            mend: Some(mend.into()),
            ..Self::good(subject, found)
        }
    }
}

/// The doctor's table.
#[derive(Clone, Debug)]
pub struct Table(pub Vec<Finding>);

impl Table {
    /// Whether nothing stands in the way of `run`.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.0.iter().all(|finding| finding.state != State::Wrong)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .0
            .iter()
            .map(|finding| finding.subject.chars().count())
            .max()
            .unwrap_or(0);
        for finding in &self.0 {
            let state = match finding.state {
                State::Good => "ok",
                State::Absent => "absent",
                State::Wrong => "WRONG",
            };
            writeln!(
                out,
                "{state:<6}  {:<width$}  {}",
                finding.subject, finding.found
            )?;
            if let Some(mend) = &finding.mend {
                writeln!(out, "{:<8}{:<width$}  mend: {mend}", "", "")?;
            }
        }
        Ok(())
    }
}

/// Looks at everything that needs neither the network nor an emulator.
///
/// # Errors
/// When the lock file is damaged or the cache has no place.
pub fn examine() -> Result<Vec<Finding>> {
    let cache = Cache::of_user()?;
    let mut findings = targets();
    let emulator = supply::built_emulator(&cache);
    let outstanding = supply::outstanding(&cache, Suite::default())?;
    findings.push(programs(
        "building the emulator",
        &supply::BUILD_PROGRAMS,
        emulator.is_none(),
    ));
    findings.push(programs(
        "fetching packages",
        &supply::FETCH_PROGRAMS,
        !outstanding.is_empty(),
    ));
    findings.push(archive(!outstanding.is_empty()));
    findings.push(match emulator {
        Some(Ok(text)) => Finding::good("emulator", text),
        Some(Err(error)) => Finding::wrong(
            "emulator",
            format!("{error:#}"),
            "let BULKHEAD_BOCHS name a Bochs, or remove it",
        ),
        None => Finding::good("emulator", "not built yet: the first run does it"),
    });
    for line in supply::fetched(&cache)? {
        findings.push(Finding::good("fetched", line));
    }
    if !outstanding.is_empty() {
        findings.push(Finding::good("to be fetched", outstanding.join(", ")));
    }
    findings.push(space(cache.root(), outstanding.is_empty()));
    findings.push(match nested::kvm() {
        Ok(()) => Finding::good("nested KVM", "VT-x, kvm_intel with nested=1, and /dev/kvm opens"),
        Err(why) => Finding::absent(
            "nested KVM",
            why,
            "Bochs does without; else VT-x on in the firmware, kvm_intel loaded with nested=1, and you in the group kvm",
        ),
    });
    findings.push(match supply::find("qemu-system-x86_64") {
        Some(path) => Finding::good("QEMU", path.display().to_string()),
        None => Finding::absent(
            "QEMU",
            "not installed",
            "Bochs does without; else install qemu-system-x86",
        ),
    });
    Ok(findings)
}

fn targets() -> Vec<Finding> {
    let state = |target: &str| {
        let subject = format!("Rust target {target}");
        if supply::has_target(target) {
            Finding::good(subject, "installed")
        } else if supply::find("rustup").is_some() {
            Finding::absent(subject, "missing", "the next run adds it by rustup")
        } else {
            Finding::wrong(
                subject,
                "missing, and no rustup to add it",
                "install rustup",
            )
        }
    };
    supply::TARGETS.into_iter().map(state).collect()
}

fn programs(purpose: &str, programs: &[(&str, &str)], needed: bool) -> Finding {
    let subject = format!("programs for {purpose}");
    let missing: Vec<_> = programs
        .iter()
        .filter(|(program, _)| supply::find(program).is_none())
        .collect();
    let list = |of: fn(&(&str, &str)) -> String| {
        missing
            .iter()
            .map(|item| of(item))
            .collect::<Vec<_>>()
            .join(" ")
    };
    if missing.is_empty() {
        let names: Vec<_> = programs.iter().map(|(program, _)| *program).collect();
        return Finding::good(subject, names.join(" "));
    }
    let (names, mend) = (
        list(|item| item.0.to_owned()),
        format!("install {}", list(|item| item.1.to_owned())),
    );
    if needed {
        Finding::wrong(subject, format!("missing: {names}"), mend)
    } else {
        Finding::absent(
            subject,
            format!("missing: {names}; all that they make is there"),
            mend,
        )
    }
}

fn archive(needed: bool) -> Finding {
    const SUBJECT: &str = "Debian archive";
    match supply::archive() {
        Ok(uri) => Finding::good(SUBJECT, uri),
        Err(error) => {
            let text = format!("{error:#}");
            let (found, mend) = text
                .split_once("\n  mend: ")
                .unwrap_or((&text, "see above"));
            if needed {
                Finding::wrong(SUBJECT, found, mend)
            } else {
                Finding::absent(SUBJECT, found, mend)
            }
        }
    }
}

/// The cache's folder need not be there yet: its next parent tells.
fn space(folder: &Path, complete: bool) -> Finding {
    let subject = format!("space for {}", folder.display());
    let existing = folder
        .ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(Path::new("/"));
    let Ok(system) = rustix::fs::statvfs(existing) else {
        return Finding::wrong(
            subject,
            "cannot be told",
            "name another folder in BULKHEAD_CACHE",
        );
    };
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let found = format!("{} MiB free", free >> 20);
    if free >= SPACE || complete {
        Finding::good(subject, found)
    } else {
        Finding::wrong(
            subject,
            found,
            format!(
                "make room for {} MiB, or name another folder in BULKHEAD_CACHE",
                SPACE >> 20
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_run_needs_makes_the_host_unfit() {
        let mut table = Table(vec![
            Finding::good("a", "b"),
            Finding::absent("c", "d", "e"),
        ]);
        assert!(table.is_well());
        table.0.push(Finding::wrong("f", "g", "h"));
        assert!(!table.is_well());
    }

    #[test]
    fn the_table_lines_up_and_names_each_mend() {
        let table = Table(vec![
            Finding::good("one", "here"),
            Finding::wrong("eleven", "gone", "bring it"),
        ]);
        let expected =
            "ok      one     here\nWRONG   eleven  gone\n                mend: bring it\n";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn a_missing_program_matters_only_while_it_is_needed() {
        let list = [("sh", "dash"), ("no-such-program", "nothing")];
        let needed = programs("a test", &list, true);
        assert_eq!(
            (needed.state, needed.found.as_str()),
            (State::Wrong, "missing: no-such-program")
        );
        assert_eq!(needed.mend.as_deref(), Some("install nothing"));
        assert_eq!(programs("a test", &list, false).state, State::Absent);
        assert_eq!(programs("a test", &list[..1], true).state, State::Good);
    }
}
