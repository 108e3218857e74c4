//! Tiny guests as tests.

pub(crate) mod attacks;
pub(crate) mod carried;
pub(crate) mod shares;
pub(crate) mod steady;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use qemu_tests::{Boot, Outcome};

/// A CPU model with virtual-interrupt delivery.
pub(crate) const WITH_DELIVERY: &str = "broadwell_ult";
/// A CPU model without.
pub(crate) const WITHOUT_DELIVERY: &str = "corei7_sandy_bridge_2600k";

/// A tiny guest's claims, tried on one model; the test is called `GUEST::MODEL`.
#[allow(dead_code, reason = "not every target has one")]
pub(crate) fn claims_on(guest: &'static str, model: &'static str) -> Trial {
    claims(&format!("{guest}::{model}"), move || {
        Boot::guest(guest).cpu_model(model)
    })
}

/// A tiny guest's claims, tried on both models.
#[allow(dead_code, reason = "not every target has one")]
pub(crate) fn claims_on_both(guest: &'static str) -> Vec<Trial> {
    vec![
        claims_on(guest, WITH_DELIVERY),
        claims_on(guest, WITHOUT_DELIVERY),
    ]
}

/// A boot whose guest makes claims.
#[allow(dead_code, reason = "not every target has one")]
pub(crate) fn claims(name: &str, boot: impl FnOnce() -> Boot + Send + 'static) -> Trial {
    qemu_tests::test(name, move || all_hold(&boot().run()?))
}

/// Whether a guest has tried all its claims and all hold.
pub(crate) fn all_hold(outcome: &Outcome) -> Result<()> {
    outcome.expect_no_line(r"^guest: (fail|done early).*$")?;
    let count = outcome.expect_line(r"^guest: claims (\d+)$")?;
    let done = outcome.expect_line(r"^guest: done passed=(\d+) failed=0$")?;
    ensure!(
        count[1] == done[1],
        "{} of {} claims were tried",
        &done[1],
        &count[1]
    );
    Ok(())
}

/// Whether one guest among others on the serial line has tried all its claims and all hold.
#[allow(dead_code, reason = "not every target has several")]
pub(crate) fn holds_of(outcome: &Outcome, name: &str) -> Result<()> {
    let shown = outcome.shown_of(name);
    let number = |before: &str| {
        let line = shown.lines().find_map(|line| line.strip_prefix(before));
        line.with_context(|| format!("{name}: no line begins with `{before}`\n{}", outcome.tail()))
    };
    let count = number("guest: claims ")?;
    let done = number("guest: done ")?;
    ensure!(
        done == format!("passed={count} failed=0"),
        "{name}: of {count} claims: {done}\n{shown}"
    );
    Ok(())
}
