//! The report of a run.

mod json;
mod markdown;

use std::fmt;

use super::plan::Binding;
use super::{Capabilities, Case, Harness, Level, Plan, cases};

/// Outcome of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The case passed.
    Passed,
    /// The case did not run, for the given reason.
    Skipped(String),
    /// The case failed. The text has the failed assertion and the runs recorded by the lab.
    Failed(String),
    /// The case failed as the plan expects, for the given reason.
    FailedAsKnown(String),
}

impl Outcome {
    /// Returns the reason or the failure text; empty when the case passed.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Passed => "",
            Self::Skipped(text) | Self::Failed(text) | Self::FailedAsKnown(text) => text,
        }
    }
}

/// Result of one case in a report.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// The case, `group/case`.
    pub name: String,
    /// The level of the case.
    pub level: Level,
    /// The outcome of the case.
    pub outcome: Outcome,
}

/// Results of a run. The `Display` form is a table that has every skip with its reason.
///
/// No form contains a time or a date, so that two runs can be compared; only the texts of failed
/// cases may differ.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The transport's name.
    pub transport: String,
    /// The edition of the suite, such as `v1`.
    pub edition: &'static str,
    /// The capabilities that the harness claims.
    pub capabilities: Capabilities,
    /// One row per case, in the order of the suite.
    pub rows: Vec<Row>,
    /// The lowest level whose failures fail the run.
    pub(super) binding: Binding,
}

impl Report {
    /// Makes a report of the cases of a plan from their outcomes.
    ///
    /// # Panics
    ///
    /// When the plan names a case that does not exist, or lists a case without a reason.
    pub(super) fn new(
        harness: &dyn Harness,
        plan: &Plan,
        outcome: impl Fn(&'static Case) -> Outcome,
    ) -> Self {
        plan.assert_sound();
        let planned = cases().iter().filter(|case| plan.includes(&case.name()));
        let row =
            |case| Row { name: Case::name(case), level: case.level(), outcome: outcome(case) };
        Self {
            transport: harness.name().to_owned(),
            edition: plan.edition(),
            capabilities: harness.capabilities(),
            rows: planned.map(row).collect(),
            binding: plan.binding(),
        }
    }

    /// Returns the rows that fail the run: failed [`Level::Must`] cases and, unless the plan was
    /// [lenient](super::Plan::lenient), failed [`Level::Should`] cases.
    pub fn failures(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| self.fails(row))
    }

    /// Returns whether a row fails the run.
    fn fails(&self, row: &Row) -> bool {
        matches!(row.outcome, Outcome::Failed(_)) && self.binding.holds(row.level)
    }

    /// Returns the number of cases that ran.
    #[must_use]
    pub fn ran(&self) -> usize {
        self.rows.iter().filter(|row| !matches!(row.outcome, Outcome::Skipped(_))).count()
    }

    /// Returns the number of skipped cases.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.rows.len() - self.ran()
    }

    /// Returns the report as an indented JSON document.
    ///
    /// Later versions only add members:
    ///
    /// | member | value |
    /// |---|---|
    /// | `transport`, `edition` | as in [`Report`] |
    /// | `capabilities` | an object: each capability and whether the harness claims it |
    /// | `parallel_max` | maximum number of concurrent calls |
    /// | `totals` | an object: `passed`, `failed`, `warned`, `failed_as_known`, `skipped`; a case that failed without failing the run is `warned` |
    /// | `cases` | an array, in the order of the suite: `name`, `level` (`must`, `should` or `preview`), `outcome` (a word of `totals`) and, unless it passed, `text` |
    #[must_use]
    pub fn to_json(&self) -> String {
        json::write(self)
    }

    /// Returns the report as Markdown: a table of the groups, and the skipped cases and known
    /// failures with their reasons.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        markdown::write(self)
    }

    /// Asserts that at least one case ran and that no case fails the run.
    ///
    /// # Panics
    ///
    /// When no case ran or a case fails the run. The message contains the whole report.
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
