//! VMs that are watched over.

mod common;

use anyhow::{Result, ensure};
use common::steady::{boot, list, steady};
use common::{WITH_DELIVERY, WITHOUT_DELIVERY, all_hold, carried::holds_on_console};
use proto::VmState;
use qemu_tests::{Boot, Outcome, Source, Suite};
use std::process::ExitCode;
use xtask::report::Reporter;
use xtask::supply;

/// What its plan says of a VM that is watched over.
const WATCHED: &str = "watchdog = \"10 s\"\non_crash = \"restart\"\nrestart_delay = \"0 ms\"";

/// The same for a system that takes its time to boot.
const WATCHED_LONG: &str = "watchdog = \"30 s\"\non_crash = \"restart\"\nrestart_delay = \"0 ms\"";

/// Ticks after which an expired watchdog has ended its VM: a period of it, and what the host has to do meanwhile.
const LATENESS: u64 = 100_000;

/// When the guest's watchdog was to expire, and when the guest was ended.
fn expired(outcome: &Outcome) -> Result<(u64, u64)> {
    let due = outcome.expect_line(r"guest: starves until=(\d+)")?[1].parse()?;
    Ok((due, outcome.ticks_of("vm: end reason=watchdog ")?))
}

/// It counts down, is fed, and ends a guest that starves it, in time, whether that shares the first core or has one of its own where it
/// makes no exit. The guest's next run sees that it has been ended so.
fn fires(model: &str, cpus: u32, lines: &str) -> Result<()> {
    let vm = ("watchdog", "watchdog", &*format!("{WATCHED}\n{lines}"));
    let outcome = Boot::guests(&[vm]).cpu_model(model).cpus(cpus).run()?;
    all_hold(&outcome)?;
    outcome.expect_lines(&[
        "^guest: starves ",
        "watchdog warn bulkhead: vm: end reason=watchdog ",
        "watchdog info bulkhead: vm: restarts after_ms=[0-9]+ crashes=1",
        "watchdog info bulkhead: vm: start ",
        "^guest: pass unfed_it_ends_the_machine_and_says_so_afterwards$",
        "vm: end reason=power-off ",
    ])?;
    let (due, end) = expired(&outcome)?;
    ensure!(
        (due - LATENESS..due + LATENESS).contains(&end),
        "it was to end at {due}, and did at {end}"
    );
    Ok(())
}

/// The watchdog of a VM that is paused stands still, and goes on with it.
fn paused(model: &str) -> Result<()> {
    let lines = format!("cmdline = \"countdown=3000 longer=60000\"\nautostart = false\n{WATCHED}");
    let vms = [
        steady("clock", 1, "", ""),
        ("dog".to_owned(), "watchdog".to_owned(), lines),
    ];
    let mut boot = boot(&vms)
        .cpu_model(model)
        .cpus(2)
        .ctl("", "vm start dog")
        .ctl_after(1, "guest: starves", "vm pause dog");
    for _ in 0..5 {
        boot = boot.type_to(0, "steady: second=", "");
    }
    let outcome = boot
        .ctl("", "vm list")
        .ctl("", "vm resume dog")
        .type_to(1, "guest: done", "")
        .type_to(0, "", "q")
        .run()?;
    holds_on_console(&outcome, 1)?;
    let vms = list(outcome.answers.get(2))?;
    ensure!(vms[1].state == VmState::Paused, "{:?}", vms[1]);
    outcome.expect_line("dog warn bulkhead: vm: end reason=watchdog ")?;
    let due: u64 = outcome.expect_console(1, r"guest: starves until=(\d+)")?[1].parse()?;
    let end = outcome.ticks_of("vm: end reason=watchdog ")?;
    // Four seconds between five at least, of 50 million ticks each.
    let second = vms[1].tsc.0;
    ensure!(
        end > due + 3 * second,
        "it was to end at {due}, was held for four seconds, and ended at {end}"
    );
    Ok(())
}

/// The shell's prompt.
const PROMPT: &str = "debian:/# ";

/// Debian's own driver takes it from the WDAT: it feeds it through the device, reads what is left, and is started anew when the feeding
/// process has died; then it knows why.
fn debian(model: &str) -> Result<()> {
    let config = std::fs::read_to_string(xtask::config::default())?;
    let drivers = ["drivers/watchdog/watchdog", "drivers/watchdog/wdat_wdt"];
    let initrd = supply::modules(&Reporter::new(), Suite::Bookworm, &drivers)?;
    let load = "for m in watchdog wdat_wdt; do insmod /lib/modules/$m.ko; done\n";
    let show = "cd /sys/class/watchdog/watchdog0; echo found $(cat bootstatus state timeout identity); cd /\n";
    let outcome = Boot::config(&format!("{config}{WATCHED_LONG}\n"))
        .with_debian(Suite::Bookworm)?
        .file("debian/initrd.img", Source::Path(initrd))
        .memory(512)
        .limit(300)
        .cpu_model(model)
        .send(PROMPT, load)
        .send(PROMPT, show)
        .send(PROMPT, "watchdog -t 1 -T 3 /dev/watchdog0\n")
        .send(
            PROMPT,
            "sleep 8; echo still''here left=$(cat /sys/class/watchdog/watchdog0/timeleft)\n",
        )
        .send("stillhere", "")
        .send(PROMPT, "dmesg -r | sed -n 's/^<[0-4]>/WARNING: /p'\n")
        .send(PROMPT, "killall -9 watchdog\n")
        .send("vm: end reason=watchdog", "")
        .send(PROMPT, load)
        .send(PROMPT, show)
        .send(PROMPT, "poweroff\n")
        .run()?;
    outcome.expect_lines(&[
        "^found 0 inactive 30 wdat_wdt$",
        "^stillhere left=[123]$",
        "vm: end reason=watchdog ",
        "vm: start ",
        // WDIOF_CARDRESET
        "^found 32 inactive 30 wdat_wdt$",
        "vm: end reason=power-off ",
    ])?;
    outcome.expect_no_line("^WARNING: ")
}

fn main() -> ExitCode {
    let mut trials = Vec::new();
    let own = "cores = [1]";
    for model in [WITH_DELIVERY, WITHOUT_DELIVERY] {
        let all = model != WITH_DELIVERY;
        let name = |name| format!("watchdog::{name}::{model}");
        let shared = qemu_tests::test(&name("on_the_first_core"), move || fires(model, 1, ""));
        let apart = qemu_tests::test(&name("on_a_core_of_its_own"), move || fires(model, 2, own));
        let held = qemu_tests::test(&name("paused"), move || paused(model));
        let linux = qemu_tests::test(&name("debian_12"), move || debian(model));
        trials.extend([
            shared,
            apart,
            held.with_ignored_flag(all),
            linux.with_ignored_flag(all),
        ]);
    }
    qemu_tests::main(trials)
}
