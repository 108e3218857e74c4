//! The certificate of a machine.

use crate::page;
use crate::rules::RULES;
use crate::subject::Subject;
use crate::summary;
use crate::verdict::{Finding, Verdict};
use crate::whole::Whole;
use plan::Plan;
use serde::Serialize;

/// What was proven of a machine, and what it has told.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Certificate {
    /// What it was made for, such as the path of its config
    pub of: String,
    /// Each rule's verdict
    pub verdicts: Vec<Verdict>,
    /// What the machine should be
    pub plan: Plan,
    /// What it is
    pub survey: Whole,
}

/// What speaks against a machine that is to be what the plan says.
#[must_use]
pub fn check(plan: &Plan, survey: &Whole) -> Vec<Finding> {
    let subject = Subject::new(plan, survey);
    let findings = RULES.iter().map(|rule| rule.judge(&subject).findings);
    findings.flatten().collect()
}

/// Judges a machine by all rules.
#[must_use]
pub fn certify(of: &str, plan: &Plan, survey: Whole) -> Certificate {
    let subject = Subject::new(plan, &survey);
    Certificate {
        of: of.to_owned(),
        verdicts: RULES.iter().map(|rule| rule.judge(&subject)).collect(),
        plan: plan.clone(),
        survey,
    }
}

impl Certificate {
    /// Whether nothing was found.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.verdicts.iter().all(Verdict::holds)
    }

    /// A page of HTML that needs no other file.
    #[must_use]
    pub fn page(&self) -> String {
        page::text(self)
    }

    /// All of it, for programs.
    ///
    /// # Errors
    /// None that a certificate could cause.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// Some lines for a terminal.
    #[must_use]
    pub fn summary(&self) -> String {
        summary::summary(self)
    }
}
