//! Stock Debian kernels: to a shell, what they say of the machine, and how they leave it.

mod common;

use anyhow::{Result, ensure};
use common::{WITH_DELIVERY, WITHOUT_DELIVERY};
use qemu_tests::{Boot, POWER_ON, Suite};
use std::process::ExitCode;

/// The shell's prompt; the echo of what was sent follows it on the same line.
const PROMPT: &str = "debian:/# ";

/// Kernel messages from "warning" upwards that have nothing to do with the machine.
const HARMLESS: &[&str] = &[];

/// It comes to a shell that listens, warns of nothing, knows the time, and switches itself off.
fn shell(suite: Suite, model: &str) -> Result<()> {
    let outcome = Boot::debian(suite)?
        .cpu_model(model)
        .send(PROMPT, "uname -a\n")
        .send(PROMPT, "dmesg -r | sed -n 's/^<[0-4]>/WARNING: /p'\n")
        .send(PROMPT, "echo now=$(date +%s)\n")
        .send(PROMPT, "grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/clocksource/clocksource0/current_clocksource\n")
        .send(PROMPT, "read word; echo heard=$word\n")
        .send("read word; echo", "xyzzy\n")
        .send(PROMPT, "sleep 1; echo slept\n")
        // Ctrl-C ends what runs, and not the shell. A shell of its own says so: it is in the foreground by then, and stays there.
        .send(PROMPT, "sh -c 'echo wait\"\"ing; exec sleep 1000'\n")
        .send("waiting", "\x03")
        .send(PROMPT, "echo not wait''ed\n")
        .send(PROMPT, "poweroff\n")
        .run()?;
    outcome.expect_lines(&[
        r"^Linux debian \d+\.\d+.* x86_64 GNU/Linux$",
        r"^now=\d+$",
        "^1$",
        "^tsc$",
        "^heard=xyzzy$",
        "^slept$",
        "^not waited$",
        "vm: end reason=power-off ",
    ])?;
    let warnings: Vec<&str> = outcome
        .serial
        .lines()
        .filter(|line| line.starts_with("WARNING: "))
        .filter(|line| !HARMLESS.iter().any(|harmless| line.contains(harmless)))
        .collect();
    ensure!(
        warnings.is_empty(),
        "the kernel warns:\n{}",
        warnings.join("\n")
    );
    let now: u64 = outcome.expect_line(r"^now=(\d+)$")?[1].parse()?;
    // Booting and typing take less than two emulated minutes.
    ensure!(
        (POWER_ON..POWER_ON + 120).contains(&now),
        "the machine was switched on at {POWER_ON}, and the guest's clock says {now}"
    );
    Ok(())
}

/// `reboot` starts the guest anew, and the guest alone.
fn reboot(suite: Suite, model: &str) -> Result<()> {
    let outcome = Boot::debian(suite)?
        .cpu_model(model)
        .send(PROMPT, "reboot\n")
        // The shell may prompt once more before its kernel goes down.
        .send("vm: end reason=reset", "")
        .send(PROMPT, "poweroff\n")
        .run()?;
    outcome.expect_lines(&[
        "vm: start ",
        "vm: end reason=reset ",
        "vm: start ",
        PROMPT,
        "vm: end reason=power-off ",
    ])?;
    let started = outcome.serial.matches("machine: up ").count();
    ensure!(started == 1, "the machine came up {started} times");
    Ok(())
}

fn main() -> ExitCode {
    let mut tests = Vec::new();
    for (name, suite) in [
        ("debian_12", Suite::Bookworm),
        ("debian_13", Suite::Trixie),
        ("debian_newest", Suite::Newest),
    ] {
        for model in [WITH_DELIVERY, WITHOUT_DELIVERY] {
            // One of each in the default set; the others are as long and tell little more.
            let first = suite == Suite::Bookworm;
            tests.push(
                qemu_tests::test(&format!("{name}::shell::{model}"), move || {
                    shell(suite, model)
                })
                .with_ignored_flag(!first),
            );
            tests.push(
                qemu_tests::test(&format!("{name}::reboot::{model}"), move || {
                    reboot(suite, model)
                })
                .with_ignored_flag(!first || model != WITH_DELIVERY),
            );
        }
    }
    qemu_tests::main(tests)
}
