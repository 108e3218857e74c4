//! Takes keys out of a TOML table; what is left at the end is unknown.

use crate::excerpt::quoted;
use crate::nearest::nearest;
use crate::refusal::{Finding, Findings, Refused};
use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One table, and the keys that it may have.
pub(crate) struct Table<'t> {
    table: &'t DeTable<'t>,
    /// The place that stands for the whole table: its header
    pub(crate) at: Range<usize>,
    /// What it is called in a message, such as `[[vm]]`
    what: &'static str,
    keys: &'static [&'static str],
    /// Known keys that an unknown one was likely meant to be, so that they are not also called missing
    meant: Vec<(&'static str, Refused)>,
}

impl<'t> Table<'t> {
    /// Looks at a table and names each key in it that is not one of `keys`. `elsewhere` holds keys that have their
    /// place in another table, and says where.
    pub(crate) fn new(
        table: &'t DeTable<'t>,
        at: Range<usize>,
        what: &'static str,
        keys: &'static [&'static str],
        (elsewhere, where_else): (&[&str], &str),
        findings: &mut Findings,
    ) -> Self {
        let mut meant = Vec::new();
        for key in table
            .keys()
            .filter(|key| !keys.contains(&key.get_ref().as_ref()))
        {
            let strays = elsewhere.contains(&key.get_ref().as_ref());
            let near = nearest(key.get_ref(), keys)
                .filter(|_| !strays)
                .filter(|near| !table.contains_key(*near));
            let finding = Finding::new(
                format!("unknown key `{}` in {what}", quoted(key.get_ref())),
                key.span(),
            );
            let refused = findings.add(match near {
                Some(near) => finding
                    .label("unknown key")
                    .mend(format!("did you mean `{near}`?")),
                None if strays => finding.label("not a key of this table").mend(where_else),
                None => finding
                    .label("unknown key")
                    .mend(format!("known keys: {}", keys.join(", "))),
            });
            meant.extend(near.map(|near| (near, refused)));
        }
        Self {
            table,
            at,
            what,
            keys,
            meant,
        }
    }

    /// The value of a key, if it is there. `key` must be one of the known ones.
    pub(crate) fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        debug_assert!(self.keys.contains(&key));
        self.table.get(key)
    }

    /// The place of a key itself.
    pub(crate) fn place(&self, key: &str) -> Range<usize> {
        self.table
            .get_key_value(key)
            .map_or_else(|| self.at.clone(), |(key, _)| key.span())
    }

    /// The place of a key's value.
    pub(crate) fn value_place(&self, key: &str) -> Range<usize> {
        self.get(key).map_or_else(|| self.at.clone(), Spanned::span)
    }

    /// The refusal of a key that must be there and is not; `example` is a line that would be right.
    pub(crate) fn missing_line(
        &self,
        key: &str,
        example: &str,
        findings: &mut Findings,
    ) -> Refused {
        self.missing(key, findings, || {
            Finding::new(
                format!("`{key}` is missing in {}", self.what),
                self.at.clone(),
            )
            .label(format!("this has no `{key}`"))
            .mend(format!("add a line such as `{example}`"))
        })
    }

    /// The refusal of a key that must be there and is not, unless a misspelt one stands for it.
    pub(crate) fn missing(
        &self,
        key: &str,
        findings: &mut Findings,
        finding: impl FnOnce() -> Finding,
    ) -> Refused {
        match self.meant.iter().find(|(meant, _)| *meant == key) {
            Some((_, refused)) => *refused,
            None => findings.add(finding()),
        }
    }
}

/// The string that a value is; `example` is a line that would be right.
pub(crate) fn string<'t>(
    value: &'t Spanned<DeValue<'t>>,
    key: &str,
    example: &str,
    findings: &mut Findings,
) -> Result<&'t str, Refused> {
    value
        .get_ref()
        .as_str()
        .ok_or_else(|| wrong_type(value, key, "a string", example, findings))
}

/// The integer that a value is, or `None` if it is none of 32 bits; `example` is a line that would be right.
pub(crate) fn integer(
    value: &Spanned<DeValue<'_>>,
    key: &str,
    example: &str,
    findings: &mut Findings,
) -> Result<Option<u32>, Refused> {
    match value.get_ref() {
        DeValue::Integer(number) => Ok(u32::from_str_radix(number.as_str(), number.radix()).ok()),
        _ => Err(wrong_type(value, key, "an integer", example, findings)),
    }
}

/// Whether a value is true; `example` is a line that would be right.
pub(crate) fn boolean(
    value: &Spanned<DeValue<'_>>,
    key: &str,
    example: &str,
    findings: &mut Findings,
) -> Result<bool, Refused> {
    value
        .get_ref()
        .as_bool()
        .ok_or_else(|| wrong_type(value, key, "true or false", example, findings))
}

/// The refusal of a value of another type.
pub(crate) fn wrong_type(
    value: &Spanned<DeValue<'_>>,
    key: &str,
    wanted: &str,
    example: &str,
    findings: &mut Findings,
) -> Refused {
    findings.add(
        Finding::new(format!("`{key}` must be {wanted}"), value.span())
            .label(format!("this is {}", type_of(value)))
            .mend(format!("write `{example}`")),
    )
}

/// One of several words.
pub(crate) fn choice<T: Copy>(
    value: &Spanned<DeValue<'_>>,
    key: &str,
    choices: &[(&'static str, T)],
    findings: &mut Findings,
) -> Result<T, Refused> {
    let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
    let example = format!("{key} = \"{}\"", words.first().unwrap_or(&""));
    let text = string(value, key, &example, findings)?;
    if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*choice);
    }
    let finding = Finding::new(
        format!("invalid `{key}`: \"{}\"", quoted(text)),
        value.span(),
    );
    Err(findings.add(match nearest(text, &words) {
        Some(near) => finding
            .label("unknown value")
            .mend(format!("did you mean \"{near}\"?")),
        None => finding
            .label("unknown value")
            .mend(format!("{key} is one of: {}", words.join(", "))),
    }))
}

/// What a value is, in words.
pub(crate) fn type_of(value: &Spanned<DeValue<'_>>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a floating-point number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a single table",
    }
}
