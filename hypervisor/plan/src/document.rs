//! The config as a whole.

use crate::claims::Claims;
use crate::file::Look;
use crate::refusal::{Finding, Findings, Refusal, Refused};
use crate::table::{self, Table, type_of};
use crate::{Facts, Plan, Smt, Vm, syntax, text, vm};
use alloc::format;
use alloc::vec::Vec;
use toml::de::{DeTable, DeValue};

/// Virtual machines that this version runs.
pub const MAX_VMS: usize = 64;

/// The keys of the whole file.
pub(crate) const KEYS: &[&str] = &["smt", "statistics", "vm"];
/// Keys that are not among them because they belong below `[[vm]]`.
const OF_A_VM: (&[&str], &str) = (vm::KEYS, "write it below the `[[vm]]` that it is for");

const SMT: &[(&str, Smt)] = &[("off", Smt::Off), ("share", Smt::Share)];
const STATISTICS: &str = "statistics = true";

/// A whole config that would be right but for its paths.
const EXAMPLE: &str = "the least that is needed is

    [[vm]]
    name = \"debian\"
    kernel = \"debian/vmlinuz\"
    memory = \"256 MiB\"";

/// Reads a config.
///
/// `file_name` is what the reader of a refusal calls the file; where it has folders, the files that the config
/// names are shown beside it. The text may start with a byte order mark.
///
/// # Errors
/// Everything that is wrong with the text or does not agree with `facts`, at once; syntax first.
pub fn parse(text: &str, file_name: &str, facts: &Facts<'_>) -> Result<Plan, Refusal> {
    if text.len() > text::MAX_TEXT {
        return Err(text::too_long(file_name));
    }
    let text = text::unmarked(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What the parser could save of a broken file is no ground for judging the rest.
        return Err(Refusal::new(
            file_name,
            text,
            syntax::findings(text, root.get_ref(), &errors),
        ));
    }
    let mut findings = Findings::default();
    let plan = plan(
        root.get_ref(),
        &Look {
            facts,
            config: file_name,
        },
        &mut findings,
    );
    match plan {
        Ok(plan) if findings.is_empty() => Ok(plan),
        _ => Err(Refusal::new(file_name, text, findings.into_inner())),
    }
}

fn plan(root: &DeTable<'_>, look: &Look<'_>, findings: &mut Findings) -> Result<Plan, Refused> {
    let root = Table::new(root, 0..0, "the file", KEYS, OF_A_VM, findings);
    let smt = root
        .get("smt")
        .map(|value| table::choice(value, "smt", SMT, findings))
        .transpose();
    let statistics = root
        .get("statistics")
        .map(|value| table::boolean(value, "statistics", STATISTICS, findings))
        .transpose();
    let mut claims = Claims::default();
    let vms = vms(&root, look, &mut claims, findings)?;
    // A word that means nothing leaves the numbers of cores without a meaning, too.
    let smt = smt?.unwrap_or_default();
    claims.judge(smt, look.facts, findings);
    Ok(Plan {
        smt,
        statistics: statistics?.unwrap_or(false),
        cyclic: Vec::new(),
        vms: vms.into_iter().collect::<Result<_, _>>()?,
    })
}

/// Each VM that could be read, and what it claims.
fn vms(
    root: &Table<'_>,
    look: &Look<'_>,
    claims: &mut Claims,
    findings: &mut Findings,
) -> Result<Vec<Result<Vm, Refused>>, Refused> {
    let Some(tables) = root.get("vm") else {
        return Err(root.missing("vm", findings, || {
            Finding::new("there is no virtual machine in this file", 0..0).mend(EXAMPLE)
        }));
    };
    let Some(tables) = tables.get_ref().as_array().map(|array| array.iter()) else {
        return Err(findings.add(
            Finding::new("`vm` must be an array of tables", root.place("vm"))
                .label(format!("this is {}", type_of(tables)))
                .mend("write the header with two brackets: `[[vm]]`"),
        ));
    };
    let mut vms = Vec::new();
    for (index, table) in tables.enumerate() {
        let DeValue::Table(keys) = table.get_ref() else {
            return Err(findings.add(
                Finding::new("each `vm` must be a table", table.span())
                    .label(format!("this is {}", type_of(table)))
                    .mend("write `[[vm]]` and the keys of the VM below it"),
            ));
        };
        if index == MAX_VMS {
            return Err(findings.add(
                Finding::new(format!("there are more than {MAX_VMS} VMs"), table.span())
                    .label("this is one too many")
                    .mend(format!(
                        "keep {MAX_VMS}; put a # before the lines of the others"
                    )),
            ));
        }
        let read = vm::read(keys, table.span(), look, findings);
        claims.add(&read, findings);
        vms.push(read.vm);
    }
    Ok(vms)
}
