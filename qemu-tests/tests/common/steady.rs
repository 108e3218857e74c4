//! Machines with several VMs, of which some watch over themselves.
#![allow(dead_code, reason = "not every target uses all of it")]

use anyhow::{Context, Result, ensure};
use proto::VmInfo;
use qemu_tests::{Answer, Boot, Outcome};

/// A VM that works, watches over itself and says so each second: its name, its program, further lines of its config.
pub(crate) fn steady(
    name: &'static str,
    id: u32,
    seconds: &str,
    lines: &str,
) -> (String, String, String) {
    let config = format!("cmdline = \"id={id} {seconds}\"\n{lines}\n");
    (name.to_owned(), "steady".to_owned(), config)
}

/// A VM that misbehaves in a way, once it is started.
pub(crate) fn wild(name: &str, way: &str, lines: &str) -> (String, String, String) {
    let config = format!("cmdline = \"{way}\"\nautostart = false\n{lines}\n");
    (name.to_owned(), "wild".to_owned(), config)
}

pub(crate) fn tiny(name: &str, guest: &str) -> (String, String, String) {
    (name.to_owned(), guest.to_owned(), String::new())
}

/// A tiny guest that waits for an order to start. What a VM says before the second line is up is on the first alone.
pub(crate) fn off(name: &str, guest: &str) -> (String, String, String) {
    (
        name.to_owned(),
        guest.to_owned(),
        "autostart = false\n".to_owned(),
    )
}

pub(crate) fn boot(vms: &[(String, String, String)]) -> Boot {
    let vms: Vec<_> = vms
        .iter()
        .map(|(n, g, l)| (n.as_str(), g.as_str(), l.as_str()))
        .collect();
    // A command takes its time by the wall clock, in which the machine goes on.
    Boot::guests(&vms).limit(300)
}

/// A steady VM has come to its end, and nothing of it was ever touched.
pub(crate) fn nothing_touched(outcome: &Outcome, vm: usize) -> Result<()> {
    let done =
        outcome.expect_console(vm, r"^steady: done seconds=\d+ rounds=(\d+) failed=(\d+)$")?;
    let (rounds, failed): (u64, u64) = (done[1].parse()?, done[2].parse()?);
    ensure!(
        failed == 0,
        "VM {vm} was touched {failed} times\n{}",
        outcome.consoles[&vm]
    );
    ensure!(rounds > 0, "VM {vm} did nothing");
    Ok(())
}

/// What a steady VM said of each second: its number, rounds, ticks, the worst lateness.
pub(crate) fn seconds(outcome: &Outcome, vm: usize) -> Result<Vec<[u64; 4]>> {
    let console = outcome.consoles.get(&vm).context("it has said nothing")?;
    let field = |line: &str, name: &str| -> Option<u64> {
        let after = line.split_once(&format!("{name}="))?.1;
        after.split_whitespace().next()?.parse().ok()
    };
    let lines = console
        .lines()
        .filter(|line| line.starts_with("steady: second="));
    let read = |line| {
        let fields = ["second", "rounds", "ticks", "worst_ticks"];
        let [a, b, c, d] = fields.map(|name| field(line, name));
        Some([a?, b?, c?, d?])
    };
    lines
        .map(|line| read(line).with_context(|| line.to_owned()))
        .collect()
}

pub(crate) fn list(answer: Option<&Answer>) -> Result<&[VmInfo]> {
    match answer {
        Some(Answer::Vms(vms)) => Ok(vms),
        other => anyhow::bail!("not a list of VMs: {other:?}"),
    }
}
