//! The keys that say what runs a VM: `vcpus`, `cores`, and those of a share.

use crate::refusal::{Finding, Findings, Refused};
use crate::table::{self, Table, wrong_type};
use crate::units::counted;
use crate::{Runs, share};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::ops::Range;
use toml::Spanned;
use toml::de::DeValue;

/// Most vCPUs of one VM.
pub const MAX_VCPUS: u32 = 64;

const VCPUS: &str = "vcpus = 2";
const CORES: &str = "cores = [1, 2]";

/// What one VM wants to be run by.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) vcpus: u32,
    /// The header of the VM
    pub(crate) at: Range<usize>,
    /// For each vCPU a core of its own
    pub(crate) cores: Option<Vec<Spanned<u32>>>,
    /// The place of the key
    pub(crate) cores_at: Range<usize>,
    /// What it asks for of the pool
    pub(crate) share: Option<share::Asked>,
}

impl Wish {
    /// What it comes to, unless windows name the VM.
    pub(crate) fn runs(&self) -> Runs {
        match &self.cores {
            Some(cores) => Runs::Dedicated(cores.iter().map(|core| *core.get_ref()).collect()),
            None => Runs::Pool(
                self.share
                    .as_ref()
                    .map(|asked| asked.share)
                    .unwrap_or_default(),
            ),
        }
    }
}

/// Reads the keys. Without `vcpus` there are as many as `cores` names.
pub(crate) fn read(table: &Table<'_>, findings: &mut Findings) -> Result<Wish, Refused> {
    let vcpus = table
        .get("vcpus")
        .map(|value| vcpus(value, findings))
        .transpose();
    let cores = table
        .get("cores")
        .map(|value| cores(value, findings))
        .transpose();
    let share = share::read(table, findings);
    if let (true, Ok(Some(share))) = (table.get("cores").is_some(), &share) {
        let (key, at) = share.key.clone();
        findings.add(
            Finding::new(format!("`{key}` has no meaning beside `cores`"), at)
                .label("a share of the pool")
                .related(table.place("cores"), "cores that run nothing else")
                .mend(format!(
                    "leave one of the two out: `cores`, or {}",
                    share.keys()
                )),
        );
    }
    let (vcpus, cores, share) = (vcpus?, cores?, share?);
    let named = cores.as_ref().map(|cores| cores.len() as u64);
    match (&vcpus, named) {
        (Some(vcpus), Some(named)) if u64::from(*vcpus.get_ref()) != named => {
            return Err(findings.add(
                Finding::new(
                    "`cores` must name one core for each vCPU",
                    table.value_place("cores"),
                )
                .label(counted(named, "core"))
                .related(vcpus.span(), counted(u64::from(*vcpus.get_ref()), "vCPU"))
                .mend(format!(
                    "name as many cores as there are vCPUs, write `vcpus = {named}`, or leave `cores` out \
                     to take turns with others"
                )),
            ));
        }
        _ => {}
    }
    Ok(Wish {
        vcpus: vcpus.map_or(named.unwrap_or(1) as u32, Spanned::into_inner),
        at: table.at.clone(),
        cores,
        cores_at: table.place("cores"),
        share,
    })
}

fn vcpus(value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Result<Spanned<u32>, Refused> {
    let label = match table::integer(value, "vcpus", VCPUS, findings)? {
        Some(number @ 1..=MAX_VCPUS) => return Ok(Spanned::new(value.span(), number)),
        Some(0) => "a VM needs a vCPU",
        Some(_) => "this is too many",
        None => "this is out of range",
    };
    Err(findings.add(
        Finding::new("invalid number of vCPUs", value.span())
            .label(label)
            .mend(format!("use 1 to {MAX_VCPUS}, such as `{VCPUS}`")),
    ))
}

fn cores(
    value: &Spanned<DeValue<'_>>,
    findings: &mut Findings,
) -> Result<Vec<Spanned<u32>>, Refused> {
    let Some(numbers) = value.get_ref().as_array() else {
        return Err(wrong_type(
            value,
            "cores",
            "an array of integers",
            CORES,
            findings,
        ));
    };
    let label = match numbers.len() {
        0 => "this names none",
        count if count > MAX_VCPUS as usize => "this is too many",
        _ => {
            let numbers = numbers.iter().map(|number| core(number, findings));
            // All of them are looked at, so that all that is wrong is told at once.
            return numbers.collect::<Vec<_>>().into_iter().collect();
        }
    };
    Err(findings.add(
        Finding::new(format!("`cores` must name 1 to {MAX_VCPUS} cores"), value.span())
            .label(label)
            .mend(format!(
                "name one for each vCPU, such as `{CORES}`, or leave `cores` out to take turns with others"
            )),
    ))
}

fn core(number: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Result<Spanned<u32>, Refused> {
    let label = match number.get_ref() {
        DeValue::Integer(_) => match table::integer(number, "cores", CORES, findings)? {
            Some(core) => return Ok(Spanned::new(number.span(), core)),
            None => "this is out of range".to_string(),
        },
        _ => format!("this is {}", table::type_of(number)),
    };
    Err(findings.add(
        Finding::new("invalid core number", number.span())
            .label(label)
            .mend(format!("write whole numbers from 0 on, such as `{CORES}`")),
    ))
}
