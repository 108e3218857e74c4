//! The three keys that say what the kernel file is: `format`, `load`, `start`.

use crate::refusal::{Finding, Findings, Refused};
use crate::table::{self, Table, wrong_type};
use crate::units::{self, Wrong};
use crate::{Format, Start};
use alloc::borrow::ToOwned;
use alloc::format;
use spec::Gpa;
use toml::Spanned;
use toml::de::DeValue;

const LOAD: &str = r#"load = "0x100000""#;

/// Reads the three keys.
pub(crate) fn read(table: &Table<'_>, findings: &mut Findings) -> Result<Format, Refused> {
    // The keys `load` and `start` fill it in.
    const FLAT: Format = Format::Flat {
        load: Gpa(0),
        start: Start::Long,
    };
    const FORMATS: &[(&str, Format)] = &[
        ("auto", Format::Auto),
        ("bzimage", Format::BzImage),
        ("elf64", Format::Elf64),
        ("pvh", Format::Pvh),
        ("multiboot", Format::Multiboot),
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
    for key in ["load", "start"] {
        if !flat && table.get(key).is_some() {
            findings.add(
                Finding::new(
                    format!("`{key}` is for flat binaries only"),
                    table.place(key),
                )
                .label("not for this format")
                .mend("leave it out, or add `format = \"flat\"`"),
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
                .mend(format!("add a line such as `{LOAD}`")),
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
        Finding::new("invalid load address", value.span())
            .label(wrong.what)
            .mend(format!("write `{mend}`")),
    ))
}
