//! The keys that say what a vCPU gets of the pool: `weight`, `budget` and `period`.

use crate::duration;
use crate::model::{MAX_WEIGHT, Reservation, Share};
use crate::refusal::{Finding, Findings, Refused};
use crate::table::{self, Table};
use alloc::format;
use alloc::string::String;
use core::ops::{Range, RangeInclusive};
use spec::Nanos;
use toml::Spanned;
use toml::de::DeValue;

/// The keys, in the order in which they are documented.
pub(crate) const KEYS: [&str; 3] = ["weight", "budget", "period"];

/// The least time that is worth a switch.
pub(crate) const LEAST: u64 = 10_000;
/// Periods and frames: so short that a switch still is a small part of them, so long that nobody waits longer.
pub(crate) const PERIODS: RangeInclusive<u64> = 100_000..=10_000_000_000;

impl Reservation {
    /// Whether a plan might have it.
    ///
    /// # Errors
    /// What is wrong with it, in a full sentence.
    pub fn check(self) -> Result<(), String> {
        let (budget, period) = (Nanos(self.budget), Nanos(self.period));
        if !PERIODS.contains(&self.period) {
            let (least, most) = (Nanos(*PERIODS.start()), Nanos(*PERIODS.end()));
            return Err(format!("a period is {least} to {most}."));
        }
        if self.budget < LEAST {
            return Err(format!("a budget is {} or more.", Nanos(LEAST)));
        }
        if self.budget > self.period {
            let percent = u128::from(self.budget).saturating_mul(100);
            let percent = percent.checked_div(self.period.into()).unwrap_or(0);
            return Err(format!(
                "a budget of {budget} is above its period of {period}: {percent} % of a core."
            ));
        }
        Ok(())
    }
}

const WEIGHT: &str = "weight = 100";
const BUDGET: &str = r#"budget = "300 us""#;
const PERIOD: &str = r#"period = "1 ms""#;

/// What one VM asks for in so many words.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) share: Share,
    /// The first of its keys, and its place
    pub(crate) key: (&'static str, Range<usize>),
    /// The place of the budget, or of what there is instead
    pub(crate) at: Range<usize>,
}

impl Asked {
    /// The keys that are there, for a message.
    pub(crate) fn keys(&self) -> &'static str {
        match (self.share.weight, self.share.reservation) {
            (_, None) => "`weight`",
            (None, Some(_)) => "`budget` and `period`",
            (Some(_), Some(_)) => "`weight`, `budget` and `period`",
        }
    }
}

/// Reads the keys; `None` if there is none of them.
pub(crate) fn read(table: &Table<'_>, findings: &mut Findings) -> Result<Option<Asked>, Refused> {
    let Some(first) = KEYS.into_iter().find(|key| table.get(key).is_some()) else {
        return Ok(None);
    };
    let weight = table.get("weight").map(|value| weight(value, findings));
    let budget = table
        .get("budget")
        .map(|value| duration::read(value, "budget", LEAST..=*PERIODS.end(), BUDGET, findings));
    let period = table
        .get("period")
        .map(|value| duration::read(value, "period", PERIODS, PERIOD, findings));
    let reservation = match (budget, period) {
        (Some(budget), Some(period)) => Some(reservation(&budget?, &period?, findings)?),
        (Some(_), None) => return Err(alone(table, ("budget", "period", PERIOD), findings)),
        (None, Some(_)) => return Err(alone(table, ("period", "budget", BUDGET), findings)),
        (None, None) => None,
    };
    let weight = weight.transpose()?;
    Ok(Some(Asked {
        share: Share {
            weight,
            reservation,
        },
        key: (first, table.place(first)),
        at: table.value_place(if reservation.is_some() {
            "budget"
        } else {
            first
        }),
    }))
}

fn weight(value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Result<u32, Refused> {
    let label = match table::integer(value, "weight", WEIGHT, findings)? {
        Some(weight @ 1..=MAX_WEIGHT) => return Ok(weight),
        Some(0) => "this would never run",
        Some(_) => "this is too much",
        None => "this is out of range",
    };
    Err(findings.add(
        Finding::new("invalid weight", value.span())
            .label(label)
            .mend(format!(
                "use 1 to {MAX_WEIGHT}, such as `{WEIGHT}`: twice the weight is twice the time of what is left over"
            )),
    ))
}

fn reservation(
    budget: &Spanned<u64>,
    period: &Spanned<u64>,
    findings: &mut Findings,
) -> Result<Reservation, Refused> {
    let (asked, every) = (*budget.get_ref(), *period.get_ref());
    if asked <= every {
        return Ok(Reservation {
            budget: asked,
            period: every,
        });
    }
    let percent = asked.saturating_mul(100).checked_div(every).unwrap_or(0);
    Err(findings.add(
        Finding::new("the budget is above its period", budget.span())
            .label(format!("{} of every {}", Nanos(asked), Nanos(every)))
            .related(period.span(), "the period")
            .note(format!(
                "{} / {} = {percent} % of a core; a vCPU runs on one core at a time",
                Nanos(asked),
                Nanos(every)
            ))
            .mend(format!(
                "use a budget of {} at most, or a longer period",
                Nanos(every)
            )),
    ))
}

/// One of two keys without the other.
fn alone(
    table: &Table<'_>,
    (there, missing, example): (&'static str, &'static str, &'static str),
    findings: &mut Findings,
) -> Refused {
    table.missing(missing, findings, || {
        Finding::new(
            format!("`{there}` has no meaning without `{missing}`"),
            table.place(there),
        )
        .label(format!("there is no `{missing}`"))
        .mend(match missing {
            "period" => format!("say in which time it is due, with a line such as `{example}`"),
            _ => format!("say how much of it is due, with a line such as `{example}`"),
        })
    })
}
