//! The certificate as a page of HTML, for people. It needs no other file, and no script.

mod host;
mod picture;
mod vm;

use crate::certificate::Certificate;
use crate::text::count;
use crate::verdict::Verdict;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page/style.css");

/// The page as text, in lines that can be compared.
pub(crate) fn text(certificate: &Certificate) -> String {
    let blocks = [
        "</h1>",
        "</h2>",
        "</h3>",
        "</p>",
        "</tr>",
        "</table>",
        "</rect>",
        "</text>",
        "</svg>",
        "</details>",
    ];
    let page = page(certificate).into_string();
    blocks.iter().fold(page, |page, block| {
        page.replace(block, &format!("{block}\n"))
    })
}

fn page(certificate: &Certificate) -> Markup {
    let title = format!("Isolation certificate of {}", certificate.of);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Isolation certificate" }
                (verdict(certificate))
                (rules(&certificate.verdicts))
                h2 { "Who has the memory" }
                (picture::picture(certificate))
                @for vm in &certificate.survey.vms { (vm::section(certificate, vm)) }
                (host::section(certificate))
            }
        }
    }
}

fn verdict(certificate: &Certificate) -> Markup {
    let findings: usize = certificate
        .verdicts
        .iter()
        .map(|it| it.findings.len())
        .sum();
    html! {
        p {
            "Of a machine that was booted with " code { (certificate.of) } ". It was asked what its processor goes by: page tables, control \
             structures, bitmaps. What it told was held against the plan, by rules that share nothing with what built those structures."
        }
        @if certificate.holds() {
            p.good { "All " (certificate.verdicts.len()) " rules hold: each VM reaches what the plan gives it, and nothing else." }
        } @else {
            p.bad { "Not certified: " (count(findings, "finding")) "." }
        }
    }
}

fn rules(verdicts: &[Verdict]) -> Markup {
    html! {
        h2 { "What was proven" }
        table {
            tr { th { "Rule" } th { "What it proves" } th { "Over" } th { "Verdict" } }
            @for verdict in verdicts {
                tr {
                    td { code { (verdict.rule) } }
                    td { (verdict.proves) }
                    td { (verdict.over) }
                    @if verdict.holds() { td.good { "holds" } } @else { td.bad { (count(verdict.findings.len(), "finding")) } }
                }
                @for finding in &verdict.findings {
                    tr { td {} td.bad colspan="3" { b { (finding.place) } ": " (finding.what) } }
                }
            }
        }
    }
}
