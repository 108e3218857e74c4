//! What is proven, and what speaks against it.

use crate::subject::Subject;
use serde::{Deserialize, Serialize};
use std::fmt::Display;

/// Something that is to be true of a machine.
pub(crate) struct Rule {
    /// Its name, one word
    pub(crate) name: &'static str,
    /// What is true of a machine in which it finds nothing, a full sentence
    pub(crate) proves: &'static str,
    pub(crate) check: fn(&Subject<'_>) -> Proof,
}

/// What a rule has found.
pub(crate) struct Proof {
    /// Over how much: a rule that has looked at nothing has proven nothing
    pub(crate) over: String,
    pub(crate) findings: Findings,
}

/// What was proven of a machine, or not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// Name of the rule, one word
    pub rule: String,
    /// What is true of a machine in which it finds nothing
    pub proves: String,
    /// Over how much that was looked for
    pub over: String,
    /// What speaks against it
    pub findings: Vec<Finding>,
}

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// Name of the rule that has found it
    pub rule: String,
    /// Where: of which part of the machine, and the address, register or field in it
    pub place: String,
    /// What is there, and what should be
    pub what: String,
}

/// What a rule speaks against: places, and what is there.
#[derive(Default)]
pub(crate) struct Findings(Vec<(String, String)>);

impl Findings {
    pub(crate) fn add(&mut self, place: impl Display, what: impl Display) {
        self.0.push((place.to_string(), what.to_string()));
    }

    /// Adds it unless it is as it should be.
    pub(crate) fn expect(&mut self, right: bool, place: impl Display, what: impl Display) {
        if !right {
            self.add(place, what);
        }
    }

    pub(crate) fn proof(self, over: impl Into<String>) -> Proof {
        Proof {
            over: over.into(),
            findings: self,
        }
    }
}

impl Rule {
    pub(crate) fn judge(&self, subject: &Subject<'_>) -> Verdict {
        let proof = (self.check)(subject);
        let finding = |(place, what)| Finding {
            rule: self.name.to_owned(),
            place,
            what,
        };
        Verdict {
            rule: self.name.to_owned(),
            proves: self.proves.to_owned(),
            over: proof.over,
            findings: proof.findings.0.into_iter().map(finding).collect(),
        }
    }
}

impl Verdict {
    /// Whether nothing speaks against it.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.findings.is_empty()
    }
}
