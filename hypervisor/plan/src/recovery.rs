//! The keys that say what becomes of a VM that has ended by itself: `on_crash`, `on_reboot` and how often it is started anew.

use crate::duration;
use crate::model::{MAX_DELAY, Recovery, Then};
use crate::refusal::{Finding, Findings, Refused};
use crate::table::{self, Table};
use alloc::format;
use core::ops::RangeInclusive;
use toml::Spanned;
use toml::de::DeValue;

/// The keys that have a meaning only where a crash is followed by a restart, in the order in which they are documented.
const OF_RESTARTS: [&str; 3] = ["restarts", "restart_delay", "restart_window"];

const THEN: &[(&str, Then)] = &[("restart", Then::Restart), ("stop", Then::Stop)];
const RESTARTS: &str = "restarts = 5";
const DELAY: &str = r#"restart_delay = "100 ms""#;
const WINDOW: &str = r#"restart_window = "60 s""#;

/// Restarts in a row.
const MAX_RESTARTS: u32 = 1_000_000;
const DELAYS: RangeInclusive<u64> = 0..=MAX_DELAY;
const WINDOWS: RangeInclusive<u64> = 1_000_000..=3_600_000_000_000;

/// Reads the keys.
pub(crate) fn read(table: &Table<'_>, findings: &mut Findings) -> Result<Recovery, Refused> {
    let usual = Recovery::default();
    let on_crash = then(table, "on_crash", usual.on_crash, findings);
    let on_reboot = then(table, "on_reboot", usual.on_reboot, findings);
    let restarts = table.get("restarts").map(|value| count(value, findings));
    let delay = table
        .get("restart_delay")
        .map(|value| duration::read(value, "restart_delay", DELAYS, DELAY, findings));
    let window = table
        .get("restart_window")
        .map(|value| duration::read(value, "restart_window", WINDOWS, WINDOW, findings));
    if matches!(on_crash, Ok(Then::Stop)) {
        let stray = OF_RESTARTS.iter().find(|key| table.get(key).is_some());
        if let Some(key) = stray {
            table.missing("on_crash", findings, || {
                Finding::new(
                    format!("`{key}` has no meaning without `on_crash = \"restart\"`"),
                    table.place(key),
                )
                .label("a crash of this VM is its end")
                .mend("leave it out, or write `on_crash = \"restart\"`")
            });
        }
    }
    Ok(Recovery {
        on_crash: on_crash?,
        on_reboot: on_reboot?,
        restarts: restarts.transpose()?.unwrap_or(usual.restarts),
        delay: delay.transpose()?.map_or(usual.delay, Spanned::into_inner),
        window: window
            .transpose()?
            .map_or(usual.window, Spanned::into_inner),
    })
}

fn then(
    table: &Table<'_>,
    key: &str,
    otherwise: Then,
    findings: &mut Findings,
) -> Result<Then, Refused> {
    let read = |value: &Spanned<DeValue<'_>>| table::choice(value, key, THEN, findings);
    table.get(key).map_or(Ok(otherwise), read)
}

fn count(value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Result<u32, Refused> {
    let label = match table::integer(value, "restarts", RESTARTS, findings)? {
        Some(count @ 1..=MAX_RESTARTS) => return Ok(count),
        Some(0) => "then it stops: `on_crash = \"stop\"` says so",
        Some(_) => "this is too much",
        None => "this is out of range",
    };
    Err(findings.add(
        Finding::new("invalid `restarts`", value.span())
            .label(label)
            .mend(format!("use 1 to {MAX_RESTARTS}, such as `{RESTARTS}`")),
    ))
}

#[cfg(test)]
mod tests {
    use crate::{Facts, Recovery, Then, parse};
    use alloc::format;

    fn recovery(keys: &str) -> Recovery {
        let text = format!("[[vm]]\nname = \"a\"\nkernel = \"k\"\nmemory = \"4 MiB\"\n{keys}");
        let mut plan = parse(&text, "a.toml", &Facts::default()).unwrap();
        plan.vms.remove(0).recovery
    }

    #[test]
    fn without_a_word_a_crash_is_the_end_and_a_reboot_is_not() {
        let usual = recovery("");
        assert_eq!(usual, Recovery::default());
        assert_eq!(
            (usual.on_crash, usual.on_reboot),
            (Then::Stop, Then::Restart)
        );
    }

    #[test]
    fn each_key_is_followed() {
        let keys = "on_crash = \"restart\"\non_reboot = \"stop\"\nrestarts = 7\nrestart_delay = \"0 ms\"\nrestart_window = \"2 s\"";
        let wanted = Recovery {
            on_crash: Then::Restart,
            on_reboot: Then::Stop,
            restarts: 7,
            delay: 0,
            window: 2_000_000_000,
        };
        assert_eq!(recovery(keys), wanted);
    }
}
