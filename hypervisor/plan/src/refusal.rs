//! Why a config was refused: each mistake with its place in the file and its mend.

use crate::excerpt;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use core::fmt;
use core::ops::Range;

/// Columns that a refusal may take: text mode 0 of every UEFI console has 80 (UEFI 2.10, section 12.4.1).
const WIDTH: usize = 80;

/// Findings that are shown; a file that is not a config at all has more mistakes than a screen can hold.
const SHOWN: usize = 10;

/// A config that cannot be carried out, with everything that is wrong with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    file: String,
    text: String,
    findings: Vec<Finding>,
}

impl Refusal {
    pub(crate) fn new(file: &str, text: &str, mut findings: Vec<Finding>) -> Self {
        // The order of the file, whatever the order of the checks.
        findings.sort_by_key(|finding| finding.at.start);
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            findings,
        }
    }

    /// How many things are wrong.
    #[must_use]
    pub fn count(&self) -> usize {
        self.findings.len()
    }

    /// The refusal as text, for a person: ASCII, lines that end in `\n`, with ANSI colours if `colour`.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        }
        .term_width(WIDTH);
        let mut out = String::new();
        for finding in self.findings.iter().take(SHOWN) {
            for line in renderer
                .render(&[finding.group(&self.file, &self.text)])
                .lines()
            {
                out.push_str(line.trim_end());
                out.push('\n');
            }
            out.push('\n');
        }
        if let Some(more @ 1..) = self.findings.len().checked_sub(SHOWN) {
            out.push_str(&format!("and {more} more\n\n"));
        }
        out.pop();
        out
    }
}

/// The same text as [`Refusal::render`] without colours.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Refusal {}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    what: String,
    at: Range<usize>,
    label: String,
    related: Option<(Range<usize>, String)>,
    note: Option<String>,
    mend: String,
}

impl Finding {
    /// `what` is wrong; `at` is its place, a byte range of the text.
    pub(crate) fn new(what: impl ToString, at: Range<usize>) -> Self {
        Self {
            what: what.to_string(),
            at,
            label: String::new(),
            related: None,
            note: None,
            mend: String::new(),
        }
    }

    /// A few words under the place.
    pub(crate) fn label(mut self, label: impl ToString) -> Self {
        self.label = label.to_string();
        self
    }

    /// Another place that has to do with it.
    pub(crate) fn related(mut self, at: Range<usize>, label: impl ToString) -> Self {
        self.related = Some((at, label.to_string()));
        self
    }

    /// How the judgement came about, such as a sum.
    pub(crate) fn note(mut self, note: impl ToString) -> Self {
        self.note = Some(note.to_string());
        self
    }

    /// What would be right.
    pub(crate) fn mend(mut self, mend: impl ToString) -> Self {
        self.mend = mend.to_string();
        self
    }

    fn group<'a>(&'a self, file: &'a str, text: &str) -> Group<'a> {
        let group = Group::with_title(Level::ERROR.primary_title(&self.what));
        let group = match excerpt::cut(text, &self.at, self.related.as_ref().map(|(at, _)| at)) {
            Some(cut) => {
                let mut snippet = Snippet::source(cut.lines)
                    .path(excerpt::path(file).to_string())
                    .line_start(cut.first_line)
                    .annotation(AnnotationKind::Primary.span(cut.at).label(&self.label));
                if let (Some(at), Some((_, label))) = (cut.related, &self.related) {
                    snippet = snippet.annotation(AnnotationKind::Context.span(at).label(label));
                }
                group.element(snippet)
            }
            None => group.element(
                Origin::path(excerpt::path(file).to_string())
                    .line(1)
                    .char_column(1),
            ),
        };
        let group = match &self.note {
            Some(note) => group.element(Level::NOTE.message(note)),
            None => group,
        };
        group.element(Level::HELP.message(&self.mend))
    }
}

/// The mistakes found so far.
#[derive(Default)]
pub(crate) struct Findings(Vec<Finding>);

/// Proof that a finding was added: whoever lacks a value for a reason that the user is told holds one.
#[derive(Clone, Copy)]
pub(crate) struct Refused(());

impl Findings {
    pub(crate) fn add(&mut self, finding: Finding) -> Refused {
        self.0.push(finding);
        Refused(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_inner(self) -> Vec<Finding> {
        self.0
    }
}
