//! The certificate in some lines for a terminal.

use crate::certificate::Certificate;
use crate::verdict::Verdict;
use std::fmt::Write as _;

/// Findings of one rule that are shown: a fault may make as many as there are pages.
const SHOWN: usize = 8;

pub(crate) fn summary(certificate: &Certificate) -> String {
    let mut out = String::new();
    for verdict in &certificate.verdicts {
        // Writing to a string does not fail.
        let _ = tell(&mut out, verdict);
    }
    let found: usize = certificate
        .verdicts
        .iter()
        .map(|verdict| verdict.findings.len())
        .sum();
    let rules = certificate.verdicts.len();
    let _ = match found {
        0 => writeln!(out, "certified: {rules} rules hold for {}", certificate.of),
        1 => writeln!(out, "not certified: 1 finding in {}", certificate.of),
        _ => writeln!(out, "not certified: {found} findings in {}", certificate.of),
    };
    out
}

fn tell(out: &mut String, verdict: &Verdict) -> std::fmt::Result {
    let word = if verdict.holds() { "proven" } else { "FAILED" };
    writeln!(out, "{word}  {:<13} {}", verdict.rule, verdict.proves)?;
    writeln!(out, "        {:<13} over {}", "", verdict.over)?;
    for finding in verdict.findings.iter().take(SHOWN) {
        writeln!(out, "  found: {}: {}", finding.place, finding.what)?;
    }
    match verdict.findings.len() {
        0..=SHOWN => Ok(()),
        all => writeln!(out, "  and {} more, on the page", all - SHOWN),
    }
}
