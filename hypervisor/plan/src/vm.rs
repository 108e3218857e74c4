//! One `[[vm]]` table to a [`Vm`].

use crate::excerpt::quoted;
use crate::file::{self, Look};
use crate::fit;
use crate::refusal::{Finding, Findings, Refused};
use crate::table::{self, Table, wrong_type};
use crate::units::{self, Bytes, Wrong};
use crate::{Format, Start, Vm};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::ops::Range;
use spec::Gpa;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The keys of `[[vm]]`, in the order in which they are documented.
const KEYS: &[&str] = &[
    "name", "kernel", "format", "load", "start", "initrd", "cmdline", "memory",
];

/// Longest name, in characters.
const MAX_NAME: usize = 31;
/// Longest command line, in bytes without the NUL: COMMAND_LINE_SIZE of x86 Linux is 2048.
const MAX_CMDLINE: usize = 2047;
/// Step and least amount of memory: the pages with which nested tables map it.
const MEMORY_STEP: u64 = 2 << 20;
/// Most memory of one VM: beyond it is a typing error rather than a wish.
const MAX_MEMORY: u64 = 1 << 40;

const NAME: &str = r#"name = "debian""#;
const KERNEL: &str = r#"kernel = "debian/vmlinuz""#;
const INITRD: &str = r#"initrd = "debian/initrd.img""#;
const LOAD: &str = r#"load = "0x100000""#;
const CMDLINE: &str = r#"cmdline = "console=ttyS0""#;
const MEMORY: &str = r#"memory = "256 MiB""#;

/// What was read of one `[[vm]]`: the VM, and apart from it what checks across VMs look at.
pub(crate) struct Read {
    pub(crate) vm: Result<Vm, Refused>,
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) memory: Option<Spanned<u64>>,
}

/// Reads one `[[vm]]` whose header is at `at`.
pub(crate) fn read(
    keys: &DeTable<'_>,
    at: Range<usize>,
    look: &Look<'_>,
    findings: &mut Findings,
) -> Read {
    let table = Table::new(keys, at, "[[vm]]", KEYS, findings);
    let name = match table.get("name") {
        Some(value) => name(value, findings),
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
        .map(|value| cmdline(value, findings))
        .transpose();
    let format = format(&table, findings);
    let memory = match table.get("memory") {
        Some(value) => memory(value, findings),
        None => Err(table.missing_line("memory", MEMORY, findings)),
    };

    if let (Ok(kernel), Ok(Some(initrd))) = (&kernel, &initrd)
        && kernel.path.eq_ignore_ascii_case(&initrd.path)
    {
        findings.add(
            Finding::new("kernel and initrd are the same file", initrd.at.clone())
                .label("the same path")
                .related(kernel.at.clone(), "the kernel")
                .mend("name the initrd's own file, or leave the key out"),
        );
    }
    if let (Ok(format), Ok(kernel), Ok(initrd), Ok(memory)) = (&format, &kernel, &initrd, &memory) {
        match format {
            Format::Flat { load, start } => {
                let place = Spanned::new(table.value_place("load"), (*load, *start));
                fit::flat(&place, kernel.size, memory, findings);
            }
            _ => fit::files(
                kernel.size,
                initrd.as_ref().and_then(|file| file.size),
                memory,
                findings,
            ),
        }
    }

    let (placed_name, placed_memory) = (name.as_ref().ok().cloned(), memory.as_ref().ok().cloned());
    let whole = || {
        Ok(Vm {
            name: name?.into_inner(),
            kernel: kernel?.path,
            format: format?,
            initrd: initrd?.map(|file| file.path),
            cmdline: cmdline?.unwrap_or_default(),
            memory: memory?.into_inner(),
        })
    };
    Read {
        vm: whole(),
        name: placed_name,
        memory: placed_memory,
    }
}

fn name(value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Result<Spanned<String>, Refused> {
    let name = table::string(value, "name", NAME, findings)?;
    let label = match name
        .bytes()
        .position(|b| !matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    {
        None if name.is_empty() => "this is empty".to_owned(),
        None if name.len() > MAX_NAME => format!("this has {} characters", name.len()),
        None => return Ok(Spanned::new(value.span(), name.to_owned())),
        Some(at) => match name.get(at..).and_then(|rest| rest.chars().next()) {
            Some(' ') => "a space cannot be in a name".to_owned(),
            bad => format!(
                "`{}` cannot be in a name",
                bad.unwrap_or_default().escape_default()
            ),
        },
    };
    Err(findings.add(
        Finding::new(
            format!("\"{}\" cannot be the name of a VM", quoted(name)),
            value.span(),
        )
        .label(label)
        .mend(format!(
            "use 1 to {MAX_NAME} characters out of a-z, 0-9 and -, such as \"debian-1\""
        )),
    ))
}

fn cmdline(value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Result<String, Refused> {
    let text = table::string(value, "cmdline", CMDLINE, findings)?;
    let finding = match text.chars().find(|c| !matches!(c, ' '..='~')) {
        None if text.len() <= MAX_CMDLINE => return Ok(text.to_owned()),
        None => Finding::new("the command line is too long", value.span())
            .label(format!("this has {} bytes", text.len()))
            .mend(format!(
                "a Linux kernel takes {MAX_CMDLINE} bytes at most: shorten it"
            )),
        Some(bad) => Finding::new(
            "the command line has a character that is not printable ASCII",
            value.span(),
        )
        .label(format!("this contains `{}`", bad.escape_default()))
        .mend("leave it out; a kernel's parameters are separated by spaces"),
    };
    Err(findings.add(finding))
}

fn memory(value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Result<Spanned<u64>, Refused> {
    let wrong = match value.get_ref() {
        DeValue::String(text) => match units::amount(text) {
            Ok(bytes) => match refusable(bytes) {
                None => return Ok(Spanned::new(value.span(), bytes)),
                Some(wrong) => wrong,
            },
            Err(wrong) => wrong,
        },
        DeValue::Integer(number) => Wrong {
            what: "the unit is missing",
            mend: u64::from_str_radix(number.as_str(), number.radix())
                .ok()
                .map(units::meant),
        },
        _ => {
            return Err(wrong_type(
                value,
                "memory",
                "an amount of memory",
                MEMORY,
                findings,
            ));
        }
    };
    // Mends are guesses from the text: only one that would be taken is worth showing.
    let right = |mend: &String| units::amount(mend).is_ok_and(|bytes| refusable(bytes).is_none());
    let finding = Finding::new("this cannot be a VM's memory", value.span()).label(wrong.what);
    Err(findings.add(match wrong.mend.filter(right) {
        Some(mend) => finding.mend(format!("write  memory = \"{mend}\"")),
        None => finding.mend(format!(
            "a multiple of {}, at most {}, such as  {MEMORY}",
            Bytes(MEMORY_STEP),
            Bytes(MAX_MEMORY)
        )),
    }))
}

/// Why a VM cannot have this much memory, if it cannot.
fn refusable(bytes: u64) -> Option<Wrong> {
    let what = match bytes {
        0 => "a VM needs memory",
        _ if bytes > MAX_MEMORY => "this is too much",
        _ if !bytes.is_multiple_of(MEMORY_STEP) => "this is not a multiple of 2 MiB",
        _ => return None,
    };
    Some(Wrong {
        what,
        mend: bytes
            .checked_next_multiple_of(MEMORY_STEP)
            .map(|n| format!("{}", Bytes(n))),
    })
}

/// The three keys that say what the kernel file is.
fn format(table: &Table<'_>, findings: &mut Findings) -> Result<Format, Refused> {
    const FLAT: Format = Format::Flat {
        load: Gpa(0),
        start: Start::Long,
    };
    const FORMATS: &[(&str, Format)] = &[
        ("auto", Format::Auto),
        ("bzimage", Format::BzImage),
        ("elf64", Format::Elf64),
        ("flat", FLAT),
    ];
    const STARTS: &[(&str, Start)] = &[
        ("long", Start::Long),
        ("protected", Start::Protected),
        ("real", Start::Real),
    ];

    let format = match table.get("format") {
        Some(value) => table::choice(value, "format", FORMATS, findings)?,
        None => Format::Auto,
    };
    let load = table
        .get("load")
        .map(|value| load(value, findings))
        .transpose();
    let start = table
        .get("start")
        .map(|value| table::choice(value, "start", STARTS, findings))
        .transpose();
    let flat = format == FLAT;
    for (key, is_for_flat) in [
        ("load", true),
        ("start", true),
        ("initrd", false),
        ("cmdline", false),
    ] {
        if table.get(key).is_some() && is_for_flat != flat {
            let (what, mend) = match flat {
                true => (
                    "has no meaning for a flat binary: nothing would tell it",
                    "leave it out",
                ),
                false => (
                    "is for flat binaries only",
                    "leave it out, or add  format = \"flat\"",
                ),
            };
            findings.add(
                Finding::new(format!("`{key}` {what}"), table.place(key))
                    .label("not here")
                    .mend(mend),
            );
        }
    }
    if !flat {
        return Ok(format);
    }
    match load? {
        Some(load) => Ok(Format::Flat {
            load,
            start: start?.unwrap_or(Start::Long),
        }),
        None => Err(findings.add(
            Finding::new("a flat binary needs an address", table.place("format"))
                .label("flat, but there is no `load`")
                .mend(format!("add a line such as  {LOAD}")),
        )),
    }
}

fn load(value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Result<Gpa, Refused> {
    let wrong = match value.get_ref() {
        DeValue::String(text) => match units::address(text) {
            Ok(address) => return Ok(Gpa(address)),
            Err(wrong) => wrong,
        },
        DeValue::Integer(number) => match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(address) => return Ok(Gpa(address)),
            Err(_) => Wrong {
                what: "this is not a 64-bit address",
                mend: None,
            },
        },
        _ => return Err(wrong_type(value, "load", "an address", LOAD, findings)),
    };
    let mend = wrong.mend.map_or_else(
        || LOAD.to_owned(),
        |address| format!("load = \"{address}\""),
    );
    Err(findings.add(
        Finding::new("this cannot be a load address", value.span())
            .label(wrong.what)
            .mend(format!("write  {mend}")),
    ))
}
