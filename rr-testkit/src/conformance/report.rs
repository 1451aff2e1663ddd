//! What came out of a run.

mod json;
mod markdown;

use std::fmt;

use super::plan::Binding;
use super::{Capabilities, Level};

/// What came out of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It held.
    Passed,
    /// It did not run, for the reason given.
    Skipped(String),
    /// It did not hold; the text says where, and what the lab saw.
    Failed(String),
    /// It was expected to fail for the reason given, and did.
    FailedAsKnown(String),
}

impl Outcome {
    /// Returns the reason, or what went wrong; empty when the case held.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Passed => "",
            Self::Skipped(text) | Self::Failed(text) | Self::FailedAsKnown(text) => text,
        }
    }
}

/// One line of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// The case, `group/case`.
    pub name: String,
    /// How binding it is.
    pub level: Level,
    /// What came out.
    pub outcome: Outcome,
}

/// What came out of a run. Its `Display` is a table, with every skip and its reason.
///
/// None of its forms has a time or a date in it, so that two runs can be compared; only the texts
/// of cases that failed may differ.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The transport's name.
    pub transport: String,
    /// The edition of the suite, such as `v1`.
    pub edition: &'static str,
    /// What the transport says it can do.
    pub capabilities: Capabilities,
    /// One row per case, in the order of the suite.
    pub rows: Vec<Row>,
    /// Which levels fail the run.
    pub(super) binding: Binding,
}

impl Report {
    /// Returns the rows that make the run a failure: those that failed and must hold, and, unless the
    /// plan was [lenient](super::Plan::lenient), those that failed and should.
    pub fn failures(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| self.fails(row))
    }

    /// Tells whether a row makes the run a failure.
    fn fails(&self, row: &Row) -> bool {
        matches!(row.outcome, Outcome::Failed(_)) && self.binding.holds(row.level)
    }

    /// Returns how many cases ran.
    #[must_use]
    pub fn ran(&self) -> usize {
        self.rows.iter().filter(|row| !matches!(row.outcome, Outcome::Skipped(_))).count()
    }

    /// Returns how many cases were skipped.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.rows.len() - self.ran()
    }

    /// Returns the report as a JSON document, indented.
    ///
    /// Its members, which later versions only add to:
    ///
    /// | member | value |
    /// |---|---|
    /// | `transport`, `edition` | as in [`Report`] |
    /// | `capabilities` | an object: each capability and whether it is there |
    /// | `parallel_max` | most calls in flight at once |
    /// | `totals` | an object: `passed`, `failed`, `warned`, `failed_as_known`, `skipped`; a case that failed without failing the run is `warned` |
    /// | `cases` | an array, in the order of the suite: `name`, `level` (`must`, `should` or `preview`), `outcome` (a word of `totals`) and, unless it passed, `text` |
    #[must_use]
    pub fn to_json(&self) -> String {
        json::write(self)
    }

    /// Returns the report as Markdown: a table of the groups, and what was skipped or known to
    /// fail, with its reason.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        markdown::write(self)
    }

    /// Asserts that at least one case ran and that none of them makes the run a failure.
    ///
    /// # Panics
    ///
    /// Otherwise, with the whole report.
    pub fn assert(&self) {
        assert!(self.ran() > 0, "no case ran\n{self}");
        assert!(self.failures().next().is_none(), "the transport does not conform\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "conformance of {}", self.transport)?;
        for row in &self.rows {
            let text = row.outcome.text();
            let word = match &row.outcome {
                Outcome::Passed => "ok",
                Outcome::Skipped(_) => "skipped",
                Outcome::Failed(_) if self.fails(row) => "FAILED",
                Outcome::Failed(_) => "warning",
                Outcome::FailedAsKnown(_) => "failed as known",
            };
            let separator = if text.is_empty() { "" } else { ": " };
            writeln!(f, "{word:>16}  {}{separator}{text}", row.name)?;
        }
        let failed = self.failures().count();
        write!(f, "{} ran, {failed} failed, {} skipped", self.ran(), self.skipped())
    }
}
