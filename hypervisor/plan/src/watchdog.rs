//! The key `watchdog`: the device that a VM may have itself watched by, and the longest that it may be silent.

use crate::duration;
use crate::model::Exits;
use crate::refusal::{Finding, Findings, Refused};
use crate::table::Table;
use alloc::format;
use core::ops::RangeInclusive;
use spec::Nanos;
use spec::watchdog::PERIOD_MS;

const WATCHDOG: &str = r#"watchdog = "30 s""#;
/// From a control loop's period to whatever a person may have to wait for.
const LENGTHS: RangeInclusive<u64> = 1_000_000..=3_600_000_000_000;
/// What the device counts in.
const PERIOD: u64 = PERIOD_MS as u64 * 1_000_000;

/// Reads the key, given which exits the VM may make.
pub(crate) fn read(
    table: &Table<'_>,
    exits: Option<Exits>,
    findings: &mut Findings,
) -> Result<Option<u64>, Refused> {
    let Some(value) = table.get("watchdog") else {
        return Ok(None);
    };
    let length = duration::read(value, "watchdog", LENGTHS, WATCHDOG, findings)?.into_inner();
    if let Some(Exits::None { .. }) = exits {
        findings.add(
            Finding::new(
                "`watchdog` and `exits = \"none\"` exclude each other",
                table.place("watchdog"),
            )
            .label("a watchdog is fed by an exit")
            .related(table.value_place("exits"), "none is allowed")
            .mend("leave one of them out"),
        );
    }
    if !length.is_multiple_of(PERIOD) {
        let whole = Nanos(length.next_multiple_of(PERIOD));
        return Err(findings.add(
            Finding::new("invalid `watchdog`", value.span())
                .label(format!("it counts in steps of {}", Nanos(PERIOD)))
                .mend(format!("write `watchdog = \"{whole}\"`")),
        ));
    }
    Ok(Some(length))
}

#[cfg(test)]
mod tests {
    use crate::{Facts, parse};
    use alloc::format;

    fn watchdog(keys: &str) -> Option<u64> {
        let text = format!("[[vm]]\nname = \"a\"\nkernel = \"k\"\nmemory = \"4 MiB\"\n{keys}");
        let mut plan = parse(&text, "a.toml", &Facts::default()).unwrap();
        plan.vms.remove(0).watchdog
    }

    #[test]
    fn there_is_one_only_where_the_key_is() {
        assert_eq!(watchdog(""), None);
        assert_eq!(watchdog("watchdog = \"30 s\""), Some(30_000_000_000));
        assert_eq!(watchdog("watchdog = \"1 ms\""), Some(1_000_000));
        assert_eq!(watchdog("watchdog = \"2000 us\""), Some(2_000_000));
        let last = watchdog("cores = [1]\nexits = \"any\"\nwatchdog = \"3600 s\"");
        assert_eq!(last, Some(3_600_000_000_000));
    }
}
