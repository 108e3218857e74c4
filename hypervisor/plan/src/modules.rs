//! The key `modules`: files that a Multiboot kernel is given beside itself.

use crate::file::{self, Look};
use crate::refusal::{Finding, Findings, Refused};
use crate::table::{self, Table, wrong_type};
use crate::{Format, Module, value};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use toml::Spanned;
use toml::de::DeValue;

/// Most modules of one VM: more than any kernel asks for, and few enough to be listed to it.
const MAX_MODULES: usize = 64;

/// The keys of a module.
const KEYS: &[&str] = &["file", "cmdline"];

const MODULES: &str = r#"modules = ["app/initrd.img"]"#;
const MODULE: &str = r#"modules = [{ file = "app/initrd.img", cmdline = "root" }]"#;
const FILE: &str = r#"file = "app/initrd.img""#;

/// The modules, and the sum of their sizes as far as they are known.
pub(crate) struct Modules {
    pub(crate) list: Vec<Module>,
    pub(crate) size: Option<u64>,
}

/// Reads the key, for a kernel of `format` if that is known.
pub(crate) fn read(
    table: &Table<'_>,
    format: Option<Format>,
    look: &Look<'_>,
    findings: &mut Findings,
) -> Result<Modules, Refused> {
    let none = Modules {
        list: Vec::new(),
        size: None,
    };
    let Some(value) = table.get("modules") else {
        return Ok(none);
    };
    let Some(modules) = value.get_ref().as_array() else {
        return Err(wrong_type(value, "modules", "an array", MODULES, findings));
    };
    if modules.len() > MAX_MODULES {
        return Err(findings.add(
            Finding::new("too many modules", value.span())
                .label(format!("these are {}", modules.len()))
                .mend(format!("hand over {MAX_MODULES} at most")),
        ));
    }
    if format.is_some_and(|format| format != Format::Multiboot) {
        findings.add(
            Finding::new(
                "`modules` are for Multiboot kernels only",
                table.place("modules"),
            )
            .label("not for this format")
            .mend("leave them out, or add `format = \"multiboot\"`"),
        );
    }
    // All of them are looked at, so that all that is wrong is told at once.
    let read: Vec<_> = modules
        .iter()
        .map(|value| module(value, look, findings))
        .collect();
    let mut all = none;
    for module in read {
        let (module, size) = module?;
        all.list.push(module);
        all.size = match (all.size, size) {
            (sum, None) => sum,
            (sum, Some(size)) => Some(sum.unwrap_or(0).saturating_add(size)),
        };
    }
    Ok(all)
}

fn module(
    value: &Spanned<DeValue<'_>>,
    look: &Look<'_>,
    findings: &mut Findings,
) -> Result<(Module, Option<u64>), Refused> {
    let (file, cmdline) = match value.get_ref() {
        DeValue::String(_) => (
            file::read(value, "module", MODULES, look, findings)?,
            String::new(),
        ),
        DeValue::Table(keys) => {
            let elsewhere = (&[] as &[&str], "");
            let table = Table::new(keys, value.span(), "a module", KEYS, elsewhere, findings);
            let file = match table.get("file") {
                Some(value) => file::read(value, "module", FILE, look, findings),
                None => Err(table.missing("file", findings, || {
                    Finding::new("`file` is missing in a module", value.span())
                        .label("this has no `file`")
                        .mend(format!("write `{MODULE}`"))
                })),
            };
            let cmdline = table
                .get("cmdline")
                .map(|text| value::cmdline(text, findings))
                .transpose();
            (file?, cmdline?.unwrap_or_default())
        }
        _ => {
            return Err(findings.add(
                Finding::new("a module is a path or a table", value.span())
                    .label(format!("this is {}", table::type_of(value)))
                    .mend(format!("write `{MODULES}` or `{MODULE}`")),
            ));
        }
    };
    let module = Module {
        path: file.path,
        cmdline,
    };
    Ok((module, file.size))
}
