//! What to boot, on what machine, and what to say to it.

use crate::elf32;
use crate::ends::Ends;
use crate::flat;
use crate::outcome::Outcome;
use crate::step::{Does, Hears, Step};
use crate::talk::{Line, Talk};
use crate::tools;
use anyhow::{Context, Result, ensure};
use plan::Start;
use proto::Command;
use proto::certificate::Fault;
use xtask::image::{Contents, Source};
use xtask::machine::{Machine, Topology};
use xtask::supply::Suite;

/// Emulated seconds that a test may take unless it says otherwise: firmware needs 13.
const LIMIT: u32 = 60;

/// What to boot. Every guest is called by its program's name in our log.
#[derive(Clone, Debug)]
pub struct Boot {
    config: String,
    files: Vec<(String, File)>,
    without: Vec<String>,
    machine: Machine,
    script: Vec<Step>,
    ends: Ends,
    qemu: bool,
    planted: bool,
}

#[derive(Clone, Debug)]
enum File {
    Source(Source),
    Guest(String),
    Guest32(String),
    Flat(String),
}

/// What the clock of every machine shows at power-on: 15 January 2027, 08:00 UTC.
pub const POWER_ON: u64 = 1_800_000_000;

impl Boot {
    /// Boots with this text as `bulkhead.toml`, right or wrong.
    #[must_use]
    pub fn config(text: &str) -> Boot {
        Boot {
            config: text.to_owned(),
            files: Vec::new(),
            without: Vec::new(),
            machine: Machine {
                limit: Some(LIMIT),
                memory: 256,
                clock: Some(POWER_ON),
                ..Machine::default()
            },
            script: Vec::new(),
            ends: Ends::default(),
            qemu: false,
            planted: false,
        }
    }

    /// Boots one tiny guest, as an ELF64 file.
    #[must_use]
    pub fn guest(name: &str) -> Boot {
        let vm = dashed(name);
        Boot::config(&format!(
            "[[vm]]\nname = \"{vm}\"\nkernel = \"{vm}.elf\"\nformat = \"elf64\"\nmemory = \"16 MiB\"\n"
        ))
        .with(&format!("{vm}.elf"), File::Guest(name.to_owned()))
    }

    /// Boots one tiny guest, as a flat binary that starts at `load`, where it is linked to.
    #[must_use]
    pub fn flat(name: &str, load: u64, start: Start) -> Boot {
        let vm = dashed(name);
        let start = match start {
            Start::Real => "real",
            Start::Protected => "protected",
            Start::Long => "long",
        };
        Boot::config(&format!(
            "[[vm]]\nname = \"{vm}\"\nkernel = \"{vm}.bin\"\nformat = \"flat\"\nload = \"{load:#x}\"\n\
             start = \"{start}\"\nmemory = \"16 MiB\"\n"
        ))
        .with(&format!("{vm}.bin"), File::Flat(name.to_owned()))
    }

    /// Boots several tiny guests as ELF64 files, each a VM of 16 MiB: its name, its program, and further lines of its config.
    #[must_use]
    pub fn guests(vms: &[(&str, &str, &str)]) -> Boot {
        Boot::guests_under("", vms)
    }

    /// The same, with `head` above them in the config.
    #[must_use]
    pub fn guests_under(head: &str, vms: &[(&str, &str, &str)]) -> Boot {
        let vm = |(name, _, lines): &(&str, &str, &str)| {
            format!(
                "[[vm]]\nname = \"{name}\"\nkernel = \"{name}.elf\"\nformat = \"elf64\"\nmemory = \"16 MiB\"\n{lines}\n"
            )
        };
        let vms_text: String = vms.iter().map(vm).collect();
        let boot = Boot::config(&format!("{head}{vms_text}"));
        vms.iter().fold(boot, |boot, (name, guest, _)| {
            boot.guest_file(&format!("{name}.elf"), guest)
        })
    }

    /// Boots the Debian guest of a suite, as `examples/debian.toml` has it.
    ///
    /// # Errors
    /// When the guest cannot be had.
    pub fn debian(suite: Suite) -> Result<Boot> {
        let text = std::fs::read_to_string(xtask::config::default())?;
        let boot = Boot::config(&text).with_debian(suite)?;
        Ok(boot.memory(512).limit(300))
    }

    /// Adds the Debian guest of a suite beside the config, as `debian/vmlinuz` and `debian/initrd.img`.
    ///
    /// # Errors
    /// When the guest cannot be had.
    pub fn with_debian(self, suite: Suite) -> Result<Boot> {
        let kit = tools::debian(suite)?;
        Ok(self
            .file("debian/vmlinuz", Source::Path(kit.kernel))
            .file("debian/initrd.img", Source::Path(kit.initrd)))
    }

    /// Adds a file beside the config, or replaces the one at this path.
    #[must_use]
    pub fn file(self, path: &str, source: Source) -> Boot {
        self.with(path, File::Source(source))
    }

    /// Adds a tiny guest's ELF file beside the config.
    #[must_use]
    pub fn guest_file(self, path: &str, guest: &str) -> Boot {
        self.with(path, File::Guest(guest.to_owned()))
    }

    /// Adds a tiny guest beside the config as an ELF file for 32-bit x86.
    #[must_use]
    pub fn guest_file_32(self, path: &str, guest: &str) -> Boot {
        self.with(path, File::Guest32(guest.to_owned()))
    }

    /// Adds a tiny guest beside the config as a flat binary.
    #[must_use]
    pub fn flat_file(self, path: &str, guest: &str) -> Boot {
        self.with(path, File::Flat(guest.to_owned()))
    }

    fn with(mut self, path: &str, file: File) -> Boot {
        self.files.push((format!("bulkhead/{path}"), file));
        self
    }

    /// Adds a file anywhere on the partition.
    #[must_use]
    pub fn esp_file(mut self, path: &str, source: Source) -> Boot {
        self.files.push((path.to_owned(), File::Source(source)));
        self
    }

    /// Leaves a file of the partition out, such as `bulkhead/hypervisor.elf`.
    #[must_use]
    pub fn without(mut self, path: &str) -> Boot {
        self.without.push(path.to_owned());
        self
    }

    /// The CPU model, as Bochs names it.
    #[must_use]
    pub fn cpu_model(mut self, name: &str) -> Boot {
        name.clone_into(&mut self.machine.cpu_model);
        self
    }

    /// Boots an image that does wrong when it is told to, by the command `Plant`.
    #[must_use]
    pub fn planted(mut self) -> Boot {
        self.planted = true;
        self
    }

    /// Boots in QEMU without VT-x, whose machine is another than Bochs's; its emulated seconds are the wall clock's.
    #[must_use]
    pub fn on_qemu(mut self) -> Boot {
        self.qemu = true;
        self
    }

    /// Logical processors of the machine: 1 unless said.
    #[must_use]
    pub fn cpus(mut self, count: u32) -> Boot {
        self.machine.cpus = Topology::flat(count);
        self
    }

    /// Logical processors of the machine, and how they lie, as `packages:cores:threads`.
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn topology(mut self, text: &str) -> Result<Boot> {
        self.machine.cpus = text.parse().map_err(|why: String| anyhow::anyhow!(why))?;
        Ok(self)
    }

    /// Memory of the machine in MiB: 256 unless said.
    #[must_use]
    pub fn memory(mut self, mebibytes: u32) -> Boot {
        self.machine.memory = mebibytes;
        self
    }

    /// Emulated seconds after which the test has failed: 60 unless said, of which firmware takes 13.
    #[must_use]
    pub fn limit(mut self, seconds: u32) -> Boot {
        self.machine.limit = Some(seconds);
        self
    }

    /// Sends `text` when the regular expression `after` is seen on the serial line, the steps one after the other.
    #[must_use]
    pub fn send(self, after: &str, text: &str) -> Boot {
        self.step(Hears::Line, after, Does::Send(text.to_owned()))
    }

    /// Types `text` to a VM, by its number in the config, when the regular expression `after` is seen on that VM's console, both
    /// on the second serial line.
    #[must_use]
    pub fn type_to(self, vm: usize, after: &str, text: &str) -> Boot {
        self.step(Hears::Console(vm), after, Does::Type(vm, text.to_owned()))
    }

    /// Has the machine carry out a command, such as `vm stop a`, when the regular expression `after` is seen on the serial line,
    /// or at once if that is empty; the next step waits for the answer, which [`Outcome::answers`] has.
    #[must_use]
    pub fn ctl(self, after: &str, command: &str) -> Boot {
        self.step(Hears::Line, after, Does::Ask(command.to_owned()))
    }

    /// The same, when `after` is seen on the console of a VM.
    #[must_use]
    pub fn ctl_after(self, vm: usize, after: &str, command: &str) -> Boot {
        self.step(Hears::Console(vm), after, Does::Ask(command.to_owned()))
    }

    /// Has a machine that was [`Boot::planted`] do a thing wrong to a VM, when `after` is seen on the serial line, as [`Boot::ctl`].
    #[must_use]
    pub fn plant(self, after: &str, vm: &str, fault: Fault) -> Boot {
        let vm = vm.to_owned();
        self.step(
            Hears::Line,
            after,
            Does::Command(Command::Plant { vm, fault }),
        )
    }

    fn step(mut self, hears: Hears, after: &str, does: Does) -> Boot {
        self.script.push(Step {
            hears,
            after: after.to_owned(),
            does,
        });
        self
    }

    /// The end that the test wants to see: [`Ends::Off`] unless said.
    #[must_use]
    pub fn ends(mut self, ends: Ends) -> Boot {
        self.ends = ends;
        self
    }

    /// Boots, and waits for the end.
    ///
    /// # Errors
    /// When it does not come to the end that the test wants to see, or the hypervisor touched an unknown MSR. The
    /// error shows the serial line.
    pub fn run(self) -> Result<Outcome> {
        let runner = if self.qemu {
            tools::qemu()?
        } else {
            tools::bochs()?
        };
        let folder = tempfile::Builder::new().prefix("bulkhead-").tempdir()?;
        let disk = folder.path().join("disk.img");
        self.contents()?.write(&disk)?;
        let mut running = runner.start(&self.machine, &disk)?;
        let mut talk = Talk::new(&self.script, &self.ends)?;
        let line = talk.follow(&mut running)?;
        let grace = std::time::Duration::from_secs(if line == Line::Closed { 10 } else { 0 });
        let outcome = Outcome::new(talk.into_heard(), running.finish(grace)?);
        outcome.judge(&self.ends)?;
        ensure!(
            self.script.len() == outcome.answered(),
            "only {} of {} steps of the script were reached\n{}",
            outcome.answered(),
            self.script.len(),
            outcome.tail()
        );
        Ok(outcome)
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    pub(crate) fn contents(&self) -> Result<Contents> {
        let programs = match self.planted {
            true => tools::planted()?,
            false => tools::programs()?,
        };
        let mut contents = Contents::new(programs, &self.config);
        for (path, file) in &self.files {
            let source = match file {
                File::Source(source) => source.clone(),
                File::Guest(name) => Source::Path(tools::guest(name)?),
                File::Guest32(name) => {
                    let elf = std::fs::read(tools::guest(name)?)?;
                    Source::Bytes(elf32::narrow(&elf).with_context(|| name.clone())?)
                }
                File::Flat(name) => {
                    let elf = std::fs::read(tools::guest(name)?)?;
                    Source::Bytes(flat::flatten(&elf).with_context(|| name.clone())?)
                }
            };
            contents.add(path, source);
        }
        for path in &self.without {
            contents.remove(path);
        }
        Ok(contents)
    }
}

/// Names of VMs have dashes where those of programs have underscores.
fn dashed(name: &str) -> String {
    name.replace('_', "-")
}
