//! What came out of a run.

use std::fmt;

use super::Level;

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
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The transport's name.
    pub transport: String,
    /// One row per case, in the order of the suite.
    pub rows: Vec<Row>,
}

impl Report {
    /// Returns the rows that make the run a failure: those that failed and must hold.
    pub fn failures(&self) -> impl Iterator<Item = &Row> {
        let binding =
            |row: &&Row| row.level == Level::Must && matches!(row.outcome, Outcome::Failed(_));
        self.rows.iter().filter(binding)
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

    /// Asserts that at least one case ran and that every one that must hold did.
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
            let (word, text) = match &row.outcome {
                Outcome::Passed => ("ok", ""),
                Outcome::Skipped(reason) => ("skipped", reason.as_str()),
                Outcome::Failed(text) if row.level == Level::Must => ("FAILED", text.as_str()),
                Outcome::Failed(text) => ("warning", text.as_str()),
                Outcome::FailedAsKnown(reason) => ("failed as known", reason.as_str()),
            };
            let separator = if text.is_empty() { "" } else { ": " };
            writeln!(f, "{word:>16}  {}{separator}{text}", row.name)?;
        }
        let failed = self.failures().count();
        write!(f, "{} ran, {failed} failed, {} skipped", self.ran(), self.skipped())
    }
}
