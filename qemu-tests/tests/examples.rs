//! The examples, each booted as it stands, on a machine such as `cargo xtask run` gives it.

mod common;

use anyhow::{Context, Result, ensure};
use qemu_tests::{Boot, Ends};
use regex::Regex;
use std::process::ExitCode;
use xtask::image::Source;
use xtask::report::Reporter;
use xtask::workspace;

/// Boots an example with the files that it names, as xtask supplies them.
fn example(name: &str) -> Result<Boot> {
    let file = workspace::root().join("examples").join(name);
    let report = Reporter::new();
    let config = xtask::config::load(&file, &|named: &str| xtask::kit::file(named, &report))
        .with_context(|| name.to_owned())?;
    let mut boot = Boot::config(&config.text)
        .cpus(xtask::need::cores(&config.plan)?)
        .memory(xtask::need::memory(&config.plan, config.size_of_files()?)?);
    for (named, path) in config.files {
        boot = boot.file(&named, Source::Path(path));
    }
    Ok(boot.limit(120))
}

/// Three guests side by side: each is heard, and the monitor lists them.
fn partitions() -> Result<()> {
    let outcome = example("partitions.toml")?
        .send(r"^batch +\| debian:/# ", "\x14m")
        .send("bulkhead> ", "vm list\n")
        .ends(Ends::Seen(r"^3 +batch +running ".into()))
        .run()?;
    outcome.expect_line(r"^debian +\| \[ +\d+\.\d+\] smp: Brought up 1 node, 2 CPUs")?;
    outcome.expect_line(r"^control \| periodic: cycles=\d+ ")?;
    outcome.expect_line(r"^1 +control +running .* 16 MiB +1 +3 ")?;
    outcome.expect_line(r"^2 +debian +running .* 256 MiB +2 +1,2 ")?;
    Ok(())
}

/// Each class of vCPU: the loop with a window misses nothing while two Debians boot, nor does the one with a reservation but when what it
/// says once a second uses up its budget, and the scheduler tells who had what.
fn mixed() -> Result<()> {
    let outcome = example("mixed.toml")?
        .send(r"^debian +\| debian:/# ", "\x14m")
        .send("bulkhead> ", "top\n")
        .ends(Ends::Seen(r"^radio/0 +1 +cyclic ".into()))
        .run()?;
    outcome.expect_line(r"^nav +\| periodic: so far .* missed=0$")?;
    outcome.expect_no_line(r"^nav +\| periodic: so far .* missed=[1-9]")?;
    let said = Regex::new(r"(?m)^control +\| periodic: so far cycles=(\d+) .* missed=(\d+)\r?$")?;
    let last = said.captures_iter(&outcome.serial).last();
    let last = last.context("the control loop has said nothing")?;
    let (cycles, missed): (u64, u64) = (last[1].parse()?, last[2].parse()?);
    ensure!(
        cycles > 10_000 && missed * 1000 <= cycles,
        "{missed} of {cycles} periods were missed"
    );
    outcome.expect_line(r"^control/0 +0 +600us of 1ms +")?;
    outcome.expect_line(r"^debian/0 +0 +weight 200 +")?;
    Ok(())
}

/// Debian's kernel by its PVH entry.
fn pvh() -> Result<()> {
    let outcome = example("pvh.toml")?
        .send("debian:/# ", "uname -r; poweroff\n")
        .run()?;
    outcome.expect_line("vm: end reason=power-off ")?;
    Ok(())
}

fn main() -> ExitCode {
    qemu_tests::main(vec![
        qemu_tests::test!(mixed),
        qemu_tests::test!(partitions),
        qemu_tests::test!(pvh),
    ])
}
