//! One `[[vm]]` table to a [`Vm`].

use crate::file::{self, File, Look};
use crate::modules::Modules;
use crate::refusal::{Finding, Findings, Refused};
use crate::table::Table;
use crate::{
    Format, Start, Vm, cores, document, fit, format, interrupts, modules, recovery, table, value,
    watchdog,
};
use alloc::string::String;
use core::ops::Range;
use toml::Spanned;
use toml::de::DeTable;

/// The keys of `[[vm]]`, in the order in which they are documented.
pub(crate) const KEYS: &[&str] = &[
    "name",
    "kernel",
    "format",
    "load",
    "start",
    "initrd",
    "cmdline",
    "modules",
    "memory",
    "vcpus",
    "cores",
    "weight",
    "budget",
    "period",
    "interrupts",
    "exits",
    "boot",
    "autostart",
    "on_crash",
    "on_reboot",
    "restarts",
    "restart_delay",
    "restart_window",
    "watchdog",
];
/// Keys that are not among them because they belong to the whole file.
const OF_THE_FILE: (&[&str], &str) = (document::KEYS, "write it above the first `[[vm]]`");

const NAME: &str = r#"name = "debian""#;
const KERNEL: &str = r#"kernel = "debian/vmlinuz""#;
const INITRD: &str = r#"initrd = "debian/initrd.img""#;
const AUTOSTART: &str = "autostart = false";
const MEMORY: &str = r#"memory = "256 MiB""#;

/// What was read of one `[[vm]]`: the VM, and apart from it what checks across VMs look at.
pub(crate) struct Read {
    pub(crate) vm: Result<Vm, Refused>,
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) memory: Option<Spanned<u64>>,
    pub(crate) wish: Option<cores::Wish>,
    pub(crate) interrupts: Option<interrupts::Asked>,
}

/// Reads one `[[vm]]` whose header is at `at`.
pub(crate) fn read(
    keys: &DeTable<'_>,
    at: Range<usize>,
    look: &Look<'_>,
    findings: &mut Findings,
) -> Read {
    let table = Table::new(keys, at, "[[vm]]", KEYS, OF_THE_FILE, findings);
    let name = match table.get("name") {
        Some(text) => value::name(text, findings),
        None => Err(table.missing_line("name", NAME, findings)),
    };
    let kernel = match table.get("kernel") {
        Some(value) => file::read(value, "kernel", KERNEL, look, findings),
        None => Err(table.missing_line("kernel", KERNEL, findings)),
    };
    let initrd = table
        .get("initrd")
        .map(|value| file::read(value, "initrd", INITRD, look, findings))
        .transpose();
    let cmdline = table
        .get("cmdline")
        .map(|text| value::cmdline(text, findings))
        .transpose();
    let format = format::read(&table, findings);
    let modules = modules::read(&table, format.as_ref().ok().copied(), look, findings);
    let memory = match table.get("memory") {
        Some(text) => value::memory(text, findings),
        None => Err(table.missing_line("memory", MEMORY, findings)),
    };
    let wish = cores::read(&table, findings);
    let interrupts = interrupts::read(&table, findings);
    let autostart = table
        .get("autostart")
        .map(|value| table::boolean(value, "autostart", AUTOSTART, findings))
        .transpose();
    let recovery = recovery::read(&table, findings);
    let exits = interrupts.as_ref().ok().map(|asked| asked.exits);
    let watchdog = watchdog::read(&table, exits, findings);

    if let (Ok(kernel), Ok(initrd), Ok(modules)) = (&kernel, &initrd, &modules) {
        files_agree(kernel, initrd.as_ref(), findings);
        if let (Ok(format), Ok(memory)) = (&format, &memory) {
            let rest = rest(initrd.as_ref(), modules);
            files_fit(&table, *format, kernel, rest, memory, findings);
        }
    }

    let claims = (
        name.as_ref().ok().cloned(),
        memory.as_ref().ok().cloned(),
        wish.as_ref().ok().cloned(),
        interrupts.as_ref().ok().cloned(),
    );
    let whole = || {
        let (wish, interrupts) = (wish?, interrupts?);
        Ok(Vm {
            name: name?.into_inner(),
            kernel: kernel?.path,
            format: format?,
            initrd: initrd?.map(|file| file.path),
            cmdline: cmdline?.unwrap_or_default(),
            modules: modules?.list,
            memory: memory?.into_inner(),
            vcpus: wish.vcpus,
            runs: wish.runs(),
            interrupts: interrupts.interrupts,
            exits: interrupts.exits,
            autostart: autostart?.unwrap_or(true),
            recovery: recovery?,
            watchdog: watchdog?,
        })
    };
    Read {
        vm: whole(),
        name: claims.0,
        memory: claims.1,
        wish: claims.2,
        interrupts: claims.3,
    }
}

/// What is handed over beside the kernel, if it is known how much: its name and its bytes.
fn rest(initrd: Option<&File>, modules: &Modules) -> Option<(&'static str, u64)> {
    let initrd = initrd.and_then(|initrd| Some(("initrd", initrd.size?)));
    initrd.or(modules.size.map(|size| ("modules", size)))
}

fn files_agree(kernel: &File, initrd: Option<&File>, findings: &mut Findings) {
    // FAT does not tell capitals from small letters.
    if let Some(initrd) = initrd.filter(|initrd| initrd.path.eq_ignore_ascii_case(&kernel.path)) {
        findings.add(
            Finding::new("kernel and initrd are the same file", initrd.at.clone())
                .label("the same path")
                .related(kernel.at.clone(), "the kernel")
                .mend("name the initrd's own file, or leave the key out"),
        );
    }
}

fn files_fit(
    table: &Table<'_>,
    format: Format,
    kernel: &File,
    rest: Option<(&'static str, u64)>,
    memory: &Spanned<u64>,
    findings: &mut Findings,
) {
    if format == Format::Multiboot && table.get("initrd").is_some() {
        findings.add(
            Finding::new(
                "`initrd` has no meaning for a Multiboot kernel",
                table.place("initrd"),
            )
            .label("Multiboot hands over modules")
            .mend("write it as a module: `modules = [\"path\"]`"),
        );
    }
    if let Format::Flat { load, start } = format {
        for key in ["initrd", "cmdline"] {
            if start == Start::Real && table.get(key).is_some() {
                findings.add(
                    Finding::new(
                        alloc::format!(
                            "`{key}` has no meaning for a binary that starts in real mode"
                        ),
                        table.place(key),
                    )
                    .label("no boot protocol hands this over")
                    .mend("leave it out, or start in protected or long mode"),
                );
            }
        }
        let place = Spanned::new(table.value_place("load"), (load, start));
        if !fit::flat(&place, kernel.size, memory, findings) {
            return;
        }
    }
    fit::files(kernel.size, rest, memory, findings);
}
