//! The isolation certificate: of the machine as it is, nothing is found; of one that has done wrong on purpose, that is.

use anyhow::{Context, Result, bail, ensure};
use checker::Finding;
use plan::{Facts, Plan};
use proto::certificate::Fault;
use proto::{Answer, Command};
use qemu_tests::test;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use tempfile::TempDir;
use xtask::build::{self, Programs};
use xtask::certify::Asked;
use xtask::image::{Contents, Source};
use xtask::machine::{Machine, Topology};
use xtask::own::Own;
use xtask::report::Reporter;
use xtask::{config, kit, need, tools, workspace};

/// Emulated seconds.
const LIMIT: u32 = 600;
/// A Debian is at its shell by then, with its local APICs where they stay.
const SETTLED: u64 = 35_000_000_000;

/// Cargo has one file for both images.
static IMAGES: Mutex<()> = Mutex::new(());

/// A machine that has been booted for this, and the plan that it is of.
struct Booted {
    own: Own,
    plan: Plan,
    _disk: TempDir,
}

impl Booted {
    fn new(
        programs: fn() -> Result<Programs>,
        text: &str,
        plan: Plan,
        files: BTreeMap<String, PathBuf>,
        size: u64,
    ) -> Result<Self> {
        let machine = Machine {
            cpus: Topology::flat(need::cores(&plan)?),
            memory: need::memory(&plan, size)?,
            limit: Some(LIMIT),
            ..Machine::default()
        };
        let folder = tempfile::Builder::new().prefix("bulkhead-").tempdir()?;
        let disk = folder.path().join("disk.img");
        let one_at_a_time = IMAGES.lock().unwrap_or_else(PoisonError::into_inner);
        let mut contents = Contents::new(&programs()?, text);
        for (named, path) in files {
            contents.add(&format!("bulkhead/{named}"), Source::Path(path));
        }
        contents.write(&disk)?;
        drop(one_at_a_time);
        let runner = tools::bochs(&Reporter::new())?;
        Ok(Self {
            own: Own::up(runner.start(&machine, &disk)?)?,
            plan,
            _disk: folder,
        })
    }

    fn wait(&self, at: u64) -> Result<()> {
        self.asked(|asked| asked.wait(&self.plan, at))
    }

    fn findings(&self) -> Result<Vec<Finding>> {
        let survey = self.asked(|asked| asked.collect(&self.plan))?;
        Ok(checker::check(&self.plan, &survey))
    }

    fn asked<T>(&self, then: impl FnOnce(&mut Asked<'_>) -> Result<T>) -> Result<T> {
        then(&mut Asked {
            ask: &mut |command| self.own.ask(command),
            pause: &mut sleep,
        })
    }

    fn plant(&self, vm: &str, fault: Fault) -> Result<()> {
        let vm = vm.to_owned();
        match self.own.ask(Command::Plant { vm, fault })? {
            Answer::Done(_) => Ok(()),
            Answer::Refused(why) => bail!("{fault:?}: {why}"),
            other => bail!("{fault:?}: {other:?}"),
        }
    }
}

/// The example, as it stands, at its guests' shells.
fn partitions_are_certified() -> Result<()> {
    let report = Reporter::new();
    let file = workspace::root().join("examples/partitions.toml");
    let config = config::load(&file, &|named: &str| kit::file(named, &report))?;
    let size = config.size_of_files()?;
    let booted = Booted::new(
        build::programs,
        &config.text,
        config.plan,
        config.files,
        size,
    )?;
    booted.wait(SETTLED)?;
    let survey = booted.asked(|asked| asked.collect(&booted.plan))?;
    let certificate = checker::certify(&config.name, &booted.plan, survey);
    ensure!(certificate.holds(), "{}", certificate.summary());
    // It is of all that there can be.
    let carried = |by: &str| {
        certificate
            .survey
            .vcpus
            .iter()
            .any(|vcpu| vcpu.carrier == by)
    };
    ensure!(
        carried("direct") && carried("accelerated"),
        "{}",
        certificate.summary()
    );
    ensure!(certificate.survey.unstarted.is_empty(), "a vCPU sleeps");
    booted.own.off()
}

/// What is planted, in which VM, and the rules that are to find it.
const PLANTED: &[(Fault, &str, &[&str])] = &[
    (
        Fault::ForeignPage,
        "one",
        &["disjoint", "own-memory", "ram", "rights"],
    ),
    (Fault::OwnPage, "two", &["own-memory"]),
    (Fault::ApicPage, "one", &["memory-only"]),
    (Fault::StaleMapping, "two", &["own-memory"]),
    (Fault::CacheType, "one", &["rights"]),
    (Fault::MsrBit, "two", &["msrs"]),
    (Fault::PortBit, "one", &["ports"]),
    (Fault::Control, "two", &["controls"]),
    (Fault::LostFrame, "one", &["frames"]),
    (Fault::WritableCode, "two", &["w-xor-x"]),
];

/// Two guests that do nothing wrong, and go on.
fn two() -> Result<(String, Plan, BTreeMap<String, PathBuf>)> {
    let vm = |name: &str| {
        format!(
            "[[vm]]\nname = \"{name}\"\nkernel = \"guests/periodic.elf\"\nformat = \"elf64\"\nmemory = \"16 MiB\"\n"
        )
    };
    let text = vm("one") + &vm("two");
    let plan = plan::parse(&text, "two.toml", &Facts::default()).map_err(anyhow::Error::msg)?;
    let guests = build::guests()?;
    let guest = guests
        .get("periodic")
        .context("there is no such guest")?
        .clone();
    Ok((
        text,
        plan,
        BTreeMap::from([("guests/periodic.elf".to_owned(), guest)]),
    ))
}

/// One after the other, on one machine: what is found new each time is what was planted.
fn each_planted_fault_is_found() -> Result<()> {
    let (text, plan, files) = two()?;
    let booted = Booted::new(build::planted, &text, plan, files, 1 << 20)?;
    booted.wait(0)?;
    let mut before = booted.findings()?;
    ensure!(
        before.is_empty(),
        "before anything was planted: {before:#?}"
    );
    for (fault, vm, rules) in PLANTED {
        booted.plant(vm, *fault)?;
        let after = booted.findings()?;
        let new: Vec<_> = after
            .iter()
            .filter(|finding| !before.contains(finding))
            .collect();
        for rule in *rules {
            let found = new.iter().any(|finding| finding.rule == *rule);
            ensure!(
                found,
                "{fault:?} in {vm} is not found by `{rule}`: {new:#?}"
            );
        }
        before = after;
    }
    booted.own.off()
}

/// What is built for users does nothing wrong on purpose.
fn an_image_for_users_refuses_to_do_wrong() -> Result<()> {
    let (text, plan, files) = two()?;
    let booted = Booted::new(build::programs, &text, plan, files, 1 << 20)?;
    booted.wait(0)?;
    for (fault, vm, _) in PLANTED {
        ensure!(booted.plant(vm, *fault).is_err(), "{fault:?} was planted");
    }
    let found = booted.findings()?;
    ensure!(found.is_empty(), "{found:#?}");
    booted.own.off()
}

fn main() -> ExitCode {
    qemu_tests::main(vec![
        test!(partitions_are_certified),
        test!(each_planted_fault_is_found),
        test!(an_image_for_users_refuses_to_do_wrong),
    ])
}
