//! The config as a whole.

use crate::claims::Claims;
use crate::file::Look;
use crate::owners::{self, Machine};
use crate::refusal::{Finding, Findings, Refusal, Refused};
use crate::table::{self, Table, type_of};
use crate::{Facts, Plan, Runs, Smt, Vm, cyclic, interrupts, seats, syntax, text, vm};
use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Virtual machines that this version runs.
pub const MAX_VMS: usize = 64;

/// The keys of the whole file.
pub(crate) const KEYS: &[&str] = &["smt", "statistics", "vm", "cyclic"];
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
    let tables = cyclic(&root, findings);
    // A word that means nothing leaves the numbers of cores without a meaning, too.
    let smt = smt?.unwrap_or_default();
    let tables = tables.as_deref();
    let seats = seats::judge(tables.unwrap_or_default(), claims.vms(), findings);
    let facts = look.facts;
    let machine = Machine {
        smt,
        there: facts.cores,
    };
    let in_windows = |vm| seats.vms.contains_key(&vm);
    interrupts::judge(claims.vms(), &seats.vms, findings);
    owners::judge(claims.vms(), tables.ok(), in_windows, machine, findings);
    if let Some(has) = facts.memory {
        claims.judge_memory(has, findings);
    }
    tables.map_err(|refused| *refused)?;
    let mut vms: Vec<Vm> = vms.into_iter().collect::<Result<_, _>>()?;
    for vm in seats.vms.keys() {
        if let Some(vm) = vms.get_mut(*vm) {
            vm.runs = Runs::Cyclic;
        }
    }
    let plan = Plan {
        smt,
        statistics: statistics?.unwrap_or(false),
        cyclic: seats.cyclic,
        vms,
    };
    if let (Some(cores), true) = (machine.named(), findings.is_empty()) {
        // What the machine itself needs for a switch is known only once it runs.
        fits(&plan, cores, &claims, findings);
    }
    Ok(plan)
}

/// Whether the reservations find room on so many cores.
fn fits(plan: &Plan, cores: u32, claims: &Claims, findings: &mut Findings) {
    let Err(unfit) = plan.admit(cores, 0) else {
        return;
    };
    let wish = claims
        .vms()
        .get(unfit.vm as usize)
        .and_then(|claim| claim.wish.as_ref());
    let at = wish
        .and_then(|wish| wish.share.as_ref())
        .map(|asked| asked.at.clone());
    findings.add(
        Finding::new(unfit.what, at.unwrap_or_default())
            .label("finds no room, the larger ones being placed first")
            .note(unfit.sums)
            .mend("ask for a smaller budget or a longer period, here or there, or leave the pool more cores"),
    );
}

/// The cyclic tables.
fn cyclic(root: &Table<'_>, findings: &mut Findings) -> Result<Vec<cyclic::Read>, Refused> {
    let Some(value) = root.get("cyclic") else {
        return Ok(Vec::new());
    };
    let tables = tables(root, "cyclic", value, "of the table", findings)?;
    // All of them are looked at, so that all that is wrong is told at once.
    let read = tables
        .into_iter()
        .map(|(keys, at)| cyclic::read(keys, at, findings));
    read.collect::<Vec<_>>().into_iter().collect()
}

/// The tables of an array of tables, each with the place of its header; `of` says whose keys they hold.
fn tables<'t>(
    root: &Table<'_>,
    key: &str,
    value: &'t Spanned<DeValue<'t>>,
    of: &str,
    findings: &mut Findings,
) -> Result<Vec<(&'t DeTable<'t>, Range<usize>)>, Refused> {
    let Some(tables) = value.get_ref().as_array() else {
        return Err(findings.add(
            Finding::new(
                format!("`{key}` must be an array of tables"),
                root.place(key),
            )
            .label(format!("this is {}", type_of(value)))
            .mend(format!("write the header with two brackets: `[[{key}]]`")),
        ));
    };
    let mut each = Vec::new();
    for table in tables.iter() {
        let DeValue::Table(keys) = table.get_ref() else {
            return Err(findings.add(
                Finding::new(format!("each `{key}` must be a table"), table.span())
                    .label(format!("this is {}", type_of(table)))
                    .mend(format!("write `[[{key}]]` and the keys {of} below it")),
            ));
        };
        each.push((keys, table.span()));
    }
    Ok(each)
}

/// Each VM that could be read, and what it claims.
fn vms(
    root: &Table<'_>,
    look: &Look<'_>,
    claims: &mut Claims,
    findings: &mut Findings,
) -> Result<Vec<Result<Vm, Refused>>, Refused> {
    let Some(value) = root.get("vm") else {
        return Err(root.missing("vm", findings, || {
            Finding::new("there is no virtual machine in this file", 0..0).mend(EXAMPLE)
        }));
    };
    let mut vms = Vec::new();
    for (index, (keys, at)) in tables(root, "vm", value, "of the VM", findings)?
        .into_iter()
        .enumerate()
    {
        if index == MAX_VMS {
            return Err(findings.add(
                Finding::new(format!("there are more than {MAX_VMS} VMs"), at)
                    .label("this is one too many")
                    .mend(format!(
                        "keep {MAX_VMS}; put a # before the lines of the others"
                    )),
            ));
        }
        let read = vm::read(keys, at, look, findings);
        claims.add(&read, findings);
        vms.push(read.vm);
    }
    Ok(vms)
}
